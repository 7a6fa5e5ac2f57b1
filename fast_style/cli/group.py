"""The program ``fast-style``: its commands, and how it ends after a mistake."""

from __future__ import annotations

import sys

import click

from fast_style.cli.app import app
from fast_style.cli.camera import camera
from fast_style.cli.demo import demo
from fast_style.cli.evaluate import evaluate
from fast_style.cli.export import export
from fast_style.cli.gallery import gallery
from fast_style.cli.import_ import import_
from fast_style.cli.optimize import optimize
from fast_style.cli.options import examples
from fast_style.cli.output import WRONG_INPUT, complain
from fast_style.cli.push import push
from fast_style.cli.sheet import sheet
from fast_style.cli.styles import styles
from fast_style.cli.stylize import stylize
from fast_style.cli.train import train
from fast_style.errors import UserError


class _ProgramGroup(click.Group):
    """Ends with one sentence on standard error and exit code 2 after a user's mistake."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except UserError as error:
            complain(error)
        except OSError as error:
            if error.filename is None:  # no file that the user could act on
                raise
            complain(UserError(f"{error.filename}: {error.strerror}; name another file or folder"))
        except Exception as error:
            from fast_style.devices import short_of_memory

            if not short_of_memory(error):
                raise
            complain(
                UserError(
                    "there is not enough memory: make pictures smaller with --size, close other "
                    "programs, or allow this program more memory"
                )
            )
        sys.exit(WRONG_INPUT)


@click.group(
    cls=_ProgramGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "demo                                     # train and stylize, within five minutes",
        "stylize photo.jpg --style starry-night   # a photo in a shipped style",
        "app --open                               # the same on a page in your browser",
        "camera                                   # the camera in a style, in a window",
        "sheet photo.jpg                          # a photo in all shipped styles, to compare",
        "train style=mine.jpg data.dir=photos     # a network for your own painting",
        "optimize photo.jpg painting.jpg          # one picture without a network, slowly",
        "evaluate starry-night wave               # losses and artifacts of two networks",
        "export wave --onnx wave.onnx             # a style for ONNX Runtime",
        "push mine.safetensors anna/mine          # a style and its card to a hub",
        "gallery -o page                          # a page of all shipped styles",
    ),
)
@click.version_option(package_name="fast-style")
def main() -> None:
    """Train a network for one painting, then stylize pictures with it in one pass."""


for _command in (
    app,
    camera,
    demo,
    evaluate,
    export,
    gallery,
    import_,
    optimize,
    push,
    sheet,
    styles,
    stylize,
    train,
):
    main.add_command(_command)
