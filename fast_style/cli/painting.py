"""Options for how pictures are painted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fast_style.cli.options import (
    FILE,
    FiniteRange,
    device_option,
    options_as,
    size_option,
    styles_option,
)

if TYPE_CHECKING:
    from PIL import Image

    from fast_style.stylizing.blending import Style
    from fast_style.stylizing.colour import Preserve
    from fast_style.stylizing.strokes import Stroke
    from fast_style.stylizing.stylizer import Stylizer

MAX_STROKE = 64
MAX_FEATHER = 10_000


class _Stroke(FiniteRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "auto":
            return value
        try:
            float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto.", param, ctx)
        return super().convert(value, param, ctx)


class _Blend(click.ParamType):
    name = "blend"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        from fast_style.stylizing.blending import parse_blend

        try:
            return parse_blend(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True)
class Painting:
    """What the options of `painting_options` say. Making it refuses what excludes each other.

    Args:
        styles: names or files of styles.
        blend: styles and their shares, in place of ``styles``.
        strength: strength of the style in [0, 1].
        preserve_color: which of the photo's colours to keep, see `Stylizer`.
        stroke: how many times wider strokes are, see `Stylizer`.
        mask_file: picture whose white is painted; None paints all.
        feather: blur of the mask's edges in pixels.
        size: longer side to work at in pixels; None for the picture's own.
        device: where to compute.
        band_rows: rows in a band; None for one pass where memory allows.
        scratch: folder for temporary files; None for none.
    """

    styles: tuple[str, ...]
    blend: dict[str, float] | None
    strength: float
    preserve_color: Preserve | None
    stroke: Stroke
    mask_file: Path | None
    feather: float
    size: int | None
    device: str
    band_rows: int | None
    scratch: Path | None

    def __post_init__(self) -> None:
        if self.styles and self.blend:
            raise click.UsageError("--style and --blend exclude each other: choose one.")
        if not self.styles and not self.blend:
            context = click.get_current_context()
            option = next(each for each in context.command.params if each.name == "styles")
            raise click.MissingParameter(ctx=context, param=option)
        if self.feather and not self.mask_file:
            raise click.UsageError("--feather blurs the edges of a mask: name one with --mask.")

    @cached_property
    def files(self) -> dict[Path, Style]:
        """Each style by its file, and a blend by a file that names it and is not there."""
        from fast_style.stylizing.blending import style_files

        return style_files(self.styles, self.blend)

    @cached_property
    def mask(self) -> Image.Image | None:
        """The mask's picture."""
        from fast_style.stylizing.masks import read_mask

        return None if self.mask_file is None else read_mask(self.mask_file)

    def check(self) -> None:
        """Read all styles.

        Raises:
            UserError: if a style cannot be had at this strength.
        """
        from fast_style.stylizing.blending import read_blend

        for style in self.files.values():
            read_blend(style).at_strength(self.strength)

    def settings(self, *others: str) -> str:
        """What changes a picture, for `plan_files`; options that were not given are left out."""
        from fast_style.checkpoint import find_style
        from fast_style.stylizing.planning import settings_text

        blend = {str(find_style(s).resolve()): share for s, share in (self.blend or {}).items()}
        return settings_text(
            self.strength,
            self.size,
            self.preserve_color,
            self.stroke,
            str(blend) if blend else "",
            f"{self.mask_file.resolve()} {self.feather}" if self.mask_file else "",
            others,
        )

    def made_of(self, file: Path) -> list[Path]:
        """The files, beside the photo, that a picture in a style is made of."""
        from fast_style.checkpoint import find_style

        styles = [find_style(style) for style in self.blend] if self.blend else [file]
        return [*styles, *filter(None, [self.mask_file])]

    def stylizer(self, file: Path, progress: Callable[[float, float], object] | None) -> Stylizer:
        """Load the style of a file, one of `files`."""
        from fast_style.stylizing.stylizer import Stylizer

        return Stylizer(
            self.files[file],
            self.device,
            strength=self.strength,
            band_rows=self.band_rows,
            scratch=self.scratch,
            progress=progress,
            preserve_color=self.preserve_color,
            stroke=self.stroke,
            mask=self.mask,
            feather=self.feather,
        )


_OPTIONS = (
    styles_option(
        "Name of a shipped style (see `styles`), or a .safetensors file of your own; may be "
        "repeated."
    ),
    click.option(
        "--blend",
        type=_Blend(),
        metavar="STYLE:SHARE,...",
        help="In place of --style: a style between styles, as wave:0.6,starry-night:0.4. It "
        "works for networks trained from the same start, as the shipped ones are.",
    ),
    click.option(
        "--strength",
        type=FiniteRange(0, 1),
        default=1.0,
        show_default=True,
        help="How much of the style to apply, from 0 (the photo itself) to 1.",
    ),
    click.option(
        "--preserve-color",
        type=click.Choice(("luminance", "histogram")),
        help="Keep the photo's colours: luminance takes only light and dark from the style, "
        "histogram matches the style's colours to the photo's.",
    ),
    click.option(
        "--stroke",
        type=_Stroke(1, MAX_STROKE),
        default="auto",
        show_default=True,
        metavar="TIMES",
        help="How many times wider than the network's own strokes are. auto makes strokes that are "
        "seen when the whole picture is: 1 for pictures up to 800 px, 4 from 3200 px on.",
    ),
    click.option(
        "--mask",
        "mask_file",
        type=FILE,
        metavar="FILE",
        help="Picture whose white is painted and whose black stays the photo. It is stretched "
        "to each photo.",
    ),
    click.option(
        "--feather",
        type=FiniteRange(0, MAX_FEATHER),
        default=0.0,
        metavar="PIXELS",
        help="Blur the mask's edges by this many pixels of the photo.",
    ),
    size_option(
        "Longer side in pixels to work at, by default the picture's own. A smaller size makes "
        "bolder strokes."
    ),
    device_option,
    click.option(
        "--band-rows",
        type=click.IntRange(1),
        help="Work in bands of this many rows. By default only pictures that need too much "
        "memory in one pass are split into bands.",
    ),
    click.option(
        "--scratch",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder for temporary files, for pictures that do not fit into memory even in bands.",
    ),
)

painting_options = options_as("painting", Painting, _OPTIONS)
"""Adds the options that decide what is painted, how and where, as one `Painting` named
``painting``."""
