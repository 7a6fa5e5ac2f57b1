"""Our contenders: networks, stylizers and training steps as `fast-style` builds them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig
    from PIL import Image

    from fast_style.losses import PerceptualLoss
    from fast_style.networks.transformer import ImageTransformer
    from fast_style.stylizing.stylizer import Stylizer
    from fast_style.training.module import StyleTransfer

OURS, OURS_FP32 = "ours", "ours, float32"
FULL_STRENGTH = 1  # number of a training step that is at full strength


def our_network(model: str) -> ImageTransformer:
    """An untrained network of ``conf/model``, which takes the time and memory of a trained one."""
    import torch
    from hydra.utils import instantiate

    from fast_style.config.compose import compose_config

    torch.manual_seed(0)
    network: ImageTransformer = instantiate(compose_config([f"model={model}"]).model)
    return network


def our_stylizer(contender: str, model: str, device: str) -> Stylizer:
    """A stylizer with an untrained network, in float32 for `OURS_FP32`."""
    from fast_style.checkpoint import TrainedStyle, save_style
    from fast_style.stylizing.stylizer import Stylizer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.safetensors"
        save_style(TrainedStyle(our_network(model), "untrained"), path)
        precision = "float32" if contender == OURS_FP32 else "auto"
        return Stylizer(path, device, precision, stroke=1)


def bundled_photo() -> Image.Image:
    from fast_style.bundled import PHOTOS
    from fast_style.images import find_pictures, open_picture

    return open_picture(find_pictures(PHOTOS)[0])


def training_recipe(device: str, loss: str) -> list[str]:
    """Overrides of a training on such a device."""
    return [f"experiment={'quickstart' if device == 'cpu' else 'coco'}", f"loss={loss}"]


@dataclass
class OurTraining:
    """A training step as `fast-style train` makes it, without Lightning around it.

    Args:
        cfg: the composed configuration.
        module: network, loss and optimiser, on the device.
        precision: as Lightning names it.
    """

    cfg: DictConfig
    module: StyleTransfer
    precision: str

    @classmethod
    def build(
        cls, device: torch.device, loss: str, precision: str, tuned: bool = True
    ) -> OurTraining:
        """Build a training on random pictures.

        Args:
            device: where it computes.
            loss: ``vgg16``, or ``vgg19`` with random weights, which take the same time.
            precision: as Lightning names it.
            tuned: whether to set the process and the network up for the device.
        """
        import torch
        from hydra.utils import instantiate

        from fast_style.config.compose import compose_config
        from fast_style.devices import tune_for
        from fast_style.training.module import StyleTransfer

        cfg = compose_config(training_recipe(device.type, loss))
        with tempfile.TemporaryDirectory() as folder:
            if loss == "vgg19":
                cfg.loss.weights = str(Path(folder) / "vgg19.safetensors")
                write_random_vgg19(Path(cfg.loss.weights))
            perceptual: PerceptualLoss = instantiate(cfg.loss)
        module = StyleTransfer(instantiate(cfg.model), perceptual, instantiate(cfg.optimizer)).to(
            device
        )
        painting = torch.rand(1, 3, cfg.style.size, cfg.style.size, device=device)
        perceptual.set_style_image(painting)
        if tuned:
            tune_for(device, module.network)
        torch.backends.cudnn.benchmark = cfg.trainer.benchmark
        return cls(cfg, module, precision)

    def step_on(self, batch: torch.Tensor, recorded: bool = True) -> Callable[[], None]:
        """A function that takes one step.

        Args:
            batch: uint8 ``(N, 3, H, W)`` on the device.
            recorded: whether a GPU records steps as CUDA graphs.
        """
        import torch

        from fast_style.networks.cuda_graphs import CudaRecorder

        module, device = self.module, batch.device
        if device.type == "cuda" and recorded:
            module.recorder = CudaRecorder(device)
        module.begin(module.configure_optimizers())
        # A quickstart alternates strengths as well, but its table was always at full strength.
        numbers = repeat(FULL_STRENGTH) if device.type == "cpu" else count()

        def step() -> None:
            autocast: Any = nullcontext()
            if self.precision == "bf16-mixed":
                autocast = torch.autocast(device.type, torch.bfloat16)
            with autocast:
                module.take(batch, next(numbers))

        return step


def write_random_vgg19(path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from torch import nn

    from fast_style.networks.vgg import layer_plan

    tensors = {}
    for name, index, (inputs, outputs) in layer_plan("vgg19", frozenset({"relu5_4"})):
        if name != "pool":
            weight = nn.init.kaiming_normal_(torch.empty(outputs, inputs, 3, 3))
            tensors[f"features.{index}.weight"] = weight
            tensors[f"features.{index}.bias"] = torch.zeros(outputs)
    save_file(tensors, path)
