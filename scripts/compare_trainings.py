"""Compare ways to train over several paintings and seeds, on held-out photos."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from fast_style.errors import UserError

if TYPE_CHECKING:
    from fast_style.evaluation.results import SizeFigures

    Measured = dict["Run", dict[int, SizeFigures]]

# Columns of the table.
FIGURES = ("total", "content", "style", "checkerboard", "change_shifted", "border_contrast_3")


class Run(NamedTuple):
    """One training, and its folder."""

    variant: str
    painting: str
    seed: int
    folder: Path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("variants", nargs=-1, required=True)
@click.option(
    "--painting",
    "paintings",
    multiple=True,
    required=True,
    help="File of a painting, or the name of a bundled one; may be repeated.",
)
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True)
@click.option("--photos", help="Folder of photos to train on; by default dead leaves.")
@click.option(
    "--held-out",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Folder of photos to measure on; by default the bundled ones.",
)
@click.option(
    "--size", "sizes", type=click.IntRange(16), multiple=True, default=[256], show_default=True
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    required=True,
)
def main(
    variants: Sequence[str],
    paintings: Sequence[str],
    seeds: int,
    photos: str | None,
    held_out: str | None,
    sizes: Sequence[int],
    out: Path,
) -> None:
    """Train each painting with each of the VARIANTS and seeds, one after the other, and compare.

    A variant is a name, a colon and the arguments of `fast-style train`. All networks are measured
    with conf/loss/vgg16.yaml, whatever their own loss. Trainings that OUT already holds are not
    repeated, so variants, paintings and seeds can be added later.

    \b
    python scripts/compare_trainings.py --painting a.jpg --painting poppy-field -o OUT \\
        "scratch: experiment=quickstart callbacks.schedule.minutes=5 trainer.max_steps=-1" \\
        "base: experiment=quickstart callbacks.schedule.minutes=1 trainer.max_steps=-1 init=base"
    """
    try:
        recipes = _recipes(variants, photos)
        runs = _plan(recipes, paintings, seeds, sizes, out)
        _train_missing(runs, recipes)
        measured = _measure(runs, held_out, sizes, out)
    except UserError as error:
        click.echo(f"compare_trainings: {error}", err=True)
        sys.exit(2)
    for size in sizes:
        _print_table(measured, size)


def _recipes(variants: Sequence[str], photos: str | None) -> dict[str, list[str]]:
    """The arguments of `fast-style train` for each variant, by name."""
    data = [] if photos is None else ["data=photos", f"data.dir='{Path(photos).resolve()}'"]
    recipes = {}
    for variant in variants:
        name, colon, overrides = variant.partition(":")
        if not (name and colon):
            raise UserError(f"'{variant}' is no variant: write a name, a colon and overrides")
        recipes[name.strip()] = [*data, *overrides.split()]
    return recipes


def _plan(
    recipes: Iterable[str],
    paintings: Sequence[str],
    seeds: int,
    sizes: Sequence[int],
    out: Path,
) -> list[Run]:
    from fast_style.evaluation.evaluate import MIN_SIZE

    if min(sizes) < MIN_SIZE:
        raise UserError(f"pictures of {min(sizes)} px are too small to measure: give {MIN_SIZE}")
    return [
        Run(variant, painting, seed, out / Path(painting).stem / f"{variant}-{seed}")
        for painting in paintings
        for seed in range(seeds)
        for variant in recipes
    ]


def _train_missing(runs: Sequence[Run], recipes: Mapping[str, Sequence[str]]) -> None:
    for number, run in enumerate(runs, 1):
        if not list(run.folder.glob("*.safetensors")):
            click.echo(f"{number} of {len(runs)}: {run.painting}, {run.variant}, seed {run.seed}")
            _train(run, recipes[run.variant])


def _train(run: Run, overrides: Sequence[str]) -> None:
    # Renamed once complete: an interrupted training must not pass for a whole one.
    beside = run.folder.with_name(f".{run.folder.name}")
    command = [sys.executable, "-m", "fast_style.cli", "train", *overrides]
    command += [f"style={run.painting}", f"seed={run.seed}", f"hydra.run.dir='{beside}'"]
    if subprocess.run(command).returncode:
        raise UserError(f"the training of {run.painting} by {run.variant} failed")
    beside.rename(run.folder)


def _measure(
    runs: Sequence[Run], held_out: str | None, sizes: Sequence[int], out: Path
) -> Measured:
    from fast_style.evaluation.evaluate import Plan, evaluate

    measured: Measured = {}
    for painting in dict.fromkeys(run.painting for run in runs):
        own = [run for run in runs if run.painting == painting]
        plan = Plan(
            checkpoints=[str(next(run.folder.glob("*.safetensors"))) for run in own],
            photos=Path(held_out) if held_out else None,
            painting=Path(painting) if Path(painting).is_file() else None,
            sizes=sizes,
            evaluations=0,
            loss="vgg16",
        )
        report = evaluate(plan, out / f"report-{Path(painting).stem}")
        for run, checkpoint in zip(own, report.checkpoints, strict=True):
            measured[run] = checkpoint.sizes
    return measured


def _print_table(measured: Measured, size: int) -> None:
    click.echo(f"\n{size} px; for each painting the mean over the seeds, and all seeds' totals")
    click.echo("| painting | variant | " + " | ".join(FIGURES) + " | totals |")
    click.echo("| --- " * (len(FIGURES) + 3) + "|")
    for painting, variant in dict.fromkeys((run.painting, run.variant) for run in measured):
        found = [
            sizes[size]
            for run, sizes in measured.items()
            if (run.painting, run.variant) == (painting, variant)
        ]
        cells = [Path(painting).stem, variant, *(_mean(found, name) for name in FIGURES)]
        cells.append(", ".join(f"{each.losses['total']:.3f}" for each in found))
        click.echo("| " + " | ".join(cells) + " |")


def _mean(found: Sequence[SizeFigures], name: str) -> str:
    values = [(each.losses | each.artifacts)[name] for each in found]
    return f"{statistics.mean(value for value in values if value is not None):.3g}"


if __name__ == "__main__":
    main()
