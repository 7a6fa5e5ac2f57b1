"""A trained style as a function on pictures: the one object that stylizes, everywhere.

On a CPU through OpenVINO, and PyTorch, which takes seconds to import, stays away; on GPUs, and in
bands of rows what memory cannot hold at once, through PyTorch.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.checkpoint import read_style
from fast_style.devices import (
    available_memory,
    computes_in_bf16,
    find_device,
    is_cpu,
    short_of_memory,
    usable_cores,
)
from fast_style.errors import UserError
from fast_style.images.pictures import fetching, upright_rgb
from fast_style.networks import MARGIN, MIN_SIDE

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

Array = NDArray[Any]
Fetch = Callable[[], Image.Image]  # waits for a picture that was begun, and gives it


class Stylizer:
    """Stylizes in one forward pass, or, where that needs too much memory, in bands of rows.

    ::

        stylize = Stylizer("starry-night")
        stylize(Image.open("photo.jpg")).save("night.jpg")

    Args:
        style: a shipped style's name or a ``.safetensors`` path.
        device: ``auto`` (a GPU where there is one), or any of PyTorch's, as ``cpu`` or ``cuda:1``.
        precision: ``auto`` (bf16 where the hardware multiplies it, else float32; on a CPU 8 bits
            where they do), or ``float32``.
        strength: of the style, in [0, 1] from the photo itself to the style in full.
        band_rows: stylize pictures in bands of so many rows, even if one pass would do.
        scratch: folder for temporary files, to stylize in bands what memory cannot even so hold.
        progress: told what is done and the total, of a picture in bands.

    Raises:
        UserError: if the style, in this strength, or the device cannot be had.
    """

    def __init__(
        self,
        style: str | Path,
        device: str = "auto",
        precision: str = "auto",
        strength: float = 1.0,
        band_rows: int | None = None,
        scratch: Path | None = None,
        progress: Callable[[float, float], object] | None = None,
    ) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is between 0 and 1, not {strength}")
        if precision not in ("auto", "float32"):
            raise ValueError(f"precision is auto or float32, not {precision}")
        self._style = read_style(style).at_strength(strength)
        self.name = self._style.name
        self.strength = strength
        self.band_rows = band_rows
        self.scratch = scratch
        self.progress = progress
        self._exactly = precision == "float32"
        self._full_width = self._style.config["widths"][0]
        self.device = "cpu" if is_cpu(device) else str(find_device(device))
        if self.device == "cpu":
            from fast_style.stylizing import openvino

            bf16 = not self._exactly and openvino.computes_in_bf16()
            self._compiled = openvino.CompiledTransformer(
                self._style.weights, exactly=self._exactly
            )
            self.bytes_per_pixel = self._full_width * BYTES_IN_FLOAT32
            self.files_at_once = 1
        else:
            import torch

            from fast_style.networks.cuda_graphs import CudaRecorder, GraphCache
            from fast_style.stylizing.onepass import OnePass

            place = torch.device(self.device)
            bf16 = not self._exactly and computes_in_bf16(place)
            dtype = torch.bfloat16 if bf16 else torch.float32
            self._pass = OnePass(self._style.network(), place, dtype)
            self._pinned = place.type == "cuda"
            self._graphs = GraphCache(CudaRecorder(place)) if place.type == "cuda" else None
            # Faster than a core reads and writes files.
            self.files_at_once = min(usable_cores(), 16)
        self.precision = "bfloat16" if bf16 else "float32"

    @property
    def digest(self) -> str:
        """SHA-256 of the network's weights: what tells a style from a changed one of its name."""
        digest = hashlib.sha256(self._style.name.encode())
        for name, weights in sorted(self._style.weights.items()):
            digest.update(name.encode() + weights.tobytes())
        return digest.hexdigest()

    @overload
    def __call__(self, picture: Image.Image) -> Image.Image: ...
    @overload
    def __call__(self, picture: Tensor) -> Tensor: ...

    def __call__(self, picture: Image.Image | Tensor) -> Image.Image | Tensor:
        """Stylize a picture of any mode, or float tensors ``(N, 3, H, W)`` in [0, 1], after a grain
        that nobody sees was laid over it (`grain`).

        Returns:
            The same kind and size; a picture upright, tensors of the same dtype and device.

        Raises:
            UserError: if a side is shorter than 16 px, or memory is short: of a picture in bands,
                of tensors in one pass.
            TypeError: for anything else, such as a path.
            ValueError: for a tensor of another shape, of integers, or with values that are beyond
                [0, 1] or no numbers.
        """
        if isinstance(picture, Image.Image):
            return self.begin(picture)()
        _check_tensor(picture)
        if picture.ndim != 4 or picture.shape[1] != 3 or not picture.is_floating_point():
            raise ValueError(
                f"expected a float tensor (N, 3, H, W), got {picture.dtype} {tuple(picture.shape)}"
            )
        _check_range(picture)
        height, width = picture.shape[-2:]
        _check_side(width, height)
        if self.device == "cpu":
            stylized = self._tensors_on_cpu(picture)
        else:
            stylized = self._on_gpu(self._pass.photos, picture.detach, len(picture), width, height)
        if stylized is None:
            raise UserError(
                f"tensors of {width} x {height} px do not fit into the memory of {self.device}: "
                "give fewer or smaller ones, or pictures, which are stylized in bands"
            )
        stylized = stylized.to(picture.device, picture.dtype)
        return stylized if self.strength == 1 else picture.lerp(stylized, self.strength)

    def begin(self, picture: Image.Image) -> Fetch:
        """As calling it with a picture, but a GPU is told what to do and not waited for: it goes on
        with the next picture while this one is fetched and written.

        Returns:
            What waits for the stylized picture and gives it, on any thread.
        """
        if not isinstance(picture, Image.Image):
            raise TypeError(f"expected a picture of PIL's, got {_described(picture)}")
        photo = upright_rgb(picture)
        _check_side(*photo.size)
        fetch = None if self.band_rows or self.scratch else self._in_one_pass(photo)
        try:
            fetch = fetch or _at_hand(self._in_bands(photo))
        except Exception as error:
            if not short_of_memory(error):
                raise
            raise UserError(
                f"a picture of {photo.width} x {photo.height} px needs more memory than there is, "
                "even in bands: make it smaller with --size, or allow more"
            ) from error
        if self.strength == 1:
            return fetch
        return lambda: Image.blend(photo, fetch(), self.strength)

    def _in_one_pass(self, photo: Image.Image) -> Fetch | None:
        """What gives the picture that the network paints, or None where memory is short of it."""
        if self.device != "cpu":
            send = partial(_in_memory, photo, self._pinned)
            levels = self._on_gpu(self._pass.levels, send, 1, *photo.size)
            fetch = None if levels is None else fetching(levels)
        else:
            painted = self._on_cpu(np.asarray(photo))
            fetch = None if painted is None else _at_hand(Image.fromarray(painted))
        if fetch is None:
            size = f"{photo.width} x {photo.height} px"
            log.warning("a picture of %s is too large for one pass: it is done in bands", size)
        return fetch

    def _in_bands(self, photo: Image.Image) -> Image.Image:
        import torch

        from fast_style.stylizing.bands import layer_bytes, stylize_in_bands

        if self.device != "cpu":
            self._forget_graphs()
        network = self._style.network().to(self.device)
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        # Not many processors multiply bf16, but all can keep it.
        kept_in = torch.float32 if self._exactly else torch.bfloat16
        layers = 2 * layer_bytes(network, *photo.size, kept_in)
        pixels = photo.width * photo.height
        needed = BYTES_IN_BANDS + (BYTES_OF_PICTURE * pixels if self.scratch else layers)
        free = available_memory()
        if self.device == "cpu" and needed > free:
            raise UserError(
                f"a picture of {photo.width} x {photo.height} px needs about {needed / 1e9:.1f} GB "
                f"of memory, even in bands, and {free / 1e9:.1f} GB are free: make it smaller with "
                f"--size, or let --scratch name a folder with room for {layers / 1e9:.0f} GB"
            )
        try:
            return stylize_in_bands(
                network,
                photo,
                torch.device(self.device),
                dtype,
                kept_in,
                self.band_rows,
                self.scratch,
                self.progress,
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"a picture of {photo.width} x {photo.height} px does not fit into the memory of "
                f"{self.device}, even in bands: make it smaller with --size, or use --device cpu"
            ) from error

    def _tensors_on_cpu(self, photos: Tensor) -> Tensor | None:
        import torch

        rows = photos.detach().to("cpu", torch.float32).permute(0, 2, 3, 1).contiguous().numpy()
        stylized = np.empty_like(rows)
        for photo, target in zip(rows, stylized, strict=True):
            painted = self._on_cpu(photo)
            if painted is None:
                return None
            target[:] = painted
        return torch.from_numpy(stylized).permute(0, 3, 1, 2).contiguous()

    def _on_gpu(
        self,
        paint: Callable[[Tensor], Tensor],
        send: Callable[[], Tensor],
        count: int,
        width: int,
        height: int,
    ) -> Tensor | None:
        """What a method of `OnePass` paints of so many pictures of this size, or None where memory
        is short of it, or a layer has more than `MOST_VALUES`."""
        import torch

        padded = (width + 2 * (MARGIN + 1)) * (height + 2 * (MARGIN + 1))
        if count * self._full_width * padded > MOST_VALUES:
            return None
        given = send()

        def eagerly() -> Tensor:
            return paint(given.to(self.device, non_blocking=self._pinned))

        graphs, first = self._graphs, eagerly
        if graphs is not None and count * width * height <= MOST_PIXELS_IN_GRAPH:
            first = partial(graphs, paint, given)
        # What inference_mode gives could be neither changed nor learned from.
        with torch.no_grad():
            for attempt in (first, eagerly):
                try:
                    return attempt()
                except torch.OutOfMemoryError:
                    self._forget_graphs()
                except RuntimeError as error:
                    if attempt is eagerly:
                        raise
                    reason = str(error).partition("\n")[0]
                    log.warning("stylizing goes on without CUDA graphs, slower: %s", reason)
                    self._graphs = None
        return None

    def _forget_graphs(self) -> None:
        if self._graphs is not None:
            self._graphs.clear()

    def _on_cpu(self, photo: Array) -> Array | None:
        """What the network paints of ``(H, W, 3)`` in one pass, or None where memory is short of
        it; the system would kill us."""
        height, width, _ = photo.shape
        if width * height * self.bytes_per_pixel > available_memory():
            return None
        try:
            return self._compiled(photo)
        except Exception as error:  # limits of the process may be met all the same
            if short_of_memory(error):
                return None
            raise


def _in_memory(photo: Image.Image, pinned: bool) -> Tensor:
    """``(H, W, 3)`` uint8. A copy from pinned memory to CUDA is waited for by nobody; PyTorch keeps
    such memory for the next picture, as it takes long to get."""
    import torch

    levels = torch.empty((photo.height, photo.width, 3), dtype=torch.uint8, pin_memory=pinned)
    levels.numpy()[:] = np.asarray(photo)
    return levels


def _at_hand(picture: Image.Image) -> Fetch:
    return lambda: picture


def _described(given: object) -> str:
    if isinstance(given, (str, os.PathLike)):
        return f"the path {os.fspath(given)!r}: open it with PIL.Image.open"
    return f"a {type(given).__name__}"


def _check_tensor(given: object) -> None:
    torch = sys.modules.get("torch")  # without which there is no tensor
    if torch is None or not isinstance(given, torch.Tensor):
        raise TypeError(f"expected a picture of PIL's or a tensor, got {_described(given)}")


def _check_range(photos: Tensor) -> None:
    if not photos.numel():
        return
    least, most = (value.item() for value in photos.detach().aminmax())
    # Sums of rounded weights, as of a bilinear resize, may be beyond by a little.
    if not (least >= -BEYOND and most <= 1 + BEYOND):  # nor not a number
        raise ValueError(
            f"expected values in [0, 1], got {least:g} to {most:g}: divide levels of 8 bits by "
            "255, and clamp what was enlarged"
        )


BEYOND = 1e-3


def _check_side(width: int, height: int) -> None:
    if min(height, width) < MIN_SIDE:
        raise UserError(
            f"a picture of {width} x {height} px is too small: it needs at least {MIN_SIDE} px a "
            "side"
        )


# Memory at the peak, per pixel of the picture and channel of the first layer, with some air: the
# last layers hold a few full-size activations at once, in float32 where a picture needs that.
BYTES_IN_FLOAT32 = 14

# In the first layer, at 67 megapixels. Not all of PyTorch's kernels for GPUs count further.
MOST_VALUES = 2**31 - 1

# In pictures of which a graph is kept: of larger ones the GPU takes longer than the process does to
# tell it what to do, and a graph would hold gigabytes.
MOST_PIXELS_IN_GRAPH = 2**23

# For the bands at work, however large the picture (`scripts/benchmark.py scale` measures it).
BYTES_IN_BANDS = 100_000_000
BYTES_OF_PICTURE = 4  # a pixel
