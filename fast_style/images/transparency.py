"""Colours with alpha: over white, scaled, and what a network sees under transparent pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from fast_style.images.floats import (
    FloatPicture,
    Picture,
    resize_floats,
    to_floats,
    to_image,
)

OPAQUE = 255

# Colours of pixels with less alpha are seldom what anybody chose, for programs round them.
LEAST_ALPHA = 16


def fill_transparent(colours: Picture, alpha: Picture) -> Picture:
    """Replace the colours of transparent pixels by those around them.

    A network sees no edge at the outline then, and no colour that nobody was to see bleeds into
    what is seen. This is push and pull (Gortler et al. 1996, section 3.4): halve the picture until
    no hole is left, and fill each hole with what is below it.

    Args:
        colours: a picture of mode "RGB", or of floats.
        alpha: its alpha of mode "L", or of floats, and of the same size.

    Returns:
        A new picture. All other pixels are as they were. It is white if no pixel is opaque at all.
        What is filled in has 8 bits: it is hardly seen.

    >>> colours, alpha = Image.new("RGB", (4, 1), "lime"), Image.new("L", (4, 1))
    >>> colours.putpixel((0, 0), (255, 0, 0)); alpha.putpixel((0, 0), 255)
    >>> fill_transparent(colours, alpha).getpixel((3, 0))
    (255, 0, 0)
    """
    if not isinstance(colours, Image.Image) or not isinstance(alpha, Image.Image):
        return _filled_floats(colours, alpha)
    most = alpha.getextrema()[1]
    assert isinstance(most, (int, float))
    if most == 0:
        return Image.new("RGB", colours.size, "white")
    least = min(LEAST_ALPHA, most)
    known = alpha.point([OPAQUE if level >= least else 0 for level in range(256)])
    return _filled(colours, known)


def _filled(colours: Image.Image, known: Image.Image) -> Image.Image:
    if is_opaque(known):
        return colours
    both = colours.copy()
    both.putalpha(known)
    halved = both.reduce(2)  # Pillow weights colours by alpha
    above = halved.getchannel("A").point([0] + [OPAQUE] * 255)
    below = _filled(halved.convert("RGB"), above)
    guessed = below.resize(colours.size, Image.Resampling.BILINEAR)
    return Image.composite(colours, guessed, known)


def _filled_floats(colours: Any, alpha: Any) -> FloatPicture:
    in_levels = to_image(alpha)
    filled = np.asarray(fill_transparent(to_image(colours), in_levels))
    least = max(1, min(LEAST_ALPHA, np.asarray(in_levels).max()))
    return np.where(np.asarray(in_levels)[..., None] >= least, colours, to_floats(filled))


def on_white(colours: Picture, alpha: Picture) -> Picture:
    """Lay a picture of mode "RGB" or of floats with its alpha over white."""
    if isinstance(colours, Image.Image) and isinstance(alpha, Image.Image):
        return Image.composite(colours, Image.new("RGB", colours.size, "white"), alpha)
    return 1 - np.asarray(alpha)[..., None] * (1 - np.asarray(colours))


def resize_with_alpha(
    colours: Picture, alpha: Picture | None, size: tuple[int, int]
) -> tuple[Picture, Picture | None]:
    """Scale as `resize_picture` does. Colours of transparent pixels do not bleed."""
    if isinstance(colours, Image.Image):
        if not isinstance(alpha, Image.Image):
            return colours.resize(size, Image.Resampling.LANCZOS), None
        both = colours.copy()
        both.putalpha(alpha)
        both = both.resize(size, Image.Resampling.LANCZOS)  # Pillow weights colours by alpha
        return both.convert("RGB"), both.getchannel("A")
    if alpha is None:
        return resize_floats(colours, size), None
    alpha = np.asarray(alpha)
    opacity = resize_floats(alpha, size)
    weighted = resize_floats(colours * alpha[..., None], size)
    straight = weighted / np.maximum(opacity, np.float32(1 / 65535))[..., None]
    return straight.clip(0, 1), opacity


def is_opaque(alpha: Picture) -> bool:
    """Return whether an alpha hides nothing."""
    if isinstance(alpha, Image.Image):
        return alpha.getextrema()[0] == OPAQUE
    return bool(alpha.min() == 1)
