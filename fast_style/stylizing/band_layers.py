"""Layers of the network on bands of rows.

Convolutions keep the rows that their next output needs. Norms measure in one walk and normalize in
the next. A stage turns an iterator of bands, each ``(1, C, rows, width)`` and from top to bottom,
into another.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fast_style.errors import UserError
from fast_style.networks import Layer
from fast_style.networks.layers import (
    InstanceNorm,
    ReflectedConv,
    ToRGB,
    TransposedConv,
    UpsampledConv,
)
from fast_style.networks.transformer import ImageTransformer

log = logging.getLogger(__name__)

Bands = Iterator[Tensor]
Stage = Callable[[Bands], Bands]


class BandConvolution:
    """A convolution on bands of rows. It keeps the rows that the next band's output needs.

    Args:
        compute: convolves padded rows, one step for each window of ``kernel`` rows in them.
        kernel: rows in a window.
        stride: rows from one window to the next.
        margins: mirrored rows and columns before and behind the picture.
        skipped: 1 leaves the edge's own row and column out of the mirror, 0 repeats them.
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
            rows = with_columns(band, before, behind, self.skipped, above=rows)
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
        """Rows in which no further window begins."""
        return ((rows.shape[2] - self.kernel) // self.stride + 1) * self.stride


class BandTransposed(BandConvolution):
    """A transposed convolution of stride 2 on bands of rows, with zeros outside the layer.

    The two output rows of an input row need the next input row too.

    Args:
        compute: convolves rows to twice as many, as if zeros lay below.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__(compute, kernel=2, stride=1, margins=(0, 0), skipped=0)

    def __call__(self, bands: Bands) -> Bands:
        last: Tensor | None = None
        for band in bands:
            rows = band if last is None else torch.cat([last, band], dim=2)
            if rows.shape[2] > 1:
                # The last two rows wait for the next band.
                yield self.compute(rows)[:, :, :-2]
            last = rows[:, :, -1:]
        assert last is not None
        yield self.compute(last)


def with_columns(
    band: Tensor, before: int, behind: int, skipped: int, above: Tensor | None = None
) -> Tensor:
    """A band with mirrored columns on its left and right, below rows that already have them.

    On CUDA, PyTorch's own paddings copy everything out of channels_last and back.

    Args:
        band: ``(1, C, rows, width)``.
        before: columns on the left.
        behind: columns on the right.
        skipped: 1 leaves the edge's own column out of the mirror, 0 repeats it.
        above: ``(1, C, kept, before + width + behind)``, or None.

    Returns:
        ``(1, C, kept + rows, before + width + behind)`` in channels_last.
    """
    _, channels, height, width = band.shape
    kept = 0 if above is None else above.shape[2]
    both = torch.empty(
        (1, channels, kept + height, before + width + behind),
        dtype=band.dtype,
        device=band.device,
        memory_format=torch.channels_last,
    )
    if above is not None:
        both[:, :, :kept] = above
    below = both[:, :, kept:]
    below[..., before : before + width] = band
    if before:
        below[..., :before] = band[..., skipped : skipped + before].flip(3)
    if behind:
        end = width - skipped
        below[..., before + width :] = band[..., end - behind : end].flip(3)
    return both


def convolution_in_bands(
    network: ImageTransformer,
    layer: Layer,
    device: torch.device,
    dtype: torch.dtype,
    inputs: int | None = None,
) -> BandConvolution:
    """The convolution of a layer with a norm.

    Args:
        network: holds the weights.
        layer: one of its plan.
        device: where to compute.
        dtype: in which to compute.
        inputs: channels of the bands, if more than the layer's; the others are ignored.
    """
    module = network.get_submodule(layer.name)
    if isinstance(module, TransposedConv):
        kernel = _on(device, dtype, module.weight)
        return BandTransposed(
            partial(
                F.conv_transpose2d,
                weight=kernel,
                stride=2,
                padding=layer.kernel // 2,
                output_padding=1,
            )
        )
    if layer.upsample:
        kernel = _on(device, dtype, cast(UpsampledConv, module).transposed_kernel())
        compute = partial(F.conv_transpose2d, weight=kernel, stride=2, padding=3)
    else:
        kernel = cast(ReflectedConv, module).kernel_for(inputs or layer.inputs)
        compute = partial(F.conv2d, weight=_on(device, dtype, kernel), stride=layer.stride)
    margins = (layer.margin, layer.margin)
    return BandConvolution(compute, layer.kernel, layer.stride, margins, layer.skipped)


def to_rgb_in_bands(
    module: ToRGB, device: torch.device, dtype: torch.dtype, reflected: bool
) -> BandConvolution:
    """The last convolution. It gives a row or a column too many where a side is odd.

    Args:
        module: holds the weights.
        device: where to compute.
        dtype: in which to compute.
        reflected: whether the layer is reflected at its edges, or has the margin that the kernel
            reads.
    """
    kernels, bias = module.square_kernels()
    assert bias is not None
    kernels = _on(device, dtype, kernels)
    compute = partial(module.squares, kernels=kernels, bias=bias.to(device, dtype))
    kernel = 2 * module.margin + 2
    if reflected:
        return BandConvolution(compute, kernel, 2, (module.margin, module.margin), skipped=1)
    return BandConvolution(compute, kernel, 2, (0, 1), skipped=0)


def _on(device: torch.device, dtype: torch.dtype, kernel: Tensor) -> Tensor:
    return kernel.detach().to(device, dtype, memory_format=torch.channels_last)


class BandNorm:
    """Instance norm whose mean and variance are measured in one walk and used in the next.

    Args:
        module: holds scale and shift.
        device: where to compute.
        dtype: of the bands.
        factor: the bands are this many times the input of the network's norm.
    """

    def __init__(
        self, module: InstanceNorm, device: torch.device, dtype: torch.dtype, factor: int = 1
    ) -> None:
        self.dtype = at_least_float32(dtype)
        self.weight, self.bias = (
            parameter.detach().to(device, self.dtype) for parameter in (module.weight, module.bias)
        )
        self.eps = module.eps * factor**2

    def measured(self, bands: Bands) -> Bands:
        """Pass the bands on unchanged. After the last one, mean and variance are known.

        The statistics of the bands are merged by the formula of Chan, Golub and LeVeque (1983,
        equation 2.1) in float64. So sums over hundreds of millions of values keep their digits, and
        a mean far from zero does not swallow the variance. Nothing waits for the device.
        """
        count = 0
        # MPS has no float64.
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
        """One band, normalized."""
        return F.batch_norm(band, self.mean, self.variance, self.weight, self.bias, eps=self.eps)

    def relu(self, bands: Bands) -> Bands:
        """The bands, normalized, with a ReLU."""
        return (self(band).relu_() for band in bands)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The dtype of statistics and pictures where layers are in ``dtype``."""
    return torch.promote_types(dtype, torch.float32)


def cropped(bands: Bands, begin: int, size: tuple[int, int]) -> Bands:
    """A part of the picture.

    Args:
        bands: the picture.
        begin: first column and first row.
        size: width and height.
    """
    width, height = size
    top, bottom = begin, begin + height
    for band in bands:
        rows = band[:, :, max(top, 0) : max(bottom, 0), begin : begin + width]
        if rows.shape[2]:
            yield rows
        top, bottom = top - band.shape[2], bottom - band.shape[2]


def exhaust(bands: Bands) -> None:
    """Run through all bands, and keep none."""
    for _ in bands:
        pass


def write(bands: Bands, layer: Tensor) -> None:
    """Copy the bands into a whole layer."""
    top = 0
    for band in bands:
        layer[:, :, top : top + band.shape[2]] = band
        top += band.shape[2]


def empty_layer(
    shape: tuple[int, int, int, int],
    device: torch.device,
    dtype: torch.dtype,
    scratch: Path | None,
) -> Tensor:
    """A layer of unknown values, stored row by row.

    It lives on the device, in main memory where it does not fit there, or on the disk of a scratch
    folder.

    Raises:
        UserError: if the disk has no room.
    """
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
                # A disk that fills up while mapped memory is written kills the process.
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise UserError(
            f"{folder} cannot hold a temporary file of {size / 1e9:.1f} GB "
            f"({error.strerror or error}): name a folder on a disk with room"
        ) from error
