"""Tables on the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Protocol

import click


class Timed(Protocol):
    """A result with a time."""

    @property
    def seconds(self) -> float: ...


class Weighed(Protocol):
    """A result with a peak of memory in bytes."""

    @property
    def peak(self) -> int: ...


def median_seconds(results: Iterable[Timed]) -> float:
    return statistics.median(result.seconds for result in results)


def median_peak(results: Iterable[Weighed]) -> float:
    """In bytes."""
    return statistics.median(result.peak for result in results)


def timing_cells(unit: str, results: Sequence[Timed], plain: Sequence[Timed]) -> dict[str, str]:
    """Cells on time: the median, the range, and the ratio to the plain contender."""
    seconds = [result.seconds for result in results]
    return {
        unit: f"{statistics.median(seconds):.4f}",
        "fastest to slowest": f"{min(seconds):.4f} to {max(seconds):.4f}",
        "time/plain": f"{median_seconds(results) / median_seconds(plain):.2f}",
    }


def memory_cells(results: Sequence[Weighed], plain: Sequence[Weighed]) -> dict[str, str]:
    """Cells on peak memory: the median, and the ratio to the plain contender."""
    return {
        "peak GB": f"{median_peak(results) / 1e9:.2f}",
        "peak/plain": f"{median_peak(results) / median_peak(plain):.2f}",
    }


def print_table(rows: Sequence[dict[str, str]]) -> None:
    """Print rows with the same keys, the first column aligned to the left."""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join([first.strip().ljust(widths[0]), *others]))
