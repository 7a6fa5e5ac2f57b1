"""Paint in the photo's own colours (Gatys, Bethge, Hertzmann and Shechtman 2016, "Preserving Color
in Neural Artistic Style Transfer").

Gatys et al. recolour the painting before they paint with it. A network has learned its painting's
colours and gives them to a photo of any colours. So here the colours of what it painted are
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fast_style.images.floats import Kind, Picture, size_of, values_in
from fast_style.stylizing.strips import made_in_strips, strips

Array = NDArray[Any]
Recolor = Callable[[Array, Array], Array]

Preserve = Literal["luminance", "histogram"]
PRESERVE: tuple[str, ...] = get_args(Preserve)

# OKLab (Ottosson 2020, "A perceptual color space for image processing"): linear sRGB to the
# responses of cones, and their cube roots to lightness and two axes of chroma.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
FROM_CONES = np.linalg.inv(TO_CONES)
FROM_LAB = np.linalg.inv(TO_LAB)

# Halvings of the interval in which the largest chroma lies: 10 leave less than a level.
CHROMA_STEPS = 10

# A flat painting has little variance in some direction of colour. Multiplied by more than this, its
# grain would show.
MOST_GAIN = 2.0


def preserve_color(photo: Kind, painted: Kind, how: Preserve) -> Kind:
    """Give a painted picture the photo's colours.

    Args:
        photo: a picture of mode "RGB" or of floats.
        painted: its stylized version, of the same size.
        how: ``luminance`` keeps hue and chroma of each pixel of the photo and takes only the
            lightness from what was painted (`keep_chroma`). ``histogram`` gives the painted colours
            the photo's mean and covariance (`match_colors`).

    >>> from PIL import Image
    >>> photo = Image.new("RGB", (64, 48), "orange")
    >>> preserve_color(photo, Image.new("RGB", (64, 48), "gray"), "luminance").getpixel((0, 0))
    (176, 112, 1)
    """
    recolor: Recolor = keep_chroma
    if how == "histogram":
        recolor = match_colors(
            ColorStatistics.of_picture(photo), ColorStatistics.of_picture(painted)
        )
    return made_in_strips(
        photo, lambda box: recolor(values_in(photo, box), values_in(painted, box))
    )


def keep_chroma(photo: Array, painted: Array) -> Array:
    """Combine the lightness of painted pixels with the hue and chroma of the photo's, in OKLab.

    Where sRGB has no colour of that lightness and chroma, chroma is reduced; lightness and hue
    stay. OKLab was compared with CIELAB, which turns blue skies purple, and with YCbCr, which
    leaves light colours pale.

    Args:
        photo: ``(H, W, 3)``, uint8 or float in [0, 1].
        painted: the same.

    Returns:
        ``(H, W, 3)``, float32 in [0, 1].
    """
    lightness = _roots(painted) @ TO_LAB[0]
    chroma = _roots(photo) @ TO_LAB[1:].T @ FROM_LAB[:, 1:].T  # what it adds to the cones' roots
    # All first entries of FROM_LAB are 1: the roots of a grey are its lightness.
    light = _light(lightness, chroma)
    outside = ((light < -1e-4) | (light > 1 + 1e-4)).any(axis=-1)
    light[outside] = _light_in_gamut(lightness[outside], chroma[outside])
    return _encoded(light)


def _light_in_gamut(lightness: Array, chroma: Array) -> Array:
    """Linear sRGB of the largest share of each colour's chroma that sRGB has at this lightness."""
    least, most = np.zeros_like(lightness), np.ones_like(lightness)
    for _ in range(CHROMA_STEPS):
        middle = (least + most) / 2
        light = _light(lightness, chroma * middle[:, None])
        inside = ((light >= 0) & (light <= 1)).all(axis=-1)
        least, most = np.where(inside, middle, least), np.where(inside, most, middle)
    return _light(lightness, chroma * least[:, None])


def _light(lightness: Array, chroma: Array) -> Array:
    roots = lightness[..., None] + chroma
    return roots * roots * roots @ FROM_CONES.T


def _roots(values: Array) -> Array:
    """Cube roots of the cones' responses to sRGB values."""
    light = _decoding()[values] if values.dtype == np.uint8 else _decoded(values)
    return np.cbrt(light @ TO_CONES.T)


@cache
def _decoding() -> Array:
    return _decoded(np.arange(256) / 255)


def _decoded(values: Array) -> Array:
    """Linear light of sRGB values (IEC 61966-2-1)."""
    values = values.clip(0, 1).astype(np.float32)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encoded(light: Array) -> Array:
    light = light.clip(0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return encoded.astype(np.float32)


@dataclass(frozen=True)
class ColorStatistics:
    """Mean and covariance of a picture's sRGB values in [0, 1].

    Args:
        mean: ``(3,)``.
        covariance: ``(3, 3)``.
    """

    mean: Array
    covariance: Array

    @classmethod
    def of(cls, parts: Iterable[Array]) -> ColorStatistics:
        """Measure all parts of a picture: arrays ``(..., 3)``, uint8 or float in [0, 1]."""
        count, first, second = 0, np.zeros(3), np.zeros((3, 3))
        for part in parts:
            values = part.reshape(-1, 3).astype(np.float64)
            if part.dtype == np.uint8:
                values /= 255
            count += len(values)
            first += values.sum(axis=0)
            second += values.T @ values
        mean = first / count
        return cls(mean, second / count - np.outer(mean, mean))

    @classmethod
    def of_picture(cls, picture: Picture) -> ColorStatistics:
        """Measure a picture of mode "RGB" or of floats."""
        return cls.of(values_in(picture, box) for box in strips(size_of(picture)))


def match_colors(photo: ColorStatistics, painted: ColorStatistics) -> Recolor:
    """Return a function that gives painted colours the photo's mean and covariance.

    Gatys et al. (2016, section 5.1) leave open which of the matrices A with
    A C_painted Aᵀ = C_photo to take. This is the one that moves colours least, the linear
    Monge-Kantorovitch map of Pitié and Kokaram (2007); the paper's two choices amplify more.

    Returns:
        A function of the photo, which it ignores, and of painted values ``(H, W, 3)``, uint8 or
        float in [0, 1]; it gives float32 in [0, 1].
    """
    root = _root(painted.covariance + 1e-8 * np.eye(3))
    inverse = np.linalg.inv(root)
    matrix = inverse @ _root(root @ photo.covariance @ root) @ inverse
    gains, directions = np.linalg.eigh(matrix)
    matrix = (directions * gains.clip(0, MOST_GAIN)) @ directions.T
    shift = photo.mean - matrix @ painted.mean

    def recolor(_: Array, values: Array) -> Array:
        scale = 255 if values.dtype == np.uint8 else 1
        moved = values.astype(np.float32) @ (matrix.T / scale).astype(np.float32)
        moved += shift.astype(np.float32)
        return moved.clip(0, 1, out=moved)

    return recolor


def _root(covariance: Array) -> Array:
    """The symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
