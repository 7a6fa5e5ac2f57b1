"""Which files are pictures that can be read, and what to do with those that are not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import features

from fast_style.extras import missing_extra

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
READS_HEIF = find_spec("pillow_heif") is not None  # it is imported only for such a file
READS_DEEP = find_spec("pyvips") is not None  # the same

# Plain raster formats only: Pillow would hand an EPS file to Ghostscript, for example. Pillow knows
# the first five without importing its other plugins, so they come first.
SUFFIXES_OF_FORMAT = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
}
if READS_HEIF:
    SUFFIXES_OF_FORMAT["HEIF"] = HEIF_SUFFIXES
if features.check("avif"):
    SUFFIXES_OF_FORMAT["AVIF"] = (".avif", ".avifs")

SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF_FORMAT.values() for suffix in suffixes)
"""Lower-case suffixes of the files that count as pictures."""


@dataclass(frozen=True)
class UnreadableKind:
    """A kind of file that people call a picture and that cannot be read.

    Args:
        name: what such a file is, with its article.
        remedy: what to do with it.
        suffixes: lower-case suffixes of such files.
    """

    name: str
    remedy: str
    suffixes: frozenset[str]


def _kind(name: str, remedy: str, suffixes: str = "") -> UnreadableKind:
    return UnreadableKind(name, remedy, frozenset(f".{suffix}" for suffix in suffixes.split()))


HEIC = _kind(
    "a HEIC photo",
    # What cannot be read with the extra is of a rare kind, or damaged.
    ("" if READS_HEIF else f"{missing_extra('heif', 'HEIC photos')}  or ") + "export it as JPEG",
    "heic heif hif",
)
AVIF = _kind("an AVIF picture", "save it as PNG", "avif avifs")
RAW = _kind(
    "a camera's raw file",
    "export it as JPEG or TIFF",
    "3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl "
    "sr2 srf srw x3f",
)
FILM = _kind(
    "a film",
    "save single frames of it as PNG",
    "3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv",
)
PROJECT = _kind(
    "an editor's project",
    "export it as PNG",
    "afdesign afphoto ai cdr clip kra ora pdn procreate psb psd sai xcf",
)
DRAWING = _kind("a vector drawing", "export it as PNG", "emf eps ps svg svgz wmf")
JPEG_XL = _kind("a JPEG XL picture", "save it as PNG", "jxl")
HDR = _kind("a picture of high dynamic range", "save it as PNG", "exr hdr")
RARE = _kind("a picture in a rare format", "save it as PNG", "dds icns ico jxr pcx tga wdp")
PDF = _kind("a PDF document", "export its page as PNG")
PAGE = _kind("a web page", "download the picture itself")

UNREADABLE_KIND_OF_SUFFIX = {
    suffix: kind
    for kind in (HEIC, AVIF, RAW, FILM, PROJECT, DRAWING, JPEG_XL, HDR, RARE)
    for suffix in kind.suffixes - SUFFIXES
}

# Brands of ISO base media files, which begin with a size and "ftyp" (ISO/IEC 14496-12).
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
KIND_OF_BRAND = {
    **dict.fromkeys(HEIF_BRANDS, HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    b"crx ": RAW,
}

KIND_OF_FIRST_BYTES = {
    b"8BPS": PROJECT,
    b"gimp xcf": PROJECT,
    b"II*\0\x10\0\0\0CR": RAW,
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"IIU\0": RAW,
    b"FOVb": RAW,
    b"\x1aE\xdf\xa3": FILM,
    b"%!PS": DRAWING,
    b"\xc5\xd0\xd3\xc6": DRAWING,
    b"<svg": DRAWING,
    b"\xff\x0a": JPEG_XL,
    b"\0\0\0\x0cJXL ": JPEG_XL,
    b"v/1\x01": HDR,
    b"#?RADIANCE": HDR,
    b"%PDF": PDF,
    b"<!doctype html": PAGE,
    b"<html": PAGE,
}

TIFF_BEGINNINGS = (b"II*\0", b"MM\0*")

FIRST_BYTES = 256
"""Number of bytes at the beginning of a file that `refusal_by_content` needs."""


def is_heif(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is HEIF and not AVIF, which is alike."""
    brands = head[8 : int.from_bytes(head[:4], "big")]
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and b"avif" not in brands


def is_film_head(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a film, be it whole or not."""
    return _kind_of_content(head, None) is FILM


def refusal_by_suffix(path: Path) -> str:
    """Say in one sentence why a file with a suffix of `UNREADABLE_KIND_OF_SUFFIX` is refused."""
    return _refusal(path, UNREADABLE_KIND_OF_SUFFIX[path.suffix.lower()])


def refusal_by_content(path: Path, head: bytes) -> str:
    """Say in one sentence what a file is that Pillow does not recognize.

    Args:
        path: the file. Its suffix counts where its content says nothing.
        head: its first `FIRST_BYTES` bytes.
    """
    by_suffix = UNREADABLE_KIND_OF_SUFFIX.get(path.suffix.lower())
    kind = _kind_of_content(head, by_suffix) or by_suffix
    if kind is not None:
        return _refusal(path, kind)
    if head[:4] in TIFF_BEGINNINGS:
        return (
            f"{path} is a TIFF of a kind that cannot be read, such as RGB in floats, or its "
            "beginning is damaged: save it with 8 or 16 bits per channel."
        )
    return (
        f"{path} is not a picture that can be read, or its beginning is damaged: use "
        f"{either(SUFFIXES_OF_FORMAT)}."
    )


def _kind_of_content(head: bytes, by_suffix: UnreadableKind | None) -> UnreadableKind | None:
    if head[4:8] == b"ftyp":
        return KIND_OF_BRAND.get(head[8:12], by_suffix or FILM)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return FILM
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml") and b"<svg" in text:
        return DRAWING
    for first_bytes, kind in KIND_OF_FIRST_BYTES.items():
        if head.startswith(first_bytes) or text.startswith(first_bytes.lower()):
            return kind
    return None


def _refusal(path: Path, kind: UnreadableKind) -> str:
    return f"{path} is {kind.name}, which cannot be read: {kind.remedy}."


def address_refusal(path: Path) -> str | None:
    """Say in one sentence what to do with a web address; None if ``path`` is none."""
    # Paths have one slash where addresses have two.
    found = re.match(r"(https?|ftp|s3|gs):/+", str(path), re.IGNORECASE)
    if found is None:
        return None
    address = f"{found[1]}://{str(path)[found.end() :]}"
    return f"{address} is an address, not a file: download it first, and name the file."


def either(names: Iterable[str]) -> str:
    """List names in alphabetical order for a sentence.

    >>> either([".png", ".jpg", ".bmp"])
    '.bmp, .jpg or .png'
    """
    *others, last = sorted(names)
    return f"{', '.join(others)} or {last}"
