"""The plain contender, eagerly in float32.

It is the network of Johnson et al. 2016 in the form in which it is most often implemented: instance
norm, nearest-neighbour upsampling, RGB in [0, 255], linear output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import torch
    from torch import nn

PLAIN = "plain, float32"
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def plain_network() -> nn.Module:
    """The network for RGB in [0, 255], each layer as it is usually written."""
    from torch import nn

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)]

    def norm(channels: int) -> nn.Module:
        return nn.InstanceNorm2d(channels, affine=True)

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, second = conv(128, 128, 3), conv(128, 128, 3)
            self.body = nn.Sequential(*first, norm(128), nn.ReLU(), *second, norm(128))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.body(x)

    def up(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Upsample(scale_factor=2, mode="nearest"), *conv(inputs, outputs, 3)]

    layers = [*conv(3, 32, 9), norm(32), nn.ReLU()]
    layers += [*conv(32, 64, 3, stride=2), norm(64), nn.ReLU()]
    layers += [*conv(64, 128, 3, stride=2), norm(128), nn.ReLU()]
    layers += [Residual() for _ in range(5)]
    layers += [*up(128, 64), norm(64), nn.ReLU(), *up(64, 32), norm(32), nn.ReLU()]
    return nn.Sequential(*layers, *conv(32, 3, 9))


def plain_training(batches: Iterator[torch.Tensor], device: torch.device) -> Callable[[], None]:
    """A training step on the next batch, RGB in [0, 255]."""
    import torch
    import torch.nn.functional as F

    from fast_style.networks import kernels
    from fast_style.networks.vgg import VGGFeatures

    def gram(x: torch.Tensor) -> torch.Tensor:
        number, channels, height, width = x.shape
        flat = x.view(number, channels, height * width)
        return flat.bmm(flat.transpose(1, 2)) / (channels * height * width)

    kernels.AVAILABLE = False  # they would make its VGG faster, too
    network = plain_network().to(device)
    vgg = VGGFeatures("vgg16", STYLE_LAYERS, "bundled").to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    with torch.no_grad():
        painting = vgg(torch.rand(1, 3, 256, 256, device=device))
        grams = {layer: gram(features) for layer, features in painting.items()}

    def step() -> None:
        optimizer.zero_grad()
        photos = next(batches)
        stylized = network(photos)
        found, wanted = vgg(stylized / 255), vgg(photos / 255)
        content = 1e5 * F.mse_loss(found["relu2_2"], wanted["relu2_2"])
        style = sum(
            F.mse_loss(gram(found[layer]), grams[layer].expand(len(photos), -1, -1))
            for layer in STYLE_LAYERS
        )
        (content + 1e10 * style).backward()
        optimizer.step()

    return step


def plain_stylizing(picture: Any, device: torch.device) -> Callable[[], object]:
    """Stylizes one picture: from picture to picture on a CPU, from tensor to tensor on a GPU."""
    import torch

    from fast_style.images import to_picture, to_tensor

    network = plain_network().to(device)
    photo = to_tensor(picture).unsqueeze(0).to(device)

    @torch.inference_mode()
    def call() -> object:
        if device.type == "cpu":
            return to_picture(network(to_tensor(picture)[None] * 255)[0] / 255)
        return network(photo * 255)

    return call


@click.command("plain-script", hidden=True)
@click.argument("weights")
@click.argument("source")
@click.argument("target")
def plain_script(weights: str, source: str, target: str) -> None:
    """Stylize one photo as a plain script does."""
    import torch
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor, to_pil_image

    network = plain_network().eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    photo = pil_to_tensor(Image.open(source).convert("RGB")).float().unsqueeze(0)
    with torch.inference_mode():
        stylized = network(photo)[0].clamp(0, 255).to(torch.uint8)
    to_pil_image(stylized).save(target, quality=95)
