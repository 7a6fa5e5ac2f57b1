"""Triton kernels of `padding`, see `triton_tiles`."""

import triton
import triton.language as tl

from fast_style.networks.kernels.triton_tiles import SIZES, folded, mirrored, values_at


@triton.jit(do_not_specialize=SIZES)
def pad(
    x,
    out,
    height,
    width,
    sample_step,
    row_step,
    column_step,
    channel_step,
    UNIT: tl.constexpr,
    FILLED: tl.constexpr,
    CHANNELS: tl.constexpr,
    MARGIN: tl.constexpr,
    SKIPPED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Pad a picture, and add zeros behind its FILLED channels up to CHANNELS.

    The steps from sample to sample, row to row and column to column count UNIT values each.
    """
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2).to(tl.int64)
    wide = width + 2 * MARGIN
    area = (height + 2 * MARGIN) * wide
    pixels = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    rows = mirrored(pixels // wide, height, MARGIN, SKIPPED).to(tl.int64)
    columns = mirrored(pixels % wide, width, MARGIN, SKIPPED).to(tl.int64)
    at = (sample * sample_step + rows * row_step + columns * column_step) * UNIT
    inside = (pixels < area)[:, None]
    value = tl.load(
        x + (at[:, None] + channels[None, :].to(tl.int64) * channel_step),
        mask=inside & (channels < FILLED)[None, :],
        other=0.0,
    )
    there = values_at(sample * area + pixels, channels, CHANNELS)
    tl.store(out + there, value, mask=inside & (channels < CHANNELS)[None, :])


@triton.jit(do_not_specialize=SIZES)
def unpad(
    gradient,
    out,
    height,
    width,
    PITCH: tl.constexpr,
    CHANNELS: tl.constexpr,
    MARGIN: tl.constexpr,
    SKIPPED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """The gradient of the picture before its padding: the first CHANNELS of PITCH."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2).to(tl.int64)
    area = height * width
    first = tl.program_id(0) * BLOCK_P
    pixels = first + tl.arange(0, BLOCK_P)
    inside = (pixels < area)[:, None] & (channels < CHANNELS)[None, :]
    padded_area = (height + 2 * MARGIN) * (width + 2 * MARGIN)
    total = folded(
        gradient + sample * padded_area * PITCH,
        first,
        pixels,
        channels,
        inside,
        height,
        width,
        BLOCK_P,
        BLOCK_C,
        PITCH,
        MARGIN,
        SKIPPED,
    )
    at = values_at(sample * area + pixels, channels, CHANNELS)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)
