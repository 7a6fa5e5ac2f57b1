"""Encoding stylized frames: which codec, at which quality, and one part of a film in a file."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import UserError
from fast_style.film.colour import (
    BT601_525,
    BT601_625,
    FULL,
    LIMITED,
    RGB,
    UNSPECIFIED,
    matrix_by_size,
)
from fast_style.film.formats import FORMATS, listed
from fast_style.film.reading import SCALING, Film, url

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

DEFAULT_QUALITY = 80

# Frames of a part of a film, which is encoded on its own, and lost when the program is killed.
FRAMES_OF_PART = 120

# The constant rate factor at quality 100, and how much it grows per point of quality less; and what
# makes each encoder about as quick as the others.
RATE_FACTORS: dict[str, tuple[float, float, dict[str, str]]] = {
    "libx264": (12, 0.4, {"preset": "veryfast"}),
    "libx265": (14, 0.4, {"preset": "veryfast", "x265-params": "log-level=error"}),
    "libvpx-vp9": (14, 0.5, {"deadline": "realtime", "cpu-used": "6", "row-mt": "1"}),
    "libsvtav1": (14, 0.5, {"preset": "8"}),
}

# In order: what most players know, then what keeps more.
PIXEL_FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le", "gbrp")
FULL_CHROMA = ("yuv444p", "yuv444p10le", "gbrp", "bgr0")
LOSSLESS = frozenset({"ffv1", "huffyuv", "ffvhuff", "utvideo"})
WITH_ODD_CHROMA = frozenset({"libvpx-vp9", "mpeg4", "mjpeg"})  # odd sides in yuv420p


@dataclass(frozen=True)
class Encoding:
    """How frames become a film.

    Args:
        container: FFmpeg's name of the format.
        encoder: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name.
        options: the encoder's.
        size: width and height in pixels.
        matrix_tag: as in `Colour`, or the matrix itself where the new size would tell another.
        film: the source.
    """

    container: str
    encoder: str
    pixel_format: str
    options: dict[str, str]
    size: tuple[int, int]
    matrix_tag: int
    film: Film


def plan_encoding(
    film: Film, target: Path, codec: str | None, quality: int | None, size: tuple[int, int]
) -> Encoding:
    """Choose an encoder and its settings.

    Args:
        film: the source.
        target: the file to write; its suffix tells the container.
        codec: name of a codec or an encoder; None for H.264, and VP9 in WebM.
        quality: 1 to 100; None for `DEFAULT_QUALITY`.
        size: width and height of the frames in pixels.

    Raises:
        UserError: if the container is not one of `FORMATS` or cannot hold the codec, or if there is
            no such encoder, or none that knows such a size or a quality.
    """
    import av

    container = FORMATS.get(target.suffix.lower())
    if container is None:
        raise UserError(
            f"{target} cannot be written in that format: let it end in {listed(list(FORMATS))}"
        )
    name = codec or ("vp9" if container == "webm" else "h264")
    try:
        encoder = av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise UserError(
            f"--codec {name} is not an encoder of this FFmpeg: choose h264, hevc, av1, vp9, prores "
            "or ffv1"
        ) from error
    if encoder.type != "video":
        raise UserError(f"--codec {name} is not for video: choose h264, hevc, av1 or vp9")
    with av.open(_Nowhere(), "w", format=container) as probe:
        if encoder.name not in probe.supported_codecs:
            raise UserError(
                f"{target} cannot hold video in {name}: let it end in .mkv, or choose another "
                "--codec"
            )
    options: dict[str, str] = {}
    if encoder.name in RATE_FACTORS:
        best, slope, options = RATE_FACTORS[encoder.name]
        factor = best + slope * (100 - (DEFAULT_QUALITY if quality is None else quality))
        options = options | {"crf": f"{factor:g}"}
        if encoder.name == "libsvtav1":  # which counts in whole numbers
            options["crf"] = str(round(factor))
    elif quality is not None:
        raise UserError(f"--quality is not known for --codec {name}: leave it out")
    matrix_tag = film.colour.matrix_tag
    if matrix_tag == UNSPECIFIED and matrix_by_size(*size) != film.colour.matrix:
        matrix_tag = film.colour.matrix
    return Encoding(
        container=container,
        encoder=encoder.name,
        pixel_format=_pixel_format(encoder, name, size),
        options=options,
        size=size,
        matrix_tag=matrix_tag,
        film=film,
    )


class _Nowhere:
    """A file that nothing is written to."""

    def write(self, data: bytes) -> int:
        return len(data)


def _pixel_format(encoder: av.Codec, name: str, size: tuple[int, int]) -> str:
    known = [form.name for form in encoder.video_formats or ()]
    if not known:
        return PIXEL_FORMATS[0]
    is_odd = size[0] % 2 or size[1] % 2
    in_full = encoder.name in LOSSLESS or (is_odd and encoder.name not in WITH_ODD_CHROMA)
    wanted = FULL_CHROMA if in_full else PIXEL_FORMATS
    for form in wanted:
        if form in known:
            if is_odd and form == "yuv444p" and encoder.name == "libx264":
                log.warning(
                    "frames of %d x %d px keep their odd sides as H.264 in 4:4:4, which QuickTime "
                    "and many devices do not play: an even --size is played everywhere",
                    *size,
                )
            return form
    if not is_odd:
        return known[0]
    raise UserError(
        f"frames of {size[0]} x {size[1]} px cannot be encoded as {name}, which needs even sides: "
        "choose --codec h264 or vp9, or an even --size"
    )


class PartWriter:
    """Encodes frames into one file, a part of a film that plays by itself.

    Args:
        path: the file, which is replaced.
        encoding: as `plan_encoding` gives it.

    Raises:
        UserError: if the encoder refuses its settings.
    """

    def __init__(self, path: Path, encoding: Encoding) -> None:
        import av
        from av.codec.context import Flags

        self.path = path
        self.first = 0
        self.frames = 0
        self._encoding = encoding
        film = encoding.film
        self._container = av.open(url(path), "w", format=encoding.container)
        self._stream: Any = self._container.add_stream(
            encoding.encoder,
            rate=film.rate.limit_denominator(1_001_000),
            time_base=film.time_base,
            options=encoding.options,
        )
        context: Any = self._stream.codec_context
        context.width, context.height = encoding.size
        context.pix_fmt = encoding.pixel_format
        context.time_base = film.time_base
        context.gop_size = FRAMES_OF_PART
        context.colorspace = RGB if self._is_rgb else encoding.matrix_tag
        context.color_range = film.colour.range_tag
        context.color_primaries = film.colour.primaries
        context.color_trc = film.colour.transfer
        context.flags |= Flags.frame_duration
        if film.pixel_aspect is not None:
            context.sample_aspect_ratio = film.pixel_aspect
        if encoding.encoder == "libx265" and encoding.container in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # which Apple's players ask for
        os.environ.setdefault("SVT_LOG", "1")  # errors alone
        try:
            context.open()
        except av.error.FFmpegError as error:
            self._container.close()
            raise UserError(
                f"{film.source} cannot be encoded with {encoding.encoder} ({error.strerror}): "
                "choose another --codec"
            ) from error

    @property
    def _is_rgb(self) -> bool:
        return self._encoding.pixel_format in ("gbrp", "bgr0")

    def write(self, pixels: NDArray[np.uint8], time: int, duration: int) -> None:
        """Encode a frame.

        Args:
            pixels: ``(H, W, 3)`` RGB.
            time: when it is shown, in the film's ``time_base``, later than the frame before.
            duration: how long, in the same units; 0 where that is not known.
        """
        import av

        colour = self._encoding.film.colour
        rgb = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame = rgb
        if not self._is_rgb:
            rgb.color_range = FULL
            frame = rgb.reformat(
                format=self._encoding.pixel_format,
                # swscale has one number for both of BT.601's.
                dst_colorspace=BT601_625 if colour.matrix == BT601_525 else colour.matrix,
                dst_color_range=FULL if colour.is_full_range else LIMITED,
                interpolation=SCALING,
                threads=1,
            )
        frame.pts, frame.time_base = time, self._encoding.film.time_base
        frame.duration = duration
        if not self.frames:
            self.first = time
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file, so that it plays."""
        if self.frames:
            self._container.mux(self._stream.encode(None))
        self._container.close()
