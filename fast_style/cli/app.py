"""``fast-style app``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fast_style.cli.options import FILE, device_option, examples
from fast_style.cli.output import warnings_shown


@click.command(
    epilog=examples(
        "app --open",
        "app --styles my-styles --port 8080",
        "app --host 0.0.0.0",
    )
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. At others than this machine's own, such as 0.0.0.0, a token is "
    "part of the printed address.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at; 0 chooses a free one.",
)
@click.option(
    "--styles",
    type=FILE,
    metavar="FOLDER",
    help="Folder of your own styles, as .safetensors files, beside the shipped ones.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in your browser.")
@device_option
def app(host: str, port: int, styles: Path | None, opens: bool, device: str) -> None:
    """Stylize photos on a page in your browser, until Ctrl-C.

    Photos stay on this machine. They are deleted after an hour, or when the page is left.
    """
    from importlib.util import find_spec

    from fast_style.errors import UserError
    from fast_style.extras import missing_extra

    if not all(map(find_spec, ("fastapi", "python_multipart", "uvicorn"))):
        raise missing_extra("app", "pages in a browser")
    if styles is not None and not styles.is_dir():
        raise UserError(f"{styles} is not a folder: let --styles name a folder of styles")
    from fast_style.app.serve import Settings, serve

    def ready(address: str) -> None:
        click.echo(f"fast-style listens at {address}\nCtrl-C ends it.")
        sys.stdout.flush()
        if opens:
            click.launch(address)

    try:
        with warnings_shown():
            serve(Settings(host, port, device, styles), ready)
    except KeyboardInterrupt:
        click.echo("\nfast-style: stopped; all photos are deleted", err=True)
        sys.stdout.flush()
        os._exit(0)  # Python would wait for a picture that is being painted
