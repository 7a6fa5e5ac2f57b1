"""How fast and how lean is stylizing one photo?"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from benchmarks.meters import (
    WARM_UP,
    describe_machine,
    peak,
    psnr,
    reset_peak,
    seconds_of,
    start_torch,
)
from benchmarks.options import device_option, rounds_option
from benchmarks.ours import OURS, OURS_FP32, bundled_photo, our_network, our_stylizer
from benchmarks.plain import PLAIN, plain_network, plain_stylizing
from benchmarks.processes import BENCHMARK, CommandCost, run, run_command, take_turns
from benchmarks.tables import (
    median_peak,
    median_seconds,
    memory_cells,
    print_table,
    timing_cells,
)

FOLDER = 4  # pictures in the folder that is stylized
FILES_ON_GPU = 200  # several are read, stylized and written at once


@dataclass(frozen=True)
class PictureCost:
    """One stylized picture.

    Args:
        seconds: from picture to picture on a CPU, from tensor to tensor on a GPU.
        peak: bytes of memory.
        before: bytes in use before the first picture.
        precision: what the network computes in.
        file_seconds: from JPEG to JPEG; None for the plain contender.
    """

    seconds: float
    peak: int
    before: int
    precision: str
    file_seconds: float | None = None


@click.command()
@click.option("--width", type=click.IntRange(16), default=1920, show_default=True)
@click.option("--height", type=click.IntRange(16), default=1080, show_default=True)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    help=f"Timed pictures in each process, after {WARM_UP} to warm up: 3 on a CPU, 20 on a GPU.",
)
@rounds_option
@device_option
@click.option(
    "--model",
    type=click.Choice(["johnson", "small"]),
    default="johnson",
    show_default=True,
    help="Our network, from conf/model. The plain one always has Johnson's widths.",
)
def stylize(
    width: int, height: int, repeats: int | None, rounds: int, device: str, model: str
) -> None:
    """Measure stylizing one photo.

    Pictures go from picture to picture on a CPU, from tensor to tensor on a GPU, and (ours) from
    JPEG to JPEG; a GPU gets many files, whose work overlaps. The first two pictures of a size, of
    which a GPU makes a graph, are not timed.

    bytes/px is the peak of memory above that before the first picture, per pixel of the picture.
    The networks are untrained, which changes neither time nor memory.
    """
    repeats = repeats or (20 if device == "cuda" else 3)
    with tempfile.TemporaryDirectory() as folder:
        run(write_inputs, folder=folder, width=width, height=height, model=model)
        task = {"folder": folder, "repeats": repeats, "device": device}
        measured = take_turns(
            {
                name: partial(run, measure_stylizing, contender=name, **task)
                for name in (OURS, OURS_FP32, PLAIN)
            },
            rounds,
        )
        click.echo(f"{run(describe_machine, device=device)}; rounds: {rounds}")
        click.echo(f"{width} x {height} px, model={model}")
        _print_pictures(measured, width * height)
        agreement = run(measure_agreement, model=model, device=device)
        click.echo(f"ours against itself in float32, untrained: {agreement:.1f} dB PSNR")
        if device == "cpu":
            _measure_from_the_shell(Path(folder), rounds)


def _print_pictures(measured: dict[str, list[PictureCost]], pixels: int) -> None:
    rows = []
    for name, results in measured.items():
        above = median_peak(results) - statistics.median(each.before for each in results)
        rows.append(
            {
                "": name,
                "precision": results[0].precision,
                **timing_cells("s", results, measured[PLAIN]),
                "s/megapixel": f"{median_seconds(results) / pixels * 1e6:.4f}",
                "file to file": _file_cell(results),
                **memory_cells(results, measured[PLAIN]),
                "bytes/px": f"{above / pixels:.0f}",
            }
        )
    print_table(rows)


def _file_cell(results: Sequence[PictureCost]) -> str:
    found = [each.file_seconds for each in results if each.file_seconds is not None]
    if not found:
        return ""
    seconds = statistics.median(found)
    return f"{seconds:.4f} s ({1 / seconds:.1f}/s)"


def _measure_from_the_shell(folder: Path, rounds: int) -> None:
    """Measure whole commands from JPEG to JPEG: ours, and a plain script that does just that."""
    style = ["--style", str(folder / "style.safetensors"), "--stroke", "1", "--device", "cpu"]
    program = [sys.executable, "-m", "fast_style.cli"]
    photo, target = str(folder / "photos" / "0.jpg"), str(folder / "stylized.jpg")
    script = [sys.executable, str(BENCHMARK), "plain-script", str(folder / "plain.pt")]
    plain = "plain script, photo.jpg"
    commands = {
        "fast-style stylize photo.jpg": [*program, "stylize", photo, *style, "-o", target],
        plain: [*script, photo, target],
        "fast-style --help": [*program, "--help"],
        "fast-style stylize --help": [*program, "stylize", "--help"],
        f"fast-style stylize folder/ of {FOLDER}": [
            *[*program, "stylize", str(folder / "photos"), *style],
            *["-o", str(folder / "out")],
        ],
    }
    calls: dict[str, Callable[[], CommandCost]] = {
        name: partial(run_command, command) for name, command in commands.items()
    }
    measured = take_turns(calls, rounds)
    print_table(
        [
            {
                "from the shell": name,
                **timing_cells("s", results, measured[plain]),
                **memory_cells(results, measured[plain]),
            }
            for name, results in measured.items()
        ]
    )


# --- workers ---


def write_inputs(folder: str, width: int, height: int, model: str) -> None:
    """A worker: write untrained networks and photos to files."""
    import torch

    from fast_style.checkpoint import TrainedStyle, save_style
    from fast_style.images import save_picture

    start_torch("cpu")
    target = Path(folder)
    save_style(TrainedStyle(our_network(model), "untrained"), target / "style.safetensors")
    torch.save(plain_network().state_dict(), target / "plain.pt")
    photo = bundled_photo().resize((width, height))
    for number in range(FOLDER):
        save_picture(photo, target / "photos" / f"{number}.jpg")


def measure_stylizing(contender: str, folder: str, repeats: int, device: str) -> PictureCost:
    """A worker: stylize the photo of `write_inputs` with `OURS`, `OURS_FP32` or `PLAIN`.

    On a CPU, ours runs without PyTorch and its memory.
    """
    if contender == PLAIN:
        return _measure_plain(Path(folder), repeats, device)
    return _measure_ours(Path(folder), contender, repeats, device)


def _measure_plain(folder: Path, repeats: int, device: str) -> PictureCost:
    from fast_style.images import open_picture

    call = plain_stylizing(open_picture(folder / "photos" / "0.jpg"), start_torch(device))
    before = reset_peak(device)
    seconds = _median_seconds(call, repeats, device)
    return PictureCost(seconds, peak(device), before, "float32")


def _measure_ours(folder: Path, contender: str, repeats: int, device: str) -> PictureCost:
    from fast_style.images import open_picture, to_tensor
    from fast_style.stylizing.files import stylize_files
    from fast_style.stylizing.planning import Job
    from fast_style.stylizing.stylizer import Stylizer

    source = folder / "photos" / "0.jpg"
    precision = "float32" if contender == OURS_FP32 else "auto"
    given = open_picture(source)
    if device != "cpu":
        place = start_torch(device)
        tensor = to_tensor(given).unsqueeze(0).to(place)
    stylizer = Stylizer(folder / "style.safetensors", device, precision, stroke=1)

    def call() -> object:
        return stylizer(given) if device == "cpu" else stylizer(tensor)

    before = reset_peak(device)
    seconds = _median_seconds(call, repeats, device)
    most = peak(device)
    files = 1 if device == "cpu" else FILES_ON_GPU
    targets = [folder / "stylized" / f"{number}.jpg" for number in range(files)]
    jobs = [Job(source, target, str(number)) for number, target in enumerate(targets)]
    work = stylize_files(stylizer.begin, jobs, None, stylizer.files_at_once)
    file_seconds = seconds_of(lambda: list(work), device) / files
    return PictureCost(seconds, most, before, stylizer.precision, file_seconds)


def _median_seconds(call: Callable[[], object], repeats: int, device: str) -> float:
    for _ in range(WARM_UP):
        seconds_of(call, device)
    return statistics.median(seconds_of(call, device) for _ in range(repeats))


def measure_agreement(model: str, device: str) -> float:
    """A worker: PSNR of ours against ours in float32, on a bundled photo at its own size."""
    from fast_style.images import to_tensor

    start_torch(device)
    painted = []
    for contender in (OURS, OURS_FP32):
        stylizer = our_stylizer(contender, model, device)
        for _ in range(WARM_UP):
            stylizer(bundled_photo())
        painted.append(to_tensor(stylizer(bundled_photo())))  # on a GPU, by its graph
    return psnr(*painted)
