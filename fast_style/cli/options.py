"""Options that several commands share, and the examples below their help."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from fast_style.shell import program

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
SEED = click.IntRange(0, 2**32 - 1)
MAX_SIDE = 20_000  # px


def examples(*lines: str) -> str:
    """A help page's last paragraph: example command lines, as the user calls this program.

    Args:
        lines: commands without ``fast-style``; what follows ``#`` explains one.
    """
    called = program()
    # After \b, click keeps the line breaks of a paragraph.
    return "\n".join(["\b", "Examples:", *(f"  {called} {line}" for line in lines)])


def options_as(
    name: str, make: Callable[..., Any], options: Sequence[Callable[[Command], Command]]
) -> Callable[[Command], Command]:
    """Add options to a command, which receives all of them as one object.

    Args:
        name: the command's argument that takes the object.
        make: makes the object; its arguments have the names of the options.
        options: decorators as `click.option` gives them, in the order of the help.
    """

    def add(command: Command) -> Command:
        @wraps(command)
        def with_object(**given: Any) -> Any:
            chosen = {option: given.pop(option) for option in signature(make).parameters}
            return command(**given, **{name: make(**chosen)})

        decorated: Any = with_object
        for option in reversed(options):
            decorated = option(decorated)
        result: Command = decorated
        return result

    return add


class FiniteRange(click.FloatRange):
    """A range of numbers. It refuses ``nan``, which no comparison would catch, and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def device_option(command: Command) -> Command:
    """Add ``--device``."""
    option = click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="Device to compute on: auto (a GPU if there is one), cpu or cuda:0.",
    )
    return option(command)


def seed_option(help: str) -> Callable[[Command], Command]:
    """``--seed``, 0 by default."""
    return click.option("--seed", type=SEED, default=0, show_default=True, help=help)


def out_option(default: str, help: str, type: click.Path = FILE) -> Callable[[Command], Command]:
    """``-o`` or ``--out``."""
    return click.option(
        "-o", "--out", type=type, default=Path(default), show_default=True, help=help
    )


def size_option(
    help: str, default: int | None = None, minimum: int = 16
) -> Callable[[Command], Command]:
    """``--size`` in pixels, from ``minimum`` to `MAX_SIDE`."""
    return click.option(
        "--size",
        type=click.IntRange(minimum, MAX_SIDE),
        default=default,
        show_default=default is not None,
        help=help,
    )


def styles_option(help: str, required: bool = False) -> Callable[[Command], Command]:
    """``--style``, which may be repeated; the command receives ``styles``."""
    return click.option(
        "--style",
        "styles",
        type=StyleName(),
        required=required,
        multiple=True,
        metavar="STYLE",
        help=help,
    )


def complete_style(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a shipped style or, where none begins so, of a file."""
    from fast_style.checkpoint import shipped_styles, small_styles

    names = [*shipped_styles(), *small_styles()]
    names = [name for name in names if name.startswith(incomplete)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


class StyleName(click.types.StringParamType):
    """The name or file of a trained style."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return complete_style(ctx, param, incomplete)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        from fast_style.checkpoint import shipped_styles, small_styles

        names = [*shipped_styles(), *small_styles()]
        return f"Choose {', '.join(names)}, or a .safetensors of your own."
