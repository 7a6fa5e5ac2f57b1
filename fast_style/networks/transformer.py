"""The image transformation network of Johnson et al. 2016, with instance norm."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fast_style.networks import MARGIN, MIN_SIDE, at_strength


class ImageTransformer(nn.Module):
    """Residual image transformation network (Johnson, Alahi and Fei-Fei 2016, supplement, table 1).

    Departures from the paper: instance norm for batch norm (Ulyanov, Vedaldi and Lempitsky 2016),
    reflection padding in every layer so that residual blocks keep their size, beside that of the
    photo by `MARGIN` (the paper pads the photo alone, by 40, and loses that to residual blocks
    without padding), nearest-neighbour upsampling and convolution for transposed convolution
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

    MIN_SIDE = MIN_SIDE

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
        self.to_rgb = ToRGB(full, 3, kernel_size=9)
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

    def forward(
        self, photos: Tensor, strength: float | None = None, margin: int = MARGIN
    ) -> Tensor:
        """Stylize photos.

        Args:
            photos: see above.
            strength: in [0, 1], from the photo itself to the style in full, which is also what None
                means; only adjustable networks have any other.
            margin: see `MARGIN`; 4 px or a multiple of that.
        """
        if strength is not None:
            plain = at_strength(dict(self.named_parameters()), strength)
            painted = torch.func.functional_call(self, plain, (photos, None, margin))
            return torch.lerp(photos, painted.to(photos.dtype), strength)
        height, width = photos.shape[-2:]
        x = reflected(photos * 2 - 1, margin)
        x = self.decoder(self.residuals(self.encoder(x)))
        # Of the margin, what the last convolution reads. Each stride rounds odd sizes up, so the
        # decoder ends with up to three rows too many.
        cut, read = margin - self.to_rgb.margin, 2 * self.to_rgb.margin
        x = x[..., cut : cut + height + read, cut : cut + width + read]
        return torch.sigmoid(self.to_rgb(x))


def reflected(x: Tensor, margin: int) -> Tensor:
    """``(N, C, H, W)`` with a mirror image on each side, that leaves out the edge's own pixels:
    ``(N, C, H + 2 margin, W + 2 margin)``, for margins shorter than the sides."""
    padded: Tensor = _Padding.apply(x, margin, 1)
    return padded


def replicated(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` with its edge's pixels once more on each side: ``(N, C, H + 2, W + 2)``."""
    padded: Tensor = _Padding.apply(x, 1, 0)
    return padded


class _Padding(torch.autograd.Function):
    """Mirrors each side, ``margin`` rows and columns of it, but for as many as ``skipped``, the
    outermost.

    On CUDA, PyTorch's own paddings copy all out of channels_last and back, and add gradients up in
    an order of chance, so that no two trainings are the same.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, margin: int, skipped: int) -> Tensor:
        ctx.margin, ctx.skipped = margin, skipped
        if x.is_cuda:
            return mirrored(x, margin, skipped)
        # Keeps the memory format here, and exporters know it.
        return F.pad(x, (margin,) * 4, mode="reflect" if skipped else "replicate")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        margin, skipped = ctx.margin, ctx.skipped

        def unpadded(part: Tensor) -> Tensor:
            """Its rows, with those outside added to what they mirror."""
            height = part.shape[2] - 2 * margin
            rows = part.narrow(2, margin, height).clone()
            rows.narrow(2, skipped, margin).add_(part[:, :, :margin].flip(2))
            rows.narrow(2, height - margin - skipped, margin).add_(part[:, :, -margin:].flip(2))
            return rows

        width = gradient.shape[3] - 2 * margin
        whole = unpadded(gradient.narrow(3, margin, width))
        whole.narrow(3, skipped, margin).add_(unpadded(gradient[..., :margin]).flip(3))
        right = whole.narrow(3, width - margin - skipped, margin)
        right.add_(unpadded(gradient[..., -margin:]).flip(3))
        return whole, None, None


def mirrored(x: Tensor, margin: int, skipped: int) -> Tensor:
    """What `reflected` (1 skipped) and `replicated` (0) give, in the memory format that comes."""
    count, channels, height, width = x.shape
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    padded = torch.empty(
        (count, channels, height + 2 * margin, width + 2 * margin),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )
    columns = padded.narrow(3, margin, width)
    columns.narrow(2, margin, height).copy_(x)
    for axis, part in ((2, columns), (3, padded)):  # the corners come with the columns
        size = part.shape[axis]
        for outside, inside in (
            (0, margin + skipped),
            (size - margin, size - 2 * margin - skipped),
        ):
            part.narrow(axis, outside, margin).copy_(part.narrow(axis, inside, margin).flip(axis))
    return padded


class ReflectedConv(nn.Conv2d):
    """Convolution that keeps the size (divided by the stride, rounded up) by reflection padding."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel_size, stride, bias=False)
        self.margin = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(reflected(x, self.margin))


class ToRGB(nn.Conv2d):
    """A convolution without padding, of few outputs. Processors multiply for 16 outputs or none: it
    makes 2 x 2 pixels at once, as four times the outputs of a kernel wider by one that moves by
    two, with the same numbers in a third of the time."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__(inputs, outputs, kernel_size)
        self.margin = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        height, width = (side - 2 * self.margin for side in x.shape[-2:])
        padded = F.pad(x, (0, width % 2, 0, height % 2))
        return self.squares(padded, *self.square_kernels())[..., :height, :width]

    def square_kernels(self) -> tuple[Tensor, Tensor | None]:
        """Kernels and bias of the wider convolution, one for each pixel of a square and output."""
        kernels = [
            F.pad(self.weight, (right, 1 - right, down, 1 - down))
            for down in (0, 1)
            for right in (0, 1)
        ]
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return torch.stack(kernels, 1).flatten(0, 1), bias

    @staticmethod
    def squares(padded: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve; rows and columns come in twos."""
        return F.pixel_shuffle(F.conv2d(padded, kernels, bias, stride=2), 2)


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
        return F.conv_transpose2d(replicated(x), self.transposed_kernel(), stride=2, padding=3)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm with a scale and shift for each channel (Ulyanov et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda and len(x) == 1:
            # The same, without PyTorch's two copies of what comes in channels last. Not on a CPU,
            # which sums these plainly in float32: of large pictures that moves the variance.
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(x)

    def make_adjustable(self) -> None:
        """Let scale and shift depend on the strength of the style, see `at_strength`."""
        self.weight_slope = nn.Parameter(torch.zeros_like(self.weight))
        self.bias_slope = nn.Parameter(torch.zeros_like(self.bias))


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
