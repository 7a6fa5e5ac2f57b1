"""Strokes wider than the network's own, against joint bilateral upsampling written out."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import complaints, run
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.errors import UserError
from fast_style.images import resize_picture, to_tensor
from fast_style.stylizing.strokes import RANGE, SPACE, bring_up, shrink, small_size
from fast_style.stylizing.torch_strokes import bring_up_on, bring_up_tensors


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return resize_picture(Image.open(PHOTOS / "astronaut.jpg").convert("RGB"), 121)


def written_out(
    photo: Image.Image, small: Image.Image, painted: Image.Image, x: int, y: int
) -> list[float]:
    """Kopf et al. 2007, equation 3, for one pixel and the 3 x 3 small pixels around it."""
    across = (x + 0.5) * small.width / photo.width - 0.5
    down = (y + 0.5) * small.height / photo.height - 0.5
    total, paint = 0.0, [0.0, 0.0, 0.0]
    for row in range(round(down) - 1, round(down) + 2):
        for column in range(round(across) - 1, round(across) + 2):
            at = (
                min(max(column, 0), small.width - 1),
                min(max(row, 0), small.height - 1),
            )
            colour, guide = photo.getpixel((x, y)), small.getpixel(at)
            assert isinstance(colour, tuple)
            assert isinstance(guide, tuple)
            apart = sum(((a - b) / 255) ** 2 for a, b in zip(colour, guide, strict=True))
            near = (column - across) ** 2 + (row - down) ** 2
            weight = math.exp(-apart / (2 * RANGE**2)) * math.exp(-near / (2 * SPACE**2))
            values = painted.getpixel(at)
            assert isinstance(values, tuple)
            total += weight
            paint = [sum_ + weight * value for sum_, value in zip(paint, values, strict=True)]
    return [value / total for value in paint]


def test_paint_is_brought_up_by_the_formula(photo: Image.Image) -> None:
    small = shrink(photo, 3)
    painted = Image.fromarray(255 - np.asarray(small)[:, ::-1])
    result = bring_up(photo, small, painted)
    assert result.size == photo.size
    rng = np.random.default_rng(0)
    corners = [(0, 0), (photo.width - 1, photo.height - 1), (0, photo.height - 1)]
    places = [(int(x), int(y)) for x, y in rng.integers(0, min(photo.size), (200, 2))]
    apart = []
    for place in corners + places:
        colour = result.getpixel(place)
        assert isinstance(colour, tuple)
        expected = written_out(photo, small, painted, *place)
        apart.append(max(abs(a - b) for a, b in zip(colour, expected, strict=True)))
    # A pixel whose colour no small pixel has takes the nearest paint in the program alone.
    assert np.median(apart) < 0.6
    assert np.quantile(apart, 0.95) < 3


def test_edges_of_the_paint_follow_the_photos() -> None:
    columns, rows = np.meshgrid(np.arange(160), np.arange(120))
    disc = np.hypot(columns - 71, rows - 53) < 37.5
    photo = Image.fromarray(np.where(disc[..., None], 230, 30).repeat(3, 2).astype(np.uint8))
    small = shrink(photo, 4)
    painted = Image.eval(small, lambda level: 255 - level)
    ours = np.asarray(bring_up(photo, small, painted), float)
    lanczos = np.asarray(painted.resize(photo.size, Image.Resampling.LANCZOS), float)
    ideal = np.where(disc[..., None], 25, 225)
    assert np.abs(ours - ideal).mean() < 0.4 * np.abs(lanczos - ideal).mean()


def test_strips_join_without_seams(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    small = shrink(photo, 2.5)
    whole = bring_up(photo, small, small)
    monkeypatch.setattr("fast_style.stylizing.strokes.PIXELS_AT_ONCE", 3 * photo.width)
    assert np.array_equal(np.asarray(bring_up(photo, small, small)), np.asarray(whole))


@pytest.mark.parametrize("pixels", [2**22, 500])
def test_a_device_brings_up_the_same(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    monkeypatch.setattr("fast_style.stylizing.torch_strokes.PIXELS_AT_ONCE", pixels)
    small = shrink(photo, 2.5)
    painted = Image.fromarray(255 - np.asarray(small)[:, ::-1])
    expected = np.asarray(bring_up(photo, small, painted), int)
    assert np.abs(np.asarray(bring_up_on("cpu", photo, small, painted), int) - expected).max() <= 1
    batch, small_batch, painted_batch = (
        torch.stack([to_tensor(each), to_tensor(each).flip(0)]) for each in (photo, small, painted)
    )
    both = bring_up_tensors(batch, small_batch, painted_batch)
    for brought_up in (both[0], both[1].flip(0)):
        levels = brought_up.permute(1, 2, 0).numpy() * 255
        assert np.abs(levels - expected).max() <= 1


def test_a_gpu_brings_up_on_its_tensors() -> None:
    """Index tensors, weights and pictures meet on one device."""
    with FakeTensorMode():
        photos, small = (torch.rand(2, 3, side, side, device="cuda") for side in (40, 16))
        assert bring_up_tensors(photos, small, small).device.type == "cuda"


def test_large_pictures_have_strokes_that_are_seen() -> None:
    photo = Image.open(PHOTOS / "rocket.jpg").convert("RGB").resize((880, 600))
    painted = np.asarray(Stylizer("small/wave", "cpu")(photo))
    assert np.array_equal(painted, np.asarray(Stylizer("small/wave", "cpu", stroke=1.1)(photo)))
    assert not np.array_equal(painted, np.asarray(Stylizer("small/wave", "cpu", stroke=1)(photo)))


def test_one_pass_bands_and_tensors_agree(photo: Image.Image) -> None:
    whole = Stylizer("the-scream", "cpu", "float32", stroke=3)
    picture = np.asarray(whole(photo), int)
    assert picture.shape == (121, 121, 3)
    banded = Stylizer("the-scream", "cpu", "float32", stroke=3, band_rows=16)
    assert np.abs(np.asarray(banded(photo), int) - picture).max() <= 2
    tensor = to_tensor(photo).unsqueeze(0)
    painted = whole(tensor)
    assert painted.shape == tensor.shape
    assert painted.dtype == tensor.dtype
    assert np.abs(painted[0].permute(1, 2, 0).numpy() * 255 - picture).mean() < 2


def test_a_stroke_of_one_changes_nothing(photo: Image.Image) -> None:
    same = [Stylizer("wave", "cpu")(photo), Stylizer("wave", "cpu", stroke=1)(photo)]
    same.append(Stylizer("wave", "cpu", stroke="auto")(photo))  # a small photo
    assert len({picture.tobytes() for picture in same}) == 1


def test_auto_paints_where_strokes_are_seen() -> None:
    assert small_size((1600, 1200), "auto") == (800, 600)
    assert small_size((12_000, 800), "auto") == (3000, 200)
    assert small_size((4000, 20), "auto") == (3200, 16)
    assert small_size((800, 600), "auto") == (800, 600)


def test_strokes_and_colours_go_together(photo: Image.Image) -> None:
    painted = Stylizer("wave", "cpu", stroke=2, preserve_color="luminance", strength=0.7)(photo)
    assert painted.size == photo.size


@pytest.mark.parametrize("stroke", [0.5, math.nan, math.inf, -1])
def test_other_strokes_are_refused(stroke: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Stylizer("wave", "cpu", stroke=stroke)


def test_a_photo_too_small_for_its_strokes_is_refused() -> None:
    stylize = Stylizer("wave", "cpu", stroke=4)
    with pytest.raises(UserError, match="at least 64 px a side"):
        stylize(Image.new("RGB", (200, 61)))


def test_the_command_takes_strokes(photo: Image.Image, tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    photo.save(source)
    command = ("stylize", source, "--style", "wave", "-o", tmp_path / "out.png", "--stroke")
    assert run(*command, "2.5").exit_code == 0
    with Image.open(tmp_path / "out.png") as written:
        expected = Stylizer("wave", stroke=2.5)(photo)
        assert np.array_equal(np.asarray(written), np.asarray(expected))
    assert run(*command, "auto").exit_code == 0
    for wrong in ("0.5", "wide", "nan"):
        result = run(*command, wrong)
        assert result.exit_code == 2
        assert "--stroke" in complaints(result)[-1]
    assert "'AUTO' is neither a number nor auto" in complaints(run(*command, "AUTO"))[-1]
