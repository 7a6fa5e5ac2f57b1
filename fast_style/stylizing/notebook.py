"""How a `Stylizer` shows itself in a notebook: its name, and a small photo in its style."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from fast_style.bundled import PHOTOS
from fast_style.errors import UserError
from fast_style.images import open_picture, resize_picture

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

SIZE = 192  # px, the longer side of each picture: painted within a second
GAP = 6  # px


def as_html(stylizer: Stylizer) -> str:
    """HTML that shows a bundled photo beside its stylized version; text alone where that fails."""
    told = escape(
        f"{stylizer.name}, strength {stylizer.strength:g}, on {stylizer.device}", quote=True
    )
    photo = resize_picture(open_picture(PHOTOS / "chelsea.jpg"), SIZE)
    try:
        painted = stylizer(photo)
    except UserError:  # short of memory, which a picture to look at must not tell first
        return f"<p>{told}</p>"
    both = Image.new("RGBA", (2 * photo.width + GAP, photo.height))
    both.paste(photo, (0, 0))
    both.paste(painted, (photo.width + GAP, 0))
    written = io.BytesIO()
    both.save(written, "PNG")
    data = base64.b64encode(written.getvalue()).decode()
    return (
        f'<figure style="margin: 0"><img src="data:image/png;base64,{data}" width="{both.width}" '
        f'height="{both.height}" alt="A photo, and the photo in the style {told}">'
        f"<figcaption>{told}</figcaption></figure>"
    )
