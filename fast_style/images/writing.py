"""Save pictures to files."""

from __future__ import annotations

import difflib
import logging
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin, features

from fast_style.errors import UserError
from fast_style.files import replacing
from fast_style.images.colour import convert_from_srgb, srgb_profile
from fast_style.images.deep import DEEP_FORMATS, encode_deep, to_levels_of_16_bits
from fast_style.images.exif import IMAGE_ID, MOST_BYTES_OF_TIFF, OURS, Exif, append_to_tiff
from fast_style.images.floats import FloatPicture, Picture, size_of, to_image
from fast_style.images.headers import open_undecoded
from fast_style.images.kinds import SUFFIXES, UNREADABLE_KIND_OF_SUFFIX, either
from fast_style.images.metadata import Metadata
from fast_style.images.photo import Beside, WholePhoto

log = logging.getLogger(__name__)

SAVE_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
} | ({".avif": "AVIF"} if features.check("avif") else {})
SAVE_SUFFIXES = frozenset(SAVE_FORMATS)
"""Lower-case suffixes that `save_picture` knows."""

# Pixels. libjpeg stops short of the 65,535 that the JPEG standard allows.
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 65_535}

OPAQUE_FORMATS = frozenset({"JPEG", "BMP"})
QUALITY = {"JPEG": 95, "WEBP": 95, "AVIF": 90}  # at which nobody sees a difference
FULL_COLOUR_FROM = 90  # quality from which JPEG and AVIF store colours at full resolution
AVIF_SPEED = 8  # of 10: half the time of Pillow's 6, for 6 % more bytes
MOST_JPEG_EXIF = 65_533  # bytes
DEFLATE, DIFFERENCES = "tiff_adobe_deflate", {317: 2}  # of a TIFF; all programs read these


@dataclass(frozen=True)
class Saving:
    """How stylized photos are written.

    Args:
        quality: quality of JPEG, WebP and AVIF, 1 to 100; None for `QUALITY`.
        keep_profile: write in the photo's own RGB colours, not in sRGB.
        keep_location: keep GPS coordinates and places.
        strip_metadata: leave EXIF and XMP out.
        depth: bits a channel, 8 or 16; None for those of the photo where the format has them.
    """

    quality: int | None = None
    keep_profile: bool = False
    keep_location: bool = False
    strip_metadata: bool = False
    depth: int | None = None

    def beside(self, photo: WholePhoto) -> Beside:
        """Return what a file made from a photo holds beside its colours."""
        metadata = photo.metadata.kept(self.keep_location, self.strip_metadata)
        return Beside(photo.alpha, photo.profile if self.keep_profile else None, metadata)

    def __str__(self) -> str:
        """Name the settings that are not the default ones."""
        changed = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return " ".join(f"{name}={value}" for name, value, usual in changed if value != usual)


def save_picture(
    picture: Picture,
    path: Path,
    quality: int | None = None,
    mark: str | None = None,
    beside: Beside | None = None,
    software: str | None = None,
) -> None:
    """Save a picture in the format that the suffix of ``path`` names, with the profile of sRGB.

    Missing folders are made. The file is complete or, after a failure, as it was before. TIFF is
    compressed without loss. BMP has no room for a profile, a mark or metadata.

    Args:
        picture: a picture of mode "RGB" in sRGB, or of floats, which is written with 16 bits in PNG
            and TIFF and with 8 in other formats. 16 bits need the extra ``deep``.
        path: a name that ends in .jpg, .jpeg, .png, .webp, .tif, .tiff, .bmp or, where Pillow has
            it, .avif.
        quality: quality of JPEG, WebP and AVIF, 1 to 100; None for `QUALITY`. From 90 on, JPEG and
            AVIF keep full colour resolution (4:4:4), and half of it below (4:2:0).
        mark: text that `read_mark` finds in the file.
        beside: what the file holds beside the colours. They are converted to its profile. JPEG and
            BMP have no alpha.
        software: name of the program, for the metadata; "fast-style" if there is only a mark.

    Raises:
        UserError: if the suffix is another, the picture is larger than the format can hold, the
            file cannot be written, or the extra is missing.

    >>> import tempfile
    >>> from fast_style.images import open_picture
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "new", "red.png")
    ...     save_picture(Image.new("RGB", (4, 3), "red"), path, mark="a red one")
    ...     open_picture(path).getpixel((0, 0)), read_mark(path)
    ((255, 0, 0), 'a red one')
    """
    file_format = _format_to_save(path, size_of(picture))
    beside = beside or Beside()
    if file_format not in DEEP_FORMATS:
        picture = to_image(picture)
    if mark is not None:
        software = software or "fast-style"
    profile = beside.profile or srgb_profile()
    exif = beside.metadata.exif_to_write(size_of(picture), beside.profile is None, software, mark)
    options = _beside(file_format, profile, exif, beside.metadata, path)
    with _refusing(path), replacing(path) as file:
        if isinstance(picture, Image.Image):
            options |= _encoding(file_format, quality or QUALITY.get(file_format))
            _with_beside(picture, beside, file_format).save(file, format=file_format, **options)
        else:
            file.write(_deep_file(picture, beside, file_format, options, path))
        if file_format == "TIFF":
            append_to_tiff(file, exif or Exif(), beside.metadata.xmp, profile)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn errors of a file that is written into sentences."""
    try:
        yield
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


def _with_beside(picture: Image.Image, beside: Beside, file_format: str) -> Image.Image:
    """Return a picture of 8 bits in the colours of its profile and with its alpha."""
    if beside.profile is not None and file_format != "BMP" and picture.mode == "RGB":
        picture = convert_from_srgb(picture, beside.profile)
    if beside.alpha is not None and file_format not in OPAQUE_FORMATS:
        picture = picture.copy()
        picture.putalpha(to_image(beside.alpha))
    return picture


def _deep_file(
    picture: FloatPicture, beside: Beside, file_format: str, options: dict[str, Any], path: Path
) -> bytes:
    levels = to_levels_of_16_bits(picture, beside.alpha, beside.profile)
    if file_format == "TIFF" and levels.nbytes > MOST_BYTES_OF_TIFF:
        raise UserError(
            f"{path} cannot be saved: with 16 bits the picture takes {levels.nbytes / 1e9:.1f} GB "
            "and a TIFF file at most 4.2, so save it as .png, or with --depth 8."
        )
    return encode_deep(levels, file_format, options)


def _encoding(file_format: str, quality: int | None) -> dict[str, Any]:
    """Return how pixels are compressed, for Pillow."""
    if file_format == "TIFF":
        return {"compression": DEFLATE, "tiffinfo": DIFFERENCES}
    if quality is None:
        return {}
    if file_format == "WEBP":
        return {"quality": quality}
    full_colour = quality >= FULL_COLOUR_FROM
    options: dict[str, Any] = {
        "quality": quality,
        "subsampling": "4:4:4" if full_colour else "4:2:0",
    }
    return options | (_avif_options() if file_format == "AVIF" else {})


@cache
def _avif_options() -> dict[str, Any]:
    from PIL import _avif

    options: dict[str, Any] = {"speed": AVIF_SPEED}
    if _avif.encoder_codec_available("aom"):  # the usual encoder; others cannot keep alpha exactly
        options |= {"codec": "aom", "advanced": {"alpha:lossless": "1"}}
    return options


def _beside(
    file_format: str, profile: bytes, exif: Exif | None, metadata: Metadata, path: Path
) -> dict[str, Any]:
    """Return what is written beside the pixels, for Pillow."""
    if file_format == "BMP":
        return {"dpi": metadata.dpi} if metadata.dpi else {}
    options: dict[str, Any] = {"icc_profile": profile}
    if metadata.dpi and file_format != "WEBP":
        options["dpi"] = metadata.dpi
    if file_format == "TIFF":
        return options  # `append_to_tiff` writes the rest
    if exif is not None:
        options["exif"] = exif.tobytes()
        if file_format == "JPEG" and len(options["exif"]) > MOST_JPEG_EXIF:
            log.warning("%s has no room for the photo's EXIF, which is left out", path)
            short = Exif({tag: exif.main[tag] for tag in OURS if tag in exif.main})
            options["exif"] = short.tobytes()
    if metadata.xmp and file_format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
        options["pnginfo"] = chunks
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options


def holds_16_bits(path: Path) -> bool:
    """Return whether the format that the suffix of ``path`` names is written with 16 bits."""
    return SAVE_FORMATS.get(path.suffix.lower()) in DEEP_FORMATS


def holds_alpha(path: Path) -> bool:
    """Return whether the format that the suffix of ``path`` names has transparency."""
    return SAVE_FORMATS.get(path.suffix.lower()) not in OPAQUE_FORMATS


def exif_with_mark(mark: str) -> Image.Exif:
    """Return the metadata in which `read_mark` finds a mark."""
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = "fast-style"
    exif[ExifTags.Base.ImageID] = mark
    return exif


def _format_to_save(path: Path, size: tuple[int, int]) -> str:
    file_format = SAVE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UserError(
            f"{path} does not say in which format to save: let the name end in "
            f"{nearest_suffix(path) or either(SAVE_FORMATS)}."
        )
    longest = LONGEST_SIDE.get(file_format)
    if longest is not None and max(size) > longest:
        raise UserError(
            f"{path} cannot be saved: the picture has {size[0]:,} x {size[1]:,} pixels and a "
            f"{file_format} file at most {longest:,} on a side, so save it as .png or .tif, or "
            "make it smaller."
        )
    return file_format


def nearest_suffix(path: Path) -> str | None:
    """Return the suffix to save with that a wrong one, like ``.jpgg``, stands for; or None."""
    suffix = path.suffix.lower()
    if suffix in UNREADABLE_KIND_OF_SUFFIX or suffix in SUFFIXES - SAVE_SUFFIXES:
        return ".png"
    found = difflib.get_close_matches(suffix, sorted(SAVE_SUFFIXES), n=1, cutoff=0.75)
    return found[0] if found else None


def read_mark(path: Path) -> str | None:
    """Return the mark with which `save_picture` wrote a file; None if it has none."""
    try:
        if not path.is_file():  # opening a pipe could wait forever
            return None
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            mark = open_undecoded(file).getexif().get(IMAGE_ID)
            return None if mark is None else str(mark)
    except Exception:  # whatever the file is, `save_picture` did not write it
        return None


def check_writable(path: Path, picture: Image.Image) -> None:
    """Find out before the work, not an hour later, whether its result can be saved.

    Args:
        path: the file to be written. It is not touched.
        picture: a picture of the size to come. It is saved beside ``path`` and removed again.

    Raises:
        UserError: as `save_picture` would.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file to write, as {path / 'out.png'}")
    probe = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        save_picture(picture, probe)
    except UserError as error:
        raise UserError(str(error).replace(str(probe), str(path))) from error
    probe.unlink()
