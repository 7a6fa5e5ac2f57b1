"""The slow reference: a picture itself is optimised, and no network trained (Gatys et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from fast_style.errors import UserError
from fast_style.losses import PerceptualLoss

Optimizer = Literal["lbfgs", "adam"]
OnEvaluation = Callable[[int, dict[str, float], Tensor], bool | None]
"""Called after each evaluation with how many there were, its losses as `PerceptualLoss` names them,
and its picture ``(N, 3, H, W)`` in [0, 1], which changes afterwards. True ends the optimisation."""


def optimize(
    photos: Tensor,
    loss: PerceptualLoss,
    start: Tensor,
    optimizer: Optimizer = "lbfgs",
    evaluations: int = 500,
    on_evaluation: OnEvaluation | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Lower the total loss of a picture by changing its pixels.

    Args:
        photos: ``(N, 3, H, W)`` in [0, 1], on the loss's device.
        loss: its style measured.
        start: what is changed, of the photos' shape; itself it stays as it is.
        optimizer: ``lbfgs`` (strong Wolfe line search, history of 10) or ``adam`` (step 0.02).
        evaluations: of the loss with its gradient, at most; those of line searches count as well.
            Fewer only where L-BFGS finds no lower point any more.
        on_evaluation: see `OnEvaluation`.
        precision: of the loss network; bfloat16 is autocast, losses and pixels stay float32.

    Returns:
        The picture of the lowest total among all evaluated, ``(N, 3, H, W)`` in [0, 1].

    Raises:
        UserError: for an unknown optimiser.
    """
    if optimizer not in ("lbfgs", "adam"):
        raise UserError(f"optimizer '{optimizer}' is unknown: choose lbfgs or adam")
    device = photos.device.type
    autocast = torch.autocast(device, precision, enabled=precision != torch.float32)
    with autocast:
        targets = loss.content_of(photos)
    # L-BFGS views gradients as flat, which channels_last ones cannot be.
    pixels = start.detach().float().clone(memory_format=torch.contiguous_format).requires_grad_()
    best, lowest, count, scale = start.detach(), float("inf"), 0, 1.0

    def evaluate() -> Tensor:
        nonlocal best, lowest, count, scale
        # Pixels are kept in range where the loss sees them, as Johnson et al. 2016, section 4.1,
        # do it for this comparison ("projected L-BFGS").
        with torch.no_grad():
            pixels.clamp_(0, 1)
        with autocast:
            losses = loss.against(targets, pixels)
        if count == 0:
            # L-BFGS has absolute tolerances: a total that starts at 1 suits them whatever the
            # weights and normalisation.
            scale = 1 / losses["total"].item()
        pixels.grad = None
        (losses["total"] * scale).backward()
        count += 1
        found = {name: value.item() for name, value in losses.items()}
        if found["total"] < lowest:
            best, lowest = pixels.detach().clone(), found["total"]
        stop = on_evaluation is not None and on_evaluation(count, found, pixels.detach())
        if stop or count == evaluations:
            raise _Enough
        return losses["total"] * scale

    try:
        if optimizer == "adam":
            adam = torch.optim.Adam([pixels], lr=0.02)
            while True:
                adam.step(evaluate)
        improved = True
        while improved:
            before = lowest
            torch.optim.LBFGS(
                [pixels],
                max_iter=evaluations,
                max_eval=evaluations,
                history_size=10,
                line_search_fn="strong_wolfe",
                tolerance_grad=0,
            ).step(evaluate)
            improved = lowest < before
    except _Enough:
        pass
    return best


class _Enough(Exception):
    """Leaves an optimiser from inside a line search."""
