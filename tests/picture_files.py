"""Builders of picture files, byte by byte, and formulas for the colours in them."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.images import open_picture

ORIENTATION = 0x0112


def noise(width: int = 64, height: int = 48, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def blocks(columns: int = 3, rows: int = 2, side: int = 16) -> NDArray[np.uint8]:
    """Flat squares of different colours, without symmetry, which JPEG keeps."""
    colours = np.arange(columns * rows, dtype=np.uint8).reshape(rows, columns)
    colours = np.stack([40 * colours, 200 - 30 * colours, 100 + 20 * colours], axis=-1)
    return colours.repeat(side, axis=0).repeat(side, axis=1)


def pixels(path: Path) -> NDArray[np.uint8]:
    picture = open_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def grey_as_rgb(levels: list[list[int]]) -> NDArray[np.uint8]:
    return np.array(levels, dtype=np.uint8)[..., None].repeat(3, axis=-1)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc_profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """Build a version 2 display profile (ICC.1:2001-04, sections 6.1 and 6.2)."""
    d50 = fixed(0.9642, 1.0, 0.8249)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + d50, **tags}
    table, data = struct.pack(">I", len(tags)), b""
    for signature, value in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(data)
        table += signature + struct.pack(">II", offset, len(value))
        data += value + bytes(-len(value) % 4)
    header = bytes(4) + struct.pack(">I", 0x02400000) + b"mntr" + space + connection + bytes(12)
    header += b"acsp" + bytes(28) + d50
    size = struct.pack(">I", 128 + len(table) + len(data))
    return (size + header).ljust(128, b"\0") + table + data


def curve(gamma: float) -> bytes:
    return b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))


def srgb_encode(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Encode linear light in [0, 1] as sRGB levels in [0, 255] (IEC 61966-2-1)."""
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * encoded


def tiff(
    values: bytes,
    size: tuple[int, int],
    bits: int,
    photometric: int = 1,
    sample_format: int = 1,
    order: str = "<",
    **more: tuple[int, int],
) -> bytes:
    """Build an uncompressed grey TIFF of one strip (TIFF 6.0, section 3)."""
    tags = {256: size[0], 257: size[1], 258: bits, 259: 1, 262: photometric, 277: 1, 278: size[1]}
    tags |= {279: len(values), 339: sample_format, 273: 0} | dict(more.values())
    offset = 8 + 2 + 12 * len(tags) + 4
    tags[273] = offset
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    return start + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(values: NDArray[Any], bits: int, colour_type: int, *chunks: bytes) -> bytes:
    """Build a PNG (third edition) of unfiltered rows, with chunks in front of them.

    Args:
        values: ``(H, W)`` or ``(H, W, C)``. Pixels of fewer than 8 bits come packed into bytes.
        bits: bits a sample.
        colour_type: 0, 2, 3, 4 or 6, as the standard numbers them.
        chunks: whole chunks.
    """
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    rows = values.astype(">u2" if bits == 16 else "u1").reshape(len(values), -1)
    width = rows.shape[1] // samples if bits >= 8 else rows.shape[1] * (8 // bits)
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def gamma_chunk(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def primaries_chunk(*xy: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in xy)))


SRGB_CHUNK = chunk(b"sRGB", b"\0")
# CIE x and y of white, red, green and blue.
SRGB_XY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3_XY = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE_XY = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)

# From linear light with these primaries to linear sRGB, all under D65: CSS Color 4's sample code
# for Display P3; Adobe RGB (1998), section 4.3.5.3, for the other.
P3_TO_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
ADOBE_TO_SRGB = np.array([[1.39836, -0.39836, 0.0], [0.0, 1.0, 0.0], [0.0, -0.04293, 1.04293]])


def srgb_decode(levels: NDArray[Any]) -> NDArray[np.float64]:
    """Decode sRGB levels in [0, 255] to linear light (IEC 61966-2-1)."""
    values = levels / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
