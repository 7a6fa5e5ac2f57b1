"""What several test files need for training runs from the command line."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from click.testing import Result
from PIL import Image

Train = Callable[..., Result]

# Overrides for a run of two steps within a second or two.
TINY = [
    "experiment=quickstart",
    "model.widths=[4,8,8]",
    "model.residual_blocks=1",
    "loss.style_layers=[relu1_1]",
    "loss.content_layers=[relu2_1]",
    "data.size=32",
    "data.batch_size=1",
    "data.workers=0",
    "data.val_size=32",
    "data.val_count=1",
    "style.size=48",
    "trainer.accelerator=cpu",
    "trainer.max_steps=2",
    "trainer.val_check_interval=1",
    "trainer.log_every_n_steps=1",
]

# Names of files that Hydra, OmegaConf, shells, YAML or UTF-8 trip over.
ODD_NAMES = [
    "Nuit étoilée (1889)",
    "${x}",
    "${style.name}",
    "caf\udce9",
    "1e5",
    "back\\slash\\'",
    'a, b=c & "d" #1 100%',
    "~x",
    "日本 [1] {a: b}",
    "new\nline",
]


def picture(path: Path, width: int = 60, height: int = 40) -> Path:
    """Write a PNG of noise, whatever the file's name."""
    with path.open("wb") as file:  # Pillow itself refuses names that are not text
        Image.effect_noise((width, height), 80).convert("RGB").save(file, "PNG")
    return path


def done(result: Result) -> Result:
    """Assert that a command succeeded."""
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(result: Result, *words: str) -> str:
    """Assert that a command ended with a sentence that holds all these words, and return it."""
    assert result.exit_code == 2, (result.output, result.exception)
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("fast-style: ")
    for word in words:
        assert word in sentence
    return sentence


def pasted(line: str) -> list[str]:
    """The words that a shell makes of a command line."""
    found = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True
    )
    return [os.fsdecode(word) for word in found.stdout.split(b"\0")[:-1]]


def steps(checkpoint: Path) -> int:
    """The number of steps that a training checkpoint stands at."""
    return int(torch.load(checkpoint, weights_only=True)["global_step"])
