"""How fast and how lean training and stylizing are, against a plain float32 network.

The plain contender is the network of Johnson et al. 2016 in the form in which it is most often
implemented (instance norm, nearest-neighbour upsampling, RGB in [0, 255], linear output), run
eagerly in float32. Each measurement is a fresh process, and the contenders take turns, so that
neither what ran before nor a machine that is busy for a while favours one of them.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from importlib import metadata
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fast_style.stylizing.stylizer import Stylizer

# torch is imported in the workers alone: on Linux a process starts with the peak memory of the one
# that started it.

OURS, OURS_FP32, PLAIN = "ours", "ours, float32", "plain, float32"
OURS_EAGERLY = "ours, eagerly"
OURS_LOADING, PLAIN_LOADING = "ours, from files", "plain, from files"
COCO = 118_287  # photos in COCO's train2017
IN_BANDS, ONE_PASS = "ours, in bands", "ours, one pass"
SAME_ENGINE = "ours, one pass in PyTorch"  # which computes bands
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
WARM_UP = 2
FULL_STRENGTH = 1  # a step of this number is
# Of both kinds of step, the first three run as they are and the next is recorded.
WARM_UP_ON_GPU = 10

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    callback=lambda context, option, device: _resolved(device),
    help="auto is a GPU where there is one.",
)


def _resolved(device: str) -> str:
    if device != "auto":
        return device
    asked = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    return subprocess.check_output([sys.executable, "-c", asked], text=True).strip()


rounds_option = click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Fresh processes for each contender; the table gives their median, and from the fastest "
    "to the slowest.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure training and stylizing against a plain float32 network.

    \b
    python scripts/benchmark.py train                     as the quickstart trains
    python scripts/benchmark.py train --photos DIR        from the files on
    python scripts/benchmark.py candidates                a step with one thing done otherwise
    python scripts/benchmark.py data --photos DIR         from the files to batches
    python scripts/benchmark.py stylize                   a picture of 1920 x 1080
    python scripts/benchmark.py scale                     pictures of 0.25 to 100 megapixels
    python scripts/benchmark.py peer DIR                  whole commands beside pytorch/examples
    OMP_NUM_THREADS=1 python scripts/benchmark.py ...     on one core

    Close other programs first: every contender runs --rounds times in a process of its own, and
    a wide spread in the table means that something else was running.
    """


@main.command()
@click.option("--size", type=click.IntRange(32), help="px a side: 128 on a CPU, 256 on a GPU.")
@click.option("--batch", type=click.IntRange(1), help="4 on a CPU, 16 on a GPU.")
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Timed steps in each process, after some that are not: 6 on a CPU, 60 on a GPU.",
)
@rounds_option
@device_option
@click.option(
    "--loss",
    type=click.Choice(["vgg16", "vgg19"]),
    default="vgg16",
    show_default=True,
    help="Ours, from conf/loss; vgg19 with random weights, which take the same time. The plain one "
    "always measures VGG16 to relu4_3.",
)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Measure also whole training loops on these photos, reading them included.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Length of those loops; by default so many steps as --steps.",
)
def train(
    size: int | None,
    batch: int | None,
    steps: int | None,
    rounds: int,
    device: str,
    loss: str,
    photos: str | None,
    minutes: float | None,
) -> None:
    """Measure one training step: forward, loss, backward, optimiser.

    Ours is a step of training without Lightning around it. On a CPU it is that of
    experiment=quickstart, at full strength. On a GPU it is that of experiment=coco, at full and at
    any strength in turn, with the loss for steadiness, as CUDA graphs and eagerly; a process tells
    the GPU of all timed steps before it waits for them.

    The photos are random and already in memory: reading them is not measured, but in the loops of
    --photos. There, ours is what `fast-style train` does, and the plain one reads as the loop of
    pytorch/examples does: in the process that trains, with torchvision's ImageFolder, Resize,
    CenterCrop and ToTensor.

    The matrix rate is what torch reaches here with products of 4096 x 4096 in a contender's
    precision; its share is that of the convolutions and products of a step (additions and
    multiplications, by torch's own count) in the time of the whole step.
    """
    on_gpu = device == "cuda"
    size, batch = size or (256 if on_gpu else 128), batch or (16 if on_gpu else 4)
    steps = steps or (60 if on_gpu else 6)
    task = {"task": "train", "size": size, "batch": batch, "steps": steps, "device": device}
    task |= {"loss": loss, "photos": photos, "minutes": minutes}
    loading = (OURS_LOADING, PLAIN_LOADING) if photos else ()
    ours = (OURS, OURS_EAGERLY, OURS_FP32) if on_gpu else (OURS, OURS_FP32)
    measured = _measure(task, rounds, (*ours, PLAIN, *loading))
    rates = {
        precision: _run_worker({"task": "matrix_rate", "precision": precision, "device": device})
        for precision in {results[0]["precision"] for results in measured.values()}
    }
    click.echo(f"one step on {batch} photos of {size} x {size} px; ours with {loss}")
    if loss == "vgg19":
        click.echo("VGG19 with random weights: for timing only")
    rows = [
        {
            "": name,
            "precision": results[0]["precision"],
            **_timing("s/step", results, measured[PLAIN]),
            "images/s": f"{batch / _median(results, 'seconds'):.1f}",
            **_memory(results, measured[PLAIN]),
            **_share(results, rates[results[0]["precision"]]["operations_per_second"]),
        }
        for name, results in measured.items()
    ]
    _print_table(rows)
    for name in loading:
        hours = 2 * COCO * _median(measured[name], "seconds") / batch / 3600
        click.echo(f"{name}: at this rate two epochs of COCO's train2017 take {hours:.2f} h")
    if photos:
        faster = _median(measured[PLAIN_LOADING], "seconds") / _median(
            measured[OURS_LOADING], "seconds"
        )
        click.echo(f"{OURS_LOADING}: {faster:.1f} times as many images/s as {PLAIN_LOADING}")


def _share(results: list[dict[str, Any]], rate: float) -> dict[str, str]:
    """Operations of a step, in all and as a share of what the matrix rate allows; whole loops are
    not counted."""
    if "operations" not in results[0]:
        return {"GFLOP": "", "of matrix rate": ""}
    operations = results[0]["operations"]
    return {
        "GFLOP": f"{operations / 1e9:.0f}",
        "of matrix rate": f"{operations / _median(results, 'seconds') / rate:.2f}",
    }


COMPILED, NOT_TUNED = "torch.compile", "memory as the C library has it"
PYTORCHS_MARGINS = "margins by PyTorch"
ONE_VGG_PASS = "one VGG pass for output and photo"
CANDIDATES = (
    "float32",
    "VGG in NCHW",
    "network in channels last",
    ONE_VGG_PASS,
    "Gram matrices by autograd",
    PYTORCHS_MARGINS,
    "Adam, fused",
    "Adam, not fused",
    NOT_TUNED,
    COMPILED,
)


@main.command()
@click.option("--size", type=click.IntRange(32), default=128, show_default=True, help="px a side.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True)
@rounds_option
@device_option
def candidates(size: int, batch: int, steps: int, rounds: int, device: str) -> None:
    """Measure a training step as it is and with one thing done otherwise, each alone.

    The first two steps, in which there may be something to compile, are in a column of their own.
    """
    task = {"task": "train", "size": size, "batch": batch, "steps": steps, "device": device}
    measured = _measure({**task, "loss": "vgg16"}, rounds, (OURS, *CANDIDATES))
    click.echo(f"one step on {batch} photos of {size} x {size} px, VGG16")
    ours = _median(measured[OURS], "seconds")
    failed = {name for name, results in measured.items() if "failure" in results[0]}
    _print_table(
        [
            {
                "": name,
                "s/step": f"{_median(results, 'seconds'):.3f}",
                "of ours": f"{_median(results, 'seconds') / ours:.2f}",
                "peak GB": f"{_median(results, 'peak') / 1e9:.2f}",
                "first two, s": f"{_median(results, 'first'):.1f}",
            }
            for name, results in measured.items()
            if name not in failed
        ]
    )
    for name in sorted(failed):
        click.echo(f"{name} left out, as it fails: {measured[name][0]['failure']}")


@main.command()
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="A folder of photos; by default the bundled ones.",
)
@click.option("--size", type=click.IntRange(32), default=256, show_default=True, help="px a side.")
@click.option(
    "--count", type=click.IntRange(64), default=1000, show_default=True, help="Photos to read."
)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True)
@rounds_option
def data(photos: str | None, size: int, count: int, workers: int, rounds: int) -> None:
    """Measure reading photos: from files to batches of 16, without training.

    The photos are saved anew as COCO has them, JPEG of 640 x 480 px, and linked to until there are
    as many as in train2017. They are read from the system's cache. Without --workers, one process
    reads, so that the figures are those of one core. Crops decoded once are always the same ones.
    """
    import numpy as np
    from PIL import ImageOps

    from fast_style.bundled import PHOTOS
    from fast_style.images import find_pictures, open_picture

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved"
        linked = Path(folder) / "data" / "train2017"  # ImageFolder wants a folder for each class
        saved.mkdir()
        linked.mkdir(parents=True)
        paths = find_pictures(Path(photos) if photos else PHOTOS)
        for number, path in enumerate(tqdm(paths, leave=False, disable=None)):
            picture = ImageOps.fit(open_picture(path), (640, 480))
            picture.save(saved / f"{number}.jpg", quality=90)
        packed = [np.asarray(ImageOps.fit(open_picture(path), (size, size))) for path in paths]
        np.save(Path(folder) / "crops.npy", np.stack(packed).transpose(0, 3, 1, 2))
        for number in range(COCO):
            (linked / f"{number:012}.jpg").symlink_to(saved / f"{number % len(paths)}.jpg")
        task = {"task": "data", "folder": str(linked), "size": size, "count": count}
        task |= {"workers": workers, "device": "cpu"}
        measured = _measure(task, rounds, (OURS, NO_DRAFT, PACKED, *TORCHVISION))
    click.echo(f"crops of {size} px from {len(paths)} photos of 640 x 480 px, {workers} workers")
    _print_table(
        [
            {
                "": name,
                "photos/s": f"{1 / _median(results, 'seconds'):.0f}",
                **_timing("s/photo", results, measured[TORCHVISION[-1]]),
                "s to the first batch": f"{_median(results, 'start'):.2f}",
            }
            for name, results in measured.items()
        ]
    )


NO_DRAFT, PACKED = "ours, JPEG decoded in full", "crops decoded once, from one file"
TORCHVISION = ("torchvision, random crops", "torchvision, Resize and CenterCrop")


@main.command()
@click.option("--width", type=click.IntRange(16), default=1920, show_default=True)
@click.option("--height", type=click.IntRange(16), default=1080, show_default=True)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    help=f"Timed pictures in each process, after {WARM_UP} that are not: 3 on a CPU, 20 on a GPU.",
)
@rounds_option
@device_option
@click.option(
    "--model",
    type=click.Choice(["johnson", "small"]),
    default="johnson",
    show_default=True,
    help="Ours, from conf/model; the plain one always has Johnson's widths.",
)
def stylize(
    width: int, height: int, repeats: int | None, rounds: int, device: str, model: str
) -> None:
    """Measure stylizing one photo: from picture to picture on a CPU, from tensor to tensor on a
    GPU, and (ours) from JPEG to JPEG; of these a GPU gets many, which overlap.

    The first two pictures of a size, of which a GPU makes a graph, are not timed.

    bytes/px is the peak of memory above what the process held before its first picture, per pixel
    of the picture. The networks are untrained: that changes neither time nor memory.
    """
    repeats = repeats or (20 if device == "cuda" else 3)
    with tempfile.TemporaryDirectory() as folder:
        task = {"folder": folder, "width": width, "height": height, "repeats": repeats}
        task |= {"device": device, "model": model, "contender": OURS}
        _run_worker({**task, "task": "prepare"})
        measured = _measure({**task, "task": "stylize"}, rounds)
        pixels = width * height
        click.echo(f"{width} x {height} px, model={model}")
        rows = [
            {
                "": name,
                "precision": results[0]["precision"],
                **_timing("s", results, measured[PLAIN]),
                "s/megapixel": f"{_median(results, 'seconds') / pixels * 1e6:.4f}",
                "file to file": _file_to_file(results) if name != PLAIN else "",
                **_memory(results, measured[PLAIN]),
                "bytes/px": f"{_bytes_above(results) / pixels:.0f}",
            }
            for name, results in measured.items()
        ]
        _print_table(rows)
        agreement = _run_worker({**task, "task": "agreement"})
        click.echo(f"ours against itself in float32, untrained: {agreement['psnr']:.1f} dB PSNR")
        if device == "cpu":
            _measure_from_the_shell(Path(folder), rounds)


def _bytes_above(results: list[dict[str, Any]]) -> float:
    return _median(results, "peak") - _median(results, "before")


def _file_to_file(results: list[dict[str, Any]]) -> str:
    seconds = _median(results, "file_seconds")
    return f"{seconds:.4f} s ({1 / seconds:.1f}/s)"


FOLDER = 4  # pictures in the folder that is stylized
FILES_ON_GPU = 200  # several are read, stylized and written at once


def _measure_from_the_shell(folder: Path, rounds: int) -> None:
    """Whole commands, from JPEG to JPEG: ours and a plain script that does just the same."""
    style = ["--style", str(folder / "style.safetensors"), "--device", "cpu"]
    program = [sys.executable, "-m", "fast_style.cli"]
    target = str(folder / "stylized.jpg")
    photo = str(folder / "photos" / "0.jpg")
    plain = [str(folder / "plain.pt"), photo, target]
    commands = {
        "fast-style stylize photo.jpg": [*program, "stylize", photo, *style, "-o", target],
        "plain script, photo.jpg": [sys.executable, __file__, "plain-script", *plain],
        "fast-style --help": [*program, "--help"],
        "fast-style stylize --help": [*program, "stylize", "--help"],
        f"fast-style stylize folder/ of {FOLDER}": [
            *[*program, "stylize", str(folder / "photos"), *style],
            *["-o", str(folder / "out")],
        ],
    }
    measured: dict[str, list[dict[str, float]]] = {command: [] for command in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            measured[name].append(_run_command(command))
    baseline = measured["plain script, photo.jpg"]
    _print_table(
        [
            {
                "from the shell": name,
                **_timing("s", results, baseline),
                **_memory(results, baseline),
            }
            for name, results in measured.items()
        ]
    )


def _run_command(command: list[str], **environment: str) -> dict[str, float]:
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | environment
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        click.echo(said, err=True)
        sys.exit(1)
    return {"seconds": time.perf_counter() - started, "peak": usage.ru_maxrss * 1024}


def _prepare(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Untrained networks and photos, as files."""
    import torch

    from fast_style.checkpoint import TrainedStyle, save_style
    from fast_style.images import save_picture

    folder = Path(task["folder"])
    save_style(TrainedStyle(_our_network(task["model"]), "untrained"), folder / "style.safetensors")
    torch.save(_plain_network().state_dict(), folder / "plain.pt")
    photo = _photo().resize((task["width"], task["height"]))
    for number in range(FOLDER):
        save_picture(photo, folder / "photos" / f"{number}.jpg")
    return {}


@main.command("plain-script", hidden=True)
@click.argument("weights")
@click.argument("source")
@click.argument("target")
def plain_script(weights: str, source: str, target: str) -> None:
    """What a plain script does to stylize one photo."""
    import torch
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor, to_pil_image

    network = _plain_network().eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    photo = pil_to_tensor(Image.open(source).convert("RGB")).float().unsqueeze(0)
    with torch.inference_mode():
        stylized = network(photo)[0].clamp(0, 255).to(torch.uint8)
    to_pil_image(stylized).save(target, quality=95)


@main.command()
@click.option(
    "--largest",
    type=click.FloatRange(0.25),
    default=100.0,
    show_default=True,
    help="Megapixels of the largest picture, from 0.25 on by factors of 4.",
)
@click.option(
    "--largest-pass",
    type=click.FloatRange(0.25),
    default=4.0,
    show_default=True,
    help="Megapixels of the largest for one pass, ours and the plain network's.",
)
@click.option(
    "--most-photos",
    type=click.IntRange(10),
    default=100_000,
    show_default=True,
    help="Photos in the largest folder to train on, from 10 on by factors of 10.",
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to draw scale.svg (time and memory) and startup.svg in.",
)
@device_option
def scale(
    largest: float, largest_pass: float, most_photos: int, plots: Path | None, device: str
) -> None:
    """Measure how time and memory grow with the picture, the batch and the folder of photos.

    Each measurement is a process of its own, from a picture in memory to a picture. Memory is the
    peak of the whole process; the line is fitted by least squares.
    """
    sizes = [0.25]
    while sizes[-1] * 4 <= largest:
        sizes.append(sizes[-1] * 4)
    if sizes[-1] < largest:
        sizes.append(largest)
    contenders = [IN_BANDS, ONE_PASS, PLAIN]
    if device == "cpu":  # elsewhere one pass is PyTorch's, too
        contenders.insert(2, SAME_ENGINE)
    rows, measured = [], []
    for megapixels in tqdm(sizes, leave=False, disable=None):
        side = round((megapixels * 1e6) ** 0.5)
        for contender in contenders:
            if contender != IN_BANDS and megapixels > largest_pass:
                continue
            task = {"task": "scale", "contender": contender, "side": side, "device": device}
            result = _run_worker({**task, "model": "johnson"})
            measured.append({**result, "contender": contender, "pixels": side**2})
            rows.append(
                {
                    "": contender,
                    "side": str(side),
                    "seconds": f"{result['seconds']:.3f}",
                    "s/megapixel": f"{result['seconds'] / megapixels:.3f}",
                    "peak GB": f"{result['peak'] / 1e9:.2f}",
                }
            )
    click.echo(measured[0]["machine"])
    _print_table(sorted(rows, key=lambda row: row[""]))
    for contender in contenders:
        own = [result for result in measured if result["contender"] == contender]
        if len(own) > 1:
            line = statistics.linear_regression(
                [result["pixels"] for result in own], [result["peak"] for result in own]
            )
            click.echo(
                f"{contender}: {line.slope:.1f} bytes a pixel + {line.intercept / 1e9:.2f} GB"
            )

    side = round((min(largest, largest_pass) * 1e6) ** 0.5)
    for contender in (*contenders[1:-1], OURS_FP32):
        task = {"task": "scale_agreement", "contender": contender, "side": side, "device": device}
        found = _run_worker({**task, "model": "johnson"})
        click.echo(
            f"in bands in {found['precision']}, layers in {found['kept_in']}, against "
            f"'{contender}' at {side} x {side} px: {found['psnr']:.1f} dB PSNR"
        )

    click.echo("\nbatches of tensors of 256 x 256 px, one pass")
    task = {"task": "scale_batch", "device": device, "model": "johnson", "contender": ONE_PASS}
    batches = [(count, _run_worker({**task, "batch": count})) for count in (1, 2, 4, 8, 16, 32)]
    _print_table(
        [
            {
                "": str(count),
                "s/picture": f"{result['seconds'] / count:.4f}",
                "peak GB": f"{result['peak'] / 1e9:.2f}",
            }
            for count, result in batches
        ]
    )

    click.echo("\nstart of training against photos in the folder, seconds")
    counts = [10]
    while counts[-1] * 10 <= most_photos:
        counts.append(counts[-1] * 10)
    task = {"task": "startup", "contender": IN_BANDS, "device": "cpu"}
    starts = [(count, _run_worker({**task, "photos": count})) for count in counts]
    _print_table(
        [
            {
                "photos": f"{count:,}",
                "listing alone": f"{result['listing']:.3f}",
                "ContentData": f"{result['construction']:.3f}",
                "to the first batch": f"{result['first_batch']:.3f}",
            }
            for count, result in starts
        ]
    )
    if plots is not None:
        _draw_plots(measured, starts, plots)


def _draw_plots(
    measured: list[dict[str, Any]], starts: list[tuple[int, dict[str, Any]]], folder: Path
) -> None:
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots(1, 2)
    for contender in (IN_BANDS, ONE_PASS, PLAIN):
        own = [result for result in measured if result["contender"] == contender]
        megapixels = [result["pixels"] / 1e6 for result in own]
        axes[0].plot(megapixels, [result["seconds"] for result in own], "o-", label=contender)
        axes[1].plot(megapixels, [result["peak"] / 1e9 for result in own], "o-", label=contender)
    for axis, name in zip(axes, ("seconds", "peak memory, GB"), strict=True):
        axis.set(xlabel="megapixels", ylabel=name)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(folder / "scale.svg")

    figure = Figure(figsize=(4, 3), layout="constrained")
    axis = figure.subplots()
    for key, name in (("first_batch", "to the first batch"), ("listing", "listing alone")):
        axis.loglog([count for count, _ in starts], [s[key] for _, s in starts], "o-", label=name)
    axis.set(xlabel="photos in the folder", ylabel="seconds")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(folder / "startup.svg")


@main.command()
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
    help=f"Training steps that are timed: by so many a run is longer than another of {WARM_UP}.",
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

    FOLDER is `fast_neural_style` in a clone of it. Both train with VGG16 on the same photos of
    640 x 480 px and stylize the same one; starting up counts when stylizing. Theirs finds random
    VGG16 weights where it would download trained ones: that does not change the time.
    """
    import torch
    from torchvision.models import vgg16

    program = Path("neural_style") / "neural_style.py"
    if not (folder / program).is_file():
        click.echo(f"benchmark: {folder / program} is missing: give a clone's folder", err=True)
        sys.exit(2)
    theirs = [sys.executable, str(folder / program)]
    ours = [sys.executable, "-m", "fast_style.cli"]
    accel = ["--accel"] if device == "cuda" else []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        weights = work / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth"
        weights.parent.mkdir(parents=True)
        torch.save(vgg16().state_dict(), weights)
        photo = _photo()
        photo.resize((width, height)).save(work / "photo.jpg", quality=90)
        photo.resize((512, 384)).save(work / "painting.jpg")
        photo.resize((640, 480)).save(work / "small.jpg", quality=90)
        training: dict[str, list[list[str]]] = {"ours": [], "pytorch/examples": []}
        for count in (WARM_UP, WARM_UP + steps):
            photos = work / f"{count}" / "photos"
            photos.mkdir(parents=True)
            for number in range(count * batch):
                (photos / f"{number:06}.jpg").symlink_to(work / "small.jpg")
            training["ours"].append(
                [
                    *[*ours, "train", "experiment=quickstart", "data=photos"],
                    *[f"data.dir='{photos}'", f"style={work / 'painting.jpg'}"],
                    *[f"data.size={size}", f"data.batch_size={batch}", "style.size=512"],
                    *["trainer.val_check_interval=1000000000", f"trainer.max_steps={count}"],
                    *[f"output_dir='{work / 'ours'}'"],
                    f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}",
                ]
            )
            training["pytorch/examples"].append(
                [
                    *[*theirs, "train", "--dataset", str(photos.parent), "--epochs", "1"],
                    *["--batch-size", str(batch), "--image-size", str(size), *accel],
                    *["--style-image", str(work / "painting.jpg")],
                    *["--save-model-dir", str(work / "theirs")],
                ]
            )
        cache = str(work / "torch")
        step: dict[str, list[dict[str, float]]] = {name: [] for name in training}
        for _ in tqdm(range(rounds), leave=False, disable=None):
            for who, (short, long) in training.items():
                started, ended = (_run_command(run, TORCH_HOME=cache) for run in (short, long))
                lasted = (ended["seconds"] - started["seconds"]) / steps
                step[who].append({"seconds": lasted, "peak": ended["peak"]})
        [ours_style] = (work / "ours").glob("*.safetensors")
        theirs_style = next((work / "theirs").glob("*.model"))
        target = str(work / "stylized.jpg")
        stylizing = {
            "ours": [
                *[*ours, "stylize", str(work / "photo.jpg"), "--style", str(ours_style)],
                *["-o", target, "--device", device],
            ],
            "pytorch/examples": [
                *[*theirs, "eval", "--content-image", str(work / "photo.jpg"), *accel],
                *["--model", str(theirs_style), "--output-image", target],
            ],
        }
        picture: dict[str, list[dict[str, float]]] = {name: [] for name in stylizing}
        for _ in tqdm(range(rounds), leave=False, disable=None):
            for who, command in stylizing.items():
                picture[who].append(_run_command(command))
    click.echo(f"{_machine(torch.device(device))}; rounds: {rounds}")
    for what, measured in ((f"s/step of {batch}", step), ("s to stylize", picture)):
        _print_table(
            [
                {
                    "": who,
                    **_timing(what, results, measured["pytorch/examples"]),
                    **_memory(results, measured["pytorch/examples"]),
                }
                for who, results in measured.items()
            ]
        )


def _measure(
    task: dict[str, Any], rounds: int, contenders: Sequence[str] = (OURS, OURS_FP32, PLAIN)
) -> dict[str, list[dict[str, Any]]]:
    """Results of each contender, who take turns; says on which machine."""
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    turns = [name for _ in range(rounds) for name in measured]
    for name in tqdm(turns, leave=False, disable=None):
        measured[name].append(_run_worker({**task, "contender": name}))
    click.echo(f"{measured[OURS][0]['machine']}; rounds: {rounds}")
    return measured


def _run_worker(task: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "worker", json.dumps(task)]
    worker = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if worker.returncode < 0:
        what = f"{task['task']} by '{task['contender']}'" if "contender" in task else task["task"]
        click.echo(f"benchmark: {what} was killed by signal {-worker.returncode}", err=True)
        sys.exit(1)
    if worker.returncode:
        sys.exit(worker.returncode)  # the worker has said why
    result: dict[str, Any] = json.loads(worker.stdout.splitlines()[-1])
    return result


def _median(results: list[dict[str, Any]], key: str) -> float:
    return statistics.median(result[key] for result in results)


def _timing(unit: str, ours: list[dict[str, Any]], plain: list[dict[str, Any]]) -> dict[str, str]:
    seconds = [result["seconds"] for result in ours]
    return {
        unit: f"{statistics.median(seconds):.4f}",
        "fastest to slowest": f"{min(seconds):.4f} to {max(seconds):.4f}",
        "time/plain": f"{_median(ours, 'seconds') / _median(plain, 'seconds'):.2f}",
    }


def _memory(ours: list[dict[str, Any]], plain: list[dict[str, Any]]) -> dict[str, str]:
    return {
        "peak GB": f"{_median(ours, 'peak') / 1e9:.2f}",
        "peak/plain": f"{_median(ours, 'peak') / _median(plain, 'peak'):.2f}",
    }


def _print_table(rows: list[dict[str, str]]) -> None:
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join([first.strip().ljust(widths[0]), *others]))


@main.command(hidden=True)
@click.argument("task", type=json.loads)
def worker(task: dict[str, Any]) -> None:
    """Measure one contender in this process and print the result as JSON."""
    stylizes = task["task"] == "stylize" and task["contender"] != PLAIN
    if stylizes and task["device"] == "cpu":  # which takes no PyTorch, nor its memory
        click.echo(json.dumps({**_stylize(task, None), "machine": _machine(None)}))
        return

    import torch

    from fast_style.devices import find_device
    from fast_style.errors import UserError

    try:
        device = find_device(task["device"])
    except UserError as error:
        click.echo(f"benchmark: {error}", err=True)
        sys.exit(2)
    tasks = {
        "train": _train,
        "matrix_rate": _matrix_rate,
        "data": _data,
        "stylize": _stylize,
        "agreement": _agreement,
        "prepare": _prepare,
        "scale": _scale,
        "scale_agreement": _scale_agreement,
        "scale_batch": _scale_batch,
        "startup": _startup,
    }
    measure = tasks[task["task"]]
    torch.manual_seed(0)
    result = measure(task, device)
    click.echo(json.dumps({**result, "machine": _machine(device)}))


def _train(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if task["contender"] == OURS_LOADING:
        return _our_run(task, device)
    if task["contender"] == PLAIN_LOADING:
        return _plain_run(task, device)
    shape = (task["batch"], 3, task["size"], task["size"])
    batch = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    eagerly = None
    if task["contender"] == PLAIN:
        step, precision = _plain_training(repeat(batch.float()), device), "32-true"
    else:
        from fast_style.devices import best_precision

        wide = task["contender"] in (OURS_FP32, "float32")
        precision = "32-true" if wide else best_precision(device.type)
        step, eagerly = _our_training(batch, task["loss"], precision, task["contender"])
    before = _reset_peak(device)
    try:
        first = sum(_time(step, device) for _ in range(_warm_up(device)))
    except Exception as error:
        if task["contender"] != COMPILED:
            raise
        return {"failure": f"{error}".partition("\n")[0]}  # not every release compiles all of it
    if device.type == "cpu":
        seconds = statistics.median(_time(step, device) for _ in range(task["steps"]))
    else:
        seconds = _time(lambda: [step() for _ in range(task["steps"])], device) / task["steps"]
    result = {
        "seconds": seconds,
        "first": first,
        "before": before,
        "peak": _peak(device),
        "precision": precision,
    }
    counted = 2  # one at full strength, one at any
    with FlopCounterMode(display=False) as counter:
        for _ in range(counted):
            (eagerly or step)()
    return {**result, "operations": counter.get_total_flops() / counted}


def _matrix_rate(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    import torch

    from fast_style.devices import tune_for
    from fast_style.networks.transformer import ImageTransformer

    tune_for(device, ImageTransformer())  # float32 products are those of training
    dtype = torch.bfloat16 if task["precision"] == "bf16-mixed" else torch.float32
    side = 4096
    a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = statistics.median(_time(lambda: a @ b, device) for _ in range(10))
    return {"operations_per_second": 2 * side**3 / seconds}


def _our_run(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Seconds a step of `fast-style train`, between its own logs, loader and logging included."""
    from hydra import compose, initialize_config_dir
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from fast_style.bundled import CONF
    from fast_style.config.compose import register_resolvers
    from fast_style.training.train import train

    before = _reset_peak(device)
    register_resolvers()
    # On a GPU each tenth step is logged.
    warm_up = WARM_UP if device.type == "cpu" else 2 * WARM_UP_ON_GPU
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*_recipe(device, task["loss"]), "data=photos"]
        overrides += [f"data.dir='{task['photos']}'", f"data.size={task['size']}"]
        overrides += [f"data.batch_size={task['batch']}", f"output_dir={folder}/run"]
        overrides += [f"trainer.accelerator={'gpu' if device.type == 'cuda' else 'cpu'}"]
        overrides += ["trainer.val_check_interval=1000000000"]
        if device.type == "cpu":  # a GPU has to wait for each log
            overrides += ["trainer.log_every_n_steps=1"]
        if task["minutes"] is None:
            overrides += [f"trainer.max_steps={warm_up + task['steps']}"]
        else:
            overrides += [f"callbacks.schedule.minutes={task['minutes']}", "trainer.max_steps=-1"]
        if task["loss"] == "vgg19":
            overrides += [f"loss.weights={folder}/vgg19.safetensors"]
            _write_random_vgg19(Path(folder) / "vgg19.safetensors")
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", overrides)
        train(cfg)
        log = EventAccumulator(f"{folder}/run/tensorboard").Reload()
        logged = log.Scalars("train_speed/images_per_second")
        steps = [event for event in logged if event.step >= warm_up]
    seconds = (steps[-1].wall_time - steps[0].wall_time) / (steps[-1].step - steps[0].step)
    precision = cfg.trainer.precision
    return {"seconds": seconds, "before": before, "peak": _peak(device), "precision": precision}


def _plain_run(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Seconds a step of the plain loop that reads its photos itself, one after the other."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    before = _reset_peak(device)
    size, batch_size = task["size"], task["batch"]
    steps = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
    transform = transforms.Compose([*steps, transforms.Lambda(lambda x: x.mul(255))])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "photos").symlink_to(task["photos"])
        loader = DataLoader(datasets.ImageFolder(folder, transform), batch_size)
        batches = (photos.to(device) for _ in repeat(None) for photos, _ in loader)
        step = _plain_training(batches, device)
        for _ in range(_warm_up(device)):
            step()
        started, done = time.perf_counter(), 0
        limit = task["minutes"] and 60 * task["minutes"]
        while time.perf_counter() - started < limit if limit else done < task["steps"]:
            _time(step, device)
            done += 1
        seconds = (time.perf_counter() - started) / done
    return {"seconds": seconds, "before": before, "peak": _peak(device), "precision": "32-true"}


def _data(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Seconds a photo takes from its file into a batch, and from nothing to the first batch."""
    import numpy as np
    import torch
    from PIL.JpegImagePlugin import JpegImageFile
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    folder, size, workers = Path(task["folder"]), task["size"], task["workers"]
    started = time.perf_counter()
    loader: DataLoader[Any]
    if task["contender"] == PACKED:
        crops = np.load(folder.parent.parent / "crops.npy", mmap_mode="r")
        order = torch.randperm(COCO) % len(crops)
        loader = DataLoader(crops, 16, sampler=order.tolist(), num_workers=workers)
    elif task["contender"] in (OURS, NO_DRAFT):
        import pytorch_lightning as pl

        from fast_style.data.content import ContentData

        if task["contender"] == NO_DRAFT:
            JpegImageFile.draft = lambda *_: None  # type: ignore[method-assign]
        content = ContentData(str(folder), size, batch_size=16, workers=workers)
        content.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        loader = content.train_dataloader()
    else:
        steps = (
            [
                transforms.RandomResizedCrop(size, (0.25, 1), (1, 1)),
                transforms.RandomHorizontalFlip(),
            ]
            if task["contender"] == TORCHVISION[0]
            else [transforms.Resize(size), transforms.CenterCrop(size)]
        )
        transform = transforms.Compose([*steps, transforms.ToTensor()])
        photos = datasets.ImageFolder(str(folder.parent), transform)
        loader = DataLoader(photos, 16, num_workers=workers)
    batches = iter(loader)
    next(batches)
    start = time.perf_counter() - started
    for _ in range(WARM_UP):
        next(batches)
    started = time.perf_counter()
    count = -(-task["count"] // 16)
    for _ in range(count):
        next(batches)
    return {"seconds": (time.perf_counter() - started) / (16 * count), "start": start}


def _warm_up(device: torch.device) -> int:
    return WARM_UP if device.type == "cpu" else WARM_UP_ON_GPU


def _recipe(device: torch.device, loss: str) -> list[str]:
    """Overrides for what ours trains by on such a device."""
    return [f"experiment={'quickstart' if device.type == 'cpu' else 'coco'}", f"loss={loss}"]


def _our_training(
    batch: torch.Tensor, loss_name: str, precision: str, candidate: str
) -> tuple[Callable[[], None], Callable[[], None]]:
    """A step as `fast-style train` makes it, or with one of the `CANDIDATES`; and that without
    graphs."""
    import torch
    import torch.nn.functional as F
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from fast_style.bundled import CONF
    from fast_style.config.compose import register_resolvers
    from fast_style.devices import tune_for
    from fast_style.losses import content_loss, gram_matrix, style_loss, total_variation
    from fast_style.losses.functional import FeatureProducts
    from fast_style.networks import operations
    from fast_style.networks.cuda_graphs import CudaRecorder
    from fast_style.training.module import StyleTransfer

    device = batch.device
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", _recipe(device, loss_name))
    with tempfile.TemporaryDirectory() as folder:
        if loss_name == "vgg19":
            cfg.loss.weights = str(Path(folder) / "vgg19.safetensors")
            _write_random_vgg19(Path(cfg.loss.weights))
        loss = instantiate(cfg.loss)
    make_optimizer = instantiate(cfg.optimizer)
    if candidate.startswith("Adam"):
        make_optimizer = partial(torch.optim.Adam, fused=candidate == "Adam, fused")
    module = StyleTransfer(instantiate(cfg.model), loss, make_optimizer).to(device)
    network = module.network
    loss.set_style_image(torch.rand(1, 3, cfg.style.size, cfg.style.size, device=device))
    if candidate != NOT_TUNED:
        tune_for(device, network)
    torch.backends.cudnn.benchmark = cfg.trainer.benchmark
    if candidate == "network in channels last":
        network.to(memory_format=torch.channels_last)
    if candidate == "VGG in NCHW":
        for name, weight in list(loss.vgg.named_buffers()):
            loss.vgg.register_buffer(name, weight.contiguous(), persistent=False)
    if candidate == "Gram matrices by autograd":
        FeatureProducts.apply = lambda flat: flat.float() @ flat.float().mT

    if candidate == PYTORCHS_MARGINS:
        operations._Padding.apply = lambda x, margin, skipped: F.pad(
            x, (margin,) * 4, mode="reflect" if skipped else "replicate"
        )
    if candidate == COMPILED:
        network.compile()
        loss.vgg.compile()

    terms = loss.image_terms

    def in_one_pass(
        stylized: torch.Tensor, photos: torch.Tensor, strength: float
    ) -> dict[str, torch.Tensor]:
        features = loss.vgg(torch.cat([stylized, photos]))
        content = [
            content_loss(features[layer][: len(photos)], features[layer][len(photos) :].detach())
            for layer in terms["content"].layers
        ]
        style = [
            style_loss(
                gram_matrix(features[layer][: len(photos)]),
                terms["style"].get_buffer(f"gram_{layer}"),
            )
            for layer in terms["style"].layers
        ]
        total = (
            terms["content"].weight * sum(content) / len(content)
            + terms["style"].weight * sum(style) / len(style)
            + terms["tv"].weight * total_variation(stylized)
        )
        return {"total": total}

    if candidate == ONE_VGG_PASS:
        loss.forward = in_one_pass
    if device.type == "cuda" and candidate != OURS_EAGERLY:
        module.recorder = CudaRecorder(device)
    module.begin(module.configure_optimizers())
    # A quickstart trains at full strength and at any, too, but its table has always had this.
    numbers = repeat(FULL_STRENGTH) if device.type == "cpu" else count()

    def step() -> None:
        autocast = torch.autocast(device.type, torch.bfloat16)
        with autocast if precision == "bf16-mixed" else nullcontext():
            module.take(batch, next(numbers))

    def eagerly() -> None:
        module.recorder = None
        step()

    return step, eagerly


def _write_random_vgg19(path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from torch import nn

    from fast_style.networks.vgg import layer_plan

    tensors = {}
    for name, index, (inputs, outputs) in layer_plan("vgg19", frozenset({"relu5_4"})):
        if name != "pool":
            weight = nn.init.kaiming_normal_(torch.empty(outputs, inputs, 3, 3))
            tensors[f"features.{index}.weight"] = weight
            tensors[f"features.{index}.bias"] = torch.zeros(outputs)
    save_file(tensors, path)


def _plain_training(batches: Iterator[torch.Tensor], device: torch.device) -> Callable[[], None]:
    """A step on the next batch, RGB in [0, 255]."""
    import torch
    import torch.nn.functional as F

    from fast_style.networks import kernels
    from fast_style.networks.vgg import VGGFeatures

    def gram(x: torch.Tensor) -> torch.Tensor:
        number, channels, height, width = x.shape
        flat = x.view(number, channels, height * width)
        return flat.bmm(flat.transpose(1, 2)) / (channels * height * width)

    kernels.serving.AVAILABLE = False  # ours would serve its VGG, too
    network = _plain_network().to(device)
    vgg = VGGFeatures("vgg16", STYLE_LAYERS, "bundled").to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    with torch.no_grad():
        painting = vgg(torch.rand(1, 3, 256, 256, device=device))
        grams = {layer: gram(features) for layer, features in painting.items()}

    def step() -> None:
        optimizer.zero_grad()
        photos = next(batches)
        stylized = network(photos)
        found, wanted = vgg(stylized / 255), vgg(photos / 255)
        content = 1e5 * F.mse_loss(found["relu2_2"], wanted["relu2_2"])
        style = sum(
            F.mse_loss(gram(found[layer]), grams[layer].expand(len(photos), -1, -1))
            for layer in STYLE_LAYERS
        )
        (content + 1e10 * style).backward()
        optimizer.step()

    return step


def _stylize(task: dict[str, Any], device: torch.device | None) -> dict[str, Any]:
    from fast_style.images import open_picture
    from fast_style.stylizing.files import Job, stylize_files
    from fast_style.stylizing.stylizer import Stylizer

    folder = Path(task["folder"])
    source = folder / "photos" / "0.jpg"
    picture = open_picture(source)
    if task["contender"] == PLAIN:
        assert device is not None
        call = _plain_stylizing(picture, device)
    else:
        precision = "float32" if task["contender"] == OURS_FP32 else "auto"
        stylizer = Stylizer(folder / "style.safetensors", task["device"], precision)
        given = picture if device is None else _on(device, picture)

        def call() -> object:
            return stylizer(given)

    before = _reset_peak(device)
    for _ in range(WARM_UP):
        _time(call, device)
    seconds = statistics.median(_time(call, device) for _ in range(task["repeats"]))
    result = {"seconds": seconds, "before": before, "peak": _peak(device), "precision": "float32"}
    if task["contender"] != PLAIN:
        result["precision"] = stylizer.precision
        files = 1 if device is None else FILES_ON_GPU
        targets = [folder / "stylized" / f"{number}.jpg" for number in range(files)]
        jobs = [Job(source, target, str(number)) for number, target in enumerate(targets)]
        work = stylize_files(stylizer.begin, jobs, None, stylizer.files_at_once)
        result["file_seconds"] = _time(lambda: list(work), device) / files
    return result


def _plain_stylizing(picture: Any, device: torch.device) -> Callable[[], object]:
    """From picture to picture on a CPU, from tensor to tensor on a GPU."""
    import torch

    from fast_style.images import to_picture, to_tensor

    network = _plain_network().to(device)
    photo = _on(device, picture)

    @torch.inference_mode()
    def call() -> object:
        if device.type == "cpu":
            return to_picture(network(to_tensor(picture)[None] * 255)[0] / 255)
        return network(photo * 255)

    return call


def _on(device: torch.device, picture: Any) -> torch.Tensor:
    from fast_style.images import to_tensor

    return to_tensor(picture).unsqueeze(0).to(device)


def _scale(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    import torch

    from fast_style.devices import computes_in_bf16
    from fast_style.images import to_picture, to_tensor
    from fast_style.stylizing.bands import stylize_in_bands

    picture = _photo().resize((task["side"], task["side"]))
    dtype = torch.bfloat16 if computes_in_bf16(device) else torch.float32
    if task["contender"] == PLAIN:
        network = _plain_network().to(device)

        @torch.inference_mode()
        def call() -> object:
            return to_picture(network(to_tensor(picture)[None].to(device) * 255)[0] / 255)
    elif task["contender"] == IN_BANDS:
        ours = _our_network(task["model"]).to(device)

        def call() -> object:
            return stylize_in_bands(ours, picture, device, dtype, torch.bfloat16)
    elif task["contender"] == SAME_ENGINE:
        ours = _our_network(task["model"]).to(dtype=dtype, memory_format=torch.channels_last)

        @torch.inference_mode()
        def call() -> object:
            return to_picture(ours(to_tensor(picture)[None].to(dtype))[0])
    else:
        stylizer = _our_stylizer(task, device)

        def call() -> object:
            return stylizer(picture)

    before = _reset_peak(device)
    # The first call takes longer, which matters where calls are short; a GPU replays the third.
    short = device.type == "cuda" or task["side"] ** 2 <= 4e6
    seconds = min(_time(call, device) for _ in range(3 if short else 1))
    return {"seconds": seconds, "before": before, "peak": _peak(device)}


def _scale_agreement(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """How near bands come to one pass, before either is rounded to 8 bits."""
    import numpy as np
    import torch
    from PIL import Image

    from fast_style.devices import computes_in_bf16
    from fast_style.images import to_tensor
    from fast_style.images.grain import with_grain
    from fast_style.stylizing.bands import stylized_bands

    picture = _photo().resize((task["side"], task["side"]))
    network = _our_network(task["model"])
    bf16 = task["contender"] != OURS_FP32 and computes_in_bf16(device)
    dtype = torch.bfloat16 if bf16 else torch.float32
    with torch.no_grad():
        kept_in = dtype if task["contender"] == OURS_FP32 else torch.bfloat16
        bands = stylized_bands(network, picture, device, dtype, kept_in)
        in_bands = torch.cat([band.cpu() for band in bands], dim=2)
        if task["contender"] == SAME_ENGINE:
            given = Image.fromarray(with_grain(np.asarray(picture)))
            network.to(dtype=dtype, memory_format=torch.channels_last)
            whole = network(to_tensor(given)[None].to(dtype)).float()
        else:
            stylizer = _our_stylizer(task, device)
            whole = stylizer(to_tensor(picture)[None].to(device)).cpu()
    named = {"precision": f"{dtype}", "kept_in": f"{kept_in}"}
    return {"psnr": _psnr(whole, in_bands), **named}


def _scale_batch(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    import torch

    photos = torch.rand(task["batch"], 3, 256, 256, device=device)
    stylizer = _our_stylizer(task, device)
    _reset_peak(device)
    seconds = min(_time(lambda: stylizer(photos), device) for _ in range(3))
    return {"seconds": seconds, "peak": _peak(device)}


def _startup(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Seconds to list a folder (`os.walk`), to make the data of it, and to its first batch."""
    import os

    from torch.utils.data import DataLoader

    from fast_style.data.content import ContentData, EndlessSampler
    from fast_style.images import save_picture

    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        save_picture(_photo().resize((320, 240)), photo)
        photos = Path(folder) / "photos"
        for number in range(task["photos"]):
            path = photos / f"{number // 1000:03}" / f"{number:06}.jpg"
            if number % 1000 == 0:
                path.parent.mkdir(parents=True)
            try:
                path.hardlink_to(photo)
            except OSError:  # a disk allows a file so many names
                path.symlink_to(photo)
        ContentData(None)  # imports what there is to import
        listing = _time(lambda: sorted(os.walk(photos)), device)
        started = time.perf_counter()
        data = ContentData(str(photos), size=128, workers=0)
        construction = time.perf_counter() - started
        sampler = EndlessSampler(len(data.dataset), seed=0)
        next(iter(DataLoader(data.dataset, batch_size=4, sampler=sampler)))
        first_batch = time.perf_counter() - started
    return {"listing": listing, "construction": construction, "first_batch": first_batch}


def _agreement(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """How near ours comes to ours in float32, on a bundled photo at its own size."""
    from fast_style.images import to_tensor

    def painted(contender: str) -> torch.Tensor:
        stylizer = _our_stylizer({**task, "contender": contender}, device)
        for _ in range(WARM_UP):
            stylizer(_photo())
        return to_tensor(stylizer(_photo()))  # of a GPU, by its graph

    return {"psnr": _psnr(painted(OURS), painted(OURS_FP32))}


def _psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """In dB, of values in [0, 1]."""
    mse = (first.double() - second.double()).square().mean()
    return float(-10 * mse.clamp_min(1e-20).log10())


def _our_stylizer(task: dict[str, Any], device: torch.device) -> Stylizer:
    from fast_style.checkpoint import TrainedStyle, save_style
    from fast_style.stylizing.stylizer import Stylizer

    network = _our_network(task["model"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.safetensors"
        save_style(TrainedStyle(network, "untrained"), path)
        precision = "float32" if task["contender"] == OURS_FP32 else "auto"
        return Stylizer(path, str(device), precision)


def _our_network(model: str) -> Any:
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from fast_style.bundled import CONF
    from fast_style.config.compose import register_resolvers

    torch.manual_seed(0)
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("train", [f"model={model}"]).model)


def _plain_network() -> nn.Module:
    """Johnson's network for RGB in [0, 255], each layer as it is usually written."""
    from torch import nn

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)]

    def norm(channels: int) -> nn.Module:
        return nn.InstanceNorm2d(channels, affine=True)

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, second = conv(128, 128, 3), conv(128, 128, 3)
            self.body = nn.Sequential(*first, norm(128), nn.ReLU(), *second, norm(128))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.body(x)

    def up(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Upsample(scale_factor=2, mode="nearest"), *conv(inputs, outputs, 3)]

    layers = [*conv(3, 32, 9), norm(32), nn.ReLU()]
    layers += [*conv(32, 64, 3, stride=2), norm(64), nn.ReLU()]
    layers += [*conv(64, 128, 3, stride=2), norm(128), nn.ReLU()]
    layers += [Residual() for _ in range(5)]
    layers += [*up(128, 64), norm(64), nn.ReLU(), *up(64, 32), norm(32), nn.ReLU()]
    return nn.Sequential(*layers, *conv(32, 3, 9))


def _photo() -> Any:
    from fast_style.bundled import PHOTOS
    from fast_style.images import find_pictures, open_picture

    return open_picture(find_pictures(PHOTOS)[0])


# Below, no device is the CPU in a process without PyTorch.


def _time(call: Callable[[], object], device: torch.device | None) -> float:
    """Seconds until the device has done what the call asked for."""

    def synchronize() -> None:
        if device is not None and device.type != "cpu":
            import torch

            torch.accelerator.synchronize(device)

    synchronize()
    started = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - started


def _reset_peak(device: torch.device | None) -> int:
    """Bytes in use now: of the GPU, or resident of this process."""
    import psutil

    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    rss: int = psutil.Process().memory_info().rss
    return rss


def _peak(device: torch.device | None) -> int:
    """Most bytes in use: of the GPU since `_reset_peak`, or resident since the process began."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _machine(device: torch.device | None) -> str:
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
    if device is not None and device.type == "cuda":
        import torch

        parts.append(torch.cuda.get_device_name(device))
    return "; ".join(parts)


if __name__ == "__main__":
    main()
