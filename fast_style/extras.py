"""Optional parts of the program, and the line that installs each."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from fast_style.errors import UserError
from fast_style.shell import quote

TRAINING = ("torch", "torchvision", "pytorch_lightning", "hydra", "tensorboard")
"""Modules of the extra "train"."""


def installed(*modules: str) -> bool:
    """Whether modules can be imported, found out without importing them.

    >>> installed("numpy"), installed("numpy", "no_such_module")
    (True, False)
    """
    return all(find_spec(module) is not None for module in modules)


def need(extra: str, purpose: str, *modules: str) -> None:
    """Check that what an extra installs is there.

    Args:
        extra: its name, as for `missing_extra`.
        purpose: what needs it, as for `missing_extra`.
        modules: top-level modules that the purpose needs.

    Raises:
        UserError: if one is missing.
    """
    if not installed(*modules):
        raise missing_extra(extra, purpose)


def missing_extra(extra: str, purpose: str) -> UserError:
    """The error that says which line installs an extra.

    Args:
        extra: its name in ``pyproject.toml``, as ``video``.
        purpose: what needs it, as the subject of a sentence in the plural.

    >>> print(missing_extra("video", "films"))  # doctest: +ELLIPSIS
    films need the extra "video": install it with  ...video...
    """
    return UserError(f'{purpose} need the extra "{extra}": install it with  {_line(extra)}')


def _line(extra: str) -> str:
    """The line that installs an extra into this environment."""
    project = Path(__file__).parent.parent
    in_environment = (Path(sys.prefix) / "pyvenv.cfg").is_file()
    if (project / "pyproject.toml").is_file() and in_environment:
        return f"uv sync --extra {extra}"
    wanted = f"'fast-style[{extra}]'"
    activated = not in_environment or os.environ.get("VIRTUAL_ENV") == sys.prefix
    if installed("pip"):
        pip = "pip" if activated else f"{quote(sys.executable)} -m pip"
        return f"{pip} install {wanted}"
    place = "" if activated else f" --python {quote(sys.prefix)}"
    return f"uv pip install{place} {wanted}"
