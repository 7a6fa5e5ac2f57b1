"""Options for how films are stylized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fast_style.cli.options import options_as

if TYPE_CHECKING:
    from fast_style.film import FilmOptions


def _film_options(codec: str | None, smooth: bool, resume: bool) -> FilmOptions:
    from fast_style.film import FilmOptions

    return FilmOptions(codec, resume=resume, smooth=smooth)


film_options = options_as(
    "film",
    _film_options,
    (
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
    ),
)
"""Adds ``--codec``, ``--smooth`` and ``--resume``, as one `FilmOptions` named ``film``."""
