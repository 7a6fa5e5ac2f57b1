"""Commands in this process, and what tests expect of their results."""

import signal
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from fast_style.cli import main


def run(*arguments: str | Path) -> Result:
    """Run ``fast-style`` with these arguments. Only a wanted exit may end it early."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def heed_ctrl_c() -> None:
    """What a process does first that is to heed SIGINT, which shells let background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def complaints(result: Result) -> list[str]:
    return result.stderr.splitlines()


def refused(result: Result, *words: str) -> str:
    """Assert that a command ended with one sentence that holds all these words, and return it."""
    (sentence,) = complaints(result)
    assert result.exit_code == 2
    assert sentence.startswith("fast-style: ")
    for word in words:
        assert word in sentence
    assert "Traceback" not in result.output
    return sentence


def files(folder: Path) -> list[str]:
    """All files in a folder and below, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    shape = (height, width, channels)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
