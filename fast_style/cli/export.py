"""``fast-style export``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from fast_style.cli.interrupts import exit_at_ctrl_c
from fast_style.cli.options import FILE, StyleName, examples
from fast_style.cli.output import warnings_shown
from fast_style.shell import quote


@click.command(
    epilog=examples(
        "export wave --onnx wave.onnx          # for ONNX Runtime",
        "export wave --onnx wave.onnx --half   # half the size",
        "export wave starry-night --onnx out   # a file for each style",
        "export wave --pt2 wave.pt2            # for PyTorch in C++ and on phones",
        "export wave --web page                # a page that paints in the browser",
    )
)
@click.argument("styles", nargs=-1, required=True, type=StyleName(), metavar="STYLE...")
@click.option("--onnx", type=FILE, help="ONNX file to write, or a folder.")
@click.option("--pt2", type=FILE, help="File of torch.export to write, or a folder.")
@click.option("--web", type=FILE, help="Folder for a page that paints in the browser.")
@click.option("--half", is_flag=True, help="With --onnx: weights in 16 bits.")
@click.option("--int8", is_flag=True, help="With --onnx: weights in 8 bits.")
@click.option(
    "--full", is_flag=True, help="With --web: the full networks, even where small ones are shipped."
)
@click.option(
    "--runtime", type=FILE, help="With --web: ONNX Runtime Web as `npm pack` writes it, for npm."
)
@exit_at_ctrl_c()
def export(
    styles: tuple[str, ...],
    onnx: Path | None,
    pt2: Path | None,
    web: Path | None,
    half: bool,
    int8: bool,
    full: bool,
    runtime: Path | None,
) -> None:
    """Write each STYLE, the name of a shipped one or a .safetensors file, in another format."""
    from fast_style.export.files import export_onnx, export_pt2
    from fast_style.export.onnx import Precision
    from fast_style.export.web import write_page

    if sum(target is not None for target in (onnx, pt2, web)) != 1:
        raise click.UsageError("Give one of --onnx, --pt2 and --web, with a file or folder.")
    if (half or int8) and onnx is None:
        raise click.UsageError("--half and --int8 go with --onnx.")
    if (full or runtime) and web is None:
        raise click.UsageError("--full and --runtime go with --web.")
    if half and int8:
        raise click.UsageError("Give either --half or --int8.")
    precision: Precision = "float16" if half else "int8" if int8 else "float32"
    with warnings_shown():
        if onnx is not None:
            _tell(export_onnx(styles, onnx, precision))
        elif pt2 is not None:
            _tell(export_pt2(styles, pt2))
        elif web is not None:
            write_page(styles, web, full, runtime)
            click.echo(f"python -m http.server --directory {quote(web)}")


def _tell(written: Iterable[Path]) -> None:
    for path in written:
        click.echo(click.format_filename(path))
