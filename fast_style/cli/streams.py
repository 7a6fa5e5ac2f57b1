"""Standard input and output as files, for code that reads and writes files."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from fast_style.cli.shell_options import STREAM
from fast_style.errors import UserError


@dataclass(frozen=True)
class Places:
    """What to read and where to write, with files in the place of streams.

    Args:
        pictures: files and folders to read.
        out: file or folder to write.
        called: what users call the files that stand for streams.
        to_stdout: whether ``out`` stands for standard output.
    """

    pictures: tuple[Path, ...]
    out: Path
    called: dict[Path, str] = field(default_factory=dict)
    to_stdout: bool = False

    def name(self, path: Path) -> str:
        """Return the path, or ``-`` for a stream."""
        return str(STREAM if path in self.called else path)

    def explain(self, sentence: str) -> str:
        """Replace the names of files that stand for streams in a sentence."""
        for path, name in self.called.items():
            sentence = sentence.replace(str(path), name)
        return sentence


@contextmanager
def without_streams(pictures: Sequence[Path], out: Path, suffix: str | None) -> Iterator[Places]:
    """Read standard input to a file, and write a file to standard output at the end.

    Args:
        pictures: files and folders; at most one may be `STREAM`.
        out: file or folder to write, or `STREAM`.
        suffix: suffix of the format to write; None for the picture's own, or PNG.

    Raises:
        UserError: if the streams do not serve. One that is raised within names streams, not files.
    """
    if STREAM not in (*pictures, out):
        yield Places(tuple(pictures), out)
        return
    with tempfile.TemporaryDirectory(prefix="fast-style-") as folder:
        places = Places(tuple(pictures), out)
        if STREAM in pictures:
            places = _with_stdin(places, Path(folder))
        if out == STREAM:
            places = _with_stdout(places, Path(folder), suffix)
        try:
            yield places
        except UserError as error:
            raise UserError(places.explain(str(error)), error.source) from error
        if places.to_stdout and places.out.exists():
            with places.out.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _with_stdin(places: Places, folder: Path) -> Places:
    from fast_style.film import is_film

    if places.pictures.count(STREAM) > 1:
        raise UserError("standard input can be read once: name - once, and files for the others")
    if sys.stdin.isatty():
        raise UserError("standard input is a terminal: pipe something into it, or name a file")
    arrived = folder / "stdin"
    with arrived.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    suffix = _suffix_of_content(arrived) or (".mp4" if is_film(places.out) else "")
    stdin = arrived.rename(arrived.with_suffix(suffix))
    return replace(
        places,
        pictures=tuple(stdin if path == STREAM else path for path in places.pictures),
        called=places.called | {stdin: "standard input"},
    )


def _with_stdout(places: Places, folder: Path, suffix: str | None) -> Places:
    from fast_style.stylizing.planning import Placing

    if len(places.pictures) != 1 or places.pictures[0].is_dir():
        raise UserError("standard output takes one picture, and there are several: name a folder")
    if sys.stdout.isatty():
        raise UserError("standard output is a terminal: send it to a file or a pipe, or name -o")
    stdout = folder / f"stdout{suffix or Placing().suffix_for(places.pictures[0])}"
    called = places.called | {stdout: "standard output"}
    return replace(places, out=stdout, called=called, to_stdout=True)


def _suffix_of_content(path: Path) -> str:
    """Return the usual suffix of a picture or film, found by its content; "" for other files.

    Whoever opens the file says what is wrong with it.
    """
    from fast_style.film import film_suffix
    from fast_style.images.headers import open_undecoded
    from fast_style.images.kinds import FIRST_BYTES, SUFFIXES_OF_FORMAT, is_film_head

    try:
        with path.open("rb") as file:
            found = open_undecoded(file).format
    except Exception:
        with path.open("rb") as file:
            is_film = is_film_head(file.read(FIRST_BYTES))
        return film_suffix(path) or (".mp4" if is_film else "")
    return SUFFIXES_OF_FORMAT.get(found or "", ("",))[0]
