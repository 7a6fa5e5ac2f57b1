"""The networks, and what is known of them without PyTorch, which takes seconds to import."""

from collections.abc import Mapping
from typing import Any

MIN_SIDE = 16
"""Pictures have at least so many px a side, for PyTorch's form of the network and OpenVINO's."""

MARGIN = 12
"""A photo gets so many reflected px on each side, which are cut off again behind the network: what
it paints at its own edges is dull and of another colour. A multiple of 4, the network's stride."""


def at_strength(weights: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """What an adjustable network's weights are at a strength of the style in [0, 1].

    Args:
        weights: tensors or arrays by name; ``NAME_slope`` says by how much ``NAME`` grows from
            strength 0 to 1, which is what it stands for.
        strength: see `ImageTransformer`.

    Returns:
        The weights of a network of the same shape that is not adjustable. What it paints is to be
        laid over the photo, as opaque as the style is strong.
    """
    return {
        name: weight - (1 - strength) * weights[f"{name}_slope"]
        if f"{name}_slope" in weights
        else weight
        for name, weight in weights.items()
        if not name.endswith("_slope")
    }
