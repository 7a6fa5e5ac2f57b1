"""Stylizing files: what comes from where, and goes where."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fast_style.errors import UserError
from fast_style.images import (
    SAVE_SUFFIXES,
    SUFFIXES,
    find_pictures,
    open_picture,
    resize_picture,
    save_picture,
)

if TYPE_CHECKING:
    from fast_style.stylizer import Fetch


def plan_files(
    sources: Sequence[Path], out: Path, report: Callable[[UserError], None]
) -> list[tuple[Path, Path]]:
    """Pair each picture with the file that its stylized version goes to.

    Args:
        sources: pictures, and folders that stand for all pictures in them.
        out: a folder, which keeps the names (and, of folders, the tree) of the sources; or, for a
            single picture, a file.
        report: told of each source that cannot be used.

    Raises:
        UserError: if ``out`` is a file and there are several sources, or is named like a picture in
            a format that cannot be written.
    """
    single = len(sources) == 1 and not sources[0].is_dir()
    if out.suffix.lower() in SAVE_SUFFIXES and not out.is_dir():
        if not single:
            raise UserError(f"{out} is a file name, and there are several pictures: name a folder")
        pairs = [(sources[0], out)]
    else:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: name a folder, or a picture to write (.jpg, .png)")
        if out.suffix.lower() in SUFFIXES and not out.exists():
            raise UserError(f"{out} cannot be written in that format: let it end in .jpg or .png")
        pairs = _into_folder(sources, out, report)
    return _without_harm(pairs, report)


def _into_folder(
    sources: Iterable[Path], out: Path, report: Callable[[UserError], None]
) -> list[tuple[Path, Path]]:
    pairs = []
    for source in sources:
        if not source.is_dir():
            pairs.append((source, out / source.name))
            continue
        try:
            paths = _not_from_before(find_pictures(source), source, out)
            pairs += [(path, out / path.relative_to(source)) for path in paths]
        except UserError as error:
            report(error)
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


def _without_harm(
    pairs: list[tuple[Path, Path]], report: Callable[[UserError], None]
) -> list[tuple[Path, Path]]:
    """Number names that would meet, and leave out what would replace one of the pictures."""
    originals = {_identity(source) for source, _ in pairs if source.exists()}
    planned: dict[Path, Path] = {}
    for source, target in pairs:
        free, number = target, 2
        while free in planned:
            free = target.with_stem(f"{target.stem}-{number}")
            number += 1
        if free.exists() and _identity(free) in originals:
            report(UserError(f"{source} stylized would replace the picture {free}: change -o"))
            continue
        planned[free] = source
    return [(source, target) for target, source in planned.items()]


def _identity(path: Path) -> tuple[int, int]:
    """What is the same for all names of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def stylize_files(
    begin: Callable[[Image.Image], Fetch],
    pairs: Sequence[tuple[Path, Path]],
    size: int | None,
    at_once: int = 1,
) -> Iterator[UserError | None]:
    """Stylize files one by one, while the next are read and those before are written.

    Args:
        begin: begins a stylized picture, as `Stylizer.begin`.
        pairs: sources and targets.
        size: px on the longer side to scale each photo to (None: as it is).
        at_once: files to read at once, and as many to write.

    Yields:
        For each pair, in order: None once it is written, or what is wrong, naming the file.
    """
    with ThreadPoolExecutor(at_once) as readers, ThreadPoolExecutor(at_once) as writers:
        photos = (readers.submit(_open, source, size) for source, _ in pairs)
        reading = deque(islice(photos, at_once))
        writing: deque[Future[None]] = deque()
        for source, target in pairs:
            photo = reading.popleft()
            reading.extend(islice(photos, 1))
            stylized = _begun(begin, source, photo)
            if len(writing) == at_once:
                yield _outcome(writing.popleft())
            writing.append(writers.submit(_save, stylized, target))
        yield from map(_outcome, writing)


def _open(source: Path, size: int | None) -> Image.Image:
    photo = open_picture(source)
    return photo if size is None else resize_picture(photo, size)


def _begun(
    begin: Callable[[Image.Image], Fetch], source: Path, photo: Future[Image.Image]
) -> Fetch | UserError:
    try:
        opened = photo.result()
    except UserError as error:
        return error
    try:
        return begin(opened)
    except UserError as error:
        return UserError(f"{source}: {error}")


def _save(stylized: Fetch | UserError, target: Path) -> None:
    if isinstance(stylized, UserError):
        raise stylized
    save_picture(stylized(), target)


def _outcome(writing: Future[None]) -> UserError | None:
    try:
        writing.result()
    except UserError as error:
        return error
    return None
