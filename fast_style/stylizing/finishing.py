"""What happens to a painted picture behind the network: colours, strength and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from PIL import Image

from fast_style.images.floats import Box, FloatPicture, Kind, size_of, values_in
from fast_style.stylizing.colour import Preserve, preserve_color
from fast_style.stylizing.masks import Mask
from fast_style.stylizing.strips import made_in_strips
from fast_style.stylizing.strokes import Stroke, shrink

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

    def picture(self, photo: Kind, painted: Kind) -> Kind:
        """Finish a picture of mode "RGB" or of floats; the photo has the same size."""
        if self.preserve is not None:
            painted = preserve_color(photo, painted, self.preserve)
        if isinstance(photo, Image.Image):
            return self._laid_over(photo, painted)
        return self._laid_over_floats(photo, painted)

    def _laid_over(self, photo: Image.Image, painted: Image.Image) -> Image.Image:
        if self.strength != 1:
            painted = Image.blend(photo, painted, self.strength)
        if self.mask is not None:
            painted = Image.composite(painted, photo, self.mask.fitted(photo.size))
        return painted

    def _laid_over_floats(self, photo: FloatPicture, painted: FloatPicture) -> FloatPicture:
        if self.strength == 1 and self.mask is None:
            return painted
        mask = None if self.mask is None else self.mask.fitted_floats(size_of(photo))

        def strip(box: Box) -> FloatPicture:
            below, paint = values_in(photo, box), values_in(painted, box)
            opacity = (
                self.strength if mask is None else self.strength * values_in(mask, box)[..., None]
            )
            return (below + (paint - below) * opacity).clip(0, 1)  # sums are rounded

        return made_in_strips(photo, strip)

    def tensors(self, photos: Tensor, painted: Tensor) -> Tensor:
        """Finish tensors ``(N, 3, H, W)`` in [0, 1]; both have the same dtype and device."""
        if self.preserve is not None:
            painted = _on_arrays(partial(preserve_color, how=self.preserve), photos, painted)
        if self.strength != 1:
            painted = photos.lerp(painted, self.strength)
        if self.mask is not None:
            height, width = photos.shape[-2:]
            opacity = self.mask.fitted_floats((width, height))
            painted = photos.lerp(painted, photos.new_tensor(opacity))
        return painted


def shrink_tensors(photos: Tensor, stroke: Stroke) -> Tensor:
    """`shrink` for tensors ``(N, 3, H, W)`` in [0, 1], which keep dtype and device."""
    return photos if stroke == 1 else _on_arrays(partial(shrink, stroke=stroke), photos)


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
