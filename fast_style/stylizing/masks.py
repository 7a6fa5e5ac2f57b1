"""Paint only in places: a mask whose white is painted and whose black stays the photo."""

from __future__ import annotations

import logging
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

from fast_style.images import open_photo
from fast_style.images.conversion import upright_parts

log = logging.getLogger(__name__)

# A mask may be a pixel or two off the photo's aspect ratio without being of another picture.
SAME_ASPECT = 0.02


def read_mask(path: Path) -> Image.Image:
    """Read a mask from a picture file of any kind, as `Mask` takes it.

    Raises:
        UserError: as `open_picture`.
    """
    photo = open_photo(path)
    return _opacity(photo.colours, photo.alpha)


class Mask:
    """The opacity of paint, for photos of any size.

    Args:
        picture: a picture of any mode. White is painted, black and transparent places are not, and
            greys are painted in part.
        feather: standard deviation of a Gaussian blur of its edges, in pixels of the photo.

    >>> mask = Mask(Image.new("L", (3, 2), 128))
    >>> mask.fitted((60, 40)).getpixel((30, 20))
    128
    """

    def __init__(self, picture: Image.Image, feather: float = 0.0) -> None:
        colours, alpha, _ = upright_parts(picture)
        self._opacity = _opacity(colours, alpha)
        self._feather = feather
        # Frames of a film and most photos of a folder have one size.
        self._last = self._fit(self._opacity.size)

    @property
    def identity(self) -> bytes:
        """What tells the mask from others."""
        return f"{self._feather} {self._opacity.size}".encode() + self._opacity.tobytes()

    def fitted(self, size: tuple[int, int]) -> Image.Image:
        """Return the opacity of each pixel of a photo: mode "L", stretched to its size."""
        last = self._last  # another thread may replace it
        if last.size != size:
            last = self._last = self._fit(size)
        return last

    def _fit(self, size: tuple[int, int]) -> Image.Image:
        width, height = self._opacity.size
        if abs(width * size[1] / (height * size[0]) - 1) > SAME_ASPECT:
            log.warning(
                "the mask of %d x %d px is stretched to photos of another shape", width, height
            )
        fitted = self._opacity
        if fitted.size != size:
            fitted = fitted.resize(size, Image.Resampling.BICUBIC)
        if self._feather:
            fitted = fitted.filter(ImageFilter.GaussianBlur(self._feather))
        return fitted


def _opacity(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    grey = colours.convert("L")
    return grey if alpha is None else ImageChops.multiply(grey, alpha)
