"""What a machine computes with: its devices, their precision, its cores and its memory.

PyTorch takes seconds to import, so only the functions that need it import it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from fast_style.errors import UserError
from fast_style.extras import installed, need

if TYPE_CHECKING:
    import torch
    from torch import nn

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

# Device files of the GPUs that PyTorch can use on Linux: NVIDIA's (the middle three on a Jetson),
# AMD's, and Windows' within its subsystem for Linux.
_GPU_FILES = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "kfd", "dxg")

# Parameters of mallopt, as malloc.h numbers them.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4

# How libraries report a lack of memory. The last is PyTorch's, when its first import ran out of it.
_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|out of memory|not enough memory|can(?:'t|not) alloc|"
    r"(?:failed|unable) to allocate|failed to map segment|can't start new thread|"
    r"torch. can only be initialized once",
    re.IGNORECASE,
)


# --- devices ---


def is_cpu(device: str) -> bool:
    """Whether a device is certainly the CPU, found out without PyTorch.

    >>> is_cpu("cpu"), is_cpu("cuda:0")
    (True, False)
    """
    if device != "auto":
        return device in ("cpu", "cpu:0")
    return not installed("torch") or (sys.platform == "linux" and not _has_gpu_files())


def gpu_is_idle() -> bool:
    """Whether ``auto`` means the CPU only because PyTorch, which would use the GPU, is missing."""
    return sys.platform == "linux" and _has_gpu_files() and not installed("torch")


def _has_gpu_files() -> bool:
    return any(next(Path("/dev").glob(pattern), None) for pattern in _GPU_FILES)


def find_device(device: str) -> torch.device:
    """The device of a name such as ``cpu`` or ``cuda:0``; ``auto`` prefers a GPU.

    Raises:
        UserError: if this machine does not have the device, or PyTorch is missing.

    >>> find_device("cpu")
    device(type='cpu')
    """
    need("train", f"devices other than cpu, such as '{device}',", "torch")
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found).cpu()  # fails for "meta", which holds no numbers
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UserError(
            f"device '{device}' cannot be used on this machine: try --device auto or cpu"
        ) from error
    return found


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies bf16. Emulated, bf16 is slower than float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def best_precision(accelerator: str) -> str:
    """Lightning's fastest precision for training: ``bf16-mixed`` or ``32-true``.

    Args:
        accelerator: Lightning's name of the hardware: ``auto``, ``cpu``, ``gpu``, ``cuda`` or
            ``mps``.
    """
    import torch

    if accelerator in ("gpu", "cuda"):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        device = find_device(accelerator)
    return "bf16-mixed" if computes_in_bf16(device) else "32-true"


def tune_for(device: torch.device, network: nn.Module) -> None:
    """Set this process and a network up for fast training on a device."""
    if device.type == "cuda":
        import torch

        tune_for_cuda(network)
        # Tensor cores multiply float32 only as TF32. Gram matrices lose nothing by it, because
        # their factors are features in bf16.
        torch.set_float32_matmul_precision("high")
    elif device.type == "cpu" and sys.platform == "linux":
        # By default glibc returns each large tensor to the system when it is freed, and the next
        # step waits for zeroed pages. Other C libraries have no mallopt.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def tune_for_cuda(network: nn.Module) -> None:
    """Change a network for training on CUDA: lay it out as tensor cores read it.

    Put every change of the network for CUDA here, because tests call this on a CPU.
    """
    import torch

    network.to(memory_format=torch.channels_last)


# --- cores and memory ---


def usable_cores() -> int:
    """The number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """The memory in bytes that this process can still allocate.

    That is what the machine has free, within the limits of the process (``ulimit -v`` and ``-d``)
    and of its container (control groups).

    >>> available_memory() <= psutil.virtual_memory().total
    True
    """
    free = [psutil.virtual_memory().available, *cgroup_memory_left()]
    if resource is not None:
        used = psutil.Process().memory_info()
        for limit, taken in (
            (resource.RLIMIT_AS, used.vms),
            (resource.RLIMIT_DATA, getattr(used, "data", 0)),
        ):
            soft, _ = resource.getrlimit(limit)
            if soft != resource.RLIM_INFINITY:
                free.append(soft - taken)
    return max(0, min(free))


def cgroup_memory_left(
    own: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """The memory in bytes that each limit of Linux's control groups leaves to this process.

    Groups of both versions count: the group of this process and those above it.

    Args:
        own: the list of the groups of this process.
        mounted: the folder that the control groups are mounted at.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots = [mounted, mounted / "unified"]
            names = ("memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            roots = [mounted / "memory"]
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        for root in roots:
            group = root / path.lstrip("/")
            above = [folder for folder in group.parents if root in folder.parents]
            # A container may find the files of its own group at the root, whatever its path.
            for folder in (group, *above, root):
                left = _left_in_cgroup(folder, *names)
                if left is not None:
                    yield left


def _left_in_cgroup(folder: Path, limit: str, usage: str, prefix: str) -> int | None:
    """None if the group has no limit or does not exist."""
    try:
        maximum = (folder / limit).read_text().strip()
        if not maximum.isdigit():  # "max"
            return None
        used = int((folder / usage).read_text())
        statistics = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
    except (OSError, ValueError):
        return None
    # The system drops cached files before it refuses memory.
    cached = sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    return int(maximum) - used + cached


def short_of_memory(error: BaseException) -> bool:
    """Whether an error reports a lack of memory, in the words of any library.

    >>> short_of_memory(RuntimeError("CUDA out of memory"))
    True
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, (RuntimeError, OSError, ImportError)) and bool(
        _OUT_OF_MEMORY.search(str(error))
    )
