"""Picture files: find them, open them, save them, and turn them into tensors and back.

The only module that knows files and pixel formats. Everything else has upright, opaque 8-bit sRGB
`PIL.Image.Image` pictures, or float RGB tensors in [0, 1].
"""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import os
import re
import secrets
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError, features

from fast_style.devices import available_memory, short_of_memory
from fast_style.errors import UserError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

MAX_PIXELS = 1_200_000_000
"""Pictures of more pixels than this are refused: enough for a gigapixel, and a few bytes of a file
cannot ask for any memory."""

BYTES_TO_DECODE = 8  # a pixel: Pillow keeps four, and what is decoded is copied once
LITTLE_MEMORY = 2**26  # bytes, for which asking how much is free would take too long

# Only plain raster formats: Pillow would hand an EPS file to Ghostscript, for one. The first five
# come first because Pillow knows them without importing all of its plugins.
_SUFFIXES_OF_FORMAT = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
} | ({"AVIF": (".avif", ".avifs")} if features.check("avif") else {})

SUFFIXES = frozenset(suffix for suffixes in _SUFFIXES_OF_FORMAT.values() for suffix in suffixes)
"""Lower-case suffixes of the files that are taken for pictures."""


class _Kind(NamedTuple):
    """What people take for a picture, or call one, and cannot be read."""

    name: str
    remedy: str
    suffixes: frozenset[str]


def _kind(name: str, remedy: str, suffixes: str = "") -> _Kind:
    return _Kind(name, remedy, frozenset(f".{suffix}" for suffix in suffixes.split()))


_HEIC = _kind("a HEIC photo", "export it as JPEG", "heic heif hif")
_AVIF = _kind("an AVIF picture", "save it as PNG", "avif avifs")
_RAW = _kind(
    "a camera's raw file",
    "export it as JPEG or TIFF",
    "3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl "
    "sr2 srf srw x3f",
)
_FILM = _kind(
    "a film",
    "save single pictures of it as PNG",
    "3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv",
)
_PROJECT = _kind(
    "an editor's project",
    "export it as PNG",
    "afdesign afphoto ai cdr clip kra ora pdn procreate psb psd sai xcf",
)
_DRAWING = _kind("a vector drawing", "export it as PNG", "emf eps ps svg svgz wmf")
_JPEG_XL = _kind("a JPEG XL picture", "save it as PNG", "jxl")
_HDR = _kind("a picture of high dynamic range", "save it as PNG", "exr hdr")
_RARE = _kind("a picture in a rare format", "save it as PNG", "dds icns ico jxr pcx tga wdp")
_PDF = _kind("a PDF document", "export its page as PNG")
_PAGE = _kind("a web page", "download the picture itself")

_KIND_OF_SUFFIX = {
    suffix: kind
    for kind in (_HEIC, _AVIF, _RAW, _FILM, _PROJECT, _DRAWING, _JPEG_XL, _HDR, _RARE)
    for suffix in kind.suffixes - SUFFIXES
}

# Brands of ISO base media files, which begin with a size and "ftyp" (ISO/IEC 14496-12).
_KIND_OF_BRAND = {
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _HEIC
    ),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    b"crx ": _RAW,
}

_KIND_OF_BEGINNING = {
    b"8BPS": _PROJECT,
    b"gimp xcf": _PROJECT,
    b"II*\0\x10\0\0\0CR": _RAW,
    b"FUJIFILMCCD-RAW": _RAW,
    b"IIRO": _RAW,
    b"IIRS": _RAW,
    b"IIU\0": _RAW,
    b"FOVb": _RAW,
    b"\x1aE\xdf\xa3": _FILM,
    b"%!PS": _DRAWING,
    b"\xc5\xd0\xd3\xc6": _DRAWING,
    b"<svg": _DRAWING,
    b"\xff\x0a": _JPEG_XL,
    b"\0\0\0\x0cJXL ": _JPEG_XL,
    b"v/1\x01": _HDR,
    b"#?RADIANCE": _HDR,
    b"%PDF": _PDF,
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
}

_SAVE_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
SAVE_SUFFIXES = frozenset(_SAVE_FORMATS)
"""Lower-case suffixes that `save_picture` knows."""

# libjpeg stops short of the 65,535 that the JPEG standard allows.
_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383}

_TURN_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_lifting_pillow_limit = threading.Lock()

NAMED_AT_MOST = 10  # files in one sentence


def find_pictures(folder: Path) -> list[Path]:
    """All pictures in `folder` and the folders below, told by suffix (`SUFFIXES`) and not opened.

    Hidden files and folders are skipped; links to folders are followed, each folder once. A warning
    is logged that counts and names the files that people take for pictures and that cannot be read.

    Returns:
        Paths that begin with `folder`, sorted.

    Raises:
        UserError: `folder` is missing, is not a folder, holds no picture, or cannot be listed.
    """
    pictures, unreadable = list_folder(folder)
    if unreadable:
        log.warning(
            "%d of the files in %s cannot be read and are left out: %s",
            len(unreadable),
            folder,
            _named(unreadable, folder),
        )
    return pictures


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """As `find_pictures`, without the warning.

    Returns:
        The pictures, and the files that people take for pictures and that cannot be read
        (`refusal` says why); both begin with `folder` and are sorted.
    """
    pictures: list[Path] = []
    unreadable: list[Path] = []
    for name in sorted(_walk(folder)):
        readable = name[name.rfind(".") :].lower() in SUFFIXES
        (pictures if readable else unreadable).append(Path(name))
    if not pictures and unreadable:
        others = f" There are also {_named(unreadable[1:], folder)}." if unreadable[1:] else ""
        raise UserError(
            f"{folder} holds no picture that can be read: {refusal(unreadable[0])}{others}"
        )
    if not pictures:
        raise UserError(
            f"{folder} holds no picture: neither in it nor in the folders below is there a file "
            f"that ends in {_listed(SUFFIXES)}."
        )
    return pictures, unreadable


def refusal(path: Path) -> str:
    """Why one of the files that `list_folder` gives second cannot be read, in one sentence."""
    kind = _KIND_OF_SUFFIX[path.suffix.lower()]
    return f"{path} is {kind.name}, which cannot be read: {kind.remedy}."


def _named(paths: Sequence[Path], folder: Path) -> str:
    names = [str(path.relative_to(folder)) for path in paths[:NAMED_AT_MOST]]
    if len(paths) > NAMED_AT_MOST:
        names.append(f"{len(paths) - NAMED_AT_MOST} more")
    return ", ".join(names)


def _walk(folder: Path) -> Iterator[str]:
    """Names of files that are pictures, or are taken for some."""

    # Names, not paths: of a hundred thousand photos, listing shall be what takes the time.
    def refuse(error: OSError) -> NoReturn:
        if isinstance(error, FileNotFoundError):
            raise UserError(
                _address(folder) or f"{folder} does not exist: name a folder of pictures."
            ) from error
        if isinstance(error, NotADirectoryError):
            raise UserError(
                f"{folder} is not a folder: name the folder that the pictures are in."
            ) from error
        raise UserError(
            f"{error.filename} cannot be listed ({error.strerror}): allow reading it, or name "
            "another folder of pictures."
        ) from error

    seen = set()  # links can lead back to where they are
    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            suffix = name[name.rfind(".") :].lower()
            if (suffix in SUFFIXES or suffix in _KIND_OF_SUFFIX) and not name.startswith("."):
                yield f"{root}{os.sep}{name}"


def _address(path: Path) -> str | None:
    """What to do with an address of the web, which is no file."""
    # Paths have one slash where addresses have two.
    found = re.match(r"(https?|ftp|s3|gs):/+", str(path), re.IGNORECASE)
    if found is None:
        return None
    address = f"{found[1]}://{str(path)[found.end() :]}"
    return f"{address} is an address, not a file: download it first, and name the file."


def open_picture(
    path: Path,
    draft_side: int | None = None,
    note: Callable[[str], object] | None = None,
) -> Image.Image:
    """Open a picture file as upright, opaque sRGB, fully decoded, without metadata.

    What the file is, its content decides and not its suffix. The EXIF orientation is applied. What
    the file says of its colours is converted to sRGB: an ICC profile (a broken one is ignored), a
    PNG's cICP, gAMA and cHRM (PNG, third edition, section 4.3: cICP counts before iCCP, that before
    sRGB, that before gAMA and cHRM), Adobe RGB told by EXIF alone. Transparency is laid over white.
    Of an animation or several pages, the first picture is taken. Grey of more than 8 bits is scaled
    to 8: 12-bit values from [0, 4095] and 16-bit values from [0, 65535] (with a sign: 32767);
    32-bit integers from [0, 65535], or from [0, their maximum] where that is larger; floats from
    [0, 1], or from [0, their maximum] where that is larger.

    Args:
        path: The file.
        draft_side: Decode a JPEG directly at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size
            that leaves the shorter side at least this many pixels; much faster where large photos
            are to become small. Other formats are decoded at full size.
        note: Told in a sentence where the file holds more pictures than the first.

    Returns:
        A picture of mode "RGB".

    Raises:
        UserError: The file is missing, cannot be read, is empty, is no file but a pipe or a device,
            is not a picture, is damaged or incomplete, has more than `MAX_PIXELS` pixels, or
            colours that cannot be converted.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening could wait without end
            raise UserError(
                f"{path} is a pipe or a device, not a file: save the picture to a file first."
            )
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UserError(f"{path} is empty, zero bytes long: copy the picture again.")
            picture = _decode(file, path, draft_side)
            if note is not None and (more := _further_pictures(file)):
                note(f"{path} {more}: only the first is used")
            return picture
    except FileNotFoundError as error:
        raise UserError(
            _address(path) or f"{path} does not exist: check the name of the picture."
        ) from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder: name a picture in it.") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read: allow reading it.") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): check its name and its disk."
        ) from error


def _decode(file: BinaryIO, path: Path, draft_side: int | None) -> Image.Image:
    try:
        # Pillow warns of oddities in files that it reads all the same.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _open_undecoded(file)
            if picture.width * picture.height > MAX_PIXELS:
                raise UserError(
                    f"{path} has {picture.width:,} x {picture.height:,} pixels and at most "
                    f"{MAX_PIXELS // 1_000_000} megapixels can be read: shrink it first."
                )
            if _is_raw(picture, path):
                raise UserError(
                    f"{path} is {_RAW.name}, of which only a preview could be read: {_RAW.remedy}."
                )
            if draft_side is not None:
                picture.draft(None, (draft_side, draft_side))
            needed = picture.width * picture.height * BYTES_TO_DECODE
            if needed > LITTLE_MEMORY and needed > available_memory():
                raise UserError(
                    f"{path} does not fit into the memory that is free, of which it takes "
                    f"{needed / 1e9:.1f} GB: shrink it first."
                )
            try:
                return upright_rgb(picture)
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(_unidentified(file, path)) from error
    except Exception as error:  # decoders raise nearly anything when the data is wrong
        if short_of_memory(error):
            raise UserError(f"{path} does not fit into memory: shrink it first.") from error
        raise UserError(f"{path} is damaged or incomplete: copy or download it again.") from error


def _is_raw(picture: Image.Image, path: Path) -> bool:
    """Many cameras' raw files are TIFF with a thumbnail in front."""
    return picture.format == "TIFF" and (
        path.suffix.lower() in _RAW.suffixes or _tiff_tag(picture, DNG_VERSION) is not None
    )


def _unidentified(file: BinaryIO, path: Path) -> str:
    """What a file is that Pillow does not know, as far as its beginning or its suffix tells."""
    file.seek(0)
    head = file.read(256)
    kind = _KIND_OF_SUFFIX.get(path.suffix.lower())
    if head[4:8] == b"ftyp":
        kind = _KIND_OF_BRAND.get(head[8:12], kind or _FILM)
    elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        kind = _FILM
    elif head[:4] in (b"II*\0", b"MM\0*") and kind is None and head[8:10] != b"CR":
        return (
            f"{path} is a TIFF of a kind that cannot be read, or its beginning is damaged: save it "
            "with 8 bits per channel."
        )
    else:
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        for beginning, found in _KIND_OF_BEGINNING.items():
            if head.startswith(beginning) or text.startswith(beginning.lower()):
                kind = found
        if text.startswith(b"<?xml") and b"<svg" in text:
            kind = _DRAWING
    if kind is not None:
        return f"{path} is not a picture that can be read but {kind.name}: {kind.remedy}."
    return (
        f"{path} is not a picture that can be read, or its beginning is damaged: use "
        f"{_listed(_SUFFIXES_OF_FORMAT)}."
    )


def _further_pictures(file: BinaryIO) -> str | None:
    """How many pictures a file holds where they are several. The second picture in a camera's JPEG
    is a preview, and pages of a TIFF may be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.seek(0)
            picture = _open_undecoded(file)
            count = getattr(picture, "n_frames", 1)
            if count == 1 or picture.format == "MPO":
                return None
            if picture.format != "TIFF":
                return f"is an animation of {count} pictures"
            pages = 0
            for page in range(count):
                picture.seek(page)
                pages += not (_tiff_tag(picture, NEW_SUBFILE_TYPE) or 0) & REDUCED
            return f"has {pages} pages" if pages > 1 else None
    except Exception:  # what follows the first picture may be damaged
        return None


def upright_rgb(picture: Image.Image) -> Image.Image:
    """A picture that Pillow opened, of any mode, as `open_picture` gives it: upright, opaque sRGB.

    Raises:
        UserError: The picture's colours cannot be converted.
        OSError: and nearly anything else that Pillow's decoders raise where the file is damaged.
    """
    raw_mode = _png_raw_mode(picture)
    encoding = _encoding(picture)
    low = _low_bytes(picture, raw_mode) if encoding or "transparency" in picture.info else None
    picture.load()
    rgb = _as_srgb(picture, encoding, raw_mode, low)
    turn = _TURN_OF_ORIENTATION.get(_orientation(picture))
    if turn is not None:
        rgb = rgb.transpose(turn)
    if rgb is picture:
        rgb = picture.copy()
    rgb.info.clear()  # Pillow would write an old profile into the files saved from this picture
    return rgb


def _open_undecoded(file: BinaryIO) -> Image.Image:
    formats = list(_SUFFIXES_OF_FORMAT)
    try:
        return Image.open(file, formats=formats)
    except Image.DecompressionBombError:
        # Pillow's own limit is below MAX_PIXELS. It is global to the process, so it is lifted just
        # while the header is read, by one thread at a time, and left as it was.
        with _lifting_pillow_limit:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(file, formats=formats)
            finally:
                Image.MAX_IMAGE_PIXELS = limit


def _orientation(picture: Image.Image) -> int:
    # Not ImageOps.exif_transpose: it also writes the EXIF block anew, and fails where a tag that
    # has nothing to do with the orientation is malformed.
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF that cannot be parsed does not make the pixels worse
        return 1


# Tags of TIFF 6.0, and of DNG
NEW_SUBFILE_TYPE, BITS, PHOTOMETRIC, SAMPLE_FORMAT, DNG_VERSION = 254, 258, 262, 339, 50706
REDUCED, WHITE_IS_ZERO, SIGNED = 1, 0, 2  # their values


def _tiff_tag(picture: Image.Image, tag: int) -> Any:
    """The first value of a tag, or None."""
    value = getattr(picture, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) else value


def _as_srgb(
    picture: Image.Image,
    encoding: _Encoding | None,
    raw_mode: str,
    low: NDArray[np.uint8] | None,
) -> Image.Image:
    """A loaded picture in opaque sRGB; what was known of it before it was loaded is `_encoding`,
    `_png_raw_mode` and `_low_bytes`."""
    alpha = None
    key = picture.info.get("transparency")  # one colour, where it is no palette's
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        if isinstance(key, int):
            alpha = Image.fromarray(np.where(np.asarray(picture) == key, 0, 255).astype(np.uint8))
        colours = _grey_to_8_bits(picture, encoding)
    elif low is not None:
        values = np.asarray(picture).astype(np.uint16) << 8 | low
        if isinstance(key, tuple):
            transparent = (values == np.array(key, np.uint16)).all(axis=-1)
            alpha = Image.fromarray(np.where(transparent, 0, 255).astype(np.uint8))
        elif picture.mode == "RGBA":
            alpha = picture.getchannel("A")
        colours = Image.fromarray(_levels(values[..., :3], encoding))
    elif raw_mode in GREY_STEP and isinstance(key, int):
        # The file says it in its own few levels, which Pillow has spread over 256.
        level = key * GREY_STEP[raw_mode]
        alpha = picture.point([0 if grey == level else 255 for grey in range(256)])
        colours = _encoded_levels(picture, encoding)
    elif picture.has_transparency_data:
        straight = picture.convert("LA") if picture.mode == "La" else picture
        rgba = straight.convert("RGBA")
        alpha = rgba.getchannel("A")
        grey = picture.getbands()[0] == "L" or raw_mode == "LA;16B"
        colours = _encoded_levels(rgba.convert("L" if grey else "RGB"), encoding)
    elif picture.mode == "L" and _tiff_tag(picture, SAMPLE_FORMAT) == SIGNED:
        raise UserError("values of 8 bits with a sign cannot be read: save them without one")
    elif picture.mode in ("RGB", "L", "CMYK", "LAB"):  # what profiles are made for
        colours = _encoded_levels(picture, encoding)
    else:
        colours = _encoded_levels(picture.convert("RGB"), encoding)

    profile = encoding.profile() if encoding else picture.info.get("icc_profile")
    transform = _transform_to_srgb(profile, colours.mode)
    if transform is None:
        rgb = colours.convert("RGB")
    else:
        converted = ImageCms.applyTransform(colours.convert(transform.input_mode), transform)
        assert converted is not None  # it is only where applyTransform works in place
        rgb = converted
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    return rgb


def _grey_to_8_bits(picture: Image.Image, encoding: _Encoding | None) -> Image.Image:
    values = np.asarray(picture)
    signed = _tiff_tag(picture, SAMPLE_FORMAT) == SIGNED
    bits = _tiff_tag(picture, BITS)
    if encoding is not None and picture.mode != "F":  # a PNG's
        return Image.fromarray(_levels(values.astype(np.uint16), encoding))
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
    if _tiff_tag(picture, PHOTOMETRIC) == WHITE_IS_ZERO:
        shares = 1.0 - shares
    return Image.fromarray(np.rint(shares * 255.0).astype(np.uint8))


# What a PNG of fewer bits multiplies its grey by, to have 256 levels.
GREY_STEP = {"L;2": 85, "L;4": 17}

LOWER_FIRST = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


def _png_raw_mode(picture: Image.Image) -> str:
    """How an undecoded PNG stores its pixels, as Pillow calls it; else nothing."""
    tiles = getattr(picture, "tile", None)
    if picture.format != "PNG" or not tiles:
        return ""
    arguments = tiles[0].args
    return arguments if isinstance(arguments, str) else arguments[0]


def _low_bytes(picture: Image.Image, raw_mode: str) -> NDArray[np.uint8] | None:
    """The lower 8 bits, ``(H, W, C)``, of an undecoded PNG of 16 bits in colour or with alpha, of
    which Pillow keeps the upper. It reads the same bytes as if the lower ones came first, or, of
    grey and alpha, as if they were of four channels."""
    if raw_mode not in LOWER_FIRST:
        return None
    assert isinstance(picture, ImageFile.ImageFile)
    assert picture.fp is not None
    position = picture.fp.tell()
    picture.fp.seek(0)
    again = _open_undecoded(io.BytesIO(picture.fp.read()))
    picture.fp.seek(position)
    assert isinstance(again, ImageFile.ImageFile)
    again.tile = [tile._replace(args=LOWER_FIRST[raw_mode]) for tile in again.tile]
    low = np.asarray(again)
    return low[..., 1:2] if raw_mode == "LA;16B" else low


class _Encoding(NamedTuple):
    """What the numbers of a picture mean where no ICC profile says it.

    Args:
        chromaticities: CIE x and y of white, red, green and blue.
        exponent: Light is the ``exponent``-th power of the number in [0, 1]; None for sRGB's curve.
    """

    chromaticities: tuple[float, ...]
    exponent: float | None

    def profile(self) -> bytes | None:
        """The ICC profile of `_levels`."""
        return _rgb_profile(self.chromaticities, None if self.exponent is None else EVEN)


D65 = (0.3127, 0.3290)
BT709 = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # and sRGB's
ADOBE_RGB = _Encoding((*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256)

# Of ITU-T H.273, tables 2 and 3.
_PRIMARIES = {
    1: BT709,
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
# What is made for video is shown as sRGB by browsers as well.
_EXPONENTS = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}

# The power by which 8 bits are encoded on the way to sRGB: near sRGB's curve, steps are even.
EVEN = 2.2

# PNG's sRGB chunk stands beside this gAMA, which means sRGB's own curve.
SRGB_GAMMA = 0.45455


def _encoding(picture: Image.Image) -> _Encoding | None:
    """What a PNG's chunks or EXIF say of the colours; None where that is sRGB, or the ICC profile.

    Raises:
        UserError: Nobody could show these colours without a loss to choose.
    """
    cicp = _cicp(picture)
    if cicp is not None:
        primaries, transfer, matrix, full_range = cicp
        if primaries not in _PRIMARIES or transfer not in _EXPONENTS or matrix or not full_range:
            raise UserError(
                f"colours of this kind (cICP {primaries}, {transfer}, {matrix}, {full_range}; HDR "
                "is 16 or 18 at second place) cannot be converted: save it as sRGB"
            )
        found = _Encoding(_PRIMARIES[primaries], _EXPONENTS[transfer])
        return None if found == (BT709, None) else found
    if "icc_profile" in picture.info or "srgb" in picture.info:
        return None
    gamma, chromaticities = (picture.info.get(key) for key in ("gamma", "chromaticity"))
    if isinstance(gamma, float) and not 0.01 <= gamma <= 100:  # no file means that
        gamma = None
    if gamma is None and chromaticities is None:
        return ADOBE_RGB if _exif_says_adobe_rgb(picture) else None
    chromaticities = tuple(chromaticities or BT709)
    like_srgb = np.allclose(chromaticities, BT709, atol=0.001)
    if gamma is None or abs(gamma - SRGB_GAMMA) < 1e-4:
        return None if like_srgb else _Encoding(chromaticities, gamma and 1 / gamma)
    return _Encoding(chromaticities, 1 / gamma)


def _cicp(picture: Image.Image) -> tuple[int, ...] | None:
    """The cICP chunk of an undecoded PNG: primaries, transfer, matrix and full range."""
    file = getattr(picture, "fp", None)
    if not _png_raw_mode(picture) or file is None:
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


def _exif_says_adobe_rgb(picture: Image.Image) -> bool:
    """DCF 2.0, section 3.2.2: an uncalibrated colour space and interoperability index "R03"."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return False  # Pillow would decode all of the picture to look for it
    try:
        exif = picture.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
        return space != 1 and str(index).strip("\0 ") == "R03"
    except Exception:  # as for the orientation
        return False


def _levels(values: NDArray[Any], encoding: _Encoding | None) -> NDArray[np.uint8]:
    """uint8 or uint16 numbers in 256 levels: evenly where the encoding has sRGB's curve, else
    encoded by the power of 1/`EVEN`."""
    exponent = None if encoding is None else encoding.exponent
    top = np.iinfo(values.dtype).max
    shares = np.arange(top + 1) / top
    table = np.rint(255 * shares ** (1 if exponent is None else exponent / EVEN))
    return table.astype(np.uint8)[values]


def _encoded_levels(picture: Image.Image, encoding: _Encoding | None) -> Image.Image:
    if encoding is None or encoding.exponent is None or picture.mode not in ("L", "RGB"):
        return picture
    table = _levels(np.arange(256, dtype=np.uint8), encoding)
    return picture.point(table.tolist() * len(picture.getbands()))


@lru_cache(maxsize=16)
def _rgb_profile(chromaticities: tuple[float, ...], exponent: float | None) -> bytes | None:
    """An ICC profile of primaries and a curve; None where no colours have such primaries."""
    x, y = np.reshape(chromaticities, (4, 2)).T
    xyz = np.stack([x, y, 1 - x - y])
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # told below
            white = xyz[:, 0] / xyz[1, 0]
        primaries = xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], white)
        cones = BRADFORD @ white
        adapted = np.linalg.solve(BRADFORD, np.diag(BRADFORD @ D50 / cones) @ BRADFORD)
        columns = (adapted @ primaries).T
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(columns).all() or np.abs(columns).max() > 100:
        return None
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    values = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True))
    if exponent is not None:  # (a X + b)^g, and c X below d
        values |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), np.array([exponent, 1, 0, 0, 0]))
    (count,) = struct.unpack_from(">I", profile, 128)
    for tag in range(count):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * tag)
        if name in values:
            begin = offset + (8 if name.endswith(b"XYZ") else 12)
            numbers = np.rint(values[name] * 65536).astype(">i4").tobytes()
            profile[begin : begin + len(numbers)] = numbers
    return bytes(profile)


# Lindbloom's, as ICC.1:2022, annex E has it.
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
D50 = np.array([0.9642, 1.0, 0.8249])


@lru_cache(maxsize=16)  # a folder of photos has few profiles, and many photos of each
def _transform_to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the colours that `profile` describes to sRGB; None where nothing is to be converted."""
    try:
        if profile is not None:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        elif mode == "LAB":  # CIELAB means the same without a profile
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            return None
        space = source.profile.xcolor_space.strip()
        source_mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}.get(space)
        if source_mode is None or (source_mode != mode and (source_mode, mode) != ("RGB", "L")):
            return None  # a profile for other pixels than these
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, source_mode, "RGB")
        if source_mode == "RGB" and _changes_nothing(transform):
            return None
        return transform
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether the profile is sRGB, whatever its name: names are no guide ("Linear sRGB" is not)."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    converted = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return bool(np.abs(np.asarray(converted, dtype=int) - colours).max() <= 1)


def save_picture(
    picture: Image.Image, path: Path, quality: int = 95, mark: str | None = None
) -> None:
    """Save a picture in the format that the suffix of `path` names; missing folders are made.

    The file is complete or, after a failure, as it was before.

    Args:
        picture: The picture, of mode "RGB".
        path: A name that ends in .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp.
        quality: For JPEG (which keeps full colour resolution, 4:4:4) and WebP, 1 to 100.
        mark: What `read_mark` shall find in the file. BMP has no room for it.

    Raises:
        UserError: The suffix is another, the picture is larger than the format can hold, or the
            file cannot be written.
    """
    file_format = _SAVE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        nearest = nearest_suffix(path)
        raise UserError(
            f"{path} does not say in which format to save: let the name end in "
            f"{nearest or _listed(_SAVE_FORMATS)}."
        )
    max_side = _MAX_SIDE.get(file_format)
    if max_side is not None and max(picture.size) > max_side:
        raise UserError(
            f"{path} cannot be saved: the picture has {picture.width:,} x {picture.height:,} "
            f"pixels and a {file_format} file at most {max_side:,} on a side, so save it as .png "
            "or .tif, or make it smaller."
        )
    options: dict[str, Any] = {}
    if file_format in ("JPEG", "WEBP"):
        options["quality"] = quality
    if file_format == "JPEG":
        options["subsampling"] = 0
    if mark is not None and file_format != "BMP":
        exif = Image.Exif()
        exif[ExifTags.Base.Software] = "fast-style"
        exif[ExifTags.Base.ImageID] = mark
        options["exif"] = exif

    # Opened by name, unlike tempfile's files, it has the permissions that the umask asks for.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _unfinished.add(temporary)
        try:
            with temporary.open("x+b") as file:
                picture.save(file, format=file_format, **options)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            _unfinished.discard(temporary)
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder: name a file to write.") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{path} cannot be saved: there is a file where its folder should be, so name "
            "another folder."
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be saved ({error.strerror or error}): name a folder that can be "
            "written to and has room."
        ) from error


_unfinished: set[Path] = set()


def remove_unfinished() -> None:
    """Remove the files that other threads are writing: for a program that ends without them."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink()


def read_mark(path: Path) -> str | None:
    """The mark that `save_picture` gave a picture's file; None where it has none."""
    try:
        if not path.is_file():  # opening a pipe could wait without end
            return None
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            mark = _open_undecoded(file).getexif().get(ExifTags.Base.ImageID)
            return None if mark is None else str(mark)
    except Exception:  # whatever it is, it is not what was saved
        return None


def is_picture(path: Path) -> bool:
    """Whether a file begins as one of the pictures that `open_picture` reads."""
    try:
        with path.open("rb") as file:
            _open_undecoded(file)
            return True
    except Exception:
        return False


def nearest_suffix(path: Path) -> str | None:
    """The suffix of a format to save in that is meant by one with a slip, as ``.jpgg``."""
    suffix = path.suffix.lower()
    if suffix in _KIND_OF_SUFFIX or suffix in SUFFIXES - SAVE_SUFFIXES:
        return ".png"
    found = difflib.get_close_matches(suffix, sorted(SAVE_SUFFIXES), n=1, cutoff=0.75)
    return found[0] if found else None


def check_writable(path: Path, picture: Image.Image) -> None:
    """Save a picture of that size beside `path` and remove it: better now than in an hour.

    Raises:
        UserError: As `save_picture` would.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file to write, as {path / 'out.png'}")
    probe = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        save_picture(picture, probe)
    except UserError as error:
        raise UserError(str(error).replace(str(probe), str(path))) from error
    probe.unlink()


def resize_picture(picture: Image.Image, longer_side: int) -> Image.Image:
    """Scale a picture, up or down, with the Lanczos filter; its aspect is kept.

    Args:
        picture: The picture, of mode "RGB".
        longer_side: The longer side of the result in pixels. The shorter is at least 1.
    """
    scale = longer_side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """The (3, H, W) float32 tensor in [0, 1] of a picture of mode "RGB"."""
    import torch  # takes seconds: the command line shall start without it

    pixels = torch.from_numpy(np.array(picture))
    channels = pixels.permute(2, 0, 1)
    return channels.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)


def to_picture(tensor: torch.Tensor) -> Image.Image:
    """The picture of mode "RGB" of a (3, H, W) tensor, on any device.

    Args:
        tensor: Of any float type, in [0, 1]: values beyond are clamped, then rounded to the
            nearest of 256 levels. Or uint8, taken as it is.
    """
    import torch  # takes seconds: the command line shall start without it

    levels = tensor.detach()
    if levels.dtype != torch.uint8:
        # In float32, where bfloat16 and float16 would round the products once more. To 8 bits
        # before the copy from the device, which is then a quarter.
        levels = levels.float().clamp(0.0, 1.0).mul_(255.0).round_().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())


def start_download(levels: torch.Tensor) -> Callable[[], Image.Image]:
    """Begin to fetch ``(H, W, 3)`` uint8 from a device: of CUDA's, nobody waits for that yet.

    Returns:
        What waits for the picture and gives it, on any thread.
    """
    import torch  # takes seconds: the command line shall start without it

    if levels.device.type != "cuda":
        picture = Image.fromarray(levels.cpu().numpy())
        return lambda: picture
    arriving = torch.empty(levels.shape, dtype=torch.uint8, pin_memory=True)
    arriving.copy_(levels, non_blocking=True)
    # Threads that wait sleep, and leave the cores to those that read and write files.
    arrived = torch.cuda.Event(blocking=True)
    arrived.record(torch.cuda.current_stream(levels.device))

    def fetch() -> Image.Image:
        arrived.synchronize()
        return Image.fromarray(arriving.numpy())

    return fetch


def _listed(names: Iterable[str]) -> str:
    *others, last = sorted(names)
    return f"{', '.join(others)} or {last}"
