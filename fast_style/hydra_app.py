"""Training from the command line: Hydra's overrides, and its errors as one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from fast_style.errors import UserError
from fast_style.resources import ASSETS, CONF


def run(arguments: Sequence[str], command: Sequence[str] = ()) -> None:
    """Train as Hydra's ``arguments`` say: one run, or with ``-m`` one for each combination.

    Args:
        arguments: overrides and flags, as ``["style=mine.jpg", "data.dir=photos"]``.
        command: what stands before them on the command line of this process.

    Raises:
        UserError: for whatever the user got wrong.
    """
    failures: list[UserError] = []
    rewritten = [_rewrite(argument) for argument in arguments]
    # Hydra's parser takes it ahead of the overrides or after them, but not between.
    rewritten.sort(key=lambda argument: argument not in ("-m", "--multirun"))
    program = sys.argv[0]

    def job(cfg: DictConfig) -> None:
        # The processes that `trainer=ddp` starts run this command line again: just this job of it.
        overrides = list(arguments)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            overrides = [_restore(override) for override in HydraConfig.get().overrides.task]
        sys.argv = [program, *command, *overrides]
        try:
            with as_user_error():
                _train_and_report(cfg)
        except UserError as error:
            failures.append(error)  # the other jobs go on, and Hydra has no say in how it looks

    # Hydra prints errors in its own way and leaves, unless told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_resolvers()
    before = sys.argv
    sys.argv = [program, *rewritten]
    try:
        with as_user_error():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(job)()
    finally:
        sys.argv = before
    if failures:
        raise UserError("\n".join(map(str, failures)))


def register_resolvers() -> None:
    """``${bundled:paintings/x.jpg}``: a file that comes with the package; ``${precision:auto}``:
    bf16 where the device computes in it."""

    def precision(accelerator: str) -> str:
        from fast_style.training import best_precision  # takes seconds, and --help has no need

        return best_precision(accelerator)

    OmegaConf.register_new_resolver("bundled", lambda name: str(ASSETS / name), replace=True)
    OmegaConf.register_new_resolver("precision", precision, replace=True)


@contextmanager
def as_user_error() -> Iterator[None]:
    """Turn what Hydra says of a wrong configuration into one sentence."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_sentence(error)) from error
    except ValueError as error:  # for loss=null or style=3, Hydra has no exception of its own
        if not str(error).startswith("Config group override"):
            raise
        raise UserError(f"{error}: choose parts by name, as in loss=vgg16") from error


def _train_and_report(cfg: DictConfig) -> None:
    from fast_style.training import train

    result = train(cfg)
    if result.is_global_zero:
        losses = ", ".join(f"{k} {v:.3f}" for k, v in result.losses.items())
        print(f"\nvalidation losses: {losses}")
        print(f"network:    {result.network}")
        print(f"to resume:  ckpt_path={result.checkpoint}")
        print(f"try it:     fast-style stylize PHOTO.jpg --style {result.network}")


def style_choice(value: str) -> str:
    """What Hydra knows a style by: its name in conf/style. Hydra chooses by name, so a painting's
    file becomes a style of its own."""
    if "/" not in value and "." not in value:
        return value
    name = _PAINTING + value.encode().hex()
    node = {"defaults": ["painting", "_self_"], "name": Path(value).stem, "image": value}
    ConfigStore.instance().store(group="style", name=name, node=node)
    return name


# Begins the name of a style made from a file, whose path follows in hexadecimal: Hydra's grammar
# takes few characters in names.
_PAINTING = "painting_"


def _rewrite(argument: str) -> str:
    key, equals, values = argument.partition("=")
    if key != "style" or not equals:
        return argument
    choices = [values] if Path(values).is_file() else values.split(",")
    return f"style={','.join(map(style_choice, choices))}"


def _restore(override: str) -> str:
    key, _, value = override.partition("=")
    if key == "style" and value.startswith(_PAINTING):
        return f"style={bytes.fromhex(value.removeprefix(_PAINTING)).decode()}"
    return override


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _sentence(error: BaseException) -> str:
    """What to tell the user: our own sentence if one lies underneath, else Hydra's first lines."""
    for cause in _causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: add {error.full_key}=... (see train --help)"
    told = str(error).partition("Config search path")[0]
    return " ".join(told.replace("full_key:", "in").replace("object_type=dict", "").split())
