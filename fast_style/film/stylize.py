"""Stylizing a film, from file to file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fast_style.errors import UserError
from fast_style.film.animation import is_animation, probe_animation
from fast_style.film.formats import ANIMATIONS, OTHERWISE, is_film
from fast_style.film.making import (
    MARK,
    Task,
    comment_of,
    make_animation,
    make_film,
    make_sequence,
)
from fast_style.film.progress import FilmOptions, FilmProgress, FilmResult
from fast_style.film.reading import Film, open_film, probe, require_av, video_stream
from fast_style.film.sequence import files_of, is_sequence, probe_sequence
from fast_style.film.smoothing import require_cv2
from fast_style.images import picture_size

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

AS_IT_IS = FilmOptions()


def stylize_film(
    source: Path,
    target: Path,
    stylizer: Stylizer,
    options: FilmOptions = AS_IT_IS,
    progress: Callable[[FilmProgress], object] | None = None,
) -> FilmResult:
    """Stylize a film, an animation or numbered pictures, frame by frame.

    A film keeps the timestamps, sound, subtitles, pixel aspect and colour tags of its source, and
    a rotation is applied. Until it is whole, its parts are in a folder beside the target, and each
    part plays.

    Args:
        source: any film that FFmpeg decodes, an animation, or the
            pattern of numbered pictures, such as ``shot_%04d.png``.
        target: its suffix is one of `FORMATS` or `ANIMATIONS`, or it is a pattern. An animation
            needs memory for all of its frames.
        stylizer: paints each frame.
        options: settings of the film.
        progress: told after each frame that is written, on another thread.

    Returns:
        How many frames the target has, and what is missing. With ``options.resume``, a target that
        was made of the same already is left as it is.

    Raises:
        UserError: if PyAV is missing, the source cannot be used, the target cannot be written or
            cannot hold what it should, or parts of another film are in its place. Complete parts
            stay.
    """
    from_pictures = is_sequence(source) or is_animation(source)
    if not from_pictures or is_film(target):
        require_av()
    if options.smooth:
        require_cv2()
    film = _probe(source)
    if target.is_dir():
        raise UserError(f"{target} is a folder: name a film to write, as {target / 'out.mp4'}")
    if target == source or (target.exists() and source.exists() and target.samefile(source)):
        raise UserError(f"{source} would be replaced by its stylized film: name another target")
    size = _target_size(film, options.size)
    task = Task(film, target, size, stylizer, options, progress)
    if is_sequence(target):
        frames = make_sequence(task)
    elif target.suffix.lower() in ANIMATIONS:
        frames = make_animation(task)
    else:
        frames = make_film(task)
    return FilmResult(frames, tuple(film.missing))


def _probe(source: Path) -> Film:
    if is_sequence(source):
        return probe_sequence(source)
    return probe_animation(source) if is_animation(source) else probe(source)


def frame_size(path: Path) -> tuple[int, int] | None:
    """Return width and height in pixels of a film or numbered pictures; None if it has none."""
    try:
        if is_sequence(path):
            return picture_size(next(iter(files_of(path).values())))
        with open_film(path) as container:
            stream = video_stream(container, path)
            return stream.width, stream.height
    except UserError:
        return None


def film_suffix(path: Path) -> str:
    """Return a suffix that suits a film's content; "" if it is none, or without PyAV."""
    try:
        require_av()
        with open_film(path) as container:
            video_stream(container, path)
            name = container.format.name
    except UserError:
        return ""
    if name.endswith("_pipe"):  # a picture
        return ""
    return ".mp4" if "mp4" in name else OTHERWISE


def _target_size(film: Film, longer_side: int | None) -> tuple[int, int]:
    """Scaled sizes are even, as the most common codecs need; a film's own is kept."""
    if longer_side is None:
        return film.size
    scale = longer_side / max(film.size)
    width, height = (max(2, 2 * round(side * scale / 2)) for side in film.size)
    return width, height


def read_film_mark(path: Path) -> str | None:
    """Read the mark that `stylize_film` wrote into a film; None without a mark, or without PyAV."""
    try:
        require_av()
    except UserError:
        return None
    words = (comment_of(path) or "").split()
    return words[3] if len(words) == 4 and words[0] == MARK.strip() else None
