"""A grain of one level in 256 on what is stylized: where a picture is all of one colour, as in
drawings and screenshots, a network finds nothing to paint on and leaves a single flat colour."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray


def with_grain(levels: NDArray[np.uint8], top: int = 0) -> NDArray[np.uint8]:
    """8-bit rows ``(H, W, 3)`` of a picture, the first being its row ``top``, and of the same shape
    and kind with their `grain`."""
    grained = levels.astype(np.int16)
    grained += grain(top, top + levels.shape[0], levels.shape[1])[..., None]
    return grained.clip(0, 255, out=grained).astype(np.uint8)


def grain(top: int, bottom: int, width: int) -> NDArray[np.int8]:
    """-1, 0 or 1 levels by chance for each pixel of these rows, ``(bottom - top, width)``: the same
    on each call, whatever rows are asked for.

    The sum of two tiles of chance, whose sides are different primes: it does not repeat before
    66,000 rows or 69,000 columns.
    """
    first, second = (_repeated(tile, top, bottom, width) for tile in _tiles())
    both = first + second
    both -= 1
    both -= np.where(both > 1, np.int8(3), np.int8(0))
    return both


def _repeated(tile: NDArray[np.int8], top: int, bottom: int, width: int) -> NDArray[np.int8]:
    rows = tile[np.arange(top, bottom) % tile.shape[0]]
    return np.tile(rows, -(-width // tile.shape[1]))[:, :width]


@cache
def _tiles() -> list[NDArray[np.int8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 3, shape, dtype=np.int8) for shape in ((251, 257), (263, 269))]
