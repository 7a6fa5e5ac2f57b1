"""The demo: from one painting to a trained network and a sheet of pictures, in minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from PIL import Image

from fast_style.bundled import PHOTOS
from fast_style.config import settings
from fast_style.config.compose import compose_config
from fast_style.config.messages import as_user_error
from fast_style.config.paths import painting_file, path_override, style_override
from fast_style.config.run_folder import find_earlier_run
from fast_style.devices import find_device
from fast_style.errors import UserError
from fast_style.files import numbered
from fast_style.images import find_pictures, open_picture, resize_picture, save_picture
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.sheet import before_after_sheet
from fast_style.stylizing.stylizer import Stylizer
from fast_style.training.train import TrainingResult, train

SHOWN_SIDE = 640  # px, the longer side at which photos are stylized
MAX_ON_SHEET = 8  # photos; with more, the sheet is wider than a screen


@dataclass
class Demo:
    """What a demo made.

    Args:
        training: the training run and its network.
        sheet: the sheet of all photos before and after.
        pictures: the stylized photos, the user's own first.
    """

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
    """Train with the `recipe` for this machine, and stylize the bundled and the given photos.

    Args:
        out: folder for everything that is made.
        style: name of a style, or a painting's file.
        content: folder of photos to train on; None for dead leaves.
        photos: photos to stylize in addition to the bundled ones.
        steps: number of training steps, at least 1; None to train for ``minutes``.
        minutes: duration of training if ``steps`` is None; None for `default_minutes`.
        seed: random seed. With the same seed and steps, one machine makes the same network.
        overwrite: replace the run that ``out`` holds.

    Raises:
        UserError: for whatever the user got wrong, before training starts.
    """
    shown = [(path, _open_shown(path)) for path in [*photos, *find_pictures(PHOTOS)]]
    cfg = configure(out, style, content, steps, minutes, seed, overwrite)
    result = train_demo(cfg)
    return _stylize_and_show(cfg, result, shown, out)


def configure(
    out: Path,
    style: str = "stained-glass",
    content: Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> DictConfig:
    """Compose and check the configuration of a demo's training, and make its folder.

    Args:
        out, style, content, steps, minutes, seed, overwrite: see `run_demo`.

    Raises:
        UserError: for whatever the user got wrong.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made ({error.strerror}): name another folder") from error
    on_cuda = has_cuda()
    if steps is None:
        minutes = default_minutes(on_cuda) if minutes is None else minutes
        length = [f"callbacks.schedule.minutes={minutes}", "trainer.max_steps=-1"]
    else:
        length = [f"trainer.max_steps={steps}"]
    cfg = compose_config(
        [
            *recipe(on_cuda, content),
            *length,
            style_override(style),
            f"seed={seed}",
            path_override("output_dir", out.absolute()),
            f"overwrite={str(overwrite).lower()}",
        ]
    )
    with as_user_error():
        settings.check(cfg)
    earlier = find_earlier_run(out, str(cfg.style.name))
    if earlier and not overwrite:
        raise UserError(
            f"{out} holds a run already ({earlier.name}): name another folder with -o, or replace "
            "it with --overwrite"
        )
    return cfg


def train_demo(cfg: DictConfig) -> TrainingResult:
    """Train the network of a configuration from `configure`.

    Raises:
        UserError: for whatever the user got wrong, before training starts.
    """
    with as_user_error():
        return train(cfg)


def has_cuda() -> bool:
    """Whether training runs on an NVIDIA GPU."""
    return find_device("auto").type == "cuda"


def default_minutes(on_cuda: bool) -> float:
    """The duration of training unless the user chooses one."""
    return 1.0 if on_cuda else 4.0


def recipe(on_cuda: bool, content: Path | None) -> list[str]:
    """Hydra overrides for the demo's training.

    An NVIDIA GPU trains with ``experiment=gpu``, any other device with ``experiment=quickstart``.

    Args:
        on_cuda: whether training runs on an NVIDIA GPU.
        content: folder of photos to train on; None for dead leaves.
    """
    if not on_cuda:
        data = [] if content is None else ["data=photos", "data.size=128"]
        experiment = "quickstart"
    else:
        # The CPU draws dead leaves more slowly than a GPU learns from them. Few and small ones in
        # each step allow more steps.
        small = ["data=dead_leaves", "data.size=128", "data.batch_size=4"]
        data = small if content is None else []
        experiment = "gpu"
    folder = [] if content is None else [path_override("data.dir", content)]
    return [f"experiment={experiment}", *data, *folder]


def _open_shown(path: Path) -> Image.Image:
    photo = resize_picture(open_picture(path), SHOWN_SIDE)
    if min(photo.size) < ImageTransformer.MIN_SIDE:
        raise UserError(
            f"{path} is too narrow: resized for the demo it has {photo.width} x {photo.height} px, "
            f"and each side needs {ImageTransformer.MIN_SIDE} px; give another photo"
        )
    return photo


def _stylize_and_show(
    cfg: DictConfig, result: TrainingResult, shown: Sequence[tuple[Path, Image.Image]], out: Path
) -> Demo:
    """Stylize the photos with the trained network and write them and the sheet."""
    stylizer = Stylizer(result.network)
    pictures: list[Path] = []
    pairs: list[tuple[Image.Image, Image.Image]] = []
    for path, photo in shown:
        stylized = stylizer(photo)
        # Two photos of the same name get different files.
        names = (out / f"{stem}-{stylizer.name}.jpg" for stem in numbered(path.stem))
        target = next(name for name in names if name not in pictures)
        save_picture(stylized, target)
        pictures.append(target)
        pairs.append((photo, stylized))
    caption = f"{stylizer.name}\n{result.steps} steps, {result.seconds / 60:.1f} minutes"
    painting = open_picture(painting_file(cfg.style.image))
    sheet = out / "sheet.jpg"
    save_picture(before_after_sheet(painting, caption, pairs[:MAX_ON_SHEET]), sheet)
    return Demo(result, sheet, pictures)
