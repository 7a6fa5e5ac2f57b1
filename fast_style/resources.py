"""Where the files that travel with the package lie, in a clone and in an installed wheel; and how
many cores and how much memory there are to use."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

_PACKAGE = Path(__file__).parent


def _beside(name: str) -> Path:
    """A wheel carries the top-level folder in the package, a clone has it beside the package."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


CONF = _beside("conf")
CHECKPOINTS = _beside("checkpoints")
ASSETS = _PACKAGE / "assets"
PHOTOS = ASSETS / "photos"
PAINTINGS = ASSETS / "paintings"
VGG16_WEIGHTS = ASSETS / "vgg16" / "vgg16_to_relu4_3.safetensors"


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
