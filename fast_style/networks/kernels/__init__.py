"""Padding, instance norm and ReLU in few passes over memory, by Triton kernels on a GPU.

PyTorch needs about ten launches for a padding, and twice the necessary passes over memory for a
norm in channels_last. Here each function is one operation of the forward pass and one of the
backward pass. Results repeat bit for bit, nothing waits for the device, and a CUDA graph can record
all of it.

Call `serve` first. Where it returns False, use PyTorch's own operations.
"""

from fast_style.networks.kernels.activation import biased_relu
from fast_style.networks.kernels.norm import normalized
from fast_style.networks.kernels.padding import padded
from fast_style.networks.kernels.serving import AVAILABLE, on_cpu, serve

__all__ = ["AVAILABLE", "biased_relu", "normalized", "on_cpu", "padded", "serve"]
