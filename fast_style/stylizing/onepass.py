"""A network on a GPU in one pass, from levels to levels or from floats to floats."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fast_style.devices import computes_in_bf16, usable_cores
from fast_style.images import start_download
from fast_style.images.floats import Picture, size_of
from fast_style.images.grain import tensor_grain, tiles_on
from fast_style.networks.cuda_graphs import CudaRecorder, GraphCache
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.engines import OnePassEngine, Pending

log = logging.getLogger(__name__)

# Values in the first layer, reached at 67 megapixels. Some of PyTorch's GPU kernels count no
# further.
MAX_VALUES = 2**31 - 1

# Pixels of pictures that get a graph. On larger ones the GPU works longer than the process takes to
# launch it, and a graph would hold gigabytes.
MAX_PIXELS_IN_GRAPH = 2**23


class OnePass:
    """A network on a device, with the grain, and with kernels that do not change computed ahead.

    No method waits for the device, so that all can be recorded as CUDA graphs.

    Args:
        network: a network that is not adjustable. It moves to the device for good.
        device: where to compute.
        dtype: dtype in which the network computes.
    """

    def __init__(self, network: ImageTransformer, device: torch.device, dtype: torch.dtype) -> None:
        network.to(memory_format=torch.channels_last)
        self.network = network.to(device, dtype).requires_grad_(False)
        self.device = device
        self.dtype = dtype
        self._tiles = tiles_on(device)
        self.network.derive_kernels()

    def levels(self, levels: Tensor) -> Tensor:
        """Stylize a photo of ``(H, W, 3)`` uint8 into a picture of the same shape and dtype."""
        photo = levels.permute(2, 0, 1).unsqueeze(0)
        stylized = self._paint(photo.float()).float().mul_(255).round_()
        rows = stylized.to(torch.uint8, memory_format=torch.channels_last)
        return rows[0].permute(1, 2, 0)

    def floats(self, photo: Tensor) -> Tensor:
        """Stylize a float32 photo ``(H, W, 3)`` in [0, 1] into the same shape and dtype."""
        stylized = self.photos(photo.permute(2, 0, 1).unsqueeze(0)).float()
        return stylized[0].permute(1, 2, 0).contiguous()

    def photos(self, photos: Tensor) -> Tensor:
        """Stylize float photos ``(N, 3, H, W)`` in [0, 1] into the same shape, in ``dtype``."""
        return self._paint(photos.float() * 255)

    def _paint(self, levels: Tensor) -> Tensor:
        """Paint float32 levels, which are overwritten."""
        # In float32: half precision has no room for the grain on a bright picture.
        if self.network.plan.grain:
            levels += tensor_grain(self._tiles, 0, *levels.shape[-2:])
        photos = levels.clamp_(0, 255).div_(255)
        return self.network(photos.to(self.dtype, memory_format=torch.channels_last))


class TorchEngine:
    """Paints on a GPU; an engine as `fast_style.stylizing.engines.OnePassEngine` describes it.

    Args:
        one_pass: the network on its device.
        graphs: records and replays CUDA graphs for sizes that come again; None to launch every
            kernel each time.
        exact: returns the network on its device in float32, for pictures of floats; it is called
            once. None if ``one_pass`` is that.
    """

    def __init__(
        self,
        one_pass: OnePass,
        graphs: GraphCache | None,
        exact: Callable[[], OnePass] | None = None,
    ) -> None:
        self.one_pass = one_pass
        self._exact = cache(exact or (lambda: one_pass))
        self.graphs = graphs
        self.precision = str(one_pass.dtype).removeprefix("torch.")
        # A core reads and writes files more slowly than a GPU paints.
        self.files_at_once = min(usable_cores(), 16)
        self._pinned = one_pass.device.type == "cuda"

    @classmethod
    def on(cls, device: torch.device, network: ImageTransformer, exactly: bool) -> TorchEngine:
        """Return an engine for a device.

        Args:
            device: a GPU.
            network: a network that is not adjustable. It moves to the device for good.
            exactly: compute in float32, even where the device multiplies bf16.
        """
        bf16 = not exactly and computes_in_bf16(device)
        exact = partial(OnePass, deepcopy(network), device, torch.float32) if bf16 else None
        one_pass = OnePass(network, device, torch.bfloat16 if bf16 else torch.float32)
        graphs = GraphCache(CudaRecorder(device)) if device.type == "cuda" else None
        return cls(one_pass, graphs, exact)

    def start(self, photo: Picture) -> Pending | None:
        if not self._countable(1, *size_of(photo)):
            return None
        of_levels = isinstance(photo, Image.Image)
        paint = self.one_pass.levels if of_levels else self._exact().floats
        painted = self._run(paint, _to_tensor(np.asarray(photo), self._pinned))
        return None if painted is None else start_download(painted)

    def paint_tensors(self, photos: Tensor) -> Tensor | None:
        height, width = photos.shape[-2:]
        if not self._countable(len(photos), width, height):
            return None
        return self._run(self.one_pass.photos, photos.detach())

    def free_memory(self) -> None:
        if self.graphs is not None:
            self.graphs.clear()

    def for_frames(self) -> OnePassEngine:
        return self

    def _countable(self, count: int, width: int, height: int) -> bool:
        network = self.one_pass.network
        edges = 2 * max(network.plan.margin + 1, network.to_rgb.margin)
        padded = (width + edges) * (height + edges)
        return count * network.widths[0] * padded <= MAX_VALUES

    def _run(self, paint: Callable[[Tensor], Tensor], given: Tensor) -> Tensor | None:
        """Paint by a graph or, where that fails, kernel by kernel; None if memory is too short."""
        graphs, pixels = self.graphs, given.numel() // 3
        # Not inference_mode: callers could neither change its tensors nor learn from them.
        with torch.no_grad():
            if graphs is not None and pixels <= MAX_PIXELS_IN_GRAPH:
                try:
                    return graphs(paint, given)
                except torch.OutOfMemoryError:
                    self.free_memory()
                except RuntimeError as error:
                    reason = str(error).partition("\n")[0]
                    log.warning("stylizing goes on without CUDA graphs, slower: %s", reason)
                    self.graphs = None
            try:
                return paint(given.to(self.one_pass.device, non_blocking=self._pinned))
            except torch.OutOfMemoryError:
                self.free_memory()
                return None


def _to_tensor(photo: NDArray[Any], pinned: bool) -> Tensor:
    """Return ``(H, W, 3)`` on the CPU.

    Nobody waits for a copy from pinned memory to CUDA. PyTorch keeps such memory for the next
    picture, since it takes long to allocate.
    """
    dtype = torch.uint8 if photo.dtype == np.uint8 else torch.float32
    values = torch.empty(photo.shape, dtype=dtype, pin_memory=pinned)
    values.numpy()[:] = photo
    return values
