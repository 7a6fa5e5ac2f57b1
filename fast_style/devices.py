"""What a machine has to compute with: its devices and their precision, its cores, its memory.

PyTorch, which takes seconds to import, is imported only where a function cannot do without.
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

if TYPE_CHECKING:
    import torch

    from fast_style.networks.transformer import ImageTransformer

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]


def is_cpu(device: str) -> bool:
    """Whether that is the CPU for sure, found out without PyTorch."""
    if device != "auto":
        return device in ("cpu", "cpu:0")
    # Where Linux drives a GPU that PyTorch can use, there is one of these: NVIDIA's (also of a
    # Jetson), AMD's, or Windows' around Linux. Elsewhere, PyTorch is asked.
    drivers = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "kfd", "dxg")
    return sys.platform == "linux" and not any(
        next(Path("/dev").glob(driver), None) for driver in drivers
    )


def find_device(device: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Raises:
        UserError: if this machine has no such device.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found).cpu()  # "meta" only pretends
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UserError(
            f"device '{device}' cannot be used on this machine: try --device auto or cpu"
        ) from error
    return found


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 itself; emulated, it is slower than float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def best_precision(accelerator: str) -> str:
    """Lightning's precision for ``cpu``, ``gpu`` or ``auto``: ``bf16-mixed`` where the hardware
    multiplies bf16 itself, ``32-true`` elsewhere."""
    import torch

    if accelerator in ("gpu", "cuda"):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        device = find_device(accelerator)
    return "bf16-mixed" if computes_in_bf16(device) else "32-true"


def tune_for(device: torch.device, network: ImageTransformer) -> None:
    """Set this process and a network up to train fast on a device."""
    if device.type == "cuda":
        import torch

        tune_for_cuda(network)
        # Tensor cores multiply float32 only as TF32, in which products of bf16 features (Gram
        # matrices) lose nothing.
        torch.set_float32_matmul_precision("high")
    elif device.type == "cpu" and sys.platform == "linux":
        # glibc would give each large tensor back to the system when it is freed, and the next step
        # would get the memory page by page, filled with zeros. Other C libraries have no mallopt.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def tune_for_cuda(network: ImageTransformer) -> None:
    """Lay a network out as tensor cores read it. Tests do this on a CPU: whatever is done to a
    network for CUDA belongs here."""
    import torch

    network.to(memory_format=torch.channels_last)


# As malloc.h numbers them.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def usable_cores() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes of memory that this process may still take: what the machine has free, within the
    limits of the process itself (``ulimit -v`` and ``-d``) and of its container (cgroups)."""
    free = [psutil.virtual_memory().available, *_left_of_cgroups()]
    if resource is not None:
        taken = psutil.Process().memory_info()
        for limit, used in (
            (resource.RLIMIT_AS, taken.vms),
            (resource.RLIMIT_DATA, getattr(taken, "data", 0)),
        ):
            soft, _ = resource.getrlimit(limit)
            if soft != resource.RLIM_INFINITY:
                free.append(soft - used)
    return max(0, min(free))


def _left_of_cgroups(
    own: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """What is left of each memory limit of Linux's control groups, of both versions: of the group
    of this process and of those above it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # another system
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
            # In a container, the group's own files may lie at the root, whatever its path.
            for folder in (
                group,
                *(above for above in group.parents if root in above.parents),
                root,
            ):
                left = _left_of_cgroup(folder, *names)
                if left is not None:
                    yield left


def _left_of_cgroup(folder: Path, limit: str, usage: str, prefix: str) -> int | None:
    """None where there is no limit, or no such group."""
    try:
        most = (folder / limit).read_text().strip()
        if not most.isdigit():  # "max"
            return None
        used = int((folder / usage).read_text())
        statistics = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
    except (OSError, ValueError):
        return None
    # The cache of files is given up before anything is refused.
    cached = sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    return int(most) - used + cached


_SAID_OF_MEMORY = re.compile(
    # The last is PyTorch's, when there was too little memory to import it the first time.
    r"bad_alloc|out of memory|not enough memory|can(?:'t|not) allocate memory|"
    r"(?:failed|unable) to allocate|failed to map segment|can't start new thread|"
    r"torch. can only be initialized once",
    re.IGNORECASE,
)


def short_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice: each library says so in its own way."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, (RuntimeError, OSError, ImportError)) and bool(
        _SAID_OF_MEMORY.search(str(error))
    )
