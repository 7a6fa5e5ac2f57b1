"""Hooks of MkDocs: pages outside ``docs/``, and an API reference with a page for each room.

Links in Markdown hold in the repository, where GitHub and editors follow them. On the site, the
files of ``docs/`` lie at the root and all others keep their paths, so links across are rewritten.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
DOCS = "docs/"
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "checkpoints/README.md", "fast_style/assets/README.md")
# The target of a Markdown link or picture, or of an HTML picture, without its anchor.
LINK = re.compile(r"""(\]\(|<img src=")([^)"#\s]+)""")


def on_config(config: Any) -> Any:
    """Add experiments and the API reference to the navigation."""
    names = {path.name for path in (ROOT / DOCS / "experiments").glob("*.md")}
    experiments = sorted(names - {"index.md"})
    config["nav"] += [
        {"Experiments": [f"experiments/{name}" for name in ("index.md", *experiments)]},
        {"API reference": [{room: f"reference/{room}.md"} for room in rooms()]},
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the files outside ``docs/`` that pages are or link to, and the API reference."""
    for room in rooms():
        files.append(File.generated(config, f"reference/{room}.md", content=reference(room)))
    texts = [*(ROOT / DOCS).rglob("*.md"), *(ROOT / page for page in PAGES)]
    linked = {target for text in texts for target in targets(text)}
    for path in sorted(linked | set(PAGES)):
        file = ROOT / path
        if not path.startswith(DOCS) and file.is_file() and path != "README.md":
            files.append(File.generated(config, path, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links of a page from the repository's paths to the site's."""
    uri = page.file.src_uri
    if uri.startswith("reference/"):
        return markdown
    source = uri if uri in PAGES else DOCS + uri

    def rewritten(found: re.Match[str]) -> str:
        target = in_repository(source, found[2])
        if target is None:
            return found[0]
        on_site = "index.md" if target == "README.md" else target.removeprefix(DOCS)
        return found[1] + posixpath.relpath(on_site, posixpath.dirname(uri) or ".")

    return LINK.sub(rewritten, markdown)


def rooms() -> list[str]:
    """Packages and modules of ``fast_style``, in order of name."""
    found = (path for path in (ROOT / "fast_style").iterdir() if path.name[0] not in "_.")
    return sorted(
        path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").is_file()
    )


def reference(room: str) -> str:
    """The page of a room: its docstring, then each of its modules."""
    lines = [f"# fast_style.{room}", "", f"::: fast_style.{room}", "    options:"]
    lines += ["      show_root_heading: false", "      show_root_toc_entry: false"]
    package = ROOT / "fast_style" / room
    if package.is_dir():  # what it exports stands below, in the module that defines it
        lines += ["      members: false", ""]
        modules = (path.relative_to(ROOT).with_suffix("") for path in package.rglob("[!_]*.py"))
        lines += [f"::: {'.'.join(module.parts)}\n" for module in sorted(modules)]
    return "\n".join([*lines, ""])


def targets(text: Path) -> set[str]:
    """Paths in the repository that a Markdown file links to."""
    source = text.relative_to(ROOT).as_posix()
    found = LINK.findall(text.read_text(encoding="utf-8"))
    return {path for _, link in found if (path := in_repository(source, link))}


def in_repository(source: str, link: str) -> str | None:
    """The path that a link of the file ``source`` leads to, or None for an address."""
    if re.match(r"[a-z]+:", link) or link.startswith("::"):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
