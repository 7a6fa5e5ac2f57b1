"""What happens to a painted picture behind the network: colours, strength and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.stylizing.colour import Preserve, preserve_color, preserve_color_of_arrays
from fast_style.stylizing.masks import Mask
from fast_style.stylizing.strokes import Stroke, shrink_array

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]


@dataclass(frozen=True)
class Finishing:
    """Combines the photo with what the network painted of it.

    Args:
        strength: opacity of the painted picture over the photo.
        preserve: which of the photo's colours to keep; None for the style's colours.
        mask: where to paint; None for everywhere.
    """

    strength: float = 1.0
    preserve: Preserve | None = None
    mask: Mask | None = None

    @property
    def is_none(self) -> bool:
        """Whether the painted picture stays as it is."""
        return self == Finishing()

    def picture(self, photo: Image.Image, painted: Image.Image) -> Image.Image:
        """Finish a picture of mode "RGB"; the photo has the same size."""
        if self.preserve is not None:
            painted = preserve_color(photo, painted, self.preserve)
        if self.strength != 1:
            painted = Image.blend(photo, painted, self.strength)
        if self.mask is not None:
            painted = Image.composite(painted, photo, self.mask.fitted(photo.size))
        return painted

    def tensors(self, photos: Tensor, painted: Tensor) -> Tensor:
        """Finish tensors ``(N, 3, H, W)`` in [0, 1]; both have the same dtype and device."""
        if self.preserve is not None:
            painted = _recolored(photos, painted, self.preserve)
        if self.strength != 1:
            painted = photos.lerp(painted, self.strength)
        if self.mask is not None:
            height, width = photos.shape[-2:]
            opacity = np.asarray(self.mask.fitted((width, height))) / np.float32(255)
            painted = photos.lerp(painted, photos.new_tensor(opacity))
        return painted


def _recolored(photos: Tensor, painted: Tensor, preserve: Preserve) -> Tensor:
    def recolor(photo: Array, paint: Array) -> Array:
        return preserve_color_of_arrays(photo, paint, preserve)

    return _on_arrays(recolor, photos, painted)


def shrink_tensors(photos: Tensor, stroke: Stroke) -> Tensor:
    """`shrink` for tensors ``(N, 3, H, W)`` in [0, 1], which keep dtype and device."""
    return photos if stroke == 1 else _on_arrays(partial(shrink_array, stroke=stroke), photos)


def _on_arrays(function: Callable[..., Array], *batches: Tensor) -> Tensor:
    """Apply a function of arrays ``(H, W, 3)`` to each picture of batches of tensors."""
    import torch

    first = batches[0]
    arrays = (
        batch.detach().to("cpu", torch.float32).permute(0, 2, 3, 1).numpy() for batch in batches
    )
    results = [torch.from_numpy(function(*each)) for each in zip(*arrays, strict=True)]
    if not results:
        return batches[-1]
    return torch.stack(results).permute(0, 3, 1, 2).contiguous().to(first.device, first.dtype)
