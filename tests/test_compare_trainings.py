"""Ways to train are compared by whole commands, as a user would give them."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "compare_trainings.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True
    )


def rows(printed: str) -> list[list[str]]:
    lines = [line for line in printed.splitlines() if line.startswith("| stained-glass")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_a_training_is_measured_and_not_done_again(tmp_path: Path) -> None:
    tiny = "experiment=quickstart data.size=64 data.workers=0"
    short = f"a step: {tiny} trainer.max_steps=1"
    based = f"from the base: {tiny} trainer.max_steps=1 init=base"
    ways: list[str | Path] = [
        "--painting",
        "stained-glass",
        "--seeds",
        "1",
        "--size",
        "96",
        "-o",
        tmp_path,
    ]

    first = run(short, *ways)
    assert first.returncode == 0, first.stderr
    [alone] = rows(first.stdout)

    second = run(short, based, *ways)
    assert second.returncode == 0, second.stderr
    again, other = rows(second.stdout)
    assert again == alone
    assert "1 of 2" not in second.stdout
    assert "2 of 2: stained-glass, from the base, seed 0" in second.stdout
    assert other[1] == "from the base"
    # A network that paints already is ahead of one step from nothing.
    assert float(other[2]) < 0.9 * float(alone[2])


@pytest.mark.parametrize("variant", ["no colon", ": steps=1"])
def test_a_variant_needs_a_name(tmp_path: Path, variant: str) -> None:
    refused = run(variant, "--painting", "stained-glass", "-o", tmp_path)
    assert refused.returncode == 2
    assert "write a name, a colon" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_pictures_too_small_to_measure_are_refused_before_training(tmp_path: Path) -> None:
    refused = run("a: x=1", "--painting", "stained-glass", "--size", "64", "-o", tmp_path)
    assert refused.returncode == 2
    assert "64 px are too small" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_training_that_fails_ends_it(tmp_path: Path) -> None:
    refused = run("broken: model=none", "--painting", "stained-glass", "-o", tmp_path)
    assert refused.returncode == 2
    assert "stained-glass by broken failed" in refused.stderr
    assert "Traceback" not in refused.stderr
