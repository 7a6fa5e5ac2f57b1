"""The pages hold: links lead somewhere, commands exist, settings compose, named files are there."""

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
import torch
import yaml
from click.testing import CliRunner
from hydra.utils import instantiate

from fast_style.cli import main
from fast_style.config.compose import compose_config
from fast_style.config.paths import rewrite
from fast_style.losses import PerceptualLoss

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
    """The overrides in few lists, and no key twice: those of the same parts together, and those
    that only choose parts."""
    found: list[tuple[dict[str, str], dict[str, str]]] = []
    for words in overrides():
        pairs = dict(word.split("=", 1) for word in words)
        parts = {key: value for key, value in pairs.items() if (ROOT / "conf" / key).is_dir()}
        for others, batch in found:
            alike = others == parts or (others == batch and parts == pairs)
            if alike and all(batch.get(k, v) == v for k, v in pairs.items()):
                others.update(parts)
                batch.update(pairs)
                break
        else:
            found.append((parts, pairs))
    return [[f"{key}={value}" for key, value in batch.items()] for _, batch in found]


def test_settings_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    leaf = tmp_path / "my_conf" / "loss" / "brightness.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text(added("loss")[1])
    for words in batches():
        # The first of several paintings for -m; a run to resume is read, and there is none.
        given = [word.partition(",")[0] if word.startswith("style=") else word for word in words]
        given = [word for word in given if not word.startswith("ckpt_path=")]
        if "--config-dir=my_conf" in given:  # the command alone knows it
            result = CliRunner().invoke(main, ["train", *given, "--cfg", "job"])
            assert result.exit_code == 0, f"{shlex.join(given)}: {result.output}"
        else:
            compose_config(rewrite(given))


def test_named_files_are_there() -> None:
    named = [(page, word) for page, words in commands() for word in words]
    named += [(page, word) for page, code in inline_code() for word in code.split()]
    for page, word in named:
        if word.split("/")[0] in FOLDERS and "/" in word and not re.search(r"[*={}:]", word):
            assert (ROOT / word).exists(), f"{page}: {word}"
        elif re.fullmatch(r"[a-z_]+/[a-z_]+\.py", word):  # in a room
            assert (ROOT / "fast_style" / word).exists(), f"{page}: {word}"


def added(part: str) -> list[str]:
    """The Python and the YAML of the page that says how to add a part."""
    section = text(ROOT / "docs" / "architecture.md").partition(f"## Add a {part}")[2]
    return re.findall(r"^```(?:python|yaml)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[:2]


def test_the_added_data_set_gives_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, leaf = added("data set")
    (tmp_path / "my_data.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    dataset = instantiate(yaml.safe_load(leaf)["dataset"] | {"size": 32, "seed": 0})
    image, skipped = dataset[0, 5]
    assert image.shape == (3, 32, 32)
    assert not skipped


def test_the_added_loss_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, leaf = added("loss")
    (tmp_path / "my_losses.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    term = instantiate(yaml.safe_load(leaf)["terms"]["brightness"])
    loss = PerceptualLoss("vgg16", "bundled", ["relu1_1"], ["relu1_1"], terms={"brightness": term})
    loss.set_style_image(torch.full((1, 3, 32, 32), 0.75))
    losses = loss(torch.full((1, 3, 32, 32), 0.25), torch.full((1, 3, 32, 32), 0.25))
    assert losses["brightness"] == 0.25
    others = losses["content"] + 10 * losses["style"]
    assert losses["total"] == pytest.approx(float(others) + 3 * 0.25)


def floors() -> dict[str, int]:
    """The floor of each room in the drawing of the floor plan, from the ground up."""
    drawing = text(ROOT / "docs" / "pictures" / "floor-plan.svg")
    found = re.findall(r'class="box" x="\d+" y="(\d+)".*\n.*class="room".*?>(\w+)<', drawing)
    return {room: -int(top) for top, room in found}


class _Imports(ast.NodeVisitor):
    """Collects the rooms that a module imports, except for types alone."""

    def __init__(self) -> None:
        self.rooms: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._add(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._add(f"{node.module}.{alias.name}" for alias in node.names)

    def _add(self, names: Iterable[str]) -> None:
        self.rooms |= {name.split(".")[1] for name in names if name.startswith("fast_style.")}


def test_imports_go_down_the_floor_plan() -> None:
    package, floor = ROOT / "fast_style", floors()
    inside = {
        path.name.removesuffix(".py") for path in package.glob("[!_]*") if path.name != "assets"
    }
    assert set(floor) == inside
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        imports = _Imports()
        imports.visit(ast.parse(text(path)))
        for other in imports.rooms & inside - {room} if room in inside else ():
            assert floor[other] < floor[room], f"{path}: {room} imports {other}"


def test_scripts_know_their_options() -> None:
    for page, words in commands():
        script = next((word for word in words if re.match(r"scripts/.*\.(py|sh)$", word)), None)
        if script is None:
            continue
        path = ROOT / script
        packages = path.parent.glob("*/**/*.py")  # which the script may import
        known = "\n".join(map(text, (path, *packages)))
        for option in (word for word in words if word.startswith("--")):
            assert f'"{option}"' in known, f"{page}: {script} {option}"
