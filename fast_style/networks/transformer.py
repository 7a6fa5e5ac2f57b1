"""The image transformation network of Johnson et al. 2016, with instance norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fast_style.networks import MARGIN, MIN_SIDE, kernels
from fast_style.networks.operations import normalized, padded

# Tensor cores multiply bf16 eight channels at a time: for a photo's three, cuDNN does without them.
TENSOR_CORE_CHANNELS = 8


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
        self, photos: Tensor, strength: float | Tensor | None = None, margin: int = MARGIN
    ) -> Tensor:
        """Stylize photos.

        Args:
            photos: see above.
            strength: a number in [0, 1] or a tensor of one, from the photo itself to the style in
                full, which is also what None means; only adjustable networks have any other.
            margin: see `MARGIN`; 4 px or a multiple of that.
        """
        height, width = photos.shape[-2:]
        layers = self._layers()
        scales = self._scales([layer.norm for layer in layers], strength)
        first = layers[0].convolution
        channels = TENSOR_CORE_CHANNELS if kernels.serve(photos) else None
        x = padded(padded(photos * 2 - 1, margin), first.margin, first.skipped, channels)
        block_input: Tensor | None = None
        following = [*layers[1:], None]
        for layer, after, (scale, shift) in zip(layers, following, scales, strict=True):
            layer_output, x = layer.norm(
                layer.convolution(x),
                scale,
                shift,
                relu=not layer.ends_block,
                skip=block_input if layer.ends_block else None,
                before=None if after is None else after.convolution,
            )
            if after is not None and after.begins_block:
                block_input = layer_output
        # Of the margin, keep what the last convolution reads. Each stride rounds odd sizes up, so
        # the decoder ends with up to three rows too many.
        cut, read = margin - self.to_rgb.margin, 2 * self.to_rgb.margin
        x = x[..., cut : cut + height + read, cut : cut + width + read]
        painted = torch.sigmoid(self.to_rgb(x))
        if strength is None:
            return painted
        opacity = strength.float() if isinstance(strength, Tensor) else strength
        return torch.lerp(photos, painted.to(photos.dtype), opacity)

    def _layers(self) -> list[Layer]:
        """The convolutions in order, but for the last, which has no norm."""
        layers = [Layer(*cast(Any, block)) for block in self.encoder]
        for residual in self.residuals:
            (first, first_norm), second, second_norm = cast(Any, residual).body
            layers.append(Layer(first, first_norm, begins_block=True))
            layers.append(Layer(second, second_norm, ends_block=True))
        return layers + [Layer(*cast(Any, block)) for block in self.decoder]

    def _scales(
        self, norms: list[InstanceNorm], strength: float | Tensor | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Each norm's scale and shift at a strength, by the formula of `at_strength`."""
        if strength is None:
            return [(norm.weight, norm.bias) for norm in norms]
        # All at once: one by one, a GPU would take a hundred launches for it.
        full = torch.cat([part for n in norms for part in (n.weight, n.bias)])
        slopes = torch.cat([part for n in norms for part in (n.weight_slope, n.bias_slope)])
        channels = [norm.num_features for norm in norms for _ in range(2)]
        parts = (full - (1 - strength) * slopes).split(channels)
        return list(zip(parts[::2], parts[1::2], strict=True))


class ReflectedConv(nn.Conv2d):
    """Convolution of a layer that was padded by reflection: it keeps the size, divided by the
    stride and rounded up."""

    skipped = 1  # as `padded` calls a reflection

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel_size, stride, bias=False)
        self.margin = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if x.shape[1] > self.in_channels:
            weight = F.pad(weight, (0, 0, 0, 0, 0, x.shape[1] - self.in_channels))
        return F.conv2d(x, weight, stride=self.stride)


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
        size = self.weight.shape[-1] + 1
        moved = F.pad(self.weight, (1, 1, 1, 1)).unfold(2, size, 1).unfold(3, size, 1).flip(2, 3)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return moved.permute(0, 2, 3, 1, 4, 5).flatten(0, 2), bias

    @staticmethod
    def squares(padded: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve; rows and columns come in twos."""
        return F.pixel_shuffle(F.conv2d(padded, kernels, bias, stride=2), 2)


class UpsampledConv(nn.Conv2d):
    """Nearest-neighbour upsampling by two, reflection padding and a 3 x 3 convolution, in one, of a
    layer that was padded by replication.

    Doubling the pixels is a transposed convolution with a 2 x 2 kernel of ones, and two
    convolutions in a row are one: the doubled picture never exists, and each output pixel costs 4
    taps instead of 9. Reflecting the doubled picture by one pixel repeats the small one's edge.
    """

    margin = 1
    skipped = 0  # as `padded` calls a replication

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, bias=False)

    def transposed_kernel(self) -> Tensor:
        """The one 4 x 4 kernel, for a transposed convolution with a stride of 2."""
        # Transposed convolution flips its kernel, hence the flip. Each tap of 4 x 4 is the sum of
        # those of the 3 x 3 kernel that fall on it when it moves by one, down and across.
        weight = self.weight.transpose(0, 1).flip(2, 3)
        return F.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.transposed_kernel(), stride=2, padding=3)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm with a scale and shift for each channel (Ulyanov et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        relu: bool,
        skip: Tensor | None,
        before: ReflectedConv | UpsampledConv | None,
    ) -> tuple[Tensor, Tensor]:
        """See `normalized`, which pads as the convolution needs that this norm stands before."""
        margin, skipped = (0, 1) if before is None else (before.margin, before.skipped)
        return normalized(
            x, scale, shift, self.eps, relu=relu, skip=skip, margin=margin, skipped=skipped
        )

    def make_adjustable(self) -> None:
        """Let scale and shift depend on the strength of the style, see `at_strength`."""
        self.weight_slope = nn.Parameter(torch.zeros_like(self.weight))
        self.bias_slope = nn.Parameter(torch.zeros_like(self.bias))


class Layer(NamedTuple):
    """A convolution and its norm. A ReLU follows, but for the end of a residual block, where the
    block's input is added."""

    convolution: ReflectedConv | UpsampledConv
    norm: InstanceNorm
    begins_block: bool = False
    ends_block: bool = False


class ConvBlock(nn.Sequential):
    """Convolution and instance norm."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(ReflectedConv(inputs, outputs, kernel_size, stride), InstanceNorm(outputs))


class UpsampleBlock(nn.Sequential):
    """Upsampling convolution and instance norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(UpsampledConv(inputs, outputs), InstanceNorm(outputs))


class ResidualBlock(nn.Module):
    """Two convolutions and a skip, without ReLU after the sum (Gross and Wilber 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(channels, channels, kernel_size=3),
            ReflectedConv(channels, channels, kernel_size=3),
            InstanceNorm(channels),
        )
