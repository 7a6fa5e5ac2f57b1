"""Frames of a film on a CPU: several at once, by a share of the cores each.

Together they take less time than one after the other by all cores, which wait for one another at
the end of each layer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fast_style.stylizing.openvino import HEAVIEST_TAILS, outputs_of, wait_for

if TYPE_CHECKING:
    import openvino

    from fast_style.stylizing.openvino import Array, CompiledTransformer


class SideBySide:
    """Paints photos of one size side by side.

    Args:
        network: what paints.
        size: height and width of the photos, in px.
        most: how many may be painted at once. OpenVINO chooses the number that is fast.
    """

    def __init__(self, network: CompiledTransformer, size: tuple[int, int], most: int) -> None:
        self._exactly = network.exactly
        self._lock = threading.Lock()

        @cache
        def runs(exactly: bool) -> _Runs:
            hints = {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "PERFORMANCE_HINT_NUM_REQUESTS": most,
                "ENABLE_CPU_PINNING": False,  # reading and writing need the cores as well
            }
            return _Runs(network.compile(size, np.dtype(np.uint8), exactly, hints))

        self._runs = runs

    def start(self, photo: Array) -> Callable[[], Array]:
        """Start to paint a photo. Before, wait until at most one begun photo is not being painted.

        Ctrl-C meanwhile, or an error, cancels all that are begun.

        Args:
            photo: ``(H, W, 3)``, uint8.

        Returns:
            A function that waits for the stylized photo, of the same shape and dtype, and returns
            it, on any thread. It raises RuntimeError if the run failed or was canceled.
        """
        run = self._start(photo, self._exactly)

        def finish() -> Array:
            painted, tails = run.result()
            if not self._exactly and tails > HEAVIEST_TAILS:
                painted, _ = self._start(photo, exactly=True).result()
            return painted

        return finish

    def _start(self, photo: Array, exactly: bool) -> _Run:
        with self._lock:
            return self._runs(exactly).start(photo)


class _Runs:
    """What one compiled model has begun."""

    def __init__(self, model: openvino.CompiledModel) -> None:
        self._model = model
        self._begun: deque[_Run] = deque()
        self._idle: list[openvino.InferRequest] = []

    def start(self, photo: Array) -> _Run:
        try:
            if self._begun and not self._idle:
                self._begun[0].result()
                self._idle.append(self._begun.popleft().request)
            if not self._idle:
                self._idle = self._new_requests()
            request = self._idle.pop()
            request.start_async([photo[np.newaxis]])
        except BaseException:
            for run in self._begun:
                run.request.cancel()
            self._begun.clear()
            self._idle.clear()
            raise
        self._begun.append(_Run(request))
        return self._begun[-1]

    def _new_requests(self) -> list[openvino.InferRequest]:
        at_once = self._model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        # One more is ready when another is done.
        requests = [self._model.create_infer_request() for _ in range(at_once + 1)]
        for request in requests:
            # A request allocates when it is first asked for its tensors. Later it would have to
            # wait for those at work, and all of Python with it.
            _ = request.input_tensors, request.output_tensors
        return requests


class _Run:
    """A photo that is being painted by a request."""

    def __init__(self, request: openvino.InferRequest) -> None:
        self.request = request
        self._lock = threading.Lock()
        self._result: tuple[Array, float] | None = None

    def result(self) -> tuple[Array, float]:
        """Wait for the stylized photo and the kurtosis of its features."""
        with self._lock:
            if self._result is None:
                wait_for(self.request)
                self._result = outputs_of(self.request)
            return self._result
