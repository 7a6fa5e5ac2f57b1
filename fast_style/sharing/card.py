"""The card of a style: a page for a hub that says what the style is and shows what it paints."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image, ImageOps

from fast_style.bundled import CHECKPOINTS, PAINTINGS, PHOTOS
from fast_style.checkpoint import StyleFile, find_style, read_style, style_name
from fast_style.hub import SUFFIX
from fast_style.images import open_picture
from fast_style.shell import readable
from fast_style.stylizing.sheet import captioned_grid
from fast_style.stylizing.stylizer import Stylizer

CARD = "README.md"
PICTURE = "pictures/photos.jpg"
PAINTING = "pictures/painting.jpg"
SHOWN = ("chelsea.jpg", "coffee.jpg", "rocket.jpg")  # bundled photos
SIZE = (420, 280)  # px of each picture


def make_card(style: str | Path, repository: str, license: str | None) -> dict[str, bytes]:
    """Make all files of a style's repository.

    Args:
        style: as for `read_style`.
        repository: owner and name on the hub.
        license: the hub's name of a licence; None for that of a shipped style, or for none.

    Returns:
        The content of each file by its path: the style's own file, the card, a picture of bundled
        photos in the style, and the painting of a shipped style.

    Raises:
        UserError: if the style cannot be read.
    """
    path, found = find_style(style), read_style(style)
    file = style_name(path) + SUFFIX
    files = {file: path.read_bytes(), PICTURE: _painted_photos(path)}
    painting = painting_of(path)
    if painting is not None:
        files[PAINTING] = painting.read_bytes()
    environment = Environment(
        loader=PackageLoader("fast_style.sharing", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    card = environment.get_template("card.md.jinja").render(
        name=readable(found.name),
        file=file,
        repository=repository,
        license=license or ("mit" if _is_shipped(path) else None),
        painting=PAINTING if PAINTING in files else None,
        picture=PICTURE,
        parameters=sum(weight.size for weight in found.weights.values()),
        adjustable=found.config["adjustable"],
        training=training_of(found),
        losses=losses_of(found),
    )
    return {CARD: card.encode(), **files}


def painting_of(style: Path) -> Path | None:
    """The bundled painting of a shipped style's file; None for a file of one's own."""
    painting = PAINTINGS / f"{style.stem}.jpg"
    return painting if _is_shipped(style) and painting.is_file() else None


def _is_shipped(style: Path) -> bool:
    return CHECKPOINTS.resolve() in style.resolve().parents


def training_of(style: StyleFile) -> dict[str, str]:
    """What a style's file tells about its training, in words; empty for a style of elsewhere."""
    recipe = style.recipe
    told = {
        "painting": _at(recipe, "style", "image"),
        "steps": style.losses.get("step"),
        "pictures a step": _at(recipe, "data", "batch_size"),
        "size of a picture in px": _at(recipe, "data", "size"),
        "size of the painting in px": _at(recipe, "style", "size"),
        "start": recipe.get("init"),
        "loss network": _at(recipe, "loss", "network"),
        "weight of style": _at(recipe, "loss", "style_weight"),
        "weight of total variation": _at(recipe, "loss", "tv_weight"),
        "weight of stability": _at(recipe, "loss", "stability_weight"),
    }
    return {name: _shown(value) for name, value in told.items() if value is not None}


def losses_of(style: StyleFile) -> dict[str, str]:
    """The validation losses of a style by their names, as its file tells them."""
    return {
        name.removeprefix("val/"): f"{value:.3g}"
        for name, value in style.losses.items()
        if name.startswith("val/")
    }


def _at(recipe: dict[str, Any], part: str, key: str) -> Any:
    values = recipe.get(part)
    return values.get(key) if isinstance(values, dict) else None


def _shown(value: Any) -> str:
    if isinstance(value, (int, float)):
        return f"{value:,g}" if value < 1e6 else f"{value:,.0f}"
    return readable(value if isinstance(value, str) else json.dumps(value)).replace("|", "\\|")


def _painted_photos(style: Path) -> bytes:
    """A JPEG of bundled photos above their stylized versions."""
    stylize = Stylizer(style)
    photos = [ImageOps.fit(open_picture(PHOTOS / name), SIZE) for name in SHOWN]
    painted = [stylize(photo) for photo in photos]
    captions = ["photo"] * len(photos) + [style_name(style)] * len(photos)
    grid = captioned_grid(list(zip([*photos, *painted], captions, strict=True)), len(photos))
    return as_jpeg(grid)


def as_jpeg(picture: Image.Image) -> bytes:
    """Encode a picture for a page."""
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=88, optimize=True)
    return written.getvalue()
