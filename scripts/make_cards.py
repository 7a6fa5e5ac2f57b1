"""Print the card of each shipped style for checkpoints/README.md, from its file and a report.

usage: python scripts/make_cards.py REPORT.json

REPORT.json is written by `fast-style evaluate STYLE... -o REPORT`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fast_style.checkpoint import read_style, shipped_styles


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    measured = {checkpoint["name"]: checkpoint for checkpoint in report["checkpoints"]}
    for name in shipped_styles():
        if name in measured:
            dots = report["judges"][measured[name]["judge"]]["dots"]
            most = report["settings"]["evaluations"]
            print("\n".join(card(name, measured[name], dots, most)))


def card(name: str, measured: dict[str, Any], dots: float, most: int) -> list[str]:
    """The lines of a card.

    Args:
        name: name of the style.
        measured: its checkpoint in the report.
        dots: dots of its painting per 10,000 px.
        most: limit on L-BFGS evaluations.
    """
    style = read_style(name)
    recipe, loss = style.recipe, style.recipe["loss"]
    scales = loss.get("style_scales", [1])
    halved = "" if scales == [1] else f"`loss.style_scales={json.dumps(scales)}`, "
    start = f", from `{Path(recipe['init']).stem}`" if recipe.get("init") else ", from nothing"
    lines = [
        f"## {name}",
        "",
        f'<img src="../fast_style/assets/paintings/{name}.jpg" height="200" alt="its painting">',
        "",
        f"![photos in the style of {name}](pictures/{name}.jpg)",
        "",
        f"{style.losses['step']:.0f} steps of {recipe['data']['batch_size']} crops of "
        f"{recipe['data']['size']} px{start}; `style.size={recipe['style']['size']}`, "
        f"`loss.style_weight={loss['style_weight']:g}`, {halved}"
        f"`loss.tv_weight={loss['tv_weight']:g}`, "
        f"`loss.stability_weight={loss['stability_weight']:g}`.",
        "",
        "| px | total | content | style | L-BFGS | spots (painting) | checkerboard "
        "| border 3 px: colour, contrast | change: shift | noise | JPEG |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, found in measured["sizes"].items():
        losses, faults = found["losses"], found["faults"]
        cells = [
            size,
            *(f"{losses[key]:.3g}" for key in ("total", "content", "style")),
            evaluations(found, most),
            "" if faults["spots"] is None else f"{faults['spots']:.0f} ({dots:.0f})",
            f"{faults['checkerboard']:.1f}",
            f"{faults['border_colour_3']:.0f}, {faults['border_contrast_3']:.2f}",
            *(f"{faults[f'change_{key}']:.2f}" for key in ("shifted", "noise", "jpeg")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def evaluations(found: dict[str, Any], most: int) -> str:
    """The cell of L-BFGS evaluations; empty where they were not measured."""
    if "evaluations" not in found:
        return ""
    reached = found["evaluations"]
    return f"over {most}" if reached is None else f"{reached:g}"


if __name__ == "__main__":
    main()
