"""Transparent pictures: hidden colours do not bleed, and alpha is written."""

from pathlib import Path

import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray
from picture_files import ORIENTATION, noise
from PIL import Image

from fast_style.images import WholePhoto, open_photo, open_picture
from fast_style.images.floats import to_image
from fast_style.images.transparency import fill_transparent

ALPHA_SUFFIXES = [".png", ".webp", ".tif", ".avif"]


def disc(side: int = 60) -> NDArray[np.uint8]:
    """An alpha that falls from 255 to 0 over a few pixels."""
    y, x = np.mgrid[:side, :side] - side / 2
    return (255 * ((side / 3 - np.hypot(x, y)) / 6).clip(0, 1)).round().astype(np.uint8)


def hiding(colour: tuple[int, int, int], side: int = 60) -> Image.Image:
    """Noise with the alpha of `disc`, and one colour under all that is transparent."""
    colours = noise(side, side).copy()
    colours[disc(side) == 0] = colour
    return Image.fromarray(np.dstack([colours, disc(side)]))


def test_filled_with_what_is_around() -> None:
    colours, alpha = np.full((64, 64, 3), (255, 0, 255), np.uint8), np.zeros((64, 64), np.uint8)
    colours[:, 28:32], alpha[:, 28:32] = (200, 10, 20), 255
    colours[:, 32:36], alpha[:, 32:36] = (10, 200, 20), 255
    filled = np.asarray(fill_transparent(Image.fromarray(colours), Image.fromarray(alpha)))
    np.testing.assert_array_equal(filled[:, 28:36], colours[:, 28:36])
    np.testing.assert_allclose(filled[32, 27], (200, 10, 20), atol=4)
    np.testing.assert_allclose(filled[32, 36], (10, 200, 20), atol=4)
    assert filled[..., 2].max() < 40  # nothing of the hidden colour
    assert np.abs(np.diff(filled[32].astype(int), axis=0)[:27]).max() < 30  # no edges


def test_filled_from_faint_pixels_alone() -> None:
    colours, alpha = Image.new("RGB", (9, 7), (10, 20, 30)), Image.new("L", (9, 7))
    colours.putpixel((4, 3), (90, 80, 70))
    alpha.putpixel((4, 3), 3)
    filled = np.asarray(fill_transparent(colours, alpha)).astype(int)
    np.testing.assert_allclose(filled, np.full((7, 9, 3), (90, 80, 70)), atol=2)


def test_nothing_to_fill_from() -> None:
    filled = to_image(fill_transparent(Image.new("RGB", (5, 3), "red"), Image.new("L", (5, 3))))
    assert filled.getcolors() == [(15, (255, 255, 255))]


def test_resized_as_light_through_glass() -> None:
    photo = WholePhoto(hiding((255, 0, 255)).convert("RGB"), Image.fromarray(disc()))
    resized = photo.resized(23)
    # By hand: colours weighted by alpha, in floats, then divided by the resized alpha.
    share = disc() / 255
    channels = [share, *(np.asarray(photo.colours)[..., c] * share for c in range(3))]
    scaled = [
        np.asarray(Image.fromarray(c.astype(np.float32)).resize((23, 23), Image.Resampling.LANCZOS))
        for c in channels
    ]
    seen = scaled[0] > 0.2
    expected = np.stack([c[seen] / scaled[0][seen] for c in scaled[1:]], axis=-1).clip(0, 255)
    np.testing.assert_allclose(np.asarray(resized.colours)[seen], expected, atol=6)
    assert resized.alpha is not None
    alpha = (255 * scaled[0]).clip(0, 255)
    np.testing.assert_allclose(np.asarray(resized.alpha), alpha, atol=2)


@pytest.mark.parametrize("suffix", ALPHA_SUFFIXES)
def test_alpha_of_the_output_is_alpha_of_the_input(
    tmp_path: Path, style: Path, suffix: str
) -> None:
    hiding((255, 0, 255)).save(tmp_path / "p.png")
    out = tmp_path / f"q{suffix}"
    assert run("stylize", tmp_path / "p.png", "--style", style, "-o", out).exit_code == 0
    with Image.open(out) as painted:
        assert painted.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(painted)[..., 3], disc())


@pytest.mark.parametrize("size", [[], ["--size", "40"]])
def test_hidden_colours_do_not_matter(tmp_path: Path, style: Path, size: list[str]) -> None:
    painted = []
    for colour in ((255, 0, 255), (0, 255, 0)):
        hiding(colour).save(tmp_path / "p.png")
        run("stylize", tmp_path / "p.png", "--style", style, "-o", tmp_path / "q.png", *size)
        painted.append((tmp_path / "q.png").read_bytes())
    assert painted[0] == painted[1]


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_over_white_without_room_for_alpha(tmp_path: Path, style: Path, suffix: str) -> None:
    picture = hiding((255, 0, 255))
    picture.save(tmp_path / "p.png")
    white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    white.convert("RGB").save(tmp_path / "white.png")
    for name in ("p", "white"):
        out = tmp_path / f"{name}{suffix}"
        run("stylize", tmp_path / f"{name}.png", "--style", style, "-o", out)
    of_alpha, of_white = (open_picture(tmp_path / f"{n}{suffix}") for n in ("p", "white"))
    difference = np.abs(np.asarray(of_alpha, dtype=int) - np.asarray(of_white))
    assert difference.mean() < 1  # the two laid over white round differently


def test_alpha_is_turned_with_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    alpha = noise(40, 30, 1)[..., 0]
    Image.fromarray(np.dstack([noise(40, 30), alpha])).save(tmp_path / "p.png", exif=exif)
    photo = open_photo(tmp_path / "p.png")
    assert photo.colours.size == (30, 40)
    np.testing.assert_array_equal(np.asarray(photo.alpha), np.rot90(alpha, -1))


def test_an_alpha_that_hides_nothing_is_none(tmp_path: Path) -> None:
    Image.fromarray(noise()).convert("RGBA").save(tmp_path / "p.png")
    assert open_photo(tmp_path / "p.png").alpha is None


@pytest.mark.parametrize("kind", ["one colour", "palette", "grey"])
def test_other_kinds_of_transparency(tmp_path: Path, kind: str) -> None:
    alpha = np.where(np.arange(64 * 48).reshape(48, 64) % 3, 255, 0).astype(np.uint8)
    grey = np.where(alpha, noise(channels=1)[..., 0] % 200, 255).astype(np.uint8)
    picture = Image.fromarray(grey)
    if kind == "one colour":
        picture.save(tmp_path / "p.png", transparency=255)
    elif kind == "palette":
        palette = picture.convert("P")
        palette.save(tmp_path / "p.png", transparency=255)
    else:
        picture.putalpha(Image.fromarray(alpha))
        picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "p.png").alpha), alpha)
