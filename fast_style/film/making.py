"""Making a stylized film, animation or sequence: read, stylize and write at the same time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fast_style.errors import UserError
from fast_style.film.animation import (
    Painted,
    check_memory,
    painted,
    read_animation,
    thinned,
    write_animation,
)
from fast_style.film.encoding import FRAMES_OF_PART, Encoding, PartWriter, plan_encoding
from fast_style.film.joining import check_carried, join
from fast_style.film.parts import Parts, open_parts
from fast_style.film.pipeline import run_stages
from fast_style.film.progress import FilmOptions, FilmProgress, Teller
from fast_style.film.reading import Film, Frame, fingerprint, open_film, read_frames
from fast_style.film.sequence import (
    check_sequence,
    done_before,
    fingerprint_of_sequence,
    read_sequence,
    targets_of,
)
from fast_style.film.smoothing import BLEND, Smoother, with_motion
from fast_style.images import open_picture, save_picture

if TYPE_CHECKING:
    from fast_style.images import PendingPicture
    from fast_style.stylizing.stylizer import Stylizer

log = logging.getLogger(__name__)

CONVERTING_THREADS = 4  # that convert a frame to RGB, where a GPU has the network

MARK = "fast-style "  # how the comment of a stylized film begins


@dataclass(frozen=True)
class Task:
    """A film to make.

    Args:
        film: the source.
        target: the file to write, or a pattern of files.
        size: width and height in pixels of the frames.
        stylizer: begins each picture.
        options: see there.
        progress: told after each frame.
    """

    film: Film
    target: Path
    size: tuple[int, int]
    stylizer: Stylizer
    options: FilmOptions
    progress: Callable[[FilmProgress], object] | None


def make_film(task: Task) -> int:
    """Make a film in parts, and join them."""
    import av

    film, target, options = task.film, task.target, task.options
    encoding = plan_encoding(film, target, options.codec, options.quality, task.size)
    check_carried(encoding, target)
    made_of = _made_of(task, encoding)
    comment = _comment(options.mark, made_of)
    if options.resume and comment_of(target) == comment:
        return film.frames or 0
    parts = open_parts(target, made_of, options.resume)
    try:
        if not parts.whole:
            _make_parts(task, encoding, parts)
        film.missing[:] = parts.missing
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
    except UserError:
        parts.remove_if_empty()
        raise
    except OSError as error:  # PyAV's are such too
        parts.remove_if_empty()
        done = (
            f"; {parts.frames} frames are done, and the same command with --resume goes on from "
            "there"
        )
        raise UserError(
            f"{target} cannot be written ({error.strerror or error}): make room or name another "
            f"place{done if parts.frames else ''}"
        ) from error
    except av.error.FFmpegError as error:
        parts.remove_if_empty()
        raise UserError(
            f"FFmpeg cannot make {target} of {film.source} ({error.strerror}): choose another "
            "--codec, or let the name end in .mkv"
        ) from error
    parts.remove()
    return parts.frames


def _made_of(task: Task, encoding: Encoding) -> dict[str, str]:
    """Collect, by name, all that decides what the film looks like."""
    import av

    film, source = task.film, task.film.source
    libraries = ".".join(map(str, av.library_versions["libavcodec"]))
    return {
        "source": fingerprint_of_sequence(source) if film.is_sequence else fingerprint(source),
        "style or option for painting": task.stylizer.digest,
        "size": f"{encoding.size[0]} x {encoding.size[1]}",
        "codec": f"{encoding.encoder} in {encoding.container}",
        "quality": " ".join(f"{name}={value}" for name, value in encoding.options.items()),
        "smoothing": f"{BLEND:g}" if task.options.smooth else "none",
        "version of FFmpeg": libraries,
    }


def _comment(mark: str, made_of: dict[str, str]) -> str:
    digest = hashlib.sha256("\0".join(made_of.values()).encode()).hexdigest()
    return f"{MARK}{metadata.version('fast-style')} {digest[:32]} {mark}".rstrip()


def comment_of(path: Path) -> str | None:
    """Read the comment of a film that may be there; None if there is none."""
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


def _make_parts(task: Task, encoding: Encoding, parts: Parts) -> None:
    film = task.film
    told = Teller(task.progress, film.frames, parts.frames)
    writer: PartWriter | None = None
    smooth = Smoother(parts.last_frame()) if task.options.smooth else None

    def write(frames: Iterable[tuple[Frame, PendingPicture]]) -> None:
        nonlocal writer
        try:
            for frame, pending in frames:
                if writer is None:
                    writer = PartWriter(parts.next_path(), encoding)
                pixels = np.asarray(pending())
                if smooth is not None:
                    pixels = smooth(pixels, frame.motion)
                writer.write(pixels, frame.time, frame.duration)
                if writer.frames == FRAMES_OF_PART:
                    complete, writer = writer, None
                    complete.close()
                    last = pixels if smooth is not None else None
                    parts.add(complete.path, complete.first, complete.frames, last)
                told.another()
        finally:
            if writer is not None:
                writer.close()  # an unfinished part plays too

    frames = _frames_from(task, parts.frames)
    _stylize_frames(task, frames, write)
    # A short part is complete only if the film ended.
    if writer is not None:
        parts.add(writer.path, writer.first, writer.frames)
    if not parts.frames:
        raise UserError(f"{film.source} holds no frame that can be decoded: copy it again")
    parts.finish(film.missing)


def make_animation(task: Task) -> int:
    """Make an animation, which is kept in memory until its last frame."""
    film, target, options = task.film, task.target, task.options
    check_memory(film, task.size, target)
    done: list[Painted] = []
    told = Teller(task.progress, film.frames)
    smooth = Smoother() if options.smooth else None

    def collect(frames: Iterable[tuple[Frame, PendingPicture]]) -> None:
        for frame, pending in frames:
            picture = pending()
            if smooth is not None:
                picture = Image.fromarray(smooth(np.asarray(picture), frame.motion))
            done.append(painted(frame, picture))
            told.another()

    frames = thinned(_frames(task), film, target)
    if smooth is not None:
        frames = with_motion(frames, iter(()))
    _stylize_frames(task, frames, collect)
    if not done:
        raise UserError(f"{film.source} holds no frame that can be decoded: copy it again")
    write_animation(done, film, target, options.quality, options.mark)
    return len(done)


def make_sequence(task: Task) -> int:
    """Make numbered pictures, each of which is complete once it is there."""
    film, target, options = task.film, task.target, task.options
    check_sequence(target)
    start, last = (
        done_before(targets_of(film, target), options.mark) if options.resume else (0, None)
    )
    told = Teller(task.progress, film.frames, start)
    before = None if last is None else np.asarray(open_picture(last))
    smooth = Smoother(before) if options.smooth else None

    def write(frames: Iterable[tuple[Frame, PendingPicture]]) -> None:
        for (frame, pending), path in zip(
            frames, islice(targets_of(film, target), start, None), strict=False
        ):
            picture = pending()
            if smooth is not None:
                picture = Image.fromarray(smooth(np.asarray(picture), frame.motion))
            save_picture(picture, path, mark=options.mark)
            told.another()

    frames = _frames_from(task, start)
    _stylize_frames(task, frames, write)
    return told.done


def _frames_from(task: Task, start: int) -> Iterator[Frame]:
    """Read frames from a number on, and find their motion if the film is to be smooth."""
    if not task.options.smooth:
        return _frames(task, start)
    frames = _frames(task, max(0, start - 1))
    return with_motion(frames, islice(frames, 1 if start else 0))


def _frames(task: Task, start: int = 0) -> Iterator[Frame]:
    film, size = task.film, task.size
    if film.is_sequence:
        return read_sequence(film, size, start)
    if film.is_animation:
        return read_animation(film, size, start)
    # On a CPU, the network has the cores.
    threads = 1 if task.stylizer.device == "cpu" else CONVERTING_THREADS
    return read_frames(film, size, start, threads)


def _stylize_frames(
    task: Task,
    frames: Iterable[Frame],
    write: Callable[[Iterable[tuple[Frame, PendingPicture]]], None],
) -> None:
    """Read, stylize and write at the same time; errors name the film."""
    stylizer = task.stylizer.for_frames()

    def stylize(frame: Frame) -> tuple[Frame, PendingPicture]:
        return frame, stylizer.begin(frame.picture)

    try:
        run_stages(frames, stylize, write)
    except UserError as error:
        if str(task.film.source) in str(error):
            raise
        raise UserError(f"{task.film.source}: {error}") from error
