"""Decide which file is written where, before the first one is read."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fast_style.checkpoint import style_name
from fast_style.errors import UserError
from fast_style.files import numbered
from fast_style.film import (
    ANIMATIONS,
    FILM_SUFFIXES,
    FORMATS,
    is_film,
    is_sequence,
    moves,
    read_film_mark,
    read_gif_mark,
    target_suffix,
)
from fast_style.images import (
    HEIF_SUFFIXES,
    SAVE_SUFFIXES,
    list_folder,
    nearest_suffix,
    read_mark,
    refusal_by_suffix,
)
from fast_style.images.kinds import either
from fast_style.images.writing import SAVE_FORMATS
from fast_style.stylizing.colour import Preserve
from fast_style.stylizing.strokes import Stroke

log = logging.getLogger(__name__)

Report = Callable[[UserError], object]
Item = TypeVar("Item")
FileIdentity = tuple[int, int]  # device and inode, the same for all names of a file


@dataclass(frozen=True)
class Job:
    """A picture or film to stylize.

    Args:
        source: file to read.
        target: file to write.
        mark: text that tells what ``target`` was made from, and is written into it.
        style: name of the style, for the metadata.
        moves: whether it is a film or an animation, rather than a picture.
        replaces: whether ``target`` is there and was made from something else.
    """

    source: Path
    target: Path
    mark: str
    style: str = ""
    moves: bool = False
    replaces: bool = False


@dataclass(frozen=True)
class Placing:
    """Which files folders stand for, and what else decides on the names of stylized ones.

    Args:
        recursive: whether a folder stands for the pictures in the folders below, too.
        suffix: suffix of all stylized pictures; None for that of each picture.
        base: folder whose tree is kept for the pictures in it; None to keep names only.
    """

    recursive: bool = True
    suffix: str | None = None
    base: Path | None = None

    def suffix_for(self, source: Path) -> str:
        """Return the suffix of a stylized picture: its own, or that of a format like it."""
        if moves(source):
            animated = self.suffix in ANIMATIONS and not is_film(source)
            return self.suffix if self.suffix and animated else target_suffix(source)
        own = source.suffix.lower()
        if self.suffix or own in SAVE_SUFFIXES:
            return self.suffix or source.suffix
        return ".jpg" if own in HEIF_SUFFIXES else ".png"


def plan_files(
    sources: Sequence[Path],
    out: Path,
    styles: Sequence[Path],
    report: Report,
    settings: str = "",
    placing: Placing = Placing(),
) -> list[list[Job]]:
    """Choose the file that each stylized picture and film goes to, in each style.

    With a single style, a file keeps the name of its source. With several, or if another file has
    that name, the style's name is added, and then a number if necessary. A file is replaced only if
    it was made from the same source, in the same style and with the same settings.

    A file that is named twice is stylized once.

    Args:
        sources: pictures, films, and folders that stand for all of both in them.
        out: a folder, in which the names of pictures and the trees of folders are kept. For a
            single picture or film in one style also a file, which is replaced.
        styles: files of the styles.
        report: told about each source that cannot be used.
        settings: text for everything else that changes what is made from a source.
        placing: see there.

    Returns:
        The jobs of each style.

    Raises:
        UserError: if ``out`` is a file and there are several pictures to write, or if its name has
            the suffix of a format that cannot be written or is not the one of ``placing``.
    """
    sources = _each_once(sources, _spelled_out)
    suffixes = SAVE_SUFFIXES | FORMATS.keys()
    if len(sources) == 1 and moves(sources[0]):
        suffixes |= ANIMATIONS.keys()
    if out.suffix.lower() in suffixes and not out.is_dir():
        _check_format(out, placing)
        return [_plan_single_file(sources, out, styles, report, settings)]
    _check_folder(out)
    if len(sources) == len(styles) == 1 and not sources[0].is_dir():
        _check_not_a_file_name(out, sources[0])
    pairs = _pair_with_targets(sources, out, report, placing)
    targets = _FreeTargets(_identities(source for source, _ in pairs), report)
    plan = []
    for style, name in zip(styles, _distinct_names(styles), strict=True):
        jobs = []
        for source, target in pairs:
            candidates = _candidates(target, name, always_named=len(styles) > 1)
            mark = mark_of(source, style, settings)
            job = targets.first_free(source, candidates, mark, style_name(style))
            if job is not None:
                jobs.append(job)
        plan.append(jobs)
    return plan


def _plan_single_file(
    sources: Sequence[Path], out: Path, styles: Sequence[Path], report: Report, settings: str
) -> list[Job]:
    if len(sources) != 1 or sources[0].is_dir():
        raise UserError(f"{out} is a file name, and there are several pictures: name a folder")
    if len(styles) > 1:
        raise UserError(f"{out} is a file name, and there are several styles: name a folder")
    source = sources[0]
    can_move = is_sequence(out) or out.suffix.lower() in FORMATS.keys() | ANIMATIONS.keys()
    if is_film(source) and not can_move:
        raise UserError(f"{out} is a picture's name, and {source} a film: let it end in .mp4")
    if is_film(out) and not moves(source):
        raise UserError(f"{out} is a film's name, and {source} a picture: let it end in .jpg")
    mark = mark_of(source, styles[0], settings)
    replaces = out.exists() and _read_mark(out) != mark
    style = style_name(styles[0])
    job = Job(source, out, mark, style, can_move and moves(source), replaces)
    if _FreeTargets(_identities(sources), report).refuses(job):
        return []
    return [job]


def is_done(job: Job, made_of: Sequence[Path]) -> bool:
    """Return whether an earlier run did a job, and all that it was made of is older.

    Args:
        job: a job from `plan_files`.
        made_of: files that decide on the result beside the picture: of networks and a mask.
    """
    try:
        changed = max(path.stat().st_mtime_ns for path in (job.source, *made_of))
        return job.target.stat().st_mtime_ns >= changed and _read_mark(job.target) == job.mark
    except OSError:
        return False


def _check_format(out: Path, placing: Placing) -> None:
    if placing.suffix and SAVE_FORMATS[placing.suffix] != SAVE_FORMATS.get(out.suffix.lower()):
        raise UserError(
            f"{out} does not end in {placing.suffix}, the format to write: name one of the two"
        )


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder, or a picture to write (.jpg, .png)")
    if not out.exists() and is_film(out):
        raise UserError(f"{out} cannot be written in that format: let it end in .mp4 or .mkv")
    if not out.exists() and (nearest := nearest_suffix(out)):
        raise UserError(f"{out} cannot be written in that format: let it end in {nearest}")


def _check_not_a_file_name(out: Path, source: Path) -> None:
    """Refuse a name such as x.txt for one file; folders may have numbers, as in out-1.5."""
    if not out.exists() and re.fullmatch(r"\.[a-z][a-z0-9]{1,3}", out.suffix.lower()):
        raise UserError(
            f"{out} ends in {out.suffix}, which is no format to write: let it end in "
            f"{either(FORMATS if is_film(source) else SAVE_SUFFIXES)}, or make that folder first"
        )


def settings_text(
    strength: float = 1.0,
    size: int | None = None,
    preserve_color: Preserve | None = None,
    stroke: Stroke = "auto",
    blend: str = "",
    mask: str = "",
    others: Sequence[str] = (),
) -> str:
    """Name what changes a picture, for `plan_files`; defaults behind the size are left out."""
    widened = "" if stroke == "auto" else f"stroke {stroke}"
    named = (blend, preserve_color, widened, mask, *others)
    return " ".join([f"{strength:g} {size}", *filter(None, named)])


def mark_of(source: Path, style: Path, settings: str) -> str:
    """Return the text that tells what a file was made from, see `Job`.

    Args:
        source: picture or film.
        style: file of the style.
        settings: all else that changes what is made, from `settings_text`.
    """
    made_of = [*map(os.path.realpath, (source, style)), settings]
    return hashlib.sha256("\0".join(made_of).encode("utf-8", "surrogateescape")).hexdigest()


def _pair_with_targets(
    sources: Iterable[Path], out: Path, report: Report, placing: Placing
) -> list[tuple[Path, Path]]:
    """Pair each picture with the file of its own name in ``out``, in a format that is written."""
    pairs = []
    for source in sources:
        if source.is_dir():
            found = _pictures_in(source, out, report, placing.recursive)
            pairs += [(path, out / path.relative_to(source)) for path in found]
        else:
            below = source.relative_to(placing.base) if placing.base else source.name
            pairs.append((source, out / below))
    pairs = _each_once(pairs, lambda pair: _spelled_out(pair[0]))
    return [(path, target.with_suffix(placing.suffix_for(path))) for path, target in pairs]


def _spelled_out(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100, a link stays: it is a picture by another name


def _each_once(items: Iterable[Item], key: Callable[[Item], str]) -> list[Item]:
    """Return the first item of each key."""
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(key(item), item)
    return list(first.values())


def _read_mark(path: Path) -> str | None:
    if is_film(path):
        return read_film_mark(path)
    return read_gif_mark(path) if path.suffix.lower() == ".gif" else read_mark(path)


def _pictures_in(folder: Path, out: Path, report: Report, recursive: bool) -> list[Path]:
    """List a folder without the results of an earlier run, if ``out`` is inside it."""
    try:
        pictures, unreadable = list_folder(folder, FILM_SUFFIXES, recursive)
        if folder.resolve() in out.resolve().parents:
            pictures = outside(out, pictures)
            if not pictures:
                raise UserError(
                    f"{folder} holds no pictures except those in {out}: name a folder of photos"
                )
    except UserError as error:
        report(UserError(str(error), folder))
        return []
    for path in unreadable:
        report(UserError(refusal_by_suffix(path), path))
    return pictures


def outside(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Return the paths that are not in a folder."""
    real = folder.resolve()
    return [path for path in paths if real not in path.resolve().parents]


def _distinct_names(styles: Sequence[Path]) -> list[str]:
    """Return the part of a file name that tells each style from the others."""
    names: list[str] = []
    for style in styles:
        names.append(next(name for name in numbered(style_name(style)) if name not in names))
    return names


def _candidates(target: Path, style: str, always_named: bool) -> Iterator[Path]:
    if not always_named:
        yield target
    yield from map(target.with_stem, numbered(f"{target.stem}-{style}"))


@dataclass
class _FreeTargets:
    """Finds files to write that no other job and no picture of the user's needs.

    Args:
        originals: the pictures that this run reads.
        report: told about a job that would replace one of them.
        taken: targets found so far.
    """

    originals: set[FileIdentity]
    report: Report
    taken: set[Path] = field(default_factory=set)

    def first_free(
        self, source: Path, candidates: Iterator[Path], mark: str, style: str
    ) -> Job | None:
        """Return a job with the first free candidate, or None if it `refuses` that."""
        target = next(path for path in candidates if self._is_free(path, mark))
        job = Job(source, target, mark, style, moves(source))
        if self.refuses(job):
            return None
        self.taken.add(target)
        return job

    def refuses(self, job: Job) -> bool:
        """Report a job that would replace a picture that this run reads."""
        if not self._is_original(job.target):
            return False
        self.report(
            UserError(
                f"{job.source} stylized would replace the picture {job.target}: change -o",
                job.source,
            )
        )
        return True

    def _is_free(self, path: Path, mark: str) -> bool:
        # An original is no reason for another name: the user should choose another folder.
        return path not in self.taken and (
            not path.exists() or self._is_original(path) or _read_mark(path) == mark
        )

    def _is_original(self, path: Path) -> bool:
        return path.exists() and _identity(path) in self.originals


def _identities(paths: Iterable[Path]) -> set[FileIdentity]:
    return {_identity(path) for path in paths if path.exists()}


def _identity(path: Path) -> FileIdentity:
    status = path.stat()
    return status.st_dev, status.st_ino
