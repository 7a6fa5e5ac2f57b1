"""How a film's numbers mean colours: its matrix, range, primaries and transfer function.

Frames are decoded to RGB with the film's own matrix and range, and encoded back with the same, so
that a network at strength 0 changes nothing. Primaries and transfer function are not converted:
networks take the film's RGB for sRGB, and the stylized film carries the tags of its source. Films
of high dynamic range alone are converted, see `dynamic_range`. The numbers are those of ITU-T
H.273.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fast_style.errors import UserError

if TYPE_CHECKING:
    from av import VideoFrame

RGB, BT709, UNSPECIFIED, FCC, BT601_625, BT601_525, SMPTE240M, BT2020 = 0, 1, 2, 4, 5, 6, 7, 9
MATRICES = frozenset({RGB, BT709, FCC, BT601_625, BT601_525, SMPTE240M, BT2020})

LIMITED, FULL = 1, 2

HDR = {16: "PQ", 18: "HLG"}  # transfer functions of high dynamic range

# Where a film does not say, players take BT.709 from this size on.
HD_WIDTH, HD_HEIGHT = 1280, 720


@dataclass(frozen=True)
class Colour:
    """The colours of a film.

    Args:
        matrix: that RGB is computed with.
        is_full_range: whether luma goes from 0 to 255 rather than from 16 to 235.
        matrix_tag: the matrix as the stylized film names it; unspecified where its source is.
        range_tag: likewise the range.
        primaries: tag, copied.
        transfer: tag, copied.
    """

    matrix: int
    is_full_range: bool
    matrix_tag: int
    range_tag: int
    primaries: int
    transfer: int


def colour_of(frame: VideoFrame, source: Path) -> Colour:
    """Find out what the numbers of a film's frames mean.

    Raises:
        UserError: if the film has a matrix that cannot be decoded.
    """
    matrix = frame.colorspace
    is_rgb = frame.format.is_rgb or matrix == RGB
    if matrix == UNSPECIFIED or is_rgb:
        matrix = matrix_by_size(frame.width, frame.height)
    if matrix not in MATRICES:
        raise UserError(
            f"{source} has colours in a matrix that cannot be decoded (number {matrix} of H.273): "
            "convert it to BT.709 first"
        )
    if frame.color_trc in HDR:  # it is converted to this
        return Colour(BT709, False, BT709, LIMITED, BT709, BT709)
    # Formats of FFmpeg's that are full range by name: YUV of JPEG's.
    is_full = frame.color_range == FULL or frame.format.name.startswith("yuvj")
    if is_rgb:
        # RGB is full range, and is encoded as YUV of limited range, which all players know.
        return Colour(matrix, False, matrix, LIMITED, frame.color_primaries, frame.color_trc)
    return Colour(
        matrix=matrix,
        is_full_range=is_full,
        matrix_tag=frame.colorspace,
        range_tag=FULL if is_full else frame.color_range,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
    )


def matrix_by_size(width: int, height: int) -> int:
    """The matrix that players take for a film of this size that names none.

    >>> matrix_by_size(1920, 1080) == BT709, matrix_by_size(720, 576) == BT601_525
    (True, True)
    """
    return BT709 if width >= HD_WIDTH or height >= HD_HEIGHT else BT601_525
