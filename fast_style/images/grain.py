"""A grain of one level in 256, added to a picture before a network sees it.

A network finds nothing to paint on where a picture has a single colour, as in drawings and
screenshots, and leaves flat paint there. The grain gives it something to paint on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

# PyTorch takes seconds to import, and a CPU stylizes without it.
if TYPE_CHECKING:
    import torch
    from torch import Tensor


def with_grain(levels: NDArray[Any], top: int = 0) -> NDArray[Any]:
    """Add the `grain` to rows ``(H, W, 3)`` of a picture.

    Args:
        levels: rows of the picture, uint8 or float32 in [0, 255], which are not modified.
        top: number of the first one in the picture.

    Returns:
        New rows of the same shape and dtype, clipped to [0, 255].
    """
    if levels.dtype != np.uint8:
        rows = levels + grain(top, top + levels.shape[0], levels.shape[1])[..., None]
        return rows.clip(0, 255, out=rows)
    grained = levels.astype(np.int16)
    grained += grain(top, top + levels.shape[0], levels.shape[1])[..., None]
    return grained.clip(0, 255, out=grained).astype(np.uint8)


def grain(top: int, bottom: int, width: int) -> NDArray[np.int8]:
    """Return the random grain of rows ``top`` to ``bottom``: -1, 0 or 1 levels for each pixel.

    A pixel has the same grain in every call. The grain is the sum of two random tiles whose sides
    are different primes, so it does not repeat within 66,000 rows or 69,000 columns.

    Returns:
        ``(bottom - top, width)``.

    >>> grain(0, 2, 3)
    array([[-1,  1,  0],
           [ 1, -1, -1]], dtype=int8)
    """
    first, second = (_repeat(tile, top, bottom, width) for tile in grain_tiles())
    both = first + second
    both -= 1
    both -= np.where(both > 1, np.int8(3), np.int8(0))
    return both


def _repeat(tile: NDArray[np.int8], top: int, bottom: int, width: int) -> NDArray[np.int8]:
    rows = tile[np.arange(top, bottom) % tile.shape[0]]
    return np.tile(rows, -(-width // tile.shape[1]))[:, :width]


def tiles_on(device: torch.device) -> list[Tensor]:
    """Copy the two tiles that `tensor_grain` repeats to a device, for pictures of any size."""
    import torch

    return [torch.from_numpy(tile).to(device) for tile in grain_tiles()]


def tensor_grain(tiles: Sequence[Tensor], top: int, bottom: int, width: int) -> Tensor:
    """Return the same as `grain` as an int8 tensor on the device of ``tiles``."""
    first, second = (_repeat_tensor(tile, top, bottom, width) for tile in tiles)
    return (first + second).remainder_(3).sub_(1)


def _repeat_tensor(tile: Tensor, top: int, bottom: int, width: int) -> Tensor:
    above = top % tile.shape[0]
    rows = above + bottom - top
    repeated = tile.repeat(-(-rows // tile.shape[0]), -(-width // tile.shape[1]))
    return repeated[above:rows, :width]


@cache
def grain_tiles() -> list[NDArray[np.int8]]:
    """Return the two tiles of 0, 1 and 2 whose sum, modulo 3 and less 1, is the `grain`."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 3, shape, dtype=np.int8) for shape in ((251, 257), (263, 269))]
