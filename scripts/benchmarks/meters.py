"""Time, memory and the machine, measured inside of a worker.

Devices are given by name. On "cpu", nothing here imports PyTorch.
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WARM_UP = 2  # calls that are not timed
# On a GPU, the first three steps of each kind run as they are, and the next is recorded.
WARM_UP_ON_GPU = 10


def start_torch(device: str) -> torch.device:
    """Seed PyTorch and find a device.

    Raises:
        UserError: if this machine has no such device.
    """
    import torch

    from fast_style.devices import find_device

    torch.manual_seed(0)
    return find_device(device)


def warm_up_steps(device: str) -> int:
    """Training steps to take before timed ones."""
    return WARM_UP if device == "cpu" else WARM_UP_ON_GPU


def seconds_of(call: Callable[[], object], device: str) -> float:
    """Seconds until the device has done what the call asked for."""

    def synchronize() -> None:
        if device != "cpu":
            import torch

            torch.accelerator.synchronize(torch.device(device))

    synchronize()
    started = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - started


def reset_peak(device: str) -> int:
    """Forget the peak of a GPU's memory.

    Returns:
        Bytes in use now: allocated on the GPU, or resident of this process.
    """
    import psutil

    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    rss: int = psutil.Process().memory_info().rss
    return rss


def peak(device: str) -> int:
    """Most bytes in use: on a GPU since `reset_peak`, or resident since the process began."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe_machine(device: str) -> str:
    """A worker: processor, cores, release of PyTorch, and the GPU if that is the device."""
    import psutil

    from fast_style.devices import usable_cores

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(": ")[2] if names else processor
    parts = [
        f"{processor}, {psutil.cpu_count()} logical cores, {usable_cores()} usable",
        f"torch {metadata.version('torch')}",
    ]
    if device != "cpu":
        import torch

        parts.append(torch.cuda.get_device_name(start_torch(device)))
    return "; ".join(parts)


def has_cuda() -> bool:
    """A worker: whether PyTorch finds a GPU."""
    import torch

    return torch.cuda.is_available()


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB, for values in [0, 1]."""
    mse = (first.double() - second.double()).square().mean()
    return float(-10 * mse.clamp_min(1e-20).log10())
