"""One check: its folders, its time limits and its table."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.processes import read_result, worker_command
from gpu_check.loads import Load

ROOT = Path(__file__).parents[2]
Result = TypeVar("Result")


class PartFailed(Exception):
    """Why a part has no result."""


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    what: str
    goal: str
    measured: str
    verdict: str


@dataclass
class Check:
    """What all parts need, and their results.

    Args:
        out: folder for the table, the log and what is trained.
        photos: folder of photos to train on.
        device: ``cuda`` or ``cpu``.
        work: folder for temporary files.
        load: how much to do.
        deadline: end of the whole check, in seconds of `time.monotonic`.
        rows: the table so far.
        part_ends: end of the present part, in seconds of `time.monotonic`.
    """

    out: Path
    photos: Path
    device: str
    work: Path
    load: Load
    deadline: float
    rows: list[Row] = field(default_factory=list)
    part_ends: float = math.inf

    def add(
        self,
        what: str,
        measured: str,
        goal: str = "",
        met: bool | None = None,
        anywhere: bool = False,
    ) -> None:
        """Add a row to the table.

        Args:
            what: what was measured.
            measured: the figure.
            goal: the goal.
            met: whether the goal is met; None without a goal.
            anywhere: whether the goal also holds on a CPU with tiny settings.
        """
        verdict = "" if met is None else "met" if met else "NOT MET"
        if met is not None and self.device == "cpu" and not anywhere:
            verdict = "not measured"
        self._add(Row(what, goal, measured, verdict))

    def add_failure(self, part: str, reason: str) -> None:
        """Add a row on a part that failed."""
        said = reason.replace("\n", " ").replace("|", "/")
        self._add(Row(f"part '{part}'", "runs", said, "FAILED"))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        self.write()

    def write(self) -> None:
        """Write table.md."""
        head = ["| what | goal | measured | |", "| --- | --- | --- | --- |"]
        lines = [
            f"| {row.what} | {row.goal} | {row.measured} | {row.verdict} |" for row in self.rows
        ]
        (self.out / "table.md").write_text("\n".join([*head, *lines]) + "\n")

    @property
    def passed(self) -> bool:
        """Whether no goal is missed and no part failed."""
        return not any(row.verdict in ("NOT MET", "FAILED") for row in self.rows)

    def call(self, worker: Callable[..., Result], openvino: bool = False, **task: Any) -> Result:
        """Call a worker (see `benchmarks.processes`) in a process of its own.

        Args:
            worker: the function.
            openvino: whether it may use OpenVINO.
            task: its arguments.

        Raises:
            PartFailed: as `run`.
        """
        answer = self.work / "answer"
        self.run(*worker_command(worker, task, answer), openvino=openvino)
        return read_result(worker, answer)

    def run(self, *command: object, openvino: bool = False) -> str:
        """Run Python; its output goes to the log.

        Args:
            command: arguments for Python.
            openvino: whether it may use OpenVINO.

        Returns:
            Its standard output.

        Raises:
            PartFailed: if it fails, or takes longer than its part may.
        """
        left = min(self.part_ends, self.deadline) - time.monotonic()
        if left <= 0:
            raise PartFailed("no time was left")
        with (self.out / "log.txt").open("a+") as log:
            log.write(f"\n$ {' '.join(map(str, command))}\n")
            log.flush()
            before = log.tell()
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=ROOT,
                env=self._environment(openvino),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            try:
                said, _ = process.communicate(timeout=None if left == math.inf else left)
            except subprocess.TimeoutExpired as error:
                raise PartFailed(f"out of time after {left:.0f} s") from error
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            log.seek(before)
            complaints = log.read().split("\n")
            log.write(said)
        if process.returncode:
            words = [line.strip() for line in (*said.split("\n"), *complaints) if line.strip()]
            raise PartFailed(f"exit code {process.returncode}: {words[-1][-300:] if words else ''}")
        return said

    def _environment(self, openvino: bool) -> dict[str, str]:
        paths = [ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        if not openvino:
            paths.insert(0, self._without_openvino())
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "TRITON_CACHE_DIR": str(self.work / "triton"),
        }

    def _without_openvino(self) -> Path:
        """A folder whose `openvino` refuses to be imported."""
        folder = self.work / "without"
        folder.mkdir(exist_ok=True)
        refused = 'raise ImportError("only a CPU may need OpenVINO")\n'
        (folder / "openvino.py").write_text(refused)
        return folder
