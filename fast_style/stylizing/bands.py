"""The network on pictures of any size: bands of rows that join to the picture of a single pass.

Instance norm (Ulyanov, Vedaldi and Lempitsky 2016) needs only two numbers of a whole picture for
each channel. So the network is walked from top to bottom many times, each time as far as the next
unknown mean and variance. Layers are generators that take bands of rows and give bands of rows
(`band_layers`). They keep the few rows that their next output needs: no halo is computed twice,
padding is added only at the picture's own edges, and no band's edge shows.

The encoder is walked once for each of its norms, and so is the decoder, whose last walk goes into
the picture. Around the convolutions of the residual blocks two whole layers are kept, at a quarter
of the resolution. Nothing else grows with the picture's height.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fast_style.images import start_download
from fast_style.images.floats import Kind, Picture, size_of, values_in
from fast_style.images.grain import tensor_grain, tiles_on, with_grain
from fast_style.networks import Layer, Plan
from fast_style.networks.transformer import TENSOR_CORE_CHANNELS, ImageTransformer
from fast_style.stylizing.band_layers import (
    BandConvolution,
    BandNorm,
    Bands,
    Stage,
    at_least_float32,
    convolution_in_bands,
    cropped,
    empty_layer,
    exhaust,
    to_rgb_in_bands,
    with_columns,
    write,
)

# Values in a band of the widest layer. A CPU is fast while they fit into its cache; a GPU is fast
# with more at once.
BAND_VALUES = {"cpu": 2**20, "cuda": 2**26, "mps": 2**24}

# In a very wide picture, so few values would be a row or two, and computing with the rows that
# windows share would cost more time than the cache saves.
MIN_ROWS = 8


def layer_bytes(network: ImageTransformer, width: int, height: int, dtype: torch.dtype) -> int:
    """Bytes of one of the two layers that are kept for a picture of this size."""
    channels, rows, columns = _kept_shape(network, width, height)
    return channels * rows * columns * dtype.itemsize


@torch.no_grad()
def stylize_in_bands(
    network: ImageTransformer,
    picture: Kind,
    device: torch.device,
    dtype: torch.dtype,
    kept_in: torch.dtype,
    band_rows: int | None = None,
    scratch: Path | None = None,
    progress: Callable[[float, float], object] | None = None,
) -> Kind:
    """Stylize a picture of any size with its `grain`, as one pass of the network does, up to
    rounding.

    Args:
        network: on any device, not adjustable. It is not changed.
        picture: of mode "RGB" or of floats, at least ``ImageTransformer.MIN_SIDE`` px a side.
        device: where to compute. The two layers that are kept live there too if they fit, else in
            main memory, which is logged.
        dtype: in which to compute: bfloat16, float32 or float64.
        kept_in: dtype of the two layers. In bfloat16 they take half the memory of float32, and
            little is lost. float16 has too small a range for the encoder's features.
        band_rows: rows of the picture in a band, by default as many as are fast.
        scratch: folder on whose disk the two layers are kept, in temporary files without a name,
            which vanish even after a crash. By default they are kept in memory.
        progress: called with the work done and the total, in rows of the picture times
            convolutions.

    Raises:
        UserError: if ``scratch`` cannot hold the layers.
    """
    bands = stylized_bands(network, picture, device, dtype, kept_in, band_rows, scratch, progress)
    strips = _fetched(bands, isinstance(picture, Image.Image))
    first = next(strips)
    # Allocated no earlier: by now one of the two layers is freed, whose memory this can take.
    if isinstance(picture, Image.Image):
        stylized, top = Image.new("RGB", picture.size), 0
        for strip in chain([first], strips):
            stylized.paste(strip, (0, top))
            top += strip.height
        return stylized
    values, top = np.empty_like(picture), 0
    for strip in chain([first], strips):
        values[top : top + len(strip)] = strip
        top += len(strip)
    return values


def stylized_bands(
    network: ImageTransformer,
    picture: Picture,
    device: torch.device,
    dtype: torch.dtype,
    kept_in: torch.dtype,
    band_rows: int | None = None,
    scratch: Path | None = None,
    progress: Callable[[float, float], object] | None = None,
) -> Bands:
    """The bands that `stylize_in_bands` makes a picture of: RGB in [0, 1], in float32 or wider."""
    painting = _Painting(network, picture, device, dtype, kept_in, band_rows, scratch, progress)
    return painting.bands()


def _fetched(bands: Bands, in_levels: bool) -> Iterator[Any]:
    """Strips of the picture. While one is fetched, a GPU works on the next."""
    begun: deque[Callable[[], Picture]] = deque()
    for band in bands:
        values = band[0].float()
        if in_levels:
            values = values.mul(255).round_().to(torch.uint8)
        begun.append(start_download(values.permute(1, 2, 0).contiguous()))
        if len(begun) == 2:
            yield begun.popleft()()
    for fetch in begun:
        yield fetch()


class _Painting:
    """One picture on its way through the network; see `stylize_in_bands` for the arguments."""

    def __init__(
        self,
        network: ImageTransformer,
        picture: Picture,
        device: torch.device,
        dtype: torch.dtype,
        kept_in: torch.dtype,
        band_rows: int | None,
        scratch: Path | None,
        progress: Callable[[float, float], object] | None,
    ) -> None:
        self.network = network
        self.plan = network.plan
        self.picture = picture
        self.size = size_of(picture)
        self.device = device
        self.dtype = dtype
        self.kept_in = kept_in
        self.scratch = scratch
        self.progress = progress
        self.band_rows = band_rows or self._fast_rows()
        self.height = self.size[1] + 2 * self.plan.margin
        _, self.small_height, _ = _kept_shape(network, *self.size)
        self.done, self.total = 0.0, float(self.height * self._convolutions())

    def bands(self) -> Bands:
        features = self._new_layer()
        norm = self._encode(features)
        self._transform(features, norm)
        yield from self._decode(features)

    def _encode(self, features: Tensor) -> BandNorm:
        """Fill ``features`` with the output of the encoder's last convolution; returns its norm."""
        photo = self._photo()
        first, last = self.plan.encoder[0], self.plan.encoder[-1]
        stages: list[Stage] = []
        for layer in self.plan.encoder:
            stages.append(
                self._convolution(layer, self._photo_channels if layer is first else None)
            )
            # The photo is 255 times as large as the network's input. The first norm divides by it.
            norm = self._norm(layer, factor=255 if layer is first else 1)
            bands = norm.measured(self._walk(photo(), self.height, stages))
            if layer is last:
                write(bands, features)
            else:
                exhaust(bands)
                stages.append(norm.relu)
        return norm

    def _transform(self, features: Tensor, norm: BandNorm) -> None:
        """Turn ``features`` into the output of the residual blocks."""
        body = self._new_layer()
        block_input = self._activated(features, norm)
        for block in self.plan.residuals:
            bands, stages = block_input, list[Stage]()
            for layer in block:
                # A convolution overwrites rows that were read before: it keeps those it needs.
                kept = body[:, : layer.outputs]
                stages.append(self._convolution(layer))
                norm = self._norm(layer)
                write(norm.measured(self._walk(bands, self.small_height, stages)), kept)
                bands, stages = self._read(kept, self.band_rows), [norm.relu]
            block_input = self._added(features, norm, body)
        exhaust(block_input)

    def _decode(self, features: Tensor) -> Bands:
        """Make the picture from the output of the residual blocks."""
        rows = max(1, self.band_rows // self.plan.stride)
        stages: list[Stage] = []
        for layer in self.plan.decoder:
            stages.append(self._convolution(layer))
            norm = self._norm(layer)
            bands = self._read(features, rows)
            exhaust(norm.measured(self._walk(bands, self.small_height, stages)))
            stages.append(norm.relu)
        width, height = self.size
        outside = self.plan.margin
        if outside:
            # Keep the part that the last convolution reads. Strides rounded odd sides up.
            margin = self.plan.to_rgb.margin
            size = width + 2 * margin, height + 2 * margin
            stages.append(partial(cropped, begin=outside - margin, size=size))
        stages += [
            to_rgb_in_bands(self.network.to_rgb, self.device, self.dtype, reflected=not outside),
            partial(cropped, begin=0, size=(width, height)),
        ]
        for band in self._walk(self._read(features, rows), self.small_height, stages):
            yield self.network.activated(band.to(at_least_float32(self.dtype)))

    def _walk(self, source: Bands, rows: int, stages: Sequence[Stage]) -> Bands:
        """Bands through several stages, counted as progress.

        Args:
            source: bands of a layer.
            rows: rows of that layer.
            stages: applied to the bands, one after another.
        """
        convolutions = sum(isinstance(stage, BandConvolution) for stage in stages)
        bands = self._counted(source, rows, convolutions)
        for stage in stages:
            bands = stage(bands)
        return bands

    def _counted(self, source: Bands, rows: int, convolutions: int) -> Bands:
        for band in source:
            yield band
            self.done += self.height * band.shape[2] / rows * convolutions
            if self.progress is not None:
                self.progress(self.done, self.total)

    def _convolutions(self) -> int:
        """Convolutions in all walks: each walk begins at the first layer of its part."""
        encoder, decoder = len(self.plan.encoder), len(self.plan.decoder)
        walks = encoder * (encoder + 1) // 2 + decoder * (decoder + 1) // 2
        return walks + sum(map(len, self.plan.residuals)) + decoder + 1

    # --- layers ---

    def _convolution(self, layer: Layer, inputs: int | None = None) -> BandConvolution:
        return convolution_in_bands(self.network, layer, self.device, self.dtype, inputs)

    def _norm(self, layer: Layer, factor: int = 1) -> BandNorm:
        return BandNorm(self.network.norm_of(layer), self.device, self.dtype, factor)

    def _read(self, layer: Tensor, rows: int) -> Bands:
        return (band.to(self.device, self.dtype) for band in layer.split(rows, dim=2))

    def _activated(self, features: Tensor, norm: BandNorm) -> Bands:
        """Normalize ``features`` in place, with a ReLU."""
        for kept in features.split(self.band_rows, dim=2):
            band = norm(kept.to(self.device, self.dtype)).relu_()
            kept.copy_(band)
            yield band

    def _added(self, features: Tensor, norm: BandNorm, body: Tensor) -> Bands:
        """Add the normalized body of a block to ``features`` in place."""
        layers = (layer.split(self.band_rows, dim=2) for layer in (features, body))
        for kept, change in zip(*layers, strict=True):
            band = norm(change.to(self.device, self.dtype))
            band.add_(kept.to(self.device, self.dtype))
            kept.copy_(band)
            yield band

    def _new_layer(self) -> Tensor:
        shape = (1, *_kept_shape(self.network, *self.size))
        return empty_layer(shape, self.device, self.kept_in, self.scratch)

    # --- the photo ---

    @property
    def _photo_channels(self) -> int:
        return TENSOR_CORE_CHANNELS if self.device.type == "cuda" else 3

    def _photo(self) -> Callable[[], Bands]:
        """A function that begins the photo's bands anew, for each walk."""
        whole = None
        if self.device.type == "cuda":
            whole = _levels_on(self.device, self.picture, self.band_rows, self.plan)

        def bands() -> Bands:
            if whole is None:
                levels = _levels(self.picture, self.band_rows, self.device, self.plan)
            else:
                levels = iter(whole.split(self.band_rows, dim=2))
            margin = self.plan.margin
            return (_as_input(band, self.dtype, self._photo_channels, margin) for band in levels)

        return bands

    def _fast_rows(self) -> int:
        width = self.size[0] + 2 * self.plan.margin
        values_in_row = self.plan.encoder[0].outputs * width
        rows = max(MIN_ROWS, BAND_VALUES.get(self.device.type, 2**20) // values_in_row)
        if self.device.type == "cuda":
            rows -= rows % self.plan.stride  # so that strides leave bands of one size
        return rows


def _kept_shape(network: ImageTransformer, width: int, height: int) -> tuple[int, int, int]:
    """Channels, rows and columns of the residual blocks' layers, for a picture of this size."""
    stride = network.plan.stride
    margin = network.plan.margin
    rows, columns = (-(-(side + 2 * margin) // stride) for side in (height, width))
    return network.plan.encoder[-1].outputs, rows, columns


def _levels(picture: Picture, band_rows: int, device: torch.device, plan: Plan) -> Bands:
    """The photo's bands with their grain and the margin's rows, three channels: levels in [0, 255],
    uint8 or, for a picture of floats, float32."""
    _, height = size_of(picture)
    rows = np.abs(np.arange(-plan.margin, height + plan.margin))  # reflected at the top
    rows = height - 1 - np.abs(height - 1 - rows)  # and at the bottom
    for own in np.split(rows, range(band_rows, len(rows), band_rows)):
        top, bottom = int(own.min()), int(own.max()) + 1
        levels = _rows(picture, top, bottom)
        if plan.grain:
            levels = with_grain(levels, top)
        yield torch.from_numpy(levels[own - top]).to(device).permute(2, 0, 1).unsqueeze(0)


def _rows(picture: Picture, top: int, bottom: int) -> NDArray[Any]:
    values = values_in(picture, (0, top, size_of(picture)[0], bottom))
    return values if values.dtype == np.uint8 else values * np.float32(255)


def _levels_on(device: torch.device, picture: Picture, band_rows: int, plan: Plan) -> Tensor | None:
    """All that `_levels` gives, ``(1, 3, H + 2 margin, W)`` on a GPU, or None where it does not
    fit."""
    width, height = size_of(picture)
    margin = plan.margin
    dtype = torch.uint8 if isinstance(picture, Image.Image) else torch.float32
    try:
        whole = torch.empty((height + 2 * margin, width, 3), dtype=dtype, device=device)
        photo = whole[margin : margin + height]
        tiles = tiles_on(device)
        for top in range(0, height, band_rows):
            bottom = min(top + band_rows, height)
            strip = torch.from_numpy(_rows(picture, top, bottom).copy()).to(device)
            if plan.grain:
                # The sum of whole levels is of 16 bits.
                grained = strip + tensor_grain(tiles, top, bottom, width).unsqueeze(2)
                strip = grained.clamp_(0, 255)
            photo[top:bottom] = strip
    except torch.OutOfMemoryError:
        return None
    if margin:
        whole[:margin] = photo[1 : margin + 1].flip(0)
        whole[-margin:] = photo[-margin - 1 : -1].flip(0)
    return whole.permute(2, 0, 1).unsqueeze(0)


def _as_input(levels: Tensor, dtype: torch.dtype, channels: int, margin: int) -> Tensor:
    """A band from -255 to 255, with the margin's columns and ``channels`` channels.

    Whole numbers of this size are exact in bfloat16.
    """
    photo = levels.to(dtype).mul_(2).sub_(255)
    if channels > 3:
        photo = F.pad(photo, (0, 0, 0, 0, 0, channels - 3))
    return with_columns(photo, margin, margin, skipped=1)
