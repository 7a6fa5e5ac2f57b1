"""Styles between styles."""

from pathlib import Path

import numpy as np
import pytest
from command_line import complaints, files, refused, run
from PIL import Image

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, read_style, save_style
from fast_style.errors import UserError
from fast_style.images import resize_picture
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.blending import parse_blend, read_blend


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return resize_picture(Image.open(PHOTOS / "chelsea.jpg").convert("RGB"), 96)


def network_file(folder: Path, name: str, **shape: object) -> str:
    path = folder / f"{name}.safetensors"
    save_style(TrainedStyle(ImageTransformer((4, 8, 8), 1, **shape), name), path)  # type: ignore[arg-type]
    return str(path)


def test_weights_are_interpolated() -> None:
    wave, night = (read_style(name).weights for name in ("wave", "starry-night"))
    blend = read_blend({"wave": 3, "starry-night": 2})
    for name, array in blend.weights.items():
        assert array.dtype == np.float32
        assert np.allclose(array, 0.6 * wave[name] + 0.4 * night[name], atol=1e-6), name
    assert blend.config == read_style("wave").config


def test_all_of_one_style_is_that_style(photo: Image.Image) -> None:
    alone = np.asarray(Stylizer("wave", "cpu")(photo))
    blend = np.asarray(Stylizer({"wave": 1, "starry-night": 0}, "cpu")(photo))
    assert np.array_equal(blend, alone)


def test_a_blend_is_between_its_styles(photo: Image.Image) -> None:
    wave, blend, night = (
        np.asarray(Stylizer(style, "cpu", "float32")(photo), float)
        for style in ("wave", {"wave": 0.5, "starry-night": 0.5}, "starry-night")
    )
    apart = np.abs(wave - night).mean()
    assert np.abs(blend - wave).mean() < apart
    assert np.abs(blend - night).mean() < apart
    # Nor is it one of them: both are far away.
    assert np.abs(blend - wave).mean() > 0.2 * apart
    assert np.abs(blend - night).mean() > 0.2 * apart


def test_bands_and_strengths_blend_too(photo: Image.Image) -> None:
    shares = {"wave": 0.6, "the-scream": 0.4}
    whole, banded = (
        np.asarray(Stylizer(shares, "cpu", "float32", 0.5, band_rows=rows)(photo), int)
        for rows in (None, 16)
    )
    assert np.abs(whole - banded).max() <= 2


def test_networks_of_other_shapes_are_refused(tmp_path: Path) -> None:
    small = network_file(tmp_path, "small")
    with pytest.raises(UserError, match=r"different shapes, widths=\[32, 64, 128\].*\[4, 8, 8\]"):
        read_blend({"wave": 1, small: 1})
    with pytest.raises(UserError, match="'wave' and 'small/wave' cannot be blended"):
        read_blend({"wave": 1, "small/wave": 1})


def test_full_strength_alone_blends_with_adjustable_ones(tmp_path: Path) -> None:
    fixed = network_file(tmp_path, "fixed")
    adjustable = network_file(tmp_path, "adjustable", adjustable=True)
    assert not read_blend({fixed: 1, adjustable: 1}).config["adjustable"]
    assert read_blend({adjustable: 1, adjustable.replace("adj", "./adj"): 1}).config["adjustable"]


@pytest.mark.parametrize(
    "shares", [{"wave": -1.0, "the-scream": 2.0}, {"wave": 0.0}, {"wave": float("nan")}, {}]
)
def test_impossible_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        read_blend(shares)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("wave:0.6,starry-night:0.4", {"wave": 0.6, "starry-night": 0.4}),
        ("wave, starry-night", {"wave": 1, "starry-night": 1}),
        (r"C:\a b.safetensors:2,wave:1", {r"C:\a b.safetensors": 2, "wave": 1}),
    ],
)
def test_blends_on_the_command_line(text: str, shares: dict[str, float]) -> None:
    assert parse_blend(text) == shares


@pytest.mark.parametrize(
    "text", ["", "wave:", ":1", "wave:a", "wave:1,wave:2", "wave:-1", "wave:0"]
)
def test_other_words_are_refused(text: str) -> None:
    result = run("stylize", "photo.jpg", "--blend", text)
    assert result.exit_code == 2
    assert "--blend" in complaints(result)[-1]


@pytest.mark.parametrize("share", ["nan", "inf", "much"])
def test_a_share_that_is_no_number(share: str) -> None:
    result = run("stylize", "photo.jpg", "--blend", f"the-scream,wave:{share}")
    assert result.exit_code == 2
    assert f"'{share}' of 'wave' is not a number" in complaints(result)[-1]


def test_the_command_blends(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    command = ("stylize", tmp_path / "photo.png", "-o", tmp_path / "out", "--blend")
    for _ in range(2):  # the second replaces the first
        assert run(*command, "wave:0.6,starry-night:0.4").exit_code == 0
    assert files(tmp_path / "out") == ["photo.png"]
    assert run(*command, "wave:0.4,starry-night:0.6").exit_code == 0
    assert files(tmp_path / "out") == ["photo-wave40-starry-night60.png", "photo.png"]
    with Image.open(tmp_path / "out/photo.png") as written:
        expected = Stylizer({"wave": 0.6, "starry-night": 0.4})(photo)
        assert np.array_equal(np.asarray(written), np.asarray(expected))


def test_small_styles_in_a_blend_are_named(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    for blend in ("small/wave:1,small/starry-night:3", "small/wave:3,small/starry-night:1"):
        command = ("stylize", tmp_path / "photo.png", "-o", tmp_path / "out", "--blend", blend)
        assert run(*command).exit_code == 0
    assert files(tmp_path / "out") == ["photo-small-wave75-small-starry-night25.png", "photo.png"]
    shares = {"small/wave": 1, "small/starry-night": 3}
    assert Stylizer(shares, "cpu").name == "small-wave25-small-starry-night75"


def test_style_or_blend(tmp_path: Path) -> None:
    both = run("stylize", "photo.jpg", "--style", "wave", "--blend", "wave:1")
    assert "exclude each other" in complaints(both)[-1]
    neither = run("stylize", "photo.jpg")
    assert neither.exit_code == 2
    assert "Missing option '--style'" in neither.stderr
    assert "starry-night" in neither.stderr
    refused(run("stylize", "photo.jpg", "--blend", "wave:1,waev:1"), "waev", "one of: ")
