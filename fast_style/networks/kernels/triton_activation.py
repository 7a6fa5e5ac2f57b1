"""Triton kernels of `activation`, see `triton_tiles`."""

import triton
import triton.language as tl

from fast_style.networks.kernels.triton_tiles import SIZES


@triton.jit(do_not_specialize=SIZES)
def biased_relu(
    x,
    bias,
    values,
    inner,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add a bias and apply a ReLU, in place. ``inner`` values of a channel lie side by side."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    places = tl.arange(0, BLOCK)
    inside = places < values - start
    channels = ((start % (inner * CHANNELS)).to(tl.int32) + places) // inner % CHANNELS
    value = tl.load(x + start + places, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + channels, mask=inside, other=0.0).to(tl.float32)
    value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(x + start + places, value.to(x.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def relu_backward(gradient, out, result, values, BLOCK: tl.constexpr):
    """The gradient of the ReLU's input."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    places = tl.arange(0, BLOCK)
    inside = places < values - start
    value = tl.load(out + start + places, mask=inside, other=0.0)
    change = tl.load(gradient + start + places, mask=inside, other=0.0)
    change = tl.where(value > 0, change, 0.0)
    tl.store(result + start + places, change, mask=inside)
