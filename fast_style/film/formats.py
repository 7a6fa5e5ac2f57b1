"""Which files are films, which formats films are written in, and what messages call them.

Nothing here needs PyAV.
"""

from __future__ import annotations

from pathlib import Path

FILM_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v"}
    | {".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".rm"}
    | {".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Lower-case suffixes of the files that are taken for films."""

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes of the films that are written, with FFmpeg's names of their containers."""

ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
"""Suffixes of the files that may be animations, with Pillow's names of their formats."""

OTHERWISE = ".mkv"  # Matroska holds the audio and subtitles of nearly every other container.


def is_film(path: Path) -> bool:
    """Whether a file is a film, told by its suffix.

    >>> is_film(Path("a.MP4")), is_film(Path("a.png"))
    (True, False)
    """
    return path.suffix.lower() in FILM_SUFFIXES


def target_suffix(source: Path) -> str:
    """The suffix of the stylized film or animation that goes into a folder.

    >>> target_suffix(Path("a.MOV")), target_suffix(Path("a.avi"))
    ('.MOV', '.mkv')
    """
    kept = FORMATS.keys() | ANIMATIONS.keys()
    return source.suffix if source.suffix.lower() in kept else OTHERWISE


def listed(names: list[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b or c'
    """
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
