"""The image transformation network and VGG, with their kernels for GPUs.

What is re-exported here needs no PyTorch.
"""

from fast_style.networks.plan import (
    MARGIN,
    MIN_SIDE,
    Layer,
    Plan,
    Upsampling,
    at_strength,
    plan_network,
)

__all__ = ["MARGIN", "MIN_SIDE", "Layer", "Plan", "Upsampling", "at_strength", "plan_network"]
