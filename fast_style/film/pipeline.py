"""Three stages at once: one thread reads, the caller's stylizes, one writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

WAITING = 3  # items between two stages at most, so that memory does not grow with the film
CHECK_S = 0.1  # how often a stage that waits looks whether the others go on

In = TypeVar("In")
Out = TypeVar("Out")


class _End:
    """The mark of the last item."""


class _Stage(Generic[In]):
    """A short queue between two threads, which either may break off."""

    def __init__(self, stopped: threading.Event) -> None:
        self._queue: Queue[In | _End] = Queue(WAITING)
        self._stopped = stopped

    def put(self, item: In | _End) -> bool:
        """Pass an item on; False where the other side is gone."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=CHECK_S)
                return True
            except Full:
                continue
        return False

    def __iter__(self) -> Iterator[In]:
        while True:
            try:
                item = self._queue.get(timeout=CHECK_S)
            except Empty:
                if self._stopped.is_set():
                    return
                continue
            if isinstance(item, _End):
                return
            yield item


def run_stages(
    read: Iterable[In], work: Callable[[In], Out], write: Callable[[Iterable[Out]], object]
) -> None:
    """Read, work and write at the same time, in order.

    An error in any stage, and Ctrl-C, ends all three and is raised again. The writer gets no
    further items then, and may finish.

    Args:
        read: gives items, on a thread of its own.
        work: makes each into another, on the calling thread.
        write: takes those, on a thread of its own.

    >>> written = []
    >>> run_stages(range(3), lambda number: number * 2, written.extend)
    >>> written
    [0, 2, 4]
    """
    stopped = threading.Event()
    items: _Stage[In] = _Stage(stopped)
    results: _Stage[Out] = _Stage(stopped)
    errors: list[BaseException] = []

    def watched(stage: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                stage()
            except BaseException as error:
                errors.append(error)
                stopped.set()

        return run

    def read_all() -> None:
        for item in read:
            if not items.put(item):
                return
        items.put(_End())

    reader = threading.Thread(target=watched(read_all), name="film reader")
    writer = threading.Thread(target=watched(lambda: write(results)), name="film writer")
    reader.start()
    writer.start()
    try:
        for item in items:
            if not results.put(work(item)):
                break
        results.put(_End())
        writer.join()
    finally:
        stopped.set()
        reader.join()
        writer.join()
    if errors:
        raise errors[0]
