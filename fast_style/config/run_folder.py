"""Name, check and clear the folder of a training run."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fast_style.config.paths import literal
from fast_style.errors import UserError
from fast_style.files import numbered

if TYPE_CHECKING:
    from torch import nn

LAST = "last.ckpt"

# Disk space for TensorBoard's curves and pictures, roughly.
_LOG_BYTES = 20 * 2**20

# Folders that this process made, by (parent, name, date). Hydra resolves each several times.
_made: dict[tuple[str, str, str], str] = {}


def fresh_folder(parent: str, name: str, date: str) -> str:
    """Make ``parent/name/date``, or ``parent/name/date-2`` if another run took that name.

    Within a process the same arguments give the same folder, until `forget_fresh_folders`.

    Returns:
        The folder, relative to ``parent``.
    """
    asked = (str(parent), str(name), str(date))
    if asked not in _made:
        # Hydra would parse these characters in the name of its own folder.
        group = Path(parent) / re.sub(r"[\"\\]|\$(?=\{)", "_", str(name))
        for stem in numbered(str(date)):
            folder = group / stem
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            _made[asked] = str(folder.relative_to(parent))
            break
    return _made[asked]


def forget_fresh_folders() -> None:
    """Let `fresh_folder` make new folders, as in a new process."""
    _made.clear()


def remove_if_unused(folder: Path) -> None:
    """Remove a folder that `fresh_folder` made, and its parents, as far as they are empty."""
    for (parent, _, _), inside in _made.items():
        path, above = Path(parent, inside).absolute(), Path(parent).absolute().parent
        if path != folder.absolute():
            continue
        while path != above:
            try:
                path.rmdir()
            except OSError:  # not empty
                return
            path = path.parent


def check_folder(cfg: DictConfig) -> Path:
    """Make the folder of a run that is about to start.

    Raises:
        UserError: if it cannot be made or written to, or holds another run.
    """
    folder = Path(cfg.output_dir)
    resumes = cfg.ckpt_path is not None and _same(folder, Path(literal(str(cfg.ckpt_path))).parent)
    earlier = find_earlier_run(folder, str(cfg.style.name))
    if earlier and not resumes and not cfg.get("overwrite", False):
        raise UserError(
            f"{folder} holds a run already ({earlier.name}): resume it with "
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


def find_earlier_run(folder: Path, name: str) -> Path | None:
    """The first file in a folder that a new run of this style would replace, or None."""
    places = [folder / LAST, *_logs(folder), folder / f"{name}.safetensors"]
    return next((path for path in places if os.path.lexists(path)), None)


def clear_earlier_run(folder: Path) -> None:
    """Remove the checkpoint and the curves of a run that a new one replaces."""
    (folder / LAST).unlink(missing_ok=True)
    for logs in _logs(folder):
        shutil.rmtree(logs, ignore_errors=True)


def check_disk_space(folder: Path, network: nn.Module) -> None:
    """Check that a disk can hold what a run writes.

    A run writes the network in half precision, the logs, and ``last.ckpt`` twice, because the new
    one is complete before the old one goes. A ``last.ckpt`` holds the weights and at most two
    moments of each, all in float32.

    Raises:
        UserError: if the disk has less space.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    needed = 2 * parameters + 2 * (3 * 4 * parameters) + _LOG_BYTES
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
