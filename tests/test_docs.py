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


def overrides() -> Iterator[list[str]]:
    """What the pages give to ``train``: in commands, in variants of trainings, in inline code."""
    for _, words in commands():
        if words[:2] == ["fast-style", "train"]:
            yield [word for word in words[2:] if word not in ("-m", "--help")]
        elif words[0] == "python":
            yield from (
                word.partition(":")[2].split() for word in words if re.match(r"[\w-]+: ", word)
            )
    for _, code in inline_code():
        words = code.removeprefix("-m ").split()
        if all(re.match(r"\+?[a-z_]+(\.[a-z_]+)*=[^=.]", word) for word in words):
            yield words


def batches() -> list[list[str]]:
    """The overrides in few lists, without another choice of a part and without a key twice."""
    apart: set[tuple[str, ...]] = set()
    together: list[dict[str, str]] = [{}]
    for words in overrides():
        pairs = dict(word.split("=", 1) for word in words)
        if any((ROOT / "conf" / key).is_dir() for key in pairs):
            apart.add(tuple(words))
            continue
        fits = (batch for batch in together if all(batch.get(k, v) == v for k, v in pairs.items()))
        batch = next(fits, None)
        if batch is None:
            together.append(batch := {})
        batch.update(pairs)
    return [*map(list, sorted(apart)), *([f"{k}={v}" for k, v in b.items()] for b in together)]


def test_settings_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    for words in batches():
        # The first of several paintings for -m; a run to resume is read, and there is none.
        given = [word.partition(",")[0] if word.startswith("style=") else word for word in words]
        given = [word for word in given if not word.startswith("ckpt_path=")]
        result = CliRunner().invoke(main, ["train", *given, "--cfg", "job"])
        assert result.exit_code == 0, f"{shlex.join(given)}: {result.output} {result.exception}"


def test_named_files_are_there() -> None:
    named = [(page, word) for page, words in commands() for word in words]
    named += [(page, word) for page, code in inline_code() for word in code.split()]
    for page, word in named:
        if word.split("/")[0] in FOLDERS and "/" in word and not re.search(r"[*={}:]", word):
            assert (ROOT / word).exists(), f"{page}: {word}"


def test_scripts_know_their_options() -> None:
    for page, words in commands():
        script = next((word for word in words if re.match(r"scripts/.*\.(py|sh)$", word)), None)
        if script is None:
            continue
        path = ROOT / script
        known = "\n".join(map(text, sorted(path.rglob("*.py")) if path.is_dir() else [path]))
        for option in (word for word in words if word.startswith("--")):
            assert f'"{option}"' in known, f"{page}: {script} {option}"
