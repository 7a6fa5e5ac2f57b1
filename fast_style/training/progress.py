"""Show the speed of a run: a progress bar for the terminal, and curves of where time goes."""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ProgressBar
from torch import Tensor
from tqdm import tqdm

from fast_style.training.module import StyleTransfer
from fast_style.training.schedule import schedule_of

SECONDS_BETWEEN_DRAWS = 0.5  # reading a loss waits for the device: no more often than one can read


class RunProgressBar(ProgressBar):
    """Draws one bar for the whole run, with its losses, images per second and the time left."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm | None = None
        self.enabled = True
        self.last_drawn = 0.0  # on the monotonic clock

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first_step = trainer.global_step
        self.bar = tqdm(
            total=1.0,
            initial=schedule_of(trainer).done(trainer),
            desc="training",
            disable=not self.enabled or not trainer.is_global_zero,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} < {remaining} left{postfix}",
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
    ) -> None:
        if self.bar is None or self.bar.disable:
            return
        if time.monotonic() - self.last_drawn < SECONDS_BETWEEN_DRAWS:
            return
        self.last_drawn = time.monotonic()
        steps = trainer.global_step - self.first_step
        rate = steps * len(batch) * trainer.world_size / max(self.bar.format_dict["elapsed"], 1e-6)
        losses = [
            f"{name} {trainer.callback_metrics[f'train/{name}']:.3f}"
            for name in ("total", "content", "style")
            if f"train/{name}" in trainer.callback_metrics  # absent until a first step is logged
        ]
        shown = [f"step {trainer.global_step}", *losses, f"{rate:.1f} images/s"]
        self.bar.set_postfix_str(", ".join(shown), refresh=False)
        self.bar.update(schedule_of(trainer).done(trainer) - self.bar.n)
        self.bar.refresh()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is not None:
            self.bar.update(schedule_of(trainer).done(trainer) - self.bar.n)
            self.bar.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self.bar is not None:
            self.bar.close()


class Throughput(Callback):
    """Logs images per second, over all processes, and the share of time that each phase takes.

    Phases are the forward pass (network and losses), the backward pass, the optimiser, and waiting
    for data, which includes anything else between two steps. A step recorded as a CUDA graph is a
    single phase, ``step``. Validation is not counted. All are measured on the device since the last
    log.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        self.images = 0
        self.marks: list[tuple[str, float | torch.cuda.Event]] = []  # what ended, and when
        self._mark(trainer, "start")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._mark(trainer, "waiting_for_data")

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        if cast(StyleTransfer, pl_module).recorder is None:
            self._mark(trainer, "forward")

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if cast(StyleTransfer, pl_module).recorder is None:
            self._mark(trainer, "backward")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
    ) -> None:
        recorded = cast(StyleTransfer, pl_module).recorder is not None
        self._mark(trainer, "step" if recorded else "optimizer")
        self.images += len(batch) * trainer.world_size
        if trainer.global_step % self.every:
            return
        phases = ("step",) if recorded else ("forward", "backward", "optimizer")
        seconds = dict.fromkeys(("waiting_for_data", *phases), 0.0)
        for (_, begin), (phase, end) in zip(self.marks, self.marks[1:], strict=False):
            if phase in seconds:
                seconds[phase] += _seconds_between(begin, end)
        whole = sum(seconds.values())
        speed = {f"train_speed/{phase}": part / whole for phase, part in seconds.items()}
        speed["train_speed/images_per_second"] = self.images / whole
        for logger in trainer.loggers:
            logger.log_metrics(speed, trainer.global_step)
        self.images = 0
        del self.marks[:-1]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._mark(trainer, "validation")

    def _mark(self, trainer: pl.Trainer, ended: str) -> None:
        now: float | torch.cuda.Event = time.monotonic()
        if trainer.strategy.root_device.type == "cuda":
            # A GPU runs behind the process that drives it, so it must take the time itself.
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self.marks.append((ended, now))


def _seconds_between(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(begin, float) or isinstance(end, float):
        return cast(float, end) - cast(float, begin)
    end.synchronize()
    return begin.elapsed_time(end) / 1000
