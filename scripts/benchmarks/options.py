"""Options that several commands have."""

from __future__ import annotations

import click

from benchmarks.meters import has_cuda
from benchmarks.processes import run


def _resolved(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if run(has_cuda) else "cpu"


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    callback=lambda context, option, device: _resolved(device),
    help="auto is a GPU if there is one.",
)
rounds_option = click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Fresh processes for each contender. The table has their median, and the range from the "
    "fastest to the slowest.",
)
