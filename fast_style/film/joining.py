"""Joining the parts of a film, and its source's sound and subtitles, without encoding again."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fast_style.errors import UserError
from fast_style.film.encoding import Encoding
from fast_style.film.parts import Parts
from fast_style.film.reading import Film, exact, open_film, url, video_stream

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

log = logging.getLogger(__name__)

# Metadata that describes the source's file rather than the film, and the place of the camera.
NOT_KEPT = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "location")
MOST_TICKS = 2**31 - 1  # a second, in an MP4


def carried_streams(container: InputContainer, source: Path) -> list[Stream]:
    """Find the streams that are copied: audio, subtitles and attachments such as fonts.

    A warning names the others.
    """
    from av.stream import Disposition

    carried: list[Stream] = []
    left: list[str] = []
    films = 0
    for stream in container.streams:
        if stream.type in ("audio", "subtitle", "attachment"):
            carried.append(stream)
        elif stream.type != "video":
            left.append(stream.type)
        elif stream.disposition & Disposition.attached_pic:
            left.append("cover picture")
        else:
            films += 1
            if films > 1:
                left.append("further video")
    if left:
        log.warning("%s has streams that are left out: %s", source, ", ".join(sorted(set(left))))
    return carried


def check_carried(encoding: Encoding, target: Path) -> None:
    """Check that the target can hold the audio and subtitles of the source.

    Raises:
        UserError: if it cannot.
    """
    import av

    source = encoding.film.source
    if encoding.film.has_pictures_alone:
        return
    with (
        open_film(source) as container,
        av.open(io.BytesIO(), "w", format=encoding.container) as probe,
    ):
        for stream in carried_streams(container, source):
            _carry(stream, probe, target)


def _carry(stream: Stream, output: OutputContainer, target: Path) -> Stream | None:
    """Add a stream like that of the source; None if the container has no place for its kind."""
    if stream.type == "attachment":
        if output.format.name != "matroska":
            log.warning("%s cannot hold attachments, as fonts: they are left out", target)
            return None
        added = output.add_stream_from_template(stream)
    elif stream.codec_context is None:
        log.warning("%s has %s of an unknown codec, which is left out", target, stream.type)
        return None
    else:
        try:
            added = output.add_stream_from_template(stream, opaque=True)
        except ValueError as error:
            what = "subtitles" if stream.type == "subtitle" else "sound"
            remedy = "convert it first" if target.suffix == ".mkv" else "let its name end in .mkv"
            raise UserError(
                f"{target} cannot hold the film's {what} ({stream.codec.canonical_name}) as it is: "
                f"{remedy}"
            ) from error
        added.metadata.update(stream.metadata)
    added.disposition = stream.disposition
    return added


def join(parts: Parts, encoding: Encoding, path: Path, comment: str) -> None:
    """Write the whole film: video packets of the parts, the other packets of the source.

    Args:
        parts: complete.
        encoding: that the parts were made with.
        path: the file, which is replaced.
        comment: for its metadata.

    Raises:
        UserError: if the target cannot hold the source's audio and subtitles, or the parts do not
            fit together.
    """
    import av

    film = encoding.film
    options = {}
    if encoding.container in ("mp4", "mov"):
        ticks = film.time_base.denominator
        # MP4 gives the start of a stream in units of the whole film, by default milliseconds.
        options = {"movflags": "faststart", "movie_timescale": str(min(ticks, MOST_TICKS))}
    with ExitStack() as files:
        source = None if film.has_pictures_alone else files.enter_context(open_film(film.source))
        model = files.enter_context(open_film(parts.folder / parts.done[0].name))
        output = files.enter_context(
            av.open(url(path), "w", format=encoding.container, container_options=options)
        )
        template = model.streams.video[0]
        video: Any = output.add_stream_from_template(template, opaque=True)
        video.time_base = film.time_base
        if encoding.encoder == "libx265" and encoding.container in ("mp4", "mov"):
            video.codec_context.codec_tag = "hvc1"
        packets = _video_packets(parts, film.time_base, template.codec_context.extradata)
        carried: list[tuple[Stream, Stream]] = []
        if source is not None:
            _copy_descriptions(source, film.source, output, video)
            for stream in carried_streams(source, film.source):
                if (added := _carry(stream, output, path)) is not None:
                    carried.append((stream, added))
            others = _other_packets(source, [stream for stream, _ in carried], film)
            packets = _interleaved(packets, others)
        output.metadata["comment"] = comment
        output.start_encoding()
        place = {id(stream): added for stream, added in carried}
        for packet in packets:
            packet.stream = place.get(id(packet.stream), video)
            output.mux(packet)


def _copy_descriptions(
    source: InputContainer, path: Path, output: OutputContainer, video: Stream
) -> None:
    """Copy the title and the like, chapters, and the language of the film."""
    output.metadata.update(_kept(source.metadata))
    if chapters := source.chapters():
        output.set_chapters(chapters)
    if language := video_stream(source, path).metadata.get("language"):
        video.metadata["language"] = language


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in metadata.items()
        if not any(part in name.lower() for part in NOT_KEPT)
    }


def _video_packets(parts: Parts, time_base: Fraction, extradata: bytes | None) -> Iterator[Packet]:
    """Read the packets of all parts, at the times of the source."""
    for part in parts.done:
        path = parts.folder / part.name
        with open_film(path) as container:
            stream = container.streams.video[0]
            if stream.codec_context.extradata != extradata:
                raise UserError(
                    f"{path} does not fit to the first part: delete {parts.folder} and begin anew"
                )
            packets: list[Any] = [packet for packet in container.demux(stream) if packet.size]
            unit = exact(stream.time_base or time_base)
            begins = min(packet.pts for packet in packets if packet.pts is not None) * unit
            # Containers may begin each file at 0.
            shift = part.first - round(begins / time_base)
            for packet in packets:
                for name in ("pts", "dts"):
                    value = getattr(packet, name)
                    if value is not None:
                        setattr(packet, name, round(value * unit / time_base) + shift)
                packet.duration = round(packet.duration * unit / time_base)
                packet.time_base = time_base
                yield packet


def _other_packets(source: InputContainer, streams: list[Stream], film: Film) -> Iterator[Packet]:
    import av

    streams = [stream for stream in streams if stream.type != "attachment"]
    if not streams:
        return
    packets = source.demux(streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            film.lacks(f"{film.source} is damaged ({error.strerror}): its end is left out")
            return
        if packet.size:
            yield packet


def _interleaved(video: Iterator[Packet], others: Iterator[Packet]) -> Iterator[Packet]:
    """Merge by time, as players read."""
    a, b = next(video, None), next(others, None)
    while a is not None or b is not None:
        if b is None or (a is not None and _time(a) <= _time(b)):
            assert a is not None
            yield a
            a = next(video, None)
        else:
            yield b
            b = next(others, None)


def _time(packet: Packet) -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if time is None else time * exact(packet.time_base)
