"""Functions of tensors as CUDA graphs: recorded once, then replayed with a single launch.

A graph repeats the recorded kernels on the same memory. So inputs are copied into static buffers,
outputs are static too, and everything else that the function reads must stay in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor

Result = TypeVar("Result")  # a tensor, or a mapping or sequence of tensors
Body = Callable[..., Result]

_RECORDING = threading.Lock()  # a process records one graph at a time


class Recorder(Protocol):
    """Records and replays functions for `Graphed`. `CudaRecorder` does it on CUDA."""

    device: torch.device

    def aside(self, call: Callable[[], Result]) -> Result:
        """Run a function after the work that the caller has queued, and before its next."""

    def record(self, body: Callable[[], Result]) -> Callable[[], Result]:
        """Record a function without running it.

        Returns:
            A function that runs the recording. It gives the same tensors each time, with new
            values.
        """


class CudaRecorder:
    """Records CUDA graphs on its own stream and into one pool of memory.

    All graphs of a recorder run on that stream, one after another. So they can share the memory of
    their intermediate results, and may be replayed in any order.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self.device = self._stream.device
        self._pool: Any = None
        self._alive: WeakSet[torch.cuda.CUDAGraph] = WeakSet()

    def aside(self, call: Callable[[], Result]) -> Result:
        caller = torch.cuda.current_stream(self.device)
        if caller == self._stream:
            return call()
        self._stream.wait_stream(caller)
        try:
            with torch.cuda.stream(self._stream):
                result = call()
        finally:
            caller.wait_stream(self._stream)
        for tensor in _tensors(result):
            tensor.record_stream(caller)
        return result

    def record(self, body: Callable[[], Result]) -> Callable[[], Result]:
        if not self._alive:  # PyTorch refuses a pool that no graph holds any more
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as the one that pins memory, may call CUDA meanwhile.
        with (
            _RECORDING,
            torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ),
        ):
            outputs = body()
        self._alive.add(graph)

        def replay() -> Result:
            graph.replay()
            return outputs

        return replay


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif result is not None:
        for part in result.values() if isinstance(result, Mapping) else result:
            yield from _tensors(part)


class Graphed(Generic[Result]):
    """A function of tensors that runs normally a few times and is replayed from then on.

    Every call runs the function exactly once, so it may have effects, such as an optimiser's step.

    Args:
        body: takes tensors of the shapes and dtypes of the first call. It must not wait for the
            device, and may branch only on the shapes of its inputs. Other tensors that it reads,
            such as weights, may be changed in place only.
        recorder: records the function. Several functions can share one.
        warmups: calls that run normally first. CUDA loads kernels, and cuDNN chooses them, when
            they first run, which cannot be recorded.

    Attributes:
        inputs: the static buffers that the function reads, on the recorder's device. They are empty
            before the first call.
    """

    def __init__(self, body: Body[Result], recorder: Recorder, warmups: int = 3) -> None:
        self.body = body
        self.warmups = warmups
        self.inputs: tuple[Tensor, ...] = ()
        self._recorder = recorder
        self._runs = 0
        self._replay: Callable[[], Result] | None = None

    def __call__(self, *inputs: Tensor) -> Result:
        """Run the function.

        Args:
            inputs: tensors on any device. Those in pinned memory are copied without waiting.

        Returns:
            The function's result. The next call may overwrite it: copy what you keep.

        Raises:
            ValueError: if an input has another shape or dtype than in the first call.
        """
        return self._recorder.aside(partial(self._run, inputs))

    def _run(self, given: tuple[Tensor, ...]) -> Result:
        if not self.inputs:
            self.inputs = tuple(torch.empty_like(x, device=self._recorder.device) for x in given)
        for buffer, x in zip(self.inputs, given, strict=True):
            if (x.shape, x.dtype) != (buffer.shape, buffer.dtype):
                raise ValueError(
                    f"expected {buffer.dtype} {tuple(buffer.shape)}, got {x.dtype} {tuple(x.shape)}"
                )
            buffer.copy_(x, non_blocking=True)
        if self._replay is None:
            run = partial(self.body, *self.inputs)
            if self._runs < self.warmups:
                result = run()
                self._runs += 1
                return result
            self._replay = self._recorder.record(run)
        return self._replay()


class GraphCache:
    """Functions from tensors to a tensor, replayed when the same shapes come a second time.

    It keeps a graph for each function and each of the last few shapes, and is safe to share among
    threads.

    Args:
        recorder: records the functions.
        max_graphs: number of graphs to keep, at least 1. The least recently used one goes first.
    """

    def __init__(self, recorder: Recorder, max_graphs: int = 4) -> None:
        self.max_graphs = max_graphs
        self._recorder = recorder
        self._kept: dict[Hashable, Graphed[Tensor]] = {}
        self._lock = threading.Lock()

    def __call__(self, body: Body[Tensor], *inputs: Tensor) -> Tensor:
        """``body(*inputs)``, under the conditions of `Graphed`. The caller may keep and change the
        result."""
        key = (body, *((x.shape, x.dtype) for x in inputs))
        with self._lock:
            graphed = self._kept.pop(key, None) or Graphed(body, self._recorder, warmups=1)
            while len(self._kept) >= self.max_graphs:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = graphed
            return self._recorder.aside(lambda: graphed(*inputs).clone())

    def clear(self) -> None:
        """Free all graphs and their memory."""
        with self._lock:
            self._kept.clear()
