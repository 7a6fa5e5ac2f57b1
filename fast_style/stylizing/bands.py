"""An `ImageTransformer` on pictures of any size: what one pass gives, in bands of rows.

Of a whole picture, instance norm (Ulyanov, Vedaldi and Lempitsky 2016) needs but two numbers for
each channel. So the network is walked from top to bottom again and again, each time as far as the
next unknown mean and variance. Layers are generators that take bands of rows and give bands of
rows, and keep the few rows that their next output needs: no halo is computed twice, nothing is
padded but at the picture's own edges, and no band's edge shows.

The encoder is walked three times. Around the convolutions of the residual blocks two whole layers
are kept, at a quarter of the resolution; nothing else that grows with the picture's height is. The
decoder is walked three times, the last time into the result.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from fast_style.errors import UserError
from fast_style.images import start_download
from fast_style.images.grain import tensor_grain, tiles_on, with_grain
from fast_style.networks import MARGIN
from fast_style.networks.transformer import (
    ImageTransformer,
    InstanceNorm,
    ReflectedConv,
    ToRGB,
    UpsampledConv,
)

log = logging.getLogger(__name__)

# A layer's rows from top to bottom, each band (1, C, rows, width); and what is done with them.
Bands = Iterator[Tensor]
Stage = Callable[[Bands], Bands]
Part = TypeVar("Part", bound=nn.Module)

# Values in a band of the widest layer: on a CPU, what its cache holds; a GPU wants more at once. Of
# very wide pictures that is a row or two, where the rows that windows share cost more than they do.
BAND_VALUES = {"cpu": 2**20, "cuda": 2**26, "mps": 2**24}
LEAST_ROWS = 8

# Of the first convolution, on CUDA. With three, cuDNN multiplies without tensor cores.
INPUTS_ON_CUDA = 8


def layer_bytes(network: ImageTransformer, width: int, height: int, dtype: torch.dtype) -> int:
    """Bytes of one of the two layers that are kept for a picture of this size."""
    rows, columns = (-(-(side + 2 * MARGIN) // 4) for side in (height, width))
    return network.widths[2] * rows * columns * dtype.itemsize


@torch.no_grad()
def stylize_in_bands(
    network: ImageTransformer,
    picture: Image.Image,
    device: torch.device,
    dtype: torch.dtype,
    kept_in: torch.dtype,
    band_rows: int | None = None,
    scratch: Path | None = None,
    progress: Callable[[float, float], object] | None = None,
) -> Image.Image:
    """Stylize a picture of any size, after `with_grain`, as one pass of the network does, up
    to rounding.

    Args:
        network: on any device; it is not changed.
        picture: of mode "RGB", at least ``ImageTransformer.MIN_SIDE`` px a side.
        device: where to compute. The two layers that are kept live there too if they fit, else in
            main memory, which is logged.
        dtype: in which to compute: bfloat16, float32 or float64.
        kept_in: dtype of the two layers. In bfloat16 they take half the memory of float32, whatever
            computes, and little is lost; float16 has no room for what the encoder gives.
        band_rows: rows of the picture in a band; by default as many as are fast.
        scratch: folder on whose disk the two layers are kept, in temporary files without a name
            that vanish whatever happens; by default they are kept in memory.
        progress: told what is done and the total, in rows of the picture times convolutions.

    Raises:
        UserError: if ``scratch`` cannot hold the layers.
    """
    stylized, top = None, 0
    for strip in _fetched(
        stylized_bands(network, picture, device, dtype, kept_in, band_rows, scratch, progress)
    ):
        # Not earlier: by now one of the two layers is gone, whose memory this can take.
        stylized = stylized or Image.new("RGB", picture.size)
        stylized.paste(strip, (0, top))
        top += strip.height
    assert stylized is not None
    return stylized


def _fetched(bands: Bands) -> Iterator[Image.Image]:
    """Strips of the picture. While one is fetched, a GPU works on the next."""
    begun: deque[Callable[[], Image.Image]] = deque()
    for band in bands:
        levels = band[0].mul(255).round_().to(torch.uint8).permute(1, 2, 0)
        begun.append(start_download(levels.contiguous()))
        if len(begun) == 2:
            yield begun.popleft()()
    for fetch in begun:
        yield fetch()


def stylized_bands(
    network: ImageTransformer,
    picture: Image.Image,
    device: torch.device,
    dtype: torch.dtype,
    kept_in: torch.dtype,
    band_rows: int | None = None,
    scratch: Path | None = None,
    progress: Callable[[float, float], object] | None = None,
) -> Bands:
    """What `stylize_in_bands` makes a picture of: RGB in [0, 1], in float32 or wider."""
    on_cuda = device.type == "cuda"
    width, height = (side + 2 * MARGIN for side in picture.size)
    small_width, small_height = -(-width // 4), -(-height // 4)
    if band_rows is None:
        values_in_row = network.widths[0] * width
        band_rows = max(LEAST_ROWS, BAND_VALUES.get(device.type, 2**20) // values_in_row)
        if on_cuda:
            band_rows -= band_rows % 4  # so that strides leave bands of one size
    done, total = 0.0, height * (12.0 + 2 * network.residual_blocks)

    def walk(source: Bands, rows: int, stages: Sequence[Stage]) -> Bands:
        convolutions = sum(isinstance(stage, _Convolution) for stage in stages)

        def counted() -> Bands:
            nonlocal done
            for band in source:
                yield band
                done += height * band.shape[2] / rows * convolutions
                if progress is not None:
                    progress(done, total)

        bands = counted()
        for stage in stages:
            bands = stage(bands)
        return bands

    inputs = INPUTS_ON_CUDA if on_cuda else 3
    whole = _levels_on(device, picture, band_rows) if on_cuda else None

    def photo() -> Bands:
        levels = _levels(picture, band_rows, device) if whole is None else whole.split(band_rows, 2)
        return (_as_input(band, dtype, inputs) for band in levels)

    stages: list[Stage] = []
    for conv, module in zip(
        _parts(ReflectedConv, network.encoder), _parts(InstanceNorm, network.encoder), strict=True
    ):
        # The photo comes as 255 times what the network sees, and the first norm forgets that.
        norm = _Norm(module, device, dtype, scale=1 if stages else 255)
        stages.append(_reflected(conv, device, dtype, inputs if not stages else None))
        if len(stages) < 5:
            _exhaust(norm.measured(walk(photo(), height, stages)))
            stages.append(norm.relu)

    shape = (1, network.widths[2], small_height, small_width)
    skip, body = (_empty(shape, device, kept_in, scratch) for _ in range(2))

    def read(layer: Tensor, rows: int = band_rows) -> Bands:
        return (band.to(device, dtype) for band in layer.split(rows, dim=2))

    def activated(norm: _Norm) -> Bands:
        for kept in skip.split(band_rows, dim=2):
            band = norm(kept.to(device, dtype)).relu_()
            kept.copy_(band)
            yield band

    def added(norm: _Norm, changes: Tensor) -> Bands:
        pairs = zip(skip.split(band_rows, 2), changes.split(band_rows, 2), strict=True)
        for kept, change in pairs:
            band = norm(change.to(device, dtype)).add_(kept.to(device, dtype))
            kept.copy_(band)
            yield band

    _write(norm.measured(walk(photo(), height, stages)), skip)
    whole = None
    block_input = activated(norm)
    for block in network.residuals:
        inner, outer = (_Norm(part, device, dtype) for part in _parts(InstanceNorm, block))
        first, second = (_reflected(part, device, dtype) for part in _parts(ReflectedConv, block))
        # Both write where rows were read before: a convolution keeps those it still needs.
        _write(inner.measured(walk(block_input, small_height, [first])), body)
        _write(outer.measured(walk(read(body), small_height, [inner.relu, second])), body)
        block_input = added(outer, body)
    _exhaust(block_input)
    del body

    # A row of the small layer becomes four.
    small_rows = max(1, band_rows // 4)
    stages = []
    for upsampling, module in zip(
        _parts(UpsampledConv, network.decoder), _parts(InstanceNorm, network.decoder), strict=True
    ):
        norm = _Norm(module, device, dtype)
        stages.append(_upsampled(upsampling, device, dtype))
        _exhaust(norm.measured(walk(read(skip, small_rows), small_height, stages)))
        stages.append(norm.relu)
    # Of the margin, what the last convolution reads. Each stride rounded odd sizes up.
    margin = network.to_rgb.margin
    reach = (picture.width + 2 * margin, picture.height + 2 * margin)
    cut = partial(_cropped, begin=MARGIN - margin, size=reach)
    cropped = partial(_cropped, begin=0, size=picture.size)
    stages += [cut, _to_rgb(network.to_rgb, device, dtype), cropped]
    for band in walk(read(skip, small_rows), small_height, stages):
        yield torch.sigmoid(band.to(_precise(dtype)))


def _parts(kind: type[Part], whole: nn.Module) -> list[Part]:
    return [part for part in whole.modules() if isinstance(part, kind)]


class _Convolution:
    """A convolution on bands of rows, which keeps the rows that the next band's output needs.

    Args:
        compute: convolves padded rows, one step for each window of ``kernel`` rows in them.
        kernel, stride: rows in a window, and from one window to the next.
        margins: rows and columns to add before and behind the picture, mirrored.
        skipped: as many rows and columns at the edge are not mirrored: 1 or 0.
    """

    def __init__(
        self,
        compute: Callable[[Tensor], Tensor],
        kernel: int,
        stride: int,
        margins: tuple[int, int],
        skipped: int,
    ) -> None:
        self.compute = compute
        self.kernel = kernel
        self.stride = stride
        self.margins = margins
        self.skipped = skipped

    def __call__(self, bands: Bands) -> Bands:
        before, behind = self.margins
        rows: Tensor | None = None
        at_top = True
        for band in bands:
            rows = _below(rows, band, before, behind, self.skipped)
            if at_top and rows.shape[2] > before:  # enough to reflect
                top = rows[:, :, self.skipped : self.skipped + before].flip(2)
                rows = torch.cat([top, rows], dim=2)
                at_top = False
            if not at_top and rows.shape[2] >= self.kernel:
                yield self.compute(rows)
                rows = rows[:, :, self._used(rows) :]
        assert rows is not None
        if rows.shape[2] + behind >= self.kernel:
            end = rows.shape[2] - self.skipped
            bottom = rows[:, :, end - behind : end].flip(2)
            yield self.compute(torch.cat([rows, bottom], dim=2))

    def _used(self, rows: Tensor) -> int:
        """Rows that no further window begins in."""
        return ((rows.shape[2] - self.kernel) // self.stride + 1) * self.stride


def _below(rows: Tensor | None, band: Tensor, before: int, behind: int, skipped: int) -> Tensor:
    """The rows and, below them, a band with so many columns mirrored on its left and right.

    On CUDA, PyTorch's own paddings copy all out of channels_last and back.
    """
    _, channels, height, width = band.shape
    kept = 0 if rows is None else rows.shape[2]
    both = torch.empty(
        (1, channels, kept + height, before + width + behind),
        dtype=band.dtype,
        device=band.device,
        memory_format=torch.channels_last,
    )
    if rows is not None:
        both[:, :, :kept] = rows
    below = both[:, :, kept:]
    below[..., before : before + width] = band
    if before:
        below[..., :before] = band[..., skipped : skipped + before].flip(3)
    if behind:
        end = width - skipped
        below[..., before + width :] = band[..., end - behind : end].flip(3)
    return both


def _reflected(
    module: ReflectedConv, device: torch.device, dtype: torch.dtype, inputs: int | None = None
) -> _Convolution:
    """For so many channels, of which the kernel leaves out those that it has not."""
    kernel = module.weight
    if inputs is not None:
        kernel = F.pad(kernel, (0, 0, 0, 0, 0, inputs - kernel.shape[1]))
    weight = _weight(kernel, device, dtype)
    stride, margin = module.stride[0], module.margin
    compute = partial(F.conv2d, weight=weight, stride=stride)
    return _Convolution(compute, 2 * margin + 1, stride, (margin, margin), skipped=1)


def _upsampled(module: UpsampledConv, device: torch.device, dtype: torch.dtype) -> _Convolution:
    weight = _weight(module.transposed_kernel(), device, dtype)
    compute = partial(F.conv_transpose2d, weight=weight, stride=2, padding=3)
    return _Convolution(compute, 3, 1, (1, 1), skipped=0)


def _to_rgb(module: ToRGB, device: torch.device, dtype: torch.dtype) -> _Convolution:
    """Odd sizes get a row or a column too many."""
    kernels, bias = module.square_kernels()
    assert bias is not None
    weight = _weight(kernels, device, dtype)
    compute = partial(module.squares, kernels=weight, bias=bias.to(device, dtype))
    return _Convolution(compute, 2 * module.margin + 2, 2, (0, 1), skipped=0)


def _weight(weight: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return weight.detach().to(device, dtype, memory_format=torch.channels_last)


class _Norm:
    """Instance norm whose mean and variance are measured in one walk and used in the next.

    Args:
        scale: what is measured is so many times what the module would see.
    """

    def __init__(
        self, module: InstanceNorm, device: torch.device, dtype: torch.dtype, scale: int = 1
    ) -> None:
        self.dtype = _precise(dtype)
        self.weight, self.bias = (
            parameter.detach().to(device, self.dtype) for parameter in (module.weight, module.bias)
        )
        self.eps = module.eps * scale**2

    def measured(self, bands: Bands) -> Bands:
        """The bands as they are; after the last one, the statistics are known.

        Each band's are combined by the formula of Chan, Golub and LeVeque 1983 (equation 2.1), in
        float64: sums over hundreds of millions of values keep their digits, and a mean far from
        zero does not swallow the variance. On the device, where that knows float64: it is not
        waited for.
        """
        count = 0
        place = torch.device("cpu") if self.weight.device.type == "mps" else self.weight.device
        mean = squares = torch.zeros(len(self.weight), dtype=torch.float64, device=place)
        for band in bands:
            values = band.to(self.dtype)
            number = values[:, 0].numel()
            near = values.mean((0, 2, 3))
            values = values - near[:, None, None]
            rest = values.sum((0, 2, 3)).to(place).double() / number
            sums = values.square_().sum((0, 2, 3)).to(place).double()
            band_squares = sums - number * rest.square()
            distance = near.to(place).double() + rest - mean
            count += number
            mean = mean + distance * (number / count)
            squares = squares + band_squares
            squares += distance.square() * (number * (count - number) / count)
            yield band
        self.mean = mean.to(self.weight)
        self.variance = (squares / count).to(self.weight)

    def __call__(self, band: Tensor) -> Tensor:
        return F.batch_norm(band, self.mean, self.variance, self.weight, self.bias, eps=self.eps)

    def relu(self, bands: Bands) -> Bands:
        return (self(band).relu_() for band in bands)


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _levels(picture: Image.Image, band_rows: int, device: torch.device) -> Bands:
    """The photo's bands with their grain, and with a margin's rows: uint8, three channels."""
    last = picture.height - 1
    rows = np.abs(np.arange(-MARGIN, picture.height + MARGIN))  # reflected at the top
    rows = last - np.abs(last - rows)  # and at the bottom
    for own in np.split(rows, range(band_rows, len(rows), band_rows)):
        top, bottom = int(own.min()), int(own.max()) + 1
        levels = with_grain(np.asarray(picture.crop((0, top, picture.width, bottom))), top)
        yield torch.from_numpy(levels[own - top]).to(device).permute(2, 0, 1).unsqueeze(0)


def _levels_on(device: torch.device, picture: Image.Image, band_rows: int) -> Tensor | None:
    """What `_levels` gives as a whole, ``(1, 3, H + 2 MARGIN, W)`` on a GPU; None where that does
    not fit."""
    width, height = picture.size
    try:
        whole = torch.empty((height + 2 * MARGIN, width, 3), dtype=torch.uint8, device=device)
        photo = whole[MARGIN:-MARGIN]
        tiles = tiles_on(device)
        for top in range(0, height, band_rows):
            bottom = min(top + band_rows, height)
            strip = torch.from_numpy(np.array(picture.crop((0, top, width, bottom)))).to(device)
            # The sum is of 16 bits.
            grained = strip + tensor_grain(tiles, top, bottom, width).unsqueeze(2)
            photo[top:bottom] = grained.clamp_(0, 255)
    except torch.OutOfMemoryError:
        return None
    whole[:MARGIN] = photo[1 : MARGIN + 1].flip(0)
    whole[-MARGIN:] = photo[-MARGIN - 1 : -1].flip(0)
    return whole.permute(2, 0, 1).unsqueeze(0)


def _as_input(levels: Tensor, dtype: torch.dtype, channels: int) -> Tensor:
    """With a margin's columns, and so many channels, from -255 to 255: as whole numbers levels are
    exact in bfloat16 too."""
    photo = levels.to(dtype).mul_(2).sub_(255)
    if channels > 3:
        photo = F.pad(photo, (0, 0, 0, 0, 0, channels - 3))
    return _below(None, photo, MARGIN, MARGIN, skipped=1)


def _cropped(bands: Bands, begin: int, size: tuple[int, int]) -> Bands:
    """So many columns and rows, both from ``begin`` on."""
    width, height = size
    top, bottom = begin, begin + height
    for band in bands:
        rows = band[:, :, max(top, 0) : max(bottom, 0), begin : begin + width]
        if rows.shape[2]:
            yield rows
        top, bottom = top - band.shape[2], bottom - band.shape[2]


def _exhaust(bands: Bands) -> None:
    for _ in bands:
        pass


def _write(bands: Bands, layer: Tensor) -> None:
    top = 0
    for band in bands:
        layer[:, :, top : top + band.shape[2]] = band
        top += band.shape[2]


def _empty(
    shape: tuple[int, int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    scratch: Path | None,
) -> Tensor:
    """A layer of unknown values, stored row by row: on the device, in main memory or on a disk."""
    _, channels, height, width = shape
    if scratch is not None:
        memory = _on_disk(channels * height * width * dtype.itemsize, scratch)
        rows = torch.frombuffer(memory, dtype=dtype).view(1, height, width, channels)
        return rows.permute(0, 3, 1, 2)
    try:
        return torch.empty(shape, device=device, dtype=dtype, memory_format=torch.channels_last)
    except torch.OutOfMemoryError:
        log.warning("a layer does not fit on %s and is kept in main memory: slower", device)
        return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)


def _on_disk(size: int, folder: Path) -> mmap.mmap:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                # A disk that is full while mapped memory is written kills the process.
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise UserError(
            f"{folder} cannot hold a temporary file of {size / 1e9:.1f} GB "
            f"({error.strerror or error}): name a folder on a disk with room"
        ) from error
