"""Measure how fast and how lean training and stylizing are, see `benchmarks`."""

from __future__ import annotations

import click

from benchmarks.candidates import candidates
from benchmarks.data import data
from benchmarks.film import film
from benchmarks.peer import peer
from benchmarks.plain import plain_script
from benchmarks.processes import worker
from benchmarks.scale import scale
from benchmarks.stylize import stylize
from benchmarks.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure training and stylizing against a plain float32 network.

    \b
    python scripts/benchmark.py train                     as the quickstart trains
    python scripts/benchmark.py train --photos DIR        from files on
    python scripts/benchmark.py candidates                a step with one thing done otherwise
    python scripts/benchmark.py data --photos DIR         from files to batches
    python scripts/benchmark.py stylize                   a picture of 1920 x 1080
    python scripts/benchmark.py film                      a film of 640 x 360
    python scripts/benchmark.py scale                     pictures of 0.25 to 100 megapixels
    python scripts/benchmark.py peer DIR                  whole commands beside pytorch/examples
    OMP_NUM_THREADS=1 python scripts/benchmark.py ...     on one core

    Close other programs first. Each contender runs --rounds times in a process of its own, and a
    wide spread in the table means that something else was running.
    """


for command in (train, candidates, data, stylize, film, scale, peer, worker, plain_script):
    main.add_command(command)

if __name__ == "__main__":
    main()
