"""Resume a run: what its checkpoint stores, and which settings may change.

PyTorch is imported only to read a checkpoint.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from fast_style.config.classes import follow_moves, own_classes, targets
from fast_style.config.paths import (
    RESUMED,
    escape,
    is_quoted,
    literal,
    painting_file,
    path_override,
    quote_value,
)
from fast_style.config.settings import PATH_KEYS
from fast_style.errors import UserError

RUN_KEY = "fast_style"
"""The key of a checkpoint under which `describe_run` is stored."""

# Keys that a resumed run never takes over: they say where the first run started and wrote.
_NOT_STORED = ("ckpt_path", "output_dir", "overwrite")

# What must stay as it was. Changed, it would pull the weights towards another goal. Weights of
# losses and learning rates may change.
_FIXED_KEYS = {
    "optimizer": ("_target_",),
    "loss": ("_target_", "network", "content_layers", "style_layers", "normalization"),
}
_FIXED_NAMES = {"optimizer": "optimizer", "loss": "loss network, layers or normalization"}


def describe_run(cfg: DictConfig) -> dict[str, Any]:
    """What a checkpoint stores of its run, in plain dictionaries, strings and numbers.

    Returns:
        ``config``: the configuration, with absolute paths and its interpolations unresolved.
        ``painting``: the SHA-256 of the painting's file.
    """
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))
    for key in _NOT_STORED:
        config.pop(key, None)
    for key in sorted(PATH_KEYS - {"style", *_NOT_STORED}):
        value = OmegaConf.select(cfg, key)
        if not isinstance(value, str) or not os.path.lexists(literal(value)):
            continue  # a name such as bundled or base
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = escape(str(Path(literal(value)).absolute()))
    return {"config": config, "painting": _painting_digest(cfg)}


def read_checkpoint(ckpt_path: str) -> dict[str, Any]:
    """Load a training checkpoint onto the CPU. Nothing in it is executed.

    Raises:
        UserError: if the file does not exist or is not a training checkpoint.
    """
    import torch

    path = Path(literal(ckpt_path))
    if not path.is_file():
        raise UserError(
            f"ckpt_path={ckpt_path} does not exist: give the last.ckpt of an earlier run"
        )
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        valid = isinstance(found, dict) and "loops" in found and "state_dict" in found
    except Exception:  # torch.load raises nearly anything for other files
        valid = False
    if not valid:
        raise UserError(
            f"ckpt_path={ckpt_path} is not a training checkpoint, or holds more than tensors, "
            "which is never loaded: give the last.ckpt of an earlier run"
        )
    return cast(dict[str, Any], found)


def stored_config(ckpt_path: str, overrides: Iterable[str]) -> dict[str, Any] | None:
    """The configuration of a checkpoint's run, from the checkpoint or from ``.hydra`` beside it.

    Args:
        ckpt_path: the checkpoint.
        overrides: the user's overrides.

    Returns:
        The plain configuration, or None if none was stored.

    Raises:
        UserError: if the checkpoint cannot be read, or if it names a class that neither fast_style
            nor the user names. A checkpoint may come from a stranger.
    """
    found = read_checkpoint(ckpt_path).get(RUN_KEY)
    config = found.get("config") if isinstance(found, dict) else None
    beside = Path(literal(ckpt_path)).parent / ".hydra" / "config.yaml"
    if config is None and beside.is_file():
        config = OmegaConf.to_container(OmegaConf.load(beside), resolve=False)
    if not isinstance(config, dict):
        return None
    follow_moves(config)
    given = {override.lstrip("+") for override in overrides}
    for part, target in targets(config):
        if target not in own_classes() and f"{part}._target_={target}" not in given:
            raise UserError(
                f"ckpt_path={ckpt_path} names the class {target}, which may run anything: if "
                f"you trust it, add {part}._target_={target}"
            )
    return {key: value for key, value in config.items() if key not in _NOT_STORED}


def resumed_overrides(overrides: Sequence[str], sweep: bool) -> list[str]:
    """Overrides that restore the configuration of the run that ``ckpt_path`` resumes.

    Put them before the user's own, which win.

    Args:
        overrides: the user's overrides.
        sweep: whether they are for a sweep, whose runs have folders of their own.

    Returns:
        The overrides; none if no run is resumed.

    Raises:
        UserError: if the checkpoint cannot be used.
    """
    given = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    ckpt_path = given.get("ckpt_path", "null")
    if ckpt_path in ("null", ""):
        return []
    if is_quoted(ckpt_path) and not os.path.lexists(ckpt_path):
        ckpt_path = ckpt_path[1:-1]
    config = stored_config(ckpt_path, overrides)
    if config is None and "style" not in given:
        raise UserError(
            f"ckpt_path={ckpt_path} comes from an older version, which did not store the run's "
            "configuration: give style=, data.dir= and all else as when the run started"
        )
    found = []
    for key, value in (config or {}).items():
        if isinstance(value, dict):
            # The user's overrides of single keys refer to this part, even if another is chosen.
            ConfigStore.instance().store(group=key, name=RESUMED, node=value)
        if key not in given:
            found.append(_restoring(key, value))
    if not sweep and "output_dir" not in given and "hydra.run.dir" not in given:
        found.append(path_override("output_dir", Path(literal(ckpt_path)).parent))
    return found


def _restoring(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{key}={RESUMED}"
    if key == "logger":  # null, because the run had none
        return "logger=none"
    if isinstance(value, str):
        return f"++{key}={quote_value(value)}"
    return f"++{key}={'null' if value is None else str(value).lower()}"


def check_same_run(cfg: DictConfig, checkpoint: dict[str, Any]) -> None:
    """Check that a configuration continues a checkpoint's run, and that steps are left to train.

    Raises:
        UserError: if it would make another run, or if the run is finished.
    """
    found = checkpoint.get(RUN_KEY)
    if isinstance(found, dict):
        follow_moves(found["config"])
        before = cast(DictConfig, OmegaConf.create(found["config"]))
        if found["painting"] != _painting_digest(cfg):
            raise _another_run(cfg, f"style={cfg.style.image}", "painting")
        for part, keys in _FIXED_KEYS.items():
            for key in keys:
                now = _plain(cfg[part], key)
                if now != _plain(before[part], key):
                    raise _another_run(cfg, f"{part}.{key}={now}", _FIXED_NAMES[part])
    _check_unfinished(cfg, checkpoint)


def _painting_digest(cfg: DictConfig) -> str:
    return hashlib.sha256(painting_file(cfg.style.image).read_bytes()).hexdigest()


def _plain(node: DictConfig, key: str) -> Any:
    value = node.get(key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _another_run(cfg: DictConfig, given: str, changed: str) -> UserError:
    return UserError(
        f"ckpt_path={cfg.ckpt_path} belongs to a run with another {changed} than {given}: leave "
        "that out to resume the run, or leave ckpt_path out to start another"
    )


def _check_unfinished(cfg: DictConfig, checkpoint: dict[str, Any]) -> None:
    steps, most = int(checkpoint["global_step"]), int(cfg.trainer.max_steps)
    minutes = cfg.callbacks.schedule.get("minutes")
    seconds = float(checkpoint.get("callbacks", {}).get("Schedule", {}).get("seconds", 0.0))
    if minutes is not None and seconds >= 60 * minutes:
        raise UserError(
            f"ckpt_path={cfg.ckpt_path} belongs to a finished run ({seconds / 60:.1f} minutes): "
            f"train on with callbacks.schedule.minutes={2 * minutes:g}, or another length"
        )
    if 0 < most <= steps:
        raise UserError(
            f"ckpt_path={cfg.ckpt_path} belongs to a finished run ({steps:,} steps): train on "
            f"with trainer.max_steps={2 * steps}, or another length above {steps}"
        )
