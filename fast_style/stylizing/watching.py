"""Watch a folder for pictures that arrive in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from fast_style.errors import UserError
from fast_style.film import FILM_SUFFIXES
from fast_style.images import SAVE_SUFFIXES, scan_folder
from fast_style.stylizing.planning import outside

SETTLED_S = 1.0  # a file that has not changed for so long is complete
POLL_S = 0.25  # between two looks at the folder

Stamp = tuple[int, int, int]  # size in bytes, time of the last change, inode


class Arrived(NamedTuple):
    """Files that were found complete by one look at the folder.

    Args:
        old: pictures that were there, as they are, when watching began.
        new: pictures that came or changed since.
        unreadable: files that people call pictures and that cannot be read.
    """

    old: list[Path]
    new: list[Path]
    unreadable: list[Path]


class Watch:
    """Finds each picture in a folder once it is complete, and again when it has changed.

    A file is complete when its size and time of change have stayed the same for `SETTLED_S`. Empty
    files are waited for.

    Args:
        folder: folder to watch.
        out: folder that results are written to. Pictures in it are left out.
        recursive: whether to watch the folders below, too.

    Raises:
        UserError: if results would arrive as new pictures, or ``out`` is a file.
    """

    def __init__(self, folder: Path, out: Path, recursive: bool = True) -> None:
        if out.suffix.lower() in SAVE_SUFFIXES | FILM_SUFFIXES and not out.is_dir():
            raise UserError(f"{out} is a file name, and many pictures may arrive: name a folder")
        if out.resolve() == folder.resolve():
            raise UserError(
                f"{folder} is watched and cannot take the results, too: name another folder with -o"
            )
        self._folder, self._out, self._recursive = folder, out, recursive
        self._waiting: dict[Path, tuple[Stamp, float]] = {}
        self._found: dict[Path, Stamp] = {}
        self._told: set[Path] = set()
        self._old = self._stamps(scan_folder(folder, FILM_SUFFIXES, recursive).pictures)

    def arrived(self) -> Arrived:
        """Look at the folder.

        Raises:
            UserError: if it cannot be listed any more.
        """
        content = scan_folder(self._folder, FILM_SUFFIXES, self._recursive)
        now, waiting = time.monotonic(), {}
        arrived = Arrived([], [], [path for path in content.unreadable if path not in self._told])
        self._told.update(arrived.unreadable)
        for path, stamp in self._stamps(content.pictures).items():
            if self._found.get(path) == stamp:
                continue
            seen, since = self._waiting.get(path, (None, now))
            since = since if seen == stamp else now
            if now - since < SETTLED_S or not stamp[0]:
                waiting[path] = (stamp, since)
                continue
            self._found[path] = stamp
            (arrived.old if self._old.get(path) == stamp else arrived.new).append(path)
        self._waiting = waiting
        return arrived

    def wait(self) -> Arrived:
        """Look at the folder until something has arrived."""
        while not any(arrived := self.arrived()):
            time.sleep(POLL_S)
        return arrived

    def _stamps(self, paths: list[Path]) -> dict[Path, Stamp]:
        stamps = {}
        for path in outside(self._out, paths):
            try:
                status = path.stat()
            except OSError:  # it has gone since the folder was listed
                continue
            stamps[path] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return stamps
