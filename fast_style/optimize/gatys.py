"""Gatys' algorithm: lower the perceptual loss of a picture by changing its pixels.

Gatys, Ecker and Bethge 2015, "A Neural Algorithm of Artistic Style", and 2016, "Image Style
Transfer Using Convolutional Neural Networks", section 2.3. Feed-forward networks approximate in one
pass what this finds in hundreds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fast_style.errors import UserError
from fast_style.losses import PerceptualLoss

Optimizer = Literal["lbfgs", "adam"]

ADAM_STEP = 0.02  # of the range of a pixel, [0, 1]
LBFGS_HISTORY = 10  # updates that approximate the Hessian

# The first step of torch's L-BFGS has length 1, summed over all variables: far too short for
# thousands of pixels. In a unit of 0.01 a pixel, it moves each by a hundredth on average.
UNIT_PER_PIXEL = 0.01


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the loss and its gradient.

    Args:
        count: evaluations so far, this one included.
        losses: by name, as `PerceptualLoss` returns them.
        picture: what was evaluated, ``(N, 3, H, W)`` in [0, 1].
    """

    count: int
    losses: dict[str, float]
    picture: Tensor


OnEvaluation = Callable[[Evaluation], bool | None]
"""A callback for each evaluation. It ends the optimisation by returning True."""


def optimize(
    content: Tensor,
    loss: PerceptualLoss,
    start: Tensor,
    optimizer: Optimizer = "lbfgs",
    evaluations: int = 500,
    on_evaluation: OnEvaluation | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Minimise the total loss over the pixels of a picture (Gatys et al. 2015, equation 7).

    Each evaluation, also one of a line search, first projects the pixels onto [0, 1], as Johnson et
    al. 2016, section 4.1, do for their comparison.

    Args:
        content: content images, ``(N, 3, H, W)`` in [0, 1], on the device of the loss.
        loss: a loss that has measured its style image.
        start: the pictures to begin with, of the shape of ``content``; not modified.
        optimizer: ``lbfgs`` (strong Wolfe line search) or ``adam``.
        evaluations: limit on evaluations of the loss and its gradient, at least 1, including those
            of line searches. L-BFGS needs fewer only if it finds no lower point.
        on_evaluation: callback, see `OnEvaluation`.
        precision: precision of the loss network. Losses, pixels and optimiser stay in float32.

    Returns:
        The evaluated pictures with the lowest total loss, ``(N, 3, H, W)`` in [0, 1].

    Raises:
        UserError: if the optimiser is unknown.

    >>> loss = PerceptualLoss("vgg16", "bundled", ["relu2_2"], ["relu1_1", "relu2_1"])
    >>> content, style = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> loss.set_style_image(style)
    >>> picture = optimize(content, loss, start=content, evaluations=5)
    >>> picture.shape
    torch.Size([1, 3, 32, 32])
    >>> bool(loss(picture, content)["total"] < loss(content, content)["total"])
    True
    """
    if optimizer not in get_args(Optimizer):
        raise UserError(f"optimizer '{optimizer}' is unknown: choose lbfgs or adam")
    objective = _PixelObjective(content, loss, start, evaluations, on_evaluation, precision)
    try:
        if optimizer == "adam":
            _run_adam(objective)
        else:
            _run_lbfgs(objective)
    except _Stop:
        pass
    return objective.best.clamp(0, 1)  # the change of unit rounds


def _run_adam(objective: _PixelObjective) -> None:
    adam = torch.optim.Adam([objective.variables], lr=ADAM_STEP / objective.unit)
    while True:
        adam.step(objective)


def _run_lbfgs(objective: _PixelObjective) -> None:
    improved = True
    while improved:  # L-BFGS gives up early after a failed line search: begin a new history
        lowest = objective.lowest
        torch.optim.LBFGS(
            [objective.variables],
            max_iter=objective.evaluations,
            max_eval=objective.evaluations,
            history_size=LBFGS_HISTORY,
            line_search_fn="strong_wolfe",
            tolerance_grad=0,
        ).step(objective)
        improved = objective.lowest < lowest


class _PixelObjective:
    """The loss as a function of pixels: a closure for `torch.optim` that remembers the best."""

    def __init__(
        self,
        content: Tensor,
        loss: PerceptualLoss,
        start: Tensor,
        evaluations: int,
        on_evaluation: OnEvaluation | None,
        precision: torch.dtype,
    ) -> None:
        self.loss = loss
        self.evaluations = evaluations
        self.on_evaluation = on_evaluation
        self.autocast = torch.autocast(
            content.device.type, precision, enabled=precision != torch.float32
        )
        with self.autocast:
            self.targets = loss.targets_for(content)
        self.unit = UNIT_PER_PIXEL * start.numel()
        self.variables = (start.detach().float() / self.unit).contiguous().requires_grad_()
        self.count = 0
        self.scale = 1.0
        self.best = start.detach()
        self.lowest = float("inf")

    def __call__(self) -> Tensor:
        with torch.no_grad():
            self.variables.clamp_(0, 1 / self.unit)
        picture = self.variables * self.unit
        with self.autocast:
            losses = self.loss.compare(picture, self.targets)
        if self.count == 0:
            # The tolerances of L-BFGS are absolute. A total that starts at 1 suits them, whatever
            # the weights and the normalisation of the loss.
            self.scale = 1 / losses["total"].item()
        scaled = losses["total"] * self.scale
        self.variables.grad = None
        scaled.backward()
        self._record(Evaluation(self.count + 1, _numbers(losses), picture.detach()))
        return scaled

    def _record(self, evaluation: Evaluation) -> None:
        self.count = evaluation.count
        if evaluation.losses["total"] < self.lowest:
            self.best, self.lowest = evaluation.picture, evaluation.losses["total"]
        stop = self.on_evaluation is not None and self.on_evaluation(evaluation)
        if stop or self.count == self.evaluations:
            raise _Stop


def _numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items()}


class _Stop(Exception):
    """Leaves an optimiser, even from inside a line search."""
