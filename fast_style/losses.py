"""The three losses of style transfer as pure functions, and their weighted sum; and a fourth, which
keeps a network steady.

Each of the three has three normalisations:

- ``relative`` (default): an error divided by the size of what it is measured against, so that
  weights near 1 and 10 serve any painting, loss network and picture size.
- ``johnson``: as Johnson, Alahi and Fei-Fei 2016, section 3.2.
- ``gatys``: as Gatys, Ecker and Bethge 2016, section 2.

Pictures are ``(N, 3, H, W)`` RGB in [0, 1], features ``(N, C, H, W)``; each loss is averaged over
the N pictures and returned as a float32 scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fast_style.errors import UserError
from fast_style.networks.vgg import VGGFeatures

Normalization = Literal["relative", "johnson", "gatys"]


def gram_matrix(features: Tensor) -> Tensor:
    """Correlations between channels, ``(N, C, H, W)`` to ``(N, C, C)``, in float32.

    G = F F^T / (C H W), Johnson et al. 2016, equation 3. Summed in float32 whatever the features'
    precision: tens of thousands of terms overflow or drown in 16 bits.
    """
    _, channels, height, width = features.shape
    with torch.autocast(features.device.type, enabled=False):
        return _Products.apply(features.flatten(2)) / (channels * height * width)


class _Products(torch.autograd.Function):
    """F F^T in float32 of ``(N, C, M)``. Its gradient (D + D^T) F is one product where autograd
    makes two, and takes bf16 features as they are: rounded to bf16 it is in any case."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        ctx.save_for_backward(flat)
        wide = flat.float()
        return wide @ wide.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        narrow = torch.bfloat16 if flat.dtype == torch.bfloat16 else torch.float32
        with torch.autocast(flat.device.type, enabled=False):
            both = (gradient + gradient.mT).to(narrow)
            if flat.stride(1) == 1:  # channels_last in, channels_last out
                return (flat.to(narrow).mT @ both).mT.to(flat.dtype)
            return (both @ flat.to(narrow)).to(flat.dtype)


def content_loss(
    features: Tensor, target: Tensor, normalization: Normalization = "relative"
) -> Tensor:
    """How far features are from the photo's, both ``(N, C, H, W)``.

    - ``relative``: mean (F - P)^2 / mean P^2, both over the whole batch: a single flat photo, whose
      features are next to nothing, would else outweigh all others.
    - ``johnson``: sum (F - P)^2 / (C H W), equation 2.
    - ``gatys``: sum (F - P)^2 / 2, equation 1.
    """
    target = target.float()
    error = (features.float() - target).square().flatten(1)
    if normalization == "relative":
        return error.mean() / target.square().mean().clamp_min(1e-12)
    if normalization == "johnson":
        return error.mean()
    return error.sum(1).mean() / 2


def style_loss(gram: Tensor, target: Tensor, normalization: Normalization = "relative") -> Tensor:
    """How far Gram matrices ``(N, C, C)`` of one layer are from a target, ``(1, C, C)`` for all of
    them or ``(N, C, C)``.

    Both as `gram_matrix` gives them.

    - ``relative``: |G - A|^2 / |A|^2, Frobenius norms.
    - ``johnson``: |G - A|^2, equation 4.
    - ``gatys``: |G - A|^2 / 4, equation 4. There, Gram matrices are sums over M positions and the
      error is divided by 4 C^2 M^2; here C and M are in the Gram matrices already, each with its
      own M, so that photo and painting may differ in size.
    """
    error = (gram - target).square().sum((1, 2)).mean()
    if normalization == "relative":
        return error / target.square().sum((1, 2)).mean().clamp_min(1e-12)
    if normalization == "johnson":
        return error
    return error / 4


def total_variation(pictures: Tensor, normalization: Normalization = "relative") -> Tensor:
    """Squared differences between neighbours, down and across (Johnson et al. 2016, section 3.2,
    after Mahendran and Vedaldi 2015 with beta = 2).

    - ``relative``: the mean over vertical differences plus the mean over horizontal ones.
    - ``johnson`` and ``gatys``: their sum.
    """
    pictures = pictures.float()
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).square().flatten(1)
    across = (pictures[..., :, 1:] - pictures[..., :, :-1]).square().flatten(1)
    if normalization == "relative":
        return (down.mean(1) + across.mean(1)).mean()
    return (down.sum(1) + across.sum(1)).mean()


STABILITY_MARGIN = 8  # px


def stability_loss(stylized: Tensor, again: Tensor) -> Tensor:
    """How far pictures are from each other that should be the same, both ``(N, 3, H, W)`` in [0, 1]
    and of more than 16 px a side: mean (Y - Y')^2, as a share of the first ones' variance.

    The second are stylized from photos that a viewer would call the same (noise: Zheng, Song, Leung
    and Goodfellow 2016, equation 1; a move of a few pixels). Whatever a network paints in step with
    its own grid changes with a move: checkerboards, and dots in flat areas. The outermost 8 px are
    left out, where one of the two photos may go on for longer.
    """
    inside = (..., *2 * (slice(STABILITY_MARGIN, -STABILITY_MARGIN),))
    stylized, again = stylized[inside].float(), again[inside].float()
    return (again - stylized).square().mean() / stylized.detach().var().clamp_min(1e-3)


LEAST_SHRUNK = 16  # px a side, of which VGG's deepest block still sees one


@dataclass
class Targets:
    """What stylized pictures are compared with: features by content layer ``(N, C, H, W)``, Gram
    matrices by style layer and scale ``(1, C, C)`` or ``(N, C, C)``."""

    content: dict[str, Tensor]
    grams: dict[str, Tensor]


class PerceptualLoss(nn.Module):
    """Content, style and total variation against a frozen VGG, weighted and summed.

    `set_style_image` must be called with the painting before the loss is.

    Args:
        network: ``vgg16`` or ``vgg19``.
        weights: where the VGG's weights come from, see `VGGFeatures`.
        content_layers, style_layers: names as ``relu4_2``. Losses of several layers are averaged
            (``relative``; ``gatys``, whose w_l are 1/5) or summed (``johnson``, section 3.2).
        content_weight, style_weight, tv_weight: factors of the three losses in the total.
        style_strength: one more factor of the style loss, the painting's own.
        style_scales: by how much pictures and painting are shrunk when their style is compared, 1
            for not at all. With 2 as well, shapes are seen that are larger than what a layer sees
            (Gram matrices over a pyramid: Snelgrove 2017). As of layers, losses of several are
            averaged or summed.
        stability_weight: of `stability_loss`, which only training knows and no total here includes.
        normalization: of all three, see this module.
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
        listed = isinstance(style_scales, Sequence) and len(style_scales) > 0
        if not listed or not all(isinstance(scale, int) and scale > 0 for scale in style_scales):
            raise UserError(
                f"loss.style_scales={style_scales} is not understood: give whole numbers "
                "from 1 on, as [1] or [1,2]"
            )
        self.style_scales = tuple(style_scales)
        self.content_layers = tuple(content_layers)
        self.style_layers = tuple(style_layers)
        self.content_weight = content_weight
        self.style_weight = style_weight * style_strength
        self.tv_weight = tv_weight
        self.stability_weight = stability_weight
        self.normalization: Normalization = normalization
        self.style_names: list[str] = []  # of layers, and of those of shrunk pictures
        self.vgg = VGGFeatures(network, {*self.content_layers, *self.style_layers}, weights)

    @torch.no_grad()
    def set_style_image(self, painting: Tensor) -> None:
        """Keep the Gram matrices of a painting ``(1, 3, H, W)`` as the target of the style loss."""
        grams = self._grams(painting, self.vgg(painting, self.style_layers))
        self.style_names = list(grams)
        for name, gram in grams.items():
            self.register_buffer(f"gram_{name}", gram, persistent=False)

    @torch.no_grad()
    def targets_for(self, photos: Tensor, strength: float | Tensor = 1.0) -> Targets:
        """What pictures stylized from photos ``(N, 3, H, W)`` are compared with.

        Args:
            photos: RGB in [0, 1].
            strength: a number in [0, 1], or a tensor of one on the photos' device. Below 1, the
                target of the style loss lies between the Gram matrices of the photo, at 0, and
                those of the painting.
        """
        grams = {name: self.get_buffer(f"gram_{name}") for name in self.style_names}
        if isinstance(strength, Tensor):
            strength = strength.float()  # as the Gram matrices are
        elif strength == 1:
            return Targets(self.vgg(photos, self.content_layers), grams)
        features = self.vgg(photos)
        for name, own in self._grams(photos, features).items():
            grams[name] = torch.lerp(own, grams[name].expand_as(own), strength)
        return Targets({layer: features[layer] for layer in self.content_layers}, grams)

    def forward(
        self, stylized: Tensor, photos: Tensor, strength: float | Tensor = 1.0
    ) -> dict[str, Tensor]:
        """Losses of stylized pictures against their photos, both ``(N, 3, H, W)`` in [0, 1].

        Returns:
            Scalars: ``total`` (weighted), and unweighted ``content``, ``style``, ``tv`` and
            ``style/{layer}`` for each style layer, ``style/{layer}_by_2`` where shrunk by two.
        """
        return self.compare(stylized, self.targets_for(photos, strength))

    def compare(self, stylized: Tensor, targets: Targets) -> dict[str, Tensor]:
        """As `forward`, with what `targets_for` computed once for many looks at the same photos."""
        features = self.vgg(stylized)
        content = [
            content_loss(features[layer], targets.content[layer], self.normalization)
            for layer in self.content_layers
        ]
        style = {
            f"style/{name}": style_loss(gram, targets.grams[name], self.normalization)
            for name, gram in self._grams(stylized, features).items()
        }
        losses = {
            "content": self._over_layers(content),
            "style": self._over_layers(list(style.values())),
            "tv": total_variation(stylized, self.normalization),
        }
        total = (
            self.content_weight * losses["content"]
            + self.style_weight * losses["style"]
            + self.tv_weight * losses["tv"]
        )
        return {"total": total, **losses, **style}

    def _grams(self, pictures: Tensor, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gram matrices of pictures, whose features these are, at all style layers and scales."""
        grams: dict[str, Tensor] = {}
        for scale in self.style_scales:
            seen, suffix = features, ""
            if scale > 1:
                height, width = pictures.shape[-2:]
                if min(height, width) < LEAST_SHRUNK * scale:
                    raise UserError(
                        f"a picture of {width} x {height} px is too small to be shrunk by {scale} "
                        "for its style: take larger ones, or leave the scale out of "
                        "loss.style_scales"
                    )
                shrunk = F.avg_pool2d(pictures.float(), scale)
                seen, suffix = self.vgg(shrunk, self.style_layers), f"_by_{scale}"
            grams |= {f"{layer}{suffix}": gram_matrix(seen[layer]) for layer in self.style_layers}
        return grams

    def _over_layers(self, losses: list[Tensor]) -> Tensor:
        stacked = torch.stack(losses)
        return stacked.sum() if self.normalization == "johnson" else stacked.mean()
