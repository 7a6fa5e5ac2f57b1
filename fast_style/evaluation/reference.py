"""The reference: L-BFGS, and its evaluations until it reaches the loss of a network."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fast_style.losses import PerceptualLoss
from fast_style.optimize.gatys import Evaluation, optimize


def reference_curve(
    loss: PerceptualLoss,
    photo: Tensor,
    target: float,
    evaluations: int,
    seed: int = 0,
    on_evaluation: Callable[[int], None] = lambda count: None,
) -> list[float]:
    """Run L-BFGS from white noise until it reaches a total loss (Johnson et al. 2016, section 4.1).

    Args:
        loss: a loss that has measured its style image.
        photo: content image, ``(1, 3, H, W)`` in [0, 1].
        target: total loss to reach.
        evaluations: limit on evaluations, including those of line searches.
        seed: seed of the noise, which is uniform in [0, 1].
        on_evaluation: callback for each evaluation, given the count so far.

    Returns:
        The lowest total after 1, 2, ... evaluations.
    """
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(seed)).to(photo)
    curve: list[float] = []

    def follow(evaluation: Evaluation) -> bool:
        curve.append(min([evaluation.losses["total"], *curve[-1:]]))
        on_evaluation(evaluation.count)
        return curve[-1] <= target

    optimize(photo, loss, noise, evaluations=evaluations, on_evaluation=follow)
    return curve


def evaluations_to_reach(curve: Sequence[float], total: float) -> int | None:
    """The evaluations that a reference curve took to reach a total; None if it did not.

    >>> evaluations_to_reach([9.0, 5.0, 2.0], total=6.0)
    2
    """
    return next((count for count, lowest in enumerate(curve, 1) if lowest <= total), None)


def median_evaluations(counts: Sequence[int | None]) -> float | None:
    """The median over photos; None if it is beyond the limit on evaluations.

    >>> median_evaluations([10, None, 20])
    20
    """
    median = statistics.median(math.inf if count is None else count for count in counts)
    return None if math.isinf(median) else median
