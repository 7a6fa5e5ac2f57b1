"""Optimise a picture from coarse to fine (Gatys et al. 2017, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fast_style.errors import UserError
from fast_style.images import resize_picture, to_picture, to_tensor
from fast_style.losses import PerceptualLoss
from fast_style.optimize.gatys import Evaluation, Optimizer, optimize

COARSEST_SIDE = 128  # px, the least longer side of the first size
MIN_COARSE_SIDE = 64  # px, the least shorter side of either image at any size but the last
MIN_SIDE = 16  # px; VGG's fourth block sees nothing in a smaller picture


@dataclass(frozen=True)
class Settings:
    """How a picture is optimised.

    Args:
        size: longer side of the result in pixels.
        style_size: longer side of the style image in pixels at the last size, by default ``size``.
            The style image shrinks with the content image at the coarser sizes.
        optimizer: ``lbfgs`` or ``adam``, see `optimize`.
        iterations: evaluations of the loss at each size, including those of line searches.
        seed: seed of the noise to start from.
    """

    size: int
    style_size: int | None = None
    optimizer: Optimizer = "lbfgs"
    iterations: int = 50
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """The state of an optimisation after one more evaluation.

    Args:
        evaluation: evaluations so far over all sizes, this one included.
        done: share of the work that is done, in [0, 1]; an evaluation weighs as much as the pixels
            of its size.
        side: longer side of the picture at this size, in pixels.
        losses: by name, as `PerceptualLoss` returns them.
        picture: what was evaluated, ``(1, 3, H, W)`` in [0, 1].
    """

    evaluation: int
    done: float
    side: int
    losses: dict[str, float]
    picture: Tensor


OnProgress = Callable[[Progress], bool | None]
"""A callback for each evaluation. It ends the optimisation at all sizes by returning True."""


def sides(size: int) -> list[int]:
    """Longer sides from coarse to fine up to ``size``, each sqrt(2) times the one before.

    >>> sides(512)
    [128, 181, 256, 362, 512]
    """
    steps = max(0, math.floor(2 * math.log2(size / COARSEST_SIDE) + 1e-9))
    return [round(size / 2 ** (step / 2)) for step in range(steps, -1, -1)]


def optimize_coarse_to_fine(
    content: Image.Image,
    style: Image.Image,
    loss: PerceptualLoss,
    settings: Settings,
    start: Image.Image | str = "photo",
    precision: torch.dtype = torch.float32,
    on_progress: OnProgress | None = None,
) -> Image.Image:
    """Optimise a picture at growing sizes, each of which begins with the result of the last.

    Coarse sizes lay the broad strokes, where an evaluation is cheap.

    Args:
        content: content image, of mode "RGB".
        style: style image, of mode "RGB".
        loss: the loss, on the device to compute on; it measures the style at each size.
        settings: sizes, optimiser and seed.
        start: ``photo`` for the content image, ``noise`` for uniform noise, or a picture. A picture
            is optimised at the last size alone, as coarser sizes would lose its details.
        precision: precision of the loss network, see `optimize`.
        on_progress: callback, see `OnProgress`.

    Returns:
        The best picture, at the full size even if the callback ended the optimisation early.

    Raises:
        UserError: if an image is too narrow at this size.
    """
    device = loss.vgg.mean.device
    ratio = (settings.style_size or settings.size) / settings.size
    _check_side("the photo", content, settings.size)
    _check_side("the painting", style, round(settings.size * ratio))
    scales = _usable_sides(content, style, settings.size, ratio)
    if isinstance(start, Image.Image):
        scales = scales[-1:]
    meter = _Meter(scales, settings.iterations, on_progress)
    picture: Tensor | None = None
    for side in scales:
        photo = to_tensor(resize_picture(content, side)).unsqueeze(0)
        if picture is None:
            picture = _first_picture(start, photo, settings.seed)
        else:
            picture = _enlarge(picture, photo)
        style_image = to_tensor(resize_picture(style, round(side * ratio))).unsqueeze(0)
        loss.set_style_image(style_image.to(device))
        picture = optimize(
            photo.to(device),
            loss,
            picture.to(device),
            settings.optimizer,
            settings.iterations,
            meter.at(side),
            precision,
        )
        if meter.stopped:
            break
    assert picture is not None
    full = resize_picture(content, settings.size).size  # larger only after an early end
    return to_picture(picture[0]).resize(full, Image.Resampling.LANCZOS)


class _Meter:
    """Counts evaluations over all sizes, and reports them."""

    def __init__(self, scales: list[int], iterations: int, on_progress: OnProgress | None) -> None:
        self.work = sum(side**2 for side in scales)
        self.iterations = iterations
        self.on_progress = on_progress
        self.evaluations = 0
        self.worked = 0
        self.stopped = False

    def at(self, side: int) -> Callable[[Evaluation], bool]:
        """The callback for `optimize` at the next size."""
        before = self.worked
        self.worked += side**2

        def report(evaluation: Evaluation) -> bool:
            self.evaluations += 1
            if self.on_progress is not None:
                done = (before + side**2 * evaluation.count / self.iterations) / self.work
                progress = Progress(
                    self.evaluations, done, side, evaluation.losses, evaluation.picture
                )
                self.stopped = bool(self.on_progress(progress))
            return self.stopped

        return report


def _usable_sides(content: Image.Image, style: Image.Image, size: int, ratio: float) -> list[int]:
    return [
        side
        for side in sides(size)
        if side == size
        or min(shorter_side(content, side), shorter_side(style, side * ratio)) >= MIN_COARSE_SIDE
    ]


def _first_picture(start: Image.Image | str, photo: Tensor, seed: int) -> Tensor:
    if isinstance(start, Image.Image):
        size = (photo.shape[-1], photo.shape[-2])
        return to_tensor(start.resize(size, Image.Resampling.LANCZOS)).unsqueeze(0)
    if start == "noise":
        return torch.rand(photo.shape, generator=torch.Generator().manual_seed(seed))
    return photo


def _enlarge(picture: Tensor, like: Tensor) -> Tensor:
    larger = F.interpolate(picture, like.shape[-2:], mode="bicubic", align_corners=False)
    return larger.clamp(0, 1)


def shorter_side(picture: Image.Image, longer: float) -> float:
    """The shorter side of a picture once its longer side is scaled to ``longer`` pixels."""
    return longer * min(picture.size) / max(picture.size)


def _check_side(name: str, picture: Image.Image, longer: int) -> None:
    if shorter_side(picture, longer) < MIN_SIDE:
        raise UserError(
            f"{name} is too narrow: at a longer side of {longer} px, its shorter side is below "
            f"{MIN_SIDE} px; choose a larger size, or crop it"
        )
