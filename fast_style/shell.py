"""What is printed to be pasted into a shell, and how names look in messages."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def quote(text: str | Path) -> str:
    """One word of a command line, whatever characters or undecodable bytes are in it."""
    text = str(text)
    if text.isprintable():
        return shlex.quote(text)
    # Bytes that are no text, and tabs or newlines, which a terminal acts on when they are pasted.
    return "$'" + "".join(map(_escaped, os.fsencode(text))) + "'"


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in "'\\":
        return "\\" + character
    return character if character.isascii() and character.isprintable() else f"\\x{byte:02x}"


def readable(text: str) -> str:
    """Text that any terminal, log and file takes, on one line: what is no character, or none to
    print, as ``\\xe9`` or ``\\n``. Line ends between sentences stay with whoever joins them."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def program(name: str = "fast-style") -> str:
    """How the user calls a program of this environment from the shell that they are in.

    ``uv run`` puts the environment's folder at the front of this process's PATH. It tells its
    children so in ``UV_RUN_RECURSION_DEPTH``. Only if the program is on the rest of the PATH does
    the user's own shell find it without ``uv run``.
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    scripts = str(Path(sys.prefix) / ("Scripts" if os.name == "nt" else "bin"))
    by_uv = "UV_RUN_RECURSION_DEPTH" in os.environ
    if by_uv and scripts in folders:
        folders.remove(scripts)
    if shutil.which(name, path=os.pathsep.join(folders)):
        return name
    project = Path(sys.prefix).parent
    if by_uv and (project / "pyproject.toml").is_file():
        if Path.cwd().is_relative_to(project):
            return f"uv run {name}"
        return f"uv run --project {quote(project)} {name}"
    script = Path(scripts) / name
    if script.is_file():
        return quote(script)
    return name if name != "fast-style" else f"{quote(sys.executable)} -m fast_style.cli"
