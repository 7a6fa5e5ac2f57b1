"""Strokes wider than the network's own, at the photo's own size.

The photo is painted small and brought up by joint bilateral upsampling (Kopf, Cohen, Lischinski and
Uyttendaele 2007, "Joint Bilateral Upsampling", equation 3): each pixel takes the paint of those
small pixels around it whose colour in the photo is most like its own. So edges of the paint follow
the photo's.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.devices import usable_cores
from fast_style.errors import UserError
from fast_style.images.floats import (
    Box,
    FloatPicture,
    Kind,
    resize_floats,
    size_of,
    to_floats,
    values_in,
)
from fast_style.networks import MIN_SIDE
from fast_style.stylizing.strips import made_in_strips

Array = NDArray[Any]
Stroke = float | Literal["auto"]

# ``auto`` paints at this longer side. Networks learn their strokes from pictures of this order, and
# a screen shows that many pixels, so strokes are seen when the whole picture is.
SEEN_SIDE = 800
MOST_AUTO = 4.0  # wider ones look soft where a picture is seen pixel by pixel

# Standard deviations of the two Gaussians: in small pixels, and of colours in [0, 1]. With a wider
# range edges blur, with a smaller one the photo's noise speckles the paint.
SPACE = 0.7
RANGE = 0.1

# Keeps a pixel whose colour no small pixel has from dividing zero by zero: it takes the nearest
# paint.
LEAST_WEIGHT = 1e-6

# The arrays for this number of pixels fit into the cache of a core.
PIXELS_AT_ONCE = 2**17


def stroke_for(size: tuple[int, int], stroke: Stroke) -> float:
    """Return the stroke that ``auto`` stands for at a size, or the given one.

    >>> stroke_for((2000, 1500), "auto"), stroke_for((640, 480), "auto")
    (2.5, 1.0)
    """
    if stroke != "auto":
        return stroke
    return max(1.0, min(max(size) / SEEN_SIDE, MOST_AUTO, min(size) / MIN_SIDE))


def small_size(size: tuple[int, int], stroke: Stroke) -> tuple[int, int]:
    """Return width and height at which a picture is painted.

    Args:
        size: width and height of the photo.
        stroke: how many times wider than the network's own its strokes are, at least 1, or
            ``auto``.

    Raises:
        UserError: if a side would be shorter than `MIN_SIDE`.
    """
    times = stroke_for(size, stroke)
    width, height = (round(side / times) for side in size)
    if times != 1 and min(width, height) < MIN_SIDE:
        raise UserError(
            f"a picture of {size[0]} x {size[1]} px is too small for strokes {times:g} times as "
            f"wide: it needs at least {math.ceil(MIN_SIDE * times)} px a side"
        )
    return width, height


def shrink(photo: Kind, stroke: Stroke) -> Kind:
    """Return the photo, of mode "RGB" or of floats, at `small_size`; itself if that is its size."""
    size = small_size(size_of(photo), stroke)
    if size == size_of(photo):
        return photo
    if isinstance(photo, Image.Image):
        return photo.resize(size, Image.Resampling.LANCZOS)
    return resize_floats(photo, size)


def bring_up(photo: Kind, small: Kind, painted: Kind) -> Kind:
    """Enlarge a small painted picture to the photo's size, along the photo's edges.

    Args:
        photo: a picture of mode "RGB" or of floats.
        small: the photo, smaller.
        painted: the stylized version of ``small``, of the same size.

    >>> photo = Image.new("RGB", (64, 64), "white")
    >>> photo.paste("black", (0, 0, 30, 64))
    >>> small = shrink(photo, 4)
    >>> paint = Image.new("RGB", (16, 16), "yellow")
    >>> paint.paste("blue", (0, 0, 7, 16))
    >>> result = bring_up(photo, small, paint)
    >>> result.getpixel((29, 30)), result.getpixel((30, 30))
    ((0, 0, 255), (255, 255, 0))
    """
    (width, height), (small_width, small_height) = size_of(photo), size_of(small)
    if (width, height) == (small_width, small_height):
        return painted
    columns = neighbours(0, width, width, small_width)

    def strip(box: Box) -> FloatPicture:
        rows = neighbours(box[1], box[3], height, small_height)
        first, last = rows.span
        near = (0, first, small_width, last)
        guide, low, paint = (
            to_floats(values_in(picture, part))
            for picture, part in ((photo, box), (small, near), (painted, near))
        )
        return _bilateral(guide, low, paint, rows.from_first(first), columns)

    # numpy lets other threads work
    return made_in_strips(photo, strip, PIXELS_AT_ONCE, threads=usable_cores())


class Neighbours:
    """The three small rows, or columns, nearest to each one of the photo.

    Args:
        indices: ``(3, N)``, clipped at the edges.
        weights: ``(3, N)``, of their distances.
    """

    def __init__(self, indices: Array, weights: Array) -> None:
        self.indices = indices
        self.weights = weights

    @property
    def span(self) -> tuple[int, int]:
        """The first of them, and the one behind the last."""
        return int(self.indices.min()), int(self.indices.max()) + 1

    def from_first(self, first: int) -> Neighbours:
        """The same in rows cropped from ``first`` on."""
        return Neighbours(self.indices - first, self.weights)


def neighbours(begin: int, end: int, side: int, small_side: int) -> Neighbours:
    """The neighbours of rows, or columns, ``begin`` to ``end`` of the photo's ``side``."""
    places = (np.arange(begin, end) + 0.5) * small_side / side - 0.5
    near = np.rint(places).astype(int) + np.arange(-1, 2)[:, None]
    weights = np.exp((near - places) ** 2 / (-2 * SPACE**2))
    return Neighbours(near.clip(0, small_side - 1), weights.astype(np.float32))


def _bilateral(
    photo: Array, small: Array, painted: Array, rows: Neighbours, columns: Neighbours
) -> Array:
    # Channels come first, so that numpy works on long rows.
    photo = np.ascontiguousarray(np.moveaxis(photo, -1, 0), np.float32)
    both = np.moveaxis(np.concatenate([small, painted], axis=-1, dtype=np.float32), -1, 0)
    total = np.zeros(photo.shape[1:], np.float32)
    paint = np.zeros(photo.shape, np.float32)
    for column, column_weight in zip(columns.indices, columns.weights, strict=True):
        in_columns = np.take(both, column, axis=2)
        for row, row_weight in zip(rows.indices, rows.weights, strict=True):
            near = np.take(in_columns, row, axis=1)
            difference = near[:3]
            difference -= photo
            difference *= difference
            weight = difference.sum(axis=0)
            weight *= -1 / (2 * RANGE**2)
            np.exp(weight, out=weight)
            weight += LEAST_WEIGHT
            weight *= row_weight[:, None] * column_weight
            total += weight
            colours = near[3:]
            colours *= weight
            paint += colours
    paint /= total
    return np.moveaxis(paint, 0, -1)
