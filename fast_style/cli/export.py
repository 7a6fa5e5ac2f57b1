"""``fast-style export``."""

from __future__ import annotations

from pathlib import Path

import click

from fast_style.cli.interrupts import exit_at_ctrl_c
from fast_style.cli.options import FILE, StyleName, examples
from fast_style.cli.output import warnings_shown


@click.command(
    epilog=examples(
        "export wave --onnx wave.onnx          # for ONNX Runtime",
        "export wave --onnx wave.onnx --half   # half the size",
        "export wave starry-night --onnx out   # a file for each style",
        "export wave --pt2 wave.pt2            # for PyTorch in C++ and on phones",
    )
)
@click.argument("styles", nargs=-1, required=True, type=StyleName(), metavar="STYLE...")
@click.option("--onnx", type=FILE, help="ONNX file to write, or a folder.")
@click.option("--pt2", type=FILE, help="File of torch.export to write, or a folder.")
@click.option("--half", is_flag=True, help="With --onnx: weights in 16 bits.")
@click.option("--int8", is_flag=True, help="With --onnx: weights in 8 bits.")
@exit_at_ctrl_c()
def export(
    styles: tuple[str, ...], onnx: Path | None, pt2: Path | None, half: bool, int8: bool
) -> None:
    """Write each STYLE, the name of a shipped one or a .safetensors file, in another format."""
    from fast_style.export.files import export_onnx, export_pt2
    from fast_style.export.onnx import Precision

    if half and int8:
        raise click.UsageError("Give either --half or --int8.")
    precision: Precision = "float16" if half else "int8" if int8 else "float32"
    if onnx is not None and pt2 is None:
        written = export_onnx(styles, onnx, precision)
    elif pt2 is not None and onnx is None:
        if precision != "float32":
            raise click.UsageError("--half and --int8 go with --onnx.")
        written = export_pt2(styles, pt2)
    else:
        raise click.UsageError("Give either --onnx or --pt2, with a file or folder to write.")
    with warnings_shown():
        for path in written:
            click.echo(click.format_filename(path))
