"""Variants of training are compared by whole trainings, each done once."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from compare_trainings import main
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.evaluation.evaluate import Plan, evaluate
from fast_style.images import open_picture, resize_picture, save_picture
from fast_style.networks.transformer import ImageTransformer

SCRIPT = Path(__file__).parent.parent / "scripts" / "compare_trainings.py"

# As short as a training gets.
TINY = (
    "experiment=quickstart trainer.max_steps=1 data.size=32 data.batch_size=1 data.workers=0 "
    "data.val_size=32 data.val_count=1 style.size=128"
)
RECIPE = {
    "style": {"image": "stained-glass.jpg", "size": 128},
    "loss": {"_target_": "fast_style.losses.PerceptualLoss"},
}


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rows(printed: str) -> list[list[str]]:
    lines = [line for line in printed.splitlines() if line.startswith("| stained-glass")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_only_what_is_missing_is_trained_and_all_is_measured(tmp_path: Path) -> None:
    out, held_out = tmp_path / "out", tmp_path / "photos"
    save_picture(resize_picture(open_picture(PHOTOS / "chelsea.jpg"), 160), held_out / "photo.jpg")
    torch.manual_seed(0)
    present = out / "stained-glass" / "untrained-0" / "glass.safetensors"
    save_style(
        TrainedStyle(ImageTransformer((4, 8, 8), residual_blocks=1), "glass", RECIPE), present
    )
    before = present.read_bytes()

    given = (
        *("untrained: no=such key=and.never=read", f"from the base: {TINY} init=base"),
        *("--painting", "stained-glass", "--held-out", held_out),
        *("--seeds", "1", "--size", "96", "-o", out),
    )
    done = run(*given)
    assert done.exit_code == 0, done.stderr
    assert present.read_bytes() == before
    assert "1 of 2" not in done.stdout
    assert "2 of 2: stained-glass, from the base, seed 0" in done.stdout

    again = run(*given)
    assert " of 2: " not in again.stdout
    assert rows(again.stdout) == rows(done.stdout)

    untrained, based = rows(done.stdout)
    assert [untrained[1], based[1]] == ["untrained", "from the base"]
    # A network that paints already is ahead of one that was never trained.
    assert float(based[2]) < 0.9 * float(untrained[2])
    # As `fast-style evaluate` measures it, whatever loss the network names.
    (trained,) = (out / "stained-glass" / "from the base-0").glob("*.safetensors")
    plan = Plan([str(trained)], held_out, sizes=(96,), evaluations=0, loss="vgg16")
    (checkpoint,) = evaluate(plan, tmp_path / "report").checkpoints
    assert based[2] == f"{checkpoint.sizes[96].losses['total']:.3g}"
    assert based[5] == f"{checkpoint.sizes[96].artifacts['checkerboard']:.3g}"


@pytest.mark.parametrize("variant", ["no colon", ": steps=1"])
def test_a_variant_needs_a_name(tmp_path: Path, variant: str) -> None:
    command: list[str | Path] = [sys.executable, SCRIPT, variant, "-o", tmp_path]
    command += ["--painting", "stained-glass"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "write a name, a colon" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_pictures_too_small_to_measure_are_refused_before_training(tmp_path: Path) -> None:
    refused = run("a: x=1", "--painting", "stained-glass", "--size", "64", "-o", tmp_path)
    assert refused.exit_code == 2
    assert "64 px are too small" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_training_that_fails_ends_it(tmp_path: Path) -> None:
    refused = run("broken: model=none", "--painting", "stained-glass", "-o", tmp_path)
    assert refused.exit_code == 2
    assert "stained-glass by broken failed" in refused.stderr
