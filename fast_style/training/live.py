"""Write how a run goes to files that other programs can watch."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from fast_style.files import replacing
from fast_style.images import to_picture
from fast_style.training.exports import PicturesAfterValidation
from fast_style.training.schedule import schedule_of

SECONDS_BETWEEN_LINES = 1.0
PROGRESS, PICTURES = "progress.jsonl", "pictures.jpg"


class LiveFiles(PicturesAfterValidation):
    """Writes ``progress.jsonl`` and ``pictures.jpg``.

    A line of ``progress.jsonl`` is a JSON object: ``step``; ``done``, the share of the run in
    [0, 1]; ``seconds`` since training began and ``seconds_left``; and ``losses`` by name where
    those of this step were measured. There is a line for each such step, and else one a second.
    ``pictures.jpg`` shows the validation photos above their stylized versions.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.started = 0.0  # on the monotonic clock
        self.done_before = 0.0
        self.last_line = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        self.done_before = schedule_of(trainer).done(trainer)
        if self.done_before == 0 and trainer.is_global_zero:
            (self.folder / PROGRESS).unlink(missing_ok=True)
        self._write(trainer, {})

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
    ) -> None:
        measured = trainer.global_step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if measured:
            self._write(trainer, _losses(trainer))
        elif time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self._write(trainer, {})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, {})

    def show(self, trainer: pl.Trainer, grid: Tensor) -> None:
        if trainer.is_global_zero:
            with replacing(self.folder / PICTURES) as file:
                to_picture(grid).save(file, "JPEG", quality=90)

    def _write(self, trainer: pl.Trainer, losses: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        self.last_line = time.monotonic()
        done, seconds = schedule_of(trainer).done(trainer), self.last_line - self.started
        now = done - self.done_before
        line: dict[str, Any] = {
            "step": trainer.global_step,
            "done": round(done, 6),
            "seconds": round(seconds, 1),
            "seconds_left": round(seconds * (1 - done) / now, 1) if now > 0 else None,
        }
        if losses:
            line["losses"] = losses
        with (self.folder / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _losses(trainer: pl.Trainer) -> dict[str, float]:
    """The latest training losses by name, as far as they are numbers."""
    found = {
        name.removeprefix("train/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("train/") and name != "train/learning_rate"
    }
    return {name: round(value, 6) for name, value in found.items() if math.isfinite(value)}
