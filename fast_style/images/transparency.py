"""Colours under transparent pixels: what a network sees there."""

from __future__ import annotations

from PIL import Image

OPAQUE = 255

# Colours of pixels with less alpha are seldom what anybody chose, for programs round them.
LEAST_ALPHA = 16


def fill_transparent(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """Replace the colours of transparent pixels by those around them.

    A network sees no edge at the outline then, and no colour that nobody was to see bleeds into
    what is seen. This is push and pull (Gortler et al. 1996, section 3.4): halve the picture until
    no hole is left, and fill each hole with what is below it.

    Args:
        colours: a picture of mode "RGB".
        alpha: its alpha of mode "L" and of the same size.

    Returns:
        A new picture. All other pixels are as they were. It is white if no pixel is opaque at all.

    >>> colours, alpha = Image.new("RGB", (4, 1), "lime"), Image.new("L", (4, 1))
    >>> colours.putpixel((0, 0), (255, 0, 0)); alpha.putpixel((0, 0), 255)
    >>> fill_transparent(colours, alpha).getpixel((3, 0))
    (255, 0, 0)
    """
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


def is_opaque(alpha: Image.Image) -> bool:
    """Return whether an alpha hides nothing."""
    return alpha.getextrema()[0] == OPAQUE
