"""From any mode and depth to the one kind of picture that the program works with."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fast_style.errors import UserError
from fast_style.images.colour import (
    Encoding,
    convert_to_srgb,
    encode_levels,
    find_encoding,
    to_levels,
)
from fast_style.images.deep import deep_parts, only_vips_decodes
from fast_style.images.floats import to_image
from fast_style.images.headers import (
    BITS,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    SIGNED,
    WHITE_IS_ZERO,
    exif_orientation,
    open_undecoded,
    png_raw_mode,
    tiff_tag,
)
from fast_style.images.transparency import on_white

TURN_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

TURNED = frozenset({5, 6, 7, 8})  # orientations that swap width and height

# The factor by which Pillow spreads the few grey levels of a PNG over 256.
GREY_STEP = {"L;2": 85, "L;4": 17}

# The raw mode in which Pillow reads the lower bytes of a PNG of 16 bits instead of the upper ones:
# as if they came first, or, for grey with alpha, as if there were four channels.
LOWER_FIRST = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


def upright_rgb(picture: Image.Image) -> Image.Image:
    """Convert a picture that Pillow opened to an upright, opaque one of mode "RGB" in sRGB.

    Args:
        picture: a picture of any mode. It need not be decoded yet.

    Raises:
        UserError: if the picture's colours cannot be converted.
        OSError: and nearly anything else that Pillow's decoders raise if the file is damaged.
    """
    colours, alpha, _ = upright_parts(picture)
    if alpha is None:
        return colours
    opaque = on_white(colours, alpha)
    assert isinstance(opaque, Image.Image)
    return opaque


def upright_parts(
    picture: Image.Image,
) -> tuple[Image.Image, Image.Image | None, Encoding | None]:
    """Decode a picture and return its upright sRGB colours, their alpha and its own encoding.

    Raises:
        UserError, OSError: as `upright_rgb` does.
    """
    if only_vips_decodes(picture):
        deep, opacity, encoding = deep_parts(picture)
        return to_image(deep), None if opacity is None else to_image(opacity), encoding
    # Only an undecoded picture tells these three.
    raw_mode = png_raw_mode(picture)
    encoding = find_encoding(picture)
    low = _low_bytes(picture, raw_mode) if encoding or "transparency" in picture.info else None
    picture.load()
    colours, alpha = _colours_and_alpha(picture, encoding, raw_mode, low)
    rgb = convert_to_srgb(
        colours, encoding.profile() if encoding else picture.info.get("icc_profile")
    )
    turn = TURN_OF_ORIENTATION.get(exif_orientation(picture))
    if turn is not None:
        rgb = rgb.transpose(turn)
        alpha = alpha and alpha.transpose(turn)
    if rgb is picture:
        rgb = picture.copy()
    rgb.info.clear()  # Pillow would write an old profile into the files saved from this picture
    return rgb, alpha, encoding


def _colours_and_alpha(
    picture: Image.Image,
    encoding: Encoding | None,
    raw_mode: str,
    low: NDArray[np.uint8] | None,
) -> tuple[Image.Image, Image.Image | None]:
    """Split a decoded picture into 8-bit colours, still in its own colour space, and alpha."""
    key = picture.info.get("transparency")  # one transparent colour, unless there is a palette
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        transparent = np.asarray(picture) == key if isinstance(key, int) else None
        return _grey_to_8_bits(picture, encoding), _alpha(transparent)
    if low is not None:
        values = np.asarray(picture).astype(np.uint16) << 8 | low
        colours = Image.fromarray(to_levels(values[..., :3], encoding))
        if isinstance(key, tuple):
            return colours, _alpha((values == np.array(key, np.uint16)).all(axis=-1))
        return colours, picture.getchannel("A") if picture.mode == "RGBA" else None
    if raw_mode in GREY_STEP and isinstance(key, int):  # in the few levels of the file
        level = key * GREY_STEP[raw_mode]
        alpha = picture.point([0 if grey == level else 255 for grey in range(256)])
        return encode_levels(picture, encoding), alpha
    if picture.has_transparency_data:
        straight = picture.convert("LA") if picture.mode == "La" else picture
        rgba = straight.convert("RGBA")
        grey = picture.getbands()[0] == "L" or raw_mode == "LA;16B"
        return encode_levels(rgba.convert("L" if grey else "RGB"), encoding), rgba.getchannel("A")
    if picture.mode == "L" and tiff_tag(picture, SAMPLE_FORMAT) == SIGNED:
        raise UserError("values of 8 bits with a sign cannot be read: save them without one")
    if picture.mode in ("RGB", "L", "CMYK", "LAB"):  # the modes that profiles describe
        return encode_levels(picture, encoding), None
    return encode_levels(picture.convert("RGB"), encoding), None


def _alpha(transparent: NDArray[np.bool_] | None) -> Image.Image | None:
    if transparent is None:
        return None
    return Image.fromarray(np.where(transparent, 0, 255).astype(np.uint8))


def _grey_to_8_bits(picture: Image.Image, encoding: Encoding | None) -> Image.Image:
    """Scale grey of more than 8 bits to mode "L"; `open_picture` names the ranges."""
    values = np.asarray(picture)
    signed = tiff_tag(picture, SAMPLE_FORMAT) == SIGNED
    bits = tiff_tag(picture, BITS)
    if encoding is not None and picture.mode != "F":  # a PNG
        return Image.fromarray(to_levels(values.astype(np.uint16), encoding))
    if picture.mode == "I" and bits == 32 and not signed:
        values = values.view(np.uint32)  # Pillow has no such mode
    values = values.astype(np.float32)
    if picture.mode == "F":
        top = max(1.0, float(values.max(initial=0.0, where=np.isfinite(values))))
    elif bits == 12:
        top = 4095.0
    elif bits == 16 and signed:
        top = 32767.0
    elif picture.mode == "I":
        top = max(65535.0, float(values.max()))
    else:
        top = 65535.0
    shares = np.nan_to_num(values / top, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
    if tiff_tag(picture, PHOTOMETRIC) == WHITE_IS_ZERO:
        shares = 1.0 - shares
    return Image.fromarray(np.rint(shares * 255.0).astype(np.uint8))


def _low_bytes(picture: Image.Image, raw_mode: str) -> NDArray[np.uint8] | None:
    """Read the lower 8 bits of an undecoded PNG of 16 bits, of which Pillow keeps the upper.

    Returns:
        ``(H, W, C)``, or None for PNGs of other modes: Pillow keeps all 16 bits of plain grey.
    """
    if raw_mode not in LOWER_FIRST:
        return None
    assert isinstance(picture, ImageFile.ImageFile)
    assert picture.fp is not None
    position = picture.fp.tell()
    picture.fp.seek(0)
    again = open_undecoded(io.BytesIO(picture.fp.read()))
    picture.fp.seek(position)
    assert isinstance(again, ImageFile.ImageFile)
    again.tile = [tile._replace(args=LOWER_FIRST[raw_mode]) for tile in again.tile]
    low = np.asarray(again)
    return low[..., 1:2] if raw_mode == "LA;16B" else low
