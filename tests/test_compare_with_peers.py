"""Pictures of other repositories are drawn and measured, from folders like their clones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from compare_with_peers import main
from fast_style import Stylizer
from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.evaluation import artifacts
from fast_style.images import find_pictures, open_picture, resize_picture, to_tensor
from fast_style.losses import PerceptualLoss
from fast_style.networks.transformer import ImageTransformer

LOSS: dict[str, Any] = {
    "network": "vgg16",
    "weights": "bundled",
    "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1", "relu2_1"],
    "style_weight": 10.0,
}
BY = "lengstrom/fast-style-transfer"


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with two stylized pictures, half the photo's size, and a network of one of them."""
    folder = tmp_path_factory.mktemp("peers")
    photo = resize_picture(open_picture(find_pictures(PHOTOS)[0]), 256)
    for kind, name in (("content", "chicago"), ("results", "chicago_wave")):
        (folder / "clone" / "examples" / kind).mkdir(parents=True)
        photo.save(folder / "clone" / "examples" / kind / f"{name}.jpg")
        photo = resize_picture(photo, 128).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    photo.save(folder / "clone" / "examples" / "results" / "chicago_udnie.jpg")
    torch.manual_seed(0)
    recipe = {
        "style": {"name": "wave", "image": "stained-glass.jpg", "size": 192},
        "loss": LOSS | {"_target_": "fast_style.losses.PerceptualLoss"},
    }
    network = ImageTransformer((4, 8, 8), residual_blocks=1)
    (folder / "ours").mkdir()
    save_style(TrainedStyle(network, "wave", recipe), folder / "ours" / "wave.safetensors")
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> Result:
    options: list[str | Path] = [
        "--checkpoints",
        folder / "ours",
        "--paintings",
        PAINTINGS,
        "-o",
        folder / "out",
    ]
    done = run(folder / "clone", *options)
    assert done.exit_code == 0, done.output
    return done


def pictures(folder: Path) -> dict[str, Image.Image]:
    theirs = open_picture(folder / "clone" / "examples" / "results" / "chicago_wave.jpg")
    photo = open_picture(folder / "clone" / "examples" / "content" / "chicago.jpg")
    photo = photo.resize(theirs.size, Image.Resampling.LANCZOS)
    ours = Stylizer(folder / "ours" / "wave.safetensors")(photo)
    return {"photo": photo, BY: theirs, "fast_style": ours}


def test_all_three_are_measured_with_our_painting_and_loss(folder: Path, done: Result) -> None:
    (found,) = json.loads((folder / "out" / "figures.json").read_text())
    assert (found["width"], found["height"]) == pictures(folder)[BY].size
    loss = PerceptualLoss(**LOSS)
    painting = open_picture(PAINTINGS / "stained-glass.jpg")
    tensors = {by: to_tensor(picture)[None] for by, picture in pictures(folder).items()}
    styles: dict[str, dict[int, float]] = {by: {} for by in tensors}
    for size in (192, 256, 384, 512, 768):
        scaled = to_tensor(resize_picture(painting, size))[None]
        loss.set_style_image(scaled)
        for by, tensor in tensors.items():
            losses = loss(tensor, tensors["photo"])
            styles[by][size] = losses["style"].item()
            if size == 192:
                figures = found["figures"][by]
                expected = {name: value.item() for name, value in losses.items()}
                assert figures["losses"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
                checkerboard = artifacts.checkerboard(tensor, scaled).item()
                assert figures["faults"]["checkerboard"] == pytest.approx(checkerboard, rel=1e-3)
    for by, tensor in tensors.items():
        figures = found["figures"][by]
        least = min((256, 384, 512, 768), key=lambda size: styles[by][size])
        kindest = {"style": styles[by][least], "painting_size": least}
        assert figures["kindest_style"] == pytest.approx(kindest, rel=1e-4)
        contrast = artifacts.border(tensor)["contrast_3"].item()
        assert figures["faults"]["border_contrast_3"] == pytest.approx(contrast, rel=1e-4)
    assert found["figures"]["photo"]["losses"]["content"] == 0


def test_the_table_has_a_row_for_each(done: Result, folder: Path) -> None:
    (found,) = json.loads((folder / "out" / "figures.json").read_text())
    header, _, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[1] for row in rows] == ["photo", BY, "fast_style"]
    for row in rows:
        assert row.count("|") == header.count("|")
        by, total = row.split(" | ")[1:3]
        assert total == f"{found['figures'][by]['losses']['total']:.2f}"
    assert f"left out: {folder / 'clone/examples/results/chicago_udnie.jpg'}," in done.stderr


def test_the_sheet_shows_them_in_full_size(folder: Path, done: Result) -> None:
    (found,) = json.loads((folder / "out" / "figures.json").read_text())
    sheet = np.asarray(open_picture(folder / "out" / found["sheet"]))
    lefts = []
    for picture in map(np.asarray, pictures(folder).values()):
        windows = np.lib.stride_tricks.sliding_window_view(sheet[24:], picture.shape)[0, :, 0]
        (left,) = [at for at, window in enumerate(windows) if np.array_equal(window, picture)]
        lefts.append(left)
    assert lefts == sorted(lefts)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["ours"], "ours has no picture of jcjohnson/fast-neural-style"),
        (["clone", "--checkpoints", "clone"], "clone holds no network"),
        (["clone", "--paintings", "clone"], "stained-glass.jpg, is not in clone"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    options: list[str | Path] = [
        "--checkpoints",
        "ours",
        "--paintings",
        PAINTINGS,
        "-o",
        "nothing",
        *given,
    ]
    done = run(*options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (folder / "nothing").exists()
