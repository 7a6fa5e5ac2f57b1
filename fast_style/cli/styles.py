"""``fast-style styles``."""

import click

from fast_style.shell import program


@click.command()
def styles() -> None:
    """List the shipped styles with their validation losses."""
    from fast_style.checkpoint import read_style, shipped_styles, small_styles

    for name in [*shipped_styles(), *small_styles()]:
        losses = read_style(name).losses
        click.echo(
            f"{name:21} content {losses['val/content']:.2f}  style {losses['val/style']:.3f}  "
            f"after {losses['step']:,.0f} steps"
        )
    click.echo(f"\n{program()} stylize PHOTO.jpg --style NAME")
