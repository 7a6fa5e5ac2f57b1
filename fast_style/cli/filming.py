"""Options for how films are stylized."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click


def film_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--codec``, ``--smooth`` and ``--resume``.

    The command receives them as one `FilmOptions` named ``film``.
    """
    options = (
        click.option(
            "--codec",
            metavar="NAME",
            help="Codec of films: h264 (default), hevc, av1, vp9, prores or ffv1.",
        ),
        click.option(
            "--smooth",
            is_flag=True,
            help="Let strokes of films move with the scene, so that they flicker less.",
        ),
        click.option(
            "--resume", is_flag=True, help="Go on with films that an earlier run did not finish."
        ),
    )

    @wraps(command)
    def with_film(*args: Any, codec: str | None, smooth: bool, resume: bool, **kwargs: Any) -> Any:
        from fast_style.film import FilmOptions

        film = FilmOptions(codec, resume=resume, smooth=smooth)
        return command(*args, film=film, **kwargs)

    wrapped: Callable[..., Any] = with_film
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped
