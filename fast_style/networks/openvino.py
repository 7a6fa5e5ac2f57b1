"""The image transformation network on a CPU: the same arithmetic as an OpenVINO graph.

OpenVINO computes it in a fraction of PyTorch's time and memory, and starts in a fraction of its
time: nothing here needs PyTorch.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import openvino.opset13 as ops
from numpy.typing import NDArray

from fast_style.networks import MARGIN

if TYPE_CHECKING:
    from openvino import Node

Array = NDArray[Any]

ROWS, COLUMNS = 2, 3  # axes of (N, C, H, W)
EPSILON = 1e-5  # added to the variance by instance norm, as PyTorch does

# OpenVINO's norm adds squares one by one in float32: more of them than this move the variance, by a
# hundredth at 12 megapixels. Sums of rows, and then of those, do not.
LONGEST_SUM = 2**22


class CompiledTransformer:
    """An ``ImageTransformer``'s weights, compiled for each size of picture that comes.

    Args:
        weights: the network's state dict in float32.
        bf16: compute in bf16; statistics and the output stay in float32.

    Safe to share among threads, which take turns: one picture occupies all cores.
    """

    KEPT = 4  # compiled sizes

    def __init__(self, weights: Mapping[str, Array], bf16: bool) -> None:
        self.weights = weights
        self.bf16 = bf16
        self._compiled: dict[tuple[tuple[int, int], np.dtype[Any]], openvino.CompiledModel] = {}
        self._lock = threading.Lock()

    def __call__(self, photo: Array) -> Array:
        """Stylize one photo: ``(H, W, 3)`` uint8, or ``(H, W, 3)`` float32 in [0, 1].

        Returns:
            Of the same kind.
        """
        with self._lock:
            model = self._for(photo.shape[:2], photo.dtype)
            return model([photo[np.newaxis]])[0][0]

    def _for(self, size: tuple[int, int], dtype: np.dtype[Any]) -> openvino.CompiledModel:
        key = (size, dtype)
        model = self._compiled.pop(key, None)
        if model is None:
            if self._compiled:  # a model that waits keeps its weights, not its activations
                next(reversed(self._compiled.values())).release_memory()
            precision = "bf16" if self.bf16 else "f32"
            model = _core().compile_model(
                build_graph(self.weights, *size, dtype),
                "CPU",
                {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision},
            )
        self._compiled[key] = model  # the most recent is the last
        if len(self._compiled) > self.KEPT:
            del self._compiled[next(iter(self._compiled))]
        return model


def computes_in_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> openvino.Core:
    """Never let go: OpenVINO gives a thread a stack for signal handlers, and takes the memory away
    with the last core, from whichever thread that is. The next Ctrl-C would be a crash."""
    return openvino.Core()


def build_graph(
    weights: Mapping[str, Array], height: int, width: int, dtype: np.dtype[Any]
) -> openvino.Model:
    """The network for photos ``(1, height, width, 3)``: uint8, or float32 in [0, 1].

    ``ImageTransformer`` has the description; `weights` are its state dict.
    """
    photo = ops.parameter([1, height, width, 3], dtype)
    levels = 255 if dtype == np.uint8 else 1
    x = ops.transpose(ops.convert(photo, "f32"), _axes(0, 3, 1, 2))
    x = _pad(x * _constant(2 / levels) - _constant(1), MARGIN, MARGIN, MARGIN, "reflect")

    def norm(x: Node, name: str) -> Node:
        return instance_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def block(x: Node, name: str, stride: int = 1) -> Node:
        kernel = weights[f"{name}.0.weight"]
        return ops.relu(norm(_convolution(x, kernel, stride), f"{name}.1"))

    x = block(x, "encoder.0")
    x = block(x, "encoder.1", stride=2)
    x = block(x, "encoder.2", stride=2)
    residual_blocks = sum(name.endswith("body.0.0.weight") for name in weights)
    for number in range(residual_blocks):
        body = f"residuals.{number}.body"
        branch = _convolution(block(x, f"{body}.0"), weights[f"{body}.1.weight"])
        x = x + norm(branch, f"{body}.2")
    for number in range(2):
        name = f"decoder.{number}"
        x = ops.relu(norm(_upsampled_convolution(x, weights[f"{name}.0.weight"]), f"{name}.1"))
    margin = weights["to_rgb.weight"].shape[-1] // 2
    x = _crop(x, height + 2 * margin, width + 2 * margin, MARGIN - margin)
    x = _to_rgb(x, weights["to_rgb.weight"], weights["to_rgb.bias"])

    x = ops.sigmoid(_crop(x, height, width))
    if dtype == np.uint8:
        x = ops.convert(ops.round(x * _constant(levels)), "u8")
    return openvino.Model([ops.result(ops.transpose(x, _axes(0, 2, 3, 1)))], [photo])


def instance_norm(x: Node, scale: Array, shift: Array) -> Node:
    """Instance norm of ``(N, C, H, W)``, right at any size."""
    axes = _axes(ROWS, COLUMNS)
    height, width = _size(x)
    if height * width <= LONGEST_SUM:
        x = ops.mvn(x, axes, True, EPSILON, "inside_sqrt")
        return x * _per_channel(scale) + _per_channel(shift)
    x = ops.mvn(x, axes, False, EPSILON, "inside_sqrt")  # less its mean
    of_rows = ops.reduce_mean(x * x, _axes(COLUMNS), True)
    variance = ops.reduce_mean(of_rows, _axes(ROWS), True)
    deviation = ops.sqrt(variance + _constant(EPSILON))
    return x * (_per_channel(scale) / deviation) + _per_channel(shift)


def _convolution(x: Node, kernel: Array, stride: int = 1) -> Node:
    margin = kernel.shape[-1] // 2
    return _valid_convolution(_pad(x, margin, margin, margin, "reflect"), kernel, stride)


def _upsampled_convolution(x: Node, kernel: Array) -> Node:
    """``UpsampledConv``: one transposed convolution, whose kernel is the sum of four shifts."""
    flipped = kernel.transpose(1, 0, 2, 3)[..., ::-1, ::-1]
    shifts = [
        np.pad(flipped, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j))) for i in (0, 1) for j in (0, 1)
    ]
    return ops.convolution_backprop_data(
        _pad(x, 1, 1, 1, "edge"),
        _constant(sum(shifts)),
        strides=[2, 2],
        pads_begin=[3, 3],
        pads_end=[3, 3],
        dilations=[1, 1],
    )


def _to_rgb(x: Node, kernel: Array, bias: Array) -> Node:
    """The last convolution, with an extra row or column where there are odd ones.

    Processors compute 16 channels at a time, and three would leave most idle: so each step gives
    the 12 values of 2 x 2 pixels, by kernels with the 9 x 9 one in the four corners of 10 x 10.
    """
    outputs, inputs, size, _ = kernel.shape
    corners = np.zeros((outputs, 2, 2, inputs, size + 1, size + 1), np.float32)
    for i in (0, 1):
        for j in (0, 1):
            corners[:, i, j, :, i : i + size, j : j + size] = kernel
    height, width = _size(x)
    if height % 2 or width % 2:
        x = _pad(x, 0, height % 2, width % 2, "edge")
    x = _valid_convolution(x, corners.reshape(-1, inputs, size + 1, size + 1), stride=2)
    return ops.depth_to_space(x, "depth_first", 2) + _per_channel(bias)


def _valid_convolution(x: Node, kernel: Array, stride: int) -> Node:
    return ops.convolution(x, _constant(kernel), [stride, stride], [0, 0], [0, 0], [1, 1])


def _pad(x: Node, before: int, below: int, right: int, mode: str) -> Node:
    return ops.pad(x, _axes(0, 0, before, before), _axes(0, 0, below, right), mode)


def _crop(x: Node, height: int, width: int, begin: int = 0) -> Node:
    if _size(x) == (height, width):
        return x
    ends = _axes(begin + height, begin + width)
    return ops.slice(x, _axes(begin, begin), ends, _axes(1, 1), _axes(ROWS, COLUMNS))


def _size(x: Node) -> tuple[int, int]:
    _, _, height, width = x.shape
    return height, width


def _per_channel(values: Array) -> Node:
    return _constant(values.reshape(1, -1, 1, 1))


def _constant(values: Array | float) -> Node:
    return ops.constant(np.ascontiguousarray(values, dtype=np.float32))


def _axes(*values: int) -> Node:
    return ops.constant(np.array(values, dtype=np.int64))
