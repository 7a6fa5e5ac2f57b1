"""From a configuration to a trained network."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import Optimizer

from fast_style.checkpoint import load_style
from fast_style.config import resume, run_folder, settings
from fast_style.config.classes import check_arguments
from fast_style.config.paths import buildable, literal
from fast_style.devices import tune_for
from fast_style.errors import UserError
from fast_style.networks import at_strength
from fast_style.networks.cuda_graphs import CudaRecorder
from fast_style.networks.transformer import ImageTransformer
from fast_style.shell import quote, readable
from fast_style.training.checks import check_device, check_resumable, load_style_image
from fast_style.training.exports import ExportNetwork, ValidationPictures
from fast_style.training.loggers import log_configuration, log_result, make_logger, recipe_of
from fast_style.training.module import StyleTransfer
from fast_style.training.resuming import DescribeRun, KeepOptimizerSettings, SaveAtomically
from fast_style.training.stopping import SaveIfALoaderDies, loader_died

log = logging.getLogger(__name__)

BASE = "poppy-field"
"""The shipped style that ``init=base`` starts from. It has learned strokes, edges and colours."""


@dataclass
class TrainingResult:
    """What a run leaves behind.

    Attributes:
        network: file of the network.
        checkpoint: file to resume the run from.
        losses: the last losses on the validation photos, by name.
        steps: training steps since the run began, before it was resumed included.
        seconds: how long training took this time.
        is_global_zero: whether this is the first of the run's processes.
    """

    network: Path
    checkpoint: Path
    losses: dict[str, float]
    steps: int
    seconds: float
    is_global_zero: bool


@dataclass
class Parts:
    """What is trained, on what, and the checkpoint to resume from, if any."""

    data: pl.LightningDataModule
    network: ImageTransformer
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    checkpoint: dict[str, Any] | None


def train(cfg: DictConfig, begin: Callable[[], None] | None = None) -> TrainingResult:
    """Train a network for one style.

    Args:
        cfg: the configuration, as ``conf/train.yaml`` composes it.
        begin: called in the first process once everything is checked, before the first step.

    Raises:
        UserError: for whatever the user got wrong, before anything slow starts.
    """
    settings.check(cfg)
    check_arguments(cfg)
    check_device(cfg.trainer)
    style_image = load_style_image(cfg.style)

    _quieten_lightning()
    pl.seed_everything(cfg.seed, verbose=False)
    parts = _build_parts(cfg)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        run_folder.check_folder(cfg)
        run_folder.check_disk_space(Path(cfg.output_dir), parts.network)
    module = _build_module(cfg, parts, style_image)

    recipe = recipe_of(cfg)
    name = str(cfg.style.name)
    export = ExportNetwork(Path(cfg.output_dir, f"{name}.safetensors"), readable(name), recipe)
    description = DescribeRun(resume.describe_run(cfg))
    trainer = _build_trainer(cfg, parts, style_image, export, description)
    if trainer.is_global_zero:
        if cfg.get("overwrite", False) and parts.checkpoint is None:
            run_folder.clear_earlier_run(Path(cfg.output_dir))
        if begin is not None:
            begin()
        log_configuration(trainer, cfg)

    _choose_recorder(cfg, trainer, module)
    tune_for(trainer.strategy.root_device, parts.network)
    started = time.monotonic()
    _fit(cfg, trainer, module, parts.data)

    last = Path(cfg.output_dir, run_folder.LAST)
    description.known["ended"] = True
    trainer.save_checkpoint(last)
    losses = _validation_losses(trainer)
    log_result(trainer, recipe, losses)
    seconds = time.monotonic() - started
    return TrainingResult(
        export.path, last, losses, trainer.global_step, seconds, trainer.is_global_zero
    )


def _quieten_lightning() -> None:
    """Hide Lightning's notes on unused devices and its advertisements."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def _build_parts(cfg: DictConfig) -> Parts:
    nodes = buildable(cfg)
    log.info("looking for photos")
    data = instantiate(nodes.data)
    network = instantiate(nodes.model)
    if cfg.init is not None:
        _start_from(network, cfg.init)
    optimizer = instantiate(nodes.optimizer)
    checkpoint = None
    if cfg.ckpt_path is not None:
        checkpoint = check_resumable(cfg, network, optimizer(network.parameters()))
    return Parts(data, network, optimizer, checkpoint)


def _start_from(network: ImageTransformer, init: str) -> None:
    start = load_style(BASE if init == "base" else init).network
    adjustable = {"adjustable": network.adjustable}
    if start.config | adjustable != network.config:
        raise UserError(
            f"init={init} holds a network of {start.config}, not of {network.config}: choose a "
            "model that matches"
        )
    # A network that is not adjustable paints at full strength, which is where slopes start from.
    weights = start.state_dict() if network.adjustable else at_strength(start.state_dict(), 1.0)
    network.load_state_dict(weights, strict=False)


def _build_module(cfg: DictConfig, parts: Parts, style_image: Tensor) -> StyleTransfer:
    log.info("measuring the style of the painting")
    loss = instantiate(buildable(cfg).loss)
    loss.set_style_image(style_image)
    stability = instantiate(buildable(cfg).stability)
    return StyleTransfer(parts.network, loss, parts.optimizer, cfg.seed, stability)


def _build_trainer(
    cfg: DictConfig,
    parts: Parts,
    style_image: Tensor,
    export: ExportNetwork,
    description: DescribeRun,
) -> pl.Trainer:
    nodes = buildable(cfg)
    logger = make_logger(nodes.get("logger"), Path(cfg.output_dir), parts.checkpoint)
    configured = instantiate(nodes.callbacks, _convert_="all").values()
    return instantiate(
        nodes.trainer,
        logger=logger or False,
        plugins=[SaveAtomically()],
        callbacks=[
            KeepOptimizerSettings(),
            *(callback for callback in configured if callback is not None),
            ValidationPictures(style_image),
            export,
            description,
            SaveIfALoaderDies(Path(cfg.output_dir, run_folder.LAST), export),
        ],
    )


def _choose_recorder(cfg: DictConfig, trainer: pl.Trainer, module: StyleTransfer) -> None:
    """Record steps as CUDA graphs where that is possible, and announce the run."""
    device = trainer.strategy.root_device
    reason = why_not_recorded(trainer, cfg.cuda_graphs)
    if reason is None:
        module.recorder = CudaRecorder(device)
    log.info(
        "%s on %s in %s, %s, into %s",
        readable(str(cfg.style.name)),
        device,
        cfg.trainer.precision,
        f"without CUDA graphs ({reason})" if reason else "with CUDA graphs",
        readable(str(cfg.output_dir)),
    )


def why_not_recorded(trainer: pl.Trainer, wanted: bool) -> str | None:
    """Return why training steps cannot be recorded as CUDA graphs, or None if they can.

    Args:
        trainer: the trainer that will run them.
        wanted: the setting ``cuda_graphs``.
    """
    if not wanted:
        return "cuda_graphs=false"
    if trainer.strategy.root_device.type != "cuda":
        return "they need a CUDA device"
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        return "they need a single process"
    if trainer.accumulate_grad_batches != 1 or trainer.gradient_clip_val:
        return "gradients are accumulated or clipped"
    if trainer.precision not in ("32-true", "bf16-mixed"):
        return f"they do not support trainer.precision={trainer.precision}"
    return None


def _fit(
    cfg: DictConfig, trainer: pl.Trainer, module: StyleTransfer, data: pl.LightningDataModule
) -> None:
    ckpt_path = literal(cfg.ckpt_path) if cfg.ckpt_path is not None else None
    with warnings.catch_warnings():
        # Lightning recommends more loader processes, and misses the length of an endless loader.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        try:
            trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
        except SystemExit as error:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt from error
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not loader_died(error):
                raise
            last = Path(cfg.output_dir, run_folder.LAST)
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"a process that loads photos died ({reason}), often for lack "
                f"of memory: resume with ckpt_path={quote(str(last))} and fewer data.workers"
            ) from error


def _validation_losses(trainer: pl.Trainer) -> dict[str, float]:
    return {
        name.removeprefix("val/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }
