"""Read, stylize and write files side by side."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import ParamSpec, TypeVar

from fast_style.devices import short_of_memory
from fast_style.errors import UserError
from fast_style.images import (
    Beside,
    Saving,
    WholePhoto,
    holds_16_bits,
    holds_alpha,
    open_photo,
    save_picture,
)
from fast_style.stylizing.engines import Pending
from fast_style.stylizing.planning import Job

log = logging.getLogger(__name__)

LAST_WRITES_S = 0.5  # how long an interruption waits for pictures that are being written

Given = ParamSpec("Given")
Result = TypeVar("Result")


def stylize_files(
    begin: Callable[..., Pending],
    jobs: Sequence[Job],
    size: int | None,
    at_once: int = 1,
    saving: Saving = Saving(),  # noqa: B008, it cannot be changed
    seconds: dict[Job, float] | None = None,
) -> Iterator[UserError | None]:
    """Stylize files one by one, while the next are read and earlier ones are written.

    An interruption waits up to `LAST_WRITES_S` for what is being written.

    Args:
        begin: starts to stylize a picture of mode "RGB" or of floats, as `Stylizer.begin` does.
        jobs: jobs from `plan_files`.
        size: longer side in pixels to which each photo is scaled first; None to leave it.
        at_once: number of files to read, and to write, at once.
        saving: how to write.
        seconds: filled with how long each job was worked on: reading, stylizing and writing.

    Yields:
        For each job, in order: None once it is written, or the error, which names the file.
    """
    readers, writers = ThreadPoolExecutor(at_once), ThreadPoolExecutor(at_once)
    writing: deque[tuple[Job, Future[None]]] = deque()
    timed = partial(_timed, {} if seconds is None else seconds)
    try:
        photos = (readers.submit(timed(job, _read), job, size, saving.depth) for job in jobs)
        reading = deque(islice(photos, at_once))
        for job in jobs:
            photo = reading.popleft()
            reading.extend(islice(photos, 1))
            wait([photo])
            stylized = timed(job, _begin)(begin, job, photo, saving)
            if len(writing) == at_once:
                yield _outcome(*writing.popleft())
            writing.append((job, writers.submit(timed(job, _write), stylized, job, saving)))
        while writing:
            yield _outcome(*writing.popleft())
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
        wait([future for _, future in writing], LAST_WRITES_S)
        writers.shutdown(wait=False, cancel_futures=True)


def _timed(
    seconds: dict[Job, float], job: Job, work: Callable[Given, Result]
) -> Callable[Given, Result]:
    """Add the time that a piece of work takes to that of its job."""

    def timed(*given: Given.args, **named: Given.kwargs) -> Result:
        started = time.monotonic()
        try:
            return work(*given, **named)
        finally:
            seconds[job] = seconds.get(job, 0.0) + time.monotonic() - started

    return timed


@dataclass(frozen=True)
class _Begun:
    """A picture that is being stylized, and what its file will hold beside its colours."""

    painted: Pending
    beside: Beside


def _read(job: Job, size: int | None, depth: int | None) -> WholePhoto:
    deep = holds_16_bits(job.target)
    if depth == 16 and not deep:
        raise UserError(
            f"{job.target} cannot have 16 bits a channel, only PNG and TIFF can: write a PNG, by "
            "--format png, or by -o with a name that ends in .png"
        )
    photo = open_photo(job.source, note=log.warning, deep=deep and depth != 8)
    if depth == 16:
        photo = photo.in_floats()
    if not holds_alpha(job.target):
        photo = photo.on_white()
    return (photo if size is None else photo.resized(size)).filled()


def _begin(
    begin: Callable[..., Pending],
    job: Job,
    photo: Future[WholePhoto],
    saving: Saving,
) -> _Begun | UserError:
    try:
        opened = photo.result()
    except Exception as error:
        return _as_user_error(error, job)
    try:
        return _Begun(begin(opened.colours), saving.beside(opened))
    except UserError as error:
        return UserError(f"{job.source}: {error}")
    except Exception as error:
        return _as_user_error(error, job)


def _write(begun: _Begun | UserError, job: Job, saving: Saving) -> None:
    if isinstance(begun, UserError):
        raise begun
    save_picture(
        begun.painted(), job.target, saving.quality, job.mark, begun.beside, _software(job.style)
    )


@cache
def _software(style: str) -> str:
    """Return the name of the program for metadata, with its version and the style."""
    from importlib.metadata import version

    program = f"fast-style {version('fast-style')}"
    return f"{program}, style {style}" if style else program


def _outcome(job: Job, writing: Future[None]) -> UserError | None:
    try:
        writing.result()
    except Exception as error:
        return _as_user_error(error, job)
    return None


def _as_user_error(error: Exception, job: Job) -> UserError:
    """Return the sentence for the user; raise an error that is none of the user's business."""
    if isinstance(error, UserError):
        return error
    if short_of_memory(error):
        return UserError(
            f"{job.source} needs more memory than there is: make it smaller with --size, or allow "
            "more"
        )
    raise error
