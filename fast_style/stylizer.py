"""A trained style as a function on pictures: the one object that stylizes, everywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import overload

import psutil
import torch
from PIL import Image
from torch import Tensor

from fast_style.checkpoint import load_style
from fast_style.errors import UserError
from fast_style.images import to_picture, to_tensor, upright_rgb
from fast_style.networks.streaming import layer_bytes, stylize_in_bands
from fast_style.networks.transformer import ImageTransformer

log = logging.getLogger(__name__)


BAND_BYTES = 100_000_000
"""For the bands at work, however large the picture: `scripts/benchmark.py scale` measures it."""


class Stylizer:
    """Stylizes in one forward pass, or, where that needs too much memory, in bands of rows.

    ::

        stylize = Stylizer("starry-night")
        stylize(Image.open("photo.jpg")).save("night.jpg")

    Args:
        style: a shipped style's name or a ``.safetensors`` path.
        device: ``auto`` (a GPU where there is one), or any of PyTorch's, as ``cpu`` or ``cuda:1``.
        band_rows: stylize pictures in bands of so many rows, even if one pass would do.
        scratch: folder for temporary files, to stylize in bands what memory cannot even so hold.
        progress: told what is done and the total, of a picture in bands.

    Raises:
        UserError: if the style or the device cannot be had.
    """

    def __init__(
        self,
        style: str | Path,
        device: str = "auto",
        band_rows: int | None = None,
        scratch: Path | None = None,
        progress: Callable[[float, float], object] | None = None,
    ) -> None:
        self.device = find_device(device)
        self.dtype = torch.bfloat16 if computes_in_bf16(self.device) else torch.float32
        self.band_rows = band_rows
        self.scratch = scratch
        self.progress = progress
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
            return self._stylize_picture(upright_rgb(picture))
        if picture.ndim != 4 or picture.shape[1] != 3 or not picture.is_floating_point():
            raise ValueError(
                f"expected a float tensor (N, 3, H, W), got {picture.dtype} {tuple(picture.shape)}"
            )
        return self._stylize(picture).to(picture.device, picture.dtype)

    def _stylize_picture(self, photo: Image.Image) -> Image.Image:
        width, height = photo.size
        self._check_side(width, height)
        if self.band_rows is None and self.scratch is None:
            if self._needed(width * height) <= self._free():
                try:
                    return to_picture(self._forward(to_tensor(photo).unsqueeze(0))[0])
                except torch.OutOfMemoryError:
                    pass  # of a GPU
            log.warning(
                "a picture of %d x %d px is too large for one pass: stylizing it in bands of rows",
                width,
                height,
            )
        layers = 2 * layer_bytes(self.network, width, height, self.dtype)
        needed = BAND_BYTES + (4 * width * height if self.scratch else layers)
        if needed > self._free():
            raise UserError(
                f"a picture of {width} x {height} px needs about {needed / 1e9:.1f} GB of memory, "
                f"even in bands, and {self._free() / 1e9:.1f} GB are free: make it smaller with "
                f"--size, or let --scratch name a folder with room for {layers / 1e9:.0f} GB"
            )
        try:
            return stylize_in_bands(
                self.network,
                photo,
                self.device,
                self.dtype,
                self.band_rows,
                self.scratch,
                self.progress,
            )
        except torch.OutOfMemoryError as error:
            raise self._too_large_for_device(width, height) from error

    def _stylize(self, photos: Tensor) -> Tensor:
        height, width = photos.shape[-2:]
        self._check_side(width, height)
        needed = self._needed(photos[:, 0].numel())
        if needed > self._free():
            raise UserError(
                f"a picture of {width} x {height} px needs about {needed / 1e9:.0f} GB of memory "
                f"and {self._free() / 1e9:.0f} GB are free: make it smaller with --size"
            )
        try:
            return self._forward(photos)
        except torch.OutOfMemoryError as error:
            raise self._too_large_for_device(width, height) from error

    def _forward(self, photos: Tensor) -> Tensor:
        return self.network(photos.to(self.device, self.dtype, memory_format=torch.channels_last))

    def _check_side(self, width: int, height: int) -> None:
        if min(height, width) < ImageTransformer.MIN_SIDE:
            raise UserError(
                f"a picture of {width} x {height} px is too small: it needs at least "
                f"{ImageTransformer.MIN_SIDE} px a side"
            )

    def _too_large_for_device(self, width: int, height: int) -> UserError:
        return UserError(
            f"a picture of {width} x {height} px does not fit into the memory of "
            f"{self.device}: make it smaller with --size, or use --device cpu"
        )

    def _needed(self, pixels: int) -> int:
        return pixels * self.bytes_per_pixel

    def _free(self) -> float:
        """Memory that the system would not kill us for; GPUs refuse by themselves."""
        return psutil.virtual_memory().available if self.device.type == "cpu" else float("inf")

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
