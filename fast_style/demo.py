"""One painting to a trained network and a sheet of pictures, with nothing but the package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from PIL import Image

from fast_style import settings
from fast_style.errors import UserError
from fast_style.hydra_app import as_user_error, path_override, register_resolvers, style_override
from fast_style.images import find_pictures, open_picture, resize_picture, save_picture
from fast_style.networks.transformer import ImageTransformer
from fast_style.resources import CONF, PHOTOS
from fast_style.runs import what_it_holds
from fast_style.sheet import before_after_sheet
from fast_style.stylizer import Stylizer
from fast_style.training import TrainingResult, train

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
    minutes: float = 4.0,
    seed: int = 0,
    overwrite: bool = False,
) -> Demo:
    """Train ``experiment=quickstart`` and stylize the bundled and the given photos.

    Args:
        out: folder for everything that is made.
        style: name of a style, or a painting's file.
        content: folder of photos to train on; None for dead leaves.
        photos: stylized beside the bundled ones.
        steps: length of training; None to train for ``minutes``.
        minutes: length of training where ``steps`` is None.
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
    overrides = [
        "experiment=quickstart",
        style_override(style),
        f"seed={seed}",
        path_override("output_dir", out.absolute()),
        f"overwrite={str(overwrite).lower()}",
    ]
    if content is not None:
        overrides += ["data=photos", path_override("data.dir", content), "data.size=128"]
    if steps is not None:
        overrides += [f"trainer.max_steps={steps}"]
    else:
        overrides += [f"callbacks.schedule.minutes={minutes}", "trainer.max_steps=-1"]
    register_resolvers()
    with as_user_error():
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", overrides)
        settings.check(cfg)
        held = what_it_holds(out, str(cfg.style.name))
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


def _open_shown(path: Path) -> Image.Image:
    photo = resize_picture(open_picture(path), SHOWN_SIDE)
    if min(photo.size) < ImageTransformer.MIN_SIDE:
        raise UserError(
            f"{path} is too narrow: at {photo.width} x {photo.height} px, as the demo shows it, a "
            f"side is shorter than {ImageTransformer.MIN_SIDE} px; give another photo"
        )
    return photo
