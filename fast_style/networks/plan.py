"""The image transformation network, layer by layer (Johnson, Alahi and Fei-Fei 2016, supplement,
table 1).

`plan_network` is the one description of the network. The PyTorch module, the OpenVINO graph, the
stylizer in bands, the ONNX file and the checkpoint's table of tensors are all made from it. It
needs no PyTorch, which takes seconds to import.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MIN_SIDE = 16
"""The shortest side of a picture in px."""

MARGIN = 12
"""Reflected px on each side of a photo, a multiple of the network's stride of 4. The network paints
a dull rim of another colour at the edge of its input, so they are cut off its output."""

Upsampling = Literal["nearest", "transposed"]
"""How the decoder doubles sides: by nearest neighbour before a convolution, or by a transposed
convolution of stride 2."""

EPSILON = 1e-5
"""Instance norm adds this to the variance."""


@dataclass(frozen=True)
class Layer:
    """A convolution with its padding, norm and activation.

    Args:
        name: module whose ``weight`` (and ``bias``, without a norm) the convolution uses.
        inputs: channels in.
        outputs: channels out.
        kernel: side of the square kernel, odd.
        stride: of the convolution, 1 or 2.
        upsample: double the sides, by which kind of `Upsampling`.
        norm: module whose ``weight`` and ``bias`` scale and shift the instance norm that follows.
        activation: follows the norm, or the convolution where there is no norm. ``clip`` limits
            values to [0, 1].
        skip: ``begins`` where the layer's input is also the skip connection of a residual block,
            ``ends`` where that is added behind the norm.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    upsample: Upsampling | None = None
    norm: str | None = None
    activation: Literal["relu", "sigmoid", "clip"] | None = "relu"
    skip: Literal["begins", "ends"] | None = None

    @property
    def margin(self) -> int:
        """Rows and columns that pad each side before the convolution.

        A transposed convolution needs none: zeros lie outside its input.
        """
        if self.upsample is None:
            return self.kernel // 2
        return 1 if self.upsample == "nearest" else 0

    @property
    def skipped(self) -> int:
        """Kind of padding: 1 is reflection, which skips the edge's own pixels; 0 is replication.

        Replicating a picture's edge and then doubling its pixels is the same as doubling and then
        reflecting.
        """
        return 0 if self.upsample else 1

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Shape of the ``weight``, as PyTorch orders it."""
        channels = self.outputs, self.inputs
        if self.upsample == "transposed":
            channels = self.inputs, self.outputs
        return *channels, self.kernel, self.kernel


@dataclass(frozen=True)
class Plan:
    """All layers of a network.

    Args:
        encoder: from the photo to a quarter of its resolution.
        residuals: the layers of each residual block, at a quarter of the resolution.
        decoder: back to full resolution.
        to_rgb: the last layer.
        adjustable: whether scales and shifts of norms depend on the strength of the style.
        margin: reflected px on each side of the photo, a multiple of the `stride`; or 0, and the
            last layer's input is reflected at its edges instead.
        grain: whether the photo gets a grain before the network sees it.
    """

    encoder: tuple[Layer, ...]
    residuals: tuple[tuple[Layer, ...], ...]
    decoder: tuple[Layer, ...]
    to_rgb: Layer
    adjustable: bool = False
    margin: int = MARGIN
    grain: bool = True

    @property
    def normed(self) -> tuple[Layer, ...]:
        """The layers with a norm, in order: all but the last."""
        trunk = (layer for block in self.residuals for layer in block)
        return (*self.encoder, *trunk, *self.decoder)

    @property
    def stride(self) -> int:
        """Pixels of the photo for each pixel of the residual blocks, along each side."""
        return math.prod(layer.stride for layer in self.encoder)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the state dict's tensors, by name."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in (*self.normed, self.to_rgb):
            shapes[f"{layer.name}.weight"] = layer.kernel_shape
            if layer.norm is None:
                shapes[f"{layer.name}.bias"] = (layer.outputs,)
                continue
            for part in ("weight", "bias"):
                shapes[f"{layer.norm}.{part}"] = (layer.outputs,)
                if self.adjustable:
                    shapes[f"{layer.norm}.{part}_slope"] = (layer.outputs,)
        return shapes


def plan_network(
    widths: Sequence[int] = (32, 64, 128),
    residual_blocks: int = 5,
    adjustable: bool = False,
    bottleneck: int | None = None,
    bare: bool = False,
    upsampling: Upsampling = "nearest",
) -> Plan:
    """The layers of a network; ``ImageTransformer`` has the same arguments and explains them.

    >>> [layer.outputs for layer in plan_network(widths=(8, 16, 32), residual_blocks=1).normed]
    [8, 16, 32, 32, 32, 16, 8]
    """
    full, half, quarter = (int(width) for width in widths)
    return Plan(
        encoder=(
            _normed("encoder.0", 3, full, kernel=9),
            _normed("encoder.1", full, half, kernel=3, stride=2),
            _normed("encoder.2", half, quarter, kernel=3, stride=2),
        ),
        residuals=tuple(
            _residual_block(f"residuals.{number}.body", quarter, bottleneck)
            for number in range(residual_blocks)
        ),
        decoder=(
            _normed("decoder.0", quarter, half, kernel=3, upsample=upsampling),
            _normed("decoder.1", half, full, kernel=3, upsample=upsampling),
        ),
        to_rgb=Layer("to_rgb", full, 3, kernel=9, activation="clip" if bare else "sigmoid"),
        adjustable=adjustable,
        margin=0 if bare else MARGIN,
        grain=not bare,
    )


def _normed(name: str, inputs: int, outputs: int, **shape: Any) -> Layer:
    return Layer(f"{name}.0", inputs, outputs, norm=f"{name}.1", **shape)


def _residual_block(name: str, channels: int, bottleneck: int | None) -> tuple[Layer, ...]:
    """Two 3 x 3 convolutions, or a bottleneck of three (He et al. 2016, figure 5), and a skip.

    No ReLU follows the sum (Gross and Wilber 2016).
    """
    if bottleneck is None:
        return (
            Layer(f"{name}.0.0", channels, channels, 3, norm=f"{name}.0.1", skip="begins"),
            Layer(
                f"{name}.1", channels, channels, 3, norm=f"{name}.2", activation=None, skip="ends"
            ),
        )
    return (
        Layer(f"{name}.0.0", channels, bottleneck, 1, norm=f"{name}.0.1", skip="begins"),
        Layer(f"{name}.1.0", bottleneck, bottleneck, 3, norm=f"{name}.1.1"),
        Layer(f"{name}.2", bottleneck, channels, 1, norm=f"{name}.3", activation=None, skip="ends"),
    )


JOHNSON = plan_network()
"""The paper's own network."""


def at_strength(weights: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """Weights of an adjustable network at one strength of the style.

    Args:
        weights: tensors or arrays by name. ``NAME`` is the value at strength 1; ``NAME_slope`` says
            by how much it grows from strength 0 to 1.
        strength: in [0, 1].

    Returns:
        The weights of a network of the same shape that is not adjustable. Its picture is blended
        with the photo, at the opacity of the strength.
    """
    return {
        name: weight - (1 - strength) * weights[f"{name}_slope"]
        if f"{name}_slope" in weights
        else weight
        for name, weight in weights.items()
        if not name.endswith("_slope")
    }
