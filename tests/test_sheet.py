"""Contact sheets: every picture whole, and where it should be."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fast_style.sheet import MARGIN, PAPER, before_after_sheet

PAINTING = (200, 30, 40)
PHOTOS = [(10, 120, 220), (20, 160, 60)]
STYLIZED = [(240, 180, 0), (130, 0, 150)]
SIZES = [(300, 200), (90, 180)]


def solid(size: tuple[int, int], colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", size, colour)


def pairs() -> Iterator[tuple[Image.Image, Image.Image]]:
    for size, photo, stylized in zip(SIZES, PHOTOS, STYLIZED, strict=True):
        yield solid(size, photo), solid(size, stylized)


def boxes(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the one rectangle of a colour."""
    found: NDArray[np.bool_] = (np.asarray(sheet) == colour).all(axis=-1)
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert found.sum() == rows.size * columns.size > 0
    assert np.ptp(rows) + 1 == rows.size
    assert np.ptp(columns) + 1 == columns.size
    return int(columns[0]), int(rows[0]), columns.size, rows.size


def test_each_photo_stands_above_its_stylized_version() -> None:
    sheet = before_after_sheet(solid((400, 200), PAINTING), "", list(pairs()), row_height=100)
    assert sheet.mode == "RGB"
    assert sheet.size == (200 + 150 + 50 + 4 * MARGIN, 2 * 100 + 3 * MARGIN)
    below = 100 + 2 * MARGIN
    first, second = 200 + 2 * MARGIN, 200 + 150 + 3 * MARGIN
    assert boxes(sheet, PAINTING) == (MARGIN, MARGIN, 200, 100)
    assert boxes(sheet, PHOTOS[0]) == (first, MARGIN, 150, 100)
    assert boxes(sheet, STYLIZED[0]) == (first, below, 150, 100)
    assert boxes(sheet, PHOTOS[1]) == (second, MARGIN, 50, 100)
    assert boxes(sheet, STYLIZED[1]) == (second, below, 50, 100)


def test_the_rest_is_paper() -> None:
    sheet = before_after_sheet(solid((400, 200), PAINTING), "", list(pairs()), row_height=100)
    used = (200 + 2 * 150 + 2 * 50) * 100
    paper = (np.asarray(sheet) == PAPER).all(axis=-1)
    assert paper.sum() == sheet.width * sheet.height - used


@pytest.mark.parametrize(
    "size", [(640, 427), (427, 640), (641, 639), (639, 640), (3, 200), (99, 7)]
)
def test_all_pictures_have_the_height_of_the_row(size: tuple[int, int]) -> None:
    pair = (solid(size, PHOTOS[0]), solid(size, STYLIZED[0]))
    sheet = before_after_sheet(solid(size, PAINTING), "", [pair])
    for colour in (PAINTING, PHOTOS[0], STYLIZED[0]):
        _, _, width, height = boxes(sheet, colour)
        assert height == 320
        assert abs(width - 320 * size[0] / size[1]) <= 1


def test_without_photos_there_is_the_painting() -> None:
    sheet = before_after_sheet(solid((100, 100), PAINTING), "", [], row_height=50)
    assert boxes(sheet, PAINTING) == (MARGIN, MARGIN, 50, 50)
    assert sheet.width == 50 + 2 * MARGIN


def test_the_caption_is_under_the_painting_and_whole() -> None:
    caption = "a painting of a rather long name\n500 steps, 4.0 minutes"
    painting = solid((40, 200), PAINTING)  # far narrower than its caption
    sheet = before_after_sheet(painting, caption, list(pairs()), row_height=200)
    ink = ~(np.asarray(sheet) == PAPER).all(axis=-1)
    photo_left = boxes(sheet, PHOTOS[0])[0]
    inked = np.flatnonzero(ink[200 + MARGIN + 8 :, :photo_left].any(0))

    canvas = Image.new("L", (800, 100))
    ImageDraw.Draw(canvas).multiline_text(
        (0, 0), caption, fill=255, font=ImageFont.load_default(size=20), spacing=8
    )
    left, _, right, _ = canvas.getbbox() or (0, 0, 0, 0)
    assert np.ptp(inked) + 1 == right - left
    assert inked[-1] <= photo_left - MARGIN
    assert not ink[200 + MARGIN : 200 + MARGIN + 8, :photo_left].any()


def test_pictures_that_go_in_are_not_changed() -> None:
    painting, (photo, stylized) = solid((64, 64), PAINTING), next(pairs())
    before = [picture.tobytes() for picture in (painting, photo, stylized)]
    before_after_sheet(painting, "caption", [(photo, stylized)], row_height=32)
    assert [picture.tobytes() for picture in (painting, photo, stylized)] == before
