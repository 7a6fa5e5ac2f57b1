"""What `kernels` launches, in Triton's language. Triton takes long to import: import this late.

Pictures lie in channels_last, a pixel's channels side by side. A program works on tiles of BLOCK_P
pixels, counted row by row, and BLOCK_C channels; its three indices say which part of the picture,
which channels and which sample. Offsets that count values take 64 bits; those that count a
picture's pixels fit into 32. No program adds to what another wrote, so that the same input gives
the same bits.

Names in capitals are known when a kernel is compiled. Sizes are not (``do_not_specialize``), so
that one compiled kernel serves pictures of all sizes.
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
def _mirrored(outside, side, MARGIN: tl.constexpr, SKIPPED: tl.constexpr):
    """The row or column of a picture that a row or column of the padded picture repeats."""
    inside = outside - MARGIN
    inside = tl.where(inside < 0, SKIPPED - 1 - inside, inside)
    return tl.where(inside >= side, 2 * side - 1 - SKIPPED - inside, inside)


@triton.jit
def _values(pixels, channels, PITCH: tl.constexpr):
    """Where the values of pixels lie that have PITCH channels."""
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
    """Gradients at these rows of the padded picture, summed over the columns that repeat each of
    the picture's columns."""
    wide = width + 2 * MARGIN
    starts = rows * wide
    at = _values(starts + columns + MARGIN, channels, PITCH)
    if near_sides:
        # All loads ahead of the first use: they wait for memory together.
        middle = tl.load(gradient + at, mask=inside, other=0.0)
        left = MARGIN - 1 + SKIPPED - columns
        there = inside & ((left >= 0) & (left < MARGIN))[:, None]
        on_left = tl.load(gradient + _values(starts + left, channels, PITCH), mask=there, other=0.0)
        right = MARGIN + 2 * width - 1 - SKIPPED - columns
        there = inside & ((right >= width + MARGIN) & (right < wide))[:, None]
        on_right = tl.load(
            gradient + _values(starts + right, channels, PITCH), mask=there, other=0.0
        )
        total = middle.to(tl.float32) + on_left.to(tl.float32) + on_right.to(tl.float32)
    else:
        total = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    return total


@triton.jit
def _folded(
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
    """Gradients of the padded picture, summed over the pixels that repeat each of the picture's:
    up to three rows and three columns of them.

    Most tiles are far from the top and the bottom, and in large pictures from the sides as well:
    they read one gradient for each pixel.
    """
    if MARGIN == 0:
        at = _values(pixels, channels, PITCH)
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
    """The padded picture's CHANNELS, of which ``x`` has the first FILLED. Steps from sample to
    sample, row to row and column to column count UNIT values each."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2).to(tl.int64)
    wide = width + 2 * MARGIN
    area = (height + 2 * MARGIN) * wide
    pixels = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    rows = _mirrored(pixels // wide, height, MARGIN, SKIPPED).to(tl.int64)
    columns = _mirrored(pixels % wide, width, MARGIN, SKIPPED).to(tl.int64)
    at = (sample * sample_step + rows * row_step + columns * column_step) * UNIT
    inside = (pixels < area)[:, None]
    value = tl.load(
        x + (at[:, None] + channels[None, :].to(tl.int64) * channel_step),
        mask=inside & (channels < FILLED)[None, :],
        other=0.0,
    )
    there = _values(sample * area + pixels, channels, CHANNELS)
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
    """The gradient of what was padded, the first CHANNELS of PITCH."""
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2).to(tl.int64)
    area = height * width
    first = tl.program_id(0) * BLOCK_P
    pixels = first + tl.arange(0, BLOCK_P)
    inside = (pixels < area)[:, None] & (channels < CHANNELS)[None, :]
    padded_area = (height + 2 * MARGIN) * (width + 2 * MARGIN)
    total = _folded(
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
    at = _values(sample * area + pixels, channels, CHANNELS)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


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
    """Mean, and sum of squared deviations from it, of each chunk of so many tiles.

    Each place in the tile keeps moments of its own (Welford 1962) from tile to tile; they are
    merged at the end (Chan, Golub and LeVeque 1983).
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
        at = _values(place, channels, CHANNELS)
        value = tl.load(start + at, mask=inside, other=0.0).to(tl.float32)
        difference = tl.where(inside, value - mean, 0.0)
        mean += difference * (1.0 / (tile + 1))
        square += difference * (value - mean)
    met = tl.minimum(tl.maximum((pixels - places + BLOCK_P - 1) // BLOCK_P, 0), tiles)
    count = met.to(tl.float32)[:, None]
    all_met = tl.sum(count)
    total = tl.sum(mean * count, 0) / all_met
    # Again from there: a sum of large means has lost digits that their differences still have.
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
    """Means of all chunks together, and the inverse of standard deviations."""
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
    """Scaled and shifted, then ReLU or a skip, then padded. Steps in ``skip`` count pixels."""
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
        # Backwards: the last that `moments` read is still in the cache.
        pixels = first + (tiles - 1 - tile) * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = (pixels < area)[:, None] & known[None, :]
        rows = _mirrored(pixels // wide, height, MARGIN, SKIPPED)
        columns = _mirrored(pixels % wide, width, MARGIN, SKIPPED)
        at = _values(rows * width + columns, channels, CHANNELS)
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        value = (value - mean[None, :]) * scale[None, :] + shift[None, :]
        if RELU:
            value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
        if skip is not None:
            at = _values(rows * row_step + columns, channels, CHANNELS)
            value += tl.load(skip + at, mask=inside, other=0.0).to(tl.float32)
        at = _values(pixels, channels, CHANNELS)
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
    """Sums over each chunk of the gradient, and of the gradient times the normalized value."""
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
        at = _values(pixels, channels, CHANNELS)
        value = tl.load(x + at, mask=inside, other=0.0)
        total = _folded(
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
    # Anew: kept through the loop, it would take registers that the loop needs.
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
    """Both sums over all chunks of each sample and, behind the last sample, over all samples."""
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
    """Gradients of what was normalized and of the skip. Steps in ``skip_out`` count pixels."""
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
        # Backwards, as in `normalize`.
        first = ((tl.program_id(0) + 1) * tiles - 1 - tile) * BLOCK_P
        pixels = first + tl.arange(0, BLOCK_P)
        inside = (pixels < area)[:, None] & known[None, :]
        at = _values(pixels, channels, CHANNELS)
        value = tl.load(x + at, mask=inside, other=0.0)
        total = _folded(
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
            at = _values(pixels // width * row_step + pixels % width, channels, CHANNELS)
            tl.store(skip_out + at, total.to(skip_out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def biased_relu(
    x,
    bias,
    values,
    inner,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """In place. A channel's values lie ``inner`` by ``inner`` together."""
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
    start = tl.program_id(0).to(tl.int64) * BLOCK
    places = tl.arange(0, BLOCK)
    inside = places < values - start
    value = tl.load(out + start + places, mask=inside, other=0.0)
    change = tl.load(gradient + start + places, mask=inside, other=0.0)
    change = tl.where(value > 0, change, 0.0)
    tl.store(result + start + places, change, mask=inside)
