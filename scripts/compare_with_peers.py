"""Compare our networks with the stylized photos that other repositories publish."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from PIL import Image
from tqdm import tqdm

from fast_style.bundled import CHECKPOINTS, PAINTINGS
from fast_style.errors import UserError
from fast_style.files import replace_file
from fast_style.images import open_picture, resize_picture, save_picture, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from fast_style.evaluation.objective import Objective


class Pair(NamedTuple):
    """A photo that a repository publishes, and the same photo stylized by its network."""

    repository: str
    photo: str
    theirs: str
    style: str


JOHNSON, ENGSTROM, PYTORCH = (
    "jcjohnson/fast-neural-style",
    "lengstrom/fast-style-transfer",
    "pytorch/examples",
)
_CHICAGO = "images/content/chicago.jpg"
_AMBER = "fast_neural_style/images/content-images/amber.jpg"
PAIRS = [
    Pair(JOHNSON, _CHICAGO, "images/outputs/eccv16/chicago_starry_night.jpg", "starry-night"),
    Pair(JOHNSON, _CHICAGO, "images/outputs/eccv16/chicago_wave.jpg", "wave"),
    Pair(JOHNSON, _CHICAGO, "images/outputs/eccv16/chicago_composition_vii.jpg", "composition-vii"),
    Pair(JOHNSON, _CHICAGO, "images/outputs/chicago_scream.jpg", "the-scream"),
    Pair(JOHNSON, _CHICAGO, "images/outputs/chicago_candy.jpg", "candy"),
    Pair(JOHNSON, _CHICAGO, "images/outputs/chicago_mosaic.jpg", "mosaic"),
    Pair(JOHNSON, _CHICAGO, "images/outputs/chicago_udnie.jpg", "udnie"),
    *(
        Pair(
            ENGSTROM,
            "examples/content/chicago.jpg",
            f"examples/results/chicago_{style.replace('-', '_')}.jpg",
            style,
        )
        for style in ("wave", "the-scream", "udnie", "rain-princess")
    ),
    *(
        Pair(PYTORCH, _AMBER, f"fast_neural_style/images/output-images/amber-{style}.jpg", style)
        for style in ("candy", "mosaic", "rain-princess", "udnie")
    ),
]

# Longer sides of the painting in px. The style of each picture is compared at all of them, and the
# lowest loss is kept: no repository says at which size it trained.
PAINTING_SIZES = (256, 384, 512, 768)

COLUMNS = (
    "picture",
    "by",
    "total",
    "content",
    "style",
    "style, kindest size",
    "spots (painting)",
    "checkerboard",
    "border 3 px: colour, contrast",
    "border 16 px",
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    metavar="FOLDER...",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--paintings",
    default=PAINTINGS,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the paintings of our networks, under their names in training; by default the "
    "bundled ones.",
)
@click.option(
    "--checkpoints",
    default=CHECKPOINTS,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of our networks, each named after its style, such as wave.safetensors; by "
    "default the shipped ones.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("peers"),
    show_default=True,
    help="Folder for the sheets and figures.json.",
)
@click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU if there is one), cpu, cuda:0."
)
def main(
    folders: Sequence[Path], paintings: Path, checkpoints: Path, out: Path, device: str
) -> None:
    """Stylize the photos of other repositories, and compare our pictures with theirs.

    Each FOLDER is a clone of one of these repositories. Only its pictures are used:

    \b
    git clone https://github.com/jcjohnson/fast-neural-style
    git clone https://github.com/lengstrom/fast-style-transfer
    git clone https://github.com/pytorch/examples

    Where a repository publishes a photo stylized with a painting that we have a network for, our
    network stylizes the photo at the size of their picture. A sheet shows the photo, their picture
    and ours side by side in full size. All three are measured as `fast-style evaluate` does, with
    our painting and the loss of our network, and printed as a table. The table also has the lowest
    style loss over four sizes of the painting.

    \b
    python scripts/compare_with_peers.py fast-neural-style fast-style-transfer -o peers
    """
    try:
        _compare(folders, paintings, checkpoints, out, device)
    except UserError as error:
        click.echo(f"compare_with_peers: {error}", err=True)
        sys.exit(2)


def _compare(
    folders: Sequence[Path], paintings: Path, checkpoints: Path, out: Path, device: str
) -> None:
    from fast_style.evaluation.objective import load_objective

    wanted = []
    for folder, pair in [(each, pair) for each in folders for pair in _pairs_in(each)]:
        checkpoint = checkpoints / f"{pair.style}.safetensors"
        if checkpoint.is_file():
            wanted.append((folder, pair, checkpoint))
        else:
            click.echo(
                f"left out: {folder / pair.theirs}, because there is no {checkpoint}", err=True
            )
    if not wanted:
        raise UserError(f"{checkpoints} holds no network for any of these pictures")

    for checkpoint in {checkpoint for _, _, checkpoint in wanted}:
        load_objective(checkpoint, paintings, device)  # complains before anything slow starts
    found: list[dict[str, Any]] = []
    click.echo(_row(COLUMNS) + "\n" + _row(["---"] * len(COLUMNS)))
    for folder, pair, checkpoint in tqdm(wanted, unit="picture", disable=None, leave=False):
        found.append(_measure_pair(folder, pair, checkpoint, paintings, out, device))
        picture = f"{pair.style}, {found[-1]['width']} x {found[-1]['height']} px"
        for by, figures in found[-1]["figures"].items():
            tqdm.write(_row([picture, by, *_shown(figures, found[-1]["painting_dots"])]))
        replace_file(out / "figures.json", json.dumps(found, indent=1).encode())
    click.echo(f"\n{len(found)} sheets and figures.json: {click.format_filename(out)}")


def _pairs_in(folder: Path) -> list[Pair]:
    pairs = [pair for pair in PAIRS if (folder / pair.theirs).is_file()]
    if not pairs:
        names = ", ".join((JOHNSON, ENGSTROM, PYTORCH))
        raise UserError(f"{folder} has no picture of {names}: name a clone of one of them")
    return pairs


def _measure_pair(
    folder: Path, pair: Pair, checkpoint: Path, paintings: Path, out: Path, device: str
) -> dict[str, Any]:
    from fast_style.devices import find_device
    from fast_style.evaluation.objective import load_objective
    from fast_style.stylizing.stylizer import Stylizer

    objective = load_objective(checkpoint, paintings, device)
    theirs = open_picture(folder / pair.theirs)
    # Some networks cut a pixel off each side. Scaling instead changes the content loss by 1 %.
    photo = open_picture(folder / pair.photo).resize(theirs.size, Image.Resampling.LANCZOS)
    pictures = {
        "photo": photo,
        pair.repository: theirs,
        "fast_style": Stylizer(checkpoint, device, stroke=1)(photo),
    }
    tensors = {
        by: to_tensor(picture).unsqueeze(0).to(find_device(device))
        for by, picture in pictures.items()
    }
    figures = _figures(objective, tensors)
    sheet = f"{pair.repository.replace('/', '-')}-{Path(pair.theirs).stem}.png"
    _draw_sheet(pair, pictures, figures, objective.dots, out / sheet)
    return {
        **pair._asdict(),
        "sheet": sheet,
        "width": theirs.width,
        "height": theirs.height,
        "checkpoint": str(checkpoint),
        "painting": objective.spec.painting.name,
        "painting_size": objective.spec.style_size,
        "painting_dots": objective.dots,
        "loss": objective.spec.loss,
        "figures": figures,
    }


def _figures(objective: Objective, pictures: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Losses and artifacts of each picture, under the names of ``report.json``."""
    from fast_style.evaluation.evaluate import measure_borders, measure_picture

    figures: dict[str, dict[str, Any]] = {}
    for by, picture in pictures.items():
        found = measure_picture(objective, picture, pictures["photo"])
        faults = found.artifacts | measure_borders(picture)
        figures[by] = {"losses": found.losses, "faults": faults}
    for by, kindest in _kindest_styles(objective, pictures).items():
        figures[by]["kindest_style"] = kindest
    return figures


def _kindest_styles(
    objective: Objective, pictures: Mapping[str, Tensor]
) -> dict[str, dict[str, float]]:
    """The lowest style loss of each picture over sizes of the painting, and that size."""
    loss = objective.loss
    painting = open_picture(objective.spec.painting)
    found: dict[str, dict[str, float]] = {by: {"style": math.inf} for by in pictures}
    for size in PAINTING_SIZES:
        scaled = to_tensor(resize_picture(painting, size)).unsqueeze(0)
        loss.set_style_image(scaled.to(pictures["photo"].device))
        targets = loss.targets_for(pictures["photo"])
        for by, picture in pictures.items():
            style = loss.compare(picture, targets)["style"].item()
            if style < found[by]["style"]:
                found[by] = {"style": style, "painting_size": size}
    return found


def _draw_sheet(
    pair: Pair,
    pictures: Mapping[str, Image.Image],
    figures: Mapping[str, dict[str, Any]],
    painting_dots: float,
    path: Path,
) -> None:
    from fast_style.stylizing.sheet import captioned_grid

    cells = []
    for by, picture in pictures.items():
        total, content, style, _, spots, checkerboard, border_3, border_16 = _shown(
            figures[by], painting_dots
        )
        lines = [
            by if by == "photo" else f"{by}, {pair.style}",
            f"total {total}, content {content}, style {style}",
            f"spots {spots}, checkerboard {checkerboard}",
            f"border 3 px: {border_3}; 16 px: {border_16}",
        ]
        cells.append((picture, "\n".join(lines)))
    save_picture(captioned_grid(cells, columns=3), path)


def _shown(figures: dict[str, Any], painting_dots: float) -> list[str]:
    """The cells of the table after "by"."""
    losses, faults, kindest = figures["losses"], figures["faults"], figures["kindest_style"]
    spots = "-" if faults["spots"] is None else f"{faults['spots']:.0f}"
    return [
        f"{losses['total']:.2f}",
        f"{losses['content']:.2f}",
        f"{losses['style']:.3f}",
        f"{kindest['style']:.3f} at {kindest['painting_size']}",
        f"{spots} ({painting_dots:.0f})",
        f"{faults['checkerboard']:.1f}",
        *(
            f"{faults[f'border_colour_{px}']:.0f}, {faults[f'border_contrast_{px}']:.2f}"
            for px in (3, 16)
        ),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
