"""``fast-style stylize``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fast_style.cli.filming import film_options
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
from fast_style.cli.output import WRONG_INPUT, note, warnings_shown
from fast_style.cli.progress import BandsBar, FilmBar, picture_bar
from fast_style.cli.saving import saving_options
from fast_style.errors import UserError

if TYPE_CHECKING:
    from fast_style.film import FilmOptions
    from fast_style.images import Saving
    from fast_style.stylizing.colour import Preserve
    from fast_style.stylizing.files import Job
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


@click.command(
    epilog=examples(
        "stylize photo.jpg --style starry-night",
        "stylize photo.jpg --style wave --strength 0.5 -o half.png",
        "stylize photo.jpg --blend wave:0.6,starry-night:0.4",
        "stylize photos --style wave --style runs/mine/mine.safetensors --size 1024 -o out",
        "stylize clip.mp4 --style wave --size 640 -o out.mp4",
    )
)
@click.argument("pictures", nargs=-1, required=True, type=FILE)
@styles_option(
    "Name of a shipped style (see `styles`), or a .safetensors file of your own; may be repeated."
)
@click.option(
    "--blend",
    type=_Blend(),
    metavar="STYLE:SHARE,...",
    help="In place of --style: a style between styles, as wave:0.6,starry-night:0.4. It works for "
    "networks trained from the same start, as the shipped ones are.",
)
@out_option("stylized", "Folder to write to; for a single picture or film also a file.")
@click.option(
    "--strength",
    type=FiniteRange(0, 1),
    default=1.0,
    show_default=True,
    help="How much of the style to apply, from 0 (the photo itself) to 1.",
)
@click.option(
    "--preserve-color",
    type=click.Choice(("luminance", "histogram")),
    help="Keep the photo's colours: luminance takes only light and dark from the style, histogram "
    "matches the style's colours to the photo's.",
)
@click.option(
    "--stroke",
    type=_Stroke(1, MAX_STROKE),
    default=1.0,
    show_default=True,
    metavar="TIMES",
    help="Paint with strokes this many times as wide, at the picture's own size; auto makes "
    "strokes that are seen when the whole picture is.",
)
@click.option(
    "--mask",
    "mask_file",
    type=FILE,
    metavar="FILE",
    help="Picture whose white is painted and whose black stays the photo. It is stretched to each "
    "photo.",
)
@click.option(
    "--feather",
    type=FiniteRange(0, MAX_FEATHER),
    default=0.0,
    metavar="PIXELS",
    help="Blur the mask's edges by this many pixels of the photo.",
)
@size_option(
    "Longer side in pixels to work at, by default the picture's own. A smaller size makes bolder "
    "strokes."
)
@device_option
@click.option(
    "--band-rows",
    type=click.IntRange(1),
    help="Work in bands of this many rows. By default only pictures that need too much memory in "
    "one pass are split into bands.",
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder for temporary files, for pictures that do not fit into memory even in bands.",
)
@saving_options
@film_options
@exit_at_ctrl_c()
def stylize(
    pictures: tuple[Path, ...],
    styles: tuple[str, ...],
    blend: dict[str, float] | None,
    out: Path,
    strength: float,
    preserve_color: Preserve | None,
    stroke: Stroke,
    mask_file: Path | None,
    feather: float,
    size: int | None,
    device: str,
    band_rows: int | None,
    scratch: Path | None,
    saving: Saving,
    film: FilmOptions,
) -> None:
    """Stylize PICTURES and films of any size. A folder stands for all of both in it.

    Pictures keep their names, and folders their tree. What the same command wrote before is
    replaced. With several styles, or where another file has the name already, the name of the style
    is added, as in photo-wave.jpg. A picture that cannot be used is reported, the others are
    stylized, and the exit code is 2.
    """
    from fast_style.checkpoint import find_style
    from fast_style.stylizing.blending import read_blend, style_files
    from fast_style.stylizing.files import plan_files, stylize_files
    from fast_style.stylizing.masks import read_mask

    _check_choice(styles, blend)
    if feather and not mask_file:
        raise click.UsageError("--feather blurs the edges of a mask: name one with --mask.")
    failures = _Failures()
    files = style_files(styles, blend)
    film = replace(film, quality=saving.quality, size=size)
    for style in files.values():
        read_blend(style).at_strength(strength)
    with warnings_shown():
        mask = None if mask_file is None else read_mask(mask_file)
        place = mask_file and f"{mask_file.resolve()} {feather}"
        wide = None if stroke == 1 else f"stroke {stroke}"
        shares = blend and {str(find_style(each).resolve()): blend[each] for each in blend}
        others = (shares, preserve_color, wide, place, str(saving) or None, str(film) or None)
        settings = _settings(strength, size, *others)
        plan = plan_files(pictures, out, list(files), failures.report, settings)
        total = sum(map(len, plan))
        started = time.monotonic()
        done = {"picture": 0, "film": 0}
        with picture_bar(sum(not job.moves for jobs in plan for job in jobs)) as bar:
            for style, jobs in zip(files.values(), plan, strict=True):
                if not jobs:
                    continue
                from fast_style.stylizing.stylizer import Stylizer

                stylizer = Stylizer(
                    style,
                    device,
                    strength=strength,
                    band_rows=band_rows,
                    scratch=scratch,
                    progress=BandsBar(),
                    preserve_color=preserve_color,
                    stroke=stroke,
                    mask=mask,
                    feather=feather,
                )
                photos = [job for job in jobs if not job.moves]
                films = [job for job in jobs if job.moves]
                for error in stylize_files(
                    stylizer.begin, photos, size, stylizer.files_at_once, saving
                ):
                    done["picture"] += failures.is_success(error)
                    bar.update()
                for error in _stylize_films(stylizer, films, film):
                    done["film"] += failures.is_success(error)
    made = [f"{count} {kind}{'s' * (count > 1)}" for kind, count in done.items() if count]
    if made:
        only = next(iter(filter(None, plan)))[0].target if total == 1 == len(pictures) else out
        seconds = time.monotonic() - started
        click.echo(f"{' and '.join(made)} in {seconds:.1f} s: {click.format_filename(only)}")
    if failures.reported:
        sys.exit(WRONG_INPUT)


def _check_choice(styles: tuple[str, ...], blend: dict[str, float] | None) -> None:
    if styles and blend:
        raise click.UsageError("--style and --blend exclude each other: choose one.")
    if not styles and not blend:
        context = click.get_current_context()
        option = next(each for each in context.command.params if each.name == "styles")
        raise click.MissingParameter(ctx=context, param=option)


def _settings(strength: float, size: int | None, *others: object) -> str:
    """All that changes a picture, as `plan_files` needs it; options that are not given are left
    out."""
    given = [str(other) for other in others if other is not None]
    return " ".join([f"{strength:g} {size}", *given])


def _stylize_films(
    stylizer: Stylizer, jobs: Sequence[Job], options: FilmOptions
) -> Iterator[UserError | None]:
    """Stylize films one by one; for each, None or the error."""
    from fast_style.film import stylize_film

    for job in jobs:
        marked = replace(options, mark=job.mark)
        try:
            with FilmBar(job.source.name) as bar:
                stylize_film(job.source, job.target, stylizer, marked, bar.show)
        except UserError as error:
            yield error
        else:
            yield None


class _Failures:
    """Reports each unusable picture once, however many styles it was meant for."""

    def __init__(self) -> None:
        self.reported: set[str] = set()

    def report(self, error: UserError) -> None:
        if str(error) not in self.reported:
            note(str(error))
        self.reported.add(str(error))

    def is_success(self, error: UserError | None) -> bool:
        """Report the error of a picture or film, if there is one."""
        if error is not None:
            self.report(error)
        return error is None
