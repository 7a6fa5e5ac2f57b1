"""Lets ``python -m gpu_check`` run the check, see gpu_check.sh."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.meters import has_cuda
from benchmarks.processes import run
from gpu_check.check import ROOT, Check, PartFailed
from gpu_check.loads import LOADS
from gpu_check.parts import PARTS

SECONDS = 470  # of all parts together; with start and end, eight minutes


@click.command("gpu_check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("out", type=click.Path(path_type=Path, file_okay=False, resolve_path=True))
@click.argument(
    "photos",
    required=False,
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
)
@click.option(
    "--device",
    type=click.Choice(["cuda", "cpu"]),
    default="cuda",
    show_default=True,
    help="cpu runs everything very small, to see that it runs.",
)
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="May be repeated.")
def main(out: Path, photos: Path | None, device: str, only: tuple[str, ...]) -> None:
    """Measure the goals of this project on one GPU, in at most eight minutes.

    PHOTOS to train on are by default the bundled ones, over and over. OUT gets table.md, written as
    results come, log.txt with all output, and what was trained. The exit code is 1 if a goal is
    missed or a part failed.
    """
    started = time.monotonic()
    if device == "cuda" and not run(has_cuda):
        click.echo("gpu_check: PyTorch finds no GPU here; --device cpu tries the script", err=True)
        sys.exit(2)
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.txt").write_text("")
    load = LOADS[device]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = photos or _link_bundled(work / "photos", load.links)
        deadline = started + SECONDS if device == "cuda" else math.inf
        check = Check(out, folder, device, work, load, deadline)
        for news in _run_parts(check, only or tuple(PARTS)):
            click.echo(news, err=True)
    click.echo((out / "table.md").read_text())
    if not check.passed:
        sys.exit(1)


def _link_bundled(folder: Path, links: int) -> Path:
    """A folder of any size, with the bundled photos over and over."""
    sources = sorted((ROOT / "fast_style" / "assets" / "photos").glob("*.jpg"))
    folder.mkdir()
    for number in range(links):
        (folder / f"{number:06}.jpg").symlink_to(sources[number % len(sources)])
    return folder


def _run_parts(check: Check, names: tuple[str, ...]) -> Iterator[str]:
    """Run parts; yield the name of each and how it went."""
    for name in names:
        part = PARTS[name]
        started = time.monotonic()
        check.part_ends = started + part.seconds if check.device == "cuda" else math.inf
        outcome = "done"
        try:
            part.run(check)
        except PartFailed as error:
            outcome = f"{error}"
        except Exception as error:  # the other parts go on
            outcome = f"{type(error).__name__}: {error}"
        if outcome != "done":
            check.add_failure(name, outcome)
        yield f"{name}: {outcome} after {time.monotonic() - started:.0f} s"


if __name__ == "__main__":
    main()
