"""Optimise a picture from files to a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.utils import instantiate
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from fast_style.config import settings as config_settings
from fast_style.config.classes import check_arguments
from fast_style.config.compose import compose_config
from fast_style.config.messages import as_user_error
from fast_style.config.paths import buildable, rewrite
from fast_style.devices import available_memory, computes_in_bf16, find_device
from fast_style.errors import UserError
from fast_style.images import (
    check_writable,
    open_picture,
    resize_picture,
    save_picture,
)
from fast_style.losses import PerceptualLoss
from fast_style.optimize.pyramid import (
    OnProgress,
    Progress,
    Settings,
    optimize_coarse_to_fine,
    shorter_side,
)

logger = logging.getLogger(__name__)

NAMED_STARTS = ("photo", "noise")
PREVIEW_EVERY = 25  # evaluations

# Peak memory with VGG16, measured at 320 x 320 px on a CPU.
BYTES_PER_PIXEL = {torch.float32: 3500, torch.bfloat16: 2600}


@dataclass(frozen=True)
class Task:
    """What to optimise, and where to write it.

    Args:
        photo: file of the content image.
        painting: file of the style image.
        out: file to write.
        settings: sizes, optimiser and seed.
        start: ``photo``, ``noise``, or the file of a picture to begin with.
        device: name of the device, see `find_device`.
        overrides: overrides of the loss, see `load_loss`.
        log: folder for TensorBoard's losses and previews; None writes none.
    """

    photo: Path
    painting: Path
    out: Path
    settings: Settings
    start: str = "photo"
    device: str = "auto"
    overrides: Sequence[str] = ()
    log: Path | None = None


class PreparedTask:
    """A task whose pictures and loss are loaded and checked.

    Args:
        task: files and settings.

    Raises:
        UserError: if a file, the loss, the device or the memory does not serve.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.content = _open(task.photo)
        self.style = _open(task.painting)
        self.start = task.start if task.start in NAMED_STARTS else _open(Path(task.start))
        _check_not_replaced(task)
        self.device = find_device(task.device)
        self.precision = torch.bfloat16 if computes_in_bf16(self.device) else torch.float32
        self.loss = load_loss(task.overrides).to(self.device)
        size = task.settings.size
        _check_memory(self.content, size, self.device, self.precision)
        check_writable(task.out, resize_picture(self.content, size))
        self.writer = SummaryWriter(task.log) if task.log is not None else None

    def run(self, on_progress: OnProgress) -> dict[str, float]:
        """Optimise, and write the picture.

        Args:
            on_progress: callback for each evaluation. It returns True to stop early; the best
                picture so far is written then.

        Returns:
            The losses of the last evaluation, by name.

        Raises:
            UserError: if an image is too narrow or the memory of the device too small.
        """
        losses: dict[str, float] = {}

        def watch(progress: Progress) -> bool | None:
            losses.update(progress.losses)
            stop = on_progress(progress)
            if self.writer is not None:
                _log(self.writer, progress)
            return stop

        picture = self._optimize(watch)
        save_picture(picture, self.task.out)
        if self.writer is not None:
            self.writer.close()
        return losses

    def _optimize(self, on_progress: OnProgress) -> Image.Image:
        settings = self.task.settings
        try:
            return optimize_coarse_to_fine(
                self.content,
                self.style,
                self.loss,
                settings,
                self.start,
                self.precision,
                on_progress,
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"a picture of {settings.size} px does not fit into the memory of {self.device}: "
                "make it smaller with --size, or use --device cpu"
            ) from error


def load_loss(overrides: Sequence[str] = ()) -> PerceptualLoss:
    """Build a loss of ``conf/loss``, by default with the bundled VGG16.

    Args:
        overrides: Hydra overrides of the loss, such as ``["loss=vgg19", "loss.style_weight=50"]``.

    Raises:
        UserError: if an override is wrong, or not about the loss.
    """
    for override in overrides:
        if not override.startswith(("loss=", "loss.", "+loss.", "~loss.")):
            raise UserError(
                f"'{override}' is no setting of the loss: give loss=vgg19, loss.style_weight=50 "
                "and the like, as in training (fast-style train --help shows them all)"
            )
    with as_user_error():
        cfg = compose_config(["loss=vgg16", *rewrite(overrides)])
        config_settings.check(cfg, ["loss"])
        check_arguments(cfg.loss, "loss")
        return instantiate(buildable(cfg, "loss").loss)


def _open(path: Path) -> Image.Image:
    return open_picture(path, note=logger.warning)


def _check_not_replaced(task: Task) -> None:
    for given in (task.photo, task.painting, Path(task.start)):
        if task.out.exists() and given.exists() and task.out.samefile(given):
            raise UserError(f"{task.out} is what you start from: give another name with -o")


def _check_memory(
    content: Image.Image, size: int, device: torch.device, precision: torch.dtype
) -> None:
    """Refuse what Linux would kill this process for. GPUs refuse by themselves."""
    needed = size * shorter_side(content, size) * BYTES_PER_PIXEL[precision]
    free = available_memory()
    if device.type == "cpu" and needed > free:
        raise UserError(
            f"a picture of {size} px needs about {needed / 1e9:.0f} GB of memory and "
            f"{free / 1e9:.0f} GB are free: make it smaller with --size"
        )


def _log(writer: SummaryWriter, progress: Progress) -> None:
    for name, value in progress.losses.items():
        tag = f"optimize_{name}" if "/" in name else f"optimize/{name}"
        writer.add_scalar(tag, value, progress.evaluation)
    if progress.evaluation % PREVIEW_EVERY == 0 or progress.done == 1:
        writer.add_image("pictures/optimized", progress.picture[0], progress.evaluation)
