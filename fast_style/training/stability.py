"""The second look at a photo, whose stylization should be that of the first look."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE = 4  # px: the network's stride, so moves by fewer px leave its grid
KNOTS = 4  # along each side, of a bend's smooth field


class SecondLook(Protocol):
    """How the photo that is stylized twice changes in between.

    A step may be recorded as a CUDA graph. `draw` runs before it, `expected` is a part of it.
    """

    def draw(self, photo: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Change a photo at random.

        Args:
            photo: ``(1, 3, H, W)`` in [0, 1].
            rng: the only source of randomness.

        Returns:
            The changed photo, ``(1, 3, h, w)``, always of one size for photos of one size: cuDNN
            searches for the fastest convolution anew for each size. Noise may leave [0, 1].
            And where its pixels come from, for `expected`.
        """

    def expected(
        self, stylized: Tensor, photo: Tensor, changed: Tensor, view: Tensor, strength: Tensor
    ) -> Tensor:
        """Return what the stylization of the changed photo should be, ``(1, 3, h, w)``.

        Args:
            stylized: the stylized photo, ``(1, 3, H, W)``.
            photo, changed, view: as of `draw`.
            strength: strength of the style in [0, 1], ``()``.
        """


class Move:
    """Noise, and a move by 0 to 3 whole pixels.

    Args:
        noise: standard deviation, where 1 is the distance of black and white.
    """

    def __init__(self, noise: float = 0.02) -> None:
        self.noise = noise

    def draw(self, photo: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        device = photo.device
        top, left = rng.integers(0, STRIDE, 2).tolist()
        height, width = (side - STRIDE for side in photo.shape[2:])
        moved = photo[:, :, top : top + height, left : left + width]
        noise = torch.randn(moved.shape, generator=_generator(device, rng), device=device)
        start = [torch.full((), side, device=device) for side in (top, left)]
        return moved + self.noise * noise, torch.stack(start)

    def expected(
        self, stylized: Tensor, photo: Tensor, changed: Tensor, view: Tensor, strength: Tensor
    ) -> Tensor:
        rows, columns = (
            start + torch.arange(side, device=view.device)
            for start, side in zip(view, changed.shape[2:], strict=True)
        )
        return stylized.index_select(2, rows).index_select(3, columns)


class Warp:
    """What happens between two frames of a film: the camera moves, and the light changes.

    Ruder, Dosovitskiy and Brox 2016 and Gupta et al. 2017 compare frames of films, moved along
    optical flow. Here the motion is made, so that it is known exactly and needs no films: a move by
    up to 2 px, a zoom, a rotation and a smooth bend, all at random. The view is so much smaller
    than the photo that it never leaves it, so no pixel has to be masked.

    The paint should not follow the light: cameras change exposure and white balance by
    themselves, and paint that did the same would flicker as a whole. Below full strength, the
    photo shines through the paint, with its own light and noise.

    Args:
        noise: see `Move`.
        zoom: largest change of size: at 0.02, by up to 2 per cent, in [0, 0.1].
        rotation: largest angle in degrees, in [0, 5].
        bend: largest length of the bend along each axis, as a share of the side, in [0, 0.02].
        light: largest change of each colour's gain and of the gamma: at 0.1, by up to 10 per cent.
    """

    def __init__(
        self,
        noise: float = 0.02,
        zoom: float = 0.02,
        rotation: float = 1.0,
        bend: float = 0.008,
        light: float = 0.1,
    ) -> None:
        self.noise = noise
        self.zoom = zoom
        self.rotation = rotation
        self.bend = bend
        self.light = light

    def draw(self, photo: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        generator, device = _generator(photo.device, rng), photo.device

        def uniform(*shape: int) -> Tensor:
            return 2 * torch.rand(shape, generator=generator, device=device) - 1

        height, width = photo.shape[2:]
        margin_y, margin_x = self._margin(height, width), self._margin(width, height)
        y = torch.arange(margin_y, height - margin_y, device=device) - (height - 1) / 2
        x = torch.arange(margin_x, width - margin_x, device=device) - (width - 1) / 2
        y, x = torch.meshgrid(y, x, indexing="ij")
        scale = torch.exp(self.zoom * uniform())
        angle = math.radians(self.rotation) * uniform()
        turned = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()])
        move = STRIDE / 2 * uniform(2, 1, 1)
        knots = uniform(1, 2, KNOTS, KNOTS)
        smooth = F.interpolate(knots, x.shape, mode="bicubic", align_corners=True)[0].clamp(-1, 1)
        sides = torch.stack([torch.full((), side, device=device) for side in (width, height)])
        sides = sides.view(2, 1, 1)
        sources = scale * turned + move + self.bend * sides * smooth
        view = (sources / (sides - 1) * 2).permute(1, 2, 0).unsqueeze(0)
        gain, gamma = torch.exp(self.light * uniform(1, 3, 1, 1)), torch.exp(self.light * uniform())
        relit = (sampled(photo, view).clamp(0, 1) ** gamma * gain).clamp(0, 1)
        noise = torch.randn(relit.shape, generator=generator, device=device)
        return relit + self.noise * noise, view

    def _margin(self, side: int, other: int) -> int:
        """Even number of px that a view must stay away from the photo's edges along one side."""
        scale, angle = math.exp(self.zoom), math.radians(self.rotation)
        reach = (scale - 1) * side / 2 + scale * math.sin(angle) * other / 2
        return 2 * math.ceil((reach + STRIDE / 2 + self.bend * side) / 2)

    def expected(
        self, stylized: Tensor, photo: Tensor, changed: Tensor, view: Tensor, strength: Tensor
    ) -> Tensor:
        through = (1 - strength).float()
        return sampled(stylized, view) + through * (changed - sampled(photo, view))


def sampled(pictures: Tensor, view: Tensor) -> Tensor:
    """Look pictures up between their pixels, bicubically, which keeps strokes sharp.

    Args:
        pictures: ``(N, C, H, W)``.
        view: ``(N, h, w, 2)``: x and y, where -1 is the first pixel's centre and 1 the last one's.

    Returns:
        ``(N, C, h, w)``, float32.
    """
    return F.grid_sample(pictures.float(), view, mode="bicubic", align_corners=True)


def _generator(device: torch.device, rng: np.random.Generator) -> torch.Generator:
    """Numbers are drawn on their device: to receive them from the CPU, a GPU would first finish
    its work."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**63)))
