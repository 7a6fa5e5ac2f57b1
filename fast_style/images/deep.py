"""PNG and TIFF of 16 bits a channel, in the colours that Pillow has for 8 bits only.

libvips decodes and encodes them, and converts their colours with the same Little CMS as Pillow. It
comes with the extra ``deep``. Pillow reads their headers and metadata.
"""

from __future__ import annotations

import io
import logging
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fast_style.extras import missing_extra
from fast_style.images.colour import (
    Encoding,
    find_encoding,
    input_mode,
    spread,
    srgb_profile,
)
from fast_style.images.floats import FloatPicture, Picture, to_floats
from fast_style.images.headers import (
    BITS,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    exif_orientation,
    png_raw_mode,
    tiff_tag,
)

DEEP_FORMATS = frozenset({"PNG", "TIFF"})  # that are written with 16 bits

# Bytes of a pixel while it is read: file, its levels, those in sRGB, floats, and Pillow's levels.
BYTES_TO_DECODE = 48

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2  # values of the photometric tag
TOP = 65535
INTENT = "perceptual"  # as Pillow's conversion of 8 bits
HEADER_END = 33  # of a PNG: its signature and its first chunk

Levels = NDArray[np.uint16]


def bits_of(picture: Image.Image) -> int | None:
    """Return how many bits a channel of an undecoded PNG or TIFF has; None for up to 8."""
    if png_raw_mode(picture).endswith("16B"):
        return 16
    bits = tiff_tag(picture, BITS) if picture.format == "TIFF" else None
    return bits if isinstance(bits, int) and bits > 8 else None


def is_deep(picture: Image.Image) -> bool:
    """Return whether an undecoded PNG or TIFF has RGB or grey of 16 bits without a sign."""
    if picture.format != "TIFF":
        return bits_of(picture) == 16
    return (
        tiff_tag(picture, BITS) == 16
        and tiff_tag(picture, SAMPLE_FORMAT) in (None, 1)
        and tiff_tag(picture, PHOTOMETRIC) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    )


def only_vips_decodes(picture: Image.Image) -> bool:
    """Return whether Pillow knows the header of an undecoded picture and not its pixels."""
    return picture.format == "TIFF" and picture.mode == "LA"


def deep_parts(
    picture: Image.Image,
) -> tuple[FloatPicture, FloatPicture | None, Encoding | None]:
    """Decode a picture that `is_deep`; return upright sRGB colours, alpha and its own encoding.

    Args:
        picture: as Pillow opened it.

    Raises:
        UserError: if the picture's colours cannot be converted.
        Exception: of libvips, if the file is damaged.
    """
    encoding = find_encoding(picture)
    values = _decode(picture)
    if picture.format == "PNG":
        picture.load()  # reads what stands behind the pixels, such as EXIF
    colours, alpha = values, None
    if values.shape[2] in (2, 4):
        colours = values[..., :-1]
        if picture.format == "PNG" or picture.mode in ("RGBA", "LA"):
            alpha = _as_floats(values[..., -1])
    if encoding is not None and encoding.exponent is not None:
        colours = spread(colours, encoding, np.uint16)
    profile = encoding.profile() if encoding else picture.info.get("icc_profile")
    colours = _to_srgb(colours, profile)
    orientation = exif_orientation(picture)
    upright = _turned(_as_floats(colours), orientation)
    return upright, None if alpha is None else _turned(alpha, orientation), encoding


def _decode(picture: Image.Image) -> Levels:
    """Return all channels of the pixels, ``(H, W, C)``; alpha is straight."""
    assert isinstance(picture, ImageFile.ImageFile)
    assert picture.fp is not None
    position = picture.fp.tell()
    picture.fp.seek(0)
    values = _vips().Image.new_from_buffer(picture.fp.read(), "", fail_on="error").numpy()
    picture.fp.seek(position)
    if values.dtype != np.uint16 or values.shape[:2] != (picture.height, picture.width):
        raise ValueError("libvips found another picture than Pillow")
    return np.atleast_3d(values)


def _to_srgb(colours: Levels, profile: bytes | None) -> Levels:
    """Convert ``(H, W, 1)`` or ``(H, W, 3)`` as `convert_to_srgb` converts 8 bits."""
    mode = input_mode(profile, "L" if colours.shape[2] == 1 else "RGB")
    if mode != "L":
        colours = np.broadcast_to(colours, (*colours.shape[:2], 3))
    if mode is None:
        return colours
    assert profile is not None
    return _convert(colours, profile, srgb_profile())


def _convert(colours: Levels, source: bytes, target: bytes) -> Levels:
    """Convert colours from one profile to another."""
    image = _vips().Image.new_from_array(np.ascontiguousarray(colours))
    # The way through floats that is off by least: from dark grey to CIELAB, by levels of 8 bits.
    kind, space = ("grey16", "xyz") if image.bands == 1 else ("rgb16", "lab")
    image = _with_profile(image.copy(interpretation=kind), source)
    image = image.icc_import(embedded=True, intent=INTENT, pcs=space)
    image = _with_profile(image, target).icc_export(depth=16, intent=INTENT, pcs=space)
    converted: Levels = image.numpy()
    return converted


def _with_profile(image: Any, profile: bytes) -> Any:
    named = image.copy()
    named.set_type(_vips().GValue.blob_type, "icc-profile-data", profile)
    return named


def _turned(values: FloatPicture, orientation: int) -> FloatPicture:
    """Make a picture upright (EXIF 2.32, section 4.6.4, Orientation)."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _as_floats(levels: Levels) -> FloatPicture:
    return np.divide(levels, TOP, dtype=np.float32)


def to_levels_of_16_bits(
    colours: FloatPicture, alpha: Picture | None, profile: bytes | None
) -> Levels:
    """Round colours and alpha, and convert colours from sRGB to a profile; None leaves them."""
    levels = np.rint(colours * np.float32(TOP)).astype(np.uint16)
    if profile is not None:
        levels = _convert(levels, srgb_profile(), profile)
    if alpha is None:
        return levels
    return np.dstack([levels, np.rint(to_floats(alpha) * np.float32(TOP)).astype(np.uint16)])


def encode_deep(levels: Levels, file_format: str, options: dict[str, Any]) -> bytes:
    """Return a file of 16 bits.

    Args:
        levels: ``(H, W, 3)``, or with straight alpha ``(H, W, 4)``.
        file_format: one of `DEEP_FORMATS`. A TIFF gets no metadata here.
        options: what Pillow is told to write beside the pixels of a PNG.

    Raises:
        UserError: if the extra is missing.
        OSError: if libvips fails.
    """
    vips = _vips()
    try:
        image = vips.Image.new_from_array(levels).copy(interpretation="rgb16")
        if file_format == "TIFF":
            return bytes(
                image.tiffsave_buffer(keep="none", compression="deflate", predictor="horizontal")
            )
        # As small as with all filters, up to some percent, in half the time.
        png: bytes = image.pngsave_buffer(keep="none", filter="up", compression=6)
    except vips.Error as error:
        raise OSError(error.message) from error
    small = io.BytesIO()
    Image.new("RGB", (1, 1)).save(small, format="PNG", **options)
    beside = small.getvalue()
    head = beside[HEADER_END : _pixels_begin(beside)]
    return png[:HEADER_END] + head + png[_pixels_begin(png) :]


def _pixels_begin(png: bytes) -> int:
    """Return where the first chunk of pixels begins."""
    position = HEADER_END
    while png[position + 4 : position + 8] != b"IDAT":
        position += 12 + int.from_bytes(png[position : position + 4], "big")
    return position


@cache
def _vips() -> Any:
    """Import libvips, without the cache in which it would keep whole pictures.

    Raises:
        UserError: if the extra is missing.
    """
    try:
        import pyvips
    except (ImportError, OSError) as error:  # the latter without the library itself
        raise missing_extra("deep", "files of 16 bits a channel") from error
    # What libvips warns of, such as a broken profile, is not the user's business.
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    pyvips.cache_set_max(0)
    return pyvips
