"""The image transformation network on a CPU, as an OpenVINO graph.

OpenVINO computes the same numbers as PyTorch in a fraction of the time and memory, and starts in a
fraction of the time: nothing here needs PyTorch.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
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
            wait_for(request)
        except BaseException:
            request.cancel()
            raise
        return outputs_of(request)

    def _model_for(self, key: _Key) -> openvino.CompiledModel:
        model = self._compiled.pop(key, None)
        if self._compiled:  # a model that waits keeps its weights, not its activations
            next(reversed(self._compiled.values())).release_memory()
        if model is None:
            model = self.compile(*key, {"PERFORMANCE_HINT": "LATENCY"})
        self._compiled[key] = model  # the most recent is the last
        if len(self._compiled) > self.KEPT:
            del self._compiled[next(iter(self._compiled))]
        return model

    def compile(
        self,
        size: tuple[int, int],
        dtype: np.dtype[Any],
        exactly: bool,
        hints: Mapping[str, Any],
    ) -> openvino.CompiledModel:
        """Compile the network for photos of one size.

        Args:
            size: height and width of the photo, in px.
            dtype: of the photo.
            exactly: compute in float32.
            hints: settings of OpenVINO's CPU plugin.
        """
        graph = build_graph(
            self.weights, *size, dtype, int8=self.int8 and not exactly, plan=self.plan
        )
        precision = "f32" if exactly or not computes_in_bf16() else "bf16"
        return _core().compile_model(graph, "CPU", {**hints, "INFERENCE_PRECISION_HINT": precision})


def wait_for(request: openvino.InferRequest) -> None:
    """Wait for a run, in which Ctrl-C is heard.

    Raises:
        RuntimeError: if the run failed or was canceled.
    """
    while not request.wait_for(WAIT_MS):
        pass  # Python looks for signals here
    request.wait()


def outputs_of(request: openvino.InferRequest) -> tuple[Array, float]:
    """Copy a run's stylized photo, and return it with the kurtosis of its features."""
    painted, tails = (request.get_output_tensor(number).data for number in range(2))
    return painted[0].copy(), tails.item()


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
    # The encoder computes in float. Its last norm bounds the input of the first block.
    spread = graph.spread(plan.encoder[-1])
    for block in plan.residuals:
        block_input, input_spread = x, spread
        for layer in block:
            x = graph.norm(graph.convolution(x, layer, spread), layer)
            spread = graph.spread(layer)
        x, spread = x + block_input, spread + input_spread
    # The last sum stays in float: in 8 bits, pictures lose a decibel and no time is gained.
    known: _Spread | None = None
    for layer in plan.decoder:
        x = graph.norm(graph.upsampled_convolution(x, layer, known), layer)
        known = graph.spread(layer)
    x = graph.to_rgb(x, plan, known, (height, width), levels if dtype == np.uint8 else None)
    picture = ops.transpose(x, _axes(0, 2, 3, 1))
    return openvino.Model([ops.result(picture), ops.result(tails)], [photo])


@dataclass(frozen=True)
class _Spread:
    """How the values of each channel are spread, as far as norms tell.

    Args:
        means: ``(2, C)``, at the lower and at the upper end of the values. Behind a ReLU, the lower
            end is 0.
        variances: ``(2, C)``, likewise.
    """

    means: Array
    variances: Array

    def __add__(self, other: _Spread) -> _Spread:
        """The spread of a sum of features that have little to do with one another."""
        return _Spread(self.means + other.means, self.variances + other.variances)

    @property
    def ends(self) -> tuple[Array, Array]:
        """The least value of each channel in 8 bits, at most 0, and the largest, above 0."""
        reach = DEVIATIONS * np.sqrt(self.variances)
        return (self.means - reach)[0].clip(max=0), (self.means + reach)[1].clip(min=1e-6)


class _Graph:
    """Nodes of a network's layers.

    Convolutions whose input has a known `_Spread` multiply in 8 bits, if ``int8``.
    """

    def __init__(self, weights: Mapping[str, Array], int8: bool) -> None:
        self.weights = weights
        self.int8 = int8

    def spread(self, layer: Layer) -> _Spread:
        """Return how the features behind a layer's norm and activation are spread."""
        scale, shift = (self.weights[f"{layer.norm}.{part}"] for part in ("weight", "bias"))
        means, variances = np.stack([shift, shift]), np.stack([scale**2, scale**2])
        if layer.activation == "relu":
            means[0] = variances[0] = 0
        return _Spread(means, variances)

    def convolution(self, x: Node, layer: Layer, spread: _Spread | None = None) -> Node:
        x, kernel = self._operands(x, self.weights[f"{layer.name}.weight"], spread)
        return _convolution(_reflected(x, layer.margin), kernel, layer.stride)

    def upsampled_convolution(self, x: Node, layer: Layer, spread: _Spread | None) -> Node:
        """One transposed convolution, as in ``UpsampledConv``: its kernel is the sum of four
        shifts. In a network that has transposed convolutions it is their kernel."""
        if layer.upsample == "transposed":
            return self._transposed_convolution(x, layer, spread)
        flipped = self.weights[f"{layer.name}.weight"].transpose(1, 0, 2, 3)[..., ::-1, ::-1]
        shifts = [
            np.pad(flipped, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j)))
            for i in (0, 1)
            for j in (0, 1)
        ]
        x, kernel = self._operands(x, np.sum(shifts, axis=0), spread, outputs_axis=1)
        return ops.convolution_backprop_data(
            _pad(x, 1, 1, 1, "edge"),
            kernel,
            strides=[2, 2],
            pads_begin=[3, 3],
            pads_end=[3, 3],
            dilations=[1, 1],
        )

    def _transposed_convolution(self, x: Node, layer: Layer, spread: _Spread | None) -> Node:
        kernel = self.weights[f"{layer.name}.weight"]
        x, kernels = self._operands(x, kernel, spread, outputs_axis=1)
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

    def to_rgb(
        self, x: Node, plan: Plan, spread: _Spread | None, size: tuple[int, int], levels: int | None
    ) -> Node:
        """The last convolution, as in ``ToRGB``, and its activation, as levels or in [0, 1].

        Processors compute 16 channels at a time, and three would leave most idle. So each step
        gives the 12 values of 2 x 2 pixels, by kernels with the 9 x 9 one in each of the four
        corners of 10 x 10. Where a side is odd, an extra row or column is computed and cut off.
        """
        layer, (height, width) = plan.to_rgb, size
        kernel = self.weights[f"{layer.name}.weight"]
        outputs, inputs, side, _ = kernel.shape
        corners = np.zeros((outputs, 2, 2, inputs, side + 1, side + 1), np.float32)
        for i in (0, 1):
            for j in (0, 1):
                corners[:, i, j, :, i : i + side, j : j + side] = kernel
        # What is rounded already takes less time to crop, and so do levels to interleave.
        x, squares = self._operands(x, corners.reshape(-1, inputs, side + 1, side + 1), spread)
        if plan.margin:
            margins = 2 * layer.margin
            x = _crop(x, height + margins, width + margins, plan.margin - layer.margin)
        else:
            x = _reflected(x, layer.margin)
        if height % 2 or width % 2:
            x = _pad(x, 0, height % 2, width % 2, "edge")
        bias = self.weights[f"{layer.name}.bias"].repeat(4).reshape(1, -1, 1, 1)
        x = _convolution(x, squares, stride=2) + _constant(bias)
        x = ops.clamp(x, 0, 1) if layer.activation == "clip" else ops.sigmoid(x)
        if levels is not None:
            x = ops.convert(ops.round(x * _constant(levels)), "u8")
        return _crop(ops.depth_to_space(x, "depth_first", 2), height, width)

    def norm(self, x: Node, layer: Layer) -> Node:
        """Instance norm with scale and shift, and the layer's activation."""
        scale, shift = (self._per_channel(f"{layer.norm}.{part}") for part in ("weight", "bias"))
        x = standardized(x) * scale + shift
        return ops.relu(x) if layer.activation == "relu" else x

    def _per_channel(self, name: str) -> Node:
        return _constant(self.weights[name].reshape(1, -1, 1, 1))

    def _operands(
        self, x: Node, kernel: Array, spread: _Spread | None, outputs_axis: int = 0
    ) -> tuple[Node, Node]:
        """The features and kernel of a convolution, both rounded if it multiplies in 8 bits.

        OpenVINO recognizes these roundings and multiplies integers. Features get 256 levels, which
        each channel spaces as it needs and the kernel makes up for. Kernels get 255 levels around
        0, spaced for each output.
        """
        if spread is None or not self.int8:
            return x, _constant(kernel)
        least, most = spread.ends
        zero = min(np.ceil(255 * -least.sum() / (most - least).sum()), 254)  # the level of 0
        steps = np.maximum(-least / max(zero, 1), most / (255 - zero)).reshape(1, -1, 1, 1)
        x = ops.fake_quantize(
            x,
            _constant(-zero * steps),
            _constant((255 - zero) * steps),
            _constant(np.full((1, 1, 1, 1), -zero)),
            _constant(np.full((1, 1, 1, 1), 255 - zero)),
            256,
        )
        kernel = kernel * steps.swapaxes(1, 1 - outputs_axis)
        inputs = tuple(axis for axis in range(kernel.ndim) if axis != outputs_axis)
        largest = np.abs(kernel).max(axis=inputs, keepdims=True).clip(1e-12)
        ends = _constant(-largest), _constant(largest)
        return x, ops.fake_quantize(_constant(kernel), *ends, *ends, 255)


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
