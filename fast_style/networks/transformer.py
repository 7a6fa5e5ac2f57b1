"""The image transformation network of Johnson et al. 2016, with instance norm."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageTransformer(nn.Module):
    """Residual image transformation network (Johnson, Alahi and Fei-Fei 2016, supplement, table 1).

    Departures from the paper: instance norm for batch norm (Ulyanov, Vedaldi and Lempitsky 2016),
    reflection padding in every layer so that residual blocks keep their size (the paper pads the
    photo once and crops), nearest-neighbour upsampling and convolution for transposed convolution
    (Odena, Dumoulin and Olah 2016: no checkerboards), and a sigmoid for the scaled tanh.

    Args:
        widths: channels at full, half and quarter resolution.
        residual_blocks: residual blocks at quarter resolution.
        adjustable: whether the strength of the style can be chosen when stylizing: scales and
            shifts of instance norm then move with it in straight lines (as Babaeizadeh and Ghiasi
            2018 condition them), and what is painted is laid over the photo.

    Shape: takes and gives ``(N, 3, H, W)`` RGB in [0, 1], any H and W of at least
    ``MIN_SIDE`` pixels; the output has the input's H and W, odd ones too.
    """

    MIN_SIDE = 16

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        residual_blocks: int = 5,
        adjustable: bool = False,
    ) -> None:
        super().__init__()
        self.widths = [int(width) for width in widths]
        self.residual_blocks = int(residual_blocks)
        self.adjustable = bool(adjustable)
        full, half, quarter = widths
        self.encoder = nn.Sequential(
            ConvBlock(3, full, kernel_size=9),
            ConvBlock(full, half, kernel_size=3, stride=2),
            ConvBlock(half, quarter, kernel_size=3, stride=2),
        )
        self.residuals = nn.Sequential(*(ResidualBlock(quarter) for _ in range(residual_blocks)))
        self.decoder = nn.Sequential(
            UpsampleBlock(quarter, half),
            UpsampleBlock(half, full),
        )
        self.to_rgb = ToRGB(full, 3, kernel_size=9, bias=True)
        if adjustable:
            for module in self.modules():
                if isinstance(module, InstanceNorm):
                    module.make_adjustable()

    @property
    def config(self) -> dict[str, object]:
        """The arguments that make a network of this shape."""
        return {
            "widths": self.widths,
            "residual_blocks": self.residual_blocks,
            "adjustable": self.adjustable,
        }

    def forward(self, photos: Tensor, strength: float | None = None) -> Tensor:
        """Stylize at a strength in [0, 1], from the photo itself to the style in full, which is
        also what None means; only adjustable networks have any other.
        """
        if strength is not None:
            plain = at_strength(dict(self.named_parameters()), strength)
            return lay_over(photos, torch.func.functional_call(self, plain, photos), strength)
        height, width = photos.shape[-2:]
        x = self.decoder(self.residuals(self.encoder(photos * 2 - 1)))
        # Each stride rounds odd sizes up, so the decoder ends with up to three rows too many.
        return torch.sigmoid(self.to_rgb(x[..., :height, :width]))


class ReflectedConv(nn.Conv2d):
    """Convolution that keeps the size (divided by the stride, rounded up) by reflection padding."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__(inputs, outputs, kernel_size, stride, bias=bias)
        self.margin = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        if _learning(x):
            return super().forward(F.pad(x, (self.margin,) * 4, mode="reflect"))
        step, margin, height = self.stride[0], self.margin, x.shape[-2]
        out = Rows(-(-height // step))
        for top, bottom in _bands(out.height, x):
            first, last = top * step - margin, (bottom - 1) * step + margin + 1
            rows = x[..., max(first, 0) : min(last, height), :]
            above, below = max(-first, 0), max(last - height, 0)
            out.add(super().forward(F.pad(rows, (margin, margin, above, below), mode="reflect")))
        return out.whole


class ToRGB(ReflectedConv):
    """A `ReflectedConv` of few outputs. Processors multiply for 16 outputs or none: while learning
    it makes 2 x 2 pixels at once, as four times the outputs of a kernel wider by one that moves by
    two, with the same numbers in a third of the time."""

    def forward(self, x: Tensor) -> Tensor:
        if not _learning(x):
            return super().forward(x)
        height, width = x.shape[-2:]
        padded = F.pad(x, (self.margin,) * 4, mode="reflect")
        padded = F.pad(padded, (0, width % 2, 0, height % 2))
        kernels = [
            F.pad(self.weight, (right, 1 - right, down, 1 - down))
            for down in (0, 1)
            for right in (0, 1)
        ]
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        out = F.conv2d(padded, torch.stack(kernels, 1).flatten(0, 1), bias, stride=2)
        return F.pixel_shuffle(out, 2)[..., :height, :width]


class UpsampledConv(nn.Conv2d):
    """Nearest-neighbour upsampling by two, reflection padding and a 3 x 3 convolution, in one.

    Doubling the pixels is a transposed convolution with a 2 x 2 kernel of ones, and two
    convolutions in a row are one: the doubled picture never exists, and each output pixel costs 4
    taps instead of 9. Reflecting the doubled picture by one pixel repeats the small one's edge.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # Transposed convolution flips its kernel, hence the flip; padding by one on each side lays
        # the sum of the four shifts of the 3 x 3 kernel into 4 x 4.
        weight = self.weight.transpose(0, 1).flip(2, 3)
        rows = F.pad(weight, (0, 0, 0, 1)) + F.pad(weight, (0, 0, 1, 0))
        kernel = F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))
        height = x.shape[-2]
        out = Rows(2 * height)
        for top, bottom in [(0, height)] if _learning(x) else _bands(height, x):
            rows = x[..., max(top - 1, 0) : bottom + 1, :]
            above, below = int(top == 0), int(bottom == height)
            rows = F.pad(rows, (1, 1, above, below), mode="replicate")
            out.add(F.conv_transpose2d(rows, kernel, stride=2, padding=3))
        return out.whole


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm with a scale and shift for each channel (Ulyanov et al. 2016).

    Without gradients on a CPU it works in place.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def make_adjustable(self) -> None:
        """Let scale and shift depend on the strength of the style, see `at_strength`."""
        self.weight_slope = nn.Parameter(torch.zeros_like(self.weight))
        self.bias_slope = nn.Parameter(torch.zeros_like(self.bias))

    def forward(self, x: Tensor) -> Tensor:
        if _learning(x):
            return super().forward(x)
        # PyTorch's own norms are slow in 16 bits or, in channels_last, sum millions of float32 one
        # by one: their statistics are wrong by a tenth from 12 megapixels on.
        precise = torch.promote_types(x.dtype, torch.float32)
        weight, bias = self.weight.to(precise), self.bias.to(precise)
        for picture in x.split(1):
            _, channels, height, width = picture.shape
            total = torch.zeros(channels, dtype=torch.float64)
            squares = torch.zeros(channels, dtype=torch.float64)
            for top, bottom in _bands(height, picture):
                values = picture[..., top:bottom, :].to(precise, copy=True)
                total += values.sum((0, 2, 3))
                squares += values.square_().sum((0, 2, 3))
            mean = total / (height * width)
            variance = squares / (height * width) - mean.square()
            statistics = (mean.to(precise), variance.to(precise), weight, bias)
            for top, bottom in _bands(height, picture):
                rows = picture[..., top:bottom, :]
                rows.copy_(F.batch_norm(rows, *statistics, eps=self.eps))
        return x


def at_strength(weights: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """The weights of the network that is not adjustable and paints as an adjustable one does at
    this strength, ahead of `lay_over`; of tensors or arrays by name."""
    return {
        name: weight - (1 - strength) * weights[f"{name}_slope"]
        if f"{name}_slope" in weights
        else weight
        for name, weight in weights.items()
        if not name.endswith("_slope")
    }


def lay_over(photos: Tensor, painted: Tensor, strength: float) -> Tensor:
    """Painted pictures as a layer of this opacity over their photos."""
    return torch.lerp(photos, painted.to(photos.dtype), strength)


def _learning(x: Tensor) -> bool:
    """Whether whole layers are computed at once: for gradients, and on GPUs."""
    return torch.is_grad_enabled() or x.device.type != "cpu"


def _bands(height: int, x: Tensor) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of bands of rows that fit into a CPU's cache: padded copies of
    whole layers would cost more than half of the memory, and of the time to touch it."""
    rows = max(1, BAND_VALUES // (x.shape[1] * x.shape[-1]))
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


BAND_VALUES = 2**20  # in a band of one picture's layer


class Rows:
    """A layer's output put together band by band, without holding it twice."""

    whole: Tensor

    def __init__(self, height: int) -> None:
        self.height = height
        self.filled = 0

    def add(self, band: Tensor) -> None:
        count, channels, rows, width = band.shape
        if rows == self.height:
            self.whole = band
            return
        if self.filled == 0:
            self.whole = torch.empty(
                (count, channels, self.height, width),
                dtype=band.dtype,
                device=band.device,
                memory_format=torch.channels_last,
            )
        self.whole[..., self.filled : self.filled + rows, :] = band
        self.filled += rows


class ConvBlock(nn.Sequential):
    """Convolution, instance norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            ReflectedConv(inputs, outputs, kernel_size, stride),
            InstanceNorm(outputs),
            nn.ReLU(inplace=True),
        )


class UpsampleBlock(nn.Sequential):
    """Upsampling convolution, instance norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            UpsampledConv(inputs, outputs),
            InstanceNorm(outputs),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two convolutions and a skip, without ReLU after the sum (Gross and Wilber 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(channels, channels, kernel_size=3),
            ReflectedConv(channels, channels, kernel_size=3),
            InstanceNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).add_(x)
