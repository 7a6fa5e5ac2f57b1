"""Films of high dynamic range, as phones make them, as films of standard range.

Networks know sRGB alone. FFmpeg's swscale converts primaries and transfer function to those of
BT.709. White of 203 cd/m2, the reference of ITU-R BT.2408, stays white, and what is brighter
becomes white, too. Its intent "perceptual" keeps bright lights apart, but leaves all else dark and
dull.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fast_style.errors import UserError
from fast_style.film.colour import BT2020, HDR, LIMITED, UNSPECIFIED

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

UNKNOWN_RANGE = 0


def in_standard_range(
    frames: Iterable[av.VideoFrame], source: Path, size: tuple[int, int]
) -> Iterator[av.VideoFrame]:
    """Convert frames of PQ or HLG to RGB of BT.709's primaries and transfer function.

    Frames that name another transfer function stay as they are.

    Args:
        frames: as they are decoded.
        source: the film, for messages.
        size: width and height in pixels to scale them to.

    Raises:
        UserError: if FFmpeg cannot convert them.
    """
    import av.error

    graph = None
    for frame in frames:
        if frame.color_trc not in HDR:
            yield frame
            continue
        # Such films are BT.2020 where they do not say.
        if frame.color_primaries == UNSPECIFIED:
            frame.color_primaries = BT2020
        if frame.colorspace == UNSPECIFIED:
            frame.colorspace = BT2020
        if frame.color_range == UNKNOWN_RANGE:
            frame.color_range = LIMITED
        time, frame.pts = frame.pts, 0  # the filter wants a time, which a frame need not have
        try:
            if graph is None:
                log.warning(
                    "%s is of high dynamic range (%s): the stylized film is of standard range",
                    source,
                    HDR[frame.color_trc],
                )
                graph = _converter(frame, size)
            graph.push(frame)
            converted: Any = graph.pull()
        except av.error.FFmpegError as error:
            raise UserError(
                f"{source} is of high dynamic range, and FFmpeg cannot convert it "
                f"({error.strerror}): convert it to standard range first, as with HandBrake"
            ) from error
        converted.pts, converted.duration = time, frame.duration
        yield converted


def _converter(frame: av.VideoFrame, size: tuple[int, int]) -> av.filter.Graph:
    import av.filter

    graph = av.filter.Graph()
    width, height = size
    graph.link_nodes(
        graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        ),
        graph.add(
            "scale",
            f"{width}:{height}:out_primaries=bt709:out_transfer=bt709:out_range=full"
            ":intent=relative_colorimetric",
        ),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ).configure()
    return graph
