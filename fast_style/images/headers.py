"""Read the header and metadata of a picture file, without decoding its pixels."""

from __future__ import annotations

import os
import struct
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from fast_style.images.kinds import (
    FIRST_BYTES,
    RAW,
    READS_DEEP,
    READS_HEIF,
    SUFFIXES_OF_FORMAT,
    TIFF_BEGINNINGS,
    is_heif,
)

# Tags of TIFF 6.0 and DNG
NEW_SUBFILE_TYPE, BITS, PHOTOMETRIC, SAMPLE_FORMAT, DNG_VERSION = 254, 258, 262, 339, 50706
REDUCED, WHITE_IS_ZERO, SIGNED = 1, 0, 2  # values of three of them

UNSPECIFIED = 2  # in both tables of ITU-T H.273

_lifting_pillow_limit = threading.Lock()


def open_undecoded(file: BinaryIO) -> Image.Image:
    """Read the header of a picture of one of the formats in `SUFFIXES_OF_FORMAT`."""
    formats = _formats_to_try(file)
    try:
        return Image.open(file, formats=formats)
    except Image.DecompressionBombError:
        # Pillow's own limit is below ours and global to the process: lift it only while the header
        # is read, one thread at a time.
        with _lifting_pillow_limit:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(file, formats=formats)
            finally:
                Image.MAX_IMAGE_PIXELS = limit


def _formats_to_try(file: BinaryIO) -> list[str]:
    head = file.read(FIRST_BYTES)
    file.seek(-len(head), os.SEEK_CUR)
    if READS_DEEP and head[:4] in TIFF_BEGINNINGS:
        _register_grey_with_alpha()
    if READS_HEIF and is_heif(head):
        _register_heif()
        return ["HEIF"]
    return [name for name in SUFFIXES_OF_FORMAT if name != "HEIF"]


@cache
def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


@cache
def _register_grey_with_alpha() -> None:
    """Let Pillow open TIFFs of 16-bit grey with alpha, whose pixels libvips decodes."""
    from PIL import TiffImagePlugin

    for order in (b"II", b"MM"):
        for extra in ((), (1,), (2,)):  # kinds of alpha
            kind = (order, 1, (1,), 1, (16, 16), extra)
            TiffImagePlugin.OPEN_INFO.setdefault(kind, ("LA", "LA;16"))


def is_picture(path: Path) -> bool:
    """Return whether a file begins like a picture that `open_picture` reads."""
    try:
        with path.open("rb") as file:
            open_undecoded(file)
            return True
    except Exception:
        return False


def picture_size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of a picture file; None if it is not one that can be read."""
    try:
        with path.open("rb") as file:
            return open_undecoded(file).size
    except Exception:
        return None


def is_raw(picture: Image.Image, path: Path) -> bool:
    """Return whether Pillow found only the thumbnail of a camera's raw file, a kind of TIFF."""
    return picture.format == "TIFF" and (
        path.suffix.lower() in RAW.suffixes or tiff_tag(picture, DNG_VERSION) is not None
    )


def further_pictures(file: BinaryIO) -> str | None:
    """Say how many pictures a file holds; None for a single one.

    Previews do not count: the second picture in a camera's JPEG is one, and TIFF marks them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.seek(0)
            picture = open_undecoded(file)
            count = getattr(picture, "n_frames", 1)
            if count == 1 or picture.format == "MPO":
                return None
            if picture.format == "HEIF":
                return f"holds {count} pictures"
            if picture.format != "TIFF":
                return f"is an animation of {count} pictures"
            pages = 0
            for page in range(count):
                picture.seek(page)
                pages += not (tiff_tag(picture, NEW_SUBFILE_TYPE) or 0) & REDUCED
            return f"has {pages} pages" if pages > 1 else None
    except Exception:  # the rest of the file may be damaged
        return None


def tiff_tag(picture: Image.Image, tag: int) -> Any:
    """Return the first value of a TIFF tag, or None."""
    value = getattr(picture, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) else value


def png_raw_mode(picture: Image.Image) -> str:
    """Return how an undecoded PNG stores its pixels, in Pillow's terms; "" for other files."""
    tiles = getattr(picture, "tile", None)
    if picture.format != "PNG" or not tiles:
        return ""
    arguments = tiles[0].args
    return arguments if isinstance(arguments, str) else arguments[0]


def png_cicp(picture: Image.Image) -> tuple[int, ...] | None:
    """Return the cICP chunk of an undecoded PNG: primaries, transfer, matrix and full range."""
    file = getattr(picture, "fp", None)
    if not png_raw_mode(picture) or file is None:
        return None
    position = file.tell()
    file.seek(8)
    found = None
    while len(start := file.read(8)) == 8 and start[4:] not in (b"IDAT", b"IEND"):
        (length,) = struct.unpack(">I", start[:4])
        if start[4:] == b"cICP" and length == 4:
            found = tuple(file.read(4))
            break
        file.seek(length + 4, os.SEEK_CUR)
    file.seek(position)
    return found


def heif_cicp(picture: Image.Image) -> tuple[int, ...] | None:
    """Return what HEIF says about colours as a cICP does; None where it says nothing."""
    said = picture.info.get("nclx_profile")
    if picture.format != "HEIF" or not isinstance(said, dict) or "icc_profile" in picture.info:
        return None
    primaries, transfer = said["color_primaries"], said["transfer_characteristics"]
    # The decoder has already gone from YCbCr to RGB and to full range.
    return None if UNSPECIFIED in (primaries, transfer) else (primaries, transfer, 0, 1)


def exif_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 for an upright picture."""
    # ImageOps.exif_transpose also rewrites the EXIF block and fails on malformed tags that have
    # nothing to do with the orientation.
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the pixels are good even if EXIF cannot be parsed
        return 1


def exif_says_adobe_rgb(picture: Image.Image) -> bool:
    """Return whether EXIF has an uncalibrated colour space and "R03" (DCF 2.0, section 3.2.2)."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return False  # Pillow would decode the whole picture to look for it
    try:
        exif = picture.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
        return space != 1 and str(index).strip("\0 ") == "R03"
    except Exception:  # the pixels are good even if EXIF cannot be parsed
        return False
