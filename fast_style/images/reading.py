"""Open picture files."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from fast_style.devices import available_memory, short_of_memory
from fast_style.errors import UserError
from fast_style.extras import missing_extra
from fast_style.images.conversion import upright_rgb
from fast_style.images.deep import BYTES_TO_DECODE as BYTES_TO_DECODE_DEEP
from fast_style.images.deep import bits_of, is_deep
from fast_style.images.headers import further_pictures, is_raw, open_undecoded
from fast_style.images.kinds import (
    FIRST_BYTES,
    RAW,
    READS_DEEP,
    address_refusal,
    refusal_by_content,
)
from fast_style.images.photo import WholePhoto, whole_photo

Opened = TypeVar("Opened", Image.Image, WholePhoto)

MAX_PIXELS = 1_200_000_000
"""Larger pictures are refused. This allows a gigapixel, while a file of a few bytes cannot demand
any amount of memory."""

BYTES_TO_DECODE = 8  # a pixel: Pillow keeps four, and the decoded picture is copied once
LITTLE_MEMORY = 2**26  # bytes; asking how much is free would take longer than decoding


def open_picture(
    path: Path,
    draft_side: int | None = None,
    note: Callable[[str], object] | None = None,
) -> Image.Image:
    """Open a picture file as upright, opaque sRGB, fully decoded, without metadata.

    The content of the file decides its format, not the suffix. The EXIF orientation is applied.
    Colours are converted to sRGB from an ICC profile (a broken one is ignored), from a PNG's cICP,
    gAMA and cHRM, or from Adobe RGB that only EXIF names. Transparency is laid over white. An
    animation or a document of several pages gives its first picture.

    Grey of more than 8 bits is scaled to 8: 12-bit values from [0, 4095], 16-bit values from
    [0, 65535], or [0, 32767] with a sign, 32-bit integers from [0, 65535] and floats from [0, 1].
    If the largest 32-bit value is greater, it takes the place of the upper end.

    Args:
        path: the file.
        draft_side: decode a JPEG directly at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size
            whose shorter side has at least this many pixels. This is much faster for large photos
            that are to become small. Other formats are decoded at full size.
        note: told in a sentence if the file holds further pictures.

    Returns:
        A picture of mode "RGB".

    Raises:
        UserError: if the file is missing, cannot be read, is empty, is a folder, a pipe or a
            device, is not a picture, is damaged or incomplete, has more than `MAX_PIXELS` pixels,
            or has colours that cannot be converted.

    >>> from fast_style.bundled import PHOTOS
    >>> photo = open_picture(PHOTOS / "coffee.jpg")
    >>> photo.mode, photo.size
    ('RGB', (600, 400))
    """
    return _open(path, lambda picture, _: upright_rgb(picture), draft_side, note)


def open_photo(
    path: Path, note: Callable[[str], object] | None = None, deep: bool = False
) -> WholePhoto:
    """Open a picture file as `open_picture` does, and keep transparency, profile and metadata.

    Args:
        path: the file.
        note: told in a sentence if the file holds further pictures, or more bits than are kept.
        deep: keep 16 bits of PNG and TIFF in RGB and grey, as floats. This needs the extra
            ``deep``; without it the photo has 8 bits.

    Raises:
        UserError: as `open_picture` does.
    """

    def convert(picture: Image.Image, file: BinaryIO) -> WholePhoto:
        kept = deep and READS_DEEP and is_deep(picture)
        if kept:
            _check_memory(picture, path, BYTES_TO_DECODE_DEEP)
        elif deep and note is not None and (bits := bits_of(picture)):
            note(_bits_are_lost(path, bits, is_deep(picture)))
        return whole_photo(picture, file, kept)

    return _open(path, convert, None, note)


def _bits_are_lost(path: Path, bits: int, usual: bool) -> str:
    if usual:  # the same sentence for all files of a folder
        return f"pictures of 16 bits become 8 bits a channel: {missing_extra('deep', 'all 16')}"
    return (
        f"{path} has {bits} bits a channel of a rare kind and becomes 8 bits: save it with 16 bits "
        "in RGB or grey to keep them"
    )


def _open(
    path: Path,
    convert: Callable[[Image.Image, BinaryIO], Opened],
    draft_side: int | None,
    note: Callable[[str], object] | None,
) -> Opened:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening could wait forever
            raise UserError(
                f"{path} is a pipe or a device, not a file: save the picture to a file first."
            )
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UserError(f"{path} is empty, zero bytes long: copy the picture again.")
            picture = _decode(file, path, convert, draft_side)
            if note is not None and (more := further_pictures(file)):
                note(f"{path} {more}: only the first is used")
            return picture
    except FileNotFoundError as error:
        raise UserError(
            address_refusal(path) or f"{path} does not exist: check the name of the picture."
        ) from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder: name a picture in it.") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read: give yourself permission to read it.") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): check its name and its disk."
        ) from error


def _decode(
    file: BinaryIO,
    path: Path,
    convert: Callable[[Image.Image, BinaryIO], Opened],
    draft_side: int | None,
) -> Opened:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd files that it reads nevertheless
            picture = open_undecoded(file)
            _check_size(picture, path)
            if is_raw(picture, path):
                raise UserError(
                    f"{path} is {RAW.name}, and only its preview could be read: {RAW.remedy}."
                )
            if draft_side is not None:
                picture.draft(None, (draft_side, draft_side))
            _check_memory(picture, path)
            try:
                return convert(picture, file)
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
    except UserError:
        raise
    except UnidentifiedImageError as error:
        file.seek(0)
        raise UserError(refusal_by_content(path, file.read(FIRST_BYTES))) from error
    except Exception as error:  # decoders raise nearly anything if the data is wrong
        if short_of_memory(error):
            raise UserError(f"{path} does not fit into memory: shrink it first.") from error
        raise UserError(f"{path} is damaged or incomplete: copy or download it again.") from error


def _check_size(picture: Image.Image, path: Path) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise UserError(
            f"{path} has {picture.width:,} x {picture.height:,} pixels, more than the "
            f"{MAX_PIXELS // 1_000_000} megapixels that can be read: shrink it first."
        )


def _check_memory(picture: Image.Image, path: Path, pixel: int = BYTES_TO_DECODE) -> None:
    needed = picture.width * picture.height * pixel
    if needed > LITTLE_MEMORY and needed > available_memory():
        raise UserError(
            f"{path} takes {needed / 1e9:.1f} GB of memory to open, more than is free: shrink it "
            "first."
        )
