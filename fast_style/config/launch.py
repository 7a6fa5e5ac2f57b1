"""Start training through Hydra: one run, or a sweep with ``-m``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from fast_style.bundled import CONF
from fast_style.config import settings
from fast_style.config.compose import compose_config, register_resolvers
from fast_style.config.messages import as_user_error
from fast_style.config.paths import RESUMED, escape, literal, painting_file, restore, rewrite
from fast_style.config.resume import resumed_overrides
from fast_style.config.run_folder import forget_fresh_folders, remove_if_unused
from fast_style.errors import UserError
from fast_style.shell import quote, readable

_SWEEP_FLAGS = frozenset({"-m", "--multirun"})

# Hydra's flags that print something and train nothing.
_INFORMATION_FLAGS = frozenset(
    {
        "--help",
        "-h",
        "--hydra-help",
        "--version",
        "--cfg",
        "-c",
        "--info",
        "-i",
        "--shell-completion",
        "-sc",
    }
)


def launch(
    job: Callable[[DictConfig], None], arguments: Sequence[str], command: Sequence[str] = ()
) -> None:
    """Call a job with the configuration that a command line describes.

    Args:
        job: what to do with the configuration; a sweep calls it once for each combination.
        arguments: Hydra's overrides and flags, as ``["style=mine.jpg", "data.dir=photos"]``.
        command: the words in front of them on this process's command line, as ``["train"]``.

    Raises:
        UserError: for whatever the user got wrong. A run of a sweep that fails does not stop the
            others; the error then names all that failed.
    """
    # Hydra's parser accepts -m in front of the overrides or behind them, not between them.
    arguments = sorted(arguments, key=lambda argument: argument not in _SWEEP_FLAGS)
    flags, given = _parse(arguments)
    sweep = not flags.isdisjoint(_SWEEP_FLAGS)
    trains = flags.isdisjoint(_INFORMATION_FLAGS)
    register_resolvers()
    forget_fresh_folders()
    restored = resumed_overrides(given, sweep) if trains else []
    overrides = _for_hydra(given, restored, sweep)
    runs = _Runs(job, command, given, restored)
    # Without this, Hydra prints errors in its own way and exits.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    before = sys.argv
    flags_and_values = [argument for argument in arguments if argument not in given]
    sys.argv = [before[0], *flags_and_values, *overrides]
    try:
        with as_user_error():
            if sweep and trains:
                _check_sweep(overrides)
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(runs.start)()
    finally:
        sys.argv = before
    if runs.failures:
        raise UserError("\n".join(readable(str(error)) for error in runs.failures))


def save_run_config(cfg: DictConfig) -> None:
    """Write a run's configuration to ``.hydra/`` in its folder, and start its log there.

    Call this within a job of `launch`, once everything is checked.
    """
    folder = Path(cfg.output_dir)
    hydra_folder = folder / ".hydra"
    hydra_folder.mkdir(exist_ok=True)
    # Run again, the configuration describes a run from the start.
    OmegaConf.save(OmegaConf.merge(cfg, {"ckpt_path": None}), hydra_folder / "config.yaml")
    OmegaConf.save(OmegaConf.create({"hydra": HydraConfig.get()}), hydra_folder / "hydra.yaml")
    OmegaConf.save(HydraConfig.get().overrides.task, hydra_folder / "overrides.yaml")
    file = logging.FileHandler(
        folder / f"{HydraConfig.get().job.name}.log", encoding="utf-8", errors="backslashreplace"
    )
    file.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(file)


@dataclass
class _Runs:
    """The runs of one command line, as Hydra starts them."""

    job: Callable[[DictConfig], None]
    command: Sequence[str]
    given: Sequence[str]
    restored: Sequence[str]
    failures: list[UserError] = field(default_factory=list)

    def start(self, cfg: DictConfig) -> None:
        own = cast(DictConfig, HydraConfig.get())
        overrides = list(self.given)
        if own.mode == RunMode.MULTIRUN:
            task = cast(list[str], OmegaConf.to_container(own.overrides.task))
            overrides = [restore(override) for override in task if override not in self.restored]
            print(f"\nrun {own.job.num + 1}: {' '.join(map(quote, overrides))}")
        # `trainer=ddp` starts further processes by this command line. They must do this job alone,
        # in this job's folder.
        sys.argv = [sys.argv[0], *self.command, *overrides]
        with read_write(own):
            own.run.dir = own.runtime.output_dir
            own.overrides.task = [escape(override) for override in overrides]
        try:
            with as_user_error():
                self.job(cfg)
        except UserError as error:
            self.failures.append(error)
            remove_if_unused(Path(own.runtime.output_dir))


def _parse(arguments: Sequence[str]) -> tuple[set[str], list[str]]:
    """Hydra's flags and the overrides.

    Raises:
        UserError: for an argument that is neither.
    """
    parsed, unknown = get_args_parser().parse_known_args(list(arguments))
    for argument in unknown:
        if argument.startswith("-"):
            key = settings.nearest(argument.lstrip("-").replace("-", "_").partition("=")[0])
            raise UserError(
                f"{argument} is not an option of train: give keys as KEY=VALUE"
                + (f", as {key}=VALUE" if key else " (see train --help)")
            )
    given = [str(override) for override in parsed.overrides]
    given += [argument for argument in unknown if not argument.startswith("-")]
    for override in given:
        if "=" not in override and not override.startswith("~"):
            raise UserError(f"'{override}' is not KEY=VALUE: {_remedy(override)}")
    return {argument for argument in arguments if argument.startswith("-")}, given


def _remedy(word: str) -> str:
    if Path(literal(word)).is_file():
        return f"did you mean style={word}?"
    key = settings.nearest(word)
    return f"did you mean {key}=VALUE?" if key else "see train --help for the keys"


def _for_hydra(given: Sequence[str], restored: Sequence[str], sweep: bool) -> list[str]:
    """All overrides in Hydra's grammar."""
    resuming = any(override.endswith(f"={RESUMED}") for override in restored)
    overrides = [*restored, *rewrite(given, sweep, resuming)]
    # `output_dir` names the run's folder. Hydra must not make another one.
    keys = {override.partition("=")[0] for override in overrides}
    if "output_dir" in keys and "hydra.run.dir" not in keys:
        overrides.append("hydra.run.dir=.")
    return overrides


def _check_sweep(overrides: Sequence[str]) -> None:
    """Check every run of a sweep before the first one starts.

    Raises:
        UserError: for the first that is wrong.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    own = [o for o in parsed if not str(o.key_or_group).startswith("hydra")]
    if any(override.is_sweep_override() and not override.is_choice_sweep() for override in own):
        return  # another sweeper expands these; each run is checked when it starts
    jobs = BasicSweeper.split_arguments(own, None)[0]
    for job in jobs:
        cfg = compose_config(job)
        shared = not OmegaConf.is_interpolation(cfg, "output_dir")
        if not shared:
            cfg.output_dir = "known when the run starts"
        settings.check(cfg)
        painting_file(cfg.style.image)
        if shared and len(jobs) > 1:
            raise UserError(
                f"output_dir={cfg.output_dir} would be the folder of every run of the sweep: leave "
                "it out, or give hydra.sweep.dir, which holds a folder for each run"
            )
