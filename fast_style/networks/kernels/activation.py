"""Bias and ReLU behind VGG's convolutions, as one operation in place."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fast_style.networks.kernels.launch import check, define, launch, parts

VALUES = 4096  # that each program takes


def biased_relu(x: Tensor, bias: Tensor) -> Tensor:
    """``relu(x + bias)``, in place. Gradients flow to ``x`` alone.

    Args:
        x: ``(N, C, H, W)``, contiguous or in channels_last.
        bias: ``(C,)``, frozen.

    Raises:
        ValueError: for an ``x`` with gaps in memory, or too large a picture.
    """
    check(x, 0, 0)
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        raise ValueError("biased_relu works in place on contiguous and channels_last tensors alone")
    result: Tensor = _BiasedReLU.apply(x, bias)
    return result


class _BiasedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        torch.ops.fast_style.biased_relu_(x, bias)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        return torch.ops.fast_style.biased_relu_backward(gradient, out), None


def launch_biased_relu(x: Tensor, bias: Tensor) -> None:
    """The operation itself, without autograd."""
    from fast_style.networks.kernels.triton_activation import biased_relu as kernel

    last = x.is_contiguous(memory_format=torch.channels_last)
    launch(
        kernel,
        x.device,
        (parts(x.numel(), VALUES),),
        x,
        bias.contiguous(),
        x.numel(),
        1 if last else x.shape[2] * x.shape[3],
        CHANNELS=x.shape[1],
        BLOCK=VALUES,
    )


def _launch_backward(gradient: Tensor, out: Tensor) -> Tensor:
    from fast_style.networks.kernels.triton_activation import relu_backward

    result = torch.empty_like(out)
    last = out.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    launch(
        relu_backward,
        out.device,
        (parts(out.numel(), VALUES),),
        gradient.contiguous(memory_format=layout),
        out,
        result,
        out.numel(),
        BLOCK=VALUES,
    )
    return result


define("biased_relu_(Tensor(a!) x, Tensor bias) -> ()", launch_biased_relu, lambda x, bias: None)
define(
    "biased_relu_backward(Tensor gradient, Tensor out) -> Tensor",
    _launch_backward,
    lambda gradient, out: torch.empty_like(out),
)
