"""A style as a `torch.export` program, for PyTorch in C++, on phones, and its compilers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fast_style.checkpoint import StyleFile
from fast_style.images.grain import grain_tiles
from fast_style.networks import MIN_SIDE
from fast_style.networks.layers import ToRGB
from fast_style.networks.transformer import ImageTransformer


def exported_program(style: StyleFile) -> ExportedProgram:
    """Record a style as a program.

    Its arguments are ``photos``, float32 ``(N, 3, H, W)`` in [0, 1] with sides of at least
    `MIN_SIDE`, and ``strength``, a float32 tensor of one number in [0, 1]. It returns pictures of
    the photos' shape. N, H and W are free.

    Args:
        style: the style, adjustable or not. One that is not is only blended with the photo.
    """
    photos = torch.rand(2, 3, 48, 40)  # sizes of 1 would be taken for constants
    sides = {0: Dim("N"), 2: Dim("H", min=MIN_SIDE), 3: Dim("W", min=MIN_SIDE)}
    with torch.no_grad():
        return torch.export.export(
            _Painter(style).eval(),
            (photos, torch.tensor(1.0)),
            dynamic_shapes={"photos": sides, "strength": {}},
            prefer_deferred_runtime_asserts_over_guards=True,
        )


class _Painter(nn.Module):
    """The network with the grain and the strength, as the `Stylizer` has them."""

    tile0: Tensor
    tile1: Tensor

    def __init__(self, style: StyleFile) -> None:
        super().__init__()
        self.network = _IndexedTransformer(**style.config)
        self.network.load_state_dict(style.network().state_dict())
        self.network.requires_grad_(False)
        for number, tile in enumerate(grain_tiles()):
            self.register_buffer(f"tile{number}", torch.from_numpy(tile))

    def forward(self, photos: Tensor, strength: Tensor) -> Tensor:
        grained = photos
        if self.network.plan.grain:
            grained = (photos + self._grain(photos) / 255).clamp(0, 1)
        if not self.network.adjustable:
            return torch.lerp(photos, self.network(grained), strength)
        # The network blends with the photo that it is given. The grain goes out again.
        return self.network(grained, strength) + (1 - strength) * (photos - grained)

    def _grain(self, photos: Tensor) -> Tensor:
        height, width = photos.shape[-2:]
        rows, columns = _places(height, photos)[:, None], _places(width, photos)
        first, second = (
            tile[rows % tile.shape[0], columns % tile.shape[1]] for tile in (self.tile0, self.tile1)
        )
        return (first + second).remainder(3) - 1


class _IndexedTransformer(ImageTransformer):
    """Cuts pictures out by index. A slice's layout in memory depends on whether sides are odd, and
    would bind the program to one kind."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.to_rgb = _IndexedToRGB(self.plan.to_rgb)

    def _cropped(self, painted: Tensor, height: int, width: int) -> Tensor:
        return _indexed(painted, height, width)


class _IndexedToRGB(ToRGB):
    def forward(self, x: Tensor) -> Tensor:
        height, width = (side - 2 * self.margin for side in x.shape[-2:])
        even = F.pad(x, (0, width % 2, 0, height % 2))
        return _indexed(self.squares(even, *self.square_kernels()), height, width)


def _indexed(x: Tensor, height: int, width: int) -> Tensor:
    return x[..., _places(height, x)[:, None], _places(width, x)]


def _places(count: int, x: Tensor) -> Tensor:
    return torch.arange(count, device=x.device)
