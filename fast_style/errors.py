"""The exception that users read."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """A mistake of the user, in one sentence that names the remedy.

    The command line prints the sentence without a traceback and exits with code 2.

    Args:
        sentence: the sentence.
        source: the file or folder that cannot be used, where programs may want to know it.
    """

    def __init__(self, sentence: str, source: Path | None = None) -> None:
        super().__init__(sentence)
        self.source = source
