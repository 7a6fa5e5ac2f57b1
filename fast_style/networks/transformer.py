"""The image transformation network of Johnson et al. 2016, with instance norm."""

from collections.abc import Iterator, Sequence

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

    Shape: takes and gives ``(N, 3, H, W)`` RGB in [0, 1], any H and W of at least
    ``MIN_SIDE`` pixels; the output has the input's H and W, odd ones too.
    """

    MIN_SIDE = 16

    def __init__(self, widths: Sequence[int] = (32, 64, 128), residual_blocks: int = 5) -> None:
        super().__init__()
        self.widths = [int(width) for width in widths]
        self.residual_blocks = int(residual_blocks)
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
        self.to_rgb = ReflectedConv(full, 3, kernel_size=9, bias=True)

    @property
    def config(self) -> dict[str, object]:
        """The arguments that make a network of this shape."""
        return {"widths": self.widths, "residual_blocks": self.residual_blocks}

    def forward(self, photos: Tensor) -> Tensor:
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


class UpsampledConv(nn.Conv2d):
    """Nearest-neighbour upsampling by two, reflection padding and a 3 x 3 convolution, in one.

    Doubling the pixels is a transposed convolution with a 2 x 2 kernel of ones, and two
    convolutions in a row are one: the doubled picture never exists, and each output pixel costs 4
    taps instead of 9. Reflecting the doubled picture by one pixel repeats the small one's edge.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, bias=False)

    def transposed_kernel(self) -> Tensor:
        """The one 4 x 4 kernel, for a transposed convolution with a stride of 2."""
        # Transposed convolution flips its kernel, hence the flip; padding by one on each side lays
        # the sum of the four shifts of the 3 x 3 kernel into 4 x 4.
        weight = self.weight.transpose(0, 1).flip(2, 3)
        rows = F.pad(weight, (0, 0, 0, 1)) + F.pad(weight, (0, 0, 1, 0))
        return F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.transposed_kernel()
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
