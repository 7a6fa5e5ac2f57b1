"""Text for shells and terminals: quoted words, printable names, and how to call this program."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def quote(text: str | Path) -> str:
    r"""Quote a text as one word of a shell's command line, whatever characters or bytes it holds.

    >>> print(quote("it's 100%.jpg"))
    'it'"'"'s 100%.jpg'
    >>> print(quote("new\nline"))
    $'new\x0aline'
    """
    text = str(text)
    if text.isprintable():
        return shlex.quote(text)
    # Bytes that are not UTF-8, and tabs or newlines, which a terminal would act on when pasted.
    return "$'" + "".join(map(_escape_byte, os.fsencode(text))) + "'"


def _escape_byte(byte: int) -> str:
    character = chr(byte)
    if character in "'\\":
        return "\\" + character
    return character if character.isascii() and character.isprintable() else f"\\x{byte:02x}"


def readable(text: str) -> str:
    r"""Escape what cannot be printed, so that any terminal, log and file takes the text.

    Newlines are escaped too, so join sentences into lines afterwards.

    >>> print(readable("new\nline"))
    new\nline
    """
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def program(name: str = "fast-style") -> str:
    """How the user calls a program of this environment from the current shell.

    ``uv run`` puts the environment's folder in front of this process's PATH, and sets
    ``UV_RUN_RECURSION_DEPTH``. The user's own shell finds the program without ``uv run`` only if
    the rest of the PATH holds it.
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    scripts = str(Path(sys.prefix) / ("Scripts" if os.name == "nt" else "bin"))
    within_uv = "UV_RUN_RECURSION_DEPTH" in os.environ
    if within_uv and scripts in folders:
        folders.remove(scripts)
    if shutil.which(name, path=os.pathsep.join(folders)):
        return name
    project = Path(sys.prefix).parent
    if within_uv and (project / "pyproject.toml").is_file():
        if Path.cwd().is_relative_to(project):
            return f"uv run {name}"
        return f"uv run --project {quote(project)} {name}"
    script = Path(scripts) / name
    if script.is_file():
        return quote(script)
    return name if name != "fast-style" else f"{quote(sys.executable)} -m fast_style.cli"
