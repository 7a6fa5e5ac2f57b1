"""Every key of conf/ with its type and range, checked before anything starts.

Keys of a part are checked where the part is of one of the classes named here. A class of your own
(``model._target_=mine.Network``) checks its own arguments. PyTorch is not imported.
"""

from __future__ import annotations

import difflib
import inspect
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from fast_style.errors import UserError


class Setting(Protocol):
    """What one key may hold."""

    @property
    def allowed(self) -> str:
        """What to give, to follow "give"."""

    def takes(self, value: Any) -> bool: ...


@dataclass(frozen=True)
class Number:
    """A finite number, or a whole one, in a range that holds its ends unless told otherwise."""

    least: float
    most: float
    whole: bool = False
    above_least: bool = False
    below_most: bool = False

    @property
    def allowed(self) -> str:
        start = f"{'above' if self.above_least else 'from'} {self.least:.12g}"
        end = f"{'below' if self.below_most else 'to'} {self.most:.12g}"
        return f"a {'whole ' if self.whole else ''}number {start} {end}"

    def takes(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value) or (self.whole and value != int(value)):
            return False
        return (
            self.least <= value <= self.most
            and not (self.above_least and value == self.least)
            and not (self.below_most and value == self.most)
        )


@dataclass(frozen=True)
class Choice:
    """One of these words, or numbers that are meant as words, as ``32``."""

    options: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return _either(self.options)

    def takes(self, value: Any) -> bool:
        return isinstance(value, str | int) and str(value) in self.options


@dataclass(frozen=True)
class Truth:
    """``true`` or ``false``."""

    allowed = "true or false"

    def takes(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Text:
    """Any text but none."""

    allowed: str = "a text"

    def takes(self, value: Any) -> bool:
        return isinstance(value, str) and value != ""


@dataclass(frozen=True)
class FileName:
    """A text that can be (the beginning of) a file's name."""

    allowed = "a name that a file can have, without /"

    def takes(self, value: Any) -> bool:
        return isinstance(value, str) and value not in ("", ".", "..") and "/" not in value


@dataclass(frozen=True)
class Several:
    """A list of so many, by default at least one."""

    each: Setting
    count: int | None = None

    @property
    def allowed(self) -> str:
        count = "one or more" if self.count is None else str(self.count)
        return f"a list of {count}, each {self.each.allowed}"

    def takes(self, value: Any) -> bool:
        if not isinstance(value, list | tuple) or not value:
            return False
        return self.count in (None, len(value)) and all(map(self.each.takes, value))


@dataclass(frozen=True)
class Either:
    """What any of these takes; ``None`` is null."""

    options: tuple[Setting | None, ...]

    @property
    def allowed(self) -> str:
        return _either(["null" if option is None else option.allowed for option in self.options])

    def takes(self, value: Any) -> bool:
        return any(
            value is None if option is None else option.takes(value) for option in self.options
        )


@dataclass(frozen=True)
class Classes:
    """Parts by name, each a class and its arguments. `check_arguments` looks at those."""

    allowed = "classes by name, as {mine: {_target_: my_module.MyLoss, weight: 1}}"

    def takes(self, value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(part, dict) and isinstance(part.get("_target_"), str)
            for part in value.values()
        )


@dataclass(frozen=True)
class Exactly:
    """One value, and why there is no other."""

    value: Any
    allowed: str

    def takes(self, value: Any) -> bool:
        return value == self.value and type(value) is type(self.value)


def _either(options: Iterable[str]) -> str:
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last


def _is_whole(setting: Setting | None) -> bool:
    if isinstance(setting, Either):
        return any(map(_is_whole, setting.options))
    return isinstance(setting, Number) and setting.whole


def _whole(least: int, most: int) -> Number:
    return Number(least, most, whole=True)


def _or_null(setting: Setting) -> Either:
    return Either((setting, None))


PATH = Text("a path")
SEED = _whole(0, 2**32 - 1)
SIDE = _whole(32, 4096)  # px of crops: larger ones fill the memory of any machine
WEIGHT = Number(0, 1e12)  # the papers' own sums need as much as 1e10
LEARNING_RATE = Number(0, 10)
LAYERS = Several(Text("a layer, as relu3_1"))
BETAS = Several(Number(0, 1, below_most=True), 2)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16")
UNLIMITED = Exactly(-1, "-1 (runs are counted in trainer.max_steps or callbacks.schedule.minutes)")

# By part, class and key. The root and the style are of no class.
TABLE: Mapping[str, Mapping[str | None, Mapping[str, Setting]]] = {
    "": {
        None: {
            "seed": SEED,
            "init": _or_null(Text("base, a shipped style or a path")),
            "ckpt_path": _or_null(PATH),
            "output_dir": PATH,
            "overwrite": Truth(),
            "cuda_graphs": Truth(),
        }
    },
    "style": {
        None: {
            "name": FileName(),
            "image": PATH,
            "strength": Number(0, 1e6, above_least=True),
            "size": _whole(16, 20_000),
        }
    },
    "model": {
        "fast_style.networks.transformer.ImageTransformer": {
            "widths": Several(_whole(1, 4096), 3),
            "residual_blocks": _whole(0, 256),
            "adjustable": Truth(),
        }
    },
    "data": {
        "fast_style.data.ContentData": {
            "dir": _or_null(PATH),
            "size": SIDE,
            "batch_size": _whole(1, 4096),
            "scale": Several(Number(0, 1, above_least=True), 2),
            "min_side": _whole(1, 100_000),
            "workers": _or_null(_whole(0, 256)),
            "val_dir": _or_null(PATH),
            "val_size": SIDE,
            "val_count": _whole(1, 1000),
            "seed": SEED,
        }
    },
    "loss": {
        "fast_style.losses.PerceptualLoss": {
            "network": Choice(("vgg16", "vgg19")),
            "weights": Text("torchvision, bundled or a path"),
            "content_layers": LAYERS,
            "style_layers": LAYERS,
            "content_weight": WEIGHT,
            "style_weight": WEIGHT,
            "style_strength": Number(0, 1e6, above_least=True),
            "style_scales": Several(_whole(1, 64)),
            "tv_weight": WEIGHT,
            "stability_weight": WEIGHT,
            "normalization": Choice(("relative", "johnson", "gatys")),
            "terms": Classes(),
        }
    },
    "optimizer": {
        "fast_style.training.muon.Muon": {
            "lr": LEARNING_RATE,
            "adam_lr": LEARNING_RATE,
            "momentum": Number(0, 1, below_most=True),
            "betas": BETAS,
            "eps": Number(0, 1),
        },
        "torch.optim.Adam": {
            "lr": LEARNING_RATE,
            "betas": BETAS,
            "eps": Number(0, 1),
            "weight_decay": Number(0, 10),
            "amsgrad": Truth(),
            "fused": _or_null(Truth()),
        },
    },
    "trainer": {
        "pytorch_lightning.Trainer": {
            "accelerator": Choice(("auto", "cpu", "gpu", "cuda", "mps")),
            "devices": Either(
                (_whole(1, 1024), Several(_whole(0, 1023)), Exactly(-1, "-1"), Choice(("auto",)))
            ),
            "precision": Choice(PRECISIONS),
            "max_steps": Either((_whole(1, 10**9), Exactly(-1, "-1"))),
            "max_epochs": UNLIMITED,
            "val_check_interval": _whole(1, 10**9),
            "check_val_every_n_epoch": Exactly(None, "null (looks are counted in steps)"),
            "log_every_n_steps": _whole(1, 10**9),
            "num_sanity_val_steps": Either((_whole(0, 1000), Exactly(-1, "-1"))),
            "use_distributed_sampler": Exactly(False, "false (the data shares itself out)"),
            "enable_model_summary": Truth(),
            "benchmark": _or_null(Truth()),
            "accumulate_grad_batches": _whole(1, 4096),
            "gradient_clip_val": _or_null(Number(0, 1e12)),
            "deterministic": Either((Truth(), Choice(("warn",)), None)),
        }
    },
    "callbacks.schedule": {
        "fast_style.training.schedule.Schedule": {
            "warmup": Number(0, 1, below_most=True),
            "minutes": _or_null(Number(0, 1_000_000, above_least=True)),
        }
    },
    "callbacks.checkpoint": {
        "pytorch_lightning.callbacks.ModelCheckpoint": {
            "dirpath": PATH,
            "filename": Text("a name, without .ckpt"),
            "every_n_train_steps": _whole(1, 10**9),
            "save_top_k": _whole(-1, 10**6),
            "enable_version_counter": Truth(),
        }
    },
    "logger": {
        "pytorch_lightning.loggers.TensorBoardLogger": {
            "save_dir": PATH,
            "default_hp_metric": Truth(),
        },
        "pytorch_lightning.loggers.CSVLogger": {
            "save_dir": PATH,
            "flush_logs_every_n_steps": _whole(1, 10**9),
        },
    },
}

# Parts that may be left out, and keys of the root that not every configuration has.
OPTIONAL = frozenset({"logger", "callbacks.checkpoint", "overwrite", "cuda_graphs"})

PATH_KEYS = frozenset(
    {
        "style", "style.image", "data.dir", "data.val_dir", "ckpt_path", "init", "output_dir",
        "loss.weights",
    }
)  # fmt: skip
"""Keys whose values are paths, or may be: any characters are taken as they are."""

_HYDRA_KEYS = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})


def keys() -> list[str]:
    """All keys that the table names, with the parts that hold them."""
    found = set()
    for part, classes in TABLE.items():
        found.add(part.partition(".")[0])
        for settings in classes.values():
            found.update(_joined(part, key) for key in settings)
    return sorted(found - {""} | {"experiment"})


def nearest(key: str) -> str | None:
    """The key that the user may have meant, or None: by its whole name, or by its last part."""
    if key.startswith("hydra."):
        return None
    known = keys()
    end = key.rpartition(".")[2]
    by_end = {name.rpartition(".")[2]: name for name in reversed(known)}
    holding = [name for name in known if len(end) > 2 and end in name.rpartition(".")[2]]
    return next(
        (
            found[0]
            for found in (
                difflib.get_close_matches(key, known, 1, cutoff=0.8),
                [by_end[end]] if end in by_end else [],
                holding,
                [by_end[name] for name in difflib.get_close_matches(end, by_end, 1, cutoff=0.7)],
            )
            if found
        ),
        None,
    )


def check(cfg: DictConfig, parts: Iterable[str] = tuple(TABLE)) -> None:
    """Check every key of ``cfg`` that the table names, and of whole numbers make integers.

    Args:
        cfg: as conf/train.yaml composes it.
        parts: those to look at.

    Raises:
        UserError: for the first value that is not allowed, or was never given.
    """
    for part in parts:
        node = OmegaConf.select(cfg, part) if part else cfg
        if node is None:
            if part in OPTIONAL:
                continue
            raise UserError(f"{part} is missing: leave it as it is, or choose another part")
        if not isinstance(node, DictConfig):
            raise UserError(f"{part}={node!r} is no part: choose one by name, as {part}=NAME")
        settings = TABLE[part].get(node.get("_target_"))
        if settings is None:
            continue
        for key, setting in settings.items():
            name = _joined(part, key)
            if OmegaConf.is_missing(node, key):
                raise UserError(f"{name} has no value: add {name}=... (see train --help)")
            if key not in node:
                if None in TABLE[part] and name not in OPTIONAL:
                    raise UserError(f"{name} is missing: give {setting.allowed}")
                continue
            if name == "output_dir" and OmegaConf.is_interpolation(node, key):
                continue  # Hydra knows it when it starts the run
            value = node[key]
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=True)
            if not setting.takes(value):
                raise UserError(f"{name}={_shown(value)} is not allowed: give {setting.allowed}")
            if name == "loss.weights":
                _check_weights(value)
            if isinstance(value, float) and _is_whole(setting):
                node[key] = int(value)
    if "data" in parts:
        _check_together(cfg)


def _check_weights(weights: str) -> None:
    """Refuse a file that is nothing like weights, as a picture, in other words than PyTorch's."""
    path = Path(os.path.expanduser(weights))
    if weights in ("torchvision", "bundled") or not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(9)
    of_torch = start.startswith((b"PK", b"\x80"))
    if not of_torch and start[8:] != b"{":  # safetensors has a table behind its length
        raise UserError(
            f"loss.weights={weights} holds no weights: give torchvision's .pth or a .safetensors"
        )


def _check_together(cfg: DictConfig) -> None:
    """What no key can tell alone."""
    scale = cfg.data.get("scale")
    if scale is not None and cfg.data._target_ in TABLE["data"] and scale[0] > scale[1]:
        raise UserError(
            f"data.scale={_shown(list(scale))} is not allowed: give the smaller share first"
        )
    if cfg.trainer.get("max_steps") == -1 and cfg.callbacks.schedule.get("minutes") is None:
        raise UserError(
            "trainer.max_steps=-1 has no end without callbacks.schedule.minutes: give one of them"
        )


def check_arguments(cfg: DictConfig, part: str = "") -> None:
    """Check that each part's class takes the keys that are given, and gets those that it needs.

    This imports the classes.

    Args:
        cfg: the configuration, or a part of it.
        part: what the part is called.

    Raises:
        UserError: for a class that does not exist, a key that it does not know, or one that it
            misses.
    """
    from hydra.utils import get_object

    for name, node in _parts(cfg, part):
        target = node["_target_"]
        try:
            built = get_object(target)
        except (ImportError, ValueError) as error:
            raise UserError(
                f"{name}._target_={target} is nothing that can be imported: check its name"
            ) from error
        try:
            parameters = inspect.signature(built).parameters
        except (TypeError, ValueError):  # some built-in callables have no signature
            continue
        given = {str(key) for key in node} - _HYDRA_KEYS
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            continue
        for key in sorted(given - set(parameters)):
            close = difflib.get_close_matches(key, list(parameters), 1)
            meant = f"did you mean {name}.{close[0]}?" if close else f"{target} does not take it"
            raise UserError(f"{name}.{key} is no key: {meant}")
        partial = node.get("_partial_", False) or "_args_" in node
        for key, parameter in parameters.items():
            needed = parameter.default is inspect.Parameter.empty and parameter.kind not in (
                inspect.Parameter.VAR_POSITIONAL,
                inspect.Parameter.VAR_KEYWORD,
            )
            if needed and not partial and key not in given:
                raise UserError(f"{name}.{key} is missing: {target} needs it")


def targets(config: Any, part: str = "") -> Iterator[tuple[str, str]]:
    """``(part, class)`` of everything that a plain configuration would build."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield part, str(config["_target_"])
        for key, value in config.items():
            yield from targets(value, _joined(part, str(key)))
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from targets(value, _joined(part, str(number)))


def _parts(node: Any, part: str) -> Iterator[tuple[str, DictConfig]]:
    if not isinstance(node, DictConfig):
        return
    if "_target_" in node:
        yield part, node
    for key in node:
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_config(node._get_node(key)):
            yield from _parts(node[key], _joined(part, str(key)))


def _joined(part: str, key: str) -> str:
    return f"{part}.{key}" if part else key


def _shown(value: Any) -> str:
    """As on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return str(value)
