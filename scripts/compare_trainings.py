"""Ways to train beside each other: several paintings and seeds each, on photos they never saw."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from fast_style.errors import UserError

FIGURES = ("total", "content", "style", "checkerboard", "change_shifted", "border_contrast_3")


class Run(NamedTuple):
    """One training."""

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
    help="A painting's file or the name of a bundled one; may be repeated.",
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
    """Train each painting with each of the VARIANTS and seed, one after the other, and compare.

    A variant is a name, a colon and what `fast-style train` shall be given. All are measured by
    conf/loss/vgg16.yaml, whatever they were trained with. What OUT holds already is not trained
    again: more variants, paintings and seeds can follow later.

    \b
    python scripts/compare_trainings.py --painting a.jpg --painting poppy-field -o OUT \\
        "scratch: experiment=quickstart callbacks.schedule.minutes=5 trainer.max_steps=-1" \\
        "base: experiment=quickstart callbacks.schedule.minutes=1 trainer.max_steps=-1 init=base"
    """
    try:
        compare(_recipes(variants, photos), paintings, seeds, held_out, sizes, out)
    except UserError as error:
        click.echo(f"compare_trainings: {error}", err=True)
        sys.exit(2)


def _recipes(variants: Sequence[str], photos: str | None) -> dict[str, list[str]]:
    recipes = {}
    for variant in variants:
        name, colon, overrides = variant.partition(":")
        if not (name and colon):
            raise UserError(f"'{variant}' is no variant: write a name, a colon and overrides")
        data = [] if photos is None else ["data=photos", f"data.dir='{Path(photos).resolve()}'"]
        recipes[name.strip()] = [*data, *overrides.split()]
    return recipes


def compare(
    recipes: dict[str, list[str]],
    paintings: Sequence[str],
    seeds: int,
    held_out: str | None,
    sizes: Sequence[int],
    out: Path,
) -> None:
    """Train what is missing in ``out`` and print a table for each size."""
    from fast_style.evaluation.evaluate import MIN_SIZE, Plan, evaluate

    if min(sizes) < MIN_SIZE:
        raise UserError(f"pictures of {min(sizes)} px are too small to judge: give {MIN_SIZE}")
    runs = [
        Run(variant, painting, seed, out / Path(painting).stem / f"{variant}-{seed}")
        for painting in paintings
        for seed in range(seeds)
        for variant in recipes
    ]
    for number, run in enumerate(runs, 1):
        if not list(run.folder.glob("*.safetensors")):
            click.echo(f"{number} of {len(runs)}: {run.painting}, {run.variant}, seed {run.seed}")
            _train(run, recipes[run.variant])
    found: dict[Run, dict[str, Any]] = {}
    for painting in paintings:
        own = [run for run in runs if run.painting == painting]
        plan = Plan(
            [str(_network(run)) for run in own],
            Path(held_out) if held_out else None,
            Path(painting) if Path(painting).is_file() else None,
            sizes,
            evaluations=0,
            loss="vgg16",
        )
        report = evaluate(plan, out / f"report-{Path(painting).stem}")
        for run, measured in zip(own, report["checkpoints"], strict=True):
            found[run] = measured["sizes"]
    for size in sizes:
        click.echo(f"\n{size} px; for each painting the mean over the seeds, and all seeds' totals")
        click.echo("| painting | variant | " + " | ".join(FIGURES) + " | totals |")
        click.echo("| --- " * (len(FIGURES) + 3) + "|")
        for painting in paintings:
            for variant in recipes:
                figures = [
                    found[run][str(size)]["losses"] | found[run][str(size)]["faults"]
                    for run in runs
                    if (run.painting, run.variant) == (painting, variant)
                ]
                means = [statistics.mean(each[name] for each in figures) for name in FIGURES]
                cells = [Path(painting).stem, variant, *(f"{mean:.3g}" for mean in means)]
                cells.append(", ".join(f"{each['total']:.3f}" for each in figures))
                click.echo("| " + " | ".join(cells) + " |")


def _train(run: Run, overrides: Sequence[str]) -> None:
    # Written beside, so that a run that was cut off is not taken for a whole one.
    beside = run.folder.with_name(f".{run.folder.name}")
    command = [sys.executable, "-m", "fast_style.cli", "train", *overrides]
    command += [f"style={run.painting}", f"seed={run.seed}", f"hydra.run.dir='{beside}'"]
    if subprocess.run(command).returncode:
        raise UserError(f"the training of {run.painting} by {run.variant} failed")
    beside.rename(run.folder)


def _network(run: Run) -> Path:
    return next(run.folder.glob("*.safetensors"))


if __name__ == "__main__":
    main()
