"""The image transformation network of Johnson et al. 2016 as a PyTorch module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from fast_style.networks import kernels
from fast_style.networks.layers import (
    InstanceNorm,
    ReflectedConv,
    ToRGB,
    TransposedConv,
    UpsampledConv,
)
from fast_style.networks.operations import normalized, padded
from fast_style.networks.plan import EPSILON, MIN_SIDE, Layer, Upsampling, plan_network

# Tensor cores multiply bf16 eight channels at a time. cuDNN does without them for a photo's three.
TENSOR_CORE_CHANNELS = 8


class ImageTransformer(nn.Module):
    """Residual image transformation network (Johnson, Alahi and Fei-Fei 2016, supplement, table 1).

    Departures from the paper:

    - Instance norm replaces batch norm (Ulyanov, Vedaldi and Lempitsky 2016).
    - Every layer is padded by reflection, so that residual blocks keep their size, and the photo by
      `MARGIN` besides. The paper pads the photo alone, by 40 px.
    - Nearest-neighbour upsampling and a convolution replace transposed convolution, which leaves
      checkerboards (Odena, Dumoulin and Olah 2016).
    - A sigmoid replaces the scaled tanh.

    Args:
        widths: channels at full, half and quarter resolution.
        residual_blocks: residual blocks at quarter resolution.
        adjustable: whether the strength of the style can be chosen when stylizing. Scales and
            shifts of instance norm are then linear in it (Babaeizadeh and Ghiasi 2018 condition
            them likewise), and the painted picture is blended with the photo.
        bottleneck: channels inside a residual block of 1 x 1, 3 x 3 and 1 x 1 convolutions (He et
            al. 2016, figure 5). None makes blocks of two 3 x 3 convolutions, as in the paper.
        bare: without margin and grain, and with clipped values in place of the sigmoid, as networks
            of other programs are.
        upsampling: ``transposed`` for the paper's transposed convolutions.

    Shape: ``(N, 3, H, W)`` RGB in [0, 1], where H and W are at least ``MIN_SIDE``, odd or even, to
    the same.

    >>> network = ImageTransformer(widths=(8, 16, 32), residual_blocks=2, adjustable=True)
    >>> photos = torch.rand(1, 3, 50, 37)
    >>> network(photos).shape
    torch.Size([1, 3, 50, 37])
    >>> torch.equal(network(photos, strength=0.0), photos)
    True
    """

    MIN_SIDE = MIN_SIDE

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        residual_blocks: int = 5,
        adjustable: bool = False,
        bottleneck: int | None = None,
        bare: bool = False,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        self.widths = [int(width) for width in widths]
        self.residual_blocks = int(residual_blocks)
        self.adjustable = bool(adjustable)
        self.bottleneck = None if bottleneck is None else int(bottleneck)
        self.bare = bool(bare)
        self.upsampling = upsampling
        self.plan = plan_network(**self.config)
        self.encoder = nn.Sequential(*(ConvBlock(layer, adjustable) for layer in self.plan.encoder))
        self.residuals = nn.Sequential(
            *(ResidualBlock(layers, adjustable) for layers in self.plan.residuals)
        )
        self.decoder = nn.Sequential(*(ConvBlock(layer, adjustable) for layer in self.plan.decoder))
        self.to_rgb = ToRGB(self.plan.to_rgb)
        self._steps = [
            Step(layer, self.get_submodule(layer.name), self.norm_of(layer))
            for layer in self.plan.normed
        ]

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build a network of this shape."""
        arguments: dict[str, Any] = {
            "widths": self.widths,
            "residual_blocks": self.residual_blocks,
            "adjustable": self.adjustable,
        }
        # Left out where they are the defaults, so that files of plain networks stay as they were.
        if self.bottleneck is not None:
            arguments["bottleneck"] = self.bottleneck
        if self.bare:
            arguments["bare"] = True
        if self.upsampling != "nearest":
            arguments["upsampling"] = self.upsampling
        return arguments

    def forward(
        self, photos: Tensor, strength: float | Tensor | None = None, margin: int | None = None
    ) -> Tensor:
        """Stylize photos.

        Args:
            photos: ``(N, 3, H, W)`` in [0, 1].
            strength: from 0 (the photo itself) to 1 (the full style), as a number or a tensor of
                one. None is the full style; only adjustable networks take a number.
            margin: reflected px on each side of the photo, a multiple of 4; None for the plan's.
        """
        margin = self.plan.margin if margin is None else margin
        first = self.plan.encoder[0]
        x = photos * 2 - 1
        x = padded(x, margin) if margin else x
        channels = TENSOR_CORE_CHANNELS if kernels.serve(photos) else None
        x = padded(x, first.margin, first.skipped, channels)
        skip: Tensor | None = None
        following_layers = (*self.plan.normed[1:], None)
        scales = self._scales(strength)
        for step, following, (scale, shift) in zip(
            self._steps, following_layers, scales, strict=True
        ):
            output, x = normalized(
                step.convolution(x),
                scale,
                shift,
                EPSILON,
                relu=step.layer.activation == "relu",
                skip=skip if step.layer.skip == "ends" else None,
                margin=following.margin if following else 0,
                skipped=following.skipped if following else 1,
            )
            if following and following.skip == "begins":
                skip = output
        painted = self.activated(self.to_rgb(self._cut(x, photos, margin)))
        if not margin:
            painted = self._cropped(painted, *photos.shape[-2:])
        if strength is None:
            return painted
        opacity = strength.float() if isinstance(strength, Tensor) else strength
        return torch.lerp(photos, painted.to(photos.dtype), opacity)

    def activated(self, rgb: Tensor) -> Tensor:
        """The last layer's activation."""
        if self.plan.to_rgb.activation == "clip":
            return rgb.clamp(0, 1)
        return torch.sigmoid(rgb)

    def norm_of(self, layer: Layer) -> InstanceNorm:
        """The module of a layer's norm."""
        assert layer.norm is not None
        return cast(InstanceNorm, self.get_submodule(layer.norm))

    def derive_kernels(self) -> None:
        """Compute the kernels of the last layers once, not for each picture.

        Afterwards the network must stay on its device, in its dtype, and with its weights.
        """
        for layer in self.plan.decoder:
            convolution = self.get_submodule(layer.name)
            if isinstance(convolution, UpsampledConv):
                convolution.derive_kernel()
        self.to_rgb.derive_kernel()

    def _cut(self, x: Tensor, photos: Tensor, margin: int) -> Tensor:
        """The last layer's input without the photo's margin, except for the pixels that its kernel
        reads there.

        Each stride rounds odd sides up, so ``x`` may have up to three rows and columns too many.
        Without a margin, those pixels are reflected.
        """
        if not margin:
            return padded(x, self.to_rgb.margin)
        height, width = (side + 2 * self.to_rgb.margin for side in photos.shape[-2:])
        cut = margin - self.to_rgb.margin
        return x[..., cut : cut + height, cut : cut + width]

    def _cropped(self, painted: Tensor, height: int, width: int) -> Tensor:
        """The picture without the rows and columns that strides added."""
        return painted[..., :height, :width]

    def _scales(self, strength: float | Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Each norm's scale and shift at a strength, by the formula of `at_strength`."""
        norms = [step.norm for step in self._steps]
        if strength is None:
            return [(norm.weight, norm.bias) for norm in norms]
        # All at once: one by one, they would take a GPU a hundred launches.
        full = torch.cat([part for n in norms for part in (n.weight, n.bias)])
        slopes = torch.cat([part for n in norms for part in (n.weight_slope, n.bias_slope)])
        channels = [norm.num_features for norm in norms for _ in range(2)]
        parts = (full - (1 - strength) * slopes).split(channels)
        return list(zip(parts[::2], parts[1::2], strict=True))


class Step(NamedTuple):
    """A layer of the plan with its modules."""

    layer: Layer
    convolution: nn.Module
    norm: InstanceNorm


class ConvBlock(nn.Sequential):
    """Convolution and instance norm."""

    def __init__(self, layer: Layer, adjustable: bool) -> None:
        kinds = {None: ReflectedConv, "nearest": UpsampledConv, "transposed": TransposedConv}
        super().__init__(kinds[layer.upsample](layer), InstanceNorm(layer.outputs, adjustable))


class ResidualBlock(nn.Module):
    """The convolutions and norms of a residual block; the network adds the skip."""

    def __init__(self, layers: Sequence[Layer], adjustable: bool) -> None:
        super().__init__()
        *inner, last = layers
        self.body = nn.Sequential(
            *(ConvBlock(layer, adjustable) for layer in inner),
            ReflectedConv(last),
            InstanceNorm(last.outputs, adjustable),
        )
