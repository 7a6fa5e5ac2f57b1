"""Pictures in other sizes, as tensors, and back from a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fast_style.images.floats import FloatPicture, from_array

# PyTorch takes seconds to import, so the functions below import it themselves: the command line
# starts, and a CPU stylizes, without it.
if TYPE_CHECKING:
    import torch

PendingPicture = Callable[[], Image.Image]
"""Waits for a picture that is still being computed or copied, and returns it, on any thread."""

PendingFloats = Callable[[], FloatPicture]
"""The same for a picture of floats."""


def resize_picture(picture: Image.Image, longer_side: int) -> Image.Image:
    """Scale a picture up or down with the Lanczos filter and keep its aspect ratio.

    Args:
        picture: a picture of mode "RGB".
        longer_side: the longer side of the result in pixels. The shorter one is at least 1.
    """
    return picture.resize(size_at(picture.size, longer_side), Image.Resampling.LANCZOS)


def size_at(size: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Return the size with the same aspect ratio and another longer side.

    >>> size_at((600, 400), 90)
    (90, 60)
    """
    scale = longer_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """Convert a picture of mode "RGB" to a ``(3, H, W)`` float32 tensor in [0, 1].

    >>> red = Image.new("RGB", (40, 30), (255, 0, 0))
    >>> tensor = to_tensor(red)
    >>> tuple(tensor.shape), tensor[:, 0, 0].tolist()
    ((3, 30, 40), [1.0, 0.0, 0.0])
    """
    import torch

    pixels = torch.from_numpy(np.array(picture))
    channels = pixels.permute(2, 0, 1)
    return channels.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)


def to_picture(tensor: torch.Tensor) -> Image.Image:
    """Convert a ``(3, H, W)`` tensor on any device to a picture of mode "RGB".

    Args:
        tensor: floats in [0, 1], or uint8 levels. Floats outside are clamped; all are rounded to
            the nearest of 256 levels.

    >>> import torch
    >>> to_picture(torch.full((3, 30, 40), 0.5)).getpixel((0, 0))
    (128, 128, 128)
    """
    import torch

    levels = tensor.detach()
    if levels.dtype != torch.uint8:
        # In float32: bfloat16 and float16 would round the products once more. Before the copy from
        # the device, which then moves a quarter of the bytes.
        levels = levels.float().clamp(0.0, 1.0).mul_(255.0).round_().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())


def start_download(values: torch.Tensor) -> PendingPicture | PendingFloats:
    """Start copying a picture from a device, without waiting for a CUDA device.

    Args:
        values: ``(H, W, 3)``, uint8 levels for a picture of mode "RGB", or floats in [0, 1].
    """
    import torch

    if values.device.type != "cuda":
        picture = from_array(values.cpu().numpy())
        return lambda: picture
    arriving = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    arriving.copy_(values, non_blocking=True)
    # Threads that wait for a blocking event sleep and leave the cores to readers and writers.
    arrived = torch.cuda.Event(blocking=True)
    arrived.record(torch.cuda.current_stream(values.device))

    def wait() -> Any:
        arrived.synchronize()
        return from_array(arriving.numpy())

    return wait
