"""Styles between styles: networks of one shape, their weights interpolated.

It works for networks that were trained from the same start, as all shipped ones are: their channels
mean the same. Between others it gives fog, because channel 7 of one has nothing to do with channel
7 of the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fast_style.checkpoint import StyleFile, find_style, read_style, style_name
from fast_style.errors import UserError

Blend = Mapping[str, float]
"""Styles, by name or path, and their shares. Shares need not add up to 1."""

Style = str | Path | Blend


def read_blend(style: Style) -> StyleFile:
    """Read a style, or blend several.

    Raises:
        UserError: as `read_style`, or if the networks have different shapes.
        ValueError: if the shares are negative, all 0, or no finite numbers.

    >>> blend = read_blend({"wave": 3, "starry-night": 1})
    >>> blend.name
    'wave75-starry-night25'
    """
    if not isinstance(style, Mapping):
        return read_style(style)
    shares = _normalized(style)
    found = {name: read_style(name) for name in shares}
    if len({each.config["adjustable"] for each in found.values()}) > 1:
        found = {name: each.at_strength(1) for name, each in found.items()}
    (first_name, first), *others = found.items()
    for name, other in others:
        if other.plan != first.plan:
            raise UserError(
                f"styles '{first_name}' and '{name}' cannot be blended: their networks have "
                f"different shapes, {_shape(first)} and {_shape(other)}; blend styles that were "
                "trained with the same model"
            )
    weights = {
        tensor: _weighted_sum([each.weights[tensor] for each in found.values()], shares)
        for tensor in first.weights
    }
    recipe = {"blend": shares}
    return replace(first, weights=weights, name=blend_name(style), recipe=recipe, losses={})


def _normalized(blend: Blend) -> dict[str, float]:
    total = sum(blend.values())
    if not all(share >= 0 for share in blend.values()) or not 0 < total < math.inf:
        raise ValueError(f"shares of a blend are numbers of at least 0, not all 0, not {blend}")
    return {name: share / total for name, share in blend.items()}


def _weighted_sum(arrays: list[NDArray[np.float32]], shares: Blend) -> NDArray[np.float32]:
    total = sum(
        np.float32(share) * array for array, share in zip(arrays, shares.values(), strict=True)
    )
    return np.asarray(total, np.float32)


def _shape(style: StyleFile) -> str:
    config = {key: value for key, value in style.config.items() if key != "adjustable"}
    return ", ".join(f"{key}={value}" for key, value in config.items())


def blend_name(blend: Blend) -> str:
    """Return names and percentages, as part of file names.

    Raises:
        UserError: if there is no such style.

    >>> blend_name({"wave": 0.6, "small/wave": 0.4})
    'wave60-small-wave40'
    """
    return "-".join(
        f"{style_name(find_style(style))}{round(100 * share)}"
        for style, share in _normalized(blend).items()
    )


def parse_blend(text: str) -> dict[str, float]:
    """Read ``wave:0.6,starry-night:0.4``; a style without a number has a share of 1.

    Raises:
        ValueError: with a sentence that says what is wrong.

    >>> parse_blend("wave:0.6,starry-night:0.4")
    {'wave': 0.6, 'starry-night': 0.4}
    """
    blend: dict[str, float] = {}
    for part in text.split(","):
        name, colon, share = (word.strip() for word in part.rpartition(":"))
        if not colon or share.startswith("//"):  # the colon of hf://owner/name
            name, share = part.strip(), "1"
        if not name:
            raise ValueError(
                f"'{text}' has a part without a style: write wave:0.6,starry-night:0.4"
            )
        if name in blend:
            raise ValueError(f"'{text}' names {name} twice: give each style one share")
        blend[name] = _share(name, share)
    try:
        _normalized(blend)
    except ValueError:
        raise ValueError(f"'{text}' needs shares of at least 0, not all 0") from None
    return blend


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not math.isfinite(share):
        raise ValueError(
            f"the share '{text}' of '{name}' is not a number: write wave:0.6,starry-night:0.4"
        )
    return share


def style_files(styles: tuple[str, ...], blend: Blend | None) -> dict[Path, Style]:
    """Return each style once, by its file; a blend by a file that is not there and names it.

    Raises:
        UserError: if there is no such style.
    """
    if blend is None:
        return {_place(style): style for style in styles}
    first, *_ = map(_place, blend)
    return {first.with_name(f"{blend_name(blend)}.blend"): blend}


def _place(style: str) -> Path:
    # The file may be a link, whose own name tells the style: a cache of downloads has such links.
    path = find_style(style)
    return path.parent.resolve() / path.name
