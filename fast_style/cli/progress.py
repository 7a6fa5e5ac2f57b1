"""Progress bars on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

    from fast_style.film import FilmProgress


@contextmanager
def picture_bar(total: int, shown: bool = True) -> Iterator[tqdm[NoReturn]]:
    """A bar that counts pictures, on a terminal. Its clock runs on while one is worked on.

    Args:
        total: number of pictures.
        shown: False for no bar on a terminal either.
    """
    from tqdm import tqdm

    done = threading.Event()
    hidden = None if shown and total else True  # None hides it where there is no terminal
    with tqdm(total=total, unit="picture", disable=hidden, leave=False) as bar:

        def tick() -> None:
            while not done.wait(0.5):
                bar.refresh()

        clock = threading.Thread(target=tick, daemon=True)
        if not bar.disable:
            clock.start()
        try:
            yield bar
        finally:
            done.set()
            if not bar.disable:
                clock.join()


class FilmBar:
    """A bar for the frames of a film, with frames a second and the time left, on a terminal.

    Args:
        name: of the film.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> FilmBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, progress: FilmProgress) -> None:
        """Show how far the film is. Frames of an earlier run do not count for the speed."""
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(
                total=progress.total,
                initial=progress.done - 1,
                desc=self.name,
                unit="frame",
                disable=None,
                leave=False,
                dynamic_ncols=True,
            )
        self.bar.update(progress.done - self.bar.n)


class BandsBar:
    """A bar for the rows of one picture that is stylized in bands, on a terminal."""

    def __init__(self) -> None:
        self.bar: tqdm[NoReturn] | None = None

    def __call__(self, done: float, total: float) -> None:
        """Show that ``done`` of ``total`` rows are finished. The last row removes the bar."""
        from tqdm import tqdm

        if self.bar is None:
            form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            self.bar = tqdm(total=total, leave=False, disable=None, bar_format=form)
        self.bar.update(done - self.bar.n)
        if done > total - 0.5:
            self.bar.close()
            self.bar = None


class ShareBar:
    """A bar for a share in [0, 1] with the time left.

    Args:
        always: show it without a terminal too, and leave it there at the end.
    """

    def __init__(self, always: bool = False) -> None:
        self.always = always

    def __enter__(self) -> ShareBar:
        from tqdm import tqdm

        self.bar: tqdm[NoReturn] = tqdm(
            total=1.0,
            bar_format="{percentage:3.0f}%|{bar}| {elapsed} < {remaining} left{postfix}",
            file=sys.stderr,
            dynamic_ncols=True,
            leave=self.always,
            disable=False if self.always else None,
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def show(self, done: float, text: str) -> None:
        """Show the share that is done, and a text behind the time left."""
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(done - self.bar.n)
