"""Padding, instance norm and ReLU in a few passes over memory, by kernels of our own on a GPU.

PyTorch takes about ten launches for a padding and twice as many passes as it needs for a norm
whose pictures come in channels_last. Here each function is one operation of PyTorch's forward and
one backward. Results repeat bit for bit, nothing waits for the device, and all can be captured in
a CUDA graph.

Ask `serve` first: where it says no, PyTorch's own operations are the ones to use.
"""

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import _disable_current_modes

log = logging.getLogger(__name__)

AVAILABLE = importlib.util.find_spec("triton") is not None
"""Whether Triton can be imported. It comes with PyTorch's CUDA wheels."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# A program reads so many bytes at a time: two tiles of one half each in the backward passes.
READ = 8192
# Of each pixel, a line of an H100's cache.
LINE = 128
# So many programs share a picture, four on each of an H100's 132 multiprocessors: enough to keep
# its memory busy if none takes more than its share of the registers. A constant, so that sums do
# not depend on the GPU.
PROGRAMS = 528
MAX_REGISTERS = 128
# ReLU's programs take so many values each.
VALUES = 4096
# Above all parts that a picture is split into.
MAX_CHUNKS = 1024
# Kernels count a picture's pixels in 32 bits.
MAX_PIXELS = 2**30

_on_cpu: ContextVar[bool] = ContextVar("on_cpu", default=False)


def serve(x: Tensor) -> bool:
    """Whether this module's functions take ``x``: a float32, bfloat16 or float16 tensor on a GPU
    where Triton works. Inside `on_cpu` they take CPU tensors as well."""
    if not AVAILABLE or x.dtype not in DTYPES:
        return False
    if x.is_cuda:
        # Without a GPU, this is a fake tensor.
        return not torch.cuda.is_available() or _works(x.device)
    return x.device.type == "cpu" and _on_cpu.get()


@contextmanager
def on_cpu() -> Iterator[None]:
    """Let Triton's interpreter run the kernels on CPU tensors. It is slow, and meant for tests.

    Raises:
        RuntimeError: without Triton, or without ``TRITON_INTERPRET=1`` in the environment. Triton
            reads that when the first kernel is launched.
    """
    if not AVAILABLE or os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("kernels run on a CPU only with Triton and TRITON_INTERPRET=1")
    token = _on_cpu.set(True)
    try:
        yield
    finally:
        _on_cpu.reset(token)


def padded(x: Tensor, margin: int, skipped: int, channels: int | None = None) -> Tensor:
    """``x`` with a mirror image on each side.

    Args:
        x: ``(N, C, H, W)`` of any strides.
        margin: rows and columns that each side gets, at most as many as the mirror can show.
        skipped: 1 leaves out the edge's own pixels (reflection), 0 repeats them (replication,
            with a margin of 1).
        channels: appends channels of zeros until there are so many.

    Returns:
        ``(N, channels or C, H + 2 margin, W + 2 margin)`` in channels_last.

    Raises:
        ValueError: for a margin that is wider than the mirror image, or too large a picture.
    """
    _check(x, margin, skipped)
    channels = x.shape[1] if channels is None else channels
    if channels < x.shape[1]:
        raise ValueError(f"{x.shape[1]} channels cannot be filled up to {channels}")
    result: Tensor = _Padded.apply(x, margin, skipped, channels)
    return result


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
    """Instance norm (Ulyanov, Vedaldi and Lempitsky 2016), then ReLU or a skip, then padding.

    Mean and variance of each channel of each sample are taken in float32, from moments of parts of
    the picture that are merged as Chan, Golub and LeVeque (1983) do: large means, small variances
    and large pictures keep their digits.

    Args:
        x: ``(N, C, H, W)``, best in channels_last.
        weight: ``(C,)`` scales.
        bias: ``(C,)`` shifts.
        eps: added to the variance.
        relu: whether ReLU follows. A skip cannot follow as well.
        skip: is added to what was normalized: ``(N, C, H, W)``, best the interior of a larger
            tensor in channels_last or such a tensor itself. A larger one is taken without its
            margin, which must be the same on all sides and gets gradients of zero. It saves the
            two copies that the gradient of a view costs.
        margin: see `padded`.
        skipped: see `padded`.

    Returns:
        ``(N, C, H + 2 margin, W + 2 margin)`` in channels_last and in the dtype of ``x``.

    Raises:
        ValueError: see `padded`; and for a ReLU with a skip, or a skip of the wrong shape.
    """
    _check(x, margin, skipped)
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


def biased_relu(x: Tensor, bias: Tensor) -> Tensor:
    """``relu(x + bias)`` in place. Gradients flow to ``x`` alone.

    Args:
        x: ``(N, C, H, W)``, contiguous or in channels_last.
        bias: ``(C,)``, frozen.

    Raises:
        ValueError: for an ``x`` with gaps in memory, or too large a picture.
    """
    _check(x, 0, 0)
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        raise ValueError("biased_relu works in place on contiguous and channels_last tensors alone")
    result: Tensor = _BiasedReLU.apply(x, bias)
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
        # Without margins, the gradient of the skip is the one that comes.
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


# The operations. `torch.library.custom_op` would do the same, but its first call imports all of
# TorchDynamo, which takes seconds.
_library = torch.library.Library("fast_style", "DEF")
for _schema in (
    "padded(Tensor x, int margin, int skipped, int channels) -> Tensor",
    "padded_backward(Tensor gradient, int margin, int skipped, int channels) -> Tensor",
    "normalized(Tensor x, Tensor weight, Tensor bias, float eps, bool relu, Tensor? skip, "
    "int margin, int skipped) -> (Tensor, Tensor)",
    "normalized_backward(Tensor gradient, Tensor x, Tensor statistics, Tensor weight, "
    "Tensor bias, bool relu, int? inset, int margin, int skipped) -> (Tensor, Tensor, Tensor)",
    "biased_relu_(Tensor(a!) x, Tensor bias) -> ()",
    "biased_relu_backward(Tensor gradient, Tensor out) -> Tensor",
):
    _library.define(_schema)


def _padded_like(x: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
    count, _, height, width = x.shape
    return _empty(x, count, channels, height + 2 * margin, width + 2 * margin)


def _launch_padded(x: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
    out = _padded_like(x, margin, skipped, channels)
    count, filled, height, width = x.shape
    steps, unit = x.stride(), filled
    # In channels_last the alignment of pixels is known only if steps count whole pixels.
    if steps[1] != 1 or any(steps[axis] % unit for axis in (0, 2, 3)):
        unit = 1
    block_p, block_c, groups = _tile(x, channels, READ)
    _launch(
        "pad",
        x.device,
        (_parts(out.shape[2] * out.shape[3], block_p), groups, count),
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
    return _empty(gradient, count, channels, height - 2 * margin, width - 2 * margin)


def _launch_padded_backward(gradient: Tensor, margin: int, skipped: int, channels: int) -> Tensor:
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    out = _unpadded_like(gradient, margin, skipped, channels)
    count, _, height, width = out.shape
    block_p, block_c, groups = _tile(gradient, channels, READ // 2)
    _launch(
        "unpad",
        gradient.device,
        (_parts(height * width, block_p), groups, count),
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
    out = _empty(x, count, channels, height + 2 * margin, width + 2 * margin)
    # Means, and inverses of standard deviations.
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
    x = x.contiguous(memory_format=torch.channels_last)
    out, statistics = _normalized_like(x, weight, bias, eps, relu, skip, margin, skipped)
    count, channels, height, width = x.shape
    block_p, block_c, groups = _tile(x, channels, READ)
    tiles, chunks = _split(height * width, block_p, groups * count)
    partials = x.new_empty((2, count, chunks, channels), dtype=torch.float32)
    _launch(
        "moments",
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
    _launch(
        "merge_moments",
        x.device,
        (1, _parts(channels, 8), count),
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
    if skip is not None:
        inset = (skip.shape[2] - height) // 2
        skip = _in_pixels(skip)[:, :, inset : inset + height, inset : inset + width]
    tiles, chunks = _split(out.shape[2] * out.shape[3], block_p, groups * count)
    _launch(
        "normalize",
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
    # Of the gradient, and of the gradient times what was normalized: for each sample, and for all.
    sums = x.new_empty((2, count + 1, channels), dtype=torch.float32)
    if inset is None:
        skip = x.new_empty(0)
    else:
        skip = _empty(x, count, channels, height + 2 * inset, width + 2 * inset)
    return _empty(x, *x.shape), sums, skip


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
    block_p, block_c, groups = _tile(x, channels, READ // 2)
    tiles, chunks = _split(height * width, block_p, groups * count)
    partials = x.new_empty((2, count, chunks, channels), dtype=torch.float32)
    shape = {
        "CHANNELS": channels,
        "RELU": relu,
        "MARGIN": margin,
        "SKIPPED": skipped,
        "BLOCK_P": block_p,
        "BLOCK_C": block_c,
    }
    _launch(
        "gradient_sums",
        x.device,
        (chunks, groups, count),
        gradient,
        x,
        statistics,
        weight,
        bias,
        partials,
        count,
        height,
        width,
        tiles,
        chunks,
        **shape,
    )
    _launch(
        "merge_sums",
        x.device,
        (1, _parts(channels, 8), count + 1),
        partials,
        sums,
        count,
        chunks,
        CHANNELS=channels,
        BLOCK_C=8,
        CHUNKS=MAX_CHUNKS,
        num_warps=8,
    )
    _launch(
        "normalize_backward",
        x.device,
        (chunks, groups, count),
        gradient,
        x,
        statistics,
        weight,
        bias,
        sums,
        out,
        inner,
        count,
        height,
        width,
        tiles,
        0 if inner is None else inner.stride(0) // channels,
        0 if inner is None else inner.stride(2) // channels,
        **shape,
    )
    return out, sums, skip


def _launch_biased_relu(x: Tensor, bias: Tensor) -> None:
    last = x.is_contiguous(memory_format=torch.channels_last)
    _launch(
        "biased_relu",
        x.device,
        (_parts(x.numel(), VALUES),),
        x,
        bias.contiguous(),
        x.numel(),
        1 if last else x.shape[2] * x.shape[3],
        CHANNELS=x.shape[1],
        BLOCK=VALUES,
    )


def _launch_biased_relu_backward(gradient: Tensor, out: Tensor) -> Tensor:
    result = torch.empty_like(out)
    last = out.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    _launch(
        "relu_backward",
        out.device,
        (_parts(out.numel(), VALUES),),
        gradient.contiguous(memory_format=layout),
        out,
        result,
        out.numel(),
        BLOCK=VALUES,
    )
    return result


for _name, _launched, _fake in (
    ("padded", _launch_padded, _padded_like),
    ("padded_backward", _launch_padded_backward, _unpadded_like),
    ("normalized", _launch_normalized, _normalized_like),
    ("normalized_backward", _launch_normalized_backward, _normalized_backward_like),
    ("biased_relu_", _launch_biased_relu, lambda x, bias: None),
    (
        "biased_relu_backward",
        _launch_biased_relu_backward,
        lambda gradient, out: torch.empty_like(out),
    ),
):
    _library.impl(_name, _launched, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fast_style::{_name}", _fake, lib=_library)


@cache
def _kernels() -> ModuleType:
    from fast_style.networks import triton_kernels

    return triton_kernels


@cache
def _works(device: torch.device) -> bool:
    """Whether a kernel can be launched. Triton needs a C compiler and Python's headers for that,
    which many machines lack."""
    try:
        with _disable_current_modes():
            x = torch.zeros(1, 1, 1, 1, device=device)
            _launch_biased_relu(x, x[0, 0, 0])
    except Exception as error:  # of many kinds, from Triton, its C compiler and the driver
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        log.warning("Triton does not work here, PyTorch's slower operations serve: %s", reason)
        return False
    return True


def _launch(
    name: str, device: torch.device, grid: tuple[int, ...], *arguments: Any, **options: Any
) -> None:
    kernel = getattr(_kernels(), name)
    options["maxnreg"] = MAX_REGISTERS
    options["enable_fp_fusion"] = True  # the default depends on Triton's version
    if device.type == "cpu":
        kernel[grid](*arguments, **options)
    else:
        with torch.cuda.device(device):  # Triton launches on the current one
            kernel[grid](*arguments, **options)


def _check(x: Tensor, margin: int, skipped: int) -> None:
    if x.dim() != 4 or x.numel() == 0:
        raise ValueError(f"pictures come as (N, C, H, W), not {tuple(x.shape)}")
    if margin and not 0 <= margin <= min(x.shape[2:]) - skipped:
        raise ValueError(
            f"a margin of {margin} is wider than the mirror image of {x.shape[2]} x {x.shape[3]}"
        )
    if (x.shape[2] + 2 * margin) * (x.shape[3] + 2 * margin) > MAX_PIXELS:
        raise ValueError(f"{x.shape[2]} x {x.shape[3]} is more than 2^30 pixels")


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _in_pixels(x: Tensor) -> Tensor:
    """``x``, or a copy, with the channels of each pixel and the pixels of each row side by side."""
    channels = x.shape[1]
    sample_step, channel_step, row_step, column_step = x.stride()
    if (channel_step, column_step) == (1, channels) and not (
        sample_step % channels or row_step % channels
    ):
        return x
    return x.contiguous(memory_format=torch.channels_last)


def _tile(like: Tensor, channels: int, size: int) -> tuple[int, int, int]:
    """Pixels and channels of a tile of so many bytes, and how many tiles the channels take."""
    item = like.element_size()
    block_c = min(1 << (channels - 1).bit_length(), LINE // item)
    return size // item // block_c, block_c, _parts(channels, block_c)


def _split(pixels: int, block_p: int, others: int) -> tuple[int, int]:
    """Tiles in each chunk of a picture, and chunks, where so many others are as large."""
    tiles = _parts(pixels, block_p)
    each = _parts(tiles * others, PROGRAMS)
    return each, _parts(tiles, each)


def _parts(whole: int, size: int) -> int:
    return -(-whole // size)
