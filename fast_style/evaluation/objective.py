"""The objective that a network was trained for: a painting and a loss."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from torch import Tensor

from fast_style.bundled import PAINTINGS
from fast_style.checkpoint import StyleFile, find_style, read_style
from fast_style.config.compose import compose_config
from fast_style.config.messages import as_user_error
from fast_style.devices import find_device
from fast_style.errors import UserError
from fast_style.evaluation import artifacts
from fast_style.images import open_picture, resize_picture, to_tensor
from fast_style.losses import PerceptualLoss

MAX_STYLE_SIZE = 10_000  # px; a file with more is broken


@dataclass(frozen=True)
class ObjectiveSpec:
    """The description of an objective, before anything is loaded.

    Args:
        painting: file of the style image.
        style_size: longer side in pixels at which its style is measured.
        loss: arguments of `PerceptualLoss`.
    """

    painting: Path
    style_size: int
    loss: dict[str, Any]

    @property
    def key(self) -> str:
        """A text that equal objectives share."""
        return json.dumps(
            [str(self.painting.resolve()), self.style_size, self.loss], sort_keys=True
        )


@dataclass(frozen=True)
class Objective:
    """A painting and a loss. Networks with the same objective share its reference curves.

    Args:
        spec: its description.
        painting: the style image as its style is measured, ``(1, 3, H, W)`` in [0, 1], on the CPU.
        loss: the loss, which has measured the painting.
        dots: dots of the painting per 10,000 px, see `artifacts.dots`.
    """

    spec: ObjectiveSpec
    painting: Tensor
    loss: PerceptualLoss
    dots: float


def load_objective(
    checkpoint: str | Path,
    painting: Path | None = None,
    device: str = "auto",
    loss: str | None = None,
) -> Objective:
    """Load the painting and the loss that a network was trained with.

    Args:
        checkpoint: name of a shipped style, or path of a file.
        painting: as in `Plan`.
        device: name of the device to compute on, see `find_device`.
        loss: as in `Plan`.

    Raises:
        UserError: if the checkpoint does not name its painting or loss, or they cannot be loaded.
    """
    path = find_style(checkpoint)
    return build_objective(read_spec(path, painting, loss), path, find_device(device))


def read_spec(checkpoint: Path, painting: Path | None, loss: str | None) -> ObjectiveSpec:
    """Read the objective of a checkpoint.

    Args:
        checkpoint: path of a trained network.
        painting: as in `Plan`.
        loss: as in `Plan`.

    Raises:
        UserError: if the checkpoint does not say enough.
    """
    trained = read_style(checkpoint)
    return ObjectiveSpec(
        _find_painting(trained, painting),
        _style_size(trained, checkpoint),
        _own_loss(trained, checkpoint) if loss is None else _named_loss(loss),
    )


def build_objective(spec: ObjectiveSpec, checkpoint: Path, device: torch.device) -> Objective:
    """Load the painting of an objective, and measure its style.

    Args:
        spec: its description.
        checkpoint: the file that the description comes from, for messages.
        device: where the loss computes.

    Raises:
        UserError: if the painting or the loss does not serve.
    """
    picture = resize_picture(open_picture(spec.painting), spec.style_size)
    painting = to_tensor(picture).unsqueeze(0)
    if min(painting.shape[-2:]) < artifacts.BLOCK:
        raise UserError(
            f"{spec.painting} is too narrow: at {spec.style_size} px, the size at which its "
            f"style is measured, a side is shorter than {artifacts.BLOCK} px"
        )
    try:
        loss = PerceptualLoss(**spec.loss).to(device)
    except TypeError as error:
        raise UserError(
            f"{checkpoint} has a recipe for another loss ({error}): choose one with --loss"
        ) from error
    loss.set_style_image(painting.to(device))
    return Objective(spec, painting, loss, artifacts.dots(painting).item())


def _find_painting(trained: StyleFile, given: Path | None) -> Path:
    style = trained.recipe.get("style")
    name = Path(str(style.get("image", ""))).name if isinstance(style, dict) else ""
    if given is not None and not given.is_dir():
        return given
    folder = PAINTINGS if given is None else given
    if name and (folder / name).is_file():
        return folder / name
    raise UserError(
        f"the painting of {trained.name}, {name or 'of unknown name'}, is not in {folder}: give "
        "it with --painting FILE, or the folder that it is in"
    )


def _style_size(trained: StyleFile, path: Path) -> int:
    try:
        size = int(trained.recipe["style"]["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} does not say at which size its style was measured: train it again"
        ) from error
    if not artifacts.BLOCK <= size <= MAX_STYLE_SIZE:
        raise UserError(
            f"{path} measured its style at {size} px, and evaluation needs {artifacts.BLOCK} to "
            f"{MAX_STYLE_SIZE} px"
        )
    return size


def _own_loss(trained: StyleFile, path: Path) -> dict[str, Any]:
    """Arguments of the loss. Hydra's `instantiate` would call whatever a stranger's file names."""
    recipe = trained.recipe.get("loss")
    if not isinstance(recipe, dict) or recipe.get("_target_") != "fast_style.losses.PerceptualLoss":
        raise UserError(
            f"{path} does not say what loss it was trained with: choose one with --loss"
        )
    return {key: value for key, value in recipe.items() if key != "_target_"}


def _named_loss(name: str) -> dict[str, Any]:
    with as_user_error():
        loss = compose_config([f"loss={name}"]).loss
        recipe = cast(dict[str, Any], OmegaConf.to_container(loss, resolve=True))
    recipe.pop("_target_")
    return recipe
