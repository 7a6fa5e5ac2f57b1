"""``fast-style optimize``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import click

from fast_style.cli.interrupts import stop_requests
from fast_style.cli.options import (
    FILE,
    MAX_SIDE,
    device_option,
    examples,
    out_option,
    seed_option,
    size_option,
)
from fast_style.cli.output import warnings_shown
from fast_style.cli.progress import ShareBar
from fast_style.extras import TRAINING, need


@click.command(
    options_metavar="[OPTIONS]",
    epilog=examples(
        "optimize photo.jpg painting.jpg",
        "optimize photo.jpg painting.jpg loss.style_weight=50   # more of the painting",
        "optimize photo.jpg painting.jpg loss.style_weight=5    # more of the photo",
        "optimize photo.jpg painting.jpg loss.tv_weight=0       # without smoothing",
        "optimize photo.jpg painting.jpg loss=vgg19             # downloads 550 MB once",
    ),
)
@click.argument("photo", type=FILE)
@click.argument("painting", type=FILE)
@click.argument("loss", nargs=-1, metavar="[loss.KEY=VALUE]...")
@out_option("optimized.png", "Picture to write.")
@size_option(
    "Longer side of the picture in pixels. Twice the size takes four times as long.",
    default=512,
    minimum=32,
)
@click.option(
    "--style-size",
    type=click.IntRange(32, MAX_SIDE),
    help="Longer side of the painting in pixels, by default the same as --size. A larger size "
    "makes larger strokes.",
)
@click.option(
    "--start",
    default="photo",
    show_default=True,
    help="Picture to start from: photo, noise, or a file, such as one that `stylize` wrote.",
)
@click.option(
    "--optimizer",
    type=click.Choice(["lbfgs", "adam"]),
    default="lbfgs",
    show_default=True,
    help="Algorithm that changes the pixels.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Evaluations of the loss at each size, from coarse to fine.",
)
@seed_option("Seed of the noise.")
@device_option
@click.option(
    "--log",
    type=FILE,
    help="Folder for losses and previews. Watch it with tensorboard --logdir.",
)
def optimize(
    photo: Path,
    painting: Path,
    loss: tuple[str, ...],
    out: Path,
    size: int,
    style_size: int | None,
    start: str,
    optimizer: Literal["lbfgs", "adam"],
    iterations: int,
    seed: int,
    device: str,
    log: Path | None,
) -> None:
    """Paint PHOTO in the style of PAINTING by changing its pixels, without a network.

    This is the method of Gatys et al. 2016: slow, and the reference for trained networks. Give
    loss.KEY=VALUE to change the loss as in training. Ctrl-C ends early and keeps the best picture
    so far.
    """
    started = time.monotonic()
    need("train", "pictures without a network", *TRAINING)
    from fast_style.optimize.files import PreparedTask, Task
    from fast_style.optimize.pyramid import Progress, Settings

    settings = Settings(size, style_size, optimizer, iterations, seed)
    with warnings_shown():
        task = PreparedTask(Task(photo, painting, out, settings, start, device, loss, log))
        with stop_requests("evaluation") as requests, ShareBar(always=True) as bar:

            def watch(progress: Progress) -> bool:
                names = ("total", "content", "style")
                figures = ", ".join(f"{name} {progress.losses[name]:.3f}" for name in names)
                bar.show(progress.done, f"{progress.side} px, {figures}")
                return bool(requests)

            losses = task.run(watch)
    shown = ", ".join(f"{name} {losses[name]:.3f}" for name in ("content", "style"))
    click.echo(f"{click.format_filename(out)}: {shown}, in {time.monotonic() - started:.0f} s")
