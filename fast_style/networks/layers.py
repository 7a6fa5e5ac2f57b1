"""PyTorch modules that the layers of a `Plan` become: two convolutions, the last one, and the norm.

The convolutions add no padding: the norm before them does (`operations.normalized`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fast_style.networks.plan import EPSILON, Layer


class ReflectedConv(nn.Conv2d):
    """Convolution, without bias, of a layer that was padded by reflection.

    Shape: ``(N, inputs, H + 2 margin, W + 2 margin)`` to ``(N, outputs, H / stride, W / stride)``,
    rounded up. Channels beyond ``inputs`` are ignored.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.inputs, layer.outputs, layer.kernel, layer.stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel_for(x.shape[1]), stride=self.stride)

    def kernel_for(self, channels: int) -> Tensor:
        """The kernel ``(outputs, channels, side, side)``: zeros for channels beyond its own."""
        more = channels - self.in_channels
        return F.pad(self.weight, (0, 0, 0, 0, 0, more)) if more else self.weight


class UpsampledConv(nn.Conv2d):
    """Nearest-neighbour upsampling by 2 and a 3 x 3 convolution in one step.

    The layer was padded by replication, which after the doubling is padding by reflection. Doubling
    the pixels is a transposed convolution with a 2 x 2 kernel of ones, and two convolutions in a
    row are one. So the doubled picture never exists, and each output pixel costs 4 taps instead of
    9.

    Shape: ``(N, inputs, H + 2, W + 2)`` to ``(N, outputs, 2 H, 2 W)``.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.inputs, layer.outputs, layer.kernel, bias=False)
        self.derived: Tensor | None = None

    def derive_kernel(self) -> None:
        """Compute the transposed kernel once, for weights that change no more."""
        self.derived = self.transposed_kernel().contiguous(memory_format=torch.channels_last)

    def transposed_kernel(self) -> Tensor:
        """The kernel ``(inputs, outputs, 4, 4)`` of the transposed convolution of stride 2."""
        # Transposed convolution flips its kernel, hence the flip. Each of the 4 x 4 taps is the sum
        # of the 3 x 3 kernel's taps that fall on it in the four positions of the doubled pixel.
        weight = self.weight.transpose(0, 1).flip(2, 3)
        return F.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=1)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.transposed_kernel() if self.derived is None else self.derived
        return F.conv_transpose2d(x, kernel, stride=2, padding=3)


class TransposedConv(nn.ConvTranspose2d):
    """Transposed convolution of stride 2, without bias, with zeros outside the layer.

    Shape: ``(N, inputs, H, W)`` to ``(N, outputs, 2 H, 2 W)``.
    """

    def __init__(self, layer: Layer) -> None:
        padding = layer.kernel // 2
        super().__init__(
            layer.inputs, layer.outputs, layer.kernel, 2, padding, output_padding=1, bias=False
        )


class ToRGB(nn.Conv2d):
    """Convolution to few channels, without padding.

    Processors compute 16 output channels at a time, and three would leave most idle. So each step
    makes 2 x 2 pixels: it has four times the outputs, a kernel wider by one, and a stride of 2. The
    numbers are the same, in a third of the time.

    Shape: ``(N, inputs, H + 2 margin, W + 2 margin)`` to ``(N, outputs, H, W)``.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.inputs, layer.outputs, layer.kernel)
        self.margin = layer.margin
        self.derived: tuple[Tensor, Tensor | None] | None = None

    def derive_kernel(self) -> None:
        """Compute the wider kernels once, for weights that change no more."""
        kernels, bias = self.square_kernels()
        self.derived = kernels.contiguous(memory_format=torch.channels_last), bias

    def forward(self, x: Tensor) -> Tensor:
        height, width = (side - 2 * self.margin for side in x.shape[-2:])
        even = F.pad(x, (0, width % 2, 0, height % 2))
        kernels, bias = self.square_kernels() if self.derived is None else self.derived
        return self.squares(even, kernels, bias)[..., :height, :width]

    def square_kernels(self) -> tuple[Tensor, Tensor | None]:
        """Kernels and bias of the wider convolution, four per output: one for each pixel of the
        2 x 2 square.

        Returns:
            ``(4 outputs, inputs, side + 1, side + 1)``, and ``(4 outputs,)`` or None.
        """
        size = self.weight.shape[-1] + 1
        moved = F.pad(self.weight, (1, 1, 1, 1)).unfold(2, size, 1).unfold(3, size, 1).flip(2, 3)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return moved.permute(0, 2, 3, 1, 4, 5).flatten(0, 2), bias

    @staticmethod
    def squares(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve by `square_kernels`.

        Args:
            x: ``(N, inputs, H + 2 margin, W + 2 margin)`` with even H and W.
            kernels, bias: from `square_kernels`.

        Returns:
            ``(N, outputs, H, W)``.
        """
        return F.pixel_shuffle(F.conv2d(x, kernels, bias, stride=2), 2)


class InstanceNorm(nn.InstanceNorm2d):
    """Scale and shift of an instance norm (Ulyanov, Vedaldi and Lempitsky 2016).

    `operations.normalized` does the arithmetic, together with the ReLU or skip and the padding.

    Args:
        channels: normalized channels.
        adjustable: whether scale and shift depend on the strength of the style, see `at_strength`.
    """

    def __init__(self, channels: int, adjustable: bool = False) -> None:
        super().__init__(channels, eps=EPSILON, affine=True)
        if adjustable:
            self.weight_slope = nn.Parameter(torch.zeros_like(self.weight))
            self.bias_slope = nn.Parameter(torch.zeros_like(self.bias))
