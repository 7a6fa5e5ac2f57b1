"""Stylizing files: what comes from where, and goes where."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fast_style.devices import short_of_memory
from fast_style.errors import UserError
from fast_style.images import (
    SAVE_SUFFIXES,
    list_folder,
    nearest_suffix,
    open_picture,
    read_mark,
    refusal_by_suffix,
    resize_picture,
    save_picture,
)

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Fetch

log = logging.getLogger(__name__)

LAST_WRITES_S = 0.5  # how long an interruption waits for pictures that are being written


@dataclass(frozen=True)
class Job:
    """A picture to stylize: the file it is in, the one it goes to, and the mark that says of that
    one what it was made of (`save_picture`)."""

    source: Path
    target: Path
    mark: str


def plan_files(
    sources: Sequence[Path],
    out: Path,
    styles: Sequence[Path],
    report: Callable[[UserError], object],
    settings: str = "",
) -> list[list[Job]]:
    """Find the file that each picture's stylized version goes to, in each style.

    A file keeps its source's name where there is one style. With several, or where another file
    has that name, the style's is added, and a number where that does not suffice either. Only what
    was made of the same source, in the same style and with the same settings is replaced.

    Args:
        sources: pictures, and folders that stand for all pictures in them.
        out: a folder, which keeps the names (and, of folders, the tree) of the sources; or, for a
            single picture in one style, a file, which is replaced.
        styles: their files.
        report: told of each source that cannot be used.
        settings: whatever else makes another picture of the same source.

    Returns:
        The jobs of each style.

    Raises:
        UserError: if ``out`` is a file and there are several pictures to write, or is named like a
            picture in a format that cannot be written.
    """

    def mark(source: Path, style: Path) -> str:
        made_of = [*map(os.path.realpath, (source, style)), settings]
        return hashlib.sha256("\0".join(made_of).encode("utf-8", "surrogateescape")).hexdigest()

    single = len(sources) == 1 and not sources[0].is_dir()
    if out.suffix.lower() in SAVE_SUFFIXES and not out.is_dir():
        if not single:
            raise UserError(f"{out} is a file name, and there are several pictures: name a folder")
        if len(styles) > 1:
            raise UserError(f"{out} is a file name, and there are several styles: name a folder")
        job = Job(sources[0], out, mark(sources[0], styles[0]))
        if _would_be_lost(job, _originals(sources), report):
            return [[]]
        if out.exists() and read_mark(out) != job.mark:
            log.warning("%s was there before and is replaced", out)
        return [[job]]
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder, or a picture to write (.jpg, .png)")
    if not out.exists() and (nearest := nearest_suffix(out)):
        raise UserError(f"{out} cannot be written in that format: let it end in {nearest}")
    pairs = _into_folder(sources, out, report)
    originals = _originals(source for source, _ in pairs)
    taken: set[Path] = set()
    jobs: list[list[Job]] = [[] for _ in styles]
    for name, style, own in zip(_names(styles), styles, jobs, strict=True):
        for source, target in pairs:
            made = mark(source, style)
            for free in _candidates(target, name, len(styles) > 1):
                job = Job(source, free, made)
                if free in taken or (free.exists() and not _may_be_replaced(job, originals)):
                    continue
                if not _would_be_lost(job, originals, report):
                    taken.add(free)
                    own.append(job)
                break
    return jobs


def _names(styles: Sequence[Path]) -> list[str]:
    """What each style adds to names of files: of styles of one name, the later get numbers."""
    names: list[str] = []
    for style in styles:
        names.append(next(name for name in _numbered(style.stem) if name not in names))
    return names


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def _candidates(target: Path, style: str, several: bool) -> Iterator[Path]:
    if not several:
        yield target
    yield from map(target.with_stem, _numbered(f"{target.stem}-{style}"))


def _may_be_replaced(job: Job, originals: set[tuple[int, int]]) -> bool:
    """Whether the target was made by this job before; a picture of this run is no reason to take
    another name, but to ask for another folder."""
    return _identity(job.target) in originals or read_mark(job.target) == job.mark


def _would_be_lost(
    job: Job, originals: set[tuple[int, int]], report: Callable[[UserError], object]
) -> bool:
    if not job.target.exists() or _identity(job.target) not in originals:
        return False
    report(UserError(f"{job.source} stylized would replace the picture {job.target}: change -o"))
    return True


def _originals(sources: Iterable[Path]) -> set[tuple[int, int]]:
    return {_identity(source) for source in sources if source.exists()}


def _into_folder(
    sources: Iterable[Path], out: Path, report: Callable[[UserError], object]
) -> list[tuple[Path, Path]]:
    pairs = []
    for source in sources:
        if not source.is_dir():
            pairs.append((source, out / source.name))
            continue
        try:
            paths, unreadable = list_folder(source)
            paths = _not_from_before(paths, source, out)
        except UserError as error:
            report(error)
            continue
        pairs += [(path, out / path.relative_to(source)) for path in paths]
        for path in unreadable:
            report(UserError(refusal_by_suffix(path)))
    return [
        (path, target if target.suffix.lower() in SAVE_SUFFIXES else target.with_suffix(".png"))
        for path, target in pairs
    ]


def _not_from_before(paths: list[Path], source: Path, out: Path) -> list[Path]:
    """Leave out what an earlier run wrote, where ``out`` is a folder in ``source``."""
    written = out.resolve()
    if source.resolve() not in written.parents:
        return paths
    fresh = [path for path in paths if written not in path.resolve().parents]
    if not fresh:
        raise UserError(f"{source} holds no picture but those in {out}: name a folder of photos")
    return fresh


def _identity(path: Path) -> tuple[int, int]:
    """What is the same for all names of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def stylize_files(
    begin: Callable[[Image.Image], Fetch],
    jobs: Sequence[Job],
    size: int | None,
    at_once: int = 1,
) -> Iterator[UserError | None]:
    """Stylize files one by one, while the next are read and those before are written.

    An interruption waits for what is being written for `LAST_WRITES_S` and leaves it then.

    Args:
        begin: begins a stylized picture, as `Stylizer.begin`.
        jobs: as of `plan_files`.
        size: px on the longer side to scale each photo to (None: as it is).
        at_once: files to read at once, and as many to write.

    Yields:
        For each job, in order: None once it is written, or what is wrong, naming the file.
    """
    readers, writers = ThreadPoolExecutor(at_once), ThreadPoolExecutor(at_once)
    writing: deque[tuple[Job, Future[None]]] = deque()
    try:
        photos = (readers.submit(_open, job.source, size) for job in jobs)
        reading = deque(islice(photos, at_once))
        for job in jobs:
            photo = reading.popleft()
            reading.extend(islice(photos, 1))
            stylized = _begun(begin, job, photo)
            if len(writing) == at_once:
                yield _outcome(*writing.popleft())
            writing.append((job, writers.submit(_save, stylized, job)))
        while writing:
            yield _outcome(*writing.popleft())
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
        wait([future for _, future in writing], LAST_WRITES_S)
        writers.shutdown(wait=False, cancel_futures=True)


def _open(source: Path, size: int | None) -> Image.Image:
    photo = open_picture(source, note=log.warning)
    return photo if size is None else resize_picture(photo, size)


def _begun(
    begin: Callable[[Image.Image], Fetch], job: Job, photo: Future[Image.Image]
) -> Fetch | UserError:
    try:
        opened = photo.result()
    except Exception as error:
        return _told(error, job)
    try:
        return begin(opened)
    except UserError as error:
        return UserError(f"{job.source}: {error}")
    except Exception as error:
        return _told(error, job)


def _save(stylized: Fetch | UserError, job: Job) -> None:
    if isinstance(stylized, UserError):
        raise stylized
    save_picture(stylized(), job.target, mark=job.mark)


def _outcome(job: Job, writing: Future[None]) -> UserError | None:
    try:
        writing.result()
    except Exception as error:
        return _told(error, job)
    return None


def _told(error: Exception, job: Job) -> UserError:
    """The sentence for the user, where it is the user's to know."""
    if isinstance(error, UserError):
        return error
    if short_of_memory(error):
        return UserError(
            f"{job.source} needs more memory than there is: make it smaller with --size, or allow "
            "more"
        )
    raise error
