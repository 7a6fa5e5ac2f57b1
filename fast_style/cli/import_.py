"""``fast-style import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fast_style.cli.interrupts import exit_at_ctrl_c
from fast_style.cli.options import FILE, examples
from fast_style.errors import UserError

if TYPE_CHECKING:
    from fast_style.export.importing import Values


@click.command("import", epilog=examples("import candy.pth -o candy.safetensors"))
@click.argument("source", type=FILE, metavar="FILE")
@click.option(
    "-o",
    "--out",
    type=FILE,
    help="The .safetensors to write. By default FILE's name in this folder.",
)
@click.option(
    "--values",
    type=click.Choice(["255", "imagenet"]),
    help="What FILE's program gives its networks: levels from 0 to 255, or pixels less ImageNet's "
    "mean over its deviation. By default what the program is known to give.",
)
@exit_at_ctrl_c()
def import_(source: Path, out: Path | None, values: Values | None) -> None:
    """Make a style of FILE, a network of another program.

    FILE is a state dict (.pth, .model, .safetensors) of pytorch/examples' fast_neural_style, of
    rrmina/fast-neural-style-pytorch, or of others with Johnson's layers. Nothing in it is executed.
    """
    from fast_style.export.importing import import_style

    target = out or Path(f"{source.stem}.safetensors")
    if target.suffix != ".safetensors":
        raise UserError(f"{target} is no name of a style: name a .safetensors")
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{source} would be replaced: name another file with -o")
    program = import_style(source, target, values)
    click.echo(f"{click.format_filename(target)}: a network of {program}")
