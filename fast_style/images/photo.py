"""A photo with all that a file made from it can keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import BinaryIO

from PIL import Image

from fast_style.images.colour import rgb_profile
from fast_style.images.conversion import TURNED, on_white, upright_parts
from fast_style.images.headers import exif_orientation
from fast_style.images.metadata import Metadata, read_metadata
from fast_style.images.tensors import resize_picture
from fast_style.images.transparency import fill_transparent, is_opaque


@dataclass(frozen=True)
class Beside:
    """What a file holds beside its colours.

    Args:
        alpha: alpha of mode "L"; None where all is opaque.
        profile: ICC profile of RGB colours; None for sRGB.
        metadata: EXIF, XMP and resolution.
    """

    alpha: Image.Image | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class WholePhoto:
    """A photo with all that a file made from it can keep.

    Args:
        colours: upright picture of mode "RGB" in sRGB.
        alpha: its alpha of mode "L"; None where all is opaque.
        profile: ICC profile of the file's own RGB colours, if it has one.
        metadata: what the file says beside its pixels.
    """

    colours: Image.Image
    alpha: Image.Image | None = None
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

    def resized(self, longer_side: int) -> WholePhoto:
        """Scale as `resize_picture` does. Colours of transparent pixels do not bleed."""
        if self.alpha is None:
            return replace(self, colours=resize_picture(self.colours, longer_side))
        both = self.colours.copy()
        both.putalpha(self.alpha)
        resized = resize_picture(both, longer_side)  # Pillow weights colours by alpha
        return replace(self, colours=resized.convert("RGB"), alpha=resized.getchannel("A"))


def whole_photo(picture: Image.Image, file: BinaryIO) -> WholePhoto:
    """Convert a picture as `upright_rgb` does, and keep its transparency and what its file says.

    Args:
        picture: a picture that Pillow opened from ``file``.
        file: its file.

    Raises:
        UserError, OSError: as `upright_rgb` does.
    """
    colours, alpha, encoding = upright_parts(picture)
    return WholePhoto(
        colours,
        None if alpha is None or is_opaque(alpha) else alpha,
        rgb_profile(picture, encoding),
        read_metadata(picture, file, turned=exif_orientation(picture) in TURNED),
    )
