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

from fast_style.images.grain import grain
from fast_style.networks import MARGIN

if TYPE_CHECKING:
    from openvino import Node

Array = NDArray[Any]
_Key = tuple[tuple[int, int], np.dtype[Any], bool]  # height and width, dtype, exactly

ROWS, COLUMNS = 2, 3  # axes of (N, C, H, W)
EPSILON = 1e-5  # added to the variance by instance norm, as PyTorch does

# OpenVINO's norm adds squares one by one in float32: more of them than this move the variance, by a
# hundredth at 12 megapixels. Sums of rows, and then of those, do not.
LONGEST_SUM = 2**22

# The largest of values in 8 bits, in deviations from the mean; larger ones are cut off.
DEVIATIONS = 12

# Where features are mostly near their mean and a few very far away, as of a drawing on white or of
# stars in a night, neither 8 bits nor bf16 keep the picture. The kurtosis tells: it is 2 to 20 of
# photos, 30 to 2000 of those.
HEAVIEST_TAILS = 20

WAIT_MS = 100  # at most, until Ctrl-C is heard


class CompiledTransformer:
    """An ``ImageTransformer``'s weights, compiled for each size of picture that comes.

    Args:
        weights: the network's state dict in float32.
        exactly: compute in float32; else in bf16 where the CPU multiplies that, and most
            convolutions behind the encoder in 8 bits, unless the picture is one that would suffer
            (see `HEAVIEST_TAILS`). Statistics and the output are in float32 either way.

    Safe to share among threads, which take turns: one picture occupies all cores. Ctrl-C is heard
    while a picture is computed.
    """

    KEPT = 4  # compiled sizes

    def __init__(self, weights: Mapping[str, Array], exactly: bool) -> None:
        self.weights = weights
        self.exactly = exactly
        self._compiled: dict[_Key, openvino.CompiledModel] = {}
        self._lock = threading.Lock()

    def __call__(self, photo: Array) -> Array:
        """Stylize one photo, after its `grain`: ``(H, W, 3)`` uint8, or float32 in [0, 1].

        Returns:
            Of the same kind.
        """
        with self._lock:
            painted, tails = self._run(photo, self.exactly)
            if not self.exactly and tails > HEAVIEST_TAILS:
                painted, _ = self._run(photo, exactly=True)
            return painted

    def _run(self, photo: Array, exactly: bool) -> tuple[Array, float]:
        """The stylized photo and the kurtosis of its features."""
        model = self._for((photo.shape[:2], photo.dtype, exactly))
        # A request of its own: one that was interrupted may be at work still.
        request = model.create_infer_request()
        request.start_async([photo[np.newaxis]])
        try:
            while not request.wait_for(WAIT_MS):
                pass  # Python looks for signals here
            request.wait()  # raises what went wrong
        except BaseException:
            request.cancel()
            raise
        painted, tails = (request.get_output_tensor(number).data for number in range(2))
        return painted[0].copy(), tails.item()

    def _for(self, key: _Key) -> openvino.CompiledModel:
        model = self._compiled.pop(key, None)
        if self._compiled:  # a model that waits keeps its weights, not its activations
            next(reversed(self._compiled.values())).release_memory()
        if model is None:
            size, dtype, exactly = key
            precision = "f32" if exactly or not computes_in_bf16() else "bf16"
            model = _core().compile_model(
                build_graph(self.weights, *size, dtype, int8=not exactly),
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
    weights: Mapping[str, Array],
    height: int,
    width: int,
    dtype: np.dtype[Any],
    int8: bool = False,
) -> openvino.Model:
    """The network for photos ``(1, height, width, 3)``, uint8 or float32 in [0, 1], which it gives
    their `grain` first.

    ``ImageTransformer`` has the description; `weights` are its state dict. The second output is the
    kurtosis of the encoder's features: of each normalised channel the mean of fourth powers, and of
    those the mean; 3 of what is normally distributed.
    """
    photo = ops.parameter([1, height, width, 3], dtype)
    levels = 255 if dtype == np.uint8 else 1
    x = ops.transpose(ops.convert(photo, "f32"), _axes(0, 3, 1, 2))
    x = ops.clamp(x + _constant(grain(0, height, width)) * _constant(levels / 255), 0, levels)
    x = _pad(x * _constant(2 / levels) - _constant(1), MARGIN, MARGIN, MARGIN, "reflect")

    def norm(x: Node, name: str) -> Node:
        return standardized(x) * per_channel(f"{name}.weight") + per_channel(f"{name}.bias")

    def per_channel(name: str) -> Node:
        return _constant(weights[name].reshape(1, -1, 1, 1))

    def limit(name: str) -> float | None:
        """Of what a norm and a ReLU give, in 8 bits."""
        spread = DEVIATIONS * np.abs(weights[f"{name}.weight"])
        return float((weights[f"{name}.bias"] + spread).max()) if int8 else None

    for number, stride in enumerate((1, 2, 2)):
        name = f"encoder.{number}"
        x = _convolution(x, weights[f"{name}.0.weight"], stride)
        if number == 2:
            tails = _kurtosis(standardized(x))
        x = ops.relu(norm(x, f"{name}.1"))
    residual_blocks = sum(name.endswith("body.0.0.weight") for name in weights)
    for number in range(residual_blocks):
        body = f"residuals.{number}.body"
        # Later blocks begin with sums, which have no such limit.
        first = limit("encoder.2.1") if number == 0 else None
        branch = _convolution(x, weights[f"{body}.0.0.weight"], limit=first)
        branch = ops.relu(norm(branch, f"{body}.0.1"))
        branch = _convolution(branch, weights[f"{body}.1.weight"], limit=limit(f"{body}.0.1"))
        x = x + norm(branch, f"{body}.2")
    for number in range(2):
        name = f"decoder.{number}"
        second = limit("decoder.0.1") if number else None
        x = _upsampled_convolution(x, weights[f"{name}.0.weight"], second)
        x = ops.relu(norm(x, f"{name}.1"))
    margin = weights["to_rgb.weight"].shape[-1] // 2
    x = _crop(x, height + 2 * margin, width + 2 * margin, MARGIN - margin)
    x = _to_rgb(x, weights["to_rgb.weight"], limit("decoder.1.1")) + per_channel("to_rgb.bias")

    x = ops.sigmoid(_crop(x, height, width))
    if dtype == np.uint8:
        x = ops.convert(ops.round(x * _constant(levels)), "u8")
    picture = ops.transpose(x, _axes(0, 2, 3, 1))
    return openvino.Model([ops.result(picture), ops.result(tails)], [photo])


def standardized(x: Node) -> Node:
    """Instance norm of ``(N, C, H, W)`` without scale and shift, right at any size."""
    axes = _axes(ROWS, COLUMNS)
    height, width = _size(x)
    if height * width <= LONGEST_SUM:
        return ops.mvn(x, axes, True, EPSILON, "inside_sqrt")
    x = ops.mvn(x, axes, False, EPSILON, "inside_sqrt")  # less its mean
    return x / ops.sqrt(_mean(x * x, ROWS, COLUMNS) + _constant(EPSILON))


def _kurtosis(standardized: Node) -> Node:
    squares = standardized * standardized
    return _mean(squares * squares, 0, 1, ROWS, COLUMNS)


def _mean(x: Node, *axes: int) -> Node:
    """One axis after the other, see `LONGEST_SUM`."""
    for axis in reversed(axes):
        x = ops.reduce_mean(x, _axes(axis), True)
    return x


def _convolution(x: Node, kernel: Array, stride: int = 1, limit: float | None = None) -> Node:
    margin = kernel.shape[-1] // 2
    x, weights = _operands(x, kernel, limit)
    return _valid_convolution(_pad(x, margin, margin, margin, "reflect"), weights, stride)


def _upsampled_convolution(x: Node, kernel: Array, limit: float | None) -> Node:
    """``UpsampledConv``: one transposed convolution, whose kernel is the sum of four shifts."""
    flipped = kernel.transpose(1, 0, 2, 3)[..., ::-1, ::-1]
    shifts = [
        np.pad(flipped, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j))) for i in (0, 1) for j in (0, 1)
    ]
    x, weights = _operands(x, np.sum(shifts, axis=0), limit, outputs_axis=1)
    return ops.convolution_backprop_data(
        _pad(x, 1, 1, 1, "edge"),
        weights,
        strides=[2, 2],
        pads_begin=[3, 3],
        pads_end=[3, 3],
        dilations=[1, 1],
    )


def _to_rgb(x: Node, kernel: Array, limit: float | None) -> Node:
    """The last convolution, with an extra row or column where there are odd ones.

    Processors compute 16 channels at a time, and three would leave most idle: so each step gives
    the 12 values of 2 x 2 pixels, by kernels with the 9 x 9 one in the four corners of 10 x 10.
    """
    outputs, inputs, size, _ = kernel.shape
    corners = np.zeros((outputs, 2, 2, inputs, size + 1, size + 1), np.float32)
    for i in (0, 1):
        for j in (0, 1):
            corners[:, i, j, :, i : i + size, j : j + size] = kernel
    x, weights = _operands(x, corners.reshape(-1, inputs, size + 1, size + 1), limit)
    height, width = _size(x)
    if height % 2 or width % 2:
        x = _pad(x, 0, height % 2, width % 2, "edge")
    return ops.depth_to_space(_valid_convolution(x, weights, stride=2), "depth_first", 2)


def _operands(
    x: Node, kernel: Array, limit: float | None, outputs_axis: int = 0
) -> tuple[Node, Node]:
    """What a convolution multiplies; with a limit, both in 8 bits: features in 256 levels from 0 to
    that, kernels in 255 around 0, each output's own.

    OpenVINO knows such roundings for what they are, and multiplies integers.
    """
    weights = _constant(kernel)
    if limit is None:
        return x, weights
    inputs = tuple(axis for axis in range(kernel.ndim) if axis != outputs_axis)
    largest = np.abs(kernel).max(axis=inputs, keepdims=True).clip(1e-12)
    ends = _constant(np.zeros((1, 1, 1, 1))), _constant(np.full((1, 1, 1, 1), max(limit, 1e-12)))
    x = ops.fake_quantize(x, *ends, *ends, 256)
    ends = _constant(-largest), _constant(largest)
    return x, ops.fake_quantize(weights, *ends, *ends, 255)


def _valid_convolution(x: Node, weights: Node, stride: int) -> Node:
    return ops.convolution(x, weights, [stride, stride], [0, 0], [0, 0], [1, 1])


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


def _constant(values: Array | float) -> Node:
    return ops.constant(np.ascontiguousarray(values, dtype=np.float32))


def _axes(*values: int) -> Node:
    return ops.constant(np.array(values, dtype=np.int64))
