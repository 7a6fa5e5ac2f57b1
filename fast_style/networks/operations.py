"""The networks' operations around convolutions: padding, instance norm, bias and ReLU.

On CUDA each is one operation of `kernels`, which reads and writes a layer as few times as it can.
Elsewhere, and without Triton, PyTorch's operations do the same. Layers are ``(N, C, H, W)``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fast_style.networks import kernels


def padded(x: Tensor, margin: int, skipped: int = 1, channels: int | None = None) -> Tensor:
    """Mirror a layer at its sides.

    Args:
        x: ``(N, C, H, W)``, with sides longer than ``margin``.
        margin: rows and columns that are added on each side.
        skipped: 1 leaves the edge's own pixels out of the mirror (reflection); 0 repeats them,
            which for a margin of 1 is replication.
        channels: channels of the result; those beyond C are zero.

    Returns:
        ``(N, channels or C, H + 2 margin, W + 2 margin)``.

    >>> padded(torch.tensor([[[[1.0, 2.0, 3.0]] * 3]]), margin=1)[0, 0, 0]
    tensor([2., 1., 2., 3., 2.])
    """
    if kernels.serve(x):
        return kernels.padded(x, margin, skipped, channels)
    mirror: Tensor = _Padding.apply(x, margin, skipped)
    return mirror if channels is None else F.pad(mirror, (0, 0, 0, 0, 0, channels - x.shape[1]))


def normalized(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    relu: bool,
    skip: Tensor | None = None,
    margin: int = 0,
    skipped: int = 1,
) -> tuple[Tensor, Tensor]:
    """Instance norm (Ulyanov, Vedaldi and Lempitsky 2016), then a ReLU or a skip, then padding.

    Args:
        x: ``(N, C, H, W)``.
        weight: scale of each channel, ``(C,)``.
        bias: shift of each channel, ``(C,)``.
        eps: added to the variance.
        relu: whether a ReLU follows.
        skip: added after the norm: the first result of an earlier call.
        margin: as in `padded`, for the next layer.
        skipped: as in `padded`.

    Returns:
        What a later call takes as ``skip``, and the layer with its padding.
    """
    if kernels.serve(x):
        layer = kernels.normalized(x, weight, bias, eps, relu, skip, margin, skipped)
        return layer, layer  # the kernels find a skip inside its padding
    if x.is_cuda and len(x) == 1:
        # For one picture batch norm is the same, without PyTorch's two copies of channels_last. On
        # a CPU it sums in float32, which moves the variance of large pictures.
        y = F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    else:
        y = F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if relu:
        y = F.relu(y, inplace=True)
    if skip is not None:
        y = y.add_(skip)
    return y, padded(y, margin, skipped) if margin else y


def convolved_relu(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """ReLU of a convolution with zero padding and a frozen bias, which gets no gradient.

    Args:
        x: ``(N, C, H, W)``.
        weight: kernels, ``(outputs, C, side, side)``.
        bias: ``(outputs,)``.
        padding: rows and columns of zeros on each side.
    """
    if kernels.serve(x):
        return kernels.biased_relu(F.conv2d(x, weight, padding=padding), bias)
    return F.relu(F.conv2d(x, weight, bias, padding=padding), inplace=True)


class _Padding(torch.autograd.Function):
    """`padded`, with a gradient that is always summed in the same order.

    On CUDA, PyTorch's own paddings copy a layer out of channels_last and back, and add gradients in
    random order, so that no two trainings are the same.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, margin: int, skipped: int) -> Tensor:
        ctx.margin, ctx.skipped = margin, skipped
        if x.is_cuda:
            return mirrored(x, margin, skipped)
        # Here PyTorch's padding keeps the memory format, and exporters support it.
        return F.pad(x, (margin,) * 4, mode="reflect" if skipped else "replicate")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        margin, skipped = ctx.margin, ctx.skipped
        width = gradient.shape[3] - 2 * margin
        whole = _unpadded_rows(gradient.narrow(3, margin, width), margin, skipped)
        left = _unpadded_rows(gradient[..., :margin], margin, skipped)
        right = _unpadded_rows(gradient[..., -margin:], margin, skipped)
        whole.narrow(3, skipped, margin).add_(left.flip(3))
        whole.narrow(3, width - margin - skipped, margin).add_(right.flip(3))
        return whole, None, None


def _unpadded_rows(gradient: Tensor, margin: int, skipped: int) -> Tensor:
    """The rows inside the margins, with those of the margins added to the rows that they mirror."""
    height = gradient.shape[2] - 2 * margin
    rows = gradient.narrow(2, margin, height).clone()
    rows.narrow(2, skipped, margin).add_(gradient[:, :, :margin].flip(2))
    rows.narrow(2, height - margin - skipped, margin).add_(gradient[:, :, -margin:].flip(2))
    return rows


def mirrored(x: Tensor, margin: int, skipped: int) -> Tensor:
    """`padded` by copies, in the memory format of the layer."""
    count, channels, height, width = x.shape
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    layer = torch.empty(
        (count, channels, height + 2 * margin, width + 2 * margin),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )
    columns = layer.narrow(3, margin, width)
    columns.narrow(2, margin, height).copy_(x)
    for axis, part in ((2, columns), (3, layer)):  # the columns bring the corners with them
        size = part.shape[axis]
        for outside, inside in (
            (0, margin + skipped),
            (size - margin, size - 2 * margin - skipped),
        ):
            part.narrow(axis, outside, margin).copy_(part.narrow(axis, inside, margin).flip(axis))
    return layer
