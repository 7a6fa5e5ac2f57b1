"""A trained style as a function on pictures: the one object that stylizes, everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import overload

import psutil
import torch
from PIL import Image
from torch import Tensor

from fast_style.checkpoint import load_style
from fast_style.errors import UserError
from fast_style.images import to_picture, to_tensor, upright_rgb
from fast_style.networks.transformer import ImageTransformer


class Stylizer:
    """Stylizes in one forward pass.

    ::

        stylize = Stylizer("starry-night")
        stylize(Image.open("photo.jpg")).save("night.jpg")

    Args:
        style: a shipped style's name or a ``.safetensors`` path.
        device: ``auto`` (a GPU where there is one), or any of PyTorch's, as ``cpu`` or ``cuda:1``.

    Raises:
        UserError: if the style or the device cannot be had.
    """

    def __init__(self, style: str | Path, device: str = "auto") -> None:
        self.device = find_device(device)
        self.dtype = torch.bfloat16 if computes_in_bf16(self.device) else torch.float32
        trained = load_style(style)
        self.name = trained.name
        self.network = trained.network.to(self.device, self.dtype)
        self.network.to(memory_format=torch.channels_last)

    @overload
    def __call__(self, picture: Image.Image) -> Image.Image: ...
    @overload
    def __call__(self, picture: Tensor) -> Tensor: ...

    @torch.no_grad()  # what inference_mode gives could be neither changed nor learned from
    def __call__(self, picture: Image.Image | Tensor) -> Image.Image | Tensor:
        """Stylize a picture of any mode, or float tensors ``(N, 3, H, W)`` in [0, 1].

        Returns:
            The same kind and size; a picture upright, tensors of the same dtype and device.

        Raises:
            UserError: if a side is shorter than 16 px, or memory is short.
            ValueError: for a tensor of another shape or of integers.
        """
        if isinstance(picture, Image.Image):
            photo = to_tensor(upright_rgb(picture)).unsqueeze(0)
            return to_picture(self._stylize(photo)[0])
        if picture.ndim != 4 or picture.shape[1] != 3 or not picture.is_floating_point():
            raise ValueError(
                f"expected a float tensor (N, 3, H, W), got {picture.dtype} {tuple(picture.shape)}"
            )
        return self._stylize(picture).to(picture.device, picture.dtype)

    def _stylize(self, photos: Tensor) -> Tensor:
        height, width = photos.shape[-2:]
        if min(height, width) < ImageTransformer.MIN_SIDE:
            raise UserError(
                f"a picture of {width} x {height} px is too small: it needs at least "
                f"{ImageTransformer.MIN_SIDE} px a side"
            )
        self._check_memory(photos)
        try:
            return self.network(
                photos.to(self.device, self.dtype, memory_format=torch.channels_last)
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"a picture of {width} x {height} px does not fit into the memory of "
                f"{self.device}: make it smaller with --size, or use --device cpu"
            ) from error

    def _check_memory(self, photos: Tensor) -> None:
        """Refuse what the system would kill us for; GPUs refuse by themselves."""
        if self.device.type != "cpu":
            return
        needed = photos[:, 0].numel() * self.bytes_per_pixel
        free = psutil.virtual_memory().available
        if needed > free:
            height, width = photos.shape[-2:]
            raise UserError(
                f"a picture of {width} x {height} px needs about {needed / 1e9:.0f} GB of memory "
                f"and {free / 1e9:.0f} GB are free: make it smaller with --size"
            )

    @property
    def bytes_per_pixel(self) -> int:
        """Memory at the peak, per pixel of the picture, with some air: the last layers hold a few
        full-size activations at once (`scripts/benchmark.py stylize` measures it)."""
        return 4 * self.network.widths[0] * self.dtype.itemsize


def find_device(device: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Raises:
        UserError: if this machine has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found).cpu()  # "meta" only pretends
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UserError(
            f"device '{device}' cannot be used on this machine: try --device auto or cpu"
        ) from error
    return found


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 itself; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
