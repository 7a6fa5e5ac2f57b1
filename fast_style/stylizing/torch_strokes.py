"""`fast_style.stylizing.strokes` in PyTorch: for tensors, and for pictures on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fast_style.images.floats import Box, Kind, size_of, values_in
from fast_style.stylizing.strips import strips
from fast_style.stylizing.strokes import LEAST_WEIGHT, RANGE, Neighbours, neighbours

# Pixels of a strip. Its tensors take about 300 MB of a GPU.
PIXELS_AT_ONCE = 2**22


def bring_up_on(device: str, photo: Kind, small: Kind, painted: Kind) -> Kind:
    """`bring_up` on a device of PyTorch's."""
    near = (0, 0, *size_of(small))
    smaller, paint = (_on_device(values_in(each, near), device) for each in (small, painted))
    width, height = size_of(photo)

    def strip(box: Box) -> Tensor:
        rows = _on_device(values_in(photo, box), device)
        return _strip(rows, smaller, paint, box[1], height)[0].permute(1, 2, 0)

    boxes = strips((width, height), PIXELS_AT_ONCE)
    if isinstance(photo, Image.Image):
        result = Image.new("RGB", photo.size)
        for box in boxes:  # rounded before they are copied, which is a quarter of the bytes
            levels = strip(box).mul_(255).round_().to(torch.uint8)
            result.paste(Image.fromarray(levels.cpu().numpy()), box)
        return result
    values = np.empty_like(photo)
    for box in boxes:
        values[box[1] : box[3]] = strip(box).cpu().numpy()
    return values


@torch.no_grad()
def bring_up_tensors(photos: Tensor, small: Tensor, painted: Tensor) -> Tensor:
    """`bring_up` for tensors ``(N, 3, H, W)`` in [0, 1], which keep dtype and device."""
    if small.shape == photos.shape:
        return painted
    count, _, height, width = photos.shape
    smaller, paint = small.float(), painted.float()
    brought_up = torch.empty_like(photos)
    for _, top, _, bottom in strips((width * max(count, 1), height), PIXELS_AT_ONCE):
        rows = photos[:, :, top:bottom].float()
        brought_up[:, :, top:bottom] = _strip(rows, smaller, paint, top, height)
    return brought_up


def _on_device(values: NDArray[Any], device: str) -> Tensor:
    """Levels, or floats, as floats ``(1, 3, H, W)`` in [0, 1]."""
    moved = torch.from_numpy(values.copy()).to(device).permute(2, 0, 1).unsqueeze(0)
    return moved.float().div_(255) if moved.dtype == torch.uint8 else moved


@torch.no_grad()
def _strip(photos: Tensor, small: Tensor, painted: Tensor, top: int, height: int) -> Tensor:
    """Rows from ``top`` on of photos of this height, whose small versions are whole."""
    rows = neighbours(top, top + photos.shape[2], height, small.shape[2])
    columns = neighbours(0, photos.shape[3], photos.shape[3], small.shape[3])
    first, last = rows.span
    both = torch.cat([small, painted], dim=1)[:, :, first:last]
    total, paint = torch.zeros_like(photos[:, :1]), torch.zeros_like(photos)
    for column, column_weight in _on(columns, photos.device):
        in_columns = both.index_select(3, column)
        for row, row_weight in _on(rows.from_first(first), photos.device):
            near = in_columns.index_select(2, row)
            apart = (near[:, :3] - photos).square_().sum(1, keepdim=True)
            weight = apart.mul_(-1 / (2 * RANGE**2)).exp_().add_(LEAST_WEIGHT)
            weight *= row_weight[:, None] * column_weight
            total += weight
            paint += near[:, 3:] * weight
    return paint.div_(total)


def _on(near: Neighbours, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    return [
        (torch.from_numpy(indices).to(device), torch.from_numpy(weights).to(device))
        for indices, weights in zip(near.indices, near.weights, strict=True)
    ]
