"""Paint only in places: a mask whose white is painted and whose black stays the photo."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from fast_style.images import open_photo
from fast_style.images.conversion import upright_parts
from fast_style.images.floats import FloatPicture, resize_floats, size_of, to_floats, to_image

log = logging.getLogger(__name__)

# A mask may be a pixel or two off the photo's aspect ratio without being of another picture.
SAME_ASPECT = 0.02


def read_mask(path: Path) -> Image.Image:
    """Read a mask from a picture file of any kind, as `Mask` takes it.

    Raises:
        UserError: as `open_picture`.
    """
    photo = open_photo(path)
    return _opacity(to_image(photo.colours), None if photo.alpha is None else to_image(photo.alpha))


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
        self._last_floats: FloatPicture | None = None

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

    def fitted_floats(self, size: tuple[int, int]) -> FloatPicture:
        """Return the opacity ``(H, W)`` in [0, 1], not rounded to 256 levels."""
        last = self._last_floats
        if last is None or size_of(last) != size:
            self._check_aspect(size)
            last = to_floats(self._opacity)
            if size_of(last) != size:
                last = resize_floats(last, size, Image.Resampling.BICUBIC)
            if self._feather:
                last = blurred(last, self._feather)
            self._last_floats = last
        return last

    def _check_aspect(self, size: tuple[int, int]) -> None:
        width, height = self._opacity.size
        if abs(width * size[1] / (height * size[0]) - 1) > SAME_ASPECT:
            log.warning(
                "the mask of %d x %d px is stretched to photos of another shape", width, height
            )

    def _fit(self, size: tuple[int, int]) -> Image.Image:
        self._check_aspect(size)
        fitted = self._opacity
        if fitted.size != size:
            fitted = fitted.resize(size, Image.Resampling.BICUBIC)
        if self._feather:
            fitted = fitted.filter(ImageFilter.GaussianBlur(self._feather))
        return fitted


def _opacity(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    grey = colours.convert("L")
    return grey if alpha is None else ImageChops.multiply(grey, alpha)


def blurred(values: FloatPicture, deviation: float) -> FloatPicture:
    """Blur ``(H, W)`` by a Gaussian; beyond the edges the values go on.

    As Pillow does for 8 bits, it is approximated by three box filters (Gwosdek et al. 2011,
    "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering").

    Args:
        values: what to blur.
        deviation: standard deviation in pixels.
    """
    variance = deviation**2 / 3  # of each filter
    whole = int((math.sqrt(12 * variance + 1) - 1) / 2)  # pixels to either side, and a share of one
    odd = 2 * whole + 1
    share = odd * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    width = odd + 2 * share
    for _ in range(3):
        values = _box_filtered(_box_filtered(values, width).T, width).T
    return np.ascontiguousarray(values)


def _box_filtered(values: FloatPicture, width: float) -> FloatPicture:
    """Mean over ``width`` pixels along the first axis: a difference of sums to two places."""
    sums = np.zeros((len(values) + 1, values.shape[1]))
    values.cumsum(axis=0, dtype=np.float64, out=sums[1:])
    centres = np.arange(len(values)) + 0.5

    def sum_to(places: NDArray[Any]) -> NDArray[Any]:
        below = np.floor(places).astype(int).clip(0, len(values) - 1)
        return sums[below] + (places - below)[:, None] * values[below]

    mean = (sum_to(centres + width / 2) - sum_to(centres - width / 2)) / width
    return mean.astype(np.float32)
