"""The weighted sum of loss terms that networks are trained to lower."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from fast_style.errors import UserError
from fast_style.losses.functional import Normalization
from fast_style.losses.terms import (
    ContentLoss,
    EncodedImages,
    LossTerm,
    PairTerm,
    StabilityLoss,
    StyleLoss,
    TotalVariation,
)
from fast_style.networks.vgg import VGGFeatures

Targets = dict[str, Any]
"""What stylized images are compared with, by name of the term."""


class PerceptualLoss(nn.Module):
    """Sums weighted loss terms over the features of a frozen VGG.

    The terms are ``content``, ``style``, ``tv`` (total variation), ``stability``, and any of your
    own. Call `set_style_image` before the loss.

    Args:
        network: ``vgg16`` or ``vgg19``.
        weights: where VGG's weights come from, see `VGGFeatures`.
        content_layers: layers of the content loss, as ``relu4_2``.
        style_layers: layers of the style loss.
        content_weight: weight of `ContentLoss`.
        style_weight: weight of `StyleLoss`.
        tv_weight: weight of `TotalVariation`.
        style_strength: one more factor of the style loss, the style image's own.
        style_scales: see `StyleLoss`.
        stability_weight: weight of `StabilityLoss`.
        normalization: of content loss, style loss and total variation: ``relative``, ``johnson`` or
            ``gatys``, see `fast_style.losses.functional`.
        terms: more terms by name. A term named as one of the four replaces it.

    Raises:
        UserError: for an unknown normalization, layer or network, an empty list of layers, or a
            name that a term cannot have.

    >>> loss = PerceptualLoss("vgg16", "bundled", ["relu2_2"], ["relu1_1", "relu2_1"])
    >>> loss.set_style_image(torch.rand(1, 3, 32, 48))
    >>> content_image, stylized = torch.rand(2, 1, 3, 32, 32)
    >>> sorted(loss(stylized, content_image))
    ['content', 'style', 'style/relu1_1', 'style/relu2_1', 'total', 'tv']
    """

    def __init__(
        self,
        network: str = "vgg19",
        weights: str = "torchvision",
        content_layers: Sequence[str] = ("relu4_2",),
        style_layers: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        content_weight: float = 1.0,
        style_weight: float = 10.0,
        tv_weight: float = 0.0,
        style_strength: float = 1.0,
        style_scales: Sequence[int] = (1,),
        stability_weight: float = 0.0,
        normalization: Normalization = "relative",
        terms: Mapping[str, LossTerm | PairTerm] | None = None,
    ) -> None:
        super().__init__()
        if normalization not in get_args(Normalization):
            raise UserError(
                f"loss normalization '{normalization}' is unknown: choose "
                + ", ".join(get_args(Normalization))
            )
        if not content_layers or not style_layers:
            raise UserError(
                "loss.content_layers and loss.style_layers must name a layer each: to leave a loss "
                "out, set its weight to 0"
            )
        named: dict[str, LossTerm | PairTerm] = {
            "content": ContentLoss(content_layers, content_weight, normalization),
            "style": StyleLoss(
                style_layers, style_weight * style_strength, style_scales, normalization
            ),
            "tv": TotalVariation(tv_weight, normalization),
            "stability": StabilityLoss(stability_weight),
        }
        for name, term in (terms or {}).items():
            _check_term(name, term)
            named[name] = term
        self.terms = cast(Mapping[str, LossTerm | PairTerm], nn.ModuleDict(named))
        self.vgg = VGGFeatures(network, _layers(self.image_terms.values()), weights)

    @property
    def image_terms(self) -> dict[str, LossTerm]:
        """The terms that compare stylized images with content and style, summed to the total."""
        return {name: term for name, term in self.terms.items() if isinstance(term, LossTerm)}

    @property
    def pair_terms(self) -> dict[str, PairTerm]:
        """The terms with a weight that compare pairs of stylizations, which only training makes."""
        return {
            name: term
            for name, term in self.terms.items()
            if isinstance(term, PairTerm) and term.weight
        }

    @torch.no_grad()
    def set_style_image(self, style_image: Tensor) -> None:
        """Measure the style of an image ``(1, 3, H, W)`` RGB in [0, 1], the target from now on."""
        terms = self.image_terms.values()
        style = EncodedImages(style_image, self.vgg, _layers(terms))
        for term in terms:
            term.set_style_image(style)

    @torch.no_grad()
    def targets_for(self, content_images: Tensor, strength: float | Tensor = 1.0) -> Targets:
        """Return what stylizations of some content images are compared with, for `compare`.

        Args:
            content_images: ``(N, 3, H, W)`` RGB in [0, 1].
            strength: strength of the style in [0, 1], a number or a tensor of one number on the
                images' device. See `StyleLoss`.
        """
        terms = self.image_terms
        wanted = {layer for term in terms.values() for layer in term.target_layers(strength)}
        content = EncodedImages(content_images, self.vgg, sorted(wanted))
        return {name: term.target(content, strength) for name, term in terms.items()}

    def forward(
        self, stylized: Tensor, content_images: Tensor, strength: float | Tensor = 1.0
    ) -> dict[str, Tensor]:
        """Return the losses of stylized images, both ``(N, 3, H, W)`` RGB in [0, 1].

        Args:
            stylized: the images to measure.
            content_images: the images that they were stylized from.
            strength: see `targets_for`.

        Returns:
            Scalars: ``total``, the weighted sum; each term's own loss, unweighted, by its name; and
            parts of terms, as ``style/relu1_1``, or ``style/relu1_1_by_2`` at scale 2.
        """
        return self.compare(stylized, self.targets_for(content_images, strength))

    def compare(self, stylized: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the same as `forward`, for a result of `targets_for`, which calls can share."""
        terms = self.image_terms
        encoded = EncodedImages(stylized, self.vgg, _layers(terms.values()))
        losses: dict[str, Tensor] = {}
        parts: dict[str, Tensor] = {}
        for name, term in terms.items():
            found = term(encoded, targets[name])
            if isinstance(found, tuple):
                found, own_parts = found
                parts |= {f"{name}/{part}": value for part, value in own_parts.items()}
            losses[name] = found
        return {"total": self.weighted_sum(losses), **losses, **parts}

    def compare_pair(self, stylized: Tensor, again: Tensor) -> dict[str, Tensor]:
        """Return the unweighted losses of the `pair_terms`, for images ``(N, 3, H, W)``."""
        return {name: term(stylized, again) for name, term in self.pair_terms.items()}

    def weighted_sum(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Sum losses by name of the term, each multiplied by the term's weight."""
        return reduce(add, (self.terms[name].weight * loss for name, loss in losses.items()))


def _layers(terms: Iterable[LossTerm]) -> list[str]:
    return sorted({layer for term in terms for layer in term.layers})


def _check_term(name: str, term: Any) -> None:
    if not isinstance(term, LossTerm | PairTerm):
        raise TypeError(
            f"loss.terms.{name} is of class {type(term).__name__}: give a LossTerm or PairTerm"
        )
    if name in ("total", "objective") or not name.isidentifier() or hasattr(nn.ModuleDict, name):
        raise UserError(f"loss.terms.{name} cannot be a loss's name: choose another word")
