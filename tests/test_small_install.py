"""What works, and what is said, where the extra "train" is not installed.

`.ci/run` tries a real environment without it. Here Python is told that its modules are missing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import files, noise, refused, run

from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.extras import TRAINING
from fast_style.images import picture_size

PHOTO = str(PHOTOS / "chelsea.jpg")

# An entry of None in sys.modules is a module that is not there, for find_spec as for import.
WITHOUT = """
import sys
from fast_style.extras import TRAINING
sys.modules.update(dict.fromkeys([*TRAINING, "omegaconf"]))
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python without the modules of the extra "train"."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )


def small(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command line without the modules of the extra "train"."""
    code = f"{before}\nfrom fast_style.cli import main\nmain(prog_name='fast-style')"
    return python(code, *arguments)


@pytest.mark.parametrize(
    "command",
    [
        ["train", f"style={PAINTINGS / 'wave.jpg'}", "data=dead_leaves"],
        ["train", "--help"],
        ["demo"],
        ["evaluate", "wave"],
        ["optimize", PHOTO, str(PAINTINGS / "wave.jpg")],
        ["stylize", PHOTO, "--style", "wave", "--device", "cuda"],
        ["stylize", PHOTO, "--style", "wave", "--band-rows", "64"],
        ["stylize", PHOTO, "--style", "wave", "--scratch", "."],
        ["sheet", PHOTO, "--style", "wave", "--device", "cuda:0"],
    ],
    ids=" ".join,
)
def test_what_needs_more_names_the_line_that_installs_it(
    command: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for module in TRAINING:
        monkeypatch.setitem(sys.modules, module, None)
    sentence = refused(run(*command))
    assert re.search(r'need the extra "train": install it with  .*\btrain\b.*$', sentence)
    assert files(tmp_path) == []


def test_a_cpu_stylizes_with_every_option(tmp_path: Path) -> None:
    out = tmp_path / "small.png"
    options = ["--stroke", "2", "--preserve-color", "histogram", "--mask", PHOTO]
    done = small(
        "stylize", PHOTO, "--blend", "wave,the-scream", "--size", "64", "-o", str(out), *options
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert out.is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_a_picture_too_large_for_one_pass_names_two_ways(tmp_path: Path) -> None:
    limited = """
import psutil, resource
limit = psutil.Process().memory_info().data + 500_000_000
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
"""
    noise(1400, 1000).save(tmp_path / "large.png")  # 630 MB in one pass
    command = ["stylize", str(tmp_path / "large.png"), "--style", "wave", "-o"]
    done = small(*command, str(tmp_path / "refused.png"), "--stroke", "1", before=limited)
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert "1400 x 1000 px" in sentence
    assert "a larger --stroke" in sentence
    assert 'the extra "train"' in sentence
    painted = tmp_path / "painted.png"
    assert small(*command, str(painted), "--stroke", "2", before=limited).returncode == 0
    assert picture_size(painted) == (1400, 1000)


def test_a_gpu_that_stays_idle_is_told_once() -> None:
    code = """
from PIL import Image
from fast_style import Stylizer, devices
devices._GPU_FILES = ("null",)
for _ in range(2):
    assert Stylizer("wave").device == "cpu"
"""
    (line,) = python(code).stderr.splitlines()
    assert re.search(r'the CPU paints .*the extra "train"', line)
    assert python(code.replace('"wave"', '"wave", "cpu"')).stderr == ""


def test_python_says_what_a_module_of_pytorch_needs() -> None:
    done = python("from fast_style.checkpoint import load_style\nload_style('wave')")
    assert 'UserError: networks as PyTorch modules need the extra "train"' in done.stderr
