"""How fast are our whole commands beside those of pytorch/examples?"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from benchmarks.meters import WARM_UP, describe_machine
from benchmarks.options import device_option, rounds_option
from benchmarks.ours import bundled_photo
from benchmarks.processes import CommandCost, run, run_command, take_turns
from benchmarks.tables import memory_cells, print_table, timing_cells

OURS, THEIRS = "ours", "pytorch/examples"
PROGRAM = Path("neural_style") / "neural_style.py"


@click.command()
@click.argument(
    "folder", type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True)
)
@click.option("--size", type=click.IntRange(32), default=256, show_default=True, help="px a side.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help=f"Timed training steps: a run of that many and {WARM_UP} more, less one of {WARM_UP}.",
)
@click.option("--width", type=click.IntRange(16), default=1920, show_default=True)
@click.option("--height", type=click.IntRange(16), default=1080, show_default=True)
@rounds_option
@device_option
def peer(
    folder: Path,
    size: int,
    batch: int,
    steps: int,
    width: int,
    height: int,
    rounds: int,
    device: str,
) -> None:
    """Measure whole commands of ours beside those of pytorch/examples, unmodified.

    FOLDER is `fast_neural_style` in a clone of pytorch/examples. Both train with VGG16 on the same
    photos of 640 x 480 px, and stylize the same photo; stylizing includes starting up. Theirs finds
    random VGG16 weights where it would download trained ones, which does not change the time.
    """
    if not (folder / PROGRAM).is_file():
        click.echo(f"benchmark: {folder / PROGRAM} is missing: give a clone's folder", err=True)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as name:
        commands = _Commands(Path(name), folder, size, batch, device)
        run(write_vgg16, path=str(commands.cache / "hub/checkpoints/vgg16-397923af.pth"))
        _write_pictures(commands.work, (width, height))
        for count in (WARM_UP, WARM_UP + steps):
            _link_photos(commands.work, count, count * batch)
        training = take_turns(
            {
                OURS: partial(_time_step, commands.our_training, steps, commands.cache),
                THEIRS: partial(_time_step, commands.their_training, steps, commands.cache),
            },
            rounds,
        )
        stylizing = take_turns(
            {
                OURS: partial(run_command, commands.our_stylizing()),
                THEIRS: partial(run_command, commands.their_stylizing()),
            },
            rounds,
        )
    click.echo(f"{run(describe_machine, device=device)}; rounds: {rounds}")
    for what, measured in ((f"s/step of {batch}", training), ("s to stylize", stylizing)):
        print_table(
            [
                {
                    "": who,
                    **timing_cells(what, results, measured[THEIRS]),
                    **memory_cells(results, measured[THEIRS]),
                }
                for who, results in measured.items()
            ]
        )


@dataclass(frozen=True)
class _Commands:
    """The command lines of both programs.

    Args:
        work: folder for photos and networks.
        theirs: folder of the other program.
        size: px a side of crops.
        batch: photos in a step.
        device: name of the device.
    """

    work: Path
    theirs: Path
    size: int
    batch: int
    device: str

    @property
    def cache(self) -> Path:
        return self.work / "torch"

    @property
    def their_program(self) -> list[str]:
        return [sys.executable, str(self.theirs / PROGRAM)]

    @property
    def their_device(self) -> list[str]:
        return ["--accel"] if self.device == "cuda" else []

    def our_training(self, count: int) -> list[str]:
        return [
            *[sys.executable, "-m", "fast_style.cli", "train", "experiment=quickstart"],
            *["data=photos", f"data.dir='{_photos(self.work, count)}'"],
            *[f"style={self.work / 'painting.jpg'}", "style.size=512"],
            *[f"data.size={self.size}", f"data.batch_size={self.batch}"],
            *["trainer.val_check_interval=1000000000", f"trainer.max_steps={count}"],
            *[f"output_dir='{self.work / 'ours'}'"],
            f"trainer.accelerator={'gpu' if self.device == 'cuda' else 'cpu'}",
        ]

    def their_training(self, count: int) -> list[str]:
        return [
            *[*self.their_program, "train", "--epochs", "1", *self.their_device],
            *["--dataset", str(_photos(self.work, count).parent)],
            *["--batch-size", str(self.batch), "--image-size", str(self.size)],
            *["--style-image", str(self.work / "painting.jpg")],
            *["--save-model-dir", str(self.work / "theirs")],
        ]

    def our_stylizing(self) -> list[str]:
        [style] = (self.work / "ours").glob("*.safetensors")
        return [
            *[sys.executable, "-m", "fast_style.cli", "stylize", str(self.work / "photo.jpg")],
            *["--style", str(style), "-o", str(self.work / "stylized.jpg")],
            *["--device", self.device],
        ]

    def their_stylizing(self) -> list[str]:
        style = next((self.work / "theirs").glob("*.model"))
        return [
            *[*self.their_program, "eval", "--content-image", str(self.work / "photo.jpg")],
            *["--model", str(style), "--output-image", str(self.work / "stylized.jpg")],
            *self.their_device,
        ]


def _photos(work: Path, count: int) -> Path:
    return work / f"{count}" / "photos"


def _write_pictures(work: Path, size: tuple[int, int]) -> None:
    photo = bundled_photo()
    photo.resize(size).save(work / "photo.jpg", quality=90)
    photo.resize((512, 384)).save(work / "painting.jpg")
    photo.resize((640, 480)).save(work / "small.jpg", quality=90)


def _link_photos(work: Path, count: int, photos: int) -> None:
    folder = _photos(work, count)
    folder.mkdir(parents=True)
    for number in range(photos):
        (folder / f"{number:06}.jpg").symlink_to(work / "small.jpg")


def _time_step(command: Callable[[int], Sequence[str]], steps: int, cache: Path) -> CommandCost:
    """The cost of a step, from the difference of two runs."""
    short, long = (
        run_command(command(count), TORCH_HOME=str(cache)) for count in (WARM_UP, WARM_UP + steps)
    )
    return CommandCost((long.seconds - short.seconds) / steps, long.peak)


def write_vgg16(path: str) -> None:
    """A worker: write random weights of VGG16, as torchvision stores them."""
    import torch
    from torchvision.models import vgg16

    Path(path).parent.mkdir(parents=True)
    torch.save(vgg16().state_dict(), path)
