"""What `stylize` works on, one batch after the other: what was named, and what arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fast_style.cli.output import note
from fast_style.cli.report import Report
from fast_style.cli.shell_options import ShellOptions
from fast_style.cli.streams import Places
from fast_style.errors import UserError

if TYPE_CHECKING:
    from fast_style.stylizing.planning import Placing


@dataclass(frozen=True)
class Batch:
    """Pictures to plan and stylize together.

    Args:
        sources: pictures, and folders that stand for all pictures in them.
        placing: how their results are named.
        skip_done: whether to leave out what an earlier run has done.
    """

    sources: tuple[Path, ...]
    placing: Placing
    skip_done: bool


def batches(places: Places, shell: ShellOptions, report: Report) -> Iterator[Batch]:
    """Yield the pictures that were named and then, as they arrive, those of the watched folder.

    Raises:
        UserError: if the folder cannot be watched.
    """
    from fast_style.images import refusal_by_suffix
    from fast_style.stylizing.planning import Placing
    from fast_style.stylizing.watching import Watch

    placing = Placing(shell.recursive, shell.suffix)
    watch = Watch(shell.watch, places.out, shell.recursive) if shell.watch else None
    if places.pictures:
        yield Batch(places.pictures, placing, shell.skip_existing)
    if watch is None:
        return
    if not shell.quiet:
        note(f"watching {shell.watch}; Ctrl-C ends this")
    placing = replace(placing, base=shell.watch)
    while True:
        arrived = watch.wait()
        for path in arrived.unreadable:
            report.refuse(UserError(refusal_by_suffix(path), path))
        if arrived.old:
            yield Batch(tuple(arrived.old), placing, skip_done=True)
        if arrived.new:
            yield Batch(tuple(arrived.new), placing, skip_done=False)
