"""The command line: it reads arguments and prints; the work is done elsewhere.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

from fast_style.errors import UserError
from fast_style.shell import program, quote, readable, with_program

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from tqdm import tqdm

log = logging.getLogger(__name__)

WRONG_INPUT = 2  # exit code, as click has it for wrong usage
INTERRUPTED = 130  # exit code, as shells have it after Ctrl-C


def _complain(error: UserError) -> None:
    lines = [readable(line) for line in str(error).splitlines()]
    click.echo("fast-style: " + "\n".join(lines), err=True)


class OneSentence(click.Group):
    """A user's mistake ends in one sentence on standard error."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except UserError as error:
            _complain(error)
        except OSError as error:
            if error.filename is None:  # not about a file that the user could do something about
                raise
            _complain(UserError(f"{error.filename}: {error.strerror}; name another file or folder"))
        except Exception as error:
            from fast_style.devices import short_of_memory

            if not short_of_memory(error):
                raise
            _complain(
                UserError(
                    "memory does not suffice for this: make pictures smaller with --size, close "
                    "other programs, or allow this one more"
                )
            )
        sys.exit(WRONG_INPUT)


class _Notes(logging.Handler):
    """What the package logs, as sentences on standard error, above progress bars, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        sentence = record.getMessage()
        if sentence not in self.shown:
            self.shown.add(sentence)
            tqdm.write(f"fast-style: {sentence}", file=sys.stderr)


@contextmanager
def _notes_shown() -> Iterator[None]:
    notes = _Notes()
    log = logging.getLogger("fast_style")
    log.addHandler(notes)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(notes)
        log.propagate = True


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the program at once. In the usual way, it would wait for threads that go on with
    a large picture."""
    try:
        yield
    except KeyboardInterrupt:
        from fast_style.images import remove_unfinished

        remove_unfinished()
        click.echo("fast-style: stopped; what was written before is complete", err=True)
        sys.stdout.flush()
        os._exit(INTERRUPTED)


class _Fraction(click.FloatRange):
    """A range that not-a-number is not in."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


@click.group(cls=OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fast-style")
def main() -> None:
    """Train a network for one painting, and stylize pictures with it in one pass.

    \b
    fast-style demo                                       the whole road in five minutes
    fast-style stylize photo.jpg --style starry-night     with a style that is shipped
    fast-style sheet photo.jpg                            one photo in all styles, on one sheet
    fast-style train style=mine.jpg data.dir=photos       a network for your painting
    fast-style optimize photo.jpg painting.jpg            one picture, slowly, without a network
    fast-style evaluate a.safetensors b.safetensors       losses and faults, side by side
    """


@main.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    options_metavar="[KEY=VALUE]...",
)
@click.pass_context
def train(ctx: click.Context) -> None:
    """Train a network: `train style=mine.jpg data.dir=photos`; `train --help` for more."""
    from fast_style.config.launch import launch

    launch(_train_and_report, ctx.args, command=["train"])


def _train_and_report(cfg: DictConfig) -> None:
    from fast_style.config import settings
    from fast_style.config.launch import save_run_config

    log.info("starting; PyTorch takes a few seconds")
    settings.check(cfg)
    from fast_style.training.train import train

    result = train(cfg, lambda: save_run_config(cfg))
    if result.is_global_zero:
        called = program()
        losses = ", ".join(f"{name} {value:.3f}" for name, value in result.losses.items())
        click.echo(f"\nvalidation losses: {losses}")
        click.echo(f"network:    {readable(str(result.network))}")
        click.echo(f"to resume:  {called} train {quote(f'ckpt_path={result.checkpoint}')}")
        click.echo(f"try it:     {called} stylize PHOTO.jpg --style {quote(result.network)}")


@main.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option("--style", default="stained-glass", help="Your painting, instead of the bundled one.")
@click.option(
    "--content",
    type=click.Path(path_type=Path),
    help="Folder of photos to train on, instead of dead leaves made on the fly.",
)
@click.option("--steps", type=click.IntRange(1), help="Train so many steps, however long it takes.")
@click.option(
    "--minutes",
    type=_Fraction(0, min_open=True),
    show_default="1 on an NVIDIA GPU, 4 without",
    help="Train so long, unless --steps is given.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True
)
@click.option("--overwrite", is_flag=True, help="Replace the run that the folder holds.")
def demo(
    photos: tuple[Path, ...],
    style: str,
    content: Path | None,
    steps: int | None,
    minutes: float | None,
    seed: int,
    out: Path,
    overwrite: bool,
) -> None:
    """Train on one painting and stylize some photos, in minutes, with nothing else needed.

    An NVIDIA GPU trains by experiment=gpu, any other device by experiment=quickstart. PHOTOS are
    stylized beside the bundled ones. Two runs with the same --steps and --seed make the same
    network, bit for bit, on one machine.
    """
    from fast_style.demo import default_minutes, has_cuda, run_demo

    minutes = default_minutes(has_cuda()) if minutes is None else minutes
    length = f"{steps} steps" if steps else f"{minutes:g} minute{'s' * (minutes != 1)}"
    click.echo(
        f"Training a network for {readable(style)} on {readable(str(content or 'dead leaves'))}, "
        f"{length}; Ctrl-C stops early and keeps what there is.\n"
        f"Watch: {program('tensorboard')} --logdir {quote(out)}"
    )
    made = run_demo(out, style, content, photos, steps, minutes, seed, overwrite)
    network, called = made.training.network, program()
    click.echo(
        f"\nPhotos above, the network's pictures below:  {readable(str(made.sheet))}\n"
        f"The trained network, one file:               {readable(str(network))}\n\n"
        "Next:\n"
        f"  {called} stylize YOUR_PHOTO.jpg --style {quote(network)}\n"
        f"  {called} demo --style YOUR_PAINTING.jpg -o mine\n"
        f"  {called} train style=YOUR_PAINTING.jpg data.dir=FOLDER_OF_PHOTOS loss=vgg16"
    )


class _Style(click.types.StringParamType):
    """A style's name or file, where one must be given."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        from fast_style.checkpoint import shipped_styles

        return f"Choose {', '.join(shipped_styles())}, or a .safetensors of your own."


@main.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--style",
    "styles",
    type=_Style(),
    required=True,
    multiple=True,
    help="A shipped style (see `styles`), or a .safetensors of your own; may be repeated.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("stylized"),
    show_default=True,
    help="A folder; for a single picture also a file.",
)
@click.option(
    "--strength",
    type=_Fraction(0, 1),
    default=1.0,
    show_default=True,
    help="From the photo itself, 0, to the style in full, 1.",
)
@click.option(
    "--size",
    type=click.IntRange(16, 20_000),
    help="Longer side in pixels to work at; by default the picture's own. Smaller makes bolder "
    "strokes.",
)
@click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda:0."
)
@click.option(
    "--band-rows",
    type=click.IntRange(1),
    help="Work in bands of so many rows; by default only where one pass needs too much memory.",
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder for temporary files, for pictures that do not fit into memory even in bands.",
)
@_ended_by_ctrl_c()
def stylize(
    pictures: tuple[Path, ...],
    styles: tuple[str, ...],
    out: Path,
    strength: float,
    size: int | None,
    device: str,
    band_rows: int | None,
    scratch: Path | None,
) -> None:
    """Stylize PICTURES, and those in folders, of any size.

    Pictures keep their names, and folders their tree; what the same command wrote before is
    replaced. With several styles, or where there is another file of that name, the style is added:
    photo-wave.jpg. A picture that cannot be used is named, the others go on, and the exit code is
    2.
    """
    from tqdm import tqdm

    from fast_style.checkpoint import find_style, read_style
    from fast_style.stylizing.files import plan_files, stylize_files

    failures: set[str] = set()

    def report(error: UserError) -> None:
        if str(error) not in failures:  # in another style
            tqdm.write(f"fast-style: {error}", file=sys.stderr)
        failures.add(str(error))

    files = {find_style(style).resolve(): style for style in styles}  # each once
    for style in files.values():
        read_style(style).at_strength(strength)
    with _notes_shown():
        plan = plan_files(pictures, out, list(files), report, f"{strength:g} {size}")
        total = sum(map(len, plan))
        started = time.monotonic()
        done = 0
        with _ticking(total) as progress:
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
                    progress=_BandsBar(),
                )
                for error in stylize_files(stylizer.begin, jobs, size, stylizer.files_at_once):
                    if error is None:
                        done += 1
                    else:
                        report(error)
                    progress.update()
    if done:
        where = next(iter(filter(None, plan)))[0].target if total == 1 == len(pictures) else out
        click.echo(
            f"{done} picture{'s' * (done > 1)} in {time.monotonic() - started:.1f} s: "
            + click.format_filename(where)
        )
    if failures:
        sys.exit(WRONG_INPUT)


@contextmanager
def _ticking(total: int) -> Iterator[tqdm[NoReturn]]:
    """A progress bar, where there is a terminal, whose clock goes on within a picture."""
    from tqdm import tqdm

    done = threading.Event()
    with tqdm(total=total, unit="picture", disable=None, leave=False) as bar:

        def tick() -> None:
            while not done.wait(0.5):
                bar.refresh()

        clock = threading.Thread(target=tick, daemon=True)
        if not bar.disable:
            clock.start()
        try:
            yield bar
        finally:
            done.set()
            if not bar.disable:
                clock.join()


@main.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "--style",
    "styles",
    multiple=True,
    help="A shipped style, or a .safetensors of your own; may be repeated. All that are shipped by "
    "default.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("sheet.png"),
    show_default=True,
    help="The picture to write.",
)
@click.option(
    "--strength",
    "strengths",
    type=_Fraction(0, 1),
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="From the photo itself, 0, to the style in full, 1; may be repeated, for a row each.",
)
@click.option(
    "--size",
    type=click.IntRange(16, 20_000),
    default=384,
    show_default=True,
    help="Longer side of each picture in pixels.",
)
@click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda:0."
)
@_ended_by_ctrl_c()
def sheet(
    photo: Path,
    styles: tuple[str, ...],
    out: Path,
    strengths: tuple[float, ...],
    size: int,
    device: str,
) -> None:
    """Draw PHOTO in all styles on one sheet, to choose from.

    \b
    fast-style sheet photo.jpg
    fast-style sheet photo.jpg --style wave --strength 0.25 --strength 0.5 --strength 1
    """
    from fast_style.checkpoint import shipped_styles
    from fast_style.stylizing.sheet import draw_styles

    styles = styles or tuple(shipped_styles())
    total = len(styles) * len(strengths)
    with _notes_shown(), _ticking(total) as progress:
        draw_styles(photo, out, styles, strengths, size, device, progress.update)
    click.echo(click.format_filename(out))


@main.command(options_metavar="[OPTIONS]")
@click.argument("photo", type=click.Path(path_type=Path))
@click.argument("painting", type=click.Path(path_type=Path))
@click.argument("loss", nargs=-1, metavar="[loss.KEY=VALUE]...")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("optimized.png"),
    show_default=True,
    help="The picture to write.",
)
@click.option(
    "--size",
    type=click.IntRange(32, 20_000),
    default=512,
    show_default=True,
    help="Longer side of the picture in pixels. Twice the size takes four times as long.",
)
@click.option(
    "--style-size",
    type=click.IntRange(32, 20_000),
    help="Longer side of the painting in pixels, by default that of the picture. Larger makes "
    "larger strokes.",
)
@click.option(
    "--start",
    default="photo",
    show_default=True,
    help="What is changed: photo, noise, or a picture's file, as one that `stylize` made.",
)
@click.option(
    "--optimizer", type=click.Choice(["lbfgs", "adam"]), default="lbfgs", show_default=True
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Evaluations of the loss at each size, from coarse to fine.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the noise.",
)
@click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda:0."
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="A folder for losses and previews: watch with tensorboard --logdir.",
)
def optimize(
    photo: Path,
    painting: Path,
    loss: tuple[str, ...],
    out: Path,
    size: int,
    style_size: int | None,
    start: str,
    optimizer: Literal["lbfgs", "adam"],
    iterations: int,
    seed: int,
    device: str,
    log: Path | None,
) -> None:
    """Paint PHOTO in the style of PAINTING by changing its pixels: slow, but with no network
    trained (Gatys et al. 2016).

    Ctrl-C ends early and keeps what there is. What is aimed at is said as in training:

    \b
    loss.style_weight=50     more of the painting
    loss.style_weight=5      more of the photo
    loss.tv_weight=0         no smoothing
    loss=vgg19               Gatys' own network: 550 MB are downloaded once
    """
    started = time.monotonic()
    from fast_style.optimize.gatys import optimize_file

    with _notes_shown():
        losses = optimize_file(
            photo,
            painting,
            out,
            size,
            style_size,
            start,
            optimizer,
            iterations,
            seed,
            device,
            loss,
            log,
        )
    shown = ", ".join(f"{name} {losses[name]:.3f}" for name in ("content", "style"))
    click.echo(f"{click.format_filename(out)}: {shown}, in {time.monotonic() - started:.0f} s")


class _BandsBar:
    """The time left of a picture that is stylized in bands, where there is a terminal."""

    def __init__(self) -> None:
        self.bar: tqdm[NoReturn] | None = None

    def __call__(self, done: float, total: float) -> None:
        from tqdm import tqdm

        if self.bar is None:
            form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            self.bar = tqdm(total=total, leave=False, disable=None, bar_format=form)
        self.bar.update(done - self.bar.n)
        if done > total - 0.5:  # of a row
            self.bar.close()
            self.bar = None


@main.command()
@click.argument("checkpoints", nargs=-1, required=True)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    help="Folder of photos that no network has been trained on; by default the bundled ones.",
)
@click.option(
    "--painting",
    type=click.Path(path_type=Path),
    help="The painting's file; or, for networks of several paintings, the folder that they are in.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for report.json, index.html with its pictures, and TensorBoard's files.",
)
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(1, 20_000),
    multiple=True,
    default=(256, 512, 1024),
    show_default=True,
    help="Side in pixels of the photos' centre squares; may be repeated.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Photos at most, the first in order of name.",
)
@click.option(
    "--evaluations",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="How long L-BFGS may try on each photo; 0 leaves this comparison out.",
)
@click.option(
    "--evaluations-at",
    type=click.IntRange(1),
    multiple=True,
    help="Size at which L-BFGS is run, by default the smallest; may be repeated. Twice the side "
    "takes four times as long.",
)
@click.option(
    "--loss",
    help="Measure all with vgg16, vgg19 or johnson (see conf/loss) and its weights, instead of "
    "each with the loss that it was trained with.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda:0."
)
def evaluate(
    checkpoints: tuple[str, ...],
    photos: Path | None,
    painting: Path | None,
    out: Path,
    sizes: tuple[int, ...],
    count: int,
    evaluations: int,
    evaluations_at: tuple[int, ...],
    loss: str | None,
    seed: int,
    device: str,
) -> None:
    """Measure networks side by side: losses, faults, and how far L-BFGS must go for the same.

    CHECKPOINTS are shipped styles (see `styles`) or .safetensors files. Compare totals only among
    networks of one painting and one loss. Ctrl-C keeps what is measured so far.

    \b
    fast-style evaluate starry-night wave
    fast-style evaluate old.safetensors new.safetensors --painting mine.jpg --photos held-out
    fast-style evaluate mine.safetensors --size 256 --count 2 --evaluations 0     in seconds
    """
    from tqdm import tqdm

    from fast_style.evaluation.evaluate import Plan, evaluate

    plan = Plan(
        checkpoints=checkpoints,
        photos=photos,
        painting=painting,
        sizes=sorted(set(sizes)),
        count=count,
        evaluations=evaluations,
        evaluations_sizes=sorted(set(evaluations_at or (min(sizes),))),
        loss=loss,
        seed=seed,
        device=device,
    )
    with (
        _notes_shown(),
        tqdm(
            total=1.0,
            bar_format="{percentage:3.0f}%|{bar}| {elapsed} < {remaining} left, {desc}",
            dynamic_ncols=True,
            leave=False,
            disable=None,  # unless on a terminal
        ) as bar,
    ):

        def show(done: float, doing: str) -> None:
            bar.set_description_str(doing, refresh=False)
            bar.update(done - bar.n)

        data = evaluate(plan, out, show)

    for checkpoint in data["checkpoints"]:
        for size, found in checkpoint["sizes"].items():
            line = f"{checkpoint['name']:20} {size:>5} px  total {found['losses']['total']:.2f}"
            if "evaluations" in found:
                reached = found["evaluations"]
                reached = f"more than {evaluations}" if reached is None else f"{reached:g}"
                line += f", as L-BFGS after {reached} evaluations"
            click.echo(line)
    click.echo("\n" + click.format_filename(out / "index.html"))
    if not data["complete"]:
        click.echo("fast-style: stopped; this is what was measured so far", err=True)
        sys.exit(INTERRUPTED)


@main.command()
def styles() -> None:
    """List the styles that are shipped."""
    from fast_style.checkpoint import read_style, shipped_styles

    for name in shipped_styles():
        losses = read_style(name).losses
        click.echo(
            f"{name:20} content {losses['val/content']:.2f}  style {losses['val/style']:.3f}  "
            f"after {losses['step']:,.0f} steps"
        )
    click.echo(f"\n{program()} stylize PHOTO.jpg --style NAME")


# What is to be typed, as it works where the help is read.
for _command in (main, *main.commands.values()):
    _command.help = with_program(_command.help or "")
