"""Ends a run that has diverged before it replaces a good file."""

from __future__ import annotations

import math
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from fast_style.data.content import ContentData
from fast_style.errors import UserError

EXPLODED = 1e4  # times the first loss: in no run did such a loss come down again
MAX_NAMED = 8  # files of a batch in a message

REMEDY = (
    "What earlier steps wrote is kept: resume from its last.ckpt, or train again, with a lower "
    "optimizer.lr or without those photos"
)


class StopWhereDiverged(Callback):
    """Ends a run at a loss that is not finite or has exploded, or at weights that are not finite.

    On a CPU the loss is checked after each step. On a GPU it is checked on logging steps and before
    a file is written: a GPU runs behind the process that drives it, and reading a loss waits.

    Raises:
        UserError: with the step, its loss and its files.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.unread: list[tuple[int, Tensor]] = []  # (step, loss), counted from 1
        self.first: float | None = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.unread.append((trainer.global_step, outputs["loss"]))
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if pl_module.device.type == "cpu" or (every and trainer.global_step % every == 0):
            self._check_losses(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check(trainer, pl_module)

    def _check(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check_losses(trainer)
        weights: list[Tensor] = list(pl_module.parameters())
        finite = torch.stack(torch._foreach_norm(weights)).isfinite().all().item()
        if not trainer.strategy.reduce_boolean_decision(bool(finite)):
            raise UserError(
                f"training diverged: after step {trainer.global_step} the network has weights that "
                f"are not finite. {REMEDY}"
            )

    def _check_losses(self, trainer: pl.Trainer) -> None:
        steps = [step for step, _ in self.unread]
        losses = torch.stack([loss for _, loss in self.unread]).tolist() if steps else []
        self.unread.clear()
        if self.first is None and losses:
            self.first = losses[0]
        wrong = next(
            (
                (step, loss)
                for step, loss in zip(steps, losses, strict=True)
                if not math.isfinite(loss) or loss > EXPLODED * abs(self.first or 1.0)
            ),
            None,
        )
        # When one process must end, all of them must.
        if trainer.strategy.reduce_boolean_decision(wrong is None):
            return
        if wrong is None:
            raise UserError(f"training diverged in another process. {REMEDY}")
        step, loss = wrong
        files = cast(ContentData, trainer.datamodule).files_of(step - 1)  # type: ignore[attr-defined]
        shown = ", ".join(files[:MAX_NAMED]) + (", and more" if len(files) > MAX_NAMED else "")
        raise UserError(
            f"training diverged: the loss of step {step} is {loss:.6g}, on {shown}. {REMEDY}"
        )
