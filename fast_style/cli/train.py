"""``fast-style train``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from fast_style.extras import TRAINING, need
from fast_style.shell import program, quote, readable

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


@click.command(
    add_help_option=False,  # Hydra prints the help
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    options_metavar="[KEY=VALUE]...",
    short_help="Train a network for one painting (see `train --help`).",
)
@click.pass_context
def train(ctx: click.Context) -> None:
    """Train a network for one painting, configured by Hydra."""
    need("train", "training runs", *TRAINING)
    from fast_style.config.launch import launch

    launch(_train_and_report, ctx.args, command=["train"])


def _train_and_report(cfg: DictConfig) -> None:
    from fast_style.config import settings
    from fast_style.config.launch import save_run_config

    log.info("starting; PyTorch takes a few seconds")
    settings.check(cfg)  # before PyTorch is imported, so that mistakes are reported at once
    from fast_style.training.train import train

    result = train(cfg, lambda: save_run_config(cfg))
    if not result.is_global_zero:
        return
    called = program()
    losses = ", ".join(f"{name} {value:.3f}" for name, value in result.losses.items())
    click.echo(f"\nvalidation losses: {losses}")
    click.echo(f"network:    {readable(str(result.network))}")
    click.echo(f"to resume:  {called} train {quote(f'ckpt_path={result.checkpoint}')}")
    click.echo(f"try it:     {called} stylize PHOTO.jpg --style {quote(result.network)}")
