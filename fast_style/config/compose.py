"""Training from the command line: Hydra's overrides, and its errors as one sentence."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from fast_style.bundled import ASSETS, CONF
from fast_style.config import settings
from fast_style.config.runs import escaped, literal, stored_config
from fast_style.config.settings import PATH_KEYS
from fast_style.errors import UserError
from fast_style.shell import program, quote, readable

log = logging.getLogger(__name__)


def run(arguments: Sequence[str], command: Sequence[str] = ()) -> None:
    """Train as Hydra's ``arguments`` say: one run, or with ``-m`` one for each combination.

    Args:
        arguments: overrides and flags, as ``["style=mine.jpg", "data.dir=photos"]``.
        command: what stands before them on the command line of this process.

    Raises:
        UserError: for whatever the user got wrong.
    """
    failures: list[UserError] = []
    name = sys.argv[0]
    # Hydra's parser takes it ahead of the overrides or after them, but not between.
    arguments = sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun"))

    def job(cfg: DictConfig) -> None:
        overrides = given
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            task = cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task))
            overrides = [_restore(override) for override in task if override not in injected]
            print(f"\nrun {HydraConfig.get().job.num + 1}: {' '.join(map(quote, overrides))}")
        # The processes that `trainer=ddp` starts run this command line again: just this job of it,
        # in this job's folder.
        sys.argv = [name, *command, *overrides]
        own = cast(DictConfig, HydraConfig.get())
        with read_write(own):
            own.run.dir = own.runtime.output_dir
            own.overrides.task = [escaped(override) for override in overrides]
        try:
            with as_user_error():
                _train_and_report(cfg)
        except UserError as error:
            failures.append(error)  # the other jobs go on, and Hydra has no say in how it looks
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))

    # Hydra prints errors in its own way and leaves, unless told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_resolvers()
    _fresh.clear()
    flags, given = _sorted_out(arguments)
    sweep = "-m" in flags or "--multirun" in flags
    injected = _of_the_run(given, sweep) if flags.isdisjoint(_TELLING) else []
    going_on = any(override.endswith(f"={_OF_THE_RUN}") for override in injected)
    rewritten = [*injected, *rewrite(given, sweep, going_on)]
    # The run's folder is what output_dir says, and Hydra need not make another.
    keys = {override.partition("=")[0] for override in rewritten}
    if "output_dir" in keys and "hydra.run.dir" not in keys:
        rewritten.append("hydra.run.dir=.")
    before = sys.argv
    sys.argv = [name, *(argument for argument in arguments if argument not in given), *rewritten]
    try:
        with as_user_error():
            if sweep and flags.isdisjoint(_TELLING):
                _check_sweep(rewritten)
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(job)()
    finally:
        sys.argv = before
    if failures:
        raise UserError("\n".join(readable(str(error)) for error in failures))


# Flags of Hydra's with which nothing is trained.
_TELLING = ("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i",
            "--shell-completion", "-sc")  # fmt: skip


def register_resolvers() -> None:
    """Teach configurations these:

    - ``${bundled:paintings/x.jpg}``: a file that comes with the package;
    - ``${precision:auto}``: bf16 where the device computes in it;
    - ``${fresh:runs,NAME,DATE}``: ``NAME/DATE``, a folder of this run's own in ``runs``;
    - ``${fast_style:}``: how the user calls fast-style, see `fast_style.shell.program`.
    """

    def precision(accelerator: str) -> str:
        from fast_style.devices import best_precision

        return best_precision(accelerator)

    OmegaConf.register_new_resolver("bundled", lambda name: str(ASSETS / name), replace=True)
    OmegaConf.register_new_resolver("precision", precision, replace=True)
    OmegaConf.register_new_resolver("fresh", _fresh_folder, replace=True)
    OmegaConf.register_new_resolver("fast_style", program, replace=True)


# Folders that were made for runs of this process, by what they were to be called: Hydra asks more
# than once.
_fresh: dict[tuple[str, str, str], str] = {}


def _fresh_folder(parent: str, name: str, date: str) -> str:
    """Make ``parent/name/date``, or ``date-2`` if another run began in the same second."""
    asked = (str(parent), str(name), str(date))
    if asked not in _fresh:
        # Hydra would read these characters of its own folder's name as grammar.
        group = Path(parent) / re.sub(r"[\"\\]|\$(?=\{)", "_", str(name))
        number = 1
        while True:
            folder = group / (date if number == 1 else f"{date}-{number}")
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
        _fresh[asked] = str(folder.relative_to(parent))
    return _fresh[asked]


def _remove_if_empty(folder: Path) -> None:
    """A folder that was made for a run which did not begin, and the empty ones that it is in."""
    for (parent, _, _), inside in _fresh.items():
        path, above = Path(parent, inside).absolute(), Path(parent).absolute().parent
        if path != folder.absolute():
            continue
        while path != above:
            try:
                path.rmdir()
            except OSError:  # something else is in it
                return
            path = path.parent


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
    log.info("starting; PyTorch takes some seconds")
    settings.check(cfg)
    from fast_style.training.train import train

    result = train(cfg, lambda: _write_down(cfg))
    if result.is_global_zero:
        called = program()
        losses = ", ".join(f"{k} {v:.3f}" for k, v in result.losses.items())
        print(f"\nvalidation losses: {losses}")
        print(f"network:    {readable(str(result.network))}")
        print(f"to resume:  {called} train {quote(f'ckpt_path={result.checkpoint}')}")
        print(f"try it:     {called} stylize PHOTO.jpg --style {quote(result.network)}")


def _write_down(cfg: DictConfig) -> None:
    """Keep what the run is, in ``.hydra/``, and what it says, in a log."""
    folder = Path(cfg.output_dir)
    hydra_folder = folder / ".hydra"
    hydra_folder.mkdir(exist_ok=True)
    # Run again, it is a run from the beginning.
    OmegaConf.save(OmegaConf.merge(cfg, {"ckpt_path": None}), hydra_folder / "config.yaml")
    OmegaConf.save(OmegaConf.create({"hydra": HydraConfig.get()}), hydra_folder / "hydra.yaml")
    OmegaConf.save(HydraConfig.get().overrides.task, hydra_folder / "overrides.yaml")
    file = logging.FileHandler(
        folder / f"{HydraConfig.get().job.name}.log", encoding="utf-8", errors="backslashreplace"
    )
    file.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(file)


# --------------------------------------------------------------- what the user gives, for Hydra


def rewrite(overrides: Sequence[str], sweep: bool = False, going_on: bool = False) -> list[str]:
    """Overrides whose paths Hydra's grammar and OmegaConf take whatever is in them.

    Args:
        overrides: as the user gives them.
        sweep: whether commas separate values. A value that is a file as a whole is one path.
        going_on: whether the style's other keys are those of an earlier run.
    """
    return [_rewrite(override, sweep, going_on) for override in overrides]


def path_override(key: str, value: str | Path) -> str:
    """``key=value`` for Hydra, taken literally whatever is in it."""
    return f"{key}={_quoted(escaped(str(value)))}"


def style_override(style: str) -> str:
    """``style=...`` for Hydra, of a style's name or a painting's file."""
    return f"style={_style_choice(style)}"


def _rewrite(given: str, sweep: bool, going_on: bool) -> str:
    key, equals, value = given.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS or value in ("", "null"):
        return given
    whole = os.path.lexists(literal(value))
    if not whole and re.fullmatch(r"(choice|glob|shuffle|sort)\(.*\)", value, re.DOTALL):
        return given
    values = _split(value) if sweep and not whole else [value]
    if key == "style":
        if not sweep and not whole and "," in value and all(map(_is_style, _split(value))):
            raise UserError(f"{given} names several paintings: train one after the other with -m")
        return f"style={','.join(_style_choice(value, going_on) for value in values)}"
    return f"{key}={','.join(map(_path_value, values))}"


def _split(values: str) -> list[str]:
    """Values between commas. Commas in a file's name, or in quotes, separate nothing."""
    pieces = values.split(",")
    found = []
    while pieces:
        for end in range(len(pieces), 0, -1):
            piece = ",".join(pieces[:end])
            if end == 1 or os.path.lexists(literal(piece)) or _in_quotes(piece):
                found.append(piece)
                del pieces[:end]
                break
    return found


def _in_quotes(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] in "'\"" and value[0] not in value[1:-1]


def _path_value(value: str) -> str:
    if os.path.lexists(literal(value)):
        return _literally(literal(value))
    if value == "null" or (len(value) > 1 and value[0] == value[-1] in "'\""):
        return value  # Hydra's own way to quote
    if (found := re.findall(r"\$\{([\w.]+)(:?)", value)) and all(
        OmegaConf.has_resolver(name) if colon else name in _interpolated() for name, colon in found
    ):
        return _quoted(value)
    return _literally(literal(value))


def _interpolated() -> frozenset[str]:
    return frozenset(settings.keys())


# What was taken literally, by how it was written for Hydra.
_literals: dict[str, str] = {}


def _literally(value: str) -> str:
    _literals[escaped(value)] = value
    return _quoted(escaped(value))


def _quoted(value: str) -> str:
    """As a string of Hydra's grammar. Only backslashes ahead of quotes count in it."""
    value = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", value)
    end = len(value) - len(value.rstrip("\\"))
    return "'" + value + "\\" * end + "'"


# Paintings by the name that Hydra knows them by. It chooses parts by name, so a painting's file
# becomes a style of its own.
_paintings: dict[str, str] = {}


def _is_style(value: str) -> bool:
    return (CONF / "style" / f"{value}.yaml").is_file() or Path(literal(value)).is_file()


def _style_choice(value: str, going_on: bool = False) -> str:
    if _in_quotes(value) and not os.path.lexists(value):
        value = value[1:-1]
    named = (CONF / "style" / f"{value}.yaml").is_file() or (
        re.fullmatch(r"[\w-]+", value, re.ASCII) and not os.path.lexists(value)
    )
    node: dict[str, Any] = {"defaults": ["painting", "_self_"]}
    if going_on:  # the run's own sizes and strength, with this painting
        node["defaults"] = [_OF_THE_RUN, "_self_"]
    if named:
        if not going_on or not (CONF / "style" / f"{value}.yaml").is_file():
            return value
        chosen = OmegaConf.load(CONF / "style" / f"{value}.yaml")
        assert isinstance(chosen, DictConfig)
        node |= {"name": value, "image": chosen._get_node("image")._value()}  # type: ignore[union-attr]
    else:
        path = literal(value)
        stem = Path(path).stem or Path(path).resolve().stem  # "./" has none
        stem = stem.replace("???", "_")  # means a missing value
        node |= {"name": escaped(stem), "image": escaped(path)}
    clean = "painting-" + re.sub(r"[^\w.-]+", "_", readable(Path(value).name))
    name, number = clean, 2
    while _paintings.get(name, value) != value:
        name, number = f"{clean}-{number}", number + 1
    _paintings[name] = value
    ConfigStore.instance().store(group="style", name=name, node=node)
    return _quoted(name)


def _restore(given: str) -> str:
    """A job's override as the user would give it."""
    parsed = OverridesParser.create().parse_override(given)
    key, value = parsed.key_or_group, parsed.value()
    if key == "style" and value in _paintings:
        return f"style={_paintings[str(value)]}"
    if key in PATH_KEYS and value in _literals:
        return f"{key}={_literals[str(value)]}"
    return given


def _sorted_out(arguments: Sequence[str]) -> tuple[set[str], list[str]]:
    """Flags of Hydra's, and overrides.

    Raises:
        UserError: for what is neither.
    """
    parsed, unknown = get_args_parser().parse_known_args(list(arguments))
    for argument in unknown:
        if argument.startswith("-"):
            key = settings.nearest(argument.lstrip("-").replace("-", "_").partition("=")[0])
            raise UserError(
                f"{argument} is no option of train: keys are given as KEY=VALUE"
                + (f", as {key}=VALUE" if key else " (see train --help)")
            )
    given = [str(override) for override in parsed.overrides]
    given += [argument for argument in unknown if not argument.startswith("-")]
    for override in given:
        if "=" not in override and not override.startswith("~"):
            if Path(literal(override)).is_file():
                remedy = f"did you mean style={override}?"
            elif key := settings.nearest(override):
                remedy = f"did you mean {key}=VALUE?"
            else:
                remedy = "see train --help for the keys"
            raise UserError(f"'{override}' is no KEY=VALUE: {remedy}")
    return {argument for argument in arguments if argument.startswith("-")}, given


def _check_sweep(overrides: Sequence[str]) -> None:
    """Check every job of a sweep before the first one begins.

    Raises:
        UserError: for the first that is wrong.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    own = [o for o in parsed if not str(o.key_or_group).startswith("hydra")]
    if any(override.is_sweep_override() and not override.is_choice_sweep() for override in own):
        return  # of a sweeper that knows more; each job is checked when it begins
    jobs = BasicSweeper.split_arguments(own, None)[0]
    for job in jobs:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", job)
        shared = not OmegaConf.is_interpolation(cfg, "output_dir")
        if not shared:
            cfg.output_dir = "known when the run begins"
        settings.check(cfg)
        painting = Path(literal(cfg.style.image))
        if not painting.exists():
            raise UserError(
                f"the painting {painting} does not exist: put it there, or name another with "
                "style=FILE"
            )
        if shared and len(jobs) > 1:
            raise UserError(
                f"output_dir={cfg.output_dir} would be the folder of every run of the sweep: leave "
                "it out, or give hydra.sweep.dir, in which each run has a folder of its own"
            )


# ------------------------------------------------------------------- going on with a run

_OF_THE_RUN = "of-the-run"


def _of_the_run(overrides: Sequence[str], sweep: bool) -> list[str]:
    """Overrides that make the configuration of the run that is gone on with, where one is.

    Whatever the user says comes after them.
    """
    said = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    ckpt_path = said.get("ckpt_path", "null")
    if ckpt_path in ("null", ""):
        return []
    if _in_quotes(ckpt_path) and not os.path.lexists(ckpt_path):
        ckpt_path = ckpt_path[1:-1]
    config = stored_config(ckpt_path, overrides)
    found = []
    if config is None:
        if "style" not in said:
            raise UserError(
                f"ckpt_path={ckpt_path} does not say what its run was, as an older version wrote "
                "it: give style=, data.dir= and all else as when the run began"
            )
    else:
        for key, value in config.items():
            if isinstance(value, dict):
                ConfigStore.instance().store(group=key, name=_OF_THE_RUN, node=value)
                if key not in said:
                    found.append(f"{key}={_OF_THE_RUN}")
            elif key == "logger":
                if key not in said:
                    found.append("logger=none")
            elif key not in said:
                found.append(f"++{key}={_as_written(value)}")
    if not sweep and "output_dir" not in said and "hydra.run.dir" not in said:
        found.append(path_override("output_dir", Path(literal(ckpt_path)).parent))
    return found


def _as_written(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    return "null" if value is None else str(value).lower()


# ---------------------------------------------------------------------------- what went wrong


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
    told = str(error)
    unknown = re.match(r"(?:Could not override|Could not delete|Key) '([^']*)'", told)
    if unknown:
        key = unknown[1]
        near = settings.nearest(key)
        if near == key:
            return f"{key} is not there: the part that it belongs to was left out or exchanged"
        return f"{key} is no key: " + (
            f"did you mean {near}?" if near else "see train --help for those that there are"
        )
    if isinstance(error, ConfigKeyError):
        return f"{error.full_key or error.key} is missing: leave it as it is"
    told = told.partition("Config search path")[0]
    return " ".join(told.replace("full_key:", "in").replace("object_type=dict", "").split())
