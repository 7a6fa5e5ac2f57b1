"""The pages hold: links lead somewhere, commands exist, settings compose, named files are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from click.testing import CliRunner

from fast_style.cli import main

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md"))
    if path.relative_to(ROOT).parts[0] not in ("runs", "site", "shared")
)
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("fast_style", "conf", "scripts", "docs", "tests", "checkpoints", "notebooks")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def outside_blocks(page: Path) -> str:
    return BLOCK.sub("", text(page))


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*?) *#*$", outside_blocks(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of the pages' blocks: where it stands, and its words without ``uv run``."""
    for page in PAGES:
        for block in BLOCK.findall(text(page)):
            for line in block.replace("\\\n", " ").splitlines():
                if not re.match(r"(\w+=\S+ )*(uv run|fast-style|python|scripts/)", line):
                    continue
                words = shlex.split(line, comments=True)
                while re.match(r"\w+=", words[0]):
                    del words[0]
                if words[:2] == ["uv", "run"]:
                    del words[:2]
                while words[0] in ("--with", "--group"):
                    del words[:2]
                yield page.name, words


def inline_code() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for code in re.findall(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", outside_blocks(page)):
            yield page.name, " ".join(code.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", outside_blocks(page))
    links += re.findall(r'(?:src|href)="([^"]+)"', outside_blocks(page))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        if anchor:
            assert anchor in anchors(target), f"{link} has no such heading"


def test_commands_exist_and_know_their_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = [(page, words[1:]) for page, words in commands() if words[0] == "fast-style"]
    said += [
        (page, words)
        for page, code in inline_code()
        if re.match(r"(uv run )?fast-style \w", code)
        and (words := shlex.split(code.removeprefix("uv run ").removeprefix("fast-style ")))
    ]
    assert len(said) > 20
    for page, (name, *given) in said:
        command = main.commands.get(name)
        assert command is not None, f"{page}: fast-style {name}"
        try:
            command.make_context(name, given, resilient_parsing="--help" in given)
        except click.MissingParameter:  # prose names an option without the rest
            pass
        except click.ClickException as error:
            pytest.fail(f"{page}: fast-style {name} {shlex.join(given)}: {error.format_message()}")


def overrides() -> dict[str, list[str]]:
    """What the pages give to ``train``, by where: in commands, variants and inline code."""
    found: dict[str, list[str]] = {}
    for page, words in commands():
        if words[:2] == ["fast-style", "train"] and "--help" not in words:
            found[f"{page}: {shlex.join(words)}"] = words[2:]
        for word in words:
            if words[0] == "python" and re.match(r"[\w-]+: ", word):
                found[f"{page}: {word}"] = word.partition(":")[2].split()
    for page, code in inline_code():
        words = code.split()
        if words[0] == "-m":
            words = words[1:]
        if all(re.match(r"[a-z_]+(\.[a-z_]+)*=[^=]", word) for word in words):
            found[f"{page}: {code}"] = words
    return found


@pytest.mark.parametrize("line", sorted(overrides()))
def test_settings_compose(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if line.endswith("=...") or "ckpt_path=" in line or "scripts/" in line:
        return
    monkeypatch.chdir(tmp_path)
    for name in ("mine.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    # A list of paintings for -m, one after the other.
    given = [word for word in overrides()[line] if word != "-m"]
    given = [word.partition(",")[0] if word.startswith("style=") else word for word in given]
    result = CliRunner().invoke(main, ["train", *given, "--cfg", "job"])
    assert result.exit_code == 0, f"{result.output}\n{result.exception}"


def test_named_files_are_there() -> None:
    named = [(page, word) for page, words in commands() for word in words]
    named += [(page, word) for page, code in inline_code() for word in code.split()]
    for page, word in named:
        if word.split("/")[0] in FOLDERS and "/" in word and not re.search(r"[*={}:]", word):
            assert (ROOT / word).exists(), f"{page}: {word}"


def test_scripts_know_their_options() -> None:
    for page, words in commands():
        script = next((word for word in words if word.startswith("scripts/")), None)
        if script is None:
            continue
        path = ROOT / script
        sources = sorted(path.parent.rglob("*.py")) if path.suffix == ".py" else [path]
        known = "\n".join(map(text, sources if path.name == "__main__.py" else [path]))
        for option in (word for word in words if word.startswith("--")):
            assert f'"{option}"' in known, f"{page}: {script} {option}"
