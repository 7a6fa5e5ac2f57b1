"""Triton kernels of `norm`, see `triton_tiles`.

The two kernels of the backward pass are longer than other functions, as they take many arguments.
"""

import triton
import triton.language as tl

from fast_style.networks.kernels.triton_tiles import SIZES, folded, mirrored, values_at


@triton.jit(do_not_specialize=SIZES)
def moments(
    x,
    partials,
    samples,
    pixels,
    tiles,
    chunks,
    CHANNELS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Mean of each chunk of tiles, and the sum of squared deviations from it.

    Each place in the tile keeps its own moments (Welford 1962) from tile to tile. They are merged
    at the end (Chan, Golub and LeVeque 1983).
    """
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    chunk = tl.program_id(0)
    sample = tl.program_id(2)
    known = (channels < CHANNELS)[None, :]
    places = chunk * tiles * BLOCK_P + tl.arange(0, BLOCK_P)
    start = x + sample.to(tl.int64) * pixels * CHANNELS
    mean = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    square = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for tile in range(tiles):
        place = places + tile * BLOCK_P
        inside = (place < pixels)[:, None] & known
        at = values_at(place, channels, CHANNELS)
        value = tl.load(start + at, mask=inside, other=0.0).to(tl.float32)
        difference = tl.where(inside, value - mean, 0.0)
        mean += difference * (1.0 / (tile + 1))
        square += difference * (value - mean)
    met = tl.minimum(tl.maximum((pixels - places + BLOCK_P - 1) // BLOCK_P, 0), tiles)
    count = met.to(tl.float32)[:, None]
    all_met = tl.sum(count)
    total = tl.sum(mean * count, 0) / all_met
    # Add the mean difference: a sum of large means has lost digits that their differences keep.
    total += tl.sum((mean - total[None, :]) * count, 0) / all_met
    deviation = mean - total[None, :]
    square = tl.sum(square + count * deviation * deviation, 0)
    at = (sample * chunks + chunk) * CHANNELS + channels
    tl.store(partials + at, total, mask=channels < CHANNELS)
    at += samples * chunks * CHANNELS
    tl.store(partials + at, square, mask=channels < CHANNELS)


@triton.jit(do_not_specialize=SIZES)
def merge_moments(
    partials,
    statistics,
    samples,
    pixels,
    tiles,
    chunks,
    epsilon,
    CHANNELS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """Merge the moments of all chunks into means and inverse standard deviations."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2)
    chunk = tl.arange(0, CHUNKS)
    inside = (chunk < chunks)[:, None] & (channels < CHANNELS)[None, :]
    at = (sample * chunks + chunk)[:, None] * CHANNELS + channels[None, :]
    means = tl.load(partials + at, mask=inside, other=0.0)
    squares = tl.load(partials + samples * chunks * CHANNELS + at, mask=inside, other=0.0)
    length = tiles * BLOCK_P
    counts = tl.where(chunk < chunks, tl.minimum(pixels - chunk * length, length), 0)
    counts = counts.to(tl.float32)[:, None]
    shares = counts / pixels
    mean = tl.sum(means * shares, 0)
    mean += tl.sum((means - mean[None, :]) * shares, 0)
    deviation = means - mean[None, :]
    variance = tl.sum(squares + counts * deviation * deviation, 0) / pixels
    at = sample * CHANNELS + channels
    tl.store(statistics + at, mean, mask=channels < CHANNELS)
    at += samples * CHANNELS
    tl.store(statistics + at, tl.rsqrt(variance + epsilon), mask=channels < CHANNELS)


@triton.jit(do_not_specialize=SIZES)
def normalize(
    x,
    statistics,
    weight,
    bias,
    skip,
    out,
    samples,
    height,
    width,
    tiles,
    sample_step,
    row_step,
    CHANNELS: tl.constexpr,
    RELU: tl.constexpr,
    MARGIN: tl.constexpr,
    SKIPPED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Normalize, add a ReLU or a skip, and pad. Steps in ``skip`` count pixels."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channels < CHANNELS
    sample = tl.program_id(2)
    mean = tl.load(statistics + sample * CHANNELS + channels, mask=known, other=0.0)
    inverse = tl.load(statistics + (samples + sample) * CHANNELS + channels, mask=known, other=0.0)
    scale = inverse * tl.load(weight + channels, mask=known, other=0.0).to(tl.float32)
    shift = tl.load(bias + channels, mask=known, other=0.0).to(tl.float32)
    wide = width + 2 * MARGIN
    area = (height + 2 * MARGIN) * wide
    sample = sample.to(tl.int64)
    x += sample * height * width * CHANNELS
    out += sample * area * CHANNELS
    if skip is not None:
        skip += sample * sample_step * CHANNELS
    first = tl.program_id(0) * tiles * BLOCK_P
    for tile in range(tiles):
        # Go backwards: the last tile that `moments` read is still in the cache.
        pixels = first + (tiles - 1 - tile) * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = (pixels < area)[:, None] & known[None, :]
        rows = mirrored(pixels // wide, height, MARGIN, SKIPPED)
        columns = mirrored(pixels % wide, width, MARGIN, SKIPPED)
        at = values_at(rows * width + columns, channels, CHANNELS)
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        value = (value - mean[None, :]) * scale[None, :] + shift[None, :]
        if RELU:
            value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
        if skip is not None:
            at = values_at(rows * row_step + columns, channels, CHANNELS)
            value += tl.load(skip + at, mask=inside, other=0.0).to(tl.float32)
        at = values_at(pixels, channels, CHANNELS)
        tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def gradient_sums(
    gradient,
    x,
    statistics,
    weight,
    bias,
    partials,
    samples,
    height,
    width,
    tiles,
    chunks,
    CHANNELS: tl.constexpr,
    RELU: tl.constexpr,
    MARGIN: tl.constexpr,
    SKIPPED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Sum the gradient, and the gradient times the normalized value, over each chunk."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channels < CHANNELS
    chunk = tl.program_id(0)
    sample = tl.program_id(2)
    mean = tl.load(statistics + sample * CHANNELS + channels, mask=known, other=0.0)
    inverse = tl.load(statistics + (samples + sample) * CHANNELS + channels, mask=known, other=0.0)
    scale = inverse * tl.load(weight + channels, mask=known, other=0.0).to(tl.float32)
    shift = tl.load(bias + channels, mask=known, other=0.0).to(tl.float32)
    area = height * width
    padded_area = (height + 2 * MARGIN) * (width + 2 * MARGIN)
    x += sample.to(tl.int64) * area * CHANNELS
    gradient += sample.to(tl.int64) * padded_area * CHANNELS
    plain = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    weighted = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for tile in range(tiles):
        first = (chunk * tiles + tile) * BLOCK_P
        pixels = first + tl.arange(0, BLOCK_P)
        inside = (pixels < area)[:, None] & known[None, :]
        at = values_at(pixels, channels, CHANNELS)
        value = tl.load(x + at, mask=inside, other=0.0)
        total = folded(
            gradient,
            first,
            pixels,
            channels,
            inside,
            height,
            width,
            BLOCK_P,
            BLOCK_C,
            CHANNELS,
            MARGIN,
            SKIPPED,
        )
        deviation = value.to(tl.float32) - mean[None, :]
        if RELU:
            total = tl.where(deviation * scale[None, :] + shift[None, :] > 0, total, 0.0)
        plain += total
        weighted += total * deviation
    # Load it again: kept through the loop, it would take registers that the loop needs.
    inverse = tl.load(statistics + (samples + sample) * CHANNELS + channels, mask=known, other=0.0)
    at = (sample * chunks + chunk) * CHANNELS + channels
    tl.store(partials + at, tl.sum(plain, 0), mask=known)
    at += samples * chunks * CHANNELS
    tl.store(partials + at, tl.sum(weighted, 0) * inverse, mask=known)


@triton.jit(do_not_specialize=SIZES)
def merge_sums(
    partials,
    sums,
    samples,
    chunks,
    CHANNELS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """Merge both sums over the chunks of each sample and, after the last one, over all samples."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2)
    first = tl.where(sample < samples, sample * chunks, 0)
    last = tl.where(sample < samples, first + chunks, samples * chunks)
    plain = tl.zeros([CHUNKS, BLOCK_C], tl.float32)
    weighted = tl.zeros([CHUNKS, BLOCK_C], tl.float32)
    for start in range(first, last, CHUNKS):
        chunk = start + tl.arange(0, CHUNKS)
        inside = (chunk < last)[:, None] & (channels < CHANNELS)[None, :]
        at = chunk[:, None] * CHANNELS + channels[None, :]
        plain += tl.load(partials + at, mask=inside, other=0.0)
        at += samples * chunks * CHANNELS
        weighted += tl.load(partials + at, mask=inside, other=0.0)
    at = sample * CHANNELS + channels
    tl.store(sums + at, tl.sum(plain, 0), mask=channels < CHANNELS)
    at += (samples + 1) * CHANNELS
    tl.store(sums + at, tl.sum(weighted, 0), mask=channels < CHANNELS)


@triton.jit(do_not_specialize=SIZES)
def normalize_backward(
    gradient,
    x,
    statistics,
    weight,
    bias,
    sums,
    out,
    skip_out,
    samples,
    height,
    width,
    tiles,
    sample_step,
    row_step,
    CHANNELS: tl.constexpr,
    RELU: tl.constexpr,
    MARGIN: tl.constexpr,
    SKIPPED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """The gradients of the norm's input and of the skip. Steps in ``skip_out`` count pixels."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channels < CHANNELS
    sample = tl.program_id(2)
    mine = sample * CHANNELS + channels
    mean = tl.load(statistics + mine, mask=known, other=0.0)
    inverse = tl.load(statistics + samples * CHANNELS + mine, mask=known, other=0.0)
    scale = inverse * tl.load(weight + channels, mask=known, other=0.0).to(tl.float32)
    shift = tl.load(bias + channels, mask=known, other=0.0).to(tl.float32)
    area = height * width
    padded_area = (height + 2 * MARGIN) * (width + 2 * MARGIN)
    plain = tl.load(sums + mine, mask=known, other=0.0) / area
    weighted = tl.load(sums + (samples + 1) * CHANNELS + mine, mask=known, other=0.0)
    weighted = weighted * inverse / area
    sample = sample.to(tl.int64)
    x += sample * area * CHANNELS
    out += sample * area * CHANNELS
    gradient += sample * padded_area * CHANNELS
    if skip_out is not None:
        skip_out += sample * sample_step * CHANNELS
    for tile in range(tiles):
        # Go backwards, as in `normalize`.
        first = ((tl.program_id(0) + 1) * tiles - 1 - tile) * BLOCK_P
        pixels = first + tl.arange(0, BLOCK_P)
        inside = (pixels < area)[:, None] & known[None, :]
        at = values_at(pixels, channels, CHANNELS)
        value = tl.load(x + at, mask=inside, other=0.0)
        total = folded(
            gradient,
            first,
            pixels,
            channels,
            inside,
            height,
            width,
            BLOCK_P,
            BLOCK_C,
            CHANNELS,
            MARGIN,
            SKIPPED,
        )
        deviation = value.to(tl.float32) - mean[None, :]
        if RELU:
            total = tl.where(deviation * scale[None, :] + shift[None, :] > 0, total, 0.0)
        change = scale[None, :] * (total - plain[None, :] - deviation * weighted[None, :])
        tl.store(out + at, change.to(out.dtype.element_ty), mask=inside)
        if skip_out is not None:
            at = values_at(pixels // width * row_step + pixels % width, channels, CHANNELS)
            tl.store(skip_out + at, total.to(skip_out.dtype.element_ty), mask=inside)
