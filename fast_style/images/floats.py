"""Pictures as floats, for what 8 bits would round."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatPicture = NDArray[np.float32]
"""sRGB colours ``(H, W, 3)`` in [0, 1], or opacity ``(H, W)``."""

Picture = Image.Image | FloatPicture
Kind = TypeVar("Kind", Image.Image, FloatPicture)  # goes in and comes out

Box = tuple[int, int, int, int]  # left, top, right and bottom, as PIL crops


def size_of(picture: Picture) -> tuple[int, int]:
    """Return width and height.

    >>> size_of(np.zeros((30, 40, 3), np.float32))
    (40, 30)
    """
    if isinstance(picture, Image.Image):
        return picture.size
    return picture.shape[1], picture.shape[0]


def values_in(picture: Picture, box: Box) -> NDArray[Any]:
    """Return the values in a part of a picture: uint8 levels, or floats."""
    if isinstance(picture, Image.Image):
        return np.asarray(picture.crop(box))
    left, top, right, bottom = box
    return picture[top:bottom, left:right]


def to_floats(picture: Picture | NDArray[np.uint8]) -> FloatPicture:
    """Return the 8-bit levels of a picture of mode "RGB" or "L" as floats; floats stay.

    >>> float(to_floats(Image.new("RGB", (4, 3), (255, 0, 51)))[0, 0, 2])
    0.20000000298023224
    """
    values = np.asarray(picture)
    return np.divide(values, 255, dtype=np.float32) if values.dtype == np.uint8 else values


def to_image(values: Picture) -> Image.Image:
    """Round floats to the nearest of 256 levels; a picture of PIL's stays."""
    if isinstance(values, Image.Image):
        return values
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def from_array(values: NDArray[Any]) -> Any:
    """Return a `Picture` of uint8 levels or of floats ``(H, W, 3)``."""
    return Image.fromarray(values) if values.dtype == np.uint8 else values


def resize_floats(
    values: FloatPicture,
    size: tuple[int, int],
    filter: Image.Resampling = Image.Resampling.LANCZOS,
) -> FloatPicture:
    """Scale colours or opacity to a width and height, as Pillow scales pictures of 8 bits."""
    channels = np.moveaxis(np.atleast_3d(values), -1, 0)
    resized = [np.asarray(Image.fromarray(channel).resize(size, filter)) for channel in channels]
    return np.stack(resized, axis=-1).clip(0, 1).reshape(size[1], size[0], *values.shape[2:])
