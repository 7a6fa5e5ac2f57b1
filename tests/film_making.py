"""Small films for the tests, made and read back with PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


@dataclass
class Recipe:
    """A film of `frames` frames: a slope of colours with a bright square that moves."""

    size: tuple[int, int] = (64, 48)
    frames: int = 12
    times: Sequence[int] | None = None
    time_base: Fraction = Fraction(1, 30000)
    rate: Fraction = Fraction(30000, 1001)
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"crf": "10"})
    sound: str | None = None
    rotation: float | None = None
    mirrored: bool = False
    colours: dict[str, int] = field(default_factory=dict)
    aspect: Fraction | None = None
    subtitles: Sequence[str] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    header_first: bool = False
    interlaced: bool = False


def make_film(path: Path, **recipe: Any) -> Path:
    """Write a film; see `Recipe` for what can be asked for."""
    asked = Recipe(**recipe)
    width, height = asked.size
    options = {"movflags": "faststart"} if asked.header_first else {}
    with av.open(str(path), "w", options=options) as container:
        container.metadata.update(asked.metadata)
        video: Any = container.add_stream(asked.codec, rate=asked.rate, options=asked.options)
        video.width, video.height, video.pix_fmt = width, height, asked.pixel_format
        video.codec_context.time_base = asked.time_base
        if asked.aspect is not None:
            video.codec_context.sample_aspect_ratio = asked.aspect
        for name, value in asked.colours.items():
            setattr(video.codec_context, name, value)
        if asked.rotation is not None:
            video.set_display_rotation(asked.rotation, hflip=asked.mirrored)
        audio: Any = None
        if asked.sound:
            audio = container.add_stream(asked.sound, rate=48000, bit_rate=96000)
        texts: Any = container.add_mux_stream("subrip") if asked.subtitles else None
        step = round(1 / (asked.rate * asked.time_base))
        times = asked.times or [number * step for number in range(asked.frames)]
        for number, time in enumerate(times):
            pixels = drawn(number, asked.size)
            if asked.interlaced:
                # The next moment. The odd rows come first, as x264 marks what PyAV gives it.
                pixels[::2] = drawn(number + 1, asked.size)[::2]
            frame = _converted(pixels, asked)
            frame.pts, frame.time_base = time, asked.time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            _sing(container, audio, float(times[-1] * asked.time_base))
        for number, text in enumerate(asked.subtitles):
            packet = av.Packet(text.encode())
            packet.pts = packet.dts = 100 * number
            packet.duration, packet.time_base, packet.stream = 90, Fraction(1, 1000), texts
            container.mux(packet)
    return path


def incomplete_film(path: Path) -> Path:
    """Write the first half of a film of 3 s."""
    make_film(path, frames=90, options={"g": "10"}, header_first=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def drawn(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The RGB picture of a frame."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, 128 + 0 * x], axis=-1).astype(np.uint8)
    left = 4 * number % max(1, width - 8)
    pixels[4:12, left : left + 8] = (250, 240, 20)
    return pixels


def _converted(pixels: NDArray[np.uint8], asked: Recipe) -> av.VideoFrame:
    matrix = asked.colours.get("colorspace", 5)
    return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
        format=asked.pixel_format,
        dst_colorspace=5 if matrix == 6 else matrix,
        dst_color_range=asked.colours.get("color_range", 1),
    )


def _sing(container: Any, audio: Any, seconds: float) -> None:
    """A tone."""
    size = audio.codec_context.frame_size or 1024
    for start in range(0, round(seconds * 48000), size):
        wave = np.sin(np.arange(start, start + size) / 20).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(audio.encode(frame))
    container.mux(audio.encode(None))


def frames_of(path: Path) -> list[Any]:
    """All frames of a film."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def exact(ratio: Any) -> Fraction:
    """Return a ratio as a `Fraction`, whichever class PyAV gives it."""
    return Fraction(ratio.numerator, ratio.denominator)


def times_of(path: Path) -> list[Fraction]:
    """When frames are shown, in seconds."""
    return [frame.pts * exact(frame.time_base) for frame in frames_of(path)]


def pixels_of(path: Path) -> list[NDArray[np.uint8]]:
    """RGB of all frames as they are stored."""
    return [frame.to_ndarray(format="rgb24") for frame in frames_of(path)]


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of each packet of the first stream of a kind, as "audio"."""
    with av.open(str(path)) as container:
        stream: Any = next(s for s in container.streams if s.type == kind)
        return [
            (packet.pts * exact(packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]
