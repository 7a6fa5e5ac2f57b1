"""EXIF as its bytes: directories of tags (TIFF 6.0, section 2; EXIF 2.32, section 4.6).

Pillow guesses the types of the tags that it writes, and loses letters that are not ASCII. Here a
tag keeps its type and its bytes. All numbers are little-endian, whatever they were in their file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
BYTES_OF_NUMBER = BYTES_OF_TYPE | {5: 4, 10: 4}  # a fraction is two
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7

MOST_BYTES = 2**20  # of a tag of a photo: a longer one is damaged, or no text
MOST_BYTES_OF_OURS = 2**28  # of a tag of a file that was just written, such as its profile
MOST_TAGS = 250  # of a directory
MOST_BYTES_OF_TIFF = 2**32 - 2**24  # up to here, addresses of what is appended have 32 bits

DETAILS, LOCATION = 34665, 34853  # tags that point to directories: how the photo was taken, and GPS
SOFTWARE, IMAGE_ID = 305, 32781
RESOLUTION = X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
XMP, ICC_PROFILE = 700, 34675
OURS = (SOFTWARE, IMAGE_ID, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)  # not the photo's
COLOUR_SPACE, PIXELS_ACROSS, PIXELS_DOWN = 40961, 40962, 40963
SRGB, UNCALIBRATED = 1, 65535  # values of the colour space
INCHES, CENTIMETRES = 2, 3  # values of the unit

# Tags of the main directory that are about the photo and not about how its file stores it: title,
# make, model, dates, artist, rating, copyright, Windows' fields.
KEPT = frozenset(
    {269, 270, 271, 272, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095}
)
# Tags of the details that are wrong for another picture: its size and its colour space; and the
# maker's own note, which may hold previews and places, and whose addresses go wrong when it moves.
WRONG_ELSEWHERE = frozenset({COLOUR_SPACE, PIXELS_ACROSS, PIXELS_DOWN, 37500, 40965})


@dataclass(frozen=True)
class Tag:
    """The value of a tag.

    Args:
        type: its type, as TIFF numbers them.
        count: number of values.
        data: the values, little-endian.
    """

    type: int
    count: int
    data: bytes


Directory = dict[int, Tag]


def text_tag(text: str) -> Tag:
    """Return a tag of UTF-8 text, which other programs also call ASCII."""
    data = text.encode("utf-8", "replace") + b"\0"
    return Tag(ASCII, len(data), data)


def number_tag(number: int, type: int = SHORT) -> Tag:
    """Return a tag of one SHORT or LONG."""
    return Tag(type, 1, struct.pack("<H" if type == SHORT else "<I", number))


def fraction_tag(number: float) -> Tag:
    """Return a tag of one positive RATIONAL."""
    ratio = Fraction(number).limit_denominator(1000).as_integer_ratio()
    return Tag(RATIONAL, 1, struct.pack("<II", *ratio))


@dataclass(frozen=True)
class Exif:
    """What is kept of a photo's EXIF.

    Args:
        main: tags of the picture.
        details: tags of how it was taken.
        location: GPS tags.
    """

    main: Mapping[int, Tag] = field(default_factory=dict)
    details: Mapping[int, Tag] = field(default_factory=dict)
    location: Mapping[int, Tag] = field(default_factory=dict)

    def dpi(self) -> tuple[float, float] | None:
        """Return dots per inch, across and down; None where the tags do not say so."""
        both = [self.main.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
        numbers = []
        for tag in both:
            if tag is None or tag.type != RATIONAL or tag.count != 1:
                return None
            above, below = struct.unpack("<II", tag.data)
            numbers.append(above / below if below else 0.0)
        factor = 2.54 if self.main.get(RESOLUTION_UNIT) == number_tag(CENTIMETRES) else 1.0
        return numbers[0] * factor, numbers[1] * factor

    def tobytes(self) -> bytes:
        """Return the block that formats other than TIFF hold."""
        return b"Exif\0\0" + struct.pack("<2sHI", b"II", 42, 8) + self.directories(8)

    def directories(self, offset: int) -> bytes:
        """Return the directories one after the other, the first at an offset in its file."""
        main = dict(self.main)
        below = {DETAILS: self.details, LOCATION: self.location}
        below = {tag: directory for tag, directory in below.items() if directory}
        main |= {tag: number_tag(0, LONG) for tag in below}
        at = offset + len(_packed(main, 0))
        parts = []
        for tag, directory in below.items():
            main[tag] = number_tag(at, LONG)
            parts.append(_packed(directory, at))
            at += len(parts[-1])
        return b"".join([_packed(main, offset), *parts])


def read_exif(file: BinaryIO) -> Exif:
    """Read what is kept of EXIF, and the resolution.

    Args:
        file: a TIFF, or the block of EXIF without its first six bytes.

    Returns:
        No tags where the block is damaged.
    """
    try:
        file.seek(0)
        order = {b"II*\0": "<", b"MM\0*": ">"}[file.read(4)]
        (offset,) = struct.unpack(order + "I", file.read(4))
        everything = read_directory(file, offset, order)
        below = {}
        for tag in (DETAILS, LOCATION):
            pointer = everything.get(tag)
            if pointer is not None and len(pointer.data) == 4:
                below[tag] = read_directory(file, struct.unpack("<I", pointer.data)[0], order)
    except (KeyError, OSError, OverflowError, struct.error):
        return Exif()
    kept = KEPT | {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
    return Exif(
        {tag: value for tag, value in everything.items() if tag in kept},
        {k: v for k, v in below.get(DETAILS, {}).items() if k not in WRONG_ELSEWHERE},
        below.get(LOCATION, {}),
    )


def read_directory(
    file: BinaryIO, offset: int, order: str = "<", most_bytes: int = MOST_BYTES
) -> Directory:
    """Read the tags of a directory; those whose values lie outside the file are left out.

    Args:
        file: a TIFF.
        offset: where the directory begins.
        order: byte order of the file as `struct` writes it, ``<`` or ``>``.
        most_bytes: longer tags are left out.
    """
    file.seek(offset)
    (count,) = struct.unpack(order + "H", file.read(2))
    if count > MOST_TAGS:
        return {}
    entries = file.read(12 * count)
    directory = {}
    for number in range(len(entries) // 12):
        tag, type, values, short = struct.unpack_from(order + "HHI4s", entries, 12 * number)
        size = BYTES_OF_TYPE.get(type, 0) * values
        if not 0 < size <= most_bytes:
            continue
        data = short[:size]
        if size > 4:
            file.seek(struct.unpack(order + "I", short)[0])
            data = file.read(size)
        if len(data) == size:
            directory[tag] = Tag(type, values, _little_endian(data, type, order))
    return directory


def _little_endian(data: bytes, type: int, order: str) -> bytes:
    size = BYTES_OF_NUMBER[type]
    if order == "<" or size == 1:
        return data
    return b"".join(data[at : at + size][::-1] for at in range(0, len(data), size))


def _packed(directory: Mapping[int, Tag], offset: int) -> bytes:
    table, values = struct.pack("<H", len(directory)), b""
    at = offset + 2 + 12 * len(directory) + 4
    for number in sorted(directory):
        tag = directory[number]
        place = tag.data.ljust(4, b"\0")
        if len(tag.data) > 4:
            place = struct.pack("<I", at + len(values))
            values += tag.data + bytes(len(tag.data) % 2)
        table += struct.pack("<HHI4s", number, tag.type, tag.count, place)
    return table + bytes(4) + values


def append_to_tiff(
    file: BinaryIO, exif: Exif, xmp: bytes | None, profile: bytes | None = None
) -> None:
    """Add EXIF and XMP to the only directory of a little-endian TIFF.

    Args:
        file: the TIFF, open to be read and written.
        exif: tags to add. They replace those that are there, and a resolution without them goes.
        xmp: XMP packet to add.
        profile: ICC profile to add.
    """
    added = dict(exif.main)
    if profile is not None:
        added[ICC_PROFILE] = Tag(UNDEFINED, len(profile), profile)
    if xmp is not None:
        added[XMP] = Tag(BYTE, len(xmp), xmp)
    if not (added or exif.details or exif.location):
        return
    end = file.seek(0, 2)
    if end > MOST_BYTES_OF_TIFF:
        return
    file.seek(4)
    (first,) = struct.unpack("<I", file.read(4))
    stored = read_directory(file, first, most_bytes=MOST_BYTES_OF_OURS)
    stored = {tag: value for tag, value in stored.items() if tag not in RESOLUTION}
    file.seek(end)
    end += file.write(bytes(end % 2))
    file.write(Exif({**stored, **added}, exif.details, exif.location).directories(end))
    file.seek(4)
    file.write(struct.pack("<I", end))
