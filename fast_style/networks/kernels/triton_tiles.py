"""Functions that the Triton kernels share. Triton takes long to import: import these modules late.

Pictures lie in channels_last, with the channels of each pixel side by side. A program works on
tiles of BLOCK_P pixels, counted row by row, and BLOCK_C channels. Its three indices choose the part
of the picture, the channels and the sample. Offsets that count values take 64 bits; those that
count a picture's pixels fit into 32. No program adds to another's results, so the same input gives
the same bits.

Names in capitals are known when a kernel is compiled. Sizes are not (``do_not_specialize``), so
one compiled kernel serves pictures of all sizes.
"""

import triton
import triton.language as tl

SIZES = [
    "samples",
    "height",
    "width",
    "pixels",
    "tiles",
    "chunks",
    "sample_step",
    "row_step",
]


@triton.jit
def mirrored(outside, side, MARGIN: tl.constexpr, SKIPPED: tl.constexpr):
    """The row or column of a picture that a row or column of the padded picture mirrors."""
    inside = outside - MARGIN
    inside = tl.where(inside < 0, SKIPPED - 1 - inside, inside)
    return tl.where(inside >= side, 2 * side - 1 - SKIPPED - inside, inside)


@triton.jit
def values_at(pixels, channels, PITCH: tl.constexpr):
    """Offsets of the values of pixels with PITCH channels."""
    return pixels.to(tl.int64)[:, None] * PITCH + channels[None, :]


@triton.jit
def _across(
    gradient,
    rows,
    columns,
    channels,
    inside,
    width,
    near_sides,
    PITCH: tl.constexpr,
    MARGIN: tl.constexpr,
    SKIPPED: tl.constexpr,
):
    """Gradients of some rows of the padded picture, summed over the columns that mirror each of the
    picture's columns."""
    wide = width + 2 * MARGIN
    starts = rows * wide
    at = values_at(starts + columns + MARGIN, channels, PITCH)
    if near_sides:
        # All loads come before the first use, so that they wait for memory together.
        middle = tl.load(gradient + at, mask=inside, other=0.0)
        left = MARGIN - 1 + SKIPPED - columns
        there = inside & ((left >= 0) & (left < MARGIN))[:, None]
        on_left = tl.load(
            gradient + values_at(starts + left, channels, PITCH), mask=there, other=0.0
        )
        right = MARGIN + 2 * width - 1 - SKIPPED - columns
        there = inside & ((right >= width + MARGIN) & (right < wide))[:, None]
        on_right = tl.load(
            gradient + values_at(starts + right, channels, PITCH), mask=there, other=0.0
        )
        total = middle.to(tl.float32) + on_left.to(tl.float32) + on_right.to(tl.float32)
    else:
        total = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    return total


@triton.jit
def folded(
    gradient,
    first,
    pixels,
    channels,
    inside,
    height,
    width,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    PITCH: tl.constexpr,
    MARGIN: tl.constexpr,
    SKIPPED: tl.constexpr,
):
    """Gradients of the padded picture, summed over the pixels that mirror each of the picture's
    pixels: up to three rows and three columns of them.

    Most tiles are far from the top and the bottom, and in large pictures from the sides as well.
    They read one gradient for each pixel.
    """
    if MARGIN == 0:
        at = values_at(pixels, channels, PITCH)
        total = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    else:
        last = tl.minimum(first + BLOCK_P, height * width) - 1
        near_sides = (
            (first // width != last // width)
            | (first % width < MARGIN + SKIPPED)
            | (last % width >= width - MARGIN - SKIPPED)
        )
        near_top = first // width < MARGIN + SKIPPED
        near_bottom = last // width >= height - MARGIN - SKIPPED
        rows = pixels // width
        columns = pixels % width
        total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
        for side in range(tl.where(near_top, -1, 0), tl.where(near_bottom, 2, 1)):
            # Rows of the margin above, of the picture itself, and of the margin below.
            line = rows + MARGIN
            line = tl.where(side < 0, MARGIN - 1 + SKIPPED - rows, line)
            line = tl.where(side > 0, MARGIN + 2 * height - 1 - SKIPPED - rows, line)
            start = tl.where(side < 0, 0, tl.where(side > 0, height + MARGIN, MARGIN))
            stop = start + tl.where(side == 0, height, MARGIN)
            there = (line >= start) & (line < stop)
            total += _across(
                gradient,
                line,
                columns,
                channels,
                inside & there[:, None],
                width,
                near_sides,
                PITCH,
                MARGIN,
                SKIPPED,
            )
    return total
