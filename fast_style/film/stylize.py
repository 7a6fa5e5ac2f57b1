"""Stylizing a film, from file to file."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fast_style.errors import UserError
from fast_style.film.encoding import FRAMES_OF_PART, Encoding, PartWriter, plan_encoding
from fast_style.film.joining import check_carried, join
from fast_style.film.parts import Parts, open_parts
from fast_style.film.pipeline import run_stages
from fast_style.film.reading import (
    Film,
    Frame,
    fingerprint,
    open_film,
    probe,
    read_frames,
    require_av,
)

if TYPE_CHECKING:
    from fast_style.images import PendingPicture
    from fast_style.stylizing.stylizer import Stylizer

log = logging.getLogger(__name__)

MARK = "fast-style "  # how the comment of a stylized film begins


@dataclass(frozen=True)
class FilmOptions:
    """How a film is stylized and written.

    Args:
        codec: name of a codec or of one of FFmpeg's encoders; None for H.264, and VP9 in WebM.
        quality: 1 to 100; None for the default.
        size: longer side in pixels to scale frames to; None for the film's own.
        resume: go on from what an earlier run left.
        mark: what `read_film_mark` shall find in the film.
    """

    codec: str | None = None
    quality: int | None = None
    size: int | None = None
    resume: bool = False
    mark: str = ""


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is.

    Args:
        done: frames that are written, with those of an earlier run.
        total: expected frames; None where the film does not say.
        frames_per_second: of this run.
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


def stylize_film(
    source: Path,
    target: Path,
    stylizer: Stylizer,
    options: FilmOptions = FilmOptions(),
    progress: Callable[[FilmProgress], object] | None = None,
) -> int:
    """Stylize a film, frame by frame, and write it with the sound and subtitles of its source.

    Timestamps, pixel aspect and colour tags are those of the source; a rotation is applied. While
    it works, what is done is in a folder beside the target, in parts that play. The target appears
    when it is whole.

    Args:
        source: any film that FFmpeg decodes, of standard dynamic range.
        target: its suffix is one of `FORMATS`.
        stylizer: begins each picture.
        options: see there.
        progress: told after each frame that is written, on another thread.

    Returns:
        The number of frames in the target. None are done anew where ``options.resume`` finds the
        target made of the same already.

    Raises:
        UserError: if PyAV is missing, the source cannot be used, the target cannot be written or
            cannot hold what it should, or parts of another film are in its place. Complete parts
            stay.
    """
    require_av()
    film = probe(source)
    if target.is_dir():
        raise UserError(f"{target} is a folder: name a film to write, as {target / 'out.mp4'}")
    if target.exists() and target.samefile(source):
        raise UserError(f"{source} would be replaced by its stylized film: name another target")
    size = _target_size(film, options.size)
    encoding = plan_encoding(film, target, options.codec, options.quality, size)
    check_carried(encoding, target)
    made_of = _made_of(source, stylizer, encoding)
    comment = _comment(options.mark, made_of)
    if options.resume and _comment_of(target) == comment:
        return film.frames or 0
    parts = open_parts(target, made_of, options.resume)
    try:
        if not parts.whole:
            _make_parts(film, encoding, stylizer, parts, progress)
        whole = parts.folder / f"whole{target.suffix}"
        join(parts, encoding, whole, comment)
        whole.replace(target)
    except KeyboardInterrupt:
        if parts.frames:
            log.warning(
                "%d frames of %s are done, in films that play in %s: the same command with "
                "--resume goes on from there",
                parts.frames,
                target.name,
                parts.folder,
            )
        raise
    except OSError as error:  # PyAV's are such too
        raise UserError(
            f"{target} cannot be written ({error.strerror or error}): make room or name another "
            f"place; {parts.frames} frames are done, and the same command with --resume goes on "
            "from there"
        ) from error
    parts.remove()
    return parts.frames


def _target_size(film: Film, longer_side: int | None) -> tuple[int, int]:
    """Scaled sizes are even, as the most common codecs need; a film's own is kept."""
    if longer_side is None:
        return film.size
    scale = longer_side / max(film.size)
    width, height = (max(2, 2 * round(side * scale / 2)) for side in film.size)
    return width, height


def _made_of(source: Path, stylizer: Stylizer, encoding: Encoding) -> dict[str, str]:
    """What another film would result from if it were another, by name."""
    import av

    libraries = ".".join(map(str, av.library_versions["libavcodec"]))
    return {
        "source": fingerprint(source),
        "style": stylizer.digest,
        "strength": f"{stylizer.strength:g}",
        "size": f"{encoding.size[0]} x {encoding.size[1]}",
        "codec": f"{encoding.encoder} in {encoding.container}",
        "quality": " ".join(f"{name}={value}" for name, value in encoding.options.items()),
        "version of FFmpeg": libraries,
    }


def _comment(mark: str, made_of: dict[str, str]) -> str:
    digest = hashlib.sha256("\0".join(made_of.values()).encode()).hexdigest()
    return f"{MARK}{metadata.version('fast-style')} {digest[:32]} {mark}".rstrip()


def _comment_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        with open_film(path) as container:
            return next(
                (text for name, text in container.metadata.items() if name.lower() == "comment"),
                None,
            )
    except UserError:
        return None


def read_film_mark(path: Path) -> str | None:
    """The mark that `stylize_film` gave a film; None where it has none, or PyAV is missing."""
    try:
        require_av()
    except UserError:
        return None
    words = (_comment_of(path) or "").split()
    return words[3] if len(words) == 4 and words[0] == MARK.strip() else None


def _make_parts(
    film: Film,
    encoding: Encoding,
    stylizer: Stylizer,
    parts: Parts,
    progress: Callable[[FilmProgress], object] | None,
) -> None:
    started = time.monotonic()
    before = parts.frames

    def stylize(frame: Frame) -> tuple[Frame, PendingPicture]:
        return frame, stylizer.begin(frame.picture)

    def write(frames: Iterable[tuple[Frame, PendingPicture]]) -> None:
        done = before
        writer: PartWriter | None = None
        try:
            for frame, fetch in frames:
                if writer is None:
                    writer = PartWriter(parts.next_path(), encoding)
                writer.write(np.asarray(fetch()), frame.time, frame.duration)
                done += 1
                if writer.frames == FRAMES_OF_PART:
                    complete, writer = writer, None
                    _close(complete, parts)
                if progress is not None:
                    rate = (done - before) / max(time.monotonic() - started, 1e-6)
                    progress(FilmProgress(done, film.frames, rate))
        finally:
            if writer is not None:
                last.append(writer)
                writer.close()

    last: list[PartWriter] = []
    try:
        run_stages(read_frames(film, encoding.size, before), stylize, write)
    except UserError as error:
        if str(film.source) in str(error):
            raise
        raise UserError(f"{film.source}: {error}") from error
    # Only now is it known that the last part is short because the film ends.
    for writer in last:
        assert writer.first is not None
        parts.add(writer.path, writer.first, writer.frames)
    if not parts.frames:
        raise UserError(f"{film.source} holds no frame that can be decoded: copy it again")
    parts.finish()


def _close(writer: PartWriter, parts: Parts) -> None:
    writer.close()
    assert writer.first is not None
    parts.add(writer.path, writer.first, writer.frames)
