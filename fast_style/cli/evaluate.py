"""``fast-style evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fast_style.cli.options import (
    FILE,
    MAX_SIDE,
    complete_style,
    device_option,
    examples,
    out_option,
    seed_option,
)
from fast_style.cli.output import INTERRUPTED, warnings_shown
from fast_style.cli.progress import ShareBar
from fast_style.extras import TRAINING, need


@click.command(
    epilog=examples(
        "evaluate starry-night wave",
        "evaluate mine.safetensors --size 256 --count 2 --evaluations 0   # within seconds",
        "evaluate old.safetensors new.safetensors --painting mine.jpg --photos photos",
    )
)
@click.argument("checkpoints", nargs=-1, required=True, shell_complete=complete_style)
@click.option(
    "--photos",
    type=FILE,
    help="Folder of photos that no network was trained on. By default the bundled ones.",
)
@click.option(
    "--painting",
    type=FILE,
    help="The painting's file. For networks of several paintings, the folder that holds them.",
)
@out_option("report", "Folder for report.json, index.html with its pictures, and TensorBoard logs.")
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(1, MAX_SIDE),
    multiple=True,
    default=(256, 512, 1024),
    show_default=True,
    help="Side in pixels of the square cut from each photo's centre; may be repeated.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Number of photos at most, in order of their names.",
)
@click.option(
    "--evaluations",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Number of times L-BFGS may evaluate the loss of each photo. 0 skips this comparison.",
)
@click.option(
    "--evaluations-at",
    type=click.IntRange(1),
    multiple=True,
    help="Size at which L-BFGS runs, by default the smallest; may be repeated. Twice the side "
    "takes four times as long.",
)
@click.option(
    "--loss",
    help="Measure all networks with this loss: vgg16, vgg19 or johnson. By default each is "
    "measured with the loss it was trained with.",
)
@seed_option("Seed of the noise that is added to photos and that L-BFGS starts from.")
@device_option
def evaluate(
    checkpoints: tuple[str, ...],
    photos: Path | None,
    painting: Path | None,
    out: Path,
    sizes: tuple[int, ...],
    count: int,
    evaluations: int,
    evaluations_at: tuple[int, ...],
    loss: str | None,
    seed: int,
    device: str,
) -> None:
    """Compare networks: losses, artifacts, and how long L-BFGS takes to reach the same loss.

    CHECKPOINTS are shipped styles (see `styles`) or .safetensors files. Totals can be compared only
    between networks of the same painting and the same loss. Ctrl-C keeps what was measured so far.
    """
    need("train", "evaluations", *TRAINING)
    from fast_style.evaluation.evaluate import Plan, evaluate

    plan = Plan(
        checkpoints=checkpoints,
        photos=photos,
        painting=painting,
        sizes=sorted(set(sizes)),
        count=count,
        evaluations=evaluations,
        evaluations_sizes=sorted(set(evaluations_at or (min(sizes),))),
        loss=loss,
        seed=seed,
        device=device,
    )
    with warnings_shown(), ShareBar() as bar:
        found = evaluate(plan, out, lambda progress: bar.show(progress.done, progress.doing))

    for checkpoint in found.checkpoints:
        for size, figures in checkpoint.sizes.items():
            line = f"{checkpoint.name:20} {size:>5} px  total {figures.losses['total']:.2f}"
            if figures.has_reference:
                median = figures.evaluations
                reached = f"more than {evaluations}" if median is None else f"{median:g}"
                line += f", as L-BFGS after {reached} evaluations"
            click.echo(line)
    click.echo("\n" + click.format_filename(out / "index.html"))
    if not found.complete:
        click.echo("fast-style: stopped; this is what was measured so far", err=True)
        sys.exit(INTERRUPTED)
