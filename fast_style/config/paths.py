"""Pass a user's paths through Hydra and OmegaConf unchanged.

A file name may hold any character. In Hydra's grammar commas, quotes, brackets and equals signs
have a meaning, and OmegaConf replaces ``${x}``. The functions here quote and escape paths, so that
``style=The Scream, 1893.jpg`` works as it stands.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from fast_style.bundled import CONF
from fast_style.config import settings
from fast_style.config.settings import PATH_KEYS
from fast_style.errors import UserError
from fast_style.files import numbered
from fast_style.shell import readable

RESUMED = "resumed"
"""The name under which Hydra finds each part of the run that is resumed."""

# What `restore` needs: each path by its escaped text, and each painting by the name of its style.
_paths: dict[str, str] = {}
_paintings: dict[str, str] = {}


def escape(text: str) -> str:
    r"""Escape ``${x}``, so that OmegaConf keeps it as text.

    >>> print(escape("photos/${x}.png"))
    photos/\${x}.png
    """
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def quote_value(text: str) -> str:
    r"""Quote a text as one string of Hydra's grammar.

    >>> print(quote_value("it's [1]"))
    'it\'s [1]'
    """
    # Backslashes have a meaning only in front of a quote.
    text = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", text)
    trailing = len(text) - len(text.rstrip("\\"))
    return "'" + text + "\\" * trailing + "'"


def literal(path: str) -> str:
    """Expand ``~`` to the home folder, unless a file of exactly this name exists.

    A result that would itself be expanded again, or read as a missing value, begins with ``./``.

    >>> literal("photos/???.jpg"), literal("???")
    ('photos/???.jpg', './???')
    """
    if os.path.lexists(path):
        return f"./{path}" if path.startswith("~") or path == "???" else path
    expanded = os.path.expanduser(path)
    return f"./{expanded}" if expanded == "???" else expanded


def painting_file(image: str) -> Path:
    """The file that ``style.image`` names.

    Raises:
        UserError: if it does not exist.
    """
    path = Path(literal(image))
    if not path.exists():
        raise UserError(
            f"the painting {image} does not exist: check its name, or choose another with "
            "style=FILE"
        )
    return path


def path_override(key: str, path: str | Path) -> str:
    """The override ``key=path``, for a path of any characters.

    >>> path_override("data.dir", "my photos, 2024")
    "data.dir='my photos, 2024'"
    """
    return f"{key}={quote_value(escape(str(path)))}"


def style_override(style: str) -> str:
    """The override ``style=...`` for a style's name or a painting's file.

    >>> style_override("wave")
    'style=wave'
    """
    return f"style={_style_choice(style)}"


def rewrite(overrides: Sequence[str], sweep: bool = False, resuming: bool = False) -> list[str]:
    """Quote and escape the paths in a user's overrides.

    Args:
        overrides: as the user typed them.
        sweep: whether commas separate values. A file whose name holds commas stays one value.
        resuming: whether a painting keeps the other style keys of the run that is resumed.

    Raises:
        UserError: for several paintings without a sweep.
    """
    return [_rewrite(override, sweep, resuming) for override in overrides]


def restore(override: str) -> str:
    """The override of a sweep's job as the user would type it; undoes `rewrite`."""
    parsed = OverridesParser.create().parse_override(override)
    key, value = parsed.key_or_group, parsed.value()
    if key == "style" and value in _paintings:
        return f"style={_paintings[str(value)]}"
    if key in PATH_KEYS and value in _paths:
        return f"{key}={_paths[str(value)]}"
    return override


def buildable(cfg: DictConfig, part: str = "") -> DictConfig:
    """A copy of a configuration whose paths survive `hydra.utils.instantiate`.

    Hydra resolves interpolations twice when it builds an object. A string that holds ``${x}`` would
    not survive that, a `Path` does.

    Args:
        cfg: the configuration.
        part: the part whose paths matter; "" for all.
    """
    parts = copy.deepcopy(cfg)
    for key in sorted(PATH_KEYS - {"style"}):
        value = OmegaConf.select(cfg, key) if key.startswith(part) else None
        if isinstance(value, str) and "${" in value:
            OmegaConf.update(parts, key, Path(value))
    return parts


def is_quoted(value: str) -> bool:
    """Whether a value stands in quotes as a whole."""
    return len(value) > 1 and value[0] == value[-1] in "'\"" and value[0] not in value[1:-1]


def _rewrite(given: str, sweep: bool, resuming: bool) -> str:
    key, equals, value = given.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS or value in ("", "null"):
        return given
    is_file = os.path.lexists(literal(value))
    if not is_file and re.fullmatch(r"(choice|glob|shuffle|sort)\(.*\)", value, re.DOTALL):
        return given
    values = _split(value) if sweep and not is_file else [value]
    if key != "style":
        return f"{key}={','.join(map(_path_value, values))}"
    if not sweep and not is_file and "," in value and all(map(_is_style, _split(value))):
        raise UserError(f"{given} names several paintings: train one after the other with -m")
    return f"style={','.join(_style_choice(value, resuming) for value in values)}"


def _split(values: str) -> list[str]:
    """Split at commas, except in the name of a file or in quotes."""
    pieces = values.split(",")
    found = []
    while pieces:
        for end in range(len(pieces), 0, -1):
            piece = ",".join(pieces[:end])
            if end == 1 or os.path.lexists(literal(piece)) or is_quoted(piece):
                found.append(piece)
                del pieces[:end]
                break
    return found


def _path_value(value: str) -> str:
    """One path in Hydra's grammar. Quotes and interpolations keep their meaning for no file."""
    if not os.path.lexists(literal(value)):
        if value == "null" or (len(value) > 1 and value[0] == value[-1] in "'\""):
            return value
        if _interpolates(value):
            return quote_value(value)
    path = literal(value)
    _paths[escape(path)] = path
    return quote_value(escape(path))


def _interpolates(value: str) -> bool:
    """Whether a value holds interpolations, all of keys or resolvers that exist."""
    found = re.findall(r"\$\{([\w.]+)(:?)", value)
    known = settings.keys()
    return bool(found) and all(
        OmegaConf.has_resolver(name) if colon else name in known for name, colon in found
    )


def _is_shipped(name: str) -> bool:
    return (CONF / "style" / f"{name}.yaml").is_file()


def _is_style(value: str) -> bool:
    return _is_shipped(value) or Path(literal(value)).is_file()


def _style_choice(value: str, resuming: bool = False) -> str:
    """The name that stands for a style in Hydra's grammar.

    Hydra chooses parts by name alone, so a painting's file becomes a style of its own.
    """
    if is_quoted(value) and not os.path.lexists(value):
        value = value[1:-1]
    shipped = _is_shipped(value)
    is_name = shipped or (re.fullmatch(r"[\w-]+", value, re.ASCII) and not os.path.lexists(value))
    if is_name and not (resuming and shipped):
        return value
    node: dict[str, Any]
    if is_name:
        style = OmegaConf.load(CONF / "style" / f"{value}.yaml")
        assert isinstance(style, DictConfig)
        node = {"name": value, "image": style._get_node("image")._value()}  # type: ignore[union-attr]
    else:
        path = literal(value)
        stem = Path(path).stem or Path(path).resolve().stem  # "./" has no stem
        stem = stem.replace("???", "_")  # OmegaConf's sign for a missing value
        node = {"name": escape(stem), "image": escape(path)}
    node["defaults"] = [RESUMED if resuming else "painting", "_self_"]
    return quote_value(_register_painting(value, node))


def _register_painting(value: str, node: dict[str, Any]) -> str:
    """Store a style in Hydra under a name of its own, and return the name."""
    stem = "painting-" + re.sub(r"[^\w.-]+", "_", readable(Path(value).name))
    name = next(name for name in numbered(stem) if _paintings.get(name, value) == value)
    _paintings[name] = value
    ConfigStore.instance().store(group="style", name=name, node=node)
    return name
