"""Files of styles in other formats."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from fast_style.checkpoint import StyleFile, find_style, read_style, style_name
from fast_style.errors import UserError
from fast_style.export.onnx import Precision, onnx_model
from fast_style.extras import need
from fast_style.files import replace_file


def export_onnx(styles: Sequence[str], target: Path, precision: Precision) -> Iterator[Path]:
    """Write styles as ONNX files, see `onnx_model`, and yield each file once it is written.

    Args:
        styles: names of shipped styles, or paths.
        target: a file that ends in ``.onnx``, for one style; or a folder.
        precision: of the weights in the file.

    Raises:
        UserError: if a style cannot be read or a file cannot be written, or the extra ``export``
            is not installed.
    """
    for path, style in _targets(styles, target, ".onnx").items():
        replace_file(path, onnx_model(style, precision).SerializeToString())
        yield path


def export_pt2(styles: Sequence[str], target: Path) -> Iterator[Path]:
    """Write styles as programs of `torch.export`, and yield each file once it is written.

    Args:
        styles: names of shipped styles, or paths.
        target: a file that ends in ``.pt2``, for one style; or a folder.

    Raises:
        UserError: if a style cannot be read or a file cannot be written, or the extra ``train``,
            which has PyTorch, is not installed.
    """
    planned = _targets(styles, target, ".pt2")
    need("train", "programs of torch.export", "torch")
    import torch

    from fast_style.export.pt2 import exported_program

    for path, style in planned.items():
        content = io.BytesIO()
        torch.export.save(exported_program(style), content)
        replace_file(path, content.getvalue())
        yield path


def _targets(styles: Sequence[str], target: Path, suffix: str) -> dict[Path, StyleFile]:
    """The file for each style. All styles are read before the first is written."""
    if target.suffix == suffix and not target.is_dir():
        if len(styles) > 1:
            raise UserError(
                f"{target} is one file, for {len(styles)} styles: name a folder, or one style"
            )
        return {target: read_style(styles[0])}
    if target.is_file():
        raise UserError(
            f"{target} is a file that does not end in {suffix}: name one that does, or a folder"
        )
    targets: dict[Path, StyleFile] = {}
    for style in styles:
        path = target / f"{style_name(find_style(style))}{suffix}"
        if path in targets:
            raise UserError(f"two styles would be written to {path}: export them one by one")
        targets[path] = read_style(style)
    return targets
