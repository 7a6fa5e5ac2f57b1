"""``fast-style app``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fast_style.cli.options import device_option, examples
from fast_style.cli.output import warnings_shown
from fast_style.errors import UserError
from fast_style.extras import TRAINING, need


@click.command(
    epilog=examples(
        "app --open",
        "app --styles my-styles --port 8080",
        "app --host 0.0.0.0 --photos photos",
        "app data.size=256 model=small   # for trainings",
    )
)
@click.argument("settings", nargs=-1, metavar="[SETTINGS]...")
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
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("styles"),
    show_default=True,
    metavar="FOLDER",
    help="Folder of your own styles, as .safetensors files. Trained ones are written there.",
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    metavar="FOLDER",
    help="Folder of photos that trainings may use; may be repeated. By default they may use every "
    "folder, but none where other machines can reach the page.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in your browser.")
@device_option
def app(
    settings: tuple[str, ...],
    host: str,
    port: int,
    styles: Path,
    photos: tuple[Path, ...],
    opens: bool,
    device: str,
) -> None:
    """Stylize photos and train styles on a page in your browser, until Ctrl-C.

    SETTINGS, as those of `train`, change all trainings.

    Photos stay on this machine. They are deleted after an hour, or when the page is left.
    """
    need("app", "pages in a browser", "fastapi", "python_multipart", "uvicorn")
    if settings:
        need("train", "settings of trainings", *TRAINING)
        from fast_style.app.trainings import check_settings

        check_settings(settings)
    for folder in photos:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder: let --photos name a folder of photos")
    from fast_style.app.serve import Settings, serve

    def ready(address: str) -> None:
        click.echo(f"fast-style listens at {address}\nCtrl-C ends it.")
        sys.stdout.flush()
        if opens:
            click.launch(address)

    try:
        with warnings_shown():
            serve(Settings(host, port, device, styles, photos, settings), ready)
    except KeyboardInterrupt:
        pass  # where SIGINT was ignored at the start, as in a script's background, it only returns
    click.echo("\nfast-style: stopped; all photos are deleted", err=True)
    sys.stdout.flush()
    os._exit(0)  # Python would wait for a picture that is being painted, or abort
