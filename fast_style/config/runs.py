"""A run's folder, and what a checkpoint knows of its run, so that it can be gone on with.

PyTorch is imported only where a checkpoint is read.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from fast_style.config.settings import PATH_KEYS, TABLE, targets
from fast_style.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

LAST = "last.ckpt"
KNOWN = "fast_style"  # the key in a checkpoint under which `remember` is kept

# What is never taken from an earlier run: it says where that run began and what it wrote over.
_NOT_KEPT = ("ckpt_path", "output_dir", "overwrite")

# Disk space for TensorBoard's curves and pictures, roughly.
_LOGS = 20 * 2**20


def escaped(text: str) -> str:
    """Text that OmegaConf gives back as it is, even if ``${x}`` is in it."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def literal(path: str) -> str:
    """The path that is meant: ``~`` is the home folder, unless there is a file of this very name.

    What begins with ``~`` and is meant as it stands comes back as ``./~``.
    """
    if os.path.lexists(path):
        return f"./{path}" if path.startswith("~") or path == "???" else path
    expanded = os.path.expanduser(path)
    return f"./{expanded}" if expanded == "???" else expanded


def buildable(cfg: DictConfig, part: str = "") -> DictConfig:
    """A copy whose paths, or those of one part, stay as they are when parts are built.

    Hydra resolves what it builds twice. A text with ``${x}`` in it would not survive that, a `Path`
    does.
    """
    parts = copy.deepcopy(cfg)
    for key in sorted(PATH_KEYS - {"style"}):
        value = OmegaConf.select(cfg, key) if key.startswith(part) else None
        if isinstance(value, str) and "${" in value:
            OmegaConf.update(parts, key, Path(value))
    return parts


# ------------------------------------------------------------------------------- the folder


def check_folder(cfg: DictConfig) -> Path:
    """The folder of a run that is about to begin, which it may write to.

    Raises:
        UserError: if it cannot be made or written to, or holds another run.
    """
    folder = Path(cfg.output_dir)
    going_on = cfg.ckpt_path is not None and _same(folder, Path(literal(str(cfg.ckpt_path))).parent)
    held = what_it_holds(folder, str(cfg.style.name))
    if held and not going_on and not cfg.get("overwrite", False):
        raise UserError(
            f"{folder} holds a run already ({held.name}): go on with it by "
            f"ckpt_path={folder / LAST}, name another folder with output_dir=FOLDER, or replace it "
            "with overwrite=true"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error.strerror}): name another folder with output_dir"
        ) from error
    return folder


def what_it_holds(folder: Path, name: str) -> Path | None:
    """The first of the files of a run that a new run would write over or mix with its own."""
    places = [folder / LAST, *_logs(folder), folder / f"{name}.safetensors"]
    return next((path for path in places if os.path.lexists(path)), None)


def clear(folder: Path) -> None:
    """Remove the checkpoint and the curves of the run that a new one replaces."""
    (folder / LAST).unlink(missing_ok=True)
    for logs in _logs(folder):
        shutil.rmtree(logs, ignore_errors=True)


def check_room(folder: Path, network: nn.Module) -> None:
    """Refuse a disk that cannot hold what a run writes.

    That is the network in half precision and ``last.ckpt`` twice (the new one before the old one is
    gone), each with the weights and at most two moments of them in float32, and the logs.

    Raises:
        UserError: if less is free.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    needed = 2 * parameters + 2 * (3 * 4 * parameters) + _LOGS
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} is on a disk with {free / 1e6:,.0f} MB free and the run needs "
            f"{needed / 1e6:,.0f}: make room, or name another folder with output_dir"
        )


def _logs(folder: Path) -> list[Path]:
    return [folder / "tensorboard", *sorted(folder.glob("csv*"))]


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


# ------------------------------------------------------------------------------- going on


def remember(cfg: DictConfig) -> dict[str, Any]:
    """What a checkpoint is to know of its run: plain tables, texts and numbers.

    ``config`` is the whole configuration, its paths absolute and its interpolations as they were
    written; ``painting`` is the SHA-256 of the painting's file.
    """
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))
    for key in _NOT_KEPT:
        config.pop(key, None)
    for key in sorted(PATH_KEYS - {"style", *_NOT_KEPT}):
        value = OmegaConf.select(cfg, key)
        if not isinstance(value, str) or not os.path.lexists(literal(value)):
            continue  # a name, as bundled or base
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = escaped(str(Path(literal(value)).absolute()))
    return {"config": config, "painting": _digest(cfg)}


def _digest(cfg: DictConfig) -> str:
    return hashlib.sha256(Path(literal(cfg.style.image)).read_bytes()).hexdigest()


def read_checkpoint(ckpt_path: str) -> dict[str, Any]:
    """A training checkpoint as plain tables and tensors on the CPU. Nothing in it is executed.

    Raises:
        UserError: if there is none, or it is none.
    """
    import torch

    path = Path(literal(ckpt_path))
    if not path.is_file():
        raise UserError(f"ckpt_path={ckpt_path} does not exist: give a last.ckpt of an earlier run")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        known = isinstance(found, dict) and "loops" in found and "state_dict" in found
    except Exception:  # torch.load raises nearly anything where a file is none of its own
        known = False
    if not known:
        raise UserError(
            f"ckpt_path={ckpt_path} is no training checkpoint (or holds more than tensors, which "
            "is never loaded): give a last.ckpt of an earlier run"
        )
    return cast(dict[str, Any], found)


def stored_config(ckpt_path: str, overrides: Iterable[str]) -> dict[str, Any] | None:
    """The configuration of the run that a checkpoint is of: its own, else that beside it.

    Args:
        ckpt_path: the checkpoint.
        overrides: what the user says beside it.

    Returns:
        The plain configuration, or None if none was kept.

    Raises:
        UserError: if the checkpoint cannot be read, or would have a class built that neither comes
            with fast_style nor is named by the user. A checkpoint may be a stranger's.
    """
    found = read_checkpoint(ckpt_path).get(KNOWN)
    config = found.get("config") if isinstance(found, dict) else None
    beside = Path(literal(ckpt_path)).parent / ".hydra" / "config.yaml"
    if config is None and beside.is_file():
        config = OmegaConf.to_container(OmegaConf.load(beside), resolve=False)
    if not isinstance(config, dict):
        return None
    follow_moves(config)
    said = {override.lstrip("+") for override in overrides}
    for part, target in targets(config):
        if target not in _own_classes() and f"{part}._target_={target}" not in said:
            raise UserError(
                f"ckpt_path={ckpt_path} asks for the class {target}, which may run anything: if "
                f"you trust it, say so with {part}._target_={target}"
            )
    return {key: value for key, value in config.items() if key not in _NOT_KEPT}


# Classes that earlier runs know by another name.
_MOVED = {
    "fast_style.muon.Muon": "fast_style.training.muon.Muon",
    "fast_style.divergence.StopWhereDiverged": "fast_style.training.divergence.StopWhereDiverged",
    "fast_style.callbacks.Schedule": "fast_style.training.schedule.Schedule",
    "fast_style.callbacks.Throughput": "fast_style.training.progress.Throughput",
    "fast_style.callbacks.RunProgressBar": "fast_style.training.progress.RunProgressBar",
    "fast_style.callbacks.StopCleanly": "fast_style.training.stopping.StopCleanly",
}


def follow_moves(node: Any) -> None:
    """Give the classes in a configuration of an earlier run the names that they have now."""
    if isinstance(node, dict):
        if node.get("_target_") in _MOVED:
            node["_target_"] = _MOVED[node["_target_"]]
        for value in node.values():
            follow_moves(value)


def _own_classes() -> frozenset[str]:
    from fast_style.bundled import CONF

    lines = "\n".join(path.read_text(encoding="utf-8") for path in CONF.glob("*/*.yaml"))
    named = re.findall(r"^\s*_target_: (\S+)$", lines, re.MULTILINE)
    return frozenset(named).union(*(filter(None, classes) for classes in TABLE.values()))


def check_same_run(cfg: DictConfig, checkpoint: dict[str, Any]) -> None:
    """Refuse what would make another run of the one that is gone on with, and one that is done.

    Raises:
        UserError: in both cases.
    """
    found = checkpoint.get(KNOWN)
    if isinstance(found, dict):
        follow_moves(found["config"])
        before = cast(DictConfig, OmegaConf.create(found["config"]))
        if found["painting"] != _digest(cfg):
            raise _another(cfg, f"style={cfg.style.image}", "the painting")
        for part, keys in _MAKE_A_RUN.items():
            for key in keys:
                now = _plain(cfg[part], key)
                if now != _plain(before[part], key):
                    raise _another(cfg, f"{part}.{key}={now}", f"the {_CALLED[part]}")
    _check_not_done(cfg, checkpoint)


# Without these, weights that are gone on with would be pulled elsewhere. How strongly, and how
# fast, may be changed.
_MAKE_A_RUN = {
    "optimizer": ("_target_",),
    "loss": ("_target_", "network", "content_layers", "style_layers", "normalization"),
}
_CALLED = {"optimizer": "optimizer", "loss": "loss network, layers or normalization"}


def _plain(node: DictConfig, key: str) -> Any:
    value = node.get(key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _another(cfg: DictConfig, said: str, what: str) -> UserError:
    return UserError(
        f"ckpt_path={cfg.ckpt_path} is of a run with another {what.removeprefix('the ')} than "
        f"{said}: leave that out to go on with the run, or leave ckpt_path out to begin another"
    )


def _check_not_done(cfg: DictConfig, checkpoint: dict[str, Any]) -> None:
    steps, most = int(checkpoint["global_step"]), int(cfg.trainer.max_steps)
    minutes = cfg.callbacks.schedule.get("minutes")
    seconds = float(checkpoint.get("callbacks", {}).get("Schedule", {}).get("seconds", 0.0))
    if minutes is not None and seconds >= 60 * minutes:
        raise UserError(
            f"ckpt_path={cfg.ckpt_path} is of a run that is done ({seconds / 60:.1f} minutes): go "
            f"further with callbacks.schedule.minutes={2 * minutes:g}, or another length"
        )
    if 0 < most <= steps:
        raise UserError(
            f"ckpt_path={cfg.ckpt_path} is of a run that is done ({steps:,} steps): go further "
            f"with trainer.max_steps={2 * steps}, or another length above {steps}"
        )
