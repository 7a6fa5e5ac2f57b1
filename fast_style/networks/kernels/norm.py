"""Instance norm, ReLU or skip, and padding, as one operation and one for the gradients."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fast_style.networks.kernels.launch import (
    MAX_CHUNKS,
    READ,
    check,
    define,
    empty,
    launch,
    parts,
    split,
    tile,
)


def normalized(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    relu: bool,
    skip: Tensor | None = None,
    margin: int = 0,
    skipped: int = 1,
) -> Tensor:
    """Instance norm (Ulyanov, Vedaldi and Lempitsky 2016), then a ReLU or a skip, then padding.

    Mean and variance of each channel of each sample are computed in float32, from moments of parts
    of the picture that are merged as Chan, Golub and LeVeque (1983) do: large means, small
    variances and large pictures keep their digits.

    Args:
        x: ``(N, C, H, W)``, best in channels_last.
        weight: ``(C,)`` scales.
        bias: ``(C,)`` shifts.
        eps: added to the variance.
        relu: whether a ReLU follows. A skip cannot follow as well.
        skip: added to the normalized layer. It has the shape of ``x``, or is larger by the same
            margin on all sides, which is ignored and gets gradients of zero: that saves the two
            copies that the gradient of a view costs. Best in channels_last, or the interior of a
            larger tensor that is.
        margin: as in `padded`.
        skipped: as in `padded`.

    Returns:
        ``(N, C, H + 2 margin, W + 2 margin)`` in channels_last and in the dtype of ``x``.

    Raises:
        ValueError: as `padded`; and for a ReLU with a skip, or a skip of the wrong shape.
    """
    check(x, margin, skipped)
    if skip is not None:
        inset = (skip.shape[2] - x.shape[2]) // 2
        height, width = x.shape[2] + 2 * inset, x.shape[3] + 2 * inset
        if relu or inset < 0 or skip.shape != (*x.shape[:2], height, width):
            raise ValueError(
                f"a skip of shape {tuple(skip.shape)} cannot be added to {tuple(x.shape)}"
                + (" after ReLU" if relu else "")
            )
    result: Tensor = _Normalized.apply(x, weight, bias, eps, relu, skip, margin, skipped)
    return result


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        relu: bool,
        skip: Tensor | None,
        margin: int,
        skipped: int,
    ) -> Tensor:
        out, statistics = torch.ops.fast_style.normalized(
            x, weight, bias, eps, relu, skip, margin, skipped
        )
        ctx.save_for_backward(x, statistics, weight, bias)
        ctx.inset = 0 if skip is None else (skip.shape[2] - x.shape[2]) // 2
        ctx.relu, ctx.margin, ctx.skipped = relu, margin, skipped
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, statistics, weight, bias = ctx.saved_tensors
        # Without margins, the gradient of the skip is the incoming one.
        same = ctx.margin == ctx.inset == 0
        skip = ctx.needs_input_grad[5]
        inset = ctx.inset if skip and not same else None
        change, sums, skip_change = torch.ops.fast_style.normalized_backward(
            gradient, x, statistics, weight, bias, ctx.relu, inset, ctx.margin, ctx.skipped
        )
        bias_change, weight_change = sums[:, -1].unbind()
        if not skip:
            skip_change = None
        elif same:
            skip_change = gradient
        return change, weight_change, bias_change, None, None, skip_change, None, None


def _normalized_like(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    relu: bool,
    skip: Tensor | None,
    margin: int,
    skipped: int,
) -> tuple[Tensor, Tensor]:
    count, channels, height, width = x.shape
    out = empty(x, count, channels, height + 2 * margin, width + 2 * margin)
    # Means and inverse standard deviations.
    return out, x.new_empty((2, count, channels), dtype=torch.float32)


def _launch_normalized(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    relu: bool,
    skip: Tensor | None,
    margin: int,
    skipped: int,
) -> tuple[Tensor, Tensor]:
    from fast_style.networks.kernels.triton_norm import normalize

    x = x.contiguous(memory_format=torch.channels_last)
    out, statistics = _normalized_like(x, weight, bias, eps, relu, skip, margin, skipped)
    _measure(x, statistics, eps)
    count, channels, height, width = x.shape
    if skip is not None:
        inset = (skip.shape[2] - height) // 2
        skip = _in_pixels(skip)[:, :, inset : inset + height, inset : inset + width]
    block_p, block_c, groups = tile(x, channels, READ)
    tiles, chunks = split(out.shape[2] * out.shape[3], block_p, groups * count)
    launch(
        normalize,
        x.device,
        (chunks, groups, count),
        x,
        statistics,
        weight.contiguous(),
        bias.contiguous(),
        skip,
        out,
        count,
        height,
        width,
        tiles,
        0 if skip is None else skip.stride(0) // channels,
        0 if skip is None else skip.stride(2) // channels,
        CHANNELS=channels,
        RELU=relu,
        MARGIN=margin,
        SKIPPED=skipped,
        BLOCK_P=block_p,
        BLOCK_C=block_c,
    )
    return out, statistics


def _measure(x: Tensor, statistics: Tensor, eps: float) -> None:
    """Fill in means and inverse standard deviations."""
    from fast_style.networks.kernels.triton_norm import merge_moments, moments

    count, channels, height, width = x.shape
    block_p, block_c, groups = tile(x, channels, READ)
    tiles, chunks = split(height * width, block_p, groups * count)
    partials = x.new_empty((2, count, chunks, channels), dtype=torch.float32)
    launch(
        moments,
        x.device,
        (chunks, groups, count),
        x,
        partials,
        count,
        height * width,
        tiles,
        chunks,
        CHANNELS=channels,
        BLOCK_P=block_p,
        BLOCK_C=block_c,
    )
    launch(
        merge_moments,
        x.device,
        (1, parts(channels, 8), count),
        partials,
        statistics,
        count,
        height * width,
        tiles,
        chunks,
        eps,
        CHANNELS=channels,
        BLOCK_P=block_p,
        BLOCK_C=8,
        CHUNKS=MAX_CHUNKS,
        num_warps=8,
    )


def _normalized_backward_like(
    gradient: Tensor,
    x: Tensor,
    statistics: Tensor,
    weight: Tensor,
    bias: Tensor,
    relu: bool,
    inset: int | None,
    margin: int,
    skipped: int,
) -> tuple[Tensor, Tensor, Tensor]:
    count, channels, height, width = x.shape
    # Sums of the gradient, and of the gradient times the normalized value: of each sample, and of
    # all together.
    sums = x.new_empty((2, count + 1, channels), dtype=torch.float32)
    if inset is None:
        skip = x.new_empty(0)
    else:
        skip = empty(x, count, channels, height + 2 * inset, width + 2 * inset)
    return empty(x, *x.shape), sums, skip


def _launch_normalized_backward(
    gradient: Tensor,
    x: Tensor,
    statistics: Tensor,
    weight: Tensor,
    bias: Tensor,
    relu: bool,
    inset: int | None,
    margin: int,
    skipped: int,
) -> tuple[Tensor, Tensor, Tensor]:
    from fast_style.networks.kernels.triton_norm import normalize_backward

    x = x.contiguous(memory_format=torch.channels_last)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    weight, bias = weight.contiguous(), bias.contiguous()
    out, sums, skip = _normalized_backward_like(
        gradient, x, statistics, weight, bias, relu, inset, margin, skipped
    )
    count, channels, height, width = x.shape
    inner = None
    if inset is not None:
        if inset > 0:
            skip.zero_()
        inner = skip[:, :, inset : inset + height, inset : inset + width]
    inputs = (gradient, x, statistics, weight, bias)
    block_p, block_c, groups = tile(x, channels, READ // 2)
    tiles, chunks = split(height * width, block_p, groups * count)
    options = {
        "CHANNELS": channels,
        "RELU": relu,
        "MARGIN": margin,
        "SKIPPED": skipped,
        "BLOCK_P": block_p,
        "BLOCK_C": block_c,
    }
    _sum_gradients(inputs, sums, (chunks, groups, count), tiles, options)
    launch(
        normalize_backward,
        x.device,
        (chunks, groups, count),
        *inputs,
        sums,
        out,
        inner,
        count,
        height,
        width,
        tiles,
        0 if inner is None else inner.stride(0) // channels,
        0 if inner is None else inner.stride(2) // channels,
        **options,
    )
    return out, sums, skip


def _sum_gradients(
    inputs: tuple[Tensor, ...],
    sums: Tensor,
    grid: tuple[int, int, int],
    tiles: int,
    options: dict[str, Any],
) -> None:
    """Fill in the sums of `_normalized_backward_like`."""
    from fast_style.networks.kernels.triton_norm import gradient_sums, merge_sums

    x = inputs[1]
    count, channels, height, width = x.shape
    chunks = grid[0]
    partials = x.new_empty((2, count, chunks, channels), dtype=torch.float32)
    launch(
        gradient_sums,
        x.device,
        grid,
        *inputs,
        partials,
        count,
        height,
        width,
        tiles,
        chunks,
        **options,
    )
    launch(
        merge_sums,
        x.device,
        (1, parts(channels, 8), count + 1),
        partials,
        sums,
        count,
        chunks,
        CHANNELS=channels,
        BLOCK_C=8,
        CHUNKS=MAX_CHUNKS,
        num_warps=8,
    )


def _in_pixels(x: Tensor) -> Tensor:
    """The tensor, or a copy in which the channels of each pixel and the pixels of each row lie side
    by side."""
    channels = x.shape[1]
    sample_step, channel_step, row_step, column_step = x.stride()
    if (channel_step, column_step) == (1, channels) and not (
        sample_step % channels or row_step % channels
    ):
        return x
    return x.contiguous(memory_format=torch.channels_last)


define(
    "normalized(Tensor x, Tensor weight, Tensor bias, float eps, bool relu, Tensor? skip, "
    "int margin, int skipped) -> (Tensor, Tensor)",
    _launch_normalized,
    _normalized_like,
)
define(
    "normalized_backward(Tensor gradient, Tensor x, Tensor statistics, Tensor weight, "
    "Tensor bias, bool relu, int? inset, int margin, int skipped) -> (Tensor, Tensor, Tensor)",
    _launch_normalized_backward,
    _normalized_backward_like,
)
