"""Find the pictures in a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from fast_style.errors import UserError
from fast_style.images.kinds import (
    SUFFIXES,
    UNREADABLE_KIND_OF_SUFFIX,
    address_refusal,
    either,
    refusal_by_suffix,
)

log = logging.getLogger(__name__)

MAX_NAMED = 10  # files in one sentence


class FolderContent(NamedTuple):
    """What a folder and those below hold; all paths begin with the folder and are sorted.

    Args:
        pictures: files that count as pictures by their suffix (`SUFFIXES`).
        unreadable: files that people call pictures and that cannot be read; `refusal_by_suffix`
            says why.
    """

    pictures: list[Path]
    unreadable: list[Path]


def find_pictures(folder: Path) -> list[Path]:
    """Find all pictures in a folder and those below by suffix (`SUFFIXES`), without opening them.

    Hidden files and folders are skipped. Links to folders are followed, each folder once. A warning
    counts and names the files that people call pictures and that cannot be read.

    Returns:
        Paths that begin with ``folder``, sorted.

    Raises:
        UserError: if ``folder`` is missing, is not a folder, holds no picture, or cannot be listed.
    """
    content = list_folder(folder)
    if content.unreadable:
        log.warning(
            "%d of the files in %s cannot be read and are left out: %s",
            len(content.unreadable),
            folder,
            _named(content.unreadable, folder),
        )
    return content.pictures


def list_folder(
    folder: Path, also: frozenset[str] = frozenset(), recursive: bool = True
) -> FolderContent:
    """Do the same as `find_pictures`, and return the unreadable files instead of warning.

    Args:
        folder: the folder.
        also: further lower-case suffixes of files that count as pictures.
        recursive: whether to look into the folders below.

    Raises:
        UserError: as `find_pictures` does.
    """
    content = scan_folder(folder, also, recursive)
    if content.pictures:
        return content
    if content.unreadable:
        first, *others = content.unreadable
        more = f" There are also {_named(others, folder)}." if others else ""
        raise UserError(
            f"{folder} holds no picture that can be read: {refusal_by_suffix(first)}{more}"
        )
    nothing = "neither it nor the folders below have a" if recursive else "it has no"
    raise UserError(f"{folder} holds no picture: {nothing} file that ends in {either(SUFFIXES)}.")


def scan_folder(
    folder: Path, also: frozenset[str] = frozenset(), recursive: bool = True
) -> FolderContent:
    """Do the same as `list_folder` for a folder that may hold no picture.

    Raises:
        UserError: if ``folder`` is missing, is not a folder, or cannot be listed.
    """
    content = FolderContent([], [])
    for name in sorted(_walk(folder, SUFFIXES | also, recursive)):
        readable = _suffix(name) in SUFFIXES | also
        (content.pictures if readable else content.unreadable).append(Path(name))
    return content


def _walk(folder: Path, suffixes: frozenset[str], recursive: bool) -> Iterator[str]:
    """Yield the names of all files with one of these suffixes or that people call pictures."""

    # Strings, not paths: making a hundred thousand paths takes longer than listing them.
    def refuse(error: OSError) -> NoReturn:
        raise UserError(_listing_refusal(folder, error)) from error

    seen = set()  # links can lead back to a folder above
    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below = sorted(name for name in folders if not name.startswith("."))
        folders[:] = below if recursive else []
        for name in files:
            suffix = _suffix(name)
            known = suffix in suffixes or suffix in UNREADABLE_KIND_OF_SUFFIX
            if known and not name.startswith("."):
                yield f"{root}{os.sep}{name}"


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower()


def _listing_refusal(folder: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return address_refusal(folder) or f"{folder} does not exist: name a folder of pictures."
    if isinstance(error, NotADirectoryError):
        return f"{folder} is not a folder: name the folder that holds the pictures."
    return (
        f"{error.filename} cannot be listed ({error.strerror}): give yourself permission to read "
        "it, or name another folder of pictures."
    )


def _named(paths: Sequence[Path], folder: Path) -> str:
    names = [str(path.relative_to(folder)) for path in paths[:MAX_NAMED]]
    if len(paths) > MAX_NAMED:
        names.append(f"{len(paths) - MAX_NAMED} more")
    return ", ".join(names)
