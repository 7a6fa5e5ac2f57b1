"""One painting to a trained network and a sheet of pictures, with nothing but the package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fast_style.bundled import PHOTOS
from fast_style.config import settings
from fast_style.config.compose import compose_config
from fast_style.config.messages import as_user_error
from fast_style.config.paths import path_override, style_override
from fast_style.config.run_folder import find_earlier_run
from fast_style.devices import find_device
from fast_style.errors import UserError
from fast_style.images import find_pictures, open_picture, resize_picture, save_picture
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.sheet import before_after_sheet
from fast_style.stylizing.stylizer import Stylizer
from fast_style.training.train import TrainingResult, train

SHOWN_SIDE = 640  # longer side at which the demo stylizes
ON_THE_SHEET = 8  # photos; more make a strip that no screen shows


@dataclass
class Demo:
    """What a demo left behind."""

    training: TrainingResult
    sheet: Path
    pictures: list[Path]


def run_demo(
    out: Path,
    style: str = "stained-glass",
    content: Path | None = None,
    photos: Sequence[Path] = (),
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Demo:
    """Train by the `recipe` for this machine and stylize the bundled and the given photos.

    Args:
        out: folder for everything that is made.
        style: name of a style, or a painting's file.
        content: folder of photos to train on; None for dead leaves.
        photos: stylized beside the bundled ones.
        steps: length of training; None to train for ``minutes``.
        minutes: length of training where ``steps`` is None; None for `default_minutes`.
        seed: with the same steps it makes the same network, on one machine.
        overwrite: replace the run that ``out`` holds.

    Raises:
        UserError: for whatever the user got wrong, before training starts.
    """
    shown = [(path, _open_shown(path)) for path in [*photos, *find_pictures(PHOTOS)]]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made ({error.strerror}): name another folder") from error
    on_cuda = has_cuda()
    overrides = [
        *recipe(on_cuda, content),
        style_override(style),
        f"seed={seed}",
        path_override("output_dir", out.absolute()),
        f"overwrite={str(overwrite).lower()}",
    ]
    if steps is not None:
        overrides += [f"trainer.max_steps={steps}"]
    else:
        minutes = default_minutes(on_cuda) if minutes is None else minutes
        overrides += [f"callbacks.schedule.minutes={minutes}", "trainer.max_steps=-1"]
    with as_user_error():
        cfg = compose_config(overrides)
        settings.check(cfg)
        held = find_earlier_run(out, str(cfg.style.name))
        if held and not overwrite:
            raise UserError(
                f"{out} holds a run already ({held.name}): name another folder with -o, or replace "
                "it with --overwrite"
            )
        result = train(cfg)

    stylize = Stylizer(result.network)
    pairs: list[tuple[Image.Image, Image.Image]] = []
    pictures: list[Path] = []
    for path, photo in shown:
        stylized = stylize(photo)
        pairs.append((photo, stylized))
        target, number = out / f"{path.stem}-{stylize.name}.jpg", 2
        while target in pictures:
            target = out / f"{path.stem}-{number}-{stylize.name}.jpg"
            number += 1
        pictures.append(target)
        save_picture(stylized, target)
    sheet = out / "sheet.jpg"
    caption = f"{stylize.name}\n{result.steps} steps, {result.seconds / 60:.1f} minutes"
    painting = open_picture(Path(os.path.expanduser(cfg.style.image)))
    save_picture(before_after_sheet(painting, caption, pairs[:ON_THE_SHEET]), sheet)
    return Demo(result, sheet, pictures)


def has_cuda() -> bool:
    """Whether training will run on an NVIDIA GPU."""
    return find_device("auto").type == "cuda"


def default_minutes(on_cuda: bool) -> float:
    """How long the demo trains unless told otherwise."""
    return 1.0 if on_cuda else 4.0


def recipe(on_cuda: bool, content: Path | None) -> list[str]:
    """Hydra overrides for the demo's training.

    An NVIDIA GPU trains by ``experiment=gpu``, any other device by ``experiment=quickstart``.

    Args:
        on_cuda: whether an NVIDIA GPU does the training.
        content: folder of photos to train on; None for dead leaves.
    """
    if not on_cuda:
        data = [] if content is None else ["data=photos", "data.size=128"]
        experiment = "quickstart"
    else:
        # A processor draws dead leaves more slowly than a GPU learns from them: small ones, and few
        # a step, make for more steps.
        small = ["data=dead_leaves", "data.size=128", "data.batch_size=4"]
        data = small if content is None else []
        experiment = "gpu"
    folder = [] if content is None else [path_override("data.dir", content)]
    return [f"experiment={experiment}", *data, *folder]


def _open_shown(path: Path) -> Image.Image:
    photo = resize_picture(open_picture(path), SHOWN_SIDE)
    if min(photo.size) < ImageTransformer.MIN_SIDE:
        raise UserError(
            f"{path} is too narrow: at {photo.width} x {photo.height} px, as the demo shows it, a "
            f"side is shorter than {ImageTransformer.MIN_SIDE} px; give another photo"
        )
    return photo
