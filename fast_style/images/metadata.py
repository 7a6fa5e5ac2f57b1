"""What a photo's file says beside its pixels, and what of it is written with the stylized photo."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from PIL import Image

from fast_style.images.exif import (
    COLOUR_SPACE,
    IMAGE_ID,
    INCHES,
    LONG,
    PIXELS_ACROSS,
    PIXELS_DOWN,
    RESOLUTION_UNIT,
    SOFTWARE,
    SRGB,
    UNCALIBRATED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Exif,
    fraction_tag,
    number_tag,
    read_exif,
    text_tag,
)

MOST_XMP = 65_502  # bytes that fit into a JPEG
MOST_DPI = 65_535

# XMP's names for what is wrong in another file (XMP, parts 1 to 3, and Google's own):
# orientation, sizes, colour space, thumbnails, and what describes data behind the picture, such as
# a film or a map of depths.
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
WRONG_ELSEWHERE = {
    (TIFF, "Orientation"),
    (TIFF, "ImageWidth"),
    (TIFF, "ImageLength"),
    (EXIF, "PixelXDimension"),
    (EXIF, "PixelYDimension"),
    (EXIF, "ColorSpace"),
    (EXIF, "MakerNote"),
    ("http://ns.adobe.com/photoshop/1.0/", "ICCProfile"),
    ("http://ns.adobe.com/xap/1.0/", "Thumbnails"),
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"),
}
SPACES_WRONG_ELSEWHERE = (
    "http://ns.google.com/photos/1.0/",
    "http://ns.google.com/photos/dd/",
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.apple.com/HDRGainMap/",
)
# Places by name (IPTC Photo Metadata 2023.1); coordinates are EXIF's names that begin with GPS.
PLACES = {
    ("http://ns.adobe.com/photoshop/1.0/", "City"),
    ("http://ns.adobe.com/photoshop/1.0/", "State"),
    ("http://ns.adobe.com/photoshop/1.0/", "Country"),
    ("http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "Location"),
    ("http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "CountryCode"),
    ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "LocationCreated"),
    ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "LocationShown"),
}
NAMESPACES = "http://www.w3.org/2000/xmlns/"


@dataclass(frozen=True)
class Metadata:
    """What a picture's file says beside its pixels.

    Args:
        exif: its EXIF.
        xmp: its XMP packet.
        dpi: dots per inch, across and down.
    """

    exif: Exif = field(default_factory=Exif)
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None

    def kept(self, location: bool = False, stripped: bool = False) -> Metadata:
        """Return what a picture made from this one keeps.

        Orientation, thumbnails and what describes the file's own bytes are never kept.

        Args:
            location: keep GPS coordinates and names of places.
            stripped: keep only the resolution.
        """
        if stripped:
            return Metadata(dpi=self.dpi)
        exif = self.exif if location else replace(self.exif, location={})
        return Metadata(exif, self.xmp and _cleaned(self.xmp, location), self.dpi)

    def exif_to_write(
        self, size: tuple[int, int], srgb: bool, software: str | None, mark: str | None
    ) -> Exif | None:
        """Return the EXIF of a new file; None if it would be empty.

        Args:
            size: width and height of its picture.
            srgb: whether its colours are sRGB.
            software: name of the program.
            mark: text that `read_mark` finds.
        """
        exif = self.exif
        main, details = dict(exif.main), dict(exif.details)
        for tag, text in ((SOFTWARE, software), (IMAGE_ID, mark)):
            if text is not None:
                main[tag] = text_tag(text)
        if self.dpi is not None:
            main[RESOLUTION_UNIT] = number_tag(INCHES)
            main[X_RESOLUTION], main[Y_RESOLUTION] = map(fraction_tag, self.dpi)
        if details:
            details[COLOUR_SPACE] = number_tag(SRGB if srgb else UNCALIBRATED)
            details[PIXELS_ACROSS], details[PIXELS_DOWN] = (number_tag(n, LONG) for n in size)
        if not (main or details or exif.location):
            return None
        return Exif(main, details, exif.location)


def read_metadata(picture: Image.Image, file: BinaryIO, turned: bool) -> Metadata:
    """Read the metadata of a decoded picture.

    Args:
        picture: as Pillow opened it.
        file: its file.
        turned: whether the upright picture is as wide as this one is high.
    """
    exif = read_exif(file if picture.format == "TIFF" else io.BytesIO(_exif_block(picture.info)))
    dpi = _checked_dpi(picture.info.get("dpi") or exif.dpi())
    resolution = {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
    main = {tag: value for tag, value in exif.main.items() if tag not in resolution}
    xmp = picture.info.get("xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Metadata(
        replace(exif, main=main),
        xmp if isinstance(xmp, bytes) else None,
        (dpi[1], dpi[0]) if dpi and turned else dpi,
    )


def _exif_block(info: dict[str | tuple[int, int], Any]) -> bytes:
    block = info.get("exif")
    as_text = info.get("Raw profile type exif")  # as ImageMagick wrote it into PNG
    if block is None and isinstance(as_text, str):
        try:
            block = bytes.fromhex("".join(as_text.split("\n")[3:]))
        except ValueError:
            return b""
    if not isinstance(block, bytes):
        return b""
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    return block


def _checked_dpi(found: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(number) for number in found)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # NaN fails, too.
    return (across, down) if 1 <= across <= MOST_DPI and 1 <= down <= MOST_DPI else None


def _cleaned(xmp: bytes, location: bool) -> bytes | None:
    """Remove from an XMP packet what is wrong elsewhere, and places unless they are kept.

    Returns:
        None for a packet that cannot be parsed, or that a JPEG cannot hold.
    """
    packet = xmp.strip(b"\0 \r\n\t")
    # No XMP has entities of its own, and those of an attacker can grow without bound.
    if len(packet) > MOST_XMP or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return None
    from xml.dom import minidom  # few files need it, and the program starts without it

    try:
        document = minidom.parseString(packet)
        _clean(document.documentElement, location)
        cleaned = "".join(node.toxml() for node in document.childNodes).encode()
    except Exception:  # the photo is good even if its XMP cannot be parsed, or is nested too deep
        return None
    return cleaned if len(cleaned) <= MOST_XMP else None


def _clean(element: Any, location: bool) -> None:
    for attribute in list(element.attributes.values()):
        if attribute.namespaceURI != NAMESPACES and _goes(attribute, location):
            element.removeAttributeNode(attribute)
    for child in list(element.childNodes):
        if child.nodeType == child.ELEMENT_NODE:
            if _goes(child, location):
                element.removeChild(child)
            else:
                _clean(child, location)


def _goes(node: Any, location: bool) -> bool:
    space, name = node.namespaceURI or "", node.localName or ""
    if (space, name) in WRONG_ELSEWHERE or space.startswith(SPACES_WRONG_ELSEWHERE):
        return True
    return not location and ((space, name) in PLACES or (space == EXIF and name.startswith("GPS")))
