"""Where the kernels run: on GPUs on which Triton works and, for tests, on a CPU."""

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from fast_style.networks.kernels.activation import launch_biased_relu

log = logging.getLogger(__name__)

AVAILABLE = importlib.util.find_spec("triton") is not None
"""Whether Triton can be imported. It comes with PyTorch's CUDA wheels."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_on_cpu: ContextVar[bool] = ContextVar("on_cpu", default=False)


def serve(x: Tensor) -> bool:
    """Whether the kernels take a tensor.

    They take float32, bfloat16 and float16 on a GPU where Triton works. Inside `on_cpu` they take
    CPU tensors as well.
    """
    if not AVAILABLE or x.dtype not in DTYPES:
        return False
    if x.is_cuda:
        # Without a GPU, this is a fake tensor.
        return not torch.cuda.is_available() or _works(x.device)
    return x.device.type == "cpu" and _on_cpu.get()


@contextmanager
def on_cpu() -> Iterator[None]:
    """Let Triton's interpreter run the kernels on CPU tensors. It is slow, and meant for tests.

    Raises:
        RuntimeError: without Triton, or without ``TRITON_INTERPRET=1`` in the environment. Triton
            reads the variable when the first kernel is launched.
    """
    if not AVAILABLE or os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("kernels run on a CPU only with Triton and TRITON_INTERPRET=1")
    token = _on_cpu.set(True)
    try:
        yield
    finally:
        _on_cpu.reset(token)


@cache
def _works(device: torch.device) -> bool:
    """Whether a kernel can be launched. Triton needs a C compiler and Python's headers for that,
    which many machines lack."""
    try:
        with _disable_current_modes():
            x = torch.zeros(1, 1, 1, 1, device=device)
            launch_biased_relu(x, x[0, 0, 0])
    except Exception as error:  # of many kinds, from Triton, its C compiler and the driver
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        log.warning("Triton does not work here, PyTorch's slower operations serve: %s", reason)
        return False
    return True
