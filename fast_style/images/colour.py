"""Convert the colours of a file to sRGB and back, by its ICC profile, PNG chunks, HEIF or EXIF."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fast_style.errors import UserError
from fast_style.images.headers import exif_says_adobe_rgb, heif_cicp, png_cicp

# The exponent with which levels are encoded on their way to sRGB. It is close to sRGB's own curve,
# so that the 256 levels stay evenly spread.
EVEN = 2.2


@dataclass(frozen=True)
class Encoding:
    """The meaning of the numbers in a picture without an ICC profile.

    Args:
        chromaticities: CIE x and y of white, red, green and blue.
        exponent: light is the number in [0, 1] raised to this power; None for sRGB's curve.
    """

    chromaticities: tuple[float, ...]
    exponent: float | None

    def profile(self) -> bytes | None:
        """Return the ICC profile of what `to_levels` returns."""
        return _rgb_profile(self.chromaticities, None if self.exponent is None else EVEN)


D65 = (0.3127, 0.3290)
BT709 = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # sRGB has the same primaries
ADOBE_RGB = Encoding((*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256)

# ITU-T H.273, tables 2 and 3.
PRIMARIES = {
    1: BT709,
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
# Browsers show the curves made for video as sRGB's, too.
EXPONENTS = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}

# The gAMA that PNG puts beside an sRGB chunk; it stands for sRGB's own curve.
SRGB_GAMMA = 0.45455

# Lindbloom's matrices for adaptation to D50, as in ICC.1:2022, annex E.
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
D50 = np.array([0.9642, 1.0, 0.8249])


def find_encoding(picture: Image.Image) -> Encoding | None:
    """Return what a PNG's chunks, HEIF or EXIF say about the colours of an undecoded picture.

    PNG, third edition, section 4.3: cICP counts before iCCP, iCCP before sRGB, and sRGB before gAMA
    and cHRM.

    Returns:
        None where the colours are sRGB or the ICC profile decides.

    Raises:
        UserError: if there is more than one way to convert the colours to sRGB, as for HDR.
    """
    cicp = png_cicp(picture) or heif_cicp(picture)
    if cicp is not None:
        return _cicp_encoding(cicp)
    if "icc_profile" in picture.info or "srgb" in picture.info:
        return None
    gamma, chromaticities = (picture.info.get(key) for key in ("gamma", "chromaticity"))
    if isinstance(gamma, float) and not 0.01 <= gamma <= 100:  # written by mistake
        gamma = None
    if gamma is None and chromaticities is None:
        return ADOBE_RGB if exif_says_adobe_rgb(picture) else None
    chromaticities = tuple(chromaticities or BT709)
    like_srgb = np.allclose(chromaticities, BT709, atol=0.001)
    if gamma is None or abs(gamma - SRGB_GAMMA) < 1e-4:
        return None if like_srgb else Encoding(chromaticities, gamma and 1 / gamma)
    return Encoding(chromaticities, 1 / gamma)


def _cicp_encoding(cicp: tuple[int, ...]) -> Encoding | None:
    primaries, transfer, matrix, full_range = cicp
    if primaries not in PRIMARIES or transfer not in EXPONENTS or matrix or not full_range:
        raise UserError(
            f"colours of this kind (cICP {primaries}, {transfer}, {matrix}, {full_range}; a second "
            "number of 16 or 18 means HDR) cannot be converted: save it as sRGB"
        )
    found = Encoding(PRIMARIES[primaries], EXPONENTS[transfer])
    return None if found == Encoding(BT709, None) else found


def to_levels(values: NDArray[Any], encoding: Encoding | None) -> NDArray[np.uint8]:
    """`spread` values over 256 levels."""
    return spread(values, encoding, np.uint8)


def spread(
    values: NDArray[Any], encoding: Encoding | None, dtype: type[np.uint8 | np.uint16]
) -> NDArray[Any]:
    """Spread uint8 or uint16 values over the levels of a dtype.

    They are spread evenly if the encoding has sRGB's curve. Otherwise light is encoded with the
    exponent 1 / `EVEN`.
    """
    exponent = None if encoding is None else encoding.exponent
    top = np.iinfo(values.dtype).max
    shares = np.arange(top + 1) / top
    table = np.rint(np.iinfo(dtype).max * shares ** (1 if exponent is None else exponent / EVEN))
    return table.astype(dtype)[values]


def encode_levels(picture: Image.Image, encoding: Encoding | None) -> Image.Image:
    """Apply `to_levels` to a picture of mode "L" or "RGB"; others are returned as they are."""
    if encoding is None or encoding.exponent is None or picture.mode not in ("L", "RGB"):
        return picture
    table = to_levels(np.arange(256, dtype=np.uint8), encoding)
    return picture.point(table.tolist() * len(picture.getbands()))


def convert_to_srgb(colours: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an opaque picture to mode "RGB" in sRGB.

    Args:
        colours: a picture of mode "RGB", "L", "CMYK" or "LAB".
        profile: its ICC profile. A broken one, or one made for other modes, is ignored.
    """
    transform = _transform_to_srgb(profile, colours.mode)
    if transform is None:
        return colours.convert("RGB")
    converted = ImageCms.applyTransform(colours.convert(transform.input_mode), transform)
    assert converted is not None  # None only where it works in place
    return converted


def input_mode(profile: bytes | None, mode: str) -> str | None:
    """Return the mode to convert a picture of mode "RGB" or "L" to before its profile is applied.

    Returns:
        None where the profile changes nothing, as in `convert_to_srgb`.
    """
    transform = _transform_to_srgb(profile, mode)
    return None if transform is None else transform.input_mode


@cache
def srgb_profile() -> bytes:
    """Return the ICC profile that is written into files, the same bytes each day."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # the date when it was made
    return bytes(profile)


def rgb_profile(picture: Image.Image, encoding: Encoding | None) -> bytes | None:
    """Return the ICC profile of a picture's own RGB colours.

    Args:
        picture: as Pillow opened it.
        encoding: what `find_encoding` found.

    Returns:
        None where nothing names such colours, or where colours cannot be converted to them.
    """
    profile = encoding.profile() if encoding else picture.info.get("icc_profile")
    return profile if profile and _transform_from_srgb(profile) else None


def convert_from_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Convert a picture of mode "RGB" from sRGB to the colours of a profile of `rgb_profile`."""
    transform = _transform_from_srgb(profile)
    assert transform is not None
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # None only where it works in place
    return converted


@lru_cache(maxsize=16)
def _rgb_profile(chromaticities: tuple[float, ...], exponent: float | None) -> bytes | None:
    """Return an ICC profile of primaries and a curve; None if no colours have such primaries."""
    columns = _colorants(chromaticities)
    if columns is None:
        return None
    profile = bytearray(
        srgb_profile().replace(_in_utf16("sRGB built-in"), _in_utf16("RGB of a file"))
    )
    values = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True))
    if exponent is not None:  # parameters of (a X + b)^g, and of c X below d
        values |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), np.array([exponent, 1, 0, 0, 0]))
    (count,) = struct.unpack_from(">I", profile, 128)
    for tag in range(count):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * tag)
        if name in values:
            begin = offset + (8 if name.endswith(b"XYZ") else 12)
            numbers = np.rint(values[name] * 65536).astype(">i4").tobytes()
            profile[begin : begin + len(numbers)] = numbers
    return bytes(profile)


def _colorants(chromaticities: tuple[float, ...]) -> NDArray[np.float64] | None:
    """Return XYZ of red, green and blue under D50, one a row; None if there are none."""
    x, y = np.reshape(chromaticities, (4, 2)).T
    xyz = np.stack([x, y, 1 - x - y])
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # the check below finds these
            white = xyz[:, 0] / xyz[1, 0]
        primaries = xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], white)
        cones = BRADFORD @ white
        adapted = np.linalg.solve(BRADFORD, np.diag(BRADFORD @ D50 / cones) @ BRADFORD)
        columns: NDArray[np.float64] = (adapted @ primaries).T
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(columns).all() or np.abs(columns).max() > 100:
        return None
    return columns


@lru_cache(maxsize=16)  # a folder of photos has few profiles, each in many photos
def _transform_to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile's colours to sRGB; None where it would do nothing."""
    try:
        if profile is not None:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        elif mode == "LAB":  # CIELAB needs no profile to mean something
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            return None
        space = source.profile.xcolor_space.strip()
        source_mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}.get(space)
        if source_mode is None or (source_mode != mode and (source_mode, mode) != ("RGB", "L")):
            return None  # the profile is for other pixels than these
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, source_mode, "RGB")
        if source_mode == "RGB" and _changes_nothing(transform):
            return None
        return transform
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


@lru_cache(maxsize=16)
def _transform_from_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    try:
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if target.profile.xcolor_space.strip() != "RGB":
            return None
        return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), target, "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _in_utf16(text: str) -> bytes:
    return text.encode("utf-16-be")


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    # Names are no guide to whether a profile is sRGB: "Linear sRGB" is not.
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    converted = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return bool(np.abs(np.asarray(converted, dtype=int) - colours).max() <= 1)
