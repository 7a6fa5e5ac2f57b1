"""What happens beside the optimiser's steps: pace, progress, pictures, exports, a clean end."""

import logging
import math
import os
import signal
import stat
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import make_grid
from tqdm import tqdm

from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.config.resume import RUN_KEY
from fast_style.networks.transformer import ImageTransformer
from fast_style.training.module import StyleTransfer

log = logging.getLogger(__name__)


class Schedule(Callback):
    """Learning rate by how much of the run is done: a linear warm-up, then half a cosine to zero.

    A run is as long as the trainer's ``max_steps``, or as ``minutes`` if that is given. Counted in
    steps a run is repeatable; counted in minutes it fits any machine.

    Args:
        warmup: share of the run to reach the optimiser's learning rate.
        minutes: length of the run, or None to count steps.
    """

    def __init__(self, warmup: float = 0.1, minutes: float | None = None) -> None:
        self.warmup = warmup
        self.minutes = minutes
        self.seconds_before = 0.0
        self.started = 0.0

    def done(self, trainer: pl.Trainer) -> float:
        """The share of the run that is done, in [0, 1]."""
        if self.minutes is None:
            return min(trainer.global_step / max(trainer.max_steps, 1), 1.0)
        return min(self.elapsed / (60 * self.minutes), 1.0)

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self.seconds_before + (time.monotonic() - self.started if self.started else 0.0)

    def factor(self, done: float) -> float:
        """What the learning rate is multiplied by when this share of the run is done."""
        if done < self.warmup:
            return 0.04 + 0.96 * done / self.warmup
        return 0.5 + 0.5 * math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        self.base = [group["initial_lr"] for group in _groups(trainer)]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        factor = self.factor(self._agreed(trainer))
        for group, base in zip(_groups(trainer), self.base, strict=True):
            # In the float32 of recorded steps, so that others are the same.
            rate = float(np.float32(base * factor))
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if cast(StyleTransfer, pl_module).logs_this_step():
            # Of a float Lightning would make a tensor on the CPU, and wait until a GPU took it.
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
        # Asked to stop, the trainer looks at the validation photos once more; at max_steps it would
        # not.
        if self._agreed(trainer) >= 1:
            trainer.should_stop = True

    def _agreed(self, trainer: pl.Trainer) -> float:
        """`done` as the first process sees it: clocks differ, and all must take the same steps."""
        done = self.done(trainer)
        return done if self.minutes is None else trainer.strategy.broadcast(done)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds_before = state_dict["seconds"]


def _groups(trainer: pl.Trainer) -> list[dict[str, Any]]:
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    for group in groups:
        group.setdefault("initial_lr", float(group["lr"]))
    return groups


def _schedule(trainer: pl.Trainer) -> Schedule:
    return next(c for c in trainer.callbacks if isinstance(c, Schedule))  # type: ignore[attr-defined]


class Throughput(Callback):
    """Logs images per second, of all processes together, and where the time goes.

    The shares are those of the device's time since the last log: the forward pass (network and
    losses), the backward pass and the optimiser, or the whole step where it is recorded; and
    waiting for data, or whatever else happens between steps. Looks at the validation photos do not
    count."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        self.images = 0
        # What has just ended, and when.
        self.marks: list[tuple[str, float | torch.cuda.Event]] = []
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
            # The device works through what it is told later: it must take the time itself.
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self.marks.append((ended, now))


def _seconds_between(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(begin, float) or isinstance(end, float):
        return cast(float, end) - cast(float, begin)
    end.synchronize()
    return begin.elapsed_time(end) / 1000


class RunProgressBar(ProgressBar):
    """One bar for the whole run, with its losses, images per second and the time left."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm | None = None
        self.enabled = True
        self.drawn = 0.0  # when, on the monotonic clock

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first_step = trainer.global_step
        self.bar = tqdm(
            total=1.0,
            initial=_schedule(trainer).done(trainer),
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
        # Reading a loss waits for the device: do so only as often as a reader can follow.
        if time.monotonic() - self.drawn < 0.5:
            return
        self.drawn = time.monotonic()
        steps = trainer.global_step - self.first_step
        rate = steps * len(batch) * trainer.world_size / max(self.bar.format_dict["elapsed"], 1e-6)
        losses = [
            f"{name} {trainer.callback_metrics[f'train/{name}']:.3f}"
            for name in ("total", "content", "style")
            if f"train/{name}" in trainer.callback_metrics  # not from the very first step on
        ]
        shown = [f"step {trainer.global_step}", *losses, f"{rate:.1f} images/s"]
        self.bar.set_postfix_str(", ".join(shown), refresh=False)
        self.bar.update(_schedule(trainer).done(trainer) - self.bar.n)
        self.bar.refresh()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is not None:
            self.bar.update(_schedule(trainer).done(trainer) - self.bar.n)
            self.bar.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self.bar is not None:
            self.bar.close()


class ValidationPictures(Callback):
    """Shows the validation photos beside what the network makes of them, and the painting once.

    Args:
        painting: ``(1, 3, H, W)`` in [0, 1], as large as the style was measured.
    """

    def __init__(self, painting: Tensor) -> None:
        self.painting = painting
        self.pairs: list[Tensor] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if writer := _tensorboard(trainer):
            writer.add_image("pictures/painting", self.painting[0], 0)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        photo, stylized = batch[0].float().cpu() / 255, outputs[0].float().cpu()
        self.pairs.append(torch.cat([photo, stylized], dim=1))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (writer := _tensorboard(trainer)) and self.pairs:
            grid = make_grid(self.pairs, nrow=4, padding=8, pad_value=1.0)
            writer.add_image("pictures/photos_above_stylized", grid, trainer.global_step)
        self.pairs.clear()


def _tensorboard(trainer: pl.Trainer) -> Any:
    """The writer that pictures go to, on the one process that logs."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            return logger.experiment
    return None


class ExportNetwork(Callback):
    """Writes the network, with its latest losses, whenever the validation photos were looked at,
    so that there is something to stylize with long before the end.

    Args:
        path: the ``.safetensors`` file, replaced each time.
        name: of the style.
        recipe: the whole configuration.
    """

    def __init__(self, path: Path, name: str, recipe: dict[str, Any]) -> None:
        self.path = path
        self.name = name
        self.recipe = recipe

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.write(trainer, pl_module)

    def write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the network as it is now."""
        if not trainer.is_global_zero:
            return
        losses = {
            name: round(float(value), 6)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val")
        }
        losses["step"] = trainer.global_step
        style = TrainedStyle(
            cast(ImageTransformer, pl_module.network), self.name, self.recipe, losses
        )
        save_style(style, self.path)


class StopCleanly(Callback):
    """Ctrl-C (or SIGTERM, or a closed terminal's SIGHUP) ends the run after the step at hand, with
    everything written; a second one ends it at once."""

    def __init__(self) -> None:
        self.requested = False
        self.previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.previous = {
            number: signal.signal(number, self._request)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        # Under nohup it is ignored, and stays so.
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


class KeepIfALoaderDies(Callback):
    """Writes checkpoint and network when a process that loads photos was killed, as by a system
    that is short of memory: all steps up to then were good.

    Args:
        last: the checkpoint, replaced.
        export: writes the network.
    """

    def __init__(self, last: Path, export: ExportNetwork) -> None:
        self.last = last
        self.export = export

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if is_of_a_loader(exception) and trainer.global_step:
            trainer.save_checkpoint(self.last)
            self.export.write(trainer, pl_module)


def is_of_a_loader(error: BaseException) -> bool:
    """Whether that is what PyTorch raises when a loader's process dies."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def _leave_terminal() -> None:
    """Write to nowhere what would go to a terminal that is closed: each line would be an error."""
    for stream in (1, 2):
        try:
            closed = stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream)
        except OSError:
            continue
        if closed:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream)
            os.close(nowhere)


class KeepRun(Callback):
    """Writes into each checkpoint what its run is, so that it can be gone on with by itself.

    Args:
        known: see `fast_style.config.resume.describe_run`; ``ended`` is added when the run is over.
    """

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known | {"ended": False}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[RUN_KEY] = dict(self.known)


class KeepSettings(Callback):
    """Gives a run that is gone on with the optimiser's settings of now, where a checkpoint would
    bring back those of then. Comes ahead of `Schedule`, which reads the learning rates."""

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
