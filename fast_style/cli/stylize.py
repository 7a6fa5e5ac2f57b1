"""``fast-style stylize``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fast_style.cli.batches import batches
from fast_style.cli.filming import film_options
from fast_style.cli.interrupts import exit_at_ctrl_c
from fast_style.cli.options import examples, out_option
from fast_style.cli.output import WRONG_INPUT, warnings_shown
from fast_style.cli.painting import Painting, painting_options
from fast_style.cli.progress import BandsBar, FilmBar, picture_bar
from fast_style.cli.report import Outcome, Report
from fast_style.cli.saving import saving_options
from fast_style.cli.shell_options import (
    Place,
    ShellOptions,
    needs_pictures,
    place_for,
    shell_options,
)
from fast_style.cli.streams import without_streams
from fast_style.errors import UserError

if TYPE_CHECKING:
    from fast_style.film import FilmOptions
    from fast_style.images import Saving
    from fast_style.stylizing.planning import Job
    from fast_style.stylizing.stylizer import Stylizer


@click.command(
    epilog=examples(
        "stylize photo.jpg --style starry-night",
        "stylize photo.jpg --style wave --strength 0.5 -o half.png",
        "stylize photo.jpg --blend wave:0.6,starry-night:0.4",
        "stylize photos --style wave --style runs/mine/mine.safetensors --size 1024 -o out",
        "stylize clip.mp4 --style wave --size 640 -o out.mp4",
        "stylize - --style wave --format png < photo.jpg > wave.png",
        "stylize --watch inbox --style wave -o out",
    )
)
@click.argument("pictures", nargs=-1, type=Place(), callback=needs_pictures, metavar="PICTURES...")
@out_option(
    "stylized",
    "Folder to write to; for a single picture or film also a file, or - for standard output.",
    Place(),
)
@painting_options
@saving_options
@film_options
@shell_options
@exit_at_ctrl_c()
def stylize(
    pictures: tuple[Path, ...],
    out: Path,
    painting: Painting,
    saving: Saving,
    film: FilmOptions,
    shell: ShellOptions,
) -> None:
    """Stylize PICTURES and films of any size. A folder stands for all of both in it.

    A - stands for standard input.

    Pictures keep their names, and folders their tree. What the same command wrote before is
    replaced. With several styles, or where another file has the name already, the name of the style
    is added, as in photo-wave.jpg. A picture that cannot be used is reported, the others are
    stylized, and the exit code is 2.
    """
    from fast_style.stylizing.planning import plan_files

    out = place_for(pictures, out, shell)
    with warnings_shown(not shell.quiet):
        painting.check()
    film = replace(film, quality=saving.quality, size=painting.size)
    settings = painting.settings(str(saving), str(film))
    files = list(painting.files)

    @lru_cache(len(files) if shell.watch else 1)
    def load(file: Path) -> Stylizer:
        return painting.stylizer(file, None if shell.quiet else BandsBar())

    with (
        without_streams(pictures, out, shell.suffix) as places,
        warnings_shown(not shell.quiet, places.explain),
    ):
        report = Report(shell.json, shell.quiet, places)
        for batch in batches(places, shell, report):
            plan = plan_files(
                batch.sources, places.out, files, report.refuse, settings, batch.placing
            )
            targets = [job.target for jobs in plan for job in jobs]
            if batch.skip_done:
                made_of = map(painting.made_of, files)
                plan = [report.left(*each) for each in zip(plan, made_of, strict=True)]
            with picture_bar(_count_pictures(plan), not shell.quiet) as bar:
                for file, jobs in zip(files, plan, strict=True):
                    if not jobs:
                        continue
                    for outcome in _stylize(load(file), jobs, painting.size, saving, film, shell):
                        report.outcome(outcome)
                        bar.update(not outcome.job.moves)
            report.summary(targets[0] if len(targets) == 1 == len(batch.sources) else places.out)
    if report.failed:
        sys.exit(WRONG_INPUT)


def _count_pictures(plan: Sequence[Sequence[Job]]) -> int:
    return sum(not job.moves for jobs in plan for job in jobs)


def _stylize(
    stylizer: Stylizer,
    jobs: Sequence[Job],
    size: int | None,
    saving: Saving,
    film: FilmOptions,
    shell: ShellOptions,
) -> Iterator[Outcome]:
    """Stylize files, pictures first, and yield what became of each."""
    from fast_style.stylizing.files import stylize_files

    photos = [job for job in jobs if not job.moves]
    seconds: dict[Job, float] = {}
    at_once = shell.workers or stylizer.files_at_once
    outcomes = stylize_files(stylizer.begin, photos, size, at_once, saving, seconds)
    for job, error in zip(photos, outcomes, strict=True):
        yield Outcome(job, seconds[job], error)
    for job in jobs:
        if job.moves and saving.depth == 16:
            yield Outcome(job, 0, _refusal_of_16_bits(job))
        elif job.moves:
            yield _stylize_film(stylizer, job, film, not shell.quiet)


def _refusal_of_16_bits(job: Job) -> UserError:
    from fast_style.film import is_sequence

    one_by_one = is_sequence(job.source) and is_sequence(job.target)
    return UserError(
        f"{job.target} cannot have 16 bits a channel, as films, animations and numbered pictures "
        "are written in 8: leave --depth 16 out"
        + (f", or name the folder {job.source.parent}" if one_by_one else ""),
        job.source,
    )


def _stylize_film(stylizer: Stylizer, job: Job, options: FilmOptions, shown: bool) -> Outcome:
    """Stylize a film; ``shown`` is whether it has a bar."""
    from fast_style.film import stylize_film

    started = time.monotonic()
    marked = replace(options, mark=job.mark)
    try:
        with FilmBar(job.source.name) as bar:
            progress = bar.show if shown else None
            made = stylize_film(job.source, job.target, stylizer, marked, progress)
    except UserError as error:
        return Outcome(job, time.monotonic() - started, error)
    return Outcome(job, time.monotonic() - started, missing=made.missing)
