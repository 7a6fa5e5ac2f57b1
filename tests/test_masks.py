"""Paint only where a mask is white."""

import logging
from pathlib import Path

import numpy as np
import pytest
from command_line import complaints, files, refused, run
from numpy.typing import NDArray
from PIL import Image

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.images import resize_picture, to_tensor
from fast_style.stylizing.masks import Mask, read_mask


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return resize_picture(Image.open(PHOTOS / "rocket.jpg").convert("RGB"), 96)


@pytest.fixture(scope="module")
def painted(photo: Image.Image) -> NDArray[np.float64]:
    return np.asarray(Stylizer("wave", "cpu")(photo), float)


def halves(size: tuple[int, int], left: int = 0, right: int = 255) -> Image.Image:
    mask = Image.new("L", size, left)
    mask.paste(right, (size[0] // 2, 0, *size))
    return mask


def test_white_is_painted_and_black_stays(photo: Image.Image, painted: NDArray[np.float64]) -> None:
    result = np.asarray(Stylizer("wave", "cpu", mask=halves(photo.size))(photo))
    assert np.array_equal(result[:, :48], np.asarray(photo)[:, :48])
    assert np.array_equal(result[:, 48:], painted[:, 48:])


def test_greys_are_painted_in_part(photo: Image.Image, painted: NDArray[np.float64]) -> None:
    result = np.asarray(Stylizer("wave", "cpu", mask=Image.new("L", (8, 8), 51))(photo))
    expected = 0.8 * np.asarray(photo, float) + 0.2 * painted
    assert np.abs(result - expected).max() <= 1


def test_a_mask_is_stretched_to_the_photo(
    photo: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fitted = np.asarray(Mask(halves((48, 32))).fitted((480, 320)))
        assert not caplog.records
        assert (fitted[:, :230] == 0).all()
        assert (fitted[:, 250:] == 255).all()
        Mask(halves((48, 32))).fitted((100, 100))
        assert "48 x 32 px is stretched" in caplog.text


def test_feather_blurs_edges_as_a_gaussian_does() -> None:
    row = np.asarray(Mask(halves((400, 20)), feather=8).fitted((400, 20)), float)[10] / 255
    slope = np.diff(row)
    places = np.arange(1, 400) - 200
    spread = (slope * places**2).sum() / slope.sum()
    assert abs(slope.sum() - 1) < 0.01
    assert abs(spread**0.5 - 8) < 0.5


def test_one_mask_serves_photos_of_all_sizes() -> None:
    mask = Mask(halves((30, 20)), feather=1)
    for size in ((60, 40), (90, 60), (60, 40), (30, 20)):
        assert mask.fitted(size).size == size
        assert mask.fitted(size).getpixel((0, 0)) == 0


def test_transparent_places_stay_the_photo(tmp_path: Path) -> None:
    both = Image.new("LA", (20, 20), (255, 0))
    both.paste((255, 255), (10, 0, 20, 20))
    both.save(tmp_path / "mask.png")
    for mask in (read_mask(tmp_path / "mask.png"), Mask(both).fitted((20, 20))):
        assert mask.getpixel((2, 2)) == 0
        assert mask.getpixel((15, 2)) == 255


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_is_as_opaque_as_grey_of_8(tmp_path: Path, suffix: str) -> None:
    grey = np.tile(np.arange(256, dtype=np.uint16), (20, 1))
    Image.fromarray(grey * 257).save(tmp_path / f"mask.{suffix}")
    with Image.open(tmp_path / f"mask.{suffix}") as deep:
        assert deep.mode == "I;16"
        masks = (read_mask(tmp_path / f"mask.{suffix}"), Mask(deep).fitted((256, 20)))
    for mask in masks:
        assert np.array_equal(np.asarray(mask), grey)


def test_bands_strokes_and_tensors_are_masked(photo: Image.Image) -> None:
    mask = halves(photo.size, left=100)
    mask.paste(0, (0, 0, 20, photo.height))
    options = {"mask": mask, "stroke": 2, "preserve_color": "luminance", "strength": 0.7}
    whole = Stylizer("wave", "cpu", "float32", **options)  # type: ignore[arg-type]
    picture = np.asarray(whole(photo), int)
    assert np.array_equal(picture[:, :20], np.asarray(photo)[:, :20])
    banded = Stylizer("wave", "cpu", "float32", band_rows=16, **options)  # type: ignore[arg-type]
    assert np.abs(np.asarray(banded(photo), int) - picture).max() <= 2
    tensor = to_tensor(photo).unsqueeze(0)
    result = whole(tensor)
    assert bool((result[..., :20] == tensor[..., :20]).all())
    assert np.abs(result[0].permute(1, 2, 0).numpy() * 255 - picture).mean() < 2


def test_the_command_masks_a_folder(photo: Image.Image, tmp_path: Path) -> None:
    for name, size in (("a", 96), ("b", 64)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        resize_picture(photo, size).save(tmp_path / f"photos/{name}.png")
    halves(photo.size).save(tmp_path / "mask.png")
    command = ("stylize", tmp_path / "photos", "--style", "wave", "-o", tmp_path / "out")
    masked = (*command, "--mask", tmp_path / "mask.png", "--feather", "2")
    for _ in range(2):
        assert run(*masked).exit_code == 0
    assert files(tmp_path / "out") == ["a.png", "b.png"]
    for name in "ab":
        with (
            Image.open(tmp_path / f"photos/{name}.png") as source,
            Image.open(tmp_path / f"out/{name}.png") as written,
        ):
            ours, theirs = np.asarray(written), np.asarray(source)
            assert np.array_equal(ours[:, :20], theirs[:, :20])
            assert not np.array_equal(ours[:, 50:], theirs[:, 50:])
    # Without a mask, it is another picture.
    assert run(*command).exit_code == 0
    assert len(files(tmp_path / "out")) == 4


def test_wrong_masks_are_refused(tmp_path: Path) -> None:
    command = ("stylize", "photo.jpg", "--style", "wave", "-o", tmp_path / "out")
    refused(run(*command, "--mask", tmp_path / "none.png"), "none.png")
    alone = run(*command, "--feather", "3")
    assert alone.exit_code == 2
    assert "--mask" in complaints(alone)[-1]
    with pytest.raises(ValueError, match="feather is a number of at least 0"):
        Stylizer("wave", "cpu", mask=Image.new("L", (4, 4)), feather=-1)
