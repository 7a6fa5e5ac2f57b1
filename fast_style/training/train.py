"""From a configuration to a trained network."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.utilities import rank_zero_only
from torch.optim import Optimizer

from fast_style.checkpoint import load_style
from fast_style.config import resume, run_folder, settings
from fast_style.config.classes import check_arguments
from fast_style.config.paths import buildable, literal
from fast_style.devices import tune_for
from fast_style.errors import UserError
from fast_style.images import open_picture, resize_picture, to_tensor
from fast_style.networks import at_strength
from fast_style.networks.cuda_graphs import CudaRecorder
from fast_style.networks.transformer import ImageTransformer
from fast_style.shell import quote, readable
from fast_style.training.exports import ExportNetwork, ValidationPictures
from fast_style.training.module import StyleTransfer
from fast_style.training.resuming import DescribeRun, KeepOptimizerSettings, SaveAtomically
from fast_style.training.stopping import SaveIfALoaderDies, loader_died

log = logging.getLogger(__name__)


@dataclass
class TrainingResult:
    """Where a run left its network, its last losses on the validation photos, its length."""

    network: Path
    checkpoint: Path
    losses: dict[str, float]
    steps: int
    seconds: float
    is_global_zero: bool


def why_not_recorded(trainer: pl.Trainer, wanted: bool) -> str | None:
    """Why training steps cannot be CUDA graphs, or None where they can.

    Args:
        trainer: as it will run.
        wanted: what ``cuda_graphs`` says.
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
        return f"they do not know trainer.precision={trainer.precision}"
    return None


def train(cfg: DictConfig, begin: Callable[[], None] | None = None) -> TrainingResult:
    """Train one style; see ``conf/train.yaml`` for what ``cfg`` holds.

    Args:
        cfg: the configuration.
        begin: called when everything is checked, before the first step, in the first process.

    Raises:
        UserError: for whatever the user got wrong, before anything slow starts.
    """
    settings.check(cfg)
    check_arguments(cfg)
    _check_device(cfg)
    output_dir = Path(cfg.output_dir)
    painting = to_tensor(resize_picture(_open_painting(cfg.style.image), cfg.style.size)).unsqueeze(
        0
    )
    if min(painting.shape[-2:]) < ImageTransformer.MIN_SIDE:
        height, width = painting.shape[-2:]
        raise UserError(
            f"style.size={cfg.style.size} makes the painting {width} x {height} px: give a size "
            f"that leaves each side at least {ImageTransformer.MIN_SIDE} px"
        )

    # Lightning's own news: the devices that it did not use, how the run ended, advertisements.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    pl.seed_everything(cfg.seed, verbose=False)
    parts = buildable(cfg)
    log.info("looking for photos")
    data = instantiate(parts.data)
    network = instantiate(parts.model)
    if cfg.init is not None:
        _start_from(network, cfg.init)
    optimizer = instantiate(parts.optimizer)
    checkpoint = None
    if cfg.ckpt_path is not None:
        checkpoint = _check_resumable(cfg, network, optimizer(network.parameters()))
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        run_folder.check_folder(cfg)
        run_folder.check_disk_space(output_dir, network)
    log.info("measuring the style of the painting")
    loss = instantiate(parts.loss)
    loss.set_style_image(painting)
    module = StyleTransfer(network, loss, optimizer, cfg.seed)

    recipe = _recipe(cfg)
    name = str(cfg.style.name)
    export = ExportNetwork(output_dir / f"{name}.safetensors", readable(name), recipe)
    keep = DescribeRun(resume.describe_run(cfg))
    logger = _make_logger(parts.get("logger"), output_dir, checkpoint)
    trainer = instantiate(
        parts.trainer,
        logger=logger or False,
        plugins=[SaveAtomically()],
        callbacks=[
            KeepOptimizerSettings(),
            *filter(None, instantiate(parts.callbacks, _convert_="all").values()),
            ValidationPictures(painting),
            export,
            keep,
            SaveIfALoaderDies(output_dir / run_folder.LAST, export),
        ],
    )
    if trainer.is_global_zero:
        if cfg.get("overwrite", False) and checkpoint is None:
            run_folder.clear_earlier_run(output_dir)
        if begin is not None:
            begin()
        if isinstance(logger, TensorBoardLogger):
            lines = OmegaConf.to_yaml(cfg, resolve=True).split("\n")
            told = "\n".join(map(readable, lines))
            logger.experiment.add_text("config", f"```yaml\n{told}```")
    device = trainer.strategy.root_device
    reason = why_not_recorded(trainer, cfg.cuda_graphs)
    if reason is None:
        module.recorder = CudaRecorder(device)
    log.info(
        "%s on %s in %s, %s, into %s",
        readable(name),
        device,
        cfg.trainer.precision,
        f"without CUDA graphs ({reason})" if reason else "by CUDA graphs",
        readable(str(output_dir)),
    )
    tune_for(device, network)
    started = time.monotonic()
    with warnings.catch_warnings():
        # Lightning's advice: more loader processes, and a length for a loader that has no end.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        ckpt_path = literal(cfg.ckpt_path) if cfg.ckpt_path is not None else None
        try:
            trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
        except SystemExit as error:  # so Lightning ends at the second Ctrl-C
            raise KeyboardInterrupt from error
        except RuntimeError as error:
            if not loader_died(error):
                raise
            raise UserError(
                f"a process that loads photos died ({str(error).splitlines()[0]}), often for want "
                f"of memory: go on with ckpt_path={quote(str(output_dir / run_folder.LAST))} and "
                "fewer data.workers"
            ) from error
    last = output_dir / run_folder.LAST
    keep.known["ended"] = True
    trainer.save_checkpoint(last)
    losses = {
        name.removeprefix("val/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }
    if logger and trainer.is_global_zero:
        parameters = {part: recipe[part] for part in SHOWN}
        if isinstance(logger, TensorBoardLogger):
            final = {f"val_final/{key}": value for key, value in losses.items()}
            logger.log_hyperparams(parameters, final)
        else:
            logger.log_hyperparams(parameters)
        logger.finalize("success")
    seconds = time.monotonic() - started
    return TrainingResult(
        export.path, last, losses, trainer.global_step, seconds, trainer.is_global_zero
    )


SHOWN = ("style", "model", "data", "loss", "optimizer", "seed")  # beside the curves


def _check_device(cfg: DictConfig) -> None:
    """What Lightning would say in many lines, or PyTorch in the middle of the first step."""
    trainer = cfg.trainer
    accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
    on_gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    on_mps = torch.backends.mps.is_available() and accelerator in ("gpu", "mps")
    if accelerator in ("gpu", "cuda", "mps") and not on_gpu and not on_mps:
        raise UserError(
            f"trainer.accelerator={accelerator} is not to be had: PyTorch sees none on this "
            "machine; leave it out, or give trainer=cpu"
        )
    there = torch.cuda.device_count()
    numbers = [int(number) for number in devices] if OmegaConf.is_list(devices) else []
    asked = max(numbers) + 1 if numbers else devices
    if on_gpu and isinstance(asked, int) and asked > there:
        raise UserError(f"trainer.devices={devices} are not to be had: this machine has {there}")
    if str(trainer.get("precision")) in ("16-mixed", "16") and not on_gpu:
        raise UserError(
            f"trainer.precision={trainer.precision} needs a GPU: give bf16-mixed or 32-true"
        )


def _make_logger(cfg: DictConfig | None, folder: Path, checkpoint: dict[str, Any] | None) -> Any:
    """The logger, or None. A run that is gone on with in its own folder continues its curves there:
    what was logged behind the checkpoint's step is not shown any more."""
    if cfg is None:
        return None
    logger = instantiate(cfg)
    if isinstance(logger, TensorBoardLogger):
        options: dict[str, Any] = {}
        if checkpoint is not None and not checkpoint.get(resume.RUN_KEY, {}).get("ended", False):
            options["purge_step"] = int(checkpoint["global_step"])
        if readable(str(folder)) != str(folder) and Path(str(logger.save_dir)) == folder:
            # TensorBoard knows only names that are text: give it the folder by its number.
            folder.mkdir(parents=True, exist_ok=True)
            options["save_dir"] = f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}"
        logger = instantiate(cfg, **options)
    if isinstance(logger, CSVLogger) and checkpoint is not None and Path(logger.log_dir).exists():
        # It would begin its file anew.
        logger = instantiate(cfg, version=f"{cfg.version}-from-{checkpoint['global_step']}")
    return logger


def _recipe(cfg: DictConfig) -> dict[str, Any]:
    """What made the network what it is, to go with it wherever it is given: not where it lay, and
    of absolute paths, which say something of the machine, just the last part."""
    whole = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    parts = ("style", "model", "data", "loss", "optimizer", "trainer", "init", "seed")
    recipe = {part: whole[part] for part in parts} | {"schedule": whole["callbacks"]["schedule"]}
    return {part: _without_folders(value) for part, value in recipe.items()}


def _without_folders(recipe: Any) -> Any:
    if isinstance(recipe, dict):
        return {key: _without_folders(value) for key, value in recipe.items()}
    if isinstance(recipe, list):
        return [_without_folders(value) for value in recipe]
    if isinstance(recipe, str):
        return readable(Path(recipe).name if Path(recipe).is_absolute() else recipe)
    return recipe


def _open_painting(image: str) -> Image.Image:
    path = Path(literal(image))
    if not path.exists():
        raise UserError(
            f"the painting {image} does not exist: put it there, or name another with style=FILE"
        )
    return open_picture(path)


# The shipped style to start from where there is none nearer: it knows strokes, edges and colours.
BASE = "poppy-field"


def _start_from(network: ImageTransformer, init: str) -> None:
    start = load_style(BASE if init == "base" else init).network
    adjustable = {"adjustable": network.adjustable}
    if start.config | adjustable != network.config:
        raise UserError(
            f"init={init} holds a network of {start.config}, not of {network.config}: choose a "
            "model that matches"
        )
    # A network that is not adjustable is one at full strength: slopes start from nothing.
    weights = start.state_dict() if network.adjustable else at_strength(start.state_dict(), 1.0)
    network.load_state_dict(weights, strict=False)


def _check_resumable(
    cfg: DictConfig, network: ImageTransformer, optimizer: Optimizer
) -> dict[str, Any]:
    """Read the checkpoint once ahead of the trainer, which would answer with a traceback."""
    ckpt_path = cfg.ckpt_path
    found = resume.read_checkpoint(ckpt_path)
    shapes = {f"network.{name}": tensor.shape for name, tensor in network.state_dict().items()}
    if {name: tensor.shape for name, tensor in found["state_dict"].items()} != shapes:
        raise UserError(
            f"ckpt_path={ckpt_path} holds another network than {network.config}: resume with the "
            "model that the run began with"
        )
    groups = [len(group["params"]) for group in found["optimizer_states"][0]["param_groups"]]
    if groups != [len(group["params"]) for group in optimizer.param_groups]:
        raise UserError(
            f"ckpt_path={ckpt_path} was trained by another optimizer: resume with the one that the "
            "run began with, as optimizer=adam"
        )
    resume.check_same_run(cfg, found)
    return found
