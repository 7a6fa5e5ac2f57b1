"""What `stylize` tells about each file and in the end: sentences, or lines of JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fast_style.cli.output import note
from fast_style.cli.streams import Places
from fast_style.errors import UserError
from fast_style.shell import readable

if TYPE_CHECKING:
    from fast_style.stylizing.planning import Job

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        job: what was asked for.
        seconds: how long it took.
        error: why its file is not written; None if it is.
        missing: what of its source is damaged or not there, a sentence each.
    """

    job: Job
    seconds: float
    error: UserError | None = None
    missing: tuple[str, ...] = ()


class Report:
    """Tells the outcome of each file.

    Args:
        as_json: print a line of JSON for each file.
        quiet: print no summary.
        places: names of streams.

    Attributes:
        failed: whether anything could not be used, or not all of it.
    """

    def __init__(self, as_json: bool, quiet: bool, places: Places) -> None:
        self.failed = False
        self._json = as_json
        self._quiet = quiet or as_json or places.to_stdout
        self._places = places
        self._told: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._done: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._started = time.monotonic()

    def refuse(self, error: UserError) -> None:
        """Tell why something that was named gives no file."""
        self._complain(error)
        self._print(error.source, None, error=error)

    def outcome(self, outcome: Outcome) -> None:
        """Tell that a file is written, or why not, and how long that took."""
        job, error = outcome.job, outcome.error
        for complaint in filter(None, (error, *map(UserError, outcome.missing))):
            self._complain(complaint)
        if error is None:
            self._done[_kind(job)] += 1
            if job.replaces:
                log.warning("%s was there before and was replaced", job.target)
        if error is None and outcome.missing:
            what = UserError("; ".join(outcome.missing))
            self._print(job.source, job.target, outcome.seconds, what)
        else:
            self._print(job.source, None if error else job.target, outcome.seconds, error)

    def left(self, jobs: Sequence[Job], made_of: Sequence[Path]) -> list[Job]:
        """Return the jobs that no earlier run has done, and tell about the others.

        Args:
            jobs: jobs of one style.
            made_of: files of the networks that make the style, and of the mask.
        """
        from fast_style.stylizing.planning import is_done

        left = []
        for job in jobs:
            if is_done(job, made_of):
                self._skipped[_kind(job)] += 1
                self._print(job.source, job.target, skipped=True)
            else:
                left.append(job)
        return left

    def summary(self, place: Path) -> None:
        """Print how many files were written since the last summary, and where they are."""
        done, skipped = self._done, self._skipped
        seconds = time.monotonic() - self._started
        self._begin()
        if self._quiet or not (done or skipped):
            return
        before = f"{_counted(skipped)} already done" if skipped else ""
        now = f"{_counted(done)} in {seconds:.1f} s" if done else "nothing to do"
        click.echo(f"{', '.join(filter(None, (now, before)))}: {readable(str(place))}")

    def _complain(self, error: UserError) -> None:
        """Print a sentence once, however many styles the picture was meant for."""
        self.failed = True
        if str(error) not in self._told:
            note(self._places.explain(str(error)))
        self._told.add(str(error))

    def _print(
        self,
        source: Path | None,
        target: Path | None,
        seconds: float = 0,
        error: UserError | None = None,
        skipped: bool = False,
    ) -> None:
        if not self._json:
            return
        from tqdm import tqdm

        line = {
            "source": None if source is None else self._places.name(source),
            "output": None if target is None else str(target),
            "seconds": round(seconds, 3),
            "size": None if target is None else _size(target),
            "skipped": skipped,
            "error": None if error is None else self._places.explain(str(error)),
        }
        tqdm.write(json.dumps(line), file=sys.stdout)
        sys.stdout.flush()


def _size(target: Path) -> tuple[int, int] | None:
    from fast_style.film import frame_size, is_film, is_sequence
    from fast_style.images import picture_size

    measure = frame_size if is_film(target) or is_sequence(target) else picture_size
    return measure(target)


def _kind(job: Job) -> str:
    return "film" if job.moves else "picture"


def _counted(counts: Counter[str]) -> str:
    kinds = [kind for kind in ("picture", "film") if counts[kind]]
    return " and ".join(f"{counts[kind]} {kind}{'s' * (counts[kind] > 1)}" for kind in kinds)
