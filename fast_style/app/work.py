"""The queue of pictures to paint: small ones first, and visitors in turn."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    """What is painted. Lower ones come first."""

    PREVIEW = 0
    THUMBNAIL = 1
    PAINTING = 2
    TRAINING = 3


SMALL = frozenset({Kind.PREVIEW, Kind.THUMBNAIL})


@dataclass(eq=False)
class Task:
    """A piece of work that waits, is at work or is done.

    Args:
        kind: what it paints.
        visitor: who asked for it.
        work: does it.
        order: tasks with lower ones come first.
        future: its result. Cancelled, the task is left out when its turn comes.
    """

    kind: Kind
    visitor: str
    work: Callable[[], Any]
    order: tuple[int, int, int]
    future: Future[Any] = field(default_factory=Future)

    @property
    def turn(self) -> int:
        """The round in which it is this task's turn."""
        return self.order[1]


class WorkQueue:
    """Does tasks in threads of its own: previews, then thumbnails, then paintings.

    Within a kind visitors take turns: the second task of one comes behind the first of another,
    whoever was there before. A picture occupies all cores, so each thread does one after the other.

    Args:
        lanes: for each thread, the kinds that it takes.
    """

    def __init__(self, lanes: Sequence[Collection[Kind]] = (SMALL, (Kind.PAINTING,))) -> None:
        self._numbers = itertools.count()
        self._waiting: list[Task] = []
        self._at_work: dict[int, Task] = {}  # by lane
        self._rounds = dict.fromkeys(Kind, 0)  # the turn of the latest task that began
        self._changed = threading.Condition()
        self._stopped = False
        self._lanes = lanes
        # Daemons: a large picture must not keep the program from ending.
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"painting-{lane}", daemon=True)
            for lane in range(len(lanes))
        ]
        for thread in self._threads:
            thread.start()

    def add(self, kind: Kind, visitor: str, work: Callable[[], Any]) -> Task:
        """Queue a task."""
        with self._changed:
            turns = [t.turn for t in self._tasks() if t.kind == kind and t.visitor == visitor]
            turn = max([self._rounds[kind], *(turn + 1 for turn in turns)])
            task = Task(kind, visitor, work, (kind, turn, next(self._numbers)))
            self._waiting.append(task)
            self._changed.notify_all()
        return task

    def ahead(self, task: Task) -> int:
        """Return how many tasks of the same kind are done before this one begins."""
        with self._changed:
            if task not in self._waiting:
                return 0
            return sum(
                other.kind == task.kind and other.order < task.order and not other.future.done()
                for other in self._tasks()
            )

    def waiting(self, kinds: Collection[Kind], visitor: str | None = None) -> int:
        """Return how many tasks wait, of a visitor or of all."""
        with self._changed:
            return sum(
                task.kind in kinds and visitor in (None, task.visitor) and not task.future.done()
                for task in self._waiting
            )

    def stop(self, seconds: float) -> bool:
        """Drop what waits; return whether what is at work ended within these seconds."""
        with self._changed:
            self._stopped = True
            for task in self._waiting:
                task.future.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(seconds / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def _tasks(self) -> list[Task]:
        return [*self._at_work.values(), *self._waiting]

    def _work(self, lane: int) -> None:
        while (task := self._next(lane)) is not None:
            if task.future.set_running_or_notify_cancel():
                try:
                    task.future.set_result(task.work())
                except BaseException as error:
                    task.future.set_exception(error)
            with self._changed:
                del self._at_work[lane]
            del task  # its result may be large

    def _next(self, lane: int) -> Task | None:
        """Wait for a task; None once the queue is stopped."""
        with self._changed:
            while not self._stopped:
                own = [task for task in self._waiting if task.kind in self._lanes[lane]]
                if own:
                    task = min(own, key=lambda each: each.order)
                    self._waiting.remove(task)
                    self._rounds[task.kind] = max(self._rounds[task.kind], task.turn)
                    self._at_work[lane] = task
                    return task
                self._changed.wait()
        return None
