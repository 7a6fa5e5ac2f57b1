"""What an evaluation found, as JSON, as a page for a browser, and in TensorBoard."""

from __future__ import annotations

import inspect
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from fast_style.errors import UserError
from fast_style.evaluation import artifacts as faults
from fast_style.images import open_picture, to_tensor

CHART_WIDTH, CHART_HEIGHT = 640, 300


def write_report(data: dict[str, Any], out: Path, finished: bool = False) -> None:
    """Write ``report.json`` and ``index.html`` in ``out``, each complete or as it was before; and
    when ``finished``, TensorBoard's files in ``out/tensorboard``.

    Raises:
        UserError: if they cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("fast_style.evaluation", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    page = environment.get_template("report.html.jinja").render(
        data, meanings=_meanings(), charts=_charts(data)
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("report.json", json.dumps(data, indent=1, allow_nan=False)),
            ("index.html", page),
        ):
            beside = out / f".{name}.{os.getpid()}"
            try:
                beside.write_text(text, encoding="utf-8")
                beside.replace(out / name)
            finally:
                beside.unlink(missing_ok=True)
        if finished:
            _write_tensorboard(data, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): choose another folder") from (
            error
        )


def _figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _meanings() -> dict[str, list[str]]:
    """Paragraphs: what the page says of each fault is what its function's documentation says."""
    functions = {
        "Spots": faults.spots,
        "Checkerboard": faults.checkerboard,
        "Border": faults.border,
        "Change": faults.change,
    }
    meanings = {}
    for name, function in functions.items():
        text = (inspect.getdoc(function) or "").replace(", ``(N,)``", "").replace("`", "")
        meanings[name] = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return meanings


def _charts(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The reference curves of each painting and size, in the coordinates of an SVG."""
    charts = []
    for number, judge in enumerate(data["judges"]):
        for size, curves in judge["curves"].items():
            if not curves:
                continue
            rivals = [c for c in data["checkpoints"] if c["judge"] == number]
            longest = max(max(map(len, curves)), 2)
            # The first evaluations, of noise, would squeeze all others together.
            top = max(total for curve in curves for total in curve[min(4, len(curve) - 1) :])
            points = [
                (rival["name"], photo["evaluations"], photo["losses"]["total"])
                for rival in rivals
                for photo in rival["sizes"][size]["photos"]
                if photo.get("evaluations") is not None
            ]
            top = max([top, *(total for _, _, total in points)])
            bottom = min(min(curve) for curve in curves)
            span = math.log(top / bottom) or 1.0

            def place(
                count: float, total: float, longest=longest, top=top, span=span
            ) -> tuple[float, float]:
                across = CHART_WIDTH * (count - 1) / (longest - 1)
                return round(across, 1), round(CHART_HEIGHT * math.log(top / total) / span, 1)

            charts.append(
                {
                    "painting": judge["painting"],
                    "size": size,
                    "longest": longest,
                    "top": top,
                    "bottom": bottom,
                    "lines": [
                        " ".join(
                            "{},{}".format(*place(count, total))
                            for count, total in enumerate(curve, 1)
                            if total <= top
                        )
                        for curve in curves
                    ],
                    "points": [(name, *place(count, total)) for name, count, total in points],
                }
            )
    return charts


def _write_tensorboard(data: dict[str, Any], out: Path) -> None:
    """One run for each network, with the size in pixels as the step, and one for each painting's
    reference, with evaluations as steps."""
    for checkpoint in data["checkpoints"]:
        # What an earlier evaluation left in this place would stand beside this one.
        with SummaryWriter(str(out / "tensorboard" / checkpoint["folder"]), purge_step=0) as writer:
            for size, found in checkpoint["sizes"].items():
                for group in ("losses", "faults"):
                    for name, value in found[group].items():
                        if value is not None:
                            tag = f"{group}_{name}" if "/" in name else f"{group}/{name}"
                            writer.add_scalar(tag, value, int(size))
                if found.get("evaluations") is not None:
                    writer.add_scalar("losses/evaluations", found["evaluations"], int(size))
                pairs = [
                    torch.cat(
                        [to_tensor(open_picture(out / "pictures" / path)) for path in column], 1
                    )
                    for photo, stylized in zip(data["photos"], found["photos"], strict=True)
                    for column in [(photo["pictures"][size], stylized["picture"])]
                ]
                grid = make_grid(pairs, nrow=4, padding=8, pad_value=1.0)
                writer.add_image("pictures/photos_above_stylized", grid, int(size))
    for number, judge in enumerate(data["judges"]):
        if not any(judge["curves"].values()):
            continue
        with SummaryWriter(
            str(out / "tensorboard" / f"l-bfgs-{number}-{Path(judge['painting']).stem}"),
            purge_step=0,
        ) as writer:
            for size, curves in judge["curves"].items():
                for index, curve in enumerate(curves):
                    for count, total in enumerate(curve, 1):
                        writer.add_scalar(f"l-bfgs/total_{size}px_photo_{index}", total, count)
