"""Optional parts of the program, and the line that installs each."""

from __future__ import annotations

import sys
from pathlib import Path

from fast_style.errors import UserError


def missing_extra(extra: str, purpose: str) -> UserError:
    """The error that says which line installs an extra.

    Args:
        extra: its name in ``pyproject.toml``, as ``video``.
        purpose: what needs it, as the subject of a sentence in the plural.

    >>> print(missing_extra("video", "films"))  # doctest: +ELLIPSIS
    films need the extra "video": install it with  ...video...
    """
    project = Path(__file__).parent.parent
    if (project / "pyproject.toml").is_file() and (Path(sys.prefix) / "pyvenv.cfg").is_file():
        line = f"uv sync --extra {extra}"
    else:
        line = f"pip install 'fast-style[{extra}]'"
    return UserError(f'{purpose} need the extra "{extra}": install it with  {line}')
