"""A photo with all that a file made from it can keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import BinaryIO

from PIL import Image

from fast_style.images.colour import rgb_profile
from fast_style.images.conversion import TURNED, upright_parts
from fast_style.images.deep import deep_parts
from fast_style.images.floats import Picture, size_of, to_floats
from fast_style.images.headers import exif_orientation
from fast_style.images.metadata import Metadata, read_metadata
from fast_style.images.tensors import size_at
from fast_style.images.transparency import (
    fill_transparent,
    is_opaque,
    on_white,
    resize_with_alpha,
)


@dataclass(frozen=True)
class Beside:
    """What a file holds beside its colours.

    Args:
        alpha: alpha of mode "L", or of floats beside colours of floats; None where all is opaque.
        profile: ICC profile of RGB colours; None for sRGB.
        metadata: EXIF, XMP and resolution.
    """

    alpha: Picture | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class WholePhoto:
    """A photo with all that a file made from it can keep.

    Args:
        colours: upright picture of mode "RGB" in sRGB, or of floats where 16 bits count.
        alpha: its alpha of mode "L", or of floats; None where all is opaque.
        profile: ICC profile of the file's own RGB colours, if it has one.
        metadata: what the file says beside its pixels.
    """

    colours: Picture
    alpha: Picture | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def on_white(self) -> WholePhoto:
        """Lay transparency over white."""
        if self.alpha is None:
            return self
        return replace(self, colours=on_white(self.colours, self.alpha), alpha=None)

    def filled(self) -> WholePhoto:
        """Give transparent pixels the colours around them, as `fill_transparent` does."""
        if self.alpha is None:
            return self
        return replace(self, colours=fill_transparent(self.colours, self.alpha))

    def in_floats(self) -> WholePhoto:
        """Return the photo in floats, to be painted and written with more than 8 bits."""
        alpha = None if self.alpha is None else to_floats(self.alpha)
        return replace(self, colours=to_floats(self.colours), alpha=alpha)

    def resized(self, longer_side: int) -> WholePhoto:
        """Scale as `resize_picture` does. Colours of transparent pixels do not bleed."""
        size = size_at(size_of(self.colours), longer_side)
        colours, alpha = resize_with_alpha(self.colours, self.alpha, size)
        return replace(self, colours=colours, alpha=alpha)


def whole_photo(picture: Image.Image, file: BinaryIO, deep: bool = False) -> WholePhoto:
    """Convert a picture as `upright_rgb` does, and keep its transparency and what its file says.

    Args:
        picture: a picture that Pillow opened from ``file``.
        file: its file.
        deep: keep 16 bits; the picture `is_deep`.

    Raises:
        UserError, OSError: as `upright_rgb` does.
    """
    colours, alpha, encoding = (deep_parts if deep else upright_parts)(picture)
    return WholePhoto(
        colours,
        None if alpha is None or is_opaque(alpha) else alpha,
        rgb_profile(picture, encoding),
        read_metadata(picture, file, turned=exif_orientation(picture) in TURNED),
    )
