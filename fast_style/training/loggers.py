"""Loggers of a run, what they record besides losses, and the recipe of its network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from fast_style.config import resume
from fast_style.shell import readable

RECIPE = ("style", "model", "data", "loss", "stability", "optimizer", "trainer", "init", "seed")
HYPERPARAMETERS = ("style", "model", "data", "loss", "stability", "optimizer", "seed")


def make_logger(
    cfg: DictConfig | None, folder: Path, checkpoint: dict[str, Any] | None
) -> Logger | None:
    """Build the logger of a run.

    Args:
        cfg: configuration of the logger, or None for no logger.
        folder: the run's folder.
        checkpoint: the checkpoint to resume from, or None. A run resumed in its own folder
            continues its curves: TensorBoard hides what was logged after the checkpoint's step.
    """
    if cfg is None:
        return None
    logger = instantiate(cfg)
    if isinstance(logger, TensorBoardLogger):
        options: dict[str, Any] = {}
        if checkpoint is not None and not checkpoint.get(resume.RUN_KEY, {}).get("ended", False):
            options["purge_step"] = int(checkpoint["global_step"])
        if readable(str(folder)) != str(folder) and Path(str(logger.save_dir)) == folder:
            # TensorBoard takes only paths that are valid text: give it the folder by its number.
            folder.mkdir(parents=True, exist_ok=True)
            options["save_dir"] = f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}"
        logger = instantiate(cfg, **options)
    if isinstance(logger, CSVLogger) and checkpoint is not None and Path(logger.log_dir).exists():
        # It would overwrite its file: give it another folder.
        logger = instantiate(cfg, version=f"{cfg.version}-from-{checkpoint['global_step']}")
    return cast(Logger, logger)


def log_configuration(trainer: pl.Trainer, cfg: DictConfig) -> None:
    """Show TensorBoard the whole configuration."""
    if isinstance(trainer.logger, TensorBoardLogger):
        lines = OmegaConf.to_yaml(cfg, resolve=True).split("\n")
        shown = "\n".join(map(readable, lines))
        trainer.logger.experiment.add_text("config", f"```yaml\n{shown}```")


def log_result(trainer: pl.Trainer, recipe: dict[str, Any], losses: dict[str, float]) -> None:
    """Log a finished run's hyperparameters and its last validation losses."""
    logger = trainer.logger
    if logger is None or not trainer.is_global_zero:
        return
    hyperparameters = {part: recipe[part] for part in HYPERPARAMETERS}
    if isinstance(logger, TensorBoardLogger):
        final = {f"val_final/{name}": value for name, value in losses.items()}
        logger.log_hyperparams(hyperparameters, final)
    else:
        logger.log_hyperparams(hyperparameters)
    logger.finalize("success")


def recipe_of(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that a network was trained with, to be written into its file.

    The output folder is left out. Absolute paths, which say something about the machine, are cut to
    their last part.
    """
    whole = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    recipe = {part: whole[part] for part in RECIPE} | {"schedule": whole["callbacks"]["schedule"]}
    return {part: _without_folders(value) for part, value in recipe.items()}


def _without_folders(recipe: Any) -> Any:
    if isinstance(recipe, dict):
        return {key: _without_folders(value) for key, value in recipe.items()}
    if isinstance(recipe, list):
        return [_without_folders(value) for value in recipe]
    if isinstance(recipe, str):
        return readable(Path(recipe).name if Path(recipe).is_absolute() else recipe)
    return recipe
