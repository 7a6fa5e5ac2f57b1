"""Check the classes that a configuration names, their arguments, and their names in old files."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fast_style.bundled import CONF
from fast_style.config.settings import TABLE, joined
from fast_style.errors import UserError

# Keys beside a class that instruct Hydra. The class does not see them.
_HYDRA_KEYS = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})

# Names of classes in the checkpoints of earlier versions, and their names today.
_MOVED = {
    "fast_style.muon.Muon": "fast_style.training.muon.Muon",
    "fast_style.divergence.StopWhereDiverged": "fast_style.training.divergence.StopWhereDiverged",
    "fast_style.callbacks.Schedule": "fast_style.training.schedule.Schedule",
    "fast_style.callbacks.Throughput": "fast_style.training.progress.Throughput",
    "fast_style.callbacks.RunProgressBar": "fast_style.training.progress.RunProgressBar",
    "fast_style.callbacks.StopCleanly": "fast_style.training.stopping.StopCleanly",
}


def check_arguments(cfg: DictConfig, part: str = "") -> None:
    """Check that each class gets the arguments it needs, and no others.

    This imports the classes.

    Args:
        cfg: a configuration, or one part of it.
        part: the part's name, for messages.

    Raises:
        UserError: for a class that does not exist, or an argument that is missing or unknown.
    """
    from hydra.utils import get_object

    for name, node in _class_nodes(cfg, part):
        target = node["_target_"]
        try:
            built = get_object(target)
        except (ImportError, ValueError) as error:
            raise UserError(
                f"{name}._target_={target} cannot be imported: check its name"
            ) from error
        try:
            parameters = inspect.signature(built).parameters
        except (TypeError, ValueError):  # some built-in callables have no signature
            continue
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            continue
        _check_node(name, node, parameters)


def _check_node(name: str, node: DictConfig, parameters: Mapping[str, inspect.Parameter]) -> None:
    target = node["_target_"]
    given = {str(key) for key in node} - _HYDRA_KEYS
    for key in sorted(given - set(parameters)):
        close = difflib.get_close_matches(key, list(parameters), 1)
        remedy = f"did you mean {name}.{close[0]}?" if close else f"{target} does not take it"
        raise UserError(f"{name}.{key} is not a key: {remedy}")
    if node.get("_partial_", False) or "_args_" in node:
        return  # the other arguments follow later, or have no names
    for key, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty
        if required and parameter.kind is not inspect.Parameter.VAR_POSITIONAL and key not in given:
            raise UserError(f"{name}.{key} is missing: {target} needs it")


def _class_nodes(node: Any, part: str) -> Iterator[tuple[str, DictConfig]]:
    """``(part, node)`` of each class in a configuration."""
    if not isinstance(node, DictConfig):
        return
    if "_target_" in node:
        yield part, node
    for key in node:
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_config(node._get_node(key)):
            yield from _class_nodes(node[key], joined(part, str(key)))


def targets(config: Any, part: str = "") -> Iterator[tuple[str, str]]:
    """``(part, class)`` of each class in a plain configuration.

    >>> list(targets({"model": {"_target_": "mine.Network"}}))
    [('model', 'mine.Network')]
    """
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield part, str(config["_target_"])
        for key, value in config.items():
            yield from targets(value, joined(part, str(key)))
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from targets(value, joined(part, str(number)))


def own_classes() -> frozenset[str]:
    """The classes that ``conf/`` and the table of settings name."""
    lines = "\n".join(path.read_text(encoding="utf-8") for path in CONF.glob("*/*.yaml"))
    named = re.findall(r"^\s*_target_: (\S+)$", lines, re.MULTILINE)
    return frozenset(named).union(*(filter(None, classes) for classes in TABLE.values()))


def follow_moves(config: Any) -> None:
    """Rename classes in a plain configuration of an earlier version, in place."""
    if isinstance(config, dict):
        if config.get("_target_") in _MOVED:
            config["_target_"] = _MOVED[config["_target_"]]
        for value in config.values():
            follow_moves(value)
