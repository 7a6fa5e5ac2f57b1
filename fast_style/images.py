"""Picture files: find them, open them, save them, and turn them into tensors and back.

The only module that knows files and pixel formats. Everything else has upright, opaque 8-bit sRGB
`PIL.Image.Image` pictures, or float RGB tensors in [0, 1].
"""

from __future__ import annotations

import io
import os
import secrets
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np
import psutil
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError, features

from fast_style.errors import UserError

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 1_200_000_000
"""Pictures of more pixels than this are refused: enough for a gigapixel, and a few bytes of a file
cannot ask for any memory."""

BYTES_TO_DECODE = 8  # a pixel: Pillow keeps four, and what is decoded is copied once

# Only plain raster formats: Pillow would hand an EPS file to Ghostscript, for one. The first five
# come first because Pillow knows them without importing all of its plugins.
_SUFFIXES_OF_FORMAT = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "JPEG2000": (".jp2",),
} | ({"AVIF": (".avif",)} if features.check("avif") else {})

SUFFIXES = frozenset(suffix for suffixes in _SUFFIXES_OF_FORMAT.values() for suffix in suffixes)
"""Lower-case suffixes of the files that are taken for pictures."""

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


def find_pictures(folder: Path) -> list[Path]:
    """All pictures in `folder` and the folders below, told by suffix (`SUFFIXES`) and not opened.

    Hidden files and folders are skipped; links to folders are followed, each folder once.

    Returns:
        Paths that begin with `folder`, sorted.

    Raises:
        UserError: `folder` is missing, is not a folder, holds no picture, or cannot be listed.
    """
    pictures = [Path(name) for name in sorted(_walk_pictures(folder))]
    if not pictures:
        raise UserError(
            f"{folder} holds no picture: neither in it nor in the folders below is there a file "
            f"that ends in {_listed(SUFFIXES)}."
        )
    return pictures


def _walk_pictures(folder: Path) -> Iterator[str]:
    # Names, not paths: of a hundred thousand photos, listing shall be what takes the time.
    def refuse(error: OSError) -> NoReturn:
        if isinstance(error, FileNotFoundError):
            raise UserError(f"{folder} does not exist: name a folder of pictures.") from error
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
            if name[name.rfind(".") :].lower() in SUFFIXES and not name.startswith("."):
                yield f"{root}{os.sep}{name}"


def open_picture(path: Path, draft_side: int | None = None) -> Image.Image:
    """Open a picture file as upright, opaque sRGB, fully decoded, without metadata.

    What the file is, its content decides and not its suffix. The EXIF orientation is applied. An
    embedded ICC profile is converted to sRGB; a broken one is ignored. Transparency is laid over
    white. Of an animation, the first frame is taken. Grey of more than 8 bits is scaled to 8:
    16-bit values from [0, 65535]; 32-bit integers likewise, or from [0, their maximum] where that
    is larger; floats from [0, 1], or from [0, their maximum] where that is larger.

    Args:
        path: The file.
        draft_side: Decode a JPEG directly at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size
            that leaves the shorter side at least this many pixels; much faster where large photos
            are to become small. Other formats are decoded at full size.

    Returns:
        A picture of mode "RGB".

    Raises:
        UserError: The file is missing, cannot be read, is empty, is not a picture, is damaged or
            incomplete, or has more than `MAX_PIXELS` pixels.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UserError(f"{path} is empty, zero bytes long: copy the picture again.")
            return _decode(file, path, draft_side)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: check the name of the picture.") from error
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
            if draft_side is not None:
                picture.draft(None, (draft_side, draft_side))
            pixels = picture.width * picture.height
            if pixels * BYTES_TO_DECODE > psutil.virtual_memory().available:
                raise UserError(
                    f"{path} does not fit into the memory that is free, of which it takes "
                    f"{pixels * BYTES_TO_DECODE / 1e9:.1f} GB: shrink it first."
                )
            return upright_rgb(picture)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path} is not a picture that can be read, or its beginning is damaged: use "
            f"{_listed(_SUFFIXES_OF_FORMAT)}."
        ) from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory: shrink it first.") from error
    except Exception as error:  # decoders raise nearly anything when the data is wrong
        raise UserError(f"{path} is damaged or incomplete: copy or download it again.") from error


def upright_rgb(picture: Image.Image) -> Image.Image:
    """A picture that Pillow opened, of any mode, as `open_picture` gives it: upright, opaque sRGB.

    Raises:
        OSError: and nearly anything else that Pillow's decoders raise where the file is damaged.
    """
    picture.load()
    rgb = _as_srgb(picture)
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


def _as_srgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    alpha = None
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        colours = _grey_to_8_bits(picture)
    elif picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        alpha = rgba.getchannel("A")
        colours = rgba.convert("L" if picture.getbands()[0] == "L" else "RGB")
    elif picture.mode in ("RGB", "L", "CMYK", "LAB"):  # what profiles are made for
        colours = picture
    else:
        colours = picture.convert("RGB")

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


def _grey_to_8_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.float32)
    if picture.mode == "F":
        top = max(1.0, float(values.max(initial=0.0, where=np.isfinite(values))))
    elif picture.mode == "I":
        top = max(65535.0, float(values.max()))
    else:
        top = 65535.0
    shares = np.nan_to_num(values / top, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
    return Image.fromarray(np.rint(shares * 255.0).astype(np.uint8))


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


def save_picture(picture: Image.Image, path: Path, quality: int = 95) -> None:
    """Save a picture in the format that the suffix of `path` names; missing folders are made.

    The file is complete or, after a failure, as it was before.

    Args:
        picture: The picture, of mode "RGB".
        path: A name that ends in .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp.
        quality: For JPEG (which keeps full colour resolution, 4:4:4) and WebP, 1 to 100.

    Raises:
        UserError: The suffix is another, the picture is larger than the format can hold, or the
            file cannot be written.
    """
    file_format = _SAVE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UserError(
            f"{path} does not say in which format to save: let the name end in "
            f"{_listed(_SAVE_FORMATS)}."
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

    # Opened by name, unlike tempfile's files, it has the permissions that the umask asks for.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x+b") as file:
                picture.save(file, format=file_format, **options)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
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


def fetching(levels: torch.Tensor) -> Callable[[], Image.Image]:
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
