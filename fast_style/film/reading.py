"""Reading a film: what it is, and its frames one by one, upright and in RGB."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.errors import UserError
from fast_style.extras import missing_extra
from fast_style.film.colour import FULL, LIMITED, Colour, colour_of
from fast_style.film.dynamic_range import in_standard_range

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

    from fast_style.film.smoothing import Motion

log = logging.getLogger(__name__)

BYTES_OF_FINGERPRINT = 2**20  # from each of three places of a film
SHORT_BY = 1.0  # seconds that a film may end before its header says

# swscale's: bicubic, chroma at full resolution in and out, exact rounding.
SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000
SCALING_TO_SIZE = 0x200 | 0x2000 | 0x4000 | 0x40000  # Lanczos

IDENTITY = np.array([[1, 0], [0, 1]])


@dataclass(frozen=True)
class Film:
    """What is known of a film before its frames are read.

    Args:
        source: its file.
        size: width and height in pixels of its frames, upright.
        turn: 2 x 2 matrix of -1, 0 and 1 that maps stored to upright coordinates, y downwards.
        pixel_aspect: width of an upright pixel over its height; None where the film does not say.
        colour: what its numbers mean.
        time_base: unit of its timestamps in seconds.
        rate: mean number of frames a second.
        frames: expected number of frames; None where the film does not say.
        is_animation: whether it is a GIF, WebP or PNG.
        is_sequence: whether it is numbered pictures.
        missing: what of it is damaged or not there, a sentence each, as far as it has been read.
    """

    source: Path
    size: tuple[int, int]
    turn: NDArray[np.int64]
    pixel_aspect: Fraction | None
    colour: Colour
    time_base: Fraction
    rate: Fraction
    frames: int | None
    is_animation: bool = False
    is_sequence: bool = False
    missing: list[str] = field(default_factory=list)

    @property
    def has_pictures_alone(self) -> bool:
        """Whether there is no file with sound and subtitles."""
        return self.is_animation or self.is_sequence

    def lacks(self, sentence: str) -> None:
        """Note once that something is missing."""
        if sentence not in self.missing:
            self.missing.append(sentence)


@dataclass(frozen=True)
class Frame:
    """A frame to stylize.

    Args:
        picture: upright, of mode "RGB".
        time: when it is shown, in units of the film's ``time_base``.
        duration: how long, in the same units; 0 where the film does not say.
        alpha: how opaque it is, of mode "L"; None where it is opaque everywhere.
        motion: from the frame before, where it was asked for; None for the first frame.
    """

    picture: Image.Image
    time: int
    duration: int
    alpha: Image.Image | None = None
    motion: Motion | None = None


def require_av() -> None:
    """Check that PyAV is installed.

    Raises:
        UserError: if it is missing; the message has the line that installs it.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise missing_extra("video", "films") from error


def url(path: Path) -> str:
    """Write a path so that FFmpeg never mistakes it for an address or an option."""
    return f"file:{path}"


def exact(ratio: Any) -> Fraction:
    """Convert a ratio of PyAV's, which has its own type since version 19."""
    return Fraction(ratio.numerator, ratio.denominator)


def open_film(source: Path) -> InputContainer:
    """Open a film's file.

    Raises:
        UserError: if it is missing, cannot be read, or is no film.
    """
    import av

    try:
        if int(av.__version__.partition(".")[0]) < 19:  # else, a title in Latin-1 is an error
            return av.open(url(source), "r", metadata_errors="replace")
        return av.open(url(source), "r")
    except av.error.FileNotFoundError as error:
        raise UserError(f"{source} does not exist: name a film") from error
    except (av.error.PermissionError, av.error.IsADirectoryError) as error:
        raise UserError(f"{source} cannot be read ({error.strerror}): name another film") from error
    except av.error.FFmpegError as error:
        raise UserError(
            f"{source} is no film that can be read, or is damaged ({error.strerror}): copy it again"
        ) from error


def video_stream(container: InputContainer, source: Path) -> av.VideoStream:
    """Find the stream to stylize: the first that is not a cover picture.

    Raises:
        UserError: if there is none, or its codec cannot be decoded.
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise UserError(f"{source} has a video codec that cannot be decoded: convert it first")
        return stream
    if not container.streams:
        raise UserError(f"{source} holds no video and no sound, so it is damaged: copy it again")
    raise UserError(f"{source} holds no video, only sound or data: name a film")


def probe(source: Path) -> Film:
    """Find out what a film is; its first frame is decoded for that.

    Raises:
        UserError: if it is no film, has no video or no frame that can be decoded, or has colours
            that networks do not know.
    """
    with open_film(source) as container:
        stream = video_stream(container, source)
        first = next(_decoded(container, stream, source, _ignore), None)
        if first is None:
            raise UserError(f"{source} holds no frame that can be decoded: copy it again")
        turn = _turn(first)
        size = (first.width, first.height)
        aspect = exact(stream.sample_aspect_ratio) if stream.sample_aspect_ratio else None
        if turn[0, 0] == 0:
            size = size[::-1]
            aspect = None if aspect is None else 1 / aspect
        rate = exact(stream.average_rate or stream.guessed_rate or Fraction(25))
        return Film(
            source=source,
            size=size,
            turn=turn,
            pixel_aspect=aspect,
            colour=colour_of(first, source),
            time_base=exact(stream.time_base) if stream.time_base else 1 / rate,
            rate=rate,
            frames=_expected_frames(container, stream, rate),
        )


def _ignore(sentence: str) -> None:
    """Whoever reads the film is told."""


def _expected_frames(
    container: InputContainer, stream: av.VideoStream, rate: Fraction
) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return max(1, round(stream.duration * exact(stream.time_base) * rate))
    if container.duration:
        return max(1, round(container.duration * rate / 1_000_000))
    return None


def _turn(frame: av.VideoFrame) -> NDArray[np.int64]:
    """Round the film's display matrix to a quarter turn, mirrored or not."""
    stored: Any = frame.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return IDENTITY
    a, b, _, c, d = np.frombuffer(bytes(stored), np.int32)[:5].astype(float)
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
        return np.array([[-1 if a < 0 else 1, 0], [0, -1 if d < 0 else 1]])
    return np.array([[0, -1 if c < 0 else 1], [-1 if b < 0 else 1, 0]])


def read_frames(
    film: Film, size: tuple[int, int], start: int = 0, threads: int = 1
) -> Iterator[Frame]:
    """Decode a film's frames in the order in which they are shown.

    What cannot be decoded is left out, and noted in ``film.missing``, as is a film that ends before
    its header says, as an incomplete copy does. A frame without a time, or with one that is not
    later than that of the frame before, gets a time just after it.

    Frames that are marked as interlaced become whole ones by `deinterlaced`, and those of high
    dynamic range become ones of standard range.

    Args:
        film: as `probe` gives it.
        size: width and height in pixels to scale the frames to, upright.
        start: number of frames to skip.
        threads: number of threads that convert a frame to RGB.
    """
    stored = size if film.turn[0, 0] else size[::-1]
    step = max(1, round(1 / (film.rate * film.time_base)))
    last: int | None = None
    with open_film(film.source) as container:
        stream = video_stream(container, film.source)
        decoded = _decoded(container, stream, film.source, film.lacks)
        whole = deinterlaced(decoded, film.source)
        for number, frame in enumerate(in_standard_range(whole, film.source, stored)):
            time = frame.pts
            if time is None:
                time = 0 if last is None else last + step
            elif last is not None and time <= last:
                time = last + 1
            last = time
            if number >= start:
                picture = _upright_rgb(frame, film, stored, threads)
                yield Frame(picture, time, frame.duration or 0)
            end = time + (frame.duration or step)
        if last is not None:
            _note_if_short(stream, film, end)


def _note_if_short(stream: av.VideoStream, film: Film, end: int) -> None:
    if stream.duration is None:  # as in Matroska
        return
    missing = float(((stream.start_time or 0) + stream.duration - end) * film.time_base)
    if missing > SHORT_BY:
        film.lacks(
            f"{film.source} is incomplete: its last {missing:.1f} s are missing; copy it again to "
            "have them"
        )


def _decoded(
    container: InputContainer, stream: av.VideoStream, source: Path, lacks: Callable[[str], object]
) -> Iterator[av.VideoFrame]:
    """Decode frames as they are stored, and tell what is damaged and left out."""
    import av

    stream.thread_type = "AUTO"
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            lacks(f"{source} is damaged ({error.strerror}): its end is left out")
            packet = None
        try:
            frames: list[Any] = stream.decode(packet)
        except av.error.EOFError:
            frames = []
        except av.error.FFmpegError as error:
            lacks(f"{source} is damaged ({error.strerror}): a part of it is left out")
            frames = []
        yield from frames
        if packet is None or packet.size == 0:  # the decoder has given its last frames
            return


def deinterlaced(frames: Iterable[av.VideoFrame], source: Path) -> Iterator[av.VideoFrame]:
    """Replace interlaced frames, of two moments in turns of rows, by whole frames of the first.

    FFmpeg's filter bwdif interpolates the rows of the second moment. Frames that are not marked as
    interlaced, and all times, stay as they are.

    Raises:
        UserError: if the filter fails, as for frames of a few rows.
    """
    graph = None
    times: deque[tuple[int | None, int | None]] = deque()

    def filtered() -> Iterator[av.VideoFrame]:
        assert graph is not None
        while (frame := _pulled(graph, source)) is not None:
            frame.pts, frame.duration = times.popleft()
            yield frame

    for number, frame in enumerate(frames):
        if graph is None and frame.interlaced_frame:
            log.warning("%s is interlaced: its frames are deinterlaced", source)
            with _filtering(source):
                graph = _deinterlacer(frame)
        if graph is None:
            yield frame
            continue
        times.append((frame.pts, frame.duration))
        frame.pts = number  # the filter wants a time, which a frame need not have
        with _filtering(source):
            graph.push(frame)
        yield from filtered()
    if graph is not None:
        with _filtering(source):
            graph.push(None)
        yield from filtered()


@contextmanager
def _filtering(source: Path) -> Iterator[None]:
    """Turn errors of FFmpeg's filters into a sentence."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise UserError(
            f"{source} is interlaced and cannot be deinterlaced ({error.strerror}): convert it "
            "first"
        ) from error


def _deinterlacer(frame: av.VideoFrame) -> av.filter.Graph:
    import av.filter

    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=exact(frame.time_base),
        ),
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _pulled(graph: av.filter.Graph, source: Path) -> av.VideoFrame | None:
    import av

    with _filtering(source):
        try:
            frame: Any = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):  # it needs more frames, or has none
            return None
    return frame


def _upright_rgb(
    frame: av.VideoFrame, film: Film, stored: tuple[int, int], threads: int
) -> Image.Image:
    """Convert a frame to RGB with the film's matrix and range, scale it and turn it."""
    if not frame.format.is_rgb:
        frame.colorspace = film.colour.matrix
        frame.color_range = FULL if film.colour.is_full_range else LIMITED
    width, height = stored
    same_size = (frame.width, frame.height) == stored
    rgb = frame.reformat(
        width,
        height,
        "rgb24",
        interpolation=SCALING if same_size else SCALING_TO_SIZE,
        dst_color_range=FULL,
        threads=threads,
    )
    pixels: NDArray[Any] = rgb.to_ndarray()
    return Image.fromarray(turned(pixels, film.turn))


def turned(pixels: NDArray[np.uint8], turn: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Turn and mirror ``(H, W, 3)`` pixels.

    Args:
        pixels: as they are stored.
        turn: as in `Film`.

    >>> row = np.array([[[1], [2]]], dtype=np.uint8)  # 1 is left of 2
    >>> clockwise = np.array([[0, -1], [1, 0]])
    >>> turned(row, clockwise)[..., 0].tolist()
    [[1], [2]]
    """
    if turn[0, 0] == 0:
        pixels = pixels.swapaxes(0, 1)
    across, down = turn.sum(axis=1)
    return np.ascontiguousarray(pixels[:: int(down), :: int(across)])


def fingerprint(path: Path) -> str:
    """Hash a film's size, beginning, middle and end, to notice another or a changed film."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for offset in (0, size // 2, max(0, size - BYTES_OF_FINGERPRINT)):
            file.seek(offset)
            digest.update(file.read(BYTES_OF_FINGERPRINT))
    return digest.hexdigest()
