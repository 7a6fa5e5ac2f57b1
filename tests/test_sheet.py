"""Contact sheets show every picture whole and in its place."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fast_style import Stylizer
from fast_style.bundled import PHOTOS as PHOTOS_FOLDER
from fast_style.checkpoint import TrainedStyle, save_style, shipped_styles
from fast_style.cli import main
from fast_style.images import find_pictures, open_picture, resize_picture
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.sheet import MARGIN, PAPER, before_after_sheet, captioned_grid

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
    """Return left, top, width and height of the only rectangle of a colour."""
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


# --- a photo in many styles ---


def test_a_grid_goes_row_by_row_and_leaves_places_empty() -> None:
    colours = [PAINTING, *PHOTOS, *STYLIZED]
    cells = [(solid((200, 100), colour), "caption") for colour in colours]
    sheet = captioned_grid([*cells[:3], None, *cells[3:]], columns=3)
    lefts, tops = [], []
    for colour in colours:
        left, top, *size = boxes(sheet, colour)
        assert size == [200, 100]
        lefts.append(left)
        tops.append(top)
    step = 200 + MARGIN
    assert lefts == [MARGIN, MARGIN + step, MARGIN + 2 * step, MARGIN + step, MARGIN + 2 * step]
    assert tops[:3] == [MARGIN] * 3
    assert tops[3] == tops[4] > 2 * MARGIN + 100
    assert (np.asarray(sheet)[tops[3] :, : MARGIN + step] == PAPER).all()


def test_captions_of_a_grid_are_whole_and_apart() -> None:
    caption = "a style of a rather long name"
    sheet = captioned_grid([(solid((40, 30), PAINTING), caption)] * 2, columns=2)
    below = (np.asarray(sheet)[MARGIN + 30 :] != PAPER).any(axis=-1)
    canvas = Image.new("L", (800, 100))
    ImageDraw.Draw(canvas).text((0, 0), caption, 255, ImageFont.load_default(size=20))
    expected = np.asarray(canvas) > 0
    rows, columns = np.flatnonzero(expected.any(1)), np.flatnonzero(expected.any(0))
    expected = expected[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rows, columns = np.flatnonzero(below.any(1)), np.flatnonzero(below.any(0))
    below = below[rows[0] : rows[-1] + 1]
    width = expected.shape[1]
    np.testing.assert_array_equal(below[:, columns[0] :][:, :width], expected)
    np.testing.assert_array_equal(below[:, columns[-1] + 1 - width :][:, :width], expected)
    assert columns[-1] - columns[0] > 2 * width


def test_captions_grow_with_the_pictures() -> None:
    def ink(side: int) -> int:
        sheet = captioned_grid([(solid((side, side), PAINTING), "caption")], columns=1)
        found = (np.asarray(sheet)[MARGIN + side :] != PAPER).any(axis=(1, 2))
        return int(found.sum())

    assert ink(1600) > 3 * ink(400)


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three different networks: two adjustable ones, and one for full strength alone."""
    paths = []
    for number, name in enumerate(("one", "two", "rigid")):
        torch.manual_seed(number)
        network = ImageTransformer((4, 8, 8), residual_blocks=1, adjustable=name != "rigid")
        with torch.no_grad():
            network.to_rgb.weight.mul_(4)
        paths.append(tmp_path_factory.mktemp("styles") / f"{name}.safetensors")
        save_style(TrainedStyle(network, "trained-name"), paths[-1])
    return paths


PHOTO = find_pictures(PHOTOS_FOLDER)[0]


def draw(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["sheet", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def found(sheet: Image.Image, picture: Image.Image) -> list[tuple[int, int]]:
    """Find all places, as (left, top), where a sheet shows exactly this picture."""
    pixels, wanted = np.asarray(sheet), np.asarray(picture)
    height, width = wanted.shape[:2]
    starts = np.argwhere((pixels == wanted[0, 0]).all(axis=-1))
    return [
        (int(left), int(top))
        for top, left in starts
        if np.array_equal(pixels[top : top + height, left : left + width], wanted)
    ]


def test_a_sheet_shows_the_photo_and_what_stylize_makes_of_it(
    tmp_path: Path, styles: Sequence[Path]
) -> None:
    out = tmp_path / "new" / "sheet.png"
    given = [f"--style={style}" for style in styles]
    result = draw(PHOTO, *given, "--size", "128", "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    assert result.stderr == ""
    sheet, photo = open_picture(out), resize_picture(open_picture(PHOTO), 128)
    (first,) = found(sheet, photo)
    assert first == (MARGIN, MARGIN)
    places = [found(sheet, Stylizer(style)(photo)) for style in styles]
    (one,), (two,), (rigid,) = places
    assert one[0] > first[0] + photo.width
    assert one[1] == first[1]
    assert two == (first[0], rigid[1])
    assert two[1] > first[1] + photo.height
    assert rigid[0] == one[0]


def test_a_row_for_each_strength(tmp_path: Path, styles: Sequence[Path]) -> None:
    out = tmp_path / "sheet.png"
    strengths = [0.25, 0.5, 1.0]
    given = [f"--strength={strength}" for strength in strengths]
    given += [f"--style={style}" for style in styles[:2]]
    assert draw(PHOTO, *given, "--size", "96", "-o", out).exit_code == 0
    sheet, photo = open_picture(out), resize_picture(open_picture(PHOTO), 96)
    assert found(sheet, photo) == [(MARGIN, MARGIN)]
    lefts, tops = set(), []
    for strength in strengths:
        (one,), (two,) = (
            found(sheet, Stylizer(style, strength=strength)(photo)) for style in styles[:2]
        )
        assert one[1] == two[1]
        lefts |= {(one[0], two[0])}
        tops.append(one[1])
    assert len(lefts) == 1
    assert tops[0] == MARGIN
    assert np.diff(tops).tolist() == [tops[1] - tops[0]] * 2
    assert tops[1] - tops[0] > photo.height


def test_all_shipped_styles_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = draw(PHOTO, "--size", "64")
    assert result.exit_code == 0, result.output
    photo = resize_picture(open_picture(PHOTO), 64)
    names = shipped_styles()
    sheet = open_picture(Path("sheet.png"))
    unpainted = captioned_grid([(photo, caption) for caption in ("photo", *names)], columns=3)
    first, *places = found(unpainted, photo)
    for left, top in places:
        box = (left, top, left + photo.width, top + photo.height)
        unpainted.paste(sheet.crop(box), box)
    assert sheet.tobytes() == unpainted.tobytes()  # the photo, and every caption in its place
    assert found(sheet, photo) == [first]
    for number in (0, -1):
        assert found(sheet, Stylizer(names[number])(photo)) == [places[number]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere.jpg"], "nowhere.jpg does not exist"),
        (["text.jpg"], "text.jpg is not a picture"),
        (["thin.png"], "thin.png: a picture of 384 x 8 px is too small"),
        ([PHOTO, "--style", "starry-knight"], "'starry-knight' is neither a file nor a shipped"),
        ([PHOTO, "--style", "rigid", "--strength", "0.5"], "trained for full strength alone"),
        ([PHOTO, "--device", "nonsense"], "'nonsense'"),
        ([PHOTO, "-o", "sheet.pdf"], "sheet.pdf does not say in which format"),
        ([PHOTO, "-o", "sheet.pdf", "--device", "nonsense"], "sheet.pdf"),  # before the device
        ([PHOTO, "-o", "."], ". is a folder"),
        ([PHOTO, "-o", "text.jpg/sheet.png"], "text.jpg/sheet.png cannot be saved"),
        (["mine.png", "-o", "mine.png"], "mine.png is the photo itself"),
    ],
)
def test_mistakes_leave_all_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    styles: Sequence[Path],
    given: list[str | Path],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    solid((1000, 20), PAINTING).save("thin.png")
    solid((60, 40), PAINTING).save("mine.png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = draw(*(styles[2] if value == "rigid" else value for value in given))
    assert result.exit_code == 2
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("fast-style: ")
    assert said in sentence
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
