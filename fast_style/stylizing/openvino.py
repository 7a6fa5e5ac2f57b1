"""The image transformation network on a CPU, as an OpenVINO graph.

OpenVINO computes the same numbers as PyTorch in a fraction of the time and memory, and starts in a
fraction of the time: nothing here needs PyTorch.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

# OpenVINO reports each import to its makers, by a process that it forks, unless the package that
# does so is missing. After this line Python does not find it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
import openvino.opset13 as ops  # noqa: E402

from fast_style.images.grain import grain  # noqa: E402
from fast_style.networks import Layer, Plan  # noqa: E402
from fast_style.networks.plan import EPSILON, JOHNSON  # noqa: E402

if TYPE_CHECKING:
    from openvino import Node

Array = NDArray[Any]
_Key = tuple[tuple[int, int], np.dtype[Any], bool]  # height and width, dtype, exactly

ROWS, COLUMNS = 2, 3  # axes of (N, C, H, W)

# OpenVINO's norm adds squares one by one in float32. Beyond this number of them the variance is
# wrong: by a hundredth at 12 megapixels. Sums of rows, and then of those sums, stay right.
LONGEST_SUM = 2**22

# The largest value in 8 bits, in standard deviations from the mean. Larger values are clipped.
DEVIATIONS = 12

# Above this kurtosis a picture is computed in float32. Most of its features are near their mean and
# a few very far away, as in a drawing on white or a night sky, which neither 8 bits nor bf16 keep.
# Photos have 2 to 20, those pictures 30 to 2000.
HEAVIEST_TAILS = 20

WAIT_MS = 100  # the longest that Ctrl-C waits


class CompiledTransformer:
    """A trained network, compiled for each size of picture that comes.

    It is safe to share among threads, which take turns: one picture occupies all cores. Ctrl-C
    interrupts a picture.

    Args:
        weights: the network's state dict in float32, not adjustable.
        exactly: compute in float32. Otherwise compute in bf16 where the CPU multiplies it, and most
            convolutions behind the encoder in 8 bits, except for pictures that would suffer (see
            `HEAVIEST_TAILS`) and networks without a sigmoid, which dampens what 8 bits lose.
            Statistics and the output are in float32 either way.
        plan: the network's layers, by default those of the paper.

    Raises:
        ValueError: if the weights are not those of the plan.
    """

    KEPT = 4  # compiled sizes

    def __init__(self, weights: Mapping[str, Array], exactly: bool, plan: Plan = JOHNSON) -> None:
        if {name: weight.shape for name, weight in weights.items()} != plan.tensor_shapes():
            raise ValueError("the weights are not those of the planned network")
        self.weights = weights
        self.int8 = not exactly and plan.to_rgb.activation == "sigmoid"
        self.exactly = not self.int8 and (exactly or not computes_in_bf16())
        self.plan = plan
        self._compiled: dict[_Key, openvino.CompiledModel] = {}
        self._lock = threading.Lock()

    def __call__(self, photo: Array, exactly: bool = False) -> Array:
        """Stylize one photo with its `grain`.

        Args:
            photo: ``(H, W, 3)``, uint8 or float32 in [0, 1].
            exactly: compute this photo in float32.

        Returns:
            The stylized photo, of the same shape and dtype.
        """
        with self._lock:
            exactly = exactly or self.exactly
            painted, tails = self._run(photo, exactly)
            if not exactly and tails > HEAVIEST_TAILS:
                painted, _ = self._run(photo, exactly=True)
            return painted

    def _run(self, photo: Array, exactly: bool) -> tuple[Array, float]:
        """The stylized photo and the kurtosis of its features."""
        model = self._model_for((photo.shape[:2], photo.dtype, exactly))
        # Each run has its own request: one that was interrupted may still be at work.
        request = model.create_infer_request()
        request.start_async([photo[np.newaxis]])
        try:
            while not request.wait_for(WAIT_MS):
                pass  # Python looks for signals here
            request.wait()  # raises the error of a failed run
        except BaseException:
            request.cancel()
            raise
        painted, tails = (request.get_output_tensor(number).data for number in range(2))
        return painted[0].copy(), tails.item()

    def _model_for(self, key: _Key) -> openvino.CompiledModel:
        model = self._compiled.pop(key, None)
        if self._compiled:  # a model that waits keeps its weights, not its activations
            next(reversed(self._compiled.values())).release_memory()
        if model is None:
            size, dtype, exactly = key
            precision = "f32" if exactly or not computes_in_bf16() else "bf16"
            model = _core().compile_model(
                build_graph(
                    self.weights, *size, dtype, int8=self.int8 and not exactly, plan=self.plan
                ),
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
    """One core for the whole process. OpenVINO gives a thread a stack for signal handlers and frees
    it with the last core, from whichever thread that is; the next Ctrl-C would crash."""
    return openvino.Core()


def build_graph(
    weights: Mapping[str, Array],
    height: int,
    width: int,
    dtype: np.dtype[Any],
    int8: bool = False,
    plan: Plan = JOHNSON,
) -> openvino.Model:
    """The network as a graph, for photos ``(1, height, width, 3)`` of one size.

    The graph adds the `grain` to the photo first. Its second output is the kurtosis of the
    encoder's features: the mean fourth power of each normalized channel, averaged over channels. A
    normal distribution has 3.

    Args:
        weights: the state dict of a network that is not adjustable.
        height: of the photo, in px.
        width: of the photo, in px.
        dtype: of the photo and of the picture: uint8, or float32 in [0, 1].
        int8: whether most convolutions behind the encoder multiply in 8 bits.
        plan: the network's layers.
    """
    graph = _Graph(weights, int8)
    levels = 255 if dtype == np.uint8 else 1
    photo = ops.parameter([1, height, width, 3], dtype)
    x = ops.transpose(ops.convert(photo, "f32"), _axes(0, 3, 1, 2))
    if plan.grain:
        speckles = _constant(grain(0, height, width)) * _constant(levels / 255)
        x = ops.clamp(x + speckles, 0, levels)
    x = _reflected(x * _constant(2 / levels) - _constant(1), plan.margin)

    for layer in plan.encoder:
        convolved = graph.convolution(x, layer)
        x = graph.norm(convolved, layer)
    tails = _kurtosis(standardized(convolved))
    # The encoder computes in float. Its last norm and ReLU bound the input of the first block.
    before: Layer | None = plan.encoder[-1]
    for block in plan.residuals:
        block_input = x
        for layer in block:
            x = graph.norm(graph.convolution(x, layer, before), layer)
            before = layer
        x = x + block_input
        before = None  # a sum has no bound
    for layer in plan.decoder:
        x = graph.norm(graph.upsampled_convolution(x, layer, before), layer)
        before = layer
    margin = plan.to_rgb.margin
    if plan.margin:
        x = _crop(x, height + 2 * margin, width + 2 * margin, plan.margin - margin)
    else:
        x = _reflected(x, margin)
    x = _crop(graph.to_rgb(x, plan.to_rgb, before), height, width)
    x = ops.clamp(x, 0, 1) if plan.to_rgb.activation == "clip" else ops.sigmoid(x)

    if dtype == np.uint8:
        x = ops.convert(ops.round(x * _constant(levels)), "u8")
    picture = ops.transpose(x, _axes(0, 2, 3, 1))
    return openvino.Model([ops.result(picture), ops.result(tails)], [photo])


class _Graph:
    """Nodes of a network's layers.

    A layer's ``before`` is the layer whose norm and ReLU bound its input; without one it computes
    in float. In 8 bits, features have 256 levels from 0 to their bound.
    """

    def __init__(self, weights: Mapping[str, Array], int8: bool) -> None:
        self.weights = weights
        self.int8 = int8

    def convolution(self, x: Node, layer: Layer, before: Layer | None = None) -> Node:
        x, kernel = _operands(x, self.weights[f"{layer.name}.weight"], self._bound(before))
        return _convolution(_reflected(x, layer.margin), kernel, layer.stride)

    def upsampled_convolution(self, x: Node, layer: Layer, before: Layer | None) -> Node:
        """One transposed convolution, as in ``UpsampledConv``: its kernel is the sum of four
        shifts. In a network that has transposed convolutions it is their kernel."""
        if layer.upsample == "transposed":
            return self._transposed_convolution(x, layer, before)
        flipped = self.weights[f"{layer.name}.weight"].transpose(1, 0, 2, 3)[..., ::-1, ::-1]
        shifts = [
            np.pad(flipped, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j)))
            for i in (0, 1)
            for j in (0, 1)
        ]
        x, kernel = _operands(x, np.sum(shifts, axis=0), self._bound(before), outputs_axis=1)
        return ops.convolution_backprop_data(
            _pad(x, 1, 1, 1, "edge"),
            kernel,
            strides=[2, 2],
            pads_begin=[3, 3],
            pads_end=[3, 3],
            dilations=[1, 1],
        )

    def _transposed_convolution(self, x: Node, layer: Layer, before: Layer | None) -> Node:
        kernel = self.weights[f"{layer.name}.weight"]
        x, kernels = _operands(x, kernel, self._bound(before), outputs_axis=1)
        padding = [layer.kernel // 2] * 2
        return ops.convolution_backprop_data(
            x,
            kernels,
            strides=[2, 2],
            pads_begin=padding,
            pads_end=padding,
            dilations=[1, 1],
            output_padding=[1, 1],
        )

    def to_rgb(self, x: Node, layer: Layer, before: Layer | None) -> Node:
        """The last convolution, as in ``ToRGB``, with an extra row or column where a side is odd.

        Processors compute 16 channels at a time, and three would leave most idle. So each step
        gives the 12 values of 2 x 2 pixels, by kernels with the 9 x 9 one in each of the four
        corners of 10 x 10.
        """
        kernel = self.weights[f"{layer.name}.weight"]
        outputs, inputs, size, _ = kernel.shape
        corners = np.zeros((outputs, 2, 2, inputs, size + 1, size + 1), np.float32)
        for i in (0, 1):
            for j in (0, 1):
                corners[:, i, j, :, i : i + size, j : j + size] = kernel
        x, squares = _operands(
            x, corners.reshape(-1, inputs, size + 1, size + 1), self._bound(before)
        )
        height, width = _size(x)
        if height % 2 or width % 2:
            x = _pad(x, 0, height % 2, width % 2, "edge")
        x = ops.depth_to_space(_convolution(x, squares, stride=2), "depth_first", 2)
        return x + self._per_channel(f"{layer.name}.bias")

    def norm(self, x: Node, layer: Layer) -> Node:
        """Instance norm with scale and shift, and the layer's activation."""
        scale, shift = (self._per_channel(f"{layer.norm}.{part}") for part in ("weight", "bias"))
        x = standardized(x) * scale + shift
        return ops.relu(x) if layer.activation == "relu" else x

    def _per_channel(self, name: str) -> Node:
        return _constant(self.weights[name].reshape(1, -1, 1, 1))

    def _bound(self, before: Layer | None) -> float | None:
        if before is None or not self.int8:
            return None
        spread = DEVIATIONS * np.abs(self.weights[f"{before.norm}.weight"])
        return float((self.weights[f"{before.norm}.bias"] + spread).max())


def standardized(x: Node) -> Node:
    """Instance norm of ``(N, C, H, W)`` without scale and shift, right at any size."""
    axes = _axes(ROWS, COLUMNS)
    height, width = _size(x)
    if height * width <= LONGEST_SUM:
        return ops.mvn(x, axes, True, EPSILON, "inside_sqrt")
    x = ops.mvn(x, axes, False, EPSILON, "inside_sqrt")  # subtracts the mean alone
    return x / ops.sqrt(_mean(x * x, ROWS, COLUMNS) + _constant(EPSILON))


def _kurtosis(standardized: Node) -> Node:
    squares = standardized * standardized
    return _mean(squares * squares, 0, 1, ROWS, COLUMNS)


def _mean(x: Node, *axes: int) -> Node:
    """The mean, one axis after the other, see `LONGEST_SUM`."""
    for axis in reversed(axes):
        x = ops.reduce_mean(x, _axes(axis), True)
    return x


def _operands(
    x: Node, kernel: Array, bound: float | None, outputs_axis: int = 0
) -> tuple[Node, Node]:
    """The features and kernel of a convolution, both rounded to 8 bits where there is a bound.

    Features get 256 levels from 0 to the bound, and kernels 255 around 0, scaled for each output.
    OpenVINO recognizes these roundings and multiplies integers.
    """
    weights = _constant(kernel)
    if bound is None:
        return x, weights
    inputs = tuple(axis for axis in range(kernel.ndim) if axis != outputs_axis)
    largest = np.abs(kernel).max(axis=inputs, keepdims=True).clip(1e-12)
    ends = _constant(np.zeros((1, 1, 1, 1))), _constant(np.full((1, 1, 1, 1), max(bound, 1e-12)))
    x = ops.fake_quantize(x, *ends, *ends, 256)
    ends = _constant(-largest), _constant(largest)
    return x, ops.fake_quantize(weights, *ends, *ends, 255)


def _convolution(x: Node, kernel: Node, stride: int) -> Node:
    """Without padding."""
    return ops.convolution(x, kernel, [stride, stride], [0, 0], [0, 0], [1, 1])


def _reflected(x: Node, margin: int) -> Node:
    return _pad(x, margin, margin, margin, "reflect") if margin else x


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
