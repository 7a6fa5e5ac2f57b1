"""Options of `stylize` that fit it into a shell: pipes, scripts, folders that are watched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from fast_style.cli.options import options_as

STREAM = Path("-")  # stands for standard input and standard output


@dataclass(frozen=True)
class ShellOptions:
    """What the options of `shell_options` say.

    Args:
        suffix: suffix of the format to write, as ``.png``; None for that of each picture.
        recursive: whether a folder stands for the pictures in the folders below, too.
        skip_existing: leave out what an earlier run has done.
        watch: folder whose new pictures are stylized as they arrive.
        workers: number of files to read, and to write, at once; None for what suits the device.
        json: print a line of JSON for each file, and nothing else.
        quiet: print nothing but errors.
    """

    suffix: str | None
    recursive: bool
    skip_existing: bool
    watch: Path | None
    workers: int | None
    json: bool
    quiet: bool


class Place(click.Path):
    """A file or folder, or ``-`` for `STREAM`. ``./-`` is a file of that name."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path == STREAM and os.fspath(value) != "-":
            return Path.cwd() / path
        return path


class _Format(click.ParamType):
    """A format that pictures are written in, by its suffix with or without the dot."""

    name = "format"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from fast_style.images import SAVE_SUFFIXES
        from fast_style.images.kinds import either

        suffix = "." + value.lower().removeprefix(".")
        if suffix not in SAVE_SUFFIXES:
            self.fail(f"{value!r} is no format to write: choose {either(SAVE_SUFFIXES)}.")
        return suffix

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from fast_style.images import SAVE_SUFFIXES

        names = sorted(suffix.removeprefix(".") for suffix in SAVE_SUFFIXES)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def needs_pictures(
    ctx: click.Context, param: click.Parameter, pictures: tuple[Path, ...]
) -> tuple[Path, ...]:
    """Refuse a command line without pictures and without a folder to watch."""
    if not pictures and not ctx.params.get("watch"):
        raise click.MissingParameter(ctx=ctx, param=param)
    return pictures


def place_for(pictures: tuple[Path, ...], out: Path, shell: ShellOptions) -> Path:
    """Choose where to write: by default, standard input goes to standard output."""
    out_source = click.get_current_context().get_parameter_source("out")
    if pictures == (STREAM,) and out_source == ParameterSource.DEFAULT:
        out = STREAM
    if out == STREAM and shell.json:
        raise click.UsageError(
            "The picture and --json both go to standard output: name a file with -o."
        )
    return out


_OPTIONS = (
    click.option(
        "--format",
        "suffix",
        type=_Format(),
        metavar="FORMAT",
        help="Format to write, as jpg, png or webp. By default each picture keeps its own.",
    ),
    click.option(
        "--recursive/--no-recursive",
        default=True,
        show_default=True,
        help="Whether a folder stands for the pictures in the folders below it, too.",
    ),
    click.option(
        "--skip-existing",
        is_flag=True,
        help="Skip what the same command wrote before, unless the picture or the style has "
        "changed since.",
    ),
    click.option(
        "--watch",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        is_eager=True,  # `needs_pictures` looks for it
        help="Stylize the pictures in this folder, and new ones as they arrive, until Ctrl-C.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 64),
        metavar="N",
        help="Number of files to read, and to write, at once. By default 1 on a CPU, and one "
        "for each core with a GPU.",
    ),
    click.option(
        "--json",
        is_flag=True,
        help="Print one line of JSON for each file on standard output, and nothing else.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
)

shell_options = options_as("shell", ShellOptions, _OPTIONS)
"""Adds the options of `ShellOptions`, as one object named ``shell``."""
