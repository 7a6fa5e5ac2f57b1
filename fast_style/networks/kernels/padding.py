"""Mirrored margins, as one operation and one for the gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fast_style.networks.kernels.launch import READ, check, define, empty, launch, parts, tile


def padded(x: Tensor, margin: int, skipped: int, channels: int | None = None) -> Tensor:
    """A layer with a mirror image on each side.

    Args:
        x: ``(N, C, H, W)`` of any strides.
        margin: rows and columns that each side gets, at most as many as the mirror can show.
        skipped: 1 leaves out the edge's own pixels (reflection), 0 repeats them (replication,
            with a margin of 1).
        channels: channels of the result; those beyond C are zero.

    Returns:
        ``(N, channels or C, H + 2 margin, W + 2 margin)`` in channels_last.

    Raises:
        ValueError: for a margin wider than the mirror image, or too large a picture.
    """
    check(x, margin, skipped)
    channels = x.shape[1] if channels is None else channels
    if channels < x.shape[1]:
        raise ValueError(f"{x.shape[1]} channels cannot be filled up to {channels}")
    result: Tensor = _Padded.apply(x, margin, skipped, channels)
    return result


class _Padded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
        ctx.margin, ctx.skipped, ctx.channels = margin, skipped, x.shape[1]
        return torch.ops.fast_style.padded(x, margin, skipped, channels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient = torch.ops.fast_style.padded_backward(
            gradient, ctx.margin, ctx.skipped, ctx.channels
        )
        return gradient, None, None, None


def _padded_like(x: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
    count, _, height, width = x.shape
    return empty(x, count, channels, height + 2 * margin, width + 2 * margin)


def _launch_padded(x: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
    from fast_style.networks.kernels.triton_padding import pad

    out = _padded_like(x, margin, skipped, channels)
    count, filled, height, width = x.shape
    steps, unit = x.stride(), filled
    # In channels_last the alignment of pixels is known only if steps count whole pixels.
    if steps[1] != 1 or any(steps[axis] % unit for axis in (0, 2, 3)):
        unit = 1
    block_p, block_c, groups = tile(x, channels, READ)
    launch(
        pad,
        x.device,
        (parts(out.shape[2] * out.shape[3], block_p), groups, count),
        x,
        out,
        height,
        width,
        steps[0] // unit,
        steps[2] // unit,
        steps[3] // unit,
        steps[1],
        UNIT=unit,
        FILLED=filled,
        CHANNELS=channels,
        MARGIN=margin,
        SKIPPED=skipped,
        BLOCK_P=block_p,
        BLOCK_C=block_c,
    )
    return out


def _unpadded_like(gradient: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
    count, _, height, width = gradient.shape
    return empty(gradient, count, channels, height - 2 * margin, width - 2 * margin)


def _launch_padded_backward(gradient: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
    from fast_style.networks.kernels.triton_padding import unpad

    gradient = gradient.contiguous(memory_format=torch.channels_last)
    out = _unpadded_like(gradient, margin, skipped, channels)
    count, _, height, width = out.shape
    block_p, block_c, groups = tile(gradient, channels, READ // 2)
    launch(
        unpad,
        gradient.device,
        (parts(height * width, block_p), groups, count),
        gradient,
        out,
        height,
        width,
        PITCH=gradient.shape[1],
        CHANNELS=channels,
        MARGIN=margin,
        SKIPPED=skipped,
        BLOCK_P=block_p,
        BLOCK_C=block_c,
    )
    return out


define(
    "padded(Tensor x, int margin, int skipped, int channels) -> Tensor",
    _launch_padded,
    _padded_like,
)
define(
    "padded_backward(Tensor gradient, int margin, int skipped, int channels) -> Tensor",
    _launch_padded_backward,
    _unpadded_like,
)
