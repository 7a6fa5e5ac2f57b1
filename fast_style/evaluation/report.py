"""Write the results of an evaluation as JSON, as a web page, and for TensorBoard."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from fast_style.errors import UserError
from fast_style.evaluation.results import (
    CheckpointFigures,
    Evaluation,
    Photo,
    Reference,
    SizeFigures,
    to_json,
)
from fast_style.files import replace_file
from fast_style.images import open_picture, to_tensor

CHART_WIDTH, CHART_HEIGHT = 640, 300  # px
SKIPPED = 4  # evaluations of white noise, whose totals would squeeze the rest of a chart

EXPLANATIONS: dict[str, list[str]] = {
    "Spots": [
        "Dots per 10,000 px in the flat areas of the photo; empty if less than 1 % of the photo is "
        "flat. A network has nothing to draw in a sky or on a wall but strokes, so a small round "
        "mark there is an artifact: a droplet, a ring, a speck. A dot is a place whose brightness "
        "curves alike in all directions, in the blurred picture at one of three scales, as much as "
        "a Gaussian dot of a fifth of full contrast (Lindeberg 1998, section 4). An area is flat "
        "if the brightness of the photo has a standard deviation below 0.03 in a window of 25 px. "
        "The outer 16 px do not count.",
        "A painting made of dots should give dots: compare with the painting's own count, in "
        "parentheses.",
    ],
    "Checkerboard": [
        "Patterns with periods of 2 and 4 px beyond those of the painting, in 8-bit levels (root "
        "mean square). A network that halves the picture twice and doubles it twice repeats its "
        "own grid at these periods (Odena, Dumoulin and Olah 2016). The power spectrum is summed "
        "there (mean over blocks of 64 px: Welch 1967), less the power around those frequencies "
        "and less the same sum for the painting.",
    ],
    "Border": [
        "How the edges of pictures differ from what lies just inside. Padding invents what is "
        "beyond the edge, and networks answer with frames that are paler, darker or emptier than "
        "the rest. The outer 3 px are compared with the next 13, and the outer 16 px with the next "
        "16, over all sides and photos.",
        "Colour is the distance of the mean colours in 8-bit levels: less is better. Contrast is "
        "the difference of neighbours along the edge relative to that inside: 1 is ideal, and a "
        "dull frame is below 1.",
    ],
    "Change": [
        "How much a picture changes, as a share of its own contrast, when the photo changes in a "
        "way that no eye sees: 0 is no change, 1.4 another picture. A network with large figures "
        "flickers on film. The photo is moved by one pixel (shift), gets the noise of a sensor "
        "(noise), or is saved as JPEG (JPEG).",
    ],
}
"""What the page says about the figures of `artifacts`."""


def write_report(evaluation: Evaluation, out: Path, finished: bool = False) -> None:
    """Write ``report.json`` and ``index.html``, each complete or as it was before.

    Args:
        evaluation: what was found so far.
        out: folder to write in.
        finished: whether to write TensorBoard's files in ``out/tensorboard`` as well.

    Raises:
        UserError: if a file cannot be written.
    """
    data = json.dumps(to_json(evaluation), indent=1, allow_nan=False)
    replace_file(out / "report.json", data.encode())
    replace_file(out / "index.html", _page(evaluation).encode())
    if not finished:
        return
    try:
        _write_tensorboard(evaluation, out)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror}): choose another folder"
        ) from error


def _page(evaluation: Evaluation) -> str:
    environment = Environment(
        loader=PackageLoader("fast_style.evaluation", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment.get_template("report.html.jinja").render(
        evaluation=evaluation, charts=_charts(evaluation), explanations=EXPLANATIONS
    )


def _figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


@dataclass(frozen=True)
class Chart:
    """Reference curves of one painting at one size, in the coordinates of an SVG.

    Args:
        painting: file name of the painting.
        size: side of the photos in pixels.
        longest: number of evaluations at the right edge.
        top: total loss at the upper edge.
        bottom: total loss at the lower edge.
        lines: for each photo, the points of a polyline.
        points: for each network and photo that L-BFGS caught up with, a name and its place.
    """

    painting: str
    size: int
    longest: int
    top: float
    bottom: float
    lines: list[str]
    points: list[tuple[str, float, float]]


def _charts(evaluation: Evaluation) -> list[Chart]:
    charts = []
    for number, reference in enumerate(evaluation.references):
        rivals = [each for each in evaluation.checkpoints if each.objective == number]
        for size, curves in reference.curves.items():
            if curves:
                charts.append(_chart(reference, size, curves, rivals))
    return charts


def _chart(
    reference: Reference, size: int, curves: list[list[float]], rivals: list[CheckpointFigures]
) -> Chart:
    reached = [
        (rival.name, count, photo.losses["total"])
        for rival in rivals
        for photo, count in zip(rival.sizes[size].photos, rival.sizes[size].reached, strict=False)
        if count is not None
    ]
    longest = max(max(map(len, curves)), 2)
    late = [total for curve in curves for total in curve[min(SKIPPED, len(curve) - 1) :]]
    top = max(late + [total for _, _, total in reached])
    bottom = min(min(curve) for curve in curves)
    span = math.log(top / bottom) or 1.0

    def place(count: int, total: float) -> tuple[float, float]:
        across = CHART_WIDTH * (count - 1) / (longest - 1)
        return round(across, 1), round(CHART_HEIGHT * math.log(top / total) / span, 1)

    def line(curve: list[float]) -> str:
        shown = [place(count, total) for count, total in enumerate(curve, 1) if total <= top]
        return " ".join(f"{x},{y}" for x, y in shown)

    return Chart(
        reference.objective.spec.painting.name,
        size,
        longest,
        top,
        bottom,
        [line(curve) for curve in curves],
        [(name, *place(count, total)) for name, count, total in reached],
    )


def _write_tensorboard(evaluation: Evaluation, out: Path) -> None:
    """Write a run for each network, whose steps are sizes, and one for each reference."""
    for checkpoint in evaluation.checkpoints:
        with _writer(out, checkpoint.folder) as writer:
            for size, found in checkpoint.sizes.items():
                _log_figures(writer, size, found)
                grid = _comparison(evaluation.photos, size, found, out / "pictures")
                writer.add_image("pictures/photos_above_stylized", grid, size)
    for number, reference in enumerate(evaluation.references):
        if not any(reference.curves.values()):
            continue
        painting = reference.objective.spec.painting.stem
        with _writer(out, f"l-bfgs-{number}-{painting}") as writer:
            for size, curves in reference.curves.items():
                for index, curve in enumerate(curves):
                    for count, total in enumerate(curve, 1):
                        writer.add_scalar(f"l-bfgs/total_{size}px_photo_{index}", total, count)


def _writer(out: Path, run: str) -> SummaryWriter:
    """A writer that hides what an earlier evaluation wrote in the same place."""
    return SummaryWriter(str(out / "tensorboard" / run), purge_step=0)


def _log_figures(writer: SummaryWriter, size: int, found: SizeFigures) -> None:
    for group, figures in (("losses", found.losses), ("faults", found.artifacts)):
        for name, value in figures.items():
            if value is not None:
                tag = f"{group}_{name}" if "/" in name else f"{group}/{name}"
                writer.add_scalar(tag, value, size)
    if found.has_reference and found.evaluations is not None:
        writer.add_scalar("losses/evaluations", found.evaluations, size)


def _comparison(photos: list[Photo], size: int, found: SizeFigures, pictures: Path) -> Tensor:
    pairs = [
        torch.cat(
            [
                to_tensor(open_picture(pictures / path))
                for path in (photo.pictures[size], stylized.picture)
            ],
            dim=1,
        )
        for photo, stylized in zip(photos, found.photos, strict=True)
    ]
    return make_grid(pairs, nrow=4, padding=8, pad_value=1.0)
