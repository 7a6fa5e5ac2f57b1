"""``fast-style sheet``."""

from __future__ import annotations

from pathlib import Path

import click

from fast_style.cli.interrupts import exit_at_ctrl_c
from fast_style.cli.options import (
    FILE,
    FiniteRange,
    device_option,
    examples,
    out_option,
    size_option,
    styles_option,
)
from fast_style.cli.output import warnings_shown
from fast_style.cli.progress import picture_bar


@click.command(
    epilog=examples(
        "sheet photo.jpg",
        "sheet photo.jpg --style wave --strength 0.25 --strength 0.5 --strength 1",
    )
)
@click.argument("photo", type=FILE)
@styles_option(
    "Name of a shipped style, or a .safetensors file of your own; may be repeated. By default all "
    "shipped styles."
)
@out_option("sheet.png", "Picture to write.")
@click.option(
    "--strength",
    "strengths",
    type=FiniteRange(0, 1),
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="How much of the style to apply, from 0 (the photo itself) to 1. Repeat it for one row "
    "each.",
)
@size_option("Longer side of each picture in pixels.", default=384)
@device_option
@exit_at_ctrl_c()
def sheet(
    photo: Path,
    styles: tuple[str, ...],
    out: Path,
    strengths: tuple[float, ...],
    size: int,
    device: str,
) -> None:
    """Draw PHOTO in several styles on one sheet, to choose from."""
    from fast_style.checkpoint import shipped_styles
    from fast_style.stylizing.sheet import draw_styles

    styles = styles or tuple(shipped_styles())
    with warnings_shown(), picture_bar(len(styles) * len(strengths)) as bar:
        draw_styles(photo, out, styles, strengths, size, device, bar.update)
    click.echo(click.format_filename(out))
