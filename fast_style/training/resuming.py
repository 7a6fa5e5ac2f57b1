"""Write checkpoints from which alone a run can be resumed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO

from fast_style.config.resume import RUN_KEY
from fast_style.files import replace_file


class SaveAtomically(TorchCheckpointIO):
    """Replaces a checkpoint in one go: a full disk leaves the earlier one whole.

    Lightning stages checkpoints in the temporary folder, which may be on another disk, and copies
    them from there.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        replace_file(Path(path), content.getvalue())


class DescribeRun(Callback):
    """Writes a description of the run into each checkpoint.

    Args:
        known: see `fast_style.config.resume.describe_run`. ``ended`` is added, and set once
            the run is over.
    """

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known | {"ended": False}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[RUN_KEY] = dict(self.known)


class KeepOptimizerSettings(Callback):
    """Keeps the optimiser's settings as configured now, where a checkpoint would restore its own.

    It must come before `Schedule`, which reads the learning rates.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.settings = [
            [{key: value for key, value in group.items() if key != "params"} for group in groups]
            for groups in (optimizer.param_groups for optimizer in trainer.optimizers)
        ]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for optimizer, groups in zip(trainer.optimizers, self.settings, strict=True):
            for group, settings in zip(optimizer.param_groups, groups, strict=True):
                group.update(settings)
                group["initial_lr"] = settings["lr"]
