"""``fast-style push``."""

from __future__ import annotations

import click

from fast_style.cli.options import complete_style, examples
from fast_style.cli.output import warnings_shown
from fast_style.errors import UserError
from fast_style.shell import program


@click.command(
    epilog=examples(
        "push runs/mine/mine.safetensors anna/mine --license cc-by-4.0",
        "push wave anna/wave --private",
    )
)
@click.argument("style", shell_complete=complete_style)
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--license", metavar="NAME", help="The style's licence, as mit or cc-by-4.0.")
@click.option("--private", is_flag=True, help="Let nobody else see the repository.")
@click.option("--overwrite", is_flag=True, help="Replace files that the repository has.")
@click.option("--yes", is_flag=True, help="Do not ask before anything becomes public.")
def push(
    style: str, repository: str, license: str | None, private: bool, overwrite: bool, yes: bool
) -> None:
    """Push STYLE to a hub, where `--style hf://OWNER/NAME` finds it.

    STYLE is a shipped style or a .safetensors file. A card with its figures, and bundled photos in
    the style, go with it. Its painting goes with a shipped style alone. A repository that does not
    exist is made, public without --private.
    """
    from fast_style.sharing.push import prepare_push

    with warnings_shown():
        found = prepare_push(style, repository, license, private)
        if found.replaced and not overwrite:
            raise UserError(
                f"{repository} has {', '.join(found.replaced)} already, with other content: name "
                "another repository, or replace them by --overwrite"
            )
        for name, content in found.files.items():
            click.echo(f"{len(content) / 1e3:8,.0f} kB  {name}")
        if license is None and b"\nlicense: " not in found.files["README.md"]:
            click.echo("The card names no licence, so nobody may use the style: see --license.")
        if not found.private and not yes:
            _confirm(repository)
        address = found.send()
    click.echo(f"{address}\ntry it:  {program()} stylize PHOTO.jpg --style hf://{found.repository}")


def _confirm(repository: str) -> None:
    try:
        agreed = click.confirm(f"Everybody will see these files in {repository}. Push them?")
    except click.Abort:  # nobody answers
        agreed = False
    if not agreed:
        raise UserError("nothing was pushed: answer y, or add --yes or --private")
