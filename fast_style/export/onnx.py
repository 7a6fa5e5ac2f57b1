"""A style as an ONNX model, which ONNX Runtime and others run without this program.

The graph is made from the network's plan, as the one of OpenVINO is, and needs no PyTorch. It adds
the grain and the margin, and blends with the photo, so that the file alone gives the `Stylizer`'s
picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fast_style.checkpoint import (
    StyleFile,
    find_style,
    read_style,
    shipped_styles,
    small_styles,
    style_name,
)
from fast_style.extras import need
from fast_style.images.grain import grain_tiles
from fast_style.networks import MIN_SIDE, Layer, Plan
from fast_style.networks.plan import EPSILON

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

OPSET = 17
IR_VERSION = 8  # the file format that came with this opset

ROWS, COLUMNS = 2, 3  # axes of (N, C, H, W)


def onnx_model(style: StyleFile, precision: Precision = "float32") -> onnx.ModelProto:
    """Build the ONNX model of a style.

    Inputs are ``photo``, float32 ``(N, 3, H, W)`` in [0, 1] with sides of at least `MIN_SIDE`, and
    ``strength``, a float32 number in [0, 1]. The output ``picture`` is like the photo. N, H and W
    are free.

    Args:
        style: the style, adjustable or not. One that is not is only blended with the photo.
        precision: of the convolutions' weights in the file. All of them compute in float32, since
            few processors have convolutions in float16, and browsers none in 8 bits.

    Raises:
        UserError: if the extra ``export`` is not installed.
    """
    need("export", "ONNX files", "onnx")
    import onnx

    graph = _Graph(style.weights, precision)
    graph.add_network(style.plan)
    sides: list[str | int | None] = ["N", 3, "H", "W"]
    photo, picture = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides)
        for name in ("photo", "picture")
    )
    strength = onnx.helper.make_tensor_value_info("strength", onnx.TensorProto.FLOAT, [])
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes, style.name, [photo, strength], [picture], graph.initializers
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fast_style",
        producer_version=version("fast-style"),
    )
    onnx.helper.set_model_props(model, _metadata(style, precision))
    return model


def _metadata(style: StyleFile, precision: Precision) -> dict[str, str]:
    return {
        "style": style.name,
        "program": f"fast_style {version('fast-style')}",
        "network": json.dumps(style.config),
        "weights": precision,
        "photo": f"float32 (N, 3, H, W), RGB in [0, 1], sides of at least {MIN_SIDE} px",
        "strength": "float32 number from 0, the photo itself, to 1, the full style",
        "picture": "float32, like the photo",
        "licence": _licence(style),
    }


def _licence(style: StyleFile) -> str:
    files = map(find_style, [*shipped_styles(), *small_styles()])
    named = next((file for file in files if style_name(file) == style.name), None)
    if named is not None:
        shipped = read_style(named).weights
        same = shipped.keys() == style.weights.keys()
        if same and all(np.array_equal(style.weights[name], shipped[name]) for name in shipped):
            return "MIT, as fast_style, which ships this style"
    return "to be stated by whoever trained this style"


class _Graph:
    """Nodes and constants of the model. Methods take and return names of values."""

    def __init__(self, weights: Mapping[str, Array], precision: Precision) -> None:
        self.weights = weights
        self.precision = precision
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add_network(self, plan: Plan) -> None:
        """Add all from ``photo`` and ``strength`` to ``picture``."""
        size = self.node("Shape", "photo", start=ROWS)
        photo = self._grained(size) if plan.grain else "photo"
        x = self.node("Sub", self.node("Mul", photo, self.scalar(2)), self.scalar(1))
        x = self._pad(x, plan.margin, "reflect")
        scales = iter(self._scales(plan))
        for layer in plan.encoder:
            x = self._norm(self._convolution(x, layer), layer, scales)
        for block in plan.residuals:
            block_input = x
            for layer in block:
                x = self._norm(self._convolution(x, layer), layer, scales)
            x = self.node("Add", x, block_input)
        for layer in plan.decoder:
            x = self._norm(self._upsampled_convolution(x, layer), layer, scales)
        rgb = self._to_rgb(x, plan, size)
        clipped = plan.to_rgb.activation == "clip"
        painted = self._clipped(rgb) if clipped else self.node("Sigmoid", rgb)
        change = self.node("Mul", self.node("Sub", painted, "photo"), "strength")
        self.node("Add", "photo", change, output="picture")

    # --- the photo ---

    def _grained(self, size: str) -> str:
        """The photo with the `grain`, which the sum of two repeated tiles makes."""
        repeated = [self._repeated(tile, size) for tile in grain_tiles()]
        both = self.node("Add", *repeated)
        # The remainder by 3 of numbers from 0 to 4, by operations that every runtime has.
        above = self.node("Sub", both, self.scalar(2))
        carry = self.node("Clip", above, self.scalar(0), self.scalar(1))
        rest = self.node("Sub", both, self.node("Mul", carry, self.scalar(3)))
        levels = self.node("Sub", rest, self.scalar(1))
        grain = self.node("Mul", levels, self.scalar(1 / 255))
        return self._clipped(self.node("Add", "photo", grain))

    def _repeated(self, tile: Array, size: str) -> str:
        sides = np.array(tile.shape)
        rounded_up = self.node("Add", size, self.constant(sides - 1))
        times = self.node("Div", rounded_up, self.constant(sides))
        whole = self.node("Tile", self._as_float(self.constant(tile)), times)
        return self._slice(whole, (0, 0), size, first_axis=0)

    # --- layers ---

    def _convolution(self, x: str, layer: Layer) -> str:
        kernel = self._kernel(self.weights[f"{layer.name}.weight"])
        x = self._pad(x, layer.margin, "reflect")
        return self.node("Conv", x, kernel, strides=[layer.stride] * 2)

    def _upsampled_convolution(self, x: str, layer: Layer) -> str:
        """Convolve to four times the channels, which become squares of 2 x 2 pixels.

        Each pixel of a doubled picture sees only 2 x 2 pixels of the small one, so the doubled one
        never exists. Runtimes are faster at this than at transposed convolutions.
        """
        if layer.upsample == "transposed":
            return self._transposed_convolution(x, layer)
        # By place in the square, then by tap of the new kernel: which of the three taps it sums.
        taps = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)
        kernel = np.einsum("aup,bvq,oipq->oabiuv", taps, taps, self.weights[f"{layer.name}.weight"])
        squares = kernel.reshape(-1, layer.inputs, 2, 2)
        x = self.node("Conv", self._pad(x, 1, "edge"), self._kernel(squares))
        # A square is the lower right pixel of one small pixel and the upper left of the next.
        return self._slice(self._to_space(x), (1, 1), self.constant([-1, -1]))

    def _transposed_convolution(self, x: str, layer: Layer) -> str:
        """The same for a transposed convolution of 3 x 3, beyond whose input zeros lie."""
        # By place in the square, then by tap of the new kernel: which of the three taps it is.
        taps = np.array([[[0, 1, 0], [0, 0, 0]], [[0, 0, 1], [1, 0, 0]]], np.float32)
        kernel = np.einsum("aup,bvq,iopq->oabiuv", taps, taps, self.weights[f"{layer.name}.weight"])
        squares = self._kernel(kernel.reshape(-1, layer.inputs, 2, 2))
        return self._to_space(self.node("Conv", x, squares, pads=[0, 0, 1, 1]))

    def _to_rgb(self, x: str, plan: Plan, size: str) -> str:
        """The last convolution without the photo's margin, in squares of 2 x 2 pixels.

        Processors compute 16 channels at a time, and three would leave most idle. The kernels have
        the 9 x 9 one in each of the four corners of 10 x 10. Where a side is odd, the last squares
        end outside the picture.
        """
        layer = plan.to_rgb
        if plan.margin:
            begin = plan.margin - layer.margin
            end = self.node("Add", size, self.constant([plan.margin + layer.margin + 1] * 2))
            x = self._slice(x, (begin, begin), end)
        else:
            x = self._pad(x, layer.margin, "reflect")
        kernel = self.weights[f"{layer.name}.weight"]
        side = layer.kernel
        corners = np.zeros((layer.outputs, 2, 2, layer.inputs, side + 1, side + 1), np.float32)
        for i in (0, 1):
            for j in (0, 1):
                corners[:, i, j, :, i : i + side, j : j + side] = kernel
        squares = self._kernel(corners.reshape(-1, *corners.shape[3:]))
        bias = self.constant(self.weights[f"{layer.name}.bias"].repeat(4))
        x = self._to_space(self.node("Conv", x, squares, bias, strides=[2, 2]))
        return self._slice(x, (0, 0), size)

    def _norm(self, x: str, layer: Layer, scales: Iterator[str]) -> str:
        """Instance norm with scale and shift, and the layer's activation."""
        x = self.node("InstanceNormalization", x, next(scales), next(scales), epsilon=EPSILON)
        return self.node("Relu", x) if layer.activation == "relu" else x

    def _scales(self, plan: Plan) -> Sequence[str]:
        """Scale and shift of each norm at the ``strength``, by the formula of `at_strength`."""
        names = [f"{layer.norm}.{part}" for layer in plan.normed for part in ("weight", "bias")]
        if not plan.adjustable:
            return [self.constant(self.weights[name]) for name in names]
        # All at once: one by one, they would take a GPU a hundred launches.
        full, slopes = (
            self.constant(np.concatenate([self.weights[f"{name}{suffix}"] for name in names]))
            for suffix in ("", "_slope")
        )
        missing = self.node("Sub", self.scalar(1), "strength")
        at_strength = self.node("Sub", full, self.node("Mul", missing, slopes))
        # A Split would write to more buffers than WebGPU gives to one operation.
        ends = np.cumsum([len(self.weights[name]) for name in names])
        return [
            self._part(at_strength, end - len(self.weights[name]), end, f"{name}_at_strength")
            for name, end in zip(names, ends, strict=True)
        ]

    def _kernel(self, kernel: Array) -> str:
        """A kernel ``(outputs, inputs, height, width)``, stored in the file's precision.

        Runtimes make float32 of it when they load the file.
        """
        if self.precision == "float32":
            return self.constant(kernel)
        if self.precision == "float16":
            return self._as_float(self.constant(kernel.astype(np.float16)))
        step = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True).clip(1e-12) / 127
        levels = self.constant(np.rint(kernel / step).astype(np.int8))
        return self.node("Mul", self._as_float(levels), self.constant(step))

    # --- nodes ---

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add an operation with one output, whose name is returned."""
        from onnx import helper

        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, values: Array | Sequence[int]) -> str:
        """Add a constant: whole numbers in 64 bits, unless it is an array of 8, or floats."""
        from onnx import numpy_helper

        array = np.asarray(values)
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def scalar(self, number: float) -> str:
        return self.constant(np.array(number, np.float32))

    def _as_float(self, x: str) -> str:
        from onnx import TensorProto

        return self.node("Cast", x, to=TensorProto.FLOAT)

    def _clipped(self, x: str) -> str:
        return self.node("Clip", x, self.scalar(0), self.scalar(1))

    def _pad(self, x: str, margin: int, mode: Literal["reflect", "edge"]) -> str:
        if not margin:
            return x
        return self.node("Pad", x, self.constant([0, 0, margin, margin] * 2), mode=mode)

    def _slice(self, x: str, begin: tuple[int, int], end: str, first_axis: int = ROWS) -> str:
        axes = self.constant([first_axis, first_axis + 1])
        return self.node("Slice", x, self.constant(begin), end, axes)

    def _part(self, vector: str, begin: int, end: int, output: str) -> str:
        return self.node(
            "Slice", vector, self.constant([begin]), self.constant([end]), output=output
        )

    def _to_space(self, x: str) -> str:
        """Four channels become a square of 2 x 2 pixels."""
        return self.node("DepthToSpace", x, blocksize=2, mode="CRD")
