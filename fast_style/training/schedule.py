"""The learning rate over a run, and when the run is over."""

from __future__ import annotations

import math
import time
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from fast_style.training.module import StyleTransfer

FIRST_FACTOR = 0.04  # of the learning rate, in a run's first step


class Schedule(Callback):
    """Sets the learning rate: a linear warm-up, then half a cosine down to zero.

    The run ends after the trainer's ``max_steps``, or after ``minutes`` if given. A run counted in
    steps can be repeated exactly; a run counted in minutes fits any machine.

    Args:
        warmup: share of the run in which the learning rate rises, in [0, 1).
        minutes: length of the run, above 0, or None to count steps.

    >>> schedule = Schedule(warmup=0.5)
    >>> [round(schedule.factor(done), 3) for done in (0, 0.25, 0.5, 0.75, 1)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """

    def __init__(self, warmup: float = 0.1, minutes: float | None = None) -> None:
        self.warmup = warmup
        self.minutes = minutes
        self.seconds_before = 0.0
        self.started = 0.0

    def done(self, trainer: pl.Trainer) -> float:
        """Return the share of the run that is done, in [0, 1]."""
        if self.minutes is None:
            return min(trainer.global_step / max(trainer.max_steps, 1), 1.0)
        return min(self.elapsed / (60 * self.minutes), 1.0)

    @property
    def elapsed(self) -> float:
        """Seconds of training, including those before the run was resumed."""
        return self.seconds_before + (time.monotonic() - self.started if self.started else 0.0)

    def factor(self, done: float) -> float:
        """Return the factor of the learning rate once a share ``done`` of the run is over."""
        if done < self.warmup:
            return FIRST_FACTOR + (1 - FIRST_FACTOR) * done / self.warmup
        return 0.5 + 0.5 * math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        self.base = [group["initial_lr"] for group in _parameter_groups(trainer)]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        factor = self.factor(self._agreed(trainer))
        for group, base in zip(_parameter_groups(trainer), self.base, strict=True):
            # CUDA graphs read the rate as a float32: round it here as well, so that steps with and
            # without graphs are the same.
            rate = float(np.float32(base * factor))
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if cast(StyleTransfer, pl_module).logs_this_step():
            # Lightning would turn a float into a tensor on the CPU and wait for its transfer.
            shown = torch.full((), self.base[0] * factor, device=pl_module.device)
            pl_module.log("train/learning_rate", shown)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # `should_stop` makes the trainer run a last validation; reaching max_steps would not.
        if self._agreed(trainer) >= 1:
            trainer.should_stop = True

    def _agreed(self, trainer: pl.Trainer) -> float:
        """`done` by the first process's clock: all processes must take the same steps."""
        done = self.done(trainer)
        return done if self.minutes is None else trainer.strategy.broadcast(done)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds_before = state_dict["seconds"]


def schedule_of(trainer: pl.Trainer) -> Schedule:
    """Return the trainer's `Schedule`."""
    return next(c for c in trainer.callbacks if isinstance(c, Schedule))  # type: ignore[attr-defined]


def _parameter_groups(trainer: pl.Trainer) -> list[dict[str, Any]]:
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    for group in groups:
        group.setdefault("initial_lr", float(group["lr"]))
    return groups
