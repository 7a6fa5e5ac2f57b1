"""Contact sheets: photos above their stylized versions, and one photo in many styles."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fast_style.checkpoint import find_style, read_style, style_name
from fast_style.errors import UserError
from fast_style.images import check_writable, open_picture, resize_picture, save_picture
from fast_style.stylizing.stylizer import Stylizer

log = logging.getLogger(__name__)

PAPER = (250, 249, 246)
INK = (40, 40, 44)
MARGIN = 24  # px around and between pictures
SPACING = 8  # px between lines of a caption

Cell = tuple[Image.Image, str]  # a picture and its caption


def before_after_sheet(
    painting: Image.Image,
    caption: str,
    pairs: Sequence[tuple[Image.Image, Image.Image]],
    row_height: int = 320,
) -> Image.Image:
    """Draw the painting and, beside it, each photo above its stylized version, at one height.

    Args:
        painting: the painting, in any size.
        caption: text under the painting; its line breaks are kept.
        pairs: each photo with its stylized version, of the same size.
        row_height: height of each picture on the sheet in pixels.
    """
    painting = _at_height(painting, row_height)
    columns = [[_at_height(picture, row_height) for picture in pair] for pair in pairs]
    font = ImageFont.load_default(size=20)
    first_width = max(painting.width, _text_size(caption, font)[0])
    width = first_width + sum(top.width for top, _ in columns) + MARGIN * (len(columns) + 2)
    sheet = Image.new("RGB", (width, 2 * row_height + 3 * MARGIN), PAPER)
    sheet.paste(painting, (MARGIN, MARGIN))
    ImageDraw.Draw(sheet).multiline_text(
        (MARGIN, MARGIN + row_height + 2 * SPACING), caption, INK, font, spacing=SPACING
    )
    left = first_width + 2 * MARGIN
    for photo, stylized in columns:
        sheet.paste(photo, (left, MARGIN))
        sheet.paste(stylized, (left, row_height + 2 * MARGIN))
        left += photo.width + MARGIN
    return sheet


def _at_height(picture: Image.Image, height: int) -> Image.Image:
    return resize_picture(picture, round(max(picture.size) * height / picture.height))


def _text_size(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> tuple[int, int]:
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    _, _, right, bottom = pen.multiline_textbbox((0, 0), text, font, spacing=SPACING)
    return math.ceil(right), math.ceil(bottom)


def captioned_grid(cells: Sequence[Cell | None], columns: int) -> Image.Image:
    """Draw pictures of one size in rows, each above its caption.

    Args:
        cells: pictures with their captions, whose line breaks are kept, row by row; None leaves a
            place empty.
        columns: number of cells in a row.
    """
    filled = [cell for cell in cells if cell is not None]
    width, height = filled[0][0].size
    # Captions grow with the pictures, to be read when a large sheet is seen as a whole.
    font = ImageFont.load_default(size=max(20, max(width, height) // 20))
    text_widths, text_heights = zip(*(_text_size(text, font) for _, text in filled), strict=True)
    across = MARGIN + max(width, *text_widths)
    down = MARGIN + height + SPACING + max(text_heights)
    rows = math.ceil(len(cells) / columns)
    sheet = Image.new("RGB", (MARGIN + across * columns, MARGIN + down * rows), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, cell in enumerate(cells):
        if cell is not None:
            picture, text = cell
            x, y = MARGIN + number % columns * across, MARGIN + number // columns * down
            sheet.paste(picture, (x, y))
            pen.multiline_text((x, y + height + SPACING), text, INK, font, spacing=SPACING)
    return sheet


def draw_styles(
    photo: Path,
    out: Path,
    styles: Sequence[str],
    strengths: Sequence[float] = (1.0,),
    size: int = 384,
    device: str = "auto",
    on_picture: Callable[[], object] = lambda: None,
) -> None:
    """Write a sheet of a photo in each style, with a row for each strength if there are several.

    Args:
        photo: file of the photo.
        out: file to write.
        styles: names of shipped styles, or paths.
        strengths: strengths in [0, 1], as for `Stylizer`.
        size: longer side of each picture in pixels.
        device: device, as for `Stylizer`.
        on_picture: called after each stylized picture.

    Raises:
        UserError: if a file, a style, a strength or the device cannot be used. Apart from the
            device and the size of the photo, all is checked before the first picture is stylized.
    """
    if out.exists() and photo.exists() and out.samefile(photo):
        raise UserError(f"{out} is the photo itself: give another name with -o")
    for style in styles:
        for strength in strengths:
            read_style(style).at_strength(strength)
    shown = resize_picture(open_picture(photo, note=log.warning), size)
    count = len(strengths) * (1 + len(styles))
    columns = math.ceil(math.sqrt(count)) if len(strengths) == 1 else 1 + len(styles)
    check_writable(out, captioned_grid([(shown, "photo")] * count, columns))

    cells: list[Cell | None] = []
    for strength in strengths:
        # The photo begins the first row; the others leave its place empty.
        cells.append(None if cells else (shown, "photo"))
        for style in styles:
            stylized = _stylized(photo, shown, Stylizer(style, device, strength=strength))
            name = style_name(find_style(style))
            cells.append((stylized, name if set(strengths) == {1.0} else f"{name} {strength:g}"))
            on_picture()
    save_picture(captioned_grid(cells, columns), out)


def _stylized(path: Path, photo: Image.Image, stylize: Stylizer) -> Image.Image:
    try:
        return stylize(photo)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
