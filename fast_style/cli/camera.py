"""``fast-style camera``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fast_style.cli.interrupts import exit_at_ctrl_c
from fast_style.cli.options import (
    FILE,
    device_option,
    examples,
    out_option,
    size_option,
    styles_option,
)
from fast_style.cli.output import warnings_shown

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

KEPT = 4  # networks, so that a style or strength that was just left is back at once


@click.command(
    epilog=examples(
        "camera",
        "camera --style wave --mirror",
        "camera clip.mp4 --style starry-night --size 320",
    )
)
@click.argument("film", type=FILE, required=False)
@click.option(
    "--camera",
    "number",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Number of the camera.",
)
@styles_option(
    "Name of a shipped style, or a .safetensors file of your own; may be repeated. By default all "
    "shipped styles."
)
@size_option("Longer side in pixels to work at. A smaller size is faster.", default=640)
@device_option
@click.option("--smooth", is_flag=True, help="Let strokes move with the scene.")
@click.option("--mirror", is_flag=True, help="Exchange left and right, as a mirror does.")
@out_option(".", "Folder to save pictures in.")
@exit_at_ctrl_c()
def camera(
    film: Path | None,
    number: int,
    styles: tuple[str, ...],
    size: int,
    device: str,
    smooth: bool,
    mirror: bool,
    out: Path,
) -> None:
    """Show the stylized camera in a window, or FILM in its place.

    Keys: right and left for the next and the previous style, digits for the first nine, up and down
    for more and less of it, s to save the picture, q or Esc to quit, and ? to show the keys.
    """
    from fast_style.camera import Capture, Controls, Live
    from fast_style.camera.window import TkWindow
    from fast_style.checkpoint import find_style, shipped_styles, style_name
    from fast_style.stylizing.stylizer import Stylizer

    files = [find_style(style) for style in styles or shipped_styles()]

    @lru_cache(KEPT)
    def load(style: int, strength: float) -> Stylizer:
        return Stylizer(files[style], device, strength=strength)

    with warnings_shown():
        load(0, 1.0)  # before the camera lights up
        capture = Capture(number if film is None else film, size, mirror)
        try:
            window = TkWindow()
            try:
                controls = Controls([style_name(file) for file in files])
                Live(capture, window, controls, load, out, smooth).run()
            finally:
                window.close()
        finally:
            capture.close()
