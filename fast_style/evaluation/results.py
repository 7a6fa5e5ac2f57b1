"""The results of an evaluation as typed records and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fast_style.evaluation.objective import Objective
from fast_style.evaluation.reference import median_evaluations

Figures = dict[str, float | None]
"""Figures by name; None where nothing could be measured, as JSON has no nan."""


@dataclass
class PictureFigures:
    """One stylized photo.

    Args:
        losses: by name, as `PerceptualLoss` returns them.
        artifacts: by name.
        picture: its file, relative to the folder of pictures.
    """

    losses: dict[str, float]
    artifacts: Figures
    picture: str = ""


@dataclass
class SizeFigures:
    """All photos at one size, stylized by one network.

    Args:
        photos: figures of each photo.
        borders: artifacts that only all photos together show, by name.
        reached: for each photo, the evaluations that L-BFGS needed for the same total, and None if
            it did not get there. Grows while the reference is computed.
    """

    photos: list[PictureFigures]
    borders: Figures
    reached: list[int | None] = field(default_factory=list)

    @property
    def losses(self) -> Figures:
        """Means over the photos."""
        return _means([photo.losses for photo in self.photos])

    @property
    def artifacts(self) -> Figures:
        """Means over the photos, and the borders."""
        return _means([photo.artifacts for photo in self.photos]) | self.borders

    @property
    def has_reference(self) -> bool:
        """Whether L-BFGS was run on all photos."""
        return len(self.reached) == len(self.photos)

    @property
    def evaluations(self) -> float | None:
        """Median of `reached`; None if it is beyond the limit."""
        return median_evaluations(self.reached)


def _means(figures: Sequence[Mapping[str, float | None]]) -> Figures:
    means: Figures = {}
    for name in figures[0]:
        values = [value for each in figures if (value := each[name]) is not None]
        means[name] = statistics.mean(values) if values else None
    return means


@dataclass
class CheckpointFigures:
    """One network.

    Args:
        path: its file.
        name: name in the report, unique.
        folder: name of its folder of pictures.
        objective: index into `Evaluation.references`.
        painting: file name of its painting.
        steps: training steps, if the file says so.
        sizes: figures by size in pixels.
    """

    path: Path
    name: str
    folder: str
    objective: int
    painting: str
    steps: float | None
    sizes: dict[int, SizeFigures] = field(default_factory=dict)


@dataclass
class Reference:
    """An objective, and how L-BFGS lowers it.

    Args:
        objective: painting and loss.
        picture: file of the painting, relative to the folder of pictures.
        curves: by size in pixels, one curve for each photo, see `reference_curve`.
    """

    objective: Objective
    picture: str
    curves: dict[int, list[list[float]]] = field(default_factory=dict)


@dataclass
class Photo:
    """One photo that the networks stylize.

    Args:
        name: file name.
        shorter_side: in pixels.
        pictures: its centre squares by size in pixels, relative to the folder of pictures.
    """

    name: str
    shorter_side: int
    pictures: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Conditions:
    """How and on what machine was measured."""

    sizes: list[int]
    evaluations: int
    evaluations_sizes: list[int]
    seed: int
    device: str
    torch: str
    machine: str


@dataclass
class Evaluation:
    """A whole evaluation.

    Args:
        conditions: sizes, limits and machine.
        photos: the photos.
        references: the objectives, each once.
        checkpoints: the networks, in the order given.
        complete: False while it is running, and after an interruption.
    """

    conditions: Conditions
    photos: list[Photo]
    references: list[Reference]
    checkpoints: list[CheckpointFigures]
    complete: bool = False


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of ``report.json``. There, objectives are "judges", and artifacts "faults"."""
    return {
        "complete": evaluation.complete,
        "settings": asdict(evaluation.conditions),
        "photos": [
            {
                "name": photo.name,
                "shorter_side": photo.shorter_side,
                "pictures": _by_size(photo.pictures),
            }
            for photo in evaluation.photos
        ],
        "judges": [
            {
                "painting": reference.objective.spec.painting.name,
                "style_size": reference.objective.spec.style_size,
                "loss": reference.objective.spec.loss,
                "dots": reference.objective.dots,
                "curves": _by_size(reference.curves),
                "picture": reference.picture,
            }
            for reference in evaluation.references
        ],
        "checkpoints": [
            {
                "name": checkpoint.name,
                "folder": checkpoint.folder,
                "painting": checkpoint.painting,
                "judge": checkpoint.objective,
                "steps": checkpoint.steps,
                "sizes": {
                    str(size): _size_to_json(found) for size, found in checkpoint.sizes.items()
                },
            }
            for checkpoint in evaluation.checkpoints
        ],
    }


def _size_to_json(found: SizeFigures) -> dict[str, Any]:
    photos: list[dict[str, Any]] = [
        {"losses": photo.losses, "faults": photo.artifacts, "picture": photo.picture}
        for photo in found.photos
    ]
    for photo, evaluations in zip(photos, found.reached, strict=False):
        photo["evaluations"] = evaluations
    data = {"losses": found.losses, "faults": found.artifacts, "photos": photos}
    return data | ({"evaluations": found.evaluations} if found.has_reference else {})


def _by_size(values: Mapping[int, Any]) -> dict[str, Any]:
    return {str(size): value for size, value in values.items()}
