"""How far the run of a training is, from the file that it writes."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any


class Progress:
    """Follows the ``progress.jsonl`` of a run, see `fast_style.training.live`.

    Args:
        file: the file, which need not be there yet.

    Attributes:
        step: number of steps that were taken.
        done: share of the run, in [0, 1].
        seconds_left: expected seconds to the last step; None where that is unknown.
        losses: ``step``, ``content``, ``style`` and ``total`` of the steps that were measured.
    """

    def __init__(self, file: Path) -> None:
        self.step = 0
        self.done = 0.0
        self.seconds_left: float | None = None
        self.losses: list[dict[str, Any]] = []
        self._file = file
        self._read = 0  # bytes
        self._lock = threading.Lock()

    def read(self) -> Progress:
        """Read what was added."""
        with self._lock:
            try:
                with self._file.open("rb") as file:
                    file.seek(self._read)
                    added = file.read()
            except FileNotFoundError:
                return self
            complete = added[: added.rfind(b"\n") + 1]
            self._read += len(complete)
            for line in map(json.loads, complete.splitlines()):
                self.step, self.done = line["step"], line["done"]
                self.seconds_left = line["seconds_left"]
                if losses := line.get("losses"):
                    shown = {name: losses.get(name) for name in ("content", "style", "total")}
                    self.losses.append({"step": self.step} | shown)
        return self
