"""How good trained networks are: losses, how far the slow reference must go for them, faults."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from torch import Tensor

from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.checkpoint import StyleFile, find_style, read_style
from fast_style.config.compose import compose_config
from fast_style.config.messages import as_user_error
from fast_style.data.content import CentreSquares
from fast_style.devices import find_device
from fast_style.errors import UserError
from fast_style.evaluation import artifacts as faults
from fast_style.evaluation.report import write_report
from fast_style.images import (
    find_pictures,
    open_picture,
    resize_picture,
    save_picture,
    to_picture,
    to_tensor,
)
from fast_style.losses import PerceptualLoss
from fast_style.optimize.gatys import optimize
from fast_style.stylizing.stylizer import Stylizer

MIN_SIZE = 96  # px: a smaller picture has nothing between its borders

# What a photo costs that is measured, in L-BFGS evaluations of the same size: for the time left.
PHOTO_COST = 3


@dataclass
class Plan:
    """What is measured, and on what.

    Args:
        checkpoints: names of shipped styles, or paths.
        photos: a folder; None for the bundled photos.
        painting: a file, for all checkpoints; or a folder in which each one's is looked for, under
            the name that its recipe has; None where it is a bundled one.
        sizes: sides in pixels of the photos' centre squares.
        count: photos at most, the first in order of name.
        evaluations: of L-BFGS on a photo, at most; 0 to leave the reference out.
        evaluations_sizes: those of the sizes at which L-BFGS is run.
        loss: a name in ``conf/loss`` to measure all with, instead of what each was trained with.
        seed: of the white noise that L-BFGS starts from, and of the sensor's.
        device: as for `Stylizer`.
    """

    checkpoints: Sequence[str]
    photos: Path | None = None
    painting: Path | None = None
    sizes: Sequence[int] = (256, 512, 1024)
    count: int = 4
    evaluations: int = 100
    evaluations_sizes: Sequence[int] = (256,)
    loss: str | None = None
    seed: int = 0
    device: str = "auto"


@dataclass
class Judge:
    """A painting and a loss; the networks measured against it share its reference curves."""

    painting: Tensor  # (1, 3, H, W), as large as its style is measured
    loss: PerceptualLoss
    data: dict[str, Any]


@dataclass
class Candidate:
    """A network that is measured, and what was found (`data`)."""

    path: Path
    judge: Judge
    data: dict[str, Any] = field(default_factory=dict)


def evaluate(
    plan: Plan, out: Path, on_progress: Callable[[float, str], None] = lambda done, doing: None
) -> dict[str, Any]:
    """Measure networks side by side; ``out`` is written (`write_report`) after each of them.

    First losses and faults of all networks at all sizes, then the reference, photo by photo and no
    further than the best network on that photo needs.

    Args:
        on_progress: told the share that is done, in [0, 1], and what comes next.

    Returns:
        What `write_report` wrote; after Ctrl-C what was found until then, with ``complete`` false.

    Raises:
        UserError: for whatever the user got wrong, before anything slow starts.
    """
    _check_sizes(plan)
    photos_folder = plan.photos or PHOTOS
    if photos_folder.resolve() in [out.resolve(), *out.resolve().parents]:
        raise UserError(
            f"{out} is in {photos_folder}, and its pictures would be taken for photos the next "
            "time: write the report elsewhere"
        )
    device = find_device(plan.device)
    paths = find_pictures(photos_folder)[: plan.count]
    photos = {size: _squares(paths, size) for size in plan.sizes}
    candidates = _candidates(plan, device)
    judges = list({id(c.judge): c.judge for c in candidates}.values())
    data: dict[str, Any] = {
        "complete": False,
        "settings": {
            "sizes": list(plan.sizes),
            "evaluations": plan.evaluations,
            "evaluations_sizes": list(plan.evaluations_sizes),
            "seed": plan.seed,
            "device": str(device),
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        },
        "photos": [
            {"name": path.name, "shorter_side": min(open_picture(path).size), "pictures": {}}
            for path in paths
        ],
        "judges": [judge.data for judge in judges],
        "checkpoints": [candidate.data for candidate in candidates],
    }
    pictures = out / "pictures"
    for index in range(len(paths)):
        for size in plan.sizes:
            picture = Path("photos") / f"{size}-{index}.jpg"
            save_picture(to_picture(photos[size][index]), pictures / picture)
            data["photos"][index]["pictures"][str(size)] = str(picture)
    for number, judge in enumerate(judges):
        judge.data["picture"] = f"painting-{number}.jpg"
        save_picture(to_picture(judge.painting[0]), pictures / judge.data["picture"])
    write_report(data, out)

    squares = sum(size**2 for size in plan.sizes)
    curve_sizes = list(plan.evaluations_sizes) if plan.evaluations else []
    total = len(paths) * (
        PHOTO_COST * squares * len(candidates)
        + plan.evaluations * sum(size**2 for size in curve_sizes) * len(judges)
    )
    done = 0

    def progress(cost: int, doing: str) -> None:
        nonlocal done
        done += cost
        on_progress(done / total, doing)

    try:
        for candidate in candidates:
            stylize = Stylizer(candidate.path, plan.device)
            for size in plan.sizes:
                found = []
                for index, photo in enumerate(photos[size].to(device).split(1)):
                    progress(0, f"{candidate.data['name']} at {size} px")
                    found.append(_measure(stylize, candidate.judge, photo, plan.seed))
                    picture = Path(candidate.data["folder"]) / f"{size}-{index}.jpg"
                    save_picture(to_picture(found[-1].stylized[0]), pictures / picture)
                    found[-1].data["picture"] = str(picture)
                    progress(PHOTO_COST * size**2, f"{candidate.data['name']} at {size} px")
                candidate.data["sizes"][str(size)] = _summary(found)
            write_report(data, out)
        for judge in judges:
            sharing = [candidate.data for candidate in candidates if candidate.judge is judge]
            for size in curve_sizes:
                judge.data["curves"][str(size)] = curves = []
                for index, photo in enumerate(photos[size].to(device).split(1)):
                    measured = [data["sizes"][str(size)]["photos"][index] for data in sharing]
                    target = min(each["losses"]["total"] for each in measured)
                    before = done

                    def on_evaluation(count: int, size: int = size) -> None:
                        progress(size**2, f"L-BFGS at {size} px, evaluation {count}")

                    curve = reference_curve(
                        judge.loss, photo, target, plan.evaluations, plan.seed, on_evaluation
                    )
                    curves.append(curve)
                    for each in measured:
                        each["evaluations"] = evaluations_to_reach(curve, each["losses"]["total"])
                    progress(before + plan.evaluations * size**2 - done, "L-BFGS")
                    write_report(data, out)
                for each in sharing:
                    counts = [photo["evaluations"] for photo in each["sizes"][str(size)]["photos"]]
                    each["sizes"][str(size)]["evaluations"] = median_evaluations(counts)
        data["complete"] = True
    except KeyboardInterrupt:
        pass
    write_report(data, out, finished=True)
    return data


def reference_curve(
    loss: PerceptualLoss,
    photo: Tensor,
    target: float,
    evaluations: int,
    seed: int = 0,
    on_evaluation: Callable[[int], None] = lambda count: None,
) -> list[float]:
    """The lowest total that L-BFGS has found after 1, 2, ... evaluations, from white noise (strong
    Wolfe, history of 10; Johnson et al. 2016, section 4.1), until it reaches ``target``.

    Args:
        loss: its style measured.
        photo: ``(1, 3, H, W)`` in [0, 1].
        evaluations: at most; those of line searches count.
        seed: of the noise, uniform in [0, 1].
        on_evaluation: told how many there were.
    """
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(seed)).to(photo)
    curve: list[float] = []

    def follow(count: int, losses: dict[str, float], picture: Tensor) -> bool:
        curve.append(min([losses["total"], *curve[-1:]]))
        on_evaluation(count)
        return curve[-1] <= target

    optimize(photo, loss, noise, evaluations=evaluations, on_evaluation=follow)
    return curve


def evaluations_to_reach(curve: Sequence[float], total: float) -> int | None:
    """How many evaluations a reference curve took to a total; None if it did not get there."""
    return next((count for count, lowest in enumerate(curve, 1) if lowest <= total), None)


def median_evaluations(counts: Sequence[int | None]) -> float | None:
    """The median over photos; None where that is more than was tried."""
    median = statistics.median(math.inf if count is None else count for count in counts)
    return None if math.isinf(median) else median


def load_judge(
    checkpoint: str | Path,
    painting: Path | None = None,
    device: str = "auto",
    loss: str | None = None,
) -> Judge:
    """A painting and the loss that a network was trained with on it.

    Args:
        checkpoint: a shipped style's name, or a path.
        painting, device, loss: as in `Plan`.

    Raises:
        UserError: if the painting or the loss cannot be had, or the checkpoint does not name them.
    """
    path = find_style(checkpoint)
    return _judge(*_terms(path, painting, loss), path, find_device(device))


@torch.no_grad()
def measure_picture(
    judge: Judge, stylized: Tensor, photo: Tensor
) -> dict[str, dict[str, float | None]]:
    """Losses, and faults that show in one picture, of a stylized photo, whoever made it.

    Args:
        stylized, photo: ``(1, 3, H, W)`` in [0, 1], on the judge's device.

    Returns:
        ``losses`` and ``faults`` by name: spots are None where too little of the photo is flat.
    """
    losses = {name: value.item() for name, value in judge.loss(stylized, photo).items()}
    # The faults are many small operations, and a GPU's memory is for the networks.
    found = {
        "spots": faults.spots(stylized.cpu(), photo.cpu()),
        "checkerboard": faults.checkerboard(stylized.cpu(), judge.painting),
    }
    return {"losses": losses, "faults": {name: _number(value) for name, value in found.items()}}


@dataclass
class Measured:
    """One photo's stylized version, ``(1, 3, H, W)`` on the CPU, and its figures."""

    stylized: Tensor
    data: dict[str, Any]


@torch.no_grad()
def _measure(stylize: Stylizer, judge: Judge, photo: Tensor, seed: int) -> Measured:
    stylized = stylize(photo)
    data = measure_picture(judge, stylized, photo)
    changes = {
        "change_shifted": faults.change(faults.shift(stylized), stylize(faults.shift(photo))),
        "change_noise": faults.change(stylized, stylize(faults.add_noise(photo, seed=seed))),
        "change_jpeg": faults.change(stylized, stylize(faults.recompress(photo))),
    }
    data["faults"] |= {name: _number(value) for name, value in changes.items()}
    return Measured(stylized.cpu(), data)


def _summary(found: Sequence[Measured]) -> dict[str, Any]:
    """Means over the photos, and what is known only of all together."""
    photos = [each.data for each in found]

    def means(group: str) -> dict[str, float | None]:
        result = {}
        for name in photos[0][group]:
            values = [photo[group][name] for photo in photos if photo[group][name] is not None]
            result[name] = statistics.mean(values) if values else None
        return result

    border = faults.border(torch.cat([each.stylized for each in found]))
    return {
        "losses": means("losses"),
        "faults": means("faults")
        | {f"border_{name}": _number(value) for name, value in border.items()},
        "photos": photos,
    }


def _number(value: Tensor) -> float | None:
    """JSON knows no nan."""
    return None if value.isnan().any() else value.item()


def _check_sizes(plan: Plan) -> None:
    for size in plan.sizes:
        if size < MIN_SIZE:
            raise UserError(
                f"pictures of {size} px are too small to judge: give at least {MIN_SIZE}"
            )
    for size in plan.evaluations_sizes:
        if plan.evaluations and size not in plan.sizes:
            raise UserError(
                f"L-BFGS cannot be compared at {size} px, where nothing is measured: choose of "
                + ", ".join(map(str, plan.sizes))
            )


def _squares(paths: Sequence[Path], size: int) -> Tensor:
    """As training looks at its validation photos."""
    squares = CentreSquares(paths, size)
    return torch.stack([squares[index] for index in range(len(paths))]).float() / 255


def _candidates(plan: Plan, device: torch.device) -> list[Candidate]:
    shared: dict[str, Judge] = {}
    candidates: list[Candidate] = []
    names: list[str] = []
    for checkpoint in plan.checkpoints:
        path = find_style(checkpoint)
        name, number = path.stem, 2
        while name in names:
            name, number = f"{path.stem}-{number}", number + 1
        names.append(name)
        painting, size, recipe = _terms(path, plan.painting, plan.loss)
        key = json.dumps([str(painting.resolve()), size, recipe], sort_keys=True)
        if key not in shared:
            shared[key] = _judge(painting, size, recipe, path, device)
        data = {
            "name": name,
            "folder": f"{len(candidates)}-{name}",
            "painting": painting.name,
            "judge": list(shared).index(key),
            "steps": read_style(path).losses.get("step"),
            "sizes": {},
        }
        candidates.append(Candidate(path, shared[key], data))
    return candidates


def _terms(path: Path, painting: Path | None, loss: str | None) -> tuple[Path, int, dict[str, Any]]:
    """The painting's file, the size at which its style is measured, and the loss's arguments."""
    trained = read_style(path)
    return (
        _find_painting(trained, painting),
        _style_size(trained, path),
        _loss_recipe(trained, path) if loss is None else _loss_named(loss),
    )


def _find_painting(trained: StyleFile, given: Path | None) -> Path:
    style = trained.recipe.get("style")
    name = Path(str(style.get("image", ""))).name if isinstance(style, dict) else ""
    if given is not None and not given.is_dir():
        return given
    folder = PAINTINGS if given is None else given
    if name and (folder / name).is_file():
        return folder / name
    raise UserError(
        f"the painting of {trained.name}, {name or 'of no known name'}, is not in {folder}: give "
        "it with --painting FILE, or the folder that it is in"
    )


def _style_size(trained: StyleFile, path: Path) -> int:
    try:
        size = int(trained.recipe["style"]["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} does not say at which size its style was measured: train it anew"
        ) from error
    if not faults.BLOCK <= size <= 10_000:
        raise UserError(f"{path} measured its style at {size} px, which cannot be judged here")
    return size


def _loss_recipe(trained: StyleFile, path: Path) -> dict[str, Any]:
    """The arguments of `PerceptualLoss`; Hydra would call whatever a stranger's file names."""
    recipe = trained.recipe.get("loss")
    if not isinstance(recipe, dict) or recipe.get("_target_") != "fast_style.losses.PerceptualLoss":
        raise UserError(
            f"{path} does not say what loss it was trained with: choose one with --loss"
        )
    return {key: value for key, value in recipe.items() if key != "_target_"}


def _loss_named(name: str) -> dict[str, Any]:
    with as_user_error():
        loss = compose_config([f"loss={name}"]).loss
        recipe = cast(dict[str, Any], OmegaConf.to_container(loss, resolve=True))
    recipe.pop("_target_")
    return recipe


def _judge(
    painting: Path, size: int, recipe: dict[str, Any], checkpoint: Path, device: torch.device
) -> Judge:
    tensor = to_tensor(resize_picture(open_picture(painting), size)).unsqueeze(0)
    if min(tensor.shape[-2:]) < faults.BLOCK:
        raise UserError(
            f"{painting} is too narrow: at {size} px, as its style is measured, a side is shorter "
            f"than {faults.BLOCK} px"
        )
    try:
        loss = PerceptualLoss(**recipe).to(device)
    except TypeError as error:
        raise UserError(
            f"{checkpoint} has a recipe for another loss ({error}): choose one with --loss"
        ) from error
    loss.set_style_image(tensor.to(device))
    data = {
        "painting": painting.name,
        "style_size": size,
        "loss": recipe,
        "dots": faults.dots(tensor).item(),
        "curves": {},
    }
    return Judge(tensor, loss, data)
