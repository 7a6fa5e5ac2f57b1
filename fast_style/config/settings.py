"""Every key of ``conf/`` with its type and range, checked before anything starts.

The table covers the classes that ``conf/`` names. A class of your own
(``model._target_=mine.Network``) checks its own arguments. Nothing here imports PyTorch.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fast_style.config.setting_types import (
    AnyOf,
    Boolean,
    Choice,
    Classes,
    Exactly,
    FileName,
    ListOf,
    Number,
    Setting,
    Text,
    is_whole,
    or_null,
    whole_number,
)
from fast_style.errors import UserError

PATH_KEYS = frozenset(
    {
        "style",
        "style.image",
        "data.dir",
        "data.val_dir",
        "ckpt_path",
        "init",
        "output_dir",
        "loss.weights",
    }
)
"""Keys that may hold a path. Their values may contain any character."""

PATH = Text("a path")
SEED = whole_number(0, 2**32 - 1)
CROP_SIDE = whole_number(32, 4096)  # px; a larger crop fills the memory of any machine
WEIGHT = Number(0, 1e12)  # with the sums that the papers use, weights reach 1e10
LEARNING_RATE = Number(0, 10)
NOISE = Number(0, 1)
LAYERS = ListOf(Text("a layer such as relu3_1"))
BETAS = ListOf(Number(0, 1, below_maximum=True), 2)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16")
UNLIMITED_EPOCHS = Exactly(-1, "-1 (set trainer.max_steps or callbacks.schedule.minutes instead)")

# Settings by part, class and key. The root and the style have no class.
TABLE: Mapping[str, Mapping[str | None, Mapping[str, Setting]]] = {
    "": {
        None: {
            "seed": SEED,
            "init": or_null(Text("base, a shipped style or a path")),
            "ckpt_path": or_null(PATH),
            "output_dir": PATH,
            "overwrite": Boolean(),
            "cuda_graphs": Boolean(),
        }
    },
    "style": {
        None: {
            "name": FileName(),
            "image": PATH,
            "strength": Number(0, 1e6, above_minimum=True),
            "size": whole_number(16, 20_000),
        }
    },
    "model": {
        "fast_style.networks.transformer.ImageTransformer": {
            "widths": ListOf(whole_number(1, 4096), 3),
            "residual_blocks": whole_number(0, 256),
            "adjustable": Boolean(),
            "bottleneck": or_null(whole_number(1, 4096)),
        }
    },
    "data": {
        "fast_style.data.ContentData": {
            "dir": or_null(PATH),
            "size": CROP_SIDE,
            "batch_size": whole_number(1, 4096),
            "scale": ListOf(Number(0, 1, above_minimum=True), 2),
            "min_side": whole_number(1, 100_000),
            "workers": or_null(whole_number(0, 256)),
            "val_dir": or_null(PATH),
            "val_size": CROP_SIDE,
            "val_count": whole_number(1, 1000),
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
            "style_strength": Number(0, 1e6, above_minimum=True),
            "style_scales": ListOf(whole_number(1, 64)),
            "tv_weight": WEIGHT,
            "stability_weight": WEIGHT,
            "normalization": Choice(("relative", "johnson", "gatys")),
            "terms": Classes(),
        }
    },
    "stability": {
        "fast_style.training.stability.Move": {"noise": NOISE},
        "fast_style.training.stability.Warp": {
            "noise": NOISE,
            # Within these limits, the view of the smallest crop stays large enough to compare.
            "zoom": Number(0, 0.1),
            "rotation": Number(0, 5),
            "bend": Number(0, 0.02),
            "light": Number(0, 1),
        },
    },
    "optimizer": {
        "fast_style.training.muon.Muon": {
            "lr": LEARNING_RATE,
            "adam_lr": LEARNING_RATE,
            "momentum": Number(0, 1, below_maximum=True),
            "betas": BETAS,
            "eps": Number(0, 1),
        },
        "torch.optim.Adam": {
            "lr": LEARNING_RATE,
            "betas": BETAS,
            "eps": Number(0, 1),
            "weight_decay": Number(0, 10),
            "amsgrad": Boolean(),
            "fused": or_null(Boolean()),
        },
    },
    "trainer": {
        "pytorch_lightning.Trainer": {
            "accelerator": Choice(("auto", "cpu", "gpu", "cuda", "mps")),
            "devices": AnyOf(
                (
                    whole_number(1, 1024),
                    ListOf(whole_number(0, 1023)),
                    Exactly(-1, "-1"),
                    Choice(("auto",)),
                )
            ),
            "precision": Choice(PRECISIONS),
            "max_steps": AnyOf((whole_number(1, 10**9), Exactly(-1, "-1"))),
            "max_epochs": UNLIMITED_EPOCHS,
            "val_check_interval": whole_number(1, 10**9),
            "check_val_every_n_epoch": Exactly(None, "null (validation is counted in steps)"),
            "log_every_n_steps": whole_number(1, 10**9),
            "num_sanity_val_steps": AnyOf((whole_number(0, 1000), Exactly(-1, "-1"))),
            "use_distributed_sampler": Exactly(False, "false (the data module splits photos)"),
            "enable_model_summary": Boolean(),
            "benchmark": or_null(Boolean()),
            "accumulate_grad_batches": whole_number(1, 4096),
            "gradient_clip_val": or_null(Number(0, 1e12)),
            "deterministic": AnyOf((Boolean(), Choice(("warn",)), None)),
        }
    },
    "callbacks.schedule": {
        "fast_style.training.schedule.Schedule": {
            "warmup": Number(0, 1, below_maximum=True),
            "minutes": or_null(Number(0, 1_000_000, above_minimum=True)),
        }
    },
    "callbacks.checkpoint": {
        "pytorch_lightning.callbacks.ModelCheckpoint": {
            "dirpath": PATH,
            "filename": Text("a name, without .ckpt"),
            "every_n_train_steps": whole_number(1, 10**9),
            "save_top_k": whole_number(-1, 10**6),
            "enable_version_counter": Boolean(),
        }
    },
    "logger": {
        "pytorch_lightning.loggers.TensorBoardLogger": {
            "save_dir": PATH,
            "default_hp_metric": Boolean(),
        },
        "pytorch_lightning.loggers.CSVLogger": {
            "save_dir": PATH,
            "flush_logs_every_n_steps": whole_number(1, 10**9),
        },
    },
}

# Parts and root keys that a configuration may lack.
OPTIONAL = frozenset({"logger", "callbacks.checkpoint", "overwrite", "cuda_graphs"})


def keys() -> list[str]:
    """All keys in the table and the parts that hold them, sorted."""
    found = {"experiment"}
    for part, classes in TABLE.items():
        found.add(part.partition(".")[0])
        for table in classes.values():
            found.update(joined(part, key) for key in table)
    return sorted(found - {""})


def nearest(key: str) -> str | None:
    """The key that the user may have meant, by its whole name or by its last part.

    >>> nearest("batchsize")
    'data.batch_size'
    >>> nearest("xyzzy") is None
    True
    """
    if key.startswith("hydra."):
        return None
    known = keys()
    end = key.rpartition(".")[2]
    by_end = {name.rpartition(".")[2]: name for name in reversed(known)}
    similar = difflib.get_close_matches(key, known, 1, cutoff=0.8)
    same_end = [by_end[end]] if end in by_end else []
    holding = [name for name in known if len(end) > 2 and end in name.rpartition(".")[2]]
    similar_end = [by_end[name] for name in difflib.get_close_matches(end, by_end, 1, cutoff=0.7)]
    candidates = [*similar, *same_end, *holding, *similar_end]
    return candidates[0] if candidates else None


def check(cfg: DictConfig, parts: Iterable[str] = tuple(TABLE)) -> None:
    """Check every key that the table names, and turn whole numbers such as ``1e3`` into integers.

    Args:
        cfg: composed from ``conf/train.yaml``; changed in place.
        parts: names of the parts to check; "" is the root.

    Raises:
        UserError: for the first value that is missing or not allowed.
    """
    for part in parts:
        node = OmegaConf.select(cfg, part) if part else cfg
        if node is None:
            if part in OPTIONAL:
                continue
            raise UserError(f"{part} is missing: keep the default, or choose another {part}")
        if not isinstance(node, DictConfig):
            raise UserError(f"{part}={node!r} is not a part: choose one by name, as {part}=NAME")
        for key, setting in TABLE[part].get(node.get("_target_"), {}).items():
            _check_key(node, key, joined(part, key), setting, required=None in TABLE[part])
    if "data" in parts:
        _check_together(cfg)


def _check_key(node: DictConfig, key: str, name: str, setting: Setting, required: bool) -> None:
    if OmegaConf.is_missing(node, key):
        raise UserError(f"{name} has no value: add {name}=... (see train --help)")
    if key not in node:
        if required and name not in OPTIONAL:
            raise UserError(f"{name} is missing: give {setting.allowed}")
        return
    if name == "output_dir" and OmegaConf.is_interpolation(node, key):
        return  # Hydra fills it in when it starts the run
    value = node[key]
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    if not setting.accepts(value):
        raise UserError(f"{name}={_shown(value)} is not allowed: give {setting.allowed}")
    if name == "loss.weights":
        _check_weights(value)
    if isinstance(value, float) and is_whole(setting):
        node[key] = int(value)


def _check_weights(weights: str) -> None:
    """Refuse a file that cannot be weights, such as a picture, before PyTorch opens it."""
    path = Path(os.path.expanduser(weights))
    if weights in ("torchvision", "bundled") or not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(9)
    # torch.save writes a zip or a pickle; safetensors a table in JSON behind its length of 8 bytes.
    if not start.startswith((b"PK", b"\x80")) and start[8:] != b"{":
        raise UserError(
            f"loss.weights={weights} holds no weights: give torchvision's .pth or a .safetensors"
        )


def _check_together(cfg: DictConfig) -> None:
    """Check what depends on several keys."""
    scale = cfg.data.get("scale")
    if scale is not None and cfg.data._target_ in TABLE["data"] and scale[0] > scale[1]:
        raise UserError(
            f"data.scale={_shown(list(scale))} is not allowed: give the smaller share first"
        )
    if cfg.trainer.get("max_steps") == -1 and cfg.callbacks.schedule.get("minutes") is None:
        raise UserError(
            "trainer.max_steps=-1 never ends without callbacks.schedule.minutes: give one of them"
        )


def joined(part: str, key: str) -> str:
    """The full name of a key within a part; the root's name is ""."""
    return f"{part}.{key}" if part else key


def _shown(value: Any) -> str:
    """A value as it stands on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return str(value)
