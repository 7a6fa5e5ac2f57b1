"""A grain of one level in 256 on what is stylized: where a picture is all of one colour, as in
drawings and screenshots, a network finds nothing to paint on and leaves a single flat colour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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


def tiles_on(device: torch.device) -> list[Tensor]:
    """What `tensor_grain` is made of, for any size of picture."""
    import torch  # takes seconds: a CPU stylizes without it

    return [torch.from_numpy(tile).to(device) for tile in _tiles()]


def tensor_grain(tiles: Sequence[Tensor], top: int, bottom: int, width: int) -> Tensor:
    """`grain` as an int8 tensor on the tiles' device, ``(bottom - top, width)``."""
    first, second = (_repeated_tensor(tile, top, bottom, width) for tile in tiles)
    return (first + second).remainder_(3).sub_(1)


def _repeated_tensor(tile: Tensor, top: int, bottom: int, width: int) -> Tensor:
    above = top % tile.shape[0]
    rows = above + bottom - top
    repeated = tile.repeat(-(-rows // tile.shape[0]), -(-width // tile.shape[1]))
    return repeated[above:rows, :width]


@cache
def _tiles() -> list[NDArray[np.int8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 3, shape, dtype=np.int8) for shape in ((251, 257), (263, 269))]
