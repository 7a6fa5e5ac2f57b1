"""A page that paints in its visitors' browsers, as files for any web server.

The page is the one of the app. ONNX Runtime Web, from npm, runs the networks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fast_style.bundled import CHECKPOINTS, PAGE
from fast_style.checkpoint import StyleFile, read_style, shipped_styles
from fast_style.errors import UserError
from fast_style.export.npm import runtime_files
from fast_style.export.onnx import onnx_model
from fast_style.files import numbered, replace_file
from fast_style.networks import MIN_SIDE

if TYPE_CHECKING:
    import onnx

MAX_PIXELS = 50_000_000  # of a photo: four times as many bytes, several times, are in memory
INDEX = "index.html"
STYLES = "styles.json"
OF_THE_APP = "painter-server.js"
PAINTER = "painter-browser.js"  # the page imports it as painter.js

CHARSET = '<meta charset="utf-8">'
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'"
)
"""Everything comes from the page's own server, and nothing is sent anywhere."""


@dataclass(frozen=True)
class WebStyle:
    """A style of a page.

    Args:
        id: its name in addresses and names of files, unique in the page.
        style: its network.
    """

    id: str
    style: StyleFile

    @property
    def file(self) -> str:
        """The network's file in the page's folder."""
        return f"styles/{self.id}.onnx"

    @property
    def entry(self) -> dict[str, Any]:
        """What the page is told of it. The network's channels at full size decide its memory."""
        channels = self.style.plan.to_rgb.inputs
        return {"id": self.id, "name": self.style.name, "file": self.file, "channels": channels}


def write_page(
    styles: Sequence[str], folder: Path, full: bool = False, package: Path | None = None
) -> None:
    """Write a page with these styles into a folder.

    Weights of the networks have 8 bits, which moves pixels by a few levels in 256.

    Args:
        styles: names of shipped styles, or paths. Where a small network of a shipped style is
            shipped, too, it takes the other's place.
        folder: a new or empty one, or one of an earlier page, which is replaced.
        full: take the full networks of shipped styles.
        package: ONNX Runtime Web as npm packs it; see `runtime_files`. By default npm fetches it.

    Raises:
        UserError: if there is no such style, the folder holds another page, ONNX Runtime Web cannot
            be had, the extra ``export`` is missing, or a file cannot be written.
    """
    refuse_other_page(folder)
    chosen = list(web_styles(styles, full))
    models = {each.file: unblended(onnx_model(each.style, "int8")) for each in chosen}
    content = {
        "styles": [each.entry for each in chosen],
        "minSide": MIN_SIDE,
        "limits": {"pixels": MAX_PIXELS},
    }
    for name, data in runtime_files(package).items():
        replace_file(folder / "runtime" / name, data)
    if (folder / STYLES).exists():  # else the folder is no page of ours yet, and its files stay
        for unused in (folder / "styles").glob("*.onnx"):
            unused.unlink()
    for name, model in models.items():
        replace_file(folder / name, model.SerializeToString())
    replace_file(folder / STYLES, json.dumps(content, indent=1).encode())
    for name, data in page_files():
        replace_file(folder / name, data)


def refuse_other_page(folder: Path) -> None:
    """Check that a folder does not hold somebody's own page.

    Raises:
        UserError: if it does, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder for the page")
    if (folder / INDEX).exists() and not (folder / STYLES).exists():
        raise UserError(f"{folder} holds another page: name a new or empty folder")


def web_styles(styles: Sequence[str], full: bool) -> Iterator[WebStyle]:
    """Read the styles of a page, and give each an id of its own."""
    taken: set[str] = set()
    for style in styles:
        found = read_style(style if full else small_of(style))
        name = re.sub(r"[^\w-]+", "-", found.name)
        identity = next(name for name in numbered(name) if name.lower() not in taken)
        taken.add(identity.lower())
        yield WebStyle(identity, found)


def small_of(style: str) -> str:
    """The small network of a shipped style, where there is one.

    >>> small_of("mine.safetensors")
    'mine.safetensors'
    """
    small = CHECKPOINTS / "small" / f"{style}.safetensors"
    return f"small/{style}" if style in shipped_styles() and small.is_file() else style


def unblended(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of `onnx_model` whose output is what the network painted, not blended with the photo.

    The page blends with the photo itself, after it has brought up strokes and changed colours.
    """
    graph = model.graph
    last = next(i for i, node in enumerate(graph.node) if node.op_type == "Sigmoid")
    graph.node[last].output[0] = graph.output[0].name = "painted"
    del graph.node[last + 1 :]
    return model


def page_files() -> Iterator[tuple[str, bytes]]:
    """Names and contents of the page's files, ``index.html`` last."""
    paths = [path for path in PAGE.rglob("*") if path.is_file() and path.name != OF_THE_APP]
    for path in sorted(paths, key=lambda path: path.name == INDEX):
        name = "painter.js" if path.name == PAINTER else path.relative_to(PAGE).as_posix()
        data = path.read_bytes()
        yield name, with_policy(data.decode()).encode() if name == INDEX else data


def with_policy(page: str) -> str:
    """A page that forbids its browser to load or send anything beyond its own server."""
    if CHARSET not in page:
        raise ValueError(f"the page has no {CHARSET}")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return page.replace(CHARSET, f"{CHARSET}\n  {policy}", 1)
