"""Show pictures and write the network after each validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import make_grid

from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.networks.transformer import ImageTransformer


class PicturesAfterValidation(Callback):
    """Collects the validation photos above their stylized versions; subclasses show them."""

    def __init__(self) -> None:
        self.pairs: list[Tensor] = []

    def show(self, trainer: pl.Trainer, grid: Tensor) -> None:
        """Show all pairs as one RGB picture ``(3, H, W)`` in [0, 1]."""
        raise NotImplementedError

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
        if self.pairs:
            self.show(trainer, make_grid(self.pairs, nrow=4, padding=8, pad_value=1.0))
        self.pairs.clear()


class ValidationPictures(PicturesAfterValidation):
    """Shows TensorBoard the validation photos above their stylized versions.

    The style image is shown once, at the start.

    Args:
        style_image: ``(1, 3, H, W)`` RGB in [0, 1], at the size at which its style was measured.
    """

    def __init__(self, style_image: Tensor) -> None:
        super().__init__()
        self.style_image = style_image

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if writer := _tensorboard_writer(trainer):
            writer.add_image("pictures/painting", self.style_image[0], 0)

    def show(self, trainer: pl.Trainer, grid: Tensor) -> None:
        if writer := _tensorboard_writer(trainer):
            writer.add_image("pictures/photos_above_stylized", grid, trainer.global_step)


def _tensorboard_writer(trainer: pl.Trainer) -> Any:
    """Return the writer for pictures, in the one process that logs, or None."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            return logger.experiment
    return None


class ExportNetwork(Callback):
    """Writes the network with its latest losses after each validation.

    Photos can be stylized with it long before the run ends.

    Args:
        path: the ``.safetensors`` file, replaced each time.
        name: name of the style.
        recipe: the configuration of the run, to be written into the file.
    """

    def __init__(self, path: Path, name: str, recipe: dict[str, Any]) -> None:
        self.path = path
        self.name = name
        self.recipe = recipe

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.write(trainer, pl_module)

    def write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the network as it is now, from the first process alone."""
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
