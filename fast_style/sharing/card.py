"""The card of a style: a page for a hub that says what the style is and shows what it paints."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.checkpoint import SUFFIX, StyleFile, find_style, read_style, shipped_styles
from fast_style.images import open_picture, resize_picture
from fast_style.stylizing.sheet import before_after_sheet, captioned_grid
from fast_style.stylizing.stylizer import Stylizer

PICTURE = "pictures/photos.jpg"
PAINTING = "pictures/painting.jpg"
SHOWN = ("chelsea.jpg", "coffee.jpg", "rocket.jpg")  # bundled photos of one shape
SIZE = 448  # px, the longer side of each picture


@dataclass(frozen=True)
class Card:
    """A style's card and its pictures, by their paths in a repository.

    Args:
        files: content of each file; ``README.md`` is the card.
    """

    files: dict[str, bytes]
