"""Animations as GIF, WebP and PNG, which Pillow reads and writes: their timing, loops and
transparency."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fast_style.devices import available_memory
from fast_style.errors import UserError
from fast_style.files import replacing
from fast_style.film.colour import LIMITED, UNSPECIFIED, Colour, matrix_by_size
from fast_style.film.formats import ANIMATIONS, is_film
from fast_style.film.reading import IDENTITY, Film, Frame
from fast_style.film.sequence import is_sequence
from fast_style.images.writing import exif_with_mark

MICROSECOND = Fraction(1, 1_000_000)
BYTES_PER_PIXEL = 8  # of all frames, which Pillow keeps until it has the last

# Units of time of the formats, in seconds. Browsers show a frame of a GIF that lasts one unit for a
# tenth of a second, so two units are the least.
UNITS = {"GIF": Fraction(1, 100), "WEBP": Fraction(1, 1000), "PNG": Fraction(1, 1000)}
SHORTEST_IN_GIF = 2

DEFAULT_QUALITY = 80  # of WebP


class Loop(NamedTuple):
    """How an animation is played.

    Args:
        plays: number of times; 0 for ever.
        has_still: whether a PNG begins with a picture that is not part of the animation.
    """

    plays: int
    has_still: bool


def is_animation(path: Path) -> bool:
    """Whether a file is a GIF, WebP or PNG of several frames."""
    if path.suffix.lower() not in ANIMATIONS or not path.is_file():
        return False
    try:
        with _opened(path) as picture:
            return bool(getattr(picture, "is_animated", False))
    except Exception:  # which is told where the picture is read
        return False


def moves(path: Path) -> bool:
    """Whether a path is a film, told by its suffix, an animation, told by its content, or numbered
    pictures."""
    return is_film(path) or is_sequence(path) or is_animation(path)


def probe_animation(source: Path) -> Film:
    """Find out what an animation is. All frames are decoded, to learn their durations.

    Raises:
        UserError: if it cannot be read.
    """
    missing: list[str] = []
    with _opened(source) as picture:
        durations = list(_durations(picture, source, missing))
        frames, seconds = len(durations), sum(durations) * MICROSECOND
        matrix = matrix_by_size(*picture.size)
        return Film(
            source=source,
            size=picture.size,
            turn=IDENTITY,
            pixel_aspect=None,
            colour=Colour(matrix, False, UNSPECIFIED, LIMITED, UNSPECIFIED, UNSPECIFIED),
            time_base=MICROSECOND,
            rate=(frames / seconds if seconds else Fraction(10)).limit_denominator(1000),
            frames=frames,
            is_animation=True,
            missing=missing,
        )


def read_animation(film: Film, size: tuple[int, int], start: int = 0) -> Iterator[Frame]:
    """Decode an animation's frames.

    Args:
        film: as `probe_animation` gives it.
        size: width and height in pixels to scale the frames to.
        start: number of frames to skip.
    """
    time = 0
    with _opened(film.source) as picture:
        for number in range(film.frames or 0):
            try:
                picture.seek(number)
                frame = picture.convert("RGBA")
            except Exception as error:  # Pillow raises nearly anything
                film.lacks(f"{film.source} is damaged ({error}): its end is left out")
                return
            duration = _duration(picture)
            if number >= start:
                if frame.size != size:
                    frame = frame.resize(size, Image.Resampling.LANCZOS)
                alpha = frame.getchannel("A")
                opaque = alpha.getextrema() == (255, 255)
                white = Image.new("RGB", size, "white")
                white.paste(frame, mask=None if opaque else alpha)
                yield Frame(white, time, duration, None if opaque else alpha)
            time += duration


def loop_of(film: Film) -> Loop:
    """Find out how often a source is played; films play for ever."""
    if not film.is_animation:
        return Loop(0, False)
    with _opened(film.source) as picture:
        loop = picture.info.get("loop")
        if picture.format == "GIF":  # which counts repetitions
            return Loop(1 if loop is None else loop and loop + 1, False)
        return Loop(loop or 0, bool(picture.info.get("default_image")))


@contextmanager
def _opened(source: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source, formats=sorted(set(ANIMATIONS.values()))) as picture:
                yield picture
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{source} cannot be read ({error}): copy it again") from error


def _duration(picture: Image.Image) -> int:
    return round(picture.info.get("duration", 0) * 1000)


def _durations(picture: Image.Image, source: Path, missing: list[str]) -> Iterator[int]:
    for number in count():
        try:
            picture.seek(number)
            picture.load()  # before that, a WebP does not say
        except EOFError:
            return
        except Exception as error:  # Pillow raises nearly anything
            missing.append(f"{source} is damaged ({error}): its end is left out")
            return
        yield _duration(picture)


def thinned(frames: Iterable[Frame], film: Film, target: Path) -> Iterator[Frame]:
    """Leave out frames of a film that a GIF would not play in time."""
    last: int | None = None
    for frame in frames:
        if ANIMATIONS[target.suffix.lower()] == "GIF" and not film.is_animation:
            time = round(frame.time * film.time_base / UNITS["GIF"])
            if last is not None and time - last < SHORTEST_IN_GIF:
                continue
            last = time
        yield frame


@dataclass(frozen=True)
class Painted:
    """A stylized frame and when it is shown."""

    picture: Image.Image
    time: int
    duration: int


def painted(frame: Frame, picture: Image.Image) -> Painted:
    """Make a stylized frame as transparent as its source."""
    if frame.alpha is not None:
        picture = picture.copy()
        picture.putalpha(frame.alpha)
    return Painted(picture, frame.time, frame.duration)


def check_memory(film: Film, size: tuple[int, int], target: Path) -> None:
    """Check that all frames fit into memory.

    Raises:
        UserError: if they do not.
    """
    needed = (film.frames or 0) * size[0] * size[1] * BYTES_PER_PIXEL
    if needed > available_memory():
        raise UserError(
            f"{target} needs {needed / 1e9:.1f} GB of memory for {film.frames} frames of "
            f"{size[0]} x {size[1]} px: make them smaller with --size, or write .mp4"
        )


def write_animation(
    frames: list[Painted], film: Film, target: Path, quality: int | None, mark: str
) -> None:
    """Write an animation; the file is complete or as it was before.

    Args:
        frames: at least one.
        film: the source.
        target: its suffix is one of `ANIMATIONS`.
        quality: of WebP, 1 to 100.
        mark: text that `read_mark`, or `read_gif_mark`, finds in the file.

    Raises:
        UserError: if it cannot be written.
    """
    kind = ANIMATIONS[target.suffix.lower()]
    loop = loop_of(film)
    options: dict[str, Any] = {"duration": _rounded_durations(frames, film, UNITS[kind])}
    if kind == "GIF":
        options["comment"] = mark.encode()
        options["disposal"] = 2 if any(_is_transparent(frame) for frame in frames) else 0
        if loop.plays != 1:
            options["loop"] = loop.plays and loop.plays - 1
    else:
        options |= {"loop": loop.plays, "exif": exif_with_mark(mark)}
    if kind == "WEBP":
        options["quality"] = DEFAULT_QUALITY if quality is None else quality
    if kind == "PNG":
        options["default_image"] = loop.has_still
    pictures = [frame.picture for frame in frames]
    if kind == "GIF":
        pictures = [_with_palette(picture) for picture in pictures]
    try:
        with replacing(target) as file:
            pictures[0].save(
                file, format=kind, save_all=True, append_images=pictures[1:], **options
            )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{target} cannot be written ({getattr(error, 'strerror', None) or error}): name a "
            "folder that can be written to and has room"
        ) from error


def _rounded_durations(frames: list[Painted], film: Film, unit: Fraction) -> list[int]:
    """Round times, not durations, to a unit, so that no error adds up; milliseconds a frame."""
    times = [round(frame.time * film.time_base / unit) for frame in frames]
    end = frames[-1].time + frames[-1].duration
    times.append(round(end * film.time_base / unit))
    durations = [int(1000 * unit) * (after - before) for before, after in pairwise(times)]
    if len(frames) > 1 and not film.is_animation:
        # Not every film says how long its last frame lasts, and frames after it may be left out.
        durations[-1] = max(durations[-1], durations[-2])
    return durations


def _is_transparent(frame: Painted) -> bool:
    return frame.picture.mode == "RGBA"


def _with_palette(picture: Image.Image) -> Image.Image:
    """Choose 256 colours for a picture, one of which stands for transparent if it needs that."""
    if picture.mode == "RGB":
        return picture.quantize(256, Image.Quantize.MEDIANCUT)
    colours = picture.convert("RGB").quantize(255, Image.Quantize.MEDIANCUT)
    indices = np.array(colours)
    indices[np.asarray(picture.getchannel("A")) < 128] = 255
    result = Image.fromarray(indices, "P")
    result.putpalette(colours.getpalette() or [])
    result.info["transparency"] = 255
    return result


def read_gif_mark(path: Path) -> str | None:
    """Read the mark that `write_animation` wrote into a GIF; None if it has none."""
    try:
        with _opened(path) as picture:
            comment = picture.info.get("comment", b"")
            return comment.decode() if isinstance(comment, bytes) and comment else None
    except (UserError, UnicodeDecodeError):
        return None
