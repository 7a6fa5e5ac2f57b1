"""Stylizing a film, from file to file."""

from __future__ import annotations

import hashlib
import logging
import time
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
    is_animation,
    painted,
    probe_animation,
    read_animation,
    thinned,
    write_animation,
)
from fast_style.film.encoding import FRAMES_OF_PART, Encoding, PartWriter, plan_encoding
from fast_style.film.formats import ANIMATIONS, is_film
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
from fast_style.film.smoothing import BLEND, Smoother, require_cv2, with_motion

if TYPE_CHECKING:
    from fast_style.images import PendingPicture
    from fast_style.stylizing.stylizer import Stylizer

log = logging.getLogger(__name__)

CONVERTING_THREADS = 4  # that convert a frame to RGB, where a GPU has the network

MARK = "fast-style "  # how the comment of a stylized film begins


@dataclass(frozen=True)
class FilmOptions:
    """How a film is stylized and written.

    Args:
        codec: name of a codec or of one of FFmpeg's encoders; None for H.264, and VP9 in WebM.
        quality: 1 to 100; None for the default.
        size: longer side in pixels to scale frames to; None for the film's own.
        resume: go on from what an earlier run left.
        smooth: let strokes move with the scene instead of painting each frame anew.
        mark: what `read_film_mark` shall find in the film.
    """

    codec: str | None = None
    quality: int | None = None
    size: int | None = None
    resume: bool = False
    smooth: bool = False
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
    """Stylize a film or an animation, frame by frame.

    A film has the sound and subtitles of its source; timestamps, pixel aspect and colour tags are
    the source's too, and a rotation is applied. While it is made, what is done is in a folder
    beside the target, in parts that play. The target appears when it is whole.

    Args:
        source: any film that FFmpeg decodes, of standard dynamic range, or an animation.
        target: its suffix is one of `FORMATS` or `ANIMATIONS`. An animation needs memory for all of
            its frames.
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
    from_animation = is_animation(source)
    if not from_animation or is_film(target):
        require_av()
    if options.smooth:
        require_cv2()
    film = probe_animation(source) if from_animation else probe(source)
    if target.is_dir():
        raise UserError(f"{target} is a folder: name a film to write, as {target / 'out.mp4'}")
    if target.exists() and target.samefile(source):
        raise UserError(f"{source} would be replaced by its stylized film: name another target")
    size = _target_size(film, options.size)
    if target.suffix.lower() in ANIMATIONS:
        return _make_animation(film, target, size, stylizer, options, progress)
    return _make_film(film, target, size, stylizer, options, progress)


def _make_animation(
    film: Film,
    target: Path,
    size: tuple[int, int],
    stylizer: Stylizer,
    options: FilmOptions,
    progress: Callable[[FilmProgress], object] | None,
) -> int:
    check_memory(film, size, target)
    done: list[Painted] = []
    told = _Told(progress, film.frames)

    smooth = Smoother() if options.smooth else None

    def collect(frames: Iterable[tuple[Frame, PendingPicture]]) -> None:
        for frame, pending in frames:
            picture = pending()
            if smooth is not None:
                picture = Image.fromarray(smooth(np.asarray(picture), frame.motion))
            done.append(painted(frame, picture))
            told.another()

    frames = thinned(_frames(film, size, stylizer), film, target)
    if smooth is not None:
        frames = with_motion(frames, iter(()))
    _stylize_frames(film, frames, stylizer, collect)
    if not done:
        raise UserError(f"{film.source} holds no frame that can be decoded: copy it again")
    write_animation(done, film, target, options.quality, options.mark)
    return len(done)


def _make_film(
    film: Film,
    target: Path,
    size: tuple[int, int],
    stylizer: Stylizer,
    options: FilmOptions,
    progress: Callable[[FilmProgress], object] | None,
) -> int:
    encoding = plan_encoding(film, target, options.codec, options.quality, size)
    check_carried(encoding, target)
    made_of = _made_of(film.source, stylizer, encoding, options.smooth)
    comment = _comment(options.mark, made_of)
    if options.resume and _comment_of(target) == comment:
        return film.frames or 0
    parts = open_parts(target, made_of, options.resume)
    try:
        if not parts.whole:
            told = _Told(progress, film.frames, parts.frames)
            _make_parts(encoding, stylizer, parts, options.smooth, told)
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


def _made_of(source: Path, stylizer: Stylizer, encoding: Encoding, smooth: bool) -> dict[str, str]:
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
        "smoothing": f"{BLEND:g}" if smooth else "none",
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


class _Told:
    """Tells how far a film is.

    Args:
        progress: told, unless it is None.
        total: expected frames.
        before: frames of an earlier run.
    """

    def __init__(
        self,
        progress: Callable[[FilmProgress], object] | None,
        total: int | None,
        before: int = 0,
    ) -> None:
        self._progress = progress
        self._total = total
        self._before = self._done = before
        self._started = time.monotonic()

    def another(self) -> None:
        """Tell that another frame is done."""
        self._done += 1
        if self._progress is not None:
            seconds = max(time.monotonic() - self._started, 1e-6)
            rate = (self._done - self._before) / seconds
            self._progress(FilmProgress(self._done, self._total, rate))


def _frames(
    film: Film, size: tuple[int, int], stylizer: Stylizer, start: int = 0
) -> Iterator[Frame]:
    if film.is_animation:
        return read_animation(film, size, start)
    # On a CPU, the network has the cores.
    return read_frames(film, size, start, 1 if stylizer.device == "cpu" else CONVERTING_THREADS)


def _stylize_frames(
    film: Film,
    frames: Iterable[Frame],
    stylizer: Stylizer,
    write: Callable[[Iterable[tuple[Frame, PendingPicture]]], None],
) -> None:
    """Read, stylize and write at the same time; errors name the film."""

    def stylize(frame: Frame) -> tuple[Frame, PendingPicture]:
        return frame, stylizer.begin(frame.picture)

    try:
        run_stages(frames, stylize, write)
    except UserError as error:
        if str(film.source) in str(error):
            raise
        raise UserError(f"{film.source}: {error}") from error


def _make_parts(
    encoding: Encoding, stylizer: Stylizer, parts: Parts, is_smooth: bool, told: _Told
) -> None:
    film = encoding.film
    writer: PartWriter | None = None
    smooth = Smoother(parts.last_frame()) if is_smooth else None

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
                writer.close()  # what is done of a part plays, too

    start = parts.frames
    if smooth is None:
        frames = _frames(film, encoding.size, stylizer, start)
    else:  # with the frame before, from which motion begins
        frames = _frames(film, encoding.size, stylizer, max(0, start - 1))
        frames = with_motion(frames, islice(frames, 1 if start else 0))
    _stylize_frames(film, frames, stylizer, write)
    # Only now is it known that a short part is the film's last.
    if writer is not None:
        parts.add(writer.path, writer.first, writer.frames)
    if not parts.frames:
        raise UserError(f"{film.source} holds no frame that can be decoded: copy it again")
    parts.finish()
