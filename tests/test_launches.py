"""How many operations a GPU gets for a training step and for a stylized picture.

They are counted on fake tensors, which have shapes and no values. Without a GPU, PyTorch's autograd
refuses fake CUDA tensors; so these are fake CPU tensors, which the kernels serve as if on a GPU.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fast_style.networks import kernels
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.onepass import OnePass
from fast_style.training.module import StepInputs, StyleTransfer

# Operations that only view memory in another way, or read a tensor's metadata.
VIEWS = {
    "_unsafe_view", "alias", "as_strided", "detach", "expand", "permute", "select", "slice",
    "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view",
}  # fmt: skip


class Operations(TorchDispatchMode):
    """Counts the dispatched operations that do some work."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        library, name = function._schema.name.split("::")
        if library not in ("prim", "profiler") and name not in VIEWS:
            self.counts[f"{library}::{name}"] += 1
        return function(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def channels_last(network: ImageTransformer) -> ImageTransformer:
    """Like ``network.to(memory_format=...)``, which fake parameters do not allow."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight)
    return network


@pytest.mark.parametrize("scales", ["[1]", "[1,2]"])
def test_a_training_step_is_at_most_a_thousand_operations(
    compose: Callable[..., DictConfig], scales: str
) -> None:
    cfg = compose("experiment=coco", "loss=vgg16", "data.dir=x", f"loss.style_scales={scales}")
    fake = FakeTensorMode()
    loss = instantiate(cfg.loss)
    for name, buffer in list(loss.vgg.named_buffers()):
        loss.vgg._buffers[name] = fake.from_tensor(buffer)
    with fake, kernels.on_cpu():
        loss.set_style_image(torch.rand(1, 3, 384, 384))
        module = StyleTransfer(channels_last(instantiate(cfg.model)), loss, lambda _: optimizer)
        optimizer = instantiate(cfg.optimizer)(module.network.parameters())
        inputs = StepInputs(
            torch.randint(0, 256, (16, 3, 256, 256), dtype=torch.uint8),
            torch.tensor(0.5, dtype=torch.float64),
            torch.rand(1, 3, 252, 252),
            torch.zeros(2, dtype=torch.int64),
        )
        for _ in range(2):  # the first step also makes buffers that stay
            with torch.autocast("cpu", torch.bfloat16), Operations() as operations:
                module.whole_step(False, optimizer, *inputs)
    assert operations.total <= 1000, operations.counts
    for name in ("normalized", "normalized_backward"):  # for the photos, and for one of them moved
        assert operations.counts[f"fast_style::{name}"] == 2 * 15


@pytest.mark.parametrize("kind", ["levels", "photos"])
def test_a_stylized_picture_is_at_most_eighty_operations(kind: str) -> None:
    """From levels or tensors on the device to the same."""
    once = OnePass(ImageTransformer(), torch.device("cpu"), torch.bfloat16)
    with FakeTensorMode(allow_non_fake_inputs=True), kernels.on_cpu(), torch.no_grad():
        levels = torch.empty(1080, 1920, 3, dtype=torch.uint8)
        photos = torch.empty(1, 3, 1080, 1920)
        with Operations() as operations:
            if kind == "levels":
                once.levels(levels)
            else:
                once.photos(photos)
    assert operations.total <= 80, operations.counts
    assert operations.counts["fast_style::normalized"] == 15
