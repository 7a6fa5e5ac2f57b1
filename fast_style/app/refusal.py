"""How the server says no: a status of HTTP and one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fast_style.errors import UserError
from fast_style.shell import readable

WRONG = 400
UNKNOWN = 404
NOT_NOW = 409
TOO_LARGE = 413
TOO_MANY = 429
BUSY = 503


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: status code of HTTP.
        sentence: what the visitor reads; it names the remedy.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@contextmanager
def called(path: Path, name: str) -> Iterator[None]:
    """Refuse what a visitor got wrong in the words of the command line.

    Args:
        path: the file on the server.
        name: the visitor's name of it, which takes the place of ``path`` in the sentence.
    """
    try:
        yield
    except UserError as error:
        raise Refusal(WRONG, str(error).replace(str(path), readable(name))) from error
