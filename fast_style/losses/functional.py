"""The losses of style transfer as pure functions of tensors.

Content loss, style loss and total variation come in three normalisations:

- ``relative`` (default): an error as a share of what it is measured against, so that weights near 1
  and 10 suit any style image, loss network and image size.
- ``johnson``: as in Johnson, Alahi and Fei-Fei 2016, section 3.2.
- ``gatys``: as in Gatys, Ecker and Bethge 2016, section 2.

Images are ``(N, 3, H, W)`` RGB in [0, 1], features are ``(N, C, H, W)``. Each loss is the mean over
the N images, a float32 scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Normalization = Literal["relative", "johnson", "gatys"]

STABILITY_MARGIN = 8  # px


def gram_matrix(features: Tensor) -> Tensor:
    """Return the correlations between channels, G = F F^T / (C H W).

    Johnson et al. 2016, equation 3. The products are summed in float32 whatever the precision of
    the features: tens of thousands of terms overflow float16 and round away in bfloat16.

    Args:
        features: ``(N, C, H, W)``.

    Returns:
        ``(N, C, C)``, float32.

    >>> features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # two channels of 1 x 2 px
    >>> gram_matrix(features)
    tensor([[[1.2500, 0.2500],
             [0.2500, 2.5000]]])
    """
    _, channels, height, width = features.shape
    with torch.autocast(features.device.type, enabled=False):
        return FeatureProducts.apply(features.flatten(2)) / (channels * height * width)


class FeatureProducts(torch.autograd.Function):
    """F F^T of ``(N, C, M)`` in float32, with a faster gradient than autograd's.

    The gradient (D + D^T) F is one product, where autograd computes two. It multiplies bfloat16
    features in bfloat16, since its result is rounded to that anyway.
    """

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
    """Compare features F of stylized images with features P of the content images.

    - ``relative``: mean (F - P)^2 / mean P^2. Both means are over the whole batch: otherwise a
      single flat image, whose features are almost zero, would outweigh all others.
    - ``johnson``: sum (F - P)^2 / (C H W), equation 2.
    - ``gatys``: sum (F - P)^2 / 2, equation 1.

    Args:
        features, target: ``(N, C, H, W)``.
        normalization: see this module.
    """
    target = target.float()
    error = (features.float() - target).square().flatten(1)
    if normalization == "relative":
        return error.mean() / target.square().mean().clamp_min(1e-12)
    if normalization == "johnson":
        return error.mean()
    return error.sum(1).mean() / 2


def style_loss(gram: Tensor, target: Tensor, normalization: Normalization = "relative") -> Tensor:
    """Compare Gram matrices G of one layer with their target A, by the Frobenius norm.

    - ``relative``: |G - A|^2 / |A|^2.
    - ``johnson``: |G - A|^2, equation 4.
    - ``gatys``: |G - A|^2 / 4, equation 4. Gatys et al. sum Gram matrices over the M positions and
      divide the error by 4 C^2 M^2. `gram_matrix` has divided by C and M already, each image by its
      own M, so content and style image may differ in size.

    Args:
        gram: ``(N, C, C)``, from `gram_matrix`.
        target: ``(N, C, C)``, or ``(1, C, C)`` for all images.
        normalization: see this module.
    """
    error = (gram - target).square().sum((1, 2)).mean()
    if normalization == "relative":
        return error / target.square().sum((1, 2)).mean().clamp_min(1e-12)
    if normalization == "johnson":
        return error
    return error / 4


def total_variation(images: Tensor, normalization: Normalization = "relative") -> Tensor:
    """Return the squared differences between neighbouring pixels, down and across.

    Johnson et al. 2016, section 3.2, after Mahendran and Vedaldi 2015 with beta = 2.

    - ``relative``: the mean over vertical differences plus the mean over horizontal ones.
    - ``johnson`` and ``gatys``: the sum over all differences.

    Args:
        images: ``(N, 3, H, W)``.
        normalization: see this module.
    """
    images = images.float()
    down = (images[..., 1:, :] - images[..., :-1, :]).square().flatten(1)
    across = (images[..., :, 1:] - images[..., :, :-1]).square().flatten(1)
    if normalization == "relative":
        return (down.mean(1) + across.mean(1)).mean()
    return (down.sum(1) + across.sum(1)).mean()


def stability_loss(stylized: Tensor, again: Tensor) -> Tensor:
    """Compare two stylizations Y and Y' that should look the same: mean (Y - Y')^2 / var Y.

    Y' is stylized from a photo with noise (Zheng, Song, Leung and Goodfellow 2016, equation 1), or
    from one moved by a few pixels. A move reveals whatever a network paints in step with its own
    grid: checkerboards, and dots in flat areas. The loss leaves out a rim of 8 px, where one photo
    may show more than the other.

    Args:
        stylized, again: ``(N, 3, H, W)`` in [0, 1], each side longer than 16 px.
    """
    inside = (..., *2 * (slice(STABILITY_MARGIN, -STABILITY_MARGIN),))
    stylized, again = stylized[inside].float(), again[inside].float()
    # No gradient reaches the variance: contrast alone must not lower the loss.
    return (again - stylized).square().mean() / stylized.detach().var().clamp_min(1e-3)


def over_layers(losses: Sequence[Tensor], normalization: Normalization) -> Tensor:
    """Combine the losses of several layers.

    ``relative`` and ``gatys`` average them (Gatys et al. have w_l = 1/5 for their five layers),
    ``johnson`` sums them (section 3.2).

    Args:
        losses: a scalar for each layer, one or more.
        normalization: see this module.
    """
    stacked = torch.stack(list(losses))
    return stacked.sum() if normalization == "johnson" else stacked.mean()
