"""One painting to a trained network and a sheet of pictures, with nothing but the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir

from fast_style.hydra_app import as_user_error, style_override
from fast_style.images import find_pictures, open_picture, resize_picture, save_picture
from fast_style.resources import CONF, PHOTOS
from fast_style.sheet import before_after_sheet
from fast_style.stylizer import Stylizer
from fast_style.training import TrainingResult, register_resolvers, train

SHOWN_SIDE = 640  # longer side at which the demo stylizes


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

    Raises:
        UserError: for whatever the user got wrong, before training starts.
    """
    shown = [(path, open_picture(path)) for path in [*photos, *find_pictures(PHOTOS)]]
    overrides = [
        "experiment=quickstart",
        style_override(style),
        f"seed={seed}",
        f"output_dir={_quoted(out.absolute())}",
    ]
    if content is not None:
        overrides += ["data=photos", f"data.dir={_quoted(content)}", "data.size=128"]
    if steps is not None:
        overrides += [f"trainer.max_steps={steps}"]
    else:
        overrides += [f"callbacks.schedule.minutes={minutes}", "trainer.max_steps=-1"]
    register_resolvers()
    with as_user_error():
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", overrides)
        result = train(cfg)

    stylize = Stylizer(result.network)
    pairs, pictures = [], []
    for path, photo in shown:
        photo = resize_picture(photo, SHOWN_SIDE)
        stylized = stylize(photo)
        pairs.append((photo, stylized))
        pictures.append(out / f"{path.stem}-{stylize.name}.jpg")
        save_picture(stylized, pictures[-1])
    sheet = out / "sheet.jpg"
    caption = f"{stylize.name}\n{result.steps} steps, {result.seconds / 60:.1f} minutes"
    save_picture(before_after_sheet(open_picture(Path(cfg.style.image)), caption, pairs), sheet)
    return Demo(result, sheet, pictures)


def _quoted(path: Path) -> str:
    """A path as a value that Hydra's grammar takes whatever is in it."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
