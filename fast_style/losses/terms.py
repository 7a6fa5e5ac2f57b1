"""The terms of a perceptual loss: each a small module with its weight.

To add a loss, subclass `LossTerm` (or `PairTerm`) and name the subclass in ``loss.terms``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fast_style.errors import UserError
from fast_style.losses.functional import (
    Normalization,
    content_loss,
    gram_matrix,
    over_layers,
    stability_loss,
    style_loss,
    total_variation,
)
from fast_style.networks.vgg import VGGFeatures

MIN_SHRUNK_SIDE = 16  # px a side; VGG's fifth block then still has one


class EncodedImages:
    """Images and their VGG features, which are computed once for all terms.

    Args:
        images: ``(N, 3, H, W)`` RGB in [0, 1].
        vgg: the loss network.
        layers: every layer that a term uses, as ``relu4_2``.
    """

    def __init__(self, images: Tensor, vgg: VGGFeatures, layers: Sequence[str]) -> None:
        self.images = images
        self._vgg = vgg
        self._layers = layers
        self._by_scale: dict[int, dict[str, Tensor]] = {}

    def features(self, scale: int = 1) -> dict[str, Tensor]:
        """Return features ``(N, C, H, W)`` by layer.

        Args:
            scale: factor by which the images are shrunk first.

        Raises:
            UserError: if a side would be shorter than 16 px.
        """
        if scale not in self._by_scale:
            self._by_scale[scale] = self._vgg(self._shrunk(scale), self._layers)
        return self._by_scale[scale]

    def _shrunk(self, scale: int) -> Tensor:
        if scale == 1:
            return self.images
        height, width = self.images.shape[-2:]
        if min(height, width) < MIN_SHRUNK_SIDE * scale:
            raise UserError(
                f"a picture of {width} x {height} px is too small to be shrunk by {scale} for its "
                "style: take larger ones, or leave the scale out of loss.style_scales"
            )
        return F.avg_pool2d(self.images.float(), scale)


class LossTerm(nn.Module):
    """A loss of stylized images. Subclasses write `forward`, and the other methods as needed.

    Register tensors that a term keeps as buffers with ``persistent=False``: they follow it to its
    device and stay out of checkpoints. Training records its steps as CUDA graphs, so `forward` must
    not read values from tensors (``.item()``) nor draw random numbers.

    Args:
        weight: factor of the loss in the total. At 0, the loss is still computed and logged.
        layers: VGG layers that the term looks at, as ``relu4_2``.

    >>> class Brightness(LossTerm):
    ...     '''Makes stylized images as bright as the style image.'''
    ...
    ...     def set_style_image(self, style):
    ...         self.register_buffer("goal", style.images.mean(), persistent=False)
    ...
    ...     def forward(self, stylized, target):
    ...         return (stylized.images.mean((1, 2, 3)) - self.goal).square().mean()
    """

    def __init__(self, weight: float = 1.0, layers: Sequence[str] = ()) -> None:
        super().__init__()
        self.weight = weight
        self.layers = tuple(layers)

    def set_style_image(self, style: EncodedImages) -> None:
        """Keep what the loss needs of the style image, ``(1, 3, H, W)``. By default nothing."""

    def target_layers(self, strength: float | Tensor) -> Sequence[str]:
        """Return the layers that `target` uses. By default all of the term's layers."""
        return self.layers

    def target(self, content: EncodedImages, strength: float | Tensor) -> Any:
        """Return what stylized images are compared with. By default None.

        Args:
            content: the content images.
            strength: strength of the style in [0, 1], a number or a tensor of one number. At 0, a
                stylized image should look like its content image.
        """

    def forward(
        self, stylized: EncodedImages, target: Any
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, a scalar.

        Args:
            stylized: the stylized images.
            target: from `target`.

        Returns:
            The loss, or the loss and its parts by name. Parts are logged and not summed.
        """
        raise NotImplementedError


class PairTerm(nn.Module):
    """A loss of two stylizations that should look the same. Subclasses write `forward`.

    Only training makes such pairs: of one photo in each batch, and of the same photo with noise and
    moved by a few pixels.

    Args:
        weight: factor of the loss in the training objective. At 0, no pair is made for it.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, stylized: Tensor, again: Tensor) -> Tensor:
        """Return the loss, a scalar, of stylizations ``(1, 3, H, W)`` in [0, 1]."""
        raise NotImplementedError


class ContentLoss(LossTerm):
    """Keeps the features of the content images, see `content_loss`.

    Args:
        layers, weight: see `LossTerm`.
        normalization: see `fast_style.losses.functional`.
    """

    def __init__(
        self, layers: Sequence[str], weight: float = 1.0, normalization: Normalization = "relative"
    ) -> None:
        super().__init__(weight, layers)
        self.normalization: Normalization = normalization

    def target(self, content: EncodedImages, strength: float | Tensor) -> dict[str, Tensor]:
        features = content.features()
        return {layer: features[layer] for layer in self.layers}

    def forward(self, stylized: EncodedImages, target: dict[str, Tensor]) -> Tensor:
        features = stylized.features()
        losses = [
            content_loss(features[layer], target[layer], self.normalization)
            for layer in self.layers
        ]
        return over_layers(losses, self.normalization)


class StyleLoss(LossTerm):
    """Takes on the Gram matrices of the style image, see `style_loss`.

    At a strength below 1, the target lies between the Gram matrices of the content image (at 0) and
    those of the style image.

    Args:
        layers, weight: see `LossTerm`.
        scales: factors by which images are shrunk before their style is compared, 1 for not at all.
            Scale 2 sees shapes twice as large as a layer's receptive field (Gram matrices over a
            pyramid: Snelgrove 2017). Scales are combined as layers are, see `over_layers`.
        normalization: see `fast_style.losses.functional`.
    """

    def __init__(
        self,
        layers: Sequence[str],
        weight: float = 1.0,
        scales: Sequence[int] = (1,),
        normalization: Normalization = "relative",
    ) -> None:
        super().__init__(weight, layers)
        listed = isinstance(scales, Sequence) and len(scales) > 0
        if not listed or not all(isinstance(scale, int) and scale > 0 for scale in scales):
            raise UserError(
                f"loss.style_scales={scales} is not understood: give whole numbers from 1 on, as "
                "[1] or [1,2]"
            )
        self.scales = tuple(scales)
        self.normalization: Normalization = normalization
        self.names: list[str] = []  # of Gram matrices, as relu1_1 and relu1_1_by_2

    def set_style_image(self, style: EncodedImages) -> None:
        grams = self._grams(style)
        self.names = list(grams)
        for name, gram in grams.items():
            self.register_buffer(f"gram_{name}", gram, persistent=False)

    def target_layers(self, strength: float | Tensor) -> Sequence[str]:
        return () if _is_full(strength) else self.layers

    def target(self, content: EncodedImages, strength: float | Tensor) -> dict[str, Tensor]:
        style = {name: self.get_buffer(f"gram_{name}") for name in self.names}
        if _is_full(strength):
            return style
        if isinstance(strength, Tensor):
            strength = strength.float()  # as Gram matrices are
        return {
            name: torch.lerp(own, style[name].expand_as(own), strength)
            for name, own in self._grams(content).items()
        }

    def forward(
        self, stylized: EncodedImages, target: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        losses = {
            name: style_loss(gram, target[name], self.normalization)
            for name, gram in self._grams(stylized).items()
        }
        return over_layers(list(losses.values()), self.normalization), losses

    def _grams(self, images: EncodedImages) -> dict[str, Tensor]:
        grams: dict[str, Tensor] = {}
        for scale in self.scales:
            features, suffix = images.features(scale), "" if scale == 1 else f"_by_{scale}"
            grams |= {f"{layer}{suffix}": gram_matrix(features[layer]) for layer in self.layers}
        return grams


class TotalVariation(LossTerm):
    """Smooths stylized images, see `total_variation`.

    Args:
        weight: see `LossTerm`.
        normalization: see `fast_style.losses.functional`.
    """

    def __init__(self, weight: float = 1.0, normalization: Normalization = "relative") -> None:
        super().__init__(weight)
        self.normalization: Normalization = normalization

    def forward(self, stylized: EncodedImages, target: None) -> Tensor:
        return total_variation(stylized.images, self.normalization)


class StabilityLoss(PairTerm):
    """Keeps stylizations alike under noise and moves, see `stability_loss`."""

    def forward(self, stylized: Tensor, again: Tensor) -> Tensor:
        return stability_loss(stylized, again)


def _is_full(strength: float | Tensor) -> bool:
    return not isinstance(strength, Tensor) and strength == 1
