"""End a run early: after a signal, or when a loader process was killed."""

from __future__ import annotations

import logging
import os
import signal
import stat
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from fast_style.training.exports import ExportNetwork

log = logging.getLogger(__name__)


class StopCleanly(Callback):
    """Ends the run after the current step, with everything written, on a signal.

    The signals are Ctrl-C (SIGINT), SIGTERM and a closed terminal's SIGHUP. A second one ends the
    run at once.
    """

    def __init__(self) -> None:
        self.requested = False
        self.previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.previous = {
            number: signal.signal(number, self._request)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        # nohup ignores SIGHUP, and it must stay ignored.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            self.previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if hasattr(signal, "SIGHUP") and number == signal.SIGHUP:
            _leave_terminal()
        log.warning("stopping after this step; once more to stop at once")
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous.clear()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.strategy.reduce_boolean_decision(self.requested, all=False):
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()


def _leave_terminal() -> None:
    """Discard output to a closed terminal, where each line would raise an error."""
    for stream in (1, 2):
        try:
            closed = stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream)
        except OSError:
            continue
        if closed:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream)
            os.close(nowhere)


class SaveIfALoaderDies(Callback):
    """Writes checkpoint and network when a loader process was killed, as by lack of memory.

    All steps until then were good.

    Args:
        checkpoint: the file to replace.
        export: writes the network.
    """

    def __init__(self, checkpoint: Path, export: ExportNetwork) -> None:
        self.checkpoint = checkpoint
        self.export = export

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if not loader_died(exception) or not trainer.global_step:
            return
        try:
            self._save(trainer, pl_module)
        except Exception as again:
            # Who waits for a batch learns of the death by a broken connection, and a signal may
            # tell of it a second time, here.
            if not loader_died(again):
                raise
            self._save(trainer, pl_module)

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.checkpoint)
        self.export.write(trainer, pl_module)


def loader_died(error: BaseException) -> bool:
    """Return whether PyTorch raised this error because a loader process died."""
    if isinstance(error, (ConnectionError, EOFError)):  # it died while it handed a batch over
        return True
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
