"""The photo's colours in painted pictures, against formulas written out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import files, run
from numpy.typing import NDArray
from PIL import Image

from fast_style import Stylizer
from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.images import resize_picture, to_tensor
from fast_style.stylizing.colour import PRESERVE, Preserve, preserve_color

Array = NDArray[np.float64]


def bundled(path: Path, size: int = 96) -> Image.Image:
    return resize_picture(Image.open(path).convert("RGB"), size)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return bundled(PHOTOS / "coffee.jpg")


@pytest.fixture(scope="module")
def painted(photo: Image.Image) -> Image.Image:
    return bundled(PAINTINGS / "starry-night.jpg").resize(photo.size)


def oklab(picture: Image.Image) -> Array:
    """Ottosson's definition, through XYZ, as his page gives it."""
    values = np.asarray(picture) / 255
    light = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    xyz = light @ np.array(
        [
            [0.4124564, 0.2126729, 0.0193339],
            [0.3575761, 0.7151522, 0.1191920],
            [0.1804375, 0.0721750, 0.9503041],
        ]
    )
    cones = xyz @ np.array(
        [
            [0.8189330101, 0.0329845436, 0.0482003018],
            [0.3618667424, 0.9293118715, 0.2643662691],
            [-0.1288597137, 0.0361456387, 0.6338517070],
        ]
    )
    lab: Array = np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
    return lab


def statistics(picture: Image.Image) -> tuple[Array, Array]:
    values = np.asarray(picture).reshape(-1, 3) / 255
    return values.mean(axis=0), np.cov(values.T)


def test_luminance_is_the_styles_and_hue_the_photos(
    photo: Image.Image, painted: Image.Image
) -> None:
    result = oklab(preserve_color(photo, painted, "luminance"))
    ours, styles = oklab(photo), oklab(painted)
    # Dark levels are far apart in lightness, so a rounding moves them most.
    assert np.abs(result[..., 0] - styles[..., 0]).mean() < 0.002
    assert np.abs(result[..., 0] - styles[..., 0]).max() < 0.02
    chroma = np.hypot(result[..., 1], result[..., 2])
    photo_chroma = np.hypot(ours[..., 1], ours[..., 2])
    assert (chroma < photo_chroma + 0.01).all()
    assert np.median(photo_chroma - chroma) < 0.005
    colourful = (chroma > 0.05) & (photo_chroma > 0.05)
    cosine = (result * ours)[..., 1:].sum(axis=-1) / (chroma * photo_chroma).clip(1e-9)
    assert cosine[colourful].min() > 0.99


def test_a_picture_keeps_its_own_colours(photo: Image.Image) -> None:
    for how in PRESERVE:
        result = preserve_color(photo, photo, how)  # type: ignore[arg-type]
        difference = np.asarray(result, int) - np.asarray(photo, int)
        assert np.abs(difference).max() <= 1, how


def test_histogram_gives_mean_and_covariance_of_the_photo() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 90, 70, 3))
    mixing = np.eye(3) + 0.3 * rng.normal(size=(2, 3, 3))
    mixed = [0.45 + 0.08 * values @ matrix for values, matrix in zip(noise, mixing, strict=True)]
    photo, painted = (
        Image.fromarray((values * 255).round().clip(0, 255).astype(np.uint8)) for values in mixed
    )
    mean, covariance = statistics(preserve_color(photo, painted, "histogram"))
    expected_mean, expected_covariance = statistics(photo)
    assert np.abs(mean - expected_mean).max() < 0.005
    assert np.abs(covariance - expected_covariance).max() < 0.05 * expected_covariance.max()


def test_grain_of_flat_paint_is_not_amplified(photo: Image.Image) -> None:
    rng = np.random.default_rng(0)
    flat = Image.fromarray(rng.integers(127, 130, (*photo.size[::-1], 3), np.uint8))
    result = np.asarray(preserve_color(photo, flat, "histogram"), float)
    assert result.std(axis=(0, 1)).max() < 2.5


@pytest.mark.parametrize("how", PRESERVE)
def test_extreme_pictures(how: Preserve) -> None:
    for colours in (("black", "white"), ("white", "black"), ("blue", "yellow")):
        photo, painted = (Image.new("RGB", (20, 16), colour) for colour in colours)
        result = preserve_color(photo, painted, how)
        expected = colours[1] if how == "luminance" else colours[0]
        if colours[0] == "blue" and how == "luminance":
            assert np.abs(oklab(result)[..., 0] - oklab(painted)[..., 0]).max() < 0.01
        else:
            difference = np.asarray(result, int) - np.asarray(Image.new("RGB", (20, 16), expected))
            assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("how", PRESERVE)
def test_one_pass_bands_and_tensors_agree(photo: Image.Image, how: Preserve) -> None:
    whole = Stylizer("the-scream", "cpu", "float32", preserve_color=how)
    banded = Stylizer("the-scream", "cpu", "float32", band_rows=16, preserve_color=how)
    picture = np.asarray(whole(photo), int)
    assert np.abs(np.asarray(banded(photo), int) - picture).max() <= 2
    painted = Stylizer("the-scream", "cpu", "float32")(photo)
    assert np.array_equal(picture, np.asarray(preserve_color(photo, painted, how), int))
    tensor = to_tensor(photo).unsqueeze(0)
    result = whole(tensor)
    assert result.dtype == torch.float32
    assert result.shape == tensor.shape
    # Tensors get no grain.
    assert np.abs(result[0].permute(1, 2, 0).numpy() * 255 - picture).mean() < 2


def test_strength_is_between_the_photo_and_its_recoloured_style(photo: Image.Image) -> None:
    half = Stylizer("wave", "cpu", strength=0.5, preserve_color="luminance")(photo)
    nothing = Stylizer("wave", "cpu", strength=0, preserve_color="luminance")(photo)
    assert np.array_equal(np.asarray(nothing), np.asarray(photo))
    assert not np.array_equal(np.asarray(half), np.asarray(photo))


def test_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match="luminance or histogram, not hue"):
        Stylizer("wave", "cpu", preserve_color="hue")  # type: ignore[arg-type]


def test_the_command_preserves_colours(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    for how in (None, *PRESERVE):
        option = () if how is None else ("--preserve-color", how)
        done = run(
            "stylize", tmp_path / "photo.png", "--style", "wave", "-o", tmp_path / "out", *option
        )
        assert done.exit_code == 0, done.output
    # Other settings give another picture, which replaces none.
    assert len(files(tmp_path / "out")) == 3
    expected = Stylizer("wave", preserve_color="luminance")(photo)
    with Image.open(tmp_path / "out/photo-wave.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(expected))
