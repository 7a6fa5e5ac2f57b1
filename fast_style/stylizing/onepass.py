"""An `ImageTransformer` on a GPU in one pass: everything from 8-bit levels to 8-bit levels."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from fast_style.images.grain import tensor_grain, tiles_on
from fast_style.networks.layers import ToRGB, UpsampledConv
from fast_style.networks.transformer import ImageTransformer

Value = TypeVar("Value")


class OnePass:
    """Stylizes on a device, after the photo's `grain`.

    Neither method waits for the device, so that both can be recorded as CUDA graphs.

    Args:
        network: not adjustable. It is moved to the device, for good.
        device: where to compute.
        dtype: in which the network computes.
    """

    def __init__(self, network: ImageTransformer, device: torch.device, dtype: torch.dtype) -> None:
        network.to(memory_format=torch.channels_last)
        self.network = network.to(device, dtype).requires_grad_(False)
        self.dtype = dtype
        self._tiles = tiles_on(device)
        _derive_kernels(self.network)

    def levels(self, levels: Tensor) -> Tensor:
        """Stylize a photo of ``(H, W, 3)`` uint8.

        Returns:
            Of the same shape and kind.
        """
        photo = levels.permute(2, 0, 1).unsqueeze(0)
        stylized = self._painted(photo.float()).float().mul_(255).round_()
        rows = stylized.to(torch.uint8, memory_format=torch.channels_last)
        return rows[0].permute(1, 2, 0)

    def photos(self, photos: Tensor) -> Tensor:
        """Stylize photos of ``(N, 3, H, W)`` in [0, 1], of any float type.

        Returns:
            Of the same shape, in the dtype that computes.
        """
        return self._painted(photos.float() * 255)

    def _painted(self, levels: Tensor) -> Tensor:
        """Of float32 levels, which change."""
        # Not in half precision, which has no room for the grain on a bright picture.
        levels += tensor_grain(self._tiles, 0, *levels.shape[-2:])
        photos = levels.clamp_(0, 255).div_(255)
        return self.network(photos.to(self.dtype, memory_format=torch.channels_last))


def _derive_kernels(network: ImageTransformer) -> None:
    """Derive the kernels of upsampling and of the last layer once, and not with each picture."""
    for module in network.modules():
        if isinstance(module, UpsampledConv):
            kernel = module.transposed_kernel().contiguous(memory_format=torch.channels_last)
            module.transposed_kernel = _always(kernel)  # type: ignore[method-assign]
        elif isinstance(module, ToRGB):
            kernels, bias = module.square_kernels()
            kernels = kernels.contiguous(memory_format=torch.channels_last)
            module.square_kernels = _always((kernels, bias))  # type: ignore[method-assign]


def _always(value: Value) -> Callable[[], Value]:
    return lambda: value
