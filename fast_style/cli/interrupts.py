"""Handle Ctrl-C while a command works."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from fast_style.cli.output import INTERRUPTED


@contextmanager
def exit_at_ctrl_c() -> Iterator[None]:
    """End the program at once at Ctrl-C.

    Python's usual exit waits for threads, which may work on a large picture for minutes.
    """
    try:
        yield
    except KeyboardInterrupt:
        from fast_style.files import remove_unfinished

        remove_unfinished()
        click.echo("fast-style: stopped; what was written before is complete", err=True)
        sys.stdout.flush()
        os._exit(INTERRUPTED)


@contextmanager
def stop_requests(step: str) -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that the command can stop after its current step.

    A second signal ends the program at once.

    Args:
        step: what is finished first, for the message.

    Yields:
        The signals so far. It is empty until the user asks to stop.
    """
    caught: list[int] = []
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def catch(number: int, frame: FrameType | None) -> None:
        from tqdm import tqdm

        caught.append(number)
        tqdm.write(f"stopping after this {step}; once more to stop at once", file=sys.stderr)
        restore()

    for number in previous:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        restore()
