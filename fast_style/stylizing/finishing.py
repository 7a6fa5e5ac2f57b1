"""What happens to a painted picture behind the network: colours and strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from fast_style.stylizing.colour import Preserve, preserve_color, preserve_color_of_arrays

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Finishing:
    """Combines the photo with what the network painted of it.

    Args:
        strength: opacity of the painted picture over the photo.
        preserve: which of the photo's colours to keep; None for the style's colours.
    """

    strength: float = 1.0
    preserve: Preserve | None = None

    @property
    def is_none(self) -> bool:
        """Whether the painted picture stays as it is."""
        return self == Finishing()

    def picture(self, photo: Image.Image, painted: Image.Image) -> Image.Image:
        """Finish a picture of mode "RGB"; the photo has the same size."""
        if self.preserve is not None:
            painted = preserve_color(photo, painted, self.preserve)
        return painted if self.strength == 1 else Image.blend(photo, painted, self.strength)

    def tensors(self, photos: Tensor, painted: Tensor) -> Tensor:
        """Finish tensors ``(N, 3, H, W)`` in [0, 1]; both have the same dtype and device."""
        if self.preserve is not None:
            painted = _recolored(photos, painted, self.preserve)
        return painted if self.strength == 1 else photos.lerp(painted, self.strength)


def _recolored(photos: Tensor, painted: Tensor, preserve: Preserve) -> Tensor:
    import torch

    pairs = (
        tensors.detach().to("cpu", torch.float32).permute(0, 2, 3, 1).numpy()
        for tensors in (photos, painted)
    )
    recolored = [
        torch.from_numpy(preserve_color_of_arrays(photo, paint, preserve))
        for photo, paint in zip(*pairs, strict=True)
    ]
    if not recolored:
        return painted
    return torch.stack(recolored).permute(0, 3, 1, 2).contiguous().to(painted)
