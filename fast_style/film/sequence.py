"""Numbered pictures, such as ``shot_%04d.png``, as frames of a film."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from PIL import Image

from fast_style.errors import UserError
from fast_style.film.colour import LIMITED, UNSPECIFIED, Colour, matrix_by_size
from fast_style.film.reading import IDENTITY, Film, Frame
from fast_style.images import SAVE_SUFFIXES, SUFFIXES, open_picture, read_mark

log = logging.getLogger(__name__)

NUMBER = re.compile(r"%(?:0?(\d+))?d")  # as in C and FFmpeg
RATE = Fraction(25)  # frames a second of a film that is made from pictures


def is_sequence(path: Path) -> bool:
    """Whether a name stands for numbered pictures.

    >>> is_sequence(Path("shot_%04d.png")), is_sequence(Path("shot_0001.png"))
    (True, False)
    """
    is_pattern = len(NUMBER.findall(path.name)) == 1 and path.suffix.lower() in SUFFIXES
    return is_pattern and not path.exists()


def numbered(pattern: Path, number: int) -> Path:
    """Return the file of a number.

    >>> numbered(Path("a/shot_%04d.png"), 7).name
    'shot_0007.png'
    """
    found = NUMBER.search(pattern.name)
    assert found is not None
    digits = str(number).zfill(int(found[1] or 1))
    return pattern.with_name(pattern.name.replace(found[0], digits))


def files_of(pattern: Path) -> dict[int, Path]:
    """Find the pictures of a sequence, by number and in order.

    Raises:
        UserError: if there is none.
    """
    files = {}
    start, end = NUMBER.split(pattern.name)[0], NUMBER.split(pattern.name)[-1]
    digits = re.compile(f"{re.escape(start)}(\\d+){re.escape(end)}")
    try:
        names = [path.name for path in pattern.parent.iterdir()]
    except OSError as error:
        raise UserError(
            f"{pattern.parent} cannot be listed ({error.strerror}): name another folder"
        ) from error
    for name in names:
        found = digits.fullmatch(name)
        if found and numbered(pattern, int(found[1])).name == name:
            files[int(found[1])] = pattern.with_name(name)
    if not files:
        raise UserError(f"{pattern} names no picture: there is none with a number in that place")
    return dict(sorted(files.items()))


def probe_sequence(pattern: Path) -> Film:
    """Find out what a sequence is; its first picture tells the size.

    Raises:
        UserError: if there is no picture, or the first cannot be read.
    """
    files = list(files_of(pattern).values())
    size = open_picture(files[0]).size
    matrix = matrix_by_size(*size)
    return Film(
        source=pattern,
        size=size,
        turn=IDENTITY,
        pixel_aspect=None,
        colour=Colour(matrix, False, UNSPECIFIED, LIMITED, UNSPECIFIED, UNSPECIFIED),
        time_base=1 / RATE,
        rate=RATE,
        frames=len(files),
        is_sequence=True,
    )


def read_sequence(film: Film, size: tuple[int, int], start: int = 0) -> Iterator[Frame]:
    """Read the pictures in order of number.

    Args:
        film: as `probe_sequence` gives it.
        size: width and height in pixels to scale all of them to.
        start: number of pictures to skip.

    Raises:
        UserError: if a picture cannot be read.
    """
    for number, path in enumerate(files_of(film.source).values()):
        if number >= start:
            picture = open_picture(path)
            if picture.size != size:
                picture = picture.resize(size, Image.Resampling.LANCZOS)
            yield Frame(picture, number, 1)


def fingerprint_of_sequence(pattern: Path) -> str:
    """Hash names, sizes and dates of the pictures, to notice another or a changed sequence."""
    digest = hashlib.sha256()
    for path in files_of(pattern).values():
        status = path.stat()
        digest.update(f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def targets_of(film: Film, pattern: Path) -> Iterator[Path]:
    """Name the files to write, with the numbers of the source sequence, else from 1."""
    if film.is_sequence:
        yield from (numbered(pattern, number) for number in files_of(film.source))
    number = 1
    while True:
        yield numbered(pattern, number)
        number += 1


def done_before(targets: Iterator[Path], mark: str) -> tuple[int, Path | None]:
    """Count the first targets that an earlier run wrote, and return the last of them too."""
    count, last = 0, None
    for path in targets:
        if not path.is_file() or read_mark(path) != mark:
            break
        count, last = count + 1, path
    return count, last


def check_sequence(pattern: Path) -> None:
    """Check that pictures are written in the format of a name.

    Raises:
        UserError: if they are not.
    """
    if pattern.suffix.lower() not in SAVE_SUFFIXES:
        raise UserError(f"{pattern} cannot be written in that format: let it end in .png or .jpg")
