"""``fast-style gallery``."""

from __future__ import annotations

from pathlib import Path

import click

from fast_style.cli.interrupts import exit_at_ctrl_c
from fast_style.cli.options import FILE, device_option, examples, out_option, size_option
from fast_style.cli.output import warnings_shown
from fast_style.cli.progress import picture_bar


@click.command(
    epilog=examples(
        "gallery                               # the shipped styles",
        "gallery styles --photo my.jpg -o page # your styles, on a photo of yours",
    )
)
@click.argument("folder", type=FILE, required=False)
@click.option(
    "--photo",
    "photos",
    type=FILE,
    multiple=True,
    help="Photo to show all styles on; may be repeated. By default the bundled photos.",
)
@out_option("gallery", "Folder for index.html, pictures and the styles' files.")
@size_option("Longer side of the pictures in pixels.", default=512)
@device_option
@exit_at_ctrl_c()
def gallery(
    folder: Path | None, photos: tuple[Path, ...], out: Path, size: int, device: str
) -> None:
    """Make a page of the styles in FOLDER, each on the same photos. It needs no server."""
    from fast_style.bundled import PHOTOS
    from fast_style.checkpoint import shipped_styles
    from fast_style.images import find_pictures
    from fast_style.sharing.gallery import make_gallery, styles_in

    shown = photos or tuple(find_pictures(PHOTOS))
    with warnings_shown():
        styles = shipped_styles() if folder is None else styles_in(folder)
        with picture_bar(len(styles) * len(shown)) as bar:
            page = make_gallery(styles, shown, out, size, device, bar.update)
    click.echo(click.format_filename(page))
