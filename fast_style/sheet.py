"""Contact sheets: photos above what a network made of them."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from fast_style.images import resize_picture

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
