"""Losses: pure functions, the terms made of them, and the weighted sum that training lowers."""

from fast_style.losses.functional import (
    Normalization,
    content_loss,
    gram_matrix,
    stability_loss,
    style_loss,
    total_variation,
)
from fast_style.losses.perceptual import PerceptualLoss
from fast_style.losses.terms import EncodedImages, LossTerm, PairTerm

__all__ = [
    "EncodedImages",
    "LossTerm",
    "Normalization",
    "PairTerm",
    "PerceptualLoss",
    "content_loss",
    "gram_matrix",
    "stability_loss",
    "style_loss",
    "total_variation",
]
