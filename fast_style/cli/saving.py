"""Options for how pictures are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fast_style.cli.options import options_as

if TYPE_CHECKING:
    from fast_style.images import Saving


def _saving(
    quality: int | None,
    depth: str | None,
    keep_profile: bool,
    keep_location: bool,
    strip_metadata: bool,
) -> Saving:
    from fast_style.extras import need
    from fast_style.images import Saving

    if keep_location and strip_metadata:
        raise click.UsageError(
            "--keep-location and --strip-metadata exclude each other: choose one."
        )
    if depth == "16":
        need("deep", "files of 16 bits a channel", "pyvips")
    bits = None if depth is None else int(depth)
    return Saving(quality, keep_profile, keep_location, strip_metadata, bits)


saving_options = options_as(
    "saving",
    _saving,
    (
        click.option(
            "--quality",
            type=click.IntRange(1, 100),
            metavar="1-100",
            help="Quality of JPEG and WebP (95 by default), AVIF (90) and films (80). Below 90, "
            "JPEG and AVIF store colours at half the resolution. PNG and TIFF lose nothing at any.",
        ),
        click.option(
            "--depth",
            type=click.Choice(("8", "16")),
            help="Bits a channel of PNG and TIFF, by default those of the photo. With 16 skies are "
            "smooth even where the photo has 8.",
        ),
        click.option(
            "--keep-profile",
            is_flag=True,
            help="Write in the photo's own RGB colours, such as Display P3, and not in sRGB.",
        ),
        click.option(
            "--keep-location",
            is_flag=True,
            help="Keep GPS coordinates and names of places, which are left out by default.",
        ),
        click.option(
            "--strip-metadata",
            is_flag=True,
            help="Leave out the photo's EXIF and XMP, which are kept by default.",
        ),
    ),
)
"""Adds ``--quality``, ``--depth``, ``--keep-profile``, ``--keep-location`` and
``--strip-metadata``, as one `Saving` named ``saving``."""
