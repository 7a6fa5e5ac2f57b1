"""Messages of commands on standard error, and their exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from fast_style.errors import UserError
from fast_style.shell import readable

WRONG_INPUT = 2  # exit code, as click uses it for wrong usage
INTERRUPTED = 130  # exit code, as shells report it after Ctrl-C


def complain(error: UserError) -> None:
    """Print a user's mistake."""
    lines = [readable(line) for line in str(error).splitlines()]
    click.echo("fast-style: " + "\n".join(lines), err=True)


def note(sentence: str) -> None:
    """Print a sentence above the progress bar, if there is one."""
    from tqdm import tqdm

    tqdm.write(f"fast-style: {readable(sentence)}", file=sys.stderr)


@contextmanager
def warnings_shown(
    shown: bool = True, explain: Callable[[str], str] = lambda sentence: sentence
) -> Iterator[None]:
    """Print what the package logs as a warning, each sentence once.

    Args:
        shown: False to print none.
        explain: changes each sentence before it is printed.
    """
    handler = _Notes(explain) if shown else logging.NullHandler()
    log = logging.getLogger("fast_style")
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = True


class _Notes(logging.Handler):
    def __init__(self, explain: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self.explain = explain
        self.shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        sentence = self.explain(record.getMessage())
        if sentence not in self.shown:
            self.shown.add(sentence)
            note(sentence)
