"""Checks before training starts, so that a mistake is reported in one sentence."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor
from torch.optim import Optimizer

from fast_style.config import resume
from fast_style.config.paths import painting_file
from fast_style.devices import available_memory
from fast_style.errors import UserError
from fast_style.images import open_picture, resize_picture, to_tensor
from fast_style.networks.transformer import ImageTransformer

# Peak memory of measuring a style image on a CPU: 704 bytes a pixel with VGG16 and with VGG19, at
# 512 x 512 px to 2048 x 1024 px, and 18 for the image itself. The loss network comes on top.
STYLE_BYTES_PER_PIXEL = 722
LOSS_NETWORK_BYTES = 150e6


def check_device(trainer: DictConfig) -> None:
    """Check that the machine has the trainer's devices and supports its precision.

    Lightning would report it in many lines, and PyTorch only in the middle of the first step.

    Args:
        trainer: configuration of the trainer.

    Raises:
        UserError: if a device is missing, or the precision needs a GPU.
    """
    accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
    on_gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    on_mps = torch.backends.mps.is_available() and accelerator in ("gpu", "mps")
    if accelerator in ("gpu", "cuda", "mps") and not on_gpu and not on_mps:
        raise UserError(
            f"trainer.accelerator={accelerator} is not available: PyTorch finds none on this "
            "machine; leave it out, or give trainer=cpu"
        )
    available = torch.cuda.device_count()
    numbers = [int(number) for number in devices] if OmegaConf.is_list(devices) else []
    asked = max(numbers) + 1 if numbers else devices
    if on_gpu and isinstance(asked, int) and asked > available:
        raise UserError(
            f"trainer.devices={devices} are not available: this machine has {available}"
        )
    if str(trainer.get("precision")) in ("16-mixed", "16") and not on_gpu:
        raise UserError(
            f"trainer.precision={trainer.precision} needs a GPU: give bf16-mixed or 32-true"
        )


def load_style_image(style: DictConfig) -> Tensor:
    """Open the style image at the size at which its style is measured.

    Args:
        style: configuration of the style.

    Returns:
        ``(1, 3, H, W)`` RGB in [0, 1].

    Raises:
        UserError: if the file is missing or no picture, or is too narrow or too large at this size.
    """
    picture = open_picture(painting_file(style.image))
    _check_style_memory(picture, style.size)
    style_image = to_tensor(resize_picture(picture, style.size)).unsqueeze(0)
    height, width = style_image.shape[-2:]
    if min(height, width) < ImageTransformer.MIN_SIDE:
        raise UserError(
            f"style.size={style.size} makes the painting {width} x {height} px: give a size that "
            f"leaves each side at least {ImageTransformer.MIN_SIDE} px"
        )
    return style_image


def _check_style_memory(picture: Image.Image, size: int) -> None:
    bytes_at_size_1 = STYLE_BYTES_PER_PIXEL * min(picture.size) / max(picture.size)
    needed, free = bytes_at_size_1 * size**2 + LOSS_NETWORK_BYTES, available_memory()
    if needed <= free:
        return
    # A little less than fits now: what is free changes from one try to the next.
    largest = int(0.97 * sqrt(max(0.0, free - LOSS_NETWORK_BYTES) / bytes_at_size_1))
    raise UserError(
        f"style.size={size} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB "
        + (f"are free: give style.size={largest} or less" if largest else "are free: free some")
    )


def check_resumable(
    cfg: DictConfig, network: ImageTransformer, optimizer: Optimizer
) -> dict[str, Any]:
    """Read the checkpoint to resume from, and check that it belongs to this run.

    The trainer would raise an error with a traceback.

    Args:
        cfg: the whole configuration.
        network: the network that the run will train.
        optimizer: an optimiser of the network's parameters.

    Returns:
        The checkpoint, on the CPU.

    Raises:
        UserError: if it holds another network, optimiser or run.
    """
    ckpt_path = cfg.ckpt_path
    checkpoint = resume.read_checkpoint(ckpt_path)
    shapes = {f"network.{name}": tensor.shape for name, tensor in network.state_dict().items()}
    if {name: tensor.shape for name, tensor in checkpoint["state_dict"].items()} != shapes:
        raise UserError(
            f"ckpt_path={ckpt_path} holds another network than {network.config}: resume with the "
            "model that the run began with"
        )
    groups = [len(group["params"]) for group in checkpoint["optimizer_states"][0]["param_groups"]]
    if groups != [len(group["params"]) for group in optimizer.param_groups]:
        raise UserError(
            f"ckpt_path={ckpt_path} was trained by another optimizer: resume with the one that the "
            "run began with, as optimizer=adam"
        )
    resume.check_same_run(cfg, checkpoint)
    return checkpoint
