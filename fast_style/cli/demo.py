"""``fast-style demo``."""

from __future__ import annotations

from pathlib import Path

import click

from fast_style.cli.options import FILE, FiniteRange, examples, out_option, seed_option
from fast_style.extras import TRAINING, need
from fast_style.shell import program, quote, readable


@click.command(
    epilog=examples(
        "demo                                # the bundled painting and photos",
        "demo photo.jpg --style mine.jpg     # your painting, and your photo beside the others",
        "demo --content photos --minutes 10  # trained on your photos, for ten minutes",
    )
)
@click.argument("photos", nargs=-1, type=FILE)
@click.option(
    "--style",
    default="stained-glass",
    show_default=True,
    help="Name of a bundled painting, or a painting's file.",
)
@click.option(
    "--content",
    type=FILE,
    metavar="FOLDER",
    help="Folder of photos to train on. By default the demo draws pictures of dead leaves.",
)
@click.option("--steps", type=click.IntRange(1), help="Train for this many steps.")
@click.option(
    "--minutes",
    type=FiniteRange(0, min_open=True),
    show_default="1 on an NVIDIA GPU, 4 without",
    help="Train for this many minutes, unless --steps is given.",
)
@seed_option("Seed of the network's first weights and of the training pictures.")
@out_option("demo", "Folder for the network, the pictures and the sheet.")
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
    """Train on one painting for a few minutes, then stylize photos. Everything needed is bundled.

    PHOTOS are stylized in addition to the bundled ones. An NVIDIA GPU trains with experiment=gpu,
    any other device with experiment=quickstart. Ctrl-C ends training early and keeps the network.
    Two demos with the same --steps and --seed make the same network on the same machine, bit for
    bit.
    """
    need("train", "demos", *TRAINING)
    from fast_style.demo import default_minutes, has_cuda, run_demo

    minutes = default_minutes(has_cuda()) if minutes is None else minutes
    length = f"{steps} steps" if steps else f"{minutes:g} minute{'s' * (minutes != 1)}"
    click.echo(
        f"Training a network for {readable(style)} on {readable(str(content or 'dead leaves'))}, "
        f"{length}. Ctrl-C stops early and keeps the network.\n"
        f"Watch it: {program('tensorboard')} --logdir {quote(out)}"
    )
    made = run_demo(out, style, content, photos, steps, minutes, seed, overwrite)
    network, called = made.training.network, program()
    click.echo(
        f"\nPhotos above, stylized below:  {readable(str(made.sheet))}\n"
        f"The trained network:           {readable(str(network))}\n\n"
        "Next:\n"
        f"  {called} stylize YOUR_PHOTO.jpg --style {quote(network)}\n"
        f"  {called} demo --style YOUR_PAINTING.jpg -o mine\n"
        f"  {called} train style=YOUR_PAINTING.jpg data.dir=FOLDER_OF_PHOTOS loss=vgg16"
    )
