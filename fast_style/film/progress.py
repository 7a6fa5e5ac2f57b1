"""What can be asked of a film, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class FilmOptions:
    """How a film is stylized and written.

    Args:
        codec: name of a codec or of one of FFmpeg's encoders; None for H.264, and VP9 in WebM.
        quality: 1 to 100; None for the default.
        size: longer side in pixels to scale frames to; None for the film's own.
        resume: go on with what an earlier run left.
        smooth: let strokes move with the scene instead of painting each frame anew.
        mark: text that `read_film_mark` finds in the film.
    """

    codec: str | None = None
    quality: int | None = None
    size: int | None = None
    resume: bool = False
    smooth: bool = False
    mark: str = ""

    def __str__(self) -> str:
        """What changes the film's pixels, beside quality and size; empty for the defaults."""
        return " ".join([*([self.codec] if self.codec else []), *(["smooth"] * self.smooth)])


@dataclass(frozen=True)
class FilmResult:
    """What was made.

    Args:
        frames: their number in the target.
        missing: what of the source is damaged or not there, and so not in the target; a sentence
            each.
    """

    frames: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is.

    Args:
        done: number of frames that are written, in this and earlier runs.
        total: expected number of frames; None where the film does not say.
        frames_per_second: mean speed of this run.
    """

    done: int
    total: int | None
    frames_per_second: float

    @property
    def seconds_left(self) -> float | None:
        """Time to go; None where the number of frames is not known, or nothing is done yet."""
        if self.total is None or not self.frames_per_second:
            return None
        return max(0, self.total - self.done) / self.frames_per_second


class Teller:
    """Counts frames and reports them.

    Args:
        progress: told after each frame; None to tell nobody.
        total: expected frames.
        before: number of frames of an earlier run.
    """

    def __init__(
        self,
        progress: Callable[[FilmProgress], object] | None,
        total: int | None,
        before: int = 0,
    ) -> None:
        self._progress = progress
        self._total = total
        self._before = self.done = before
        self._started = time.monotonic()

    def another(self) -> None:
        """Tell that another frame is done."""
        self.done += 1
        if self._progress is not None:
            seconds = max(time.monotonic() - self._started, 1e-6)
            rate = (self.done - self._before) / seconds
            self._progress(FilmProgress(self.done, self._total, rate))
