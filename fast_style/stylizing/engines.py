"""Engines that run a network on pictures: OpenVINO on a CPU, PyTorch on a GPU, and bands of rows.

`Stylizer` tries one pass first. Where memory is short for it, the engine returns None, and the
picture is stylized in bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.checkpoint import StyleFile
from fast_style.devices import available_memory, short_of_memory, usable_cores
from fast_style.errors import UserError
from fast_style.images.floats import Kind, Picture, from_array, size_of

# PyTorch and OpenVINO take long to import, so each engine imports only what it runs on.
if TYPE_CHECKING:
    from torch import Tensor

    from fast_style.stylizing.side_by_side import SideBySide

Array = NDArray[Any]
Pending = Callable[[], Picture]

# Peak memory of OpenVINO for each pixel of a picture and channel of the first layer, with a margin:
# the last layers hold a few activations of full size at once, some pictures' in float32.
BYTES_PER_VALUE = 14

# OpenVINO and its plugin are loaded into this memory. With less, the process may hang.
BYTES_TO_START = 150_000_000

# Memory of the bands at work, however large the picture (`scripts/benchmark.py scale` measures it).
BYTES_IN_BANDS = 100_000_000
BYTES_PER_PIXEL, BYTES_PER_FLOAT_PIXEL = 4, 12  # of a picture in memory


class Engine(Protocol):
    """Paints pictures, and returns None where memory is short."""

    def start(self, photo: Picture) -> Pending | None:
        """Start to paint a picture, after the grain was added, at full strength.

        Args:
            photo: a picture of mode "RGB", or of floats, which is painted in float32 throughout.
                Its sides have at least `MIN_SIDE` pixels.

        Returns:
            A function that waits for the picture, of the same kind, and returns it, on any thread;
            None if memory is too short.
        """


class OnePassEngine(Engine, Protocol):
    """Paints pictures and tensors in one forward pass.

    Attributes:
        precision: ``bfloat16`` if the network computes mostly in bf16 or 8 bits, else ``float32``.
        files_at_once: number of files to read, and to write, at once so that the engine is busy.
    """

    precision: str
    files_at_once: int

    def paint_tensors(self, photos: Tensor) -> Tensor | None:
        """Paint float tensors ``(N, 3, H, W)`` in [0, 1], which are not modified.

        Returns:
            Tensors of the same shape, of any float dtype and on any device; None if memory is too
            short.
        """

    def free_memory(self) -> None:
        """Free the memory that is kept to paint the next picture faster."""

    def for_frames(self) -> OnePassEngine:
        """Return the engine for many pictures of one size, such as the frames of a film."""


def choose_engine(style: StyleFile, device: str, exactly: bool) -> OnePassEngine:
    """Return OpenVINO for ``cpu`` and PyTorch for all other devices.

    Args:
        style: the style at the strength to paint at.
        device: a device that exists.
        exactly: compute in float32, not in what the hardware does fastest.
    """
    if device == "cpu":
        return OpenVinoEngine(style, exactly)
    import torch

    from fast_style.stylizing.onepass import TorchEngine

    return TorchEngine.on(torch.device(device), style.network(), exactly)


class OpenVinoEngine:
    """Paints on the CPU; PyTorch is not imported for pictures.

    Args:
        style: the style at the strength to paint at.
        exactly: compute in float32.
    """

    files_at_once = 1  # a picture occupies all cores

    def __init__(self, style: StyleFile, exactly: bool) -> None:
        if available_memory() < BYTES_TO_START:
            raise MemoryError("no room for OpenVINO")
        from fast_style.stylizing import openvino

        bf16 = not exactly and openvino.computes_in_bf16()
        self.precision = "bfloat16" if bf16 else "float32"
        self._style, self._exactly = style, exactly
        self._bytes_per_pixel = style.plan.encoder[0].outputs * BYTES_PER_VALUE
        self._network = openvino.CompiledTransformer(style.weights, exactly, style.plan)

    def start(self, photo: Picture) -> Pending | None:
        painted = self._paint(np.asarray(photo), exactly=not isinstance(photo, Image.Image))
        if painted is None:
            return None
        picture = from_array(painted)
        return lambda: picture

    def paint_tensors(self, photos: Tensor) -> Tensor | None:
        import torch

        rows = photos.detach().to("cpu", torch.float32).permute(0, 2, 3, 1).contiguous().numpy()
        stylized = np.empty_like(rows)
        for photo, target in zip(rows, stylized, strict=True):
            painted = self._paint(photo)
            if painted is None:
                return None
            target[:] = painted
        return torch.from_numpy(stylized).permute(0, 3, 1, 2).contiguous()

    def free_memory(self) -> None:
        pass  # what is kept is small beside a picture that does not fit

    def for_frames(self) -> OnePassEngine:
        return OpenVinoFramesEngine(self._style, self._exactly)

    def _that_fit(self, width: int, height: int) -> int:
        """Return how many pictures of a size fit into memory at once."""
        # Beyond its memory, the system would kill the process.
        return available_memory() // (width * height * self._bytes_per_pixel)

    def _paint(self, photo: Array, exactly: bool = False) -> Array | None:
        height, width, _ = photo.shape
        if not self._that_fit(width, height):
            return None
        try:
            return self._network(photo, exactly)
        except Exception as error:  # the process may have limits of its own
            if short_of_memory(error):
                return None
            raise


class OpenVinoFramesEngine(OpenVinoEngine):
    """Paints frames of one size side by side on the CPU, in half of the free memory."""

    def __init__(self, style: StyleFile, exactly: bool) -> None:
        super().__init__(style, exactly)
        self._beside: SideBySide | None = None

    def start(self, photo: Picture) -> Pending | None:
        if not isinstance(photo, Image.Image):
            return super().start(photo)
        if self._beside is None:
            from fast_style.stylizing.side_by_side import SideBySide

            width, height = photo.size
            that_fit = self._that_fit(width, height)
            if not that_fit:
                return None
            most = min(usable_cores(), max(1, that_fit // 2))  # one frame alone may need all
            self._beside = SideBySide(self._network, (height, width), most)
        with _short_of_memory_for(photo):
            painted = self._beside.start(np.asarray(photo))

        def finish() -> Picture:
            with _short_of_memory_for(photo):
                return from_array(painted())

        return finish


@contextmanager
def _short_of_memory_for(frame: Image.Image) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not short_of_memory(error):
            raise
        raise UserError(
            f"frames of {_written(frame.size)} need more memory than is left: make them smaller "
            "with --size, or end other programs"
        ) from error


@dataclass(frozen=True)
class BandsEngine:
    """Paints pictures of any size in bands of rows with PyTorch (`stylize_in_bands`).

    Args:
        style: the style at the strength to paint at.
        device: where to compute.
        precision: ``bfloat16`` or ``float32``, in which to compute.
        exactly: keep the two whole layers in float32, not in bf16.
        band_rows: rows of the picture in a band; None for as many as are fast.
        scratch: folder for the two whole layers; None to keep them in memory.
        progress: called with the work done and the total, see `stylize_in_bands`.
    """

    style: StyleFile
    device: str
    precision: str
    exactly: bool
    band_rows: int | None
    scratch: Path | None
    progress: Callable[[float, float], object] | None

    def start(self, photo: Kind) -> Callable[[], Kind]:
        """Paint a picture and return a function that returns it.

        Raises:
            UserError: if memory is too short even for bands.
        """
        try:
            painted = self._paint(photo)
        except Exception as error:
            if not short_of_memory(error):
                raise
            raise UserError(
                f"a picture of {_written(size_of(photo))} needs more memory than there is, even in "
                "bands: make it smaller with --size, or allow more"
            ) from error
        return lambda: painted

    def _paint(self, photo: Kind) -> Kind:
        import torch

        from fast_style.stylizing.bands import layer_bytes, stylize_in_bands

        network = self.style.network().to(self.device)
        exactly = self.exactly or not isinstance(photo, Image.Image)
        bf16 = self.precision == "bfloat16" and not exactly
        # Few processors multiply bf16, but all can store it.
        kept_in = torch.float32 if exactly else torch.bfloat16
        if self.device == "cpu":
            self._check_memory(photo, 2 * layer_bytes(network, *size_of(photo), kept_in))
        try:
            return stylize_in_bands(
                network,
                photo,
                torch.device(self.device),
                torch.bfloat16 if bf16 else torch.float32,
                kept_in,
                self.band_rows,
                self.scratch,
                self.progress,
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"a picture of {_written(size_of(photo))} does not fit into the memory of "
                f"{self.device}, even in bands: make it smaller with --size, or use --device cpu"
            ) from error

    def _check_memory(self, photo: Picture, layers: int) -> None:
        width, height = size_of(photo)
        pixel = BYTES_PER_PIXEL if isinstance(photo, Image.Image) else BYTES_PER_FLOAT_PIXEL
        kept = pixel * width * height if self.scratch else layers
        needed, free = BYTES_IN_BANDS + kept, available_memory()
        if needed > free:
            raise UserError(
                f"a picture of {width} x {height} px needs about {needed / 1e9:.1f} GB of memory, "
                f"even in bands, and {free / 1e9:.1f} GB are free: make it smaller with --size, or "
                f"let --scratch name a folder with room for {layers / 1e9:.0f} GB"
            )


def _written(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px"
