"""Measure trained networks side by side: losses, artifacts, and the reference by L-BFGS."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fast_style.bundled import PHOTOS
from fast_style.checkpoint import find_style, read_style, style_name
from fast_style.data.datasets import CentreSquares
from fast_style.devices import find_device
from fast_style.errors import UserError
from fast_style.evaluation import artifacts
from fast_style.evaluation.objective import Objective, build_objective, read_spec
from fast_style.evaluation.reference import evaluations_to_reach, reference_curve
from fast_style.evaluation.report import write_report
from fast_style.evaluation.results import (
    CheckpointFigures,
    Conditions,
    Evaluation,
    Figures,
    Photo,
    PictureFigures,
    Reference,
    SizeFigures,
)
from fast_style.files import numbered
from fast_style.images import find_pictures, open_picture, save_picture, to_picture
from fast_style.stylizing.stylizer import Stylizer

MIN_SIZE = 96  # px; in a smaller picture, nothing lies between the borders
PHOTO_COST = 3  # a measured photo takes as long as that many L-BFGS evaluations of its size


@dataclass
class Plan:
    """What to measure, and on what.

    Args:
        checkpoints: names of shipped styles, or paths of files.
        photos: folder of photos; None for the bundled ones.
        painting: file of the painting of all checkpoints; or a folder that holds the painting of
            each under the name in its recipe; None for the bundled paintings.
        sizes: sides in pixels of the photos' centre squares, at least 96.
        count: number of photos at most, the first in order of name.
        evaluations: limit on L-BFGS evaluations for a photo; 0 leaves the reference out.
        evaluations_sizes: the sizes, among ``sizes``, at which L-BFGS runs.
        loss: name in ``conf/loss`` of the loss to measure all checkpoints with; None for the loss
            that each was trained with.
        seed: seed of the white noise that L-BFGS starts from, and of the noise of the sensor.
        device: name of the device, as for `Stylizer`.
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


@dataclass(frozen=True)
class Progress:
    """The state of an evaluation.

    Args:
        done: share of the work that is done, in [0, 1].
        doing: what comes next, in a few words.
    """

    done: float
    doing: str


OnProgress = Callable[[Progress], None]


def evaluate(plan: Plan, out: Path, on_progress: OnProgress = lambda progress: None) -> Evaluation:
    """Measure networks side by side, and write a report after each of them.

    Losses and artifacts of all networks at all sizes come first. The reference follows, photo by
    photo; on each photo, L-BFGS goes no further than the best network.

    Args:
        plan: what to measure.
        out: folder for the report, see `write_report`.
        on_progress: callback before and after each step. A KeyboardInterrupt, here or anywhere,
            ends the evaluation with what is measured so far.

    Returns:
        What was found; ``complete`` is False after an interruption.

    Raises:
        UserError: if the plan is wrong, before anything slow starts.
    """
    folder = plan.photos or PHOTOS
    _check_sizes(plan)
    _check_out(out, folder)
    device = find_device(plan.device)
    paths = find_pictures(folder)[: plan.count]
    photos = {size: _squares(paths, size) for size in plan.sizes}
    evaluation = _unmeasured(plan, paths, device)
    _save_originals(evaluation, photos, out / "pictures")
    write_report(evaluation, out)

    meter = _Meter(_total_cost(plan, evaluation), on_progress)
    try:
        for checkpoint in evaluation.checkpoints:
            objective = evaluation.references[checkpoint.objective].objective
            _measure_checkpoint(
                checkpoint, objective, photos, device, plan, out / "pictures", meter
            )
            write_report(evaluation, out)
        for number, reference in enumerate(evaluation.references):
            rivals = [each for each in evaluation.checkpoints if each.objective == number]
            for size in plan.evaluations_sizes if plan.evaluations else ():
                reference.curves[size] = []
                for photo in photos[size].split(1):
                    found = [rival.sizes[size] for rival in rivals]
                    _run_reference(reference, size, photo.to(device), found, plan, meter)
                    write_report(evaluation, out)
        evaluation.complete = True
    except KeyboardInterrupt:
        pass
    write_report(evaluation, out, finished=True)
    return evaluation


# --- before anything is measured ---


def _check_sizes(plan: Plan) -> None:
    for size in plan.sizes:
        if size < MIN_SIZE:
            raise UserError(
                f"pictures of {size} px are too small to measure: give at least {MIN_SIZE}"
            )
    for size in plan.evaluations_sizes:
        if plan.evaluations and size not in plan.sizes:
            raise UserError(
                f"L-BFGS cannot be compared at {size} px, where nothing is measured: choose from "
                + ", ".join(map(str, plan.sizes))
            )


def _check_out(out: Path, photos: Path) -> None:
    if photos.resolve() in [out.resolve(), *out.resolve().parents]:
        raise UserError(
            f"{out} is in {photos}, and the next evaluation would take its pictures for photos: "
            "write the report elsewhere"
        )


def _squares(paths: Sequence[Path], size: int) -> Tensor:
    """The centre squares of photos, as in validation, ``(N, 3, size, size)`` in [0, 1]."""
    squares = CentreSquares(paths, size)
    return torch.stack([squares[index] for index in range(len(paths))]).float() / 255


def _unmeasured(plan: Plan, paths: Sequence[Path], device: torch.device) -> Evaluation:
    checkpoints, references = _load_checkpoints(plan, device)
    conditions = Conditions(
        sizes=list(plan.sizes),
        evaluations=plan.evaluations,
        evaluations_sizes=list(plan.evaluations_sizes),
        seed=plan.seed,
        device=str(device),
        torch=torch.__version__,
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
    )
    photos = [Photo(path.name, min(open_picture(path).size)) for path in paths]
    return Evaluation(conditions, photos, references, checkpoints)


def _load_checkpoints(
    plan: Plan, device: torch.device
) -> tuple[list[CheckpointFigures], list[Reference]]:
    checkpoints: list[CheckpointFigures] = []
    references: dict[str, Reference] = {}
    for checkpoint in plan.checkpoints:
        path = find_style(checkpoint)
        spec = read_spec(path, plan.painting, plan.loss)
        if spec.key not in references:
            objective = build_objective(spec, path, device)
            references[spec.key] = Reference(objective, f"painting-{len(references)}.jpg")
        taken = [each.name for each in checkpoints]
        name = next(name for name in numbered(style_name(path)) if name not in taken)
        checkpoints.append(
            CheckpointFigures(
                path=path,
                name=name,
                folder=f"{len(checkpoints)}-{name}",
                objective=list(references).index(spec.key),
                painting=spec.painting.name,
                steps=read_style(path).losses.get("step"),
            )
        )
    return checkpoints, list(references.values())


def _save_originals(evaluation: Evaluation, photos: dict[int, Tensor], folder: Path) -> None:
    for index, photo in enumerate(evaluation.photos):
        for size, squares in photos.items():
            photo.pictures[size] = str(Path("photos") / f"{size}-{index}.jpg")
            save_picture(to_picture(squares[index]), folder / photo.pictures[size])
    for reference in evaluation.references:
        save_picture(to_picture(reference.objective.painting[0]), folder / reference.picture)


def _total_cost(plan: Plan, evaluation: Evaluation) -> int:
    """In pixels that L-BFGS evaluates, or what takes as long."""
    measuring = PHOTO_COST * sum(size**2 for size in plan.sizes) * len(evaluation.checkpoints)
    squares = sum(size**2 for size in plan.evaluations_sizes)
    reference = plan.evaluations * squares * len(evaluation.references)
    return len(evaluation.photos) * (measuring + reference)


class _Meter:
    """Adds up the cost of what is done."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self.total = total
        self.done = 0
        self.on_progress = on_progress

    def advance(self, cost: int, doing: str) -> None:
        self.done += cost
        self.on_progress(Progress(self.done / self.total, doing))


# --- losses and artifacts ---


def _measure_checkpoint(
    checkpoint: CheckpointFigures,
    objective: Objective,
    photos: dict[int, Tensor],
    device: torch.device,
    plan: Plan,
    pictures: Path,
    meter: _Meter,
) -> None:
    stylize = Stylizer(checkpoint.path, plan.device, stroke=1)
    for size, squares in photos.items():
        doing = f"{checkpoint.name} at {size} px"
        figures: list[PictureFigures] = []
        stylized: list[Tensor] = []
        for index, square in enumerate(squares.split(1)):
            photo = square.to(device)
            meter.advance(0, doing)
            stylized.append(stylize(photo))
            figures.append(measure_picture(objective, stylized[-1], photo))
            figures[-1].artifacts |= _measure_changes(stylize, stylized[-1], photo, plan.seed)
            figures[-1].picture = str(Path(checkpoint.folder) / f"{size}-{index}.jpg")
            stylized[-1] = stylized[-1].cpu()
            save_picture(to_picture(stylized[-1][0]), pictures / figures[-1].picture)
            meter.advance(PHOTO_COST * size**2, doing)
        checkpoint.sizes[size] = SizeFigures(figures, measure_borders(torch.cat(stylized)))


@torch.no_grad()
def measure_picture(objective: Objective, stylized: Tensor, photo: Tensor) -> PictureFigures:
    """Measure the losses of a stylized photo, and the artifacts that one picture shows.

    Args:
        objective: painting and loss.
        stylized: a stylized photo of any origin, ``(1, 3, H, W)`` in [0, 1], on the device of
            the loss.
        photo: the photo itself, of the same shape.
    """
    losses = objective.loss(stylized, photo)
    # Artifacts are many small operations, which are fast on a CPU.
    found = {
        "spots": artifacts.spots(stylized.cpu(), photo.cpu()),
        "checkerboard": artifacts.checkerboard(stylized.cpu(), objective.painting),
    }
    return PictureFigures({name: value.item() for name, value in losses.items()}, _numbers(found))


@torch.no_grad()
def _measure_changes(stylize: Stylizer, stylized: Tensor, photo: Tensor, seed: int) -> Figures:
    shifted, noisy = artifacts.shift(photo), artifacts.add_noise(photo, seed=seed)
    return _numbers(
        {
            "change_shifted": artifacts.change(artifacts.shift(stylized), stylize(shifted)),
            "change_noise": artifacts.change(stylized, stylize(noisy)),
            "change_jpeg": artifacts.change(stylized, stylize(artifacts.recompress(photo))),
        }
    )


def measure_borders(stylized: Tensor) -> Figures:
    """Measure `artifacts.border`, with names that begin with ``border_``.

    Args:
        stylized: ``(N, 3, H, W)`` in [0, 1].
    """
    return _numbers({f"border_{name}": value for name, value in artifacts.border(stylized).items()})


def _numbers(values: dict[str, Tensor]) -> Figures:
    return {name: None if value.isnan() else value.item() for name, value in values.items()}


# --- the reference ---


def _run_reference(
    reference: Reference,
    size: int,
    photo: Tensor,
    rivals: Sequence[SizeFigures],
    plan: Plan,
    meter: _Meter,
) -> None:
    """Run L-BFGS on the next photo until it has caught up with all rivals."""
    index = len(reference.curves[size])
    totals = [rival.photos[index].losses["total"] for rival in rivals]
    end = meter.done + plan.evaluations * size**2
    curve = reference_curve(
        reference.objective.loss,
        photo,
        min(totals),
        plan.evaluations,
        plan.seed,
        lambda count: meter.advance(size**2, f"L-BFGS at {size} px, evaluation {count}"),
    )
    reference.curves[size].append(curve)
    for rival, total in zip(rivals, totals, strict=True):
        rival.reached.append(evaluations_to_reach(curve, total))
    meter.advance(end - meter.done, "L-BFGS")
