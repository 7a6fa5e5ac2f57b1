"""Write files that are complete or, after a failure, as they were before; number their names."""

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fast_style.errors import UserError

_unfinished: set[Path] = set()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside ``path`` and rename it to ``path`` once it is written.

    Missing folders are made. After an exception the new file is removed and ``path`` is as it was.

    Yields:
        A file to write to, to seek in and to read from.

    Raises:
        OSError: if the file cannot be written.
    """
    # Opened by name, unlike tempfile's files, it has the permissions of the umask.
    beside = path.with_name(f".{secrets.token_hex(8)}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    _unfinished.add(beside)
    try:
        with beside.open("x+b") as file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
        _unfinished.discard(beside)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file with `replacing`.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): choose another place, or make room"
        ) from error


def numbered(name: str) -> Iterator[str]:
    """Names to choose from if the first ones are taken.

    >>> names = numbered("photo")
    >>> next(names), next(names), next(names)
    ('photo', 'photo-2', 'photo-3')
    """
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


def remove_unfinished() -> None:
    """Remove the unfinished files of all threads, for a program that exits without waiting."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink()
