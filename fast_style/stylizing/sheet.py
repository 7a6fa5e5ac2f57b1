"""Contact sheets: photos above what a network made of them, and one photo in many styles."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fast_style.checkpoint import find_style, read_style
from fast_style.errors import UserError
from fast_style.images import check_writable, open_picture, resize_picture, save_picture
from fast_style.stylizing.stylizer import Stylizer

log = logging.getLogger(__name__)

PAPER = (250, 249, 246)
INK = (40, 40, 44)
MARGIN = 24


def before_after_sheet(
    painting: Image.Image,
    caption: str,
    pairs: Sequence[tuple[Image.Image, Image.Image]],
    row_height: int = 320,
) -> Image.Image:
    """The painting, and beside it each photo above its stylized version, all at one height.

    Args:
        painting: any size.
        caption: printed under the painting; lines are kept.
        pairs: photo and stylized version, of the same size.
        row_height: of each picture on the sheet in pixels.
    """

    def at_height(picture: Image.Image) -> Image.Image:
        scale = row_height / picture.height
        return resize_picture(picture, round(max(picture.size) * scale))

    columns = [[at_height(photo), at_height(stylized)] for photo, stylized in pairs]
    painting = at_height(painting)
    font = ImageFont.load_default(size=20)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    _, _, caption_width, _ = pen.multiline_textbbox((0, 0), caption, font, spacing=8)
    first_width = max(painting.width, math.ceil(caption_width))
    width = first_width + sum(top.width for top, _ in columns) + MARGIN * (len(columns) + 2)
    sheet = Image.new("RGB", (width, 2 * row_height + 3 * MARGIN), PAPER)
    sheet.paste(painting, (MARGIN, MARGIN))
    ImageDraw.Draw(sheet).multiline_text(
        (MARGIN, MARGIN + row_height + 16),
        caption,
        fill=INK,
        font=font,
        spacing=8,
    )
    left = first_width + 2 * MARGIN
    for photo, stylized in columns:
        sheet.paste(photo, (left, MARGIN))
        sheet.paste(stylized, (left, row_height + 2 * MARGIN))
        left += photo.width + MARGIN
    return sheet


def captioned_grid(cells: Sequence[tuple[Image.Image, str] | None], columns: int) -> Image.Image:
    """Pictures of one size, as large as they are, in rows, each above its caption.

    Args:
        cells: pictures and captions, whose lines are kept, row by row; None leaves a place empty.
        columns: cells in a row.
    """
    filled = [cell for cell in cells if cell is not None]
    width, height = filled[0][0].size
    # To be read also where a large sheet is looked at as a whole.
    font = ImageFont.load_default(size=max(20, max(width, height) // 20))
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    boxes = [pen.multiline_textbbox((0, 0), caption, font, spacing=8) for _, caption in filled]
    across = MARGIN + max(width, *(math.ceil(right) for _, _, right, _ in boxes))
    down = MARGIN + height + 8 + max(math.ceil(bottom) for _, _, _, bottom in boxes)
    rows = math.ceil(len(cells) / columns)
    sheet = Image.new("RGB", (MARGIN + across * columns, MARGIN + down * rows), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, cell in enumerate(cells):
        if cell is not None:
            picture, caption = cell
            x, y = MARGIN + number % columns * across, MARGIN + number // columns * down
            sheet.paste(picture, (x, y))
            pen.multiline_text((x, y + height + 8), caption, INK, font, spacing=8)
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
    """Draw a photo and what each style makes of it to a file; a row for each of several strengths.

    Args:
        photo: a picture's file.
        out: file to write.
        styles: names of shipped ones, or paths.
        strengths: in [0, 1], as for `Stylizer`.
        size: longer side of each picture in px.
        device: as for `Stylizer`.
        on_picture: called after each one that was stylized.

    Raises:
        UserError: for whatever the user got wrong, before anything slow starts.
    """
    if out.exists() and photo.exists() and out.samefile(photo):
        raise UserError(f"{out} is the photo itself: give another name with -o")
    for style in styles:
        for strength in strengths:
            read_style(style).at_strength(strength)
    shown = resize_picture(open_picture(photo, note=log.warning), size)
    # The first None is the photo's place; below it, rows of further strengths begin empty.
    places: list[tuple[str, float] | None] = []
    for strength in strengths:
        places += [None, *((style, strength) for style in styles)]
    columns = math.ceil(math.sqrt(len(places))) if len(strengths) == 1 else 1 + len(styles)
    check_writable(out, captioned_grid([(shown, "photo")] * len(places), columns))

    def stylized(style: str, strength: float) -> tuple[Image.Image, str]:
        stylize = Stylizer(style, device, strength=strength)
        try:
            picture = stylize(shown)
        except UserError as error:
            raise UserError(f"{photo}: {error}") from error
        on_picture()
        name = find_style(style).stem
        return picture, name if set(strengths) == {1.0} else f"{name} {strength:g}"

    cells = [place and stylized(*place) for place in places[1:]]
    save_picture(captioned_grid([(shown, "photo"), *cells], columns), out)
