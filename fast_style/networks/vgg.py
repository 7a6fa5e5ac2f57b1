"""Frozen VGG features by layer name, and where their weights come from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from fast_style.bundled import VGG16_WEIGHTS
from fast_style.errors import UserError
from fast_style.networks.operations import convolved_relu, padded

# Convolutions in each of the five blocks (Simonyan and Zisserman 2015, table 1, columns D and E).
CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)

# torchvision's vgg16 and vgg19 take pictures normalised by these.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """ReLU features of a frozen VGG (Simonyan and Zisserman 2015) by name, such as ``relu4_2``.

    The network is built only as deep as the deepest layer asked for, and one pass gives all layers.
    The weights are buffers outside the state dict: they follow the module to its device, but no
    optimiser sees them and no checkpoint carries them. Gradients flow to the pictures alone.

    The first layer repeats the picture's edge, where torchvision's models pad with zeros. Features
    come in the channels_last memory format, in which max pooling is many times faster on a CPU and
    convolutions need not rearrange their input.

    Args:
        network: ``vgg16`` or ``vgg19``.
        layers: names ``relu{block}_{convolution}``, both counted from 1.
        weights: ``torchvision`` (downloaded once), ``bundled`` (VGG16 up to ``relu4_3``), or the
            path of a ``.pth`` or ``.safetensors`` file with torchvision's tensor names.

    Raises:
        UserError: for an unknown network or layer, weights that cannot be read, or a file of
            another network.

    >>> vgg = VGGFeatures("vgg16", ["relu1_2", "relu3_3"], weights="bundled")
    >>> features = vgg(torch.rand(1, 3, 64, 48))
    >>> features["relu3_3"].shape
    torch.Size([1, 256, 16, 12])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: str, layers: Iterable[str], weights: str = "torchvision") -> None:
        super().__init__()
        self.layers = frozenset(layers)
        self.plan = layer_plan(network, self.layers)
        tensors = _select(_read_weights(network, weights), self.plan, weights)
        for name, tensor in tensors.items():
            if tensor.ndim == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            self.register_buffer(_buffer_name(name), tensor, persistent=False)
        self.narrow: dict[tuple[str, torch.dtype], Tensor] = {}
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Compute the features of pictures at some of the layers.

        Args:
            pictures: ``(N, 3, H, W)`` RGB in [0, 1].
            layers: names of layers, by default all. Nothing past the deepest is computed.

        Returns:
            ``{layer: (N, C, H / 2^k, W / 2^k)}``, where k is the layer's block less one.
        """
        wanted = set(self.layers if layers is None else layers)
        x = (pictures - self.mean) / self.std
        features = {}
        for name, index, _ in self.plan:
            if name == "pool":
                x = F.max_pool2d(x, 2)
                continue
            weight = self._tensor(f"features.{index}.weight")
            bias = self._tensor(f"features.{index}.bias")
            if index == 0:
                # Zeros around a picture are a grey frame. Networks that are trained with them paint
                # a frame, too.
                x = convolved_relu(padded(x, 1, skipped=0), weight, bias, padding=0)
            else:
                x = convolved_relu(x, weight, bias, padding=1)
            if name in wanted:
                features[name] = x
                if len(features) == len(wanted):
                    break
        return features

    def _tensor(self, name: str) -> Tensor:
        """A weight or bias in the precision of the computation.

        Autocast would convert it anew at each use: it keeps copies only of trained parameters.
        """
        buffer = self.get_buffer(_buffer_name(name))
        device = buffer.device.type
        if buffer.dtype != torch.float32 or not torch.is_autocast_enabled(device):
            return buffer
        key = (name, torch.get_autocast_dtype(device))
        if key not in self.narrow:
            with torch.inference_mode(False):  # a copy from validation serves in training, too
                self.narrow[key] = buffer.to(key[1])
        return self.narrow[key]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> VGGFeatures:
        self.narrow.clear()  # the copies do not move with the module
        return super()._apply(fn, recurse)


def _buffer_name(tensor_name: str) -> str:
    return tensor_name.replace(".", "_")


def layer_plan(network: str, layers: frozenset[str]) -> list[tuple[str, int, tuple[int, int]]]:
    """The layers of a VGG, up to the deepest of those asked for.

    Args:
        network: ``vgg16`` or ``vgg19``.
        layers: names such as ``relu4_2``.

    Returns:
        For each layer its name (``pool`` for a pooling), its index in torchvision's ``features``,
        and its channels in and out.

    Raises:
        UserError: for an unknown network or layer.

    >>> layer_plan("vgg16", frozenset({"relu2_1"}))[2:]
    [('pool', 4, (64, 64)), ('relu2_1', 5, (64, 128))]
    """
    if network not in CONVOLUTIONS:
        raise UserError(f"loss network '{network}' is unknown: choose vgg16 or vgg19")
    steps = []
    index, inputs = 0, 3
    wanted = set(layers)
    for block, convolutions in enumerate(CONVOLUTIONS[network], start=1):
        for convolution in range(1, convolutions + 1):
            name = f"relu{block}_{convolution}"
            steps.append((name, index, (inputs, CHANNELS[block - 1])))
            inputs = CHANNELS[block - 1]
            index += 2
            wanted.discard(name)
            if not wanted:
                return steps
        steps.append(("pool", index, (inputs, inputs)))
        index += 1
    known = ", ".join(name for name, _, _ in steps if name != "pool")
    raise UserError(f"{network} has no layer '{min(wanted)}': choose from {known}")


def _select(
    found: Mapping[str, Tensor], plan: list[tuple[str, int, tuple[int, int]]], source: str
) -> dict[str, Tensor]:
    """The plan's tensors in float32; an error names the first that is missing or misshapen."""
    tensors = {}
    for name, index, (inputs, outputs) in plan:
        if name == "pool":
            continue
        for part, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,))):
            key = f"features.{index}.{part}"
            if key not in found:
                hint = " (the bundled VGG16 ends at relu4_3)" if source == "bundled" else ""
                raise UserError(
                    f"VGG weights '{source}' lack tensor '{key}', needed for {name}{hint}: "
                    "give torchvision's file for this network, or name fewer layers"
                )
            if not isinstance(found[key], Tensor) or tuple(found[key].shape) != shape:
                got = tuple(getattr(found[key], "shape", ()))
                raise UserError(
                    f"VGG weights '{source}' have tensor '{key}' of shape {got} where {shape} is "
                    "needed: give torchvision's file for this network"
                )
            tensors[key] = found[key].float()
    return tensors


def _read_weights(network: str, weights: str) -> Mapping[str, Tensor]:
    if weights == "torchvision":
        return _download(network)
    if weights == "bundled":
        if network != "vgg16":
            raise UserError(
                f"only VGG16 is bundled, not {network}: use loss=vgg16, or loss.weights=torchvision"
            )
        return load_file(VGG16_WEIGHTS)
    path = Path(os.path.expanduser(weights))
    if not path.is_file():
        raise UserError(
            f"VGG weights '{weights}' do not exist: give 'torchvision', 'bundled' or a .pth or "
            ".safetensors file"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything for a file of another kind
        raise UserError(
            f"VGG weights '{weights}' cannot be read ({_first_line(error)}): give torchvision's "
            "file for this network"
        ) from error
    if not isinstance(found, Mapping):
        raise UserError(f"VGG weights '{weights}' hold no state dict: give torchvision's file")
    return found


def _download(network: str) -> Mapping[str, Tensor]:
    from torchvision import models

    weights = {"vgg16": models.VGG16_Weights, "vgg19": models.VGG19_Weights}[network]
    url = weights.IMAGENET1K_V1.url
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, a proxy's page, an earlier download that is damaged
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
        raise UserError(
            f"the weights of {network} could not be downloaded or read ({_first_line(error)}): "
            f"connect and try again, or fetch {url} elsewhere and put it at {cached} or name it "
            "with loss.weights=FILE, or train with loss=vgg16, whose weights are bundled"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = re.split(r"[\r\n]", str(error).strip(), maxsplit=1)
    return lines[0][:120] or type(error).__name__
