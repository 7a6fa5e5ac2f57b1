"""Memory: how much its limits leave, and how libraries report a lack of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from fast_style.devices import available_memory, cgroup_memory_left, short_of_memory

MB = 2**20


def in_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_limits_all_free_memory_is_available() -> None:
    free = psutil.virtual_memory().available
    assert 0 < available_memory() <= psutil.virtual_memory().total
    left = min([free, *cgroup_memory_left()])
    assert available_memory() == pytest.approx(left, rel=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce these limits")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limits_of_the_process_count(limit: str) -> None:
    """The reported amount can be allocated, and little more."""
    code = f"""
import json, mmap, resource
from fast_style.devices import available_memory
resource.setrlimit(resource.{limit}, (500 * {MB}, 500 * {MB}))
free = available_memory()
def fits(size):
    try:
        mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        return True
    except OSError:
        return False
print(json.dumps([free, fits(free - 20 * {MB}), fits(free + 20 * {MB})]))
"""
    free, less, more = json.loads(in_process(code))
    assert 100 * MB < free < 500 * MB
    assert less
    assert not more


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


STATISTICS = f"anon 1\nactive_file {3 * MB}\ninactive_file {4 * MB}"


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("0::/a/b\n")
    group(root, memory__stat=STATISTICS)  # the root has no limit
    group(root / "a", memory__max=100 * MB, memory__current=60 * MB, memory__stat=STATISTICS)
    group(root / "a/b", memory__max="max", memory__current=10 * MB, memory__stat=STATISTICS)
    assert list(cgroup_memory_left(own, root)) == [47 * MB]
    group(root / "a/b", memory__max=20 * MB)
    assert list(cgroup_memory_left(own, root)) == [17 * MB, 47 * MB]


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("5:cpu,cpuacct:/other\n4:memory:/docker/1234\n0::/\n")
    # A container finds its own group at the root, but reads its path as seen from outside.
    statistics = STATISTICS.replace("active", "total_active").replace("intotal_", "total_in")
    group(
        root / "memory",
        memory__limit_in_bytes=200 * MB,
        memory__usage_in_bytes=150 * MB,
        memory__stat=statistics,
    )
    assert list(cgroup_memory_left(own, root)) == [57 * MB]


def test_systems_without_control_groups(tmp_path: Path) -> None:
    assert list(cgroup_memory_left(tmp_path / "none", tmp_path)) == []


def by_torch() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def by_numpy() -> None:
    np.empty(2**60, dtype=np.uint8)


def by_python() -> None:
    bytearray(2**62)


@pytest.mark.parametrize("ask", [by_torch, by_numpy, by_python])
def test_a_lack_of_memory_is_recognised_in_every_library(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        ask()
    assert short_of_memory(caught.value)


def test_other_errors_are_not_a_lack_of_memory() -> None:
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), OSError(28, "full")):
        assert not short_of_memory(error)
