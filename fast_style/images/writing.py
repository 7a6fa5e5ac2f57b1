"""Save pictures to files."""

from __future__ import annotations

import difflib
import secrets
import warnings
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from fast_style.errors import UserError
from fast_style.files import replacing
from fast_style.images.headers import open_undecoded
from fast_style.images.kinds import SUFFIXES, UNREADABLE_KIND_OF_SUFFIX, either

SAVE_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
SAVE_SUFFIXES = frozenset(SAVE_FORMATS)
"""Lower-case suffixes that `save_picture` knows."""

# Pixels. libjpeg stops short of the 65,535 that the JPEG standard allows.
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}


def save_picture(
    picture: Image.Image, path: Path, quality: int = 95, mark: str | None = None
) -> None:
    """Save a picture in the format that the suffix of ``path`` names.

    Missing folders are made. The file is complete or, after a failure, as it was before.

    Args:
        picture: a picture of mode "RGB".
        path: a name that ends in .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp.
        quality: quality of JPEG and WebP, 1 to 100. JPEG keeps full colour resolution (4:4:4).
        mark: text that `read_mark` finds in the file. BMP has no room for it.

    Raises:
        UserError: if the suffix is another, the picture is larger than the format can hold, or the
            file cannot be written.

    >>> import tempfile
    >>> from fast_style.images import open_picture
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "new", "red.png")
    ...     save_picture(Image.new("RGB", (4, 3), "red"), path, mark="a red one")
    ...     open_picture(path).getpixel((0, 0)), read_mark(path)
    ((255, 0, 0), 'a red one')
    """
    file_format = _format_to_save(path, picture.size)
    options: dict[str, Any] = {}
    if file_format in ("JPEG", "WEBP"):
        options["quality"] = quality
    if file_format == "JPEG":
        options["subsampling"] = 0
    if mark is not None and file_format != "BMP":
        options["exif"] = exif_with_mark(mark)
    try:
        with replacing(path) as file:
            picture.save(file, format=file_format, **options)
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
            mark = open_undecoded(file).getexif().get(ExifTags.Base.ImageID)
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
