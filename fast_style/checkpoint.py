"""Trained networks in files: one self-contained ``.safetensors`` each, from which nothing is
unpickled.

PyTorch is imported only where a network is built: a CPU stylizes without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fast_style.bundled import CHECKPOINTS
from fast_style.errors import UserError
from fast_style.extras import need
from fast_style.files import replace_file
from fast_style.hub import fetch_style, is_on_hub
from fast_style.images import is_picture
from fast_style.networks import Plan, Upsampling, at_strength, plan_network

if TYPE_CHECKING:
    from fast_style.networks.transformer import ImageTransformer

FORMAT = "fast_style/1"
CHECKSUM = "sha256"  # of the file without this key; the oldest files have none
DTYPES = ("F16", "F32", "F64")
UPSAMPLINGS: tuple[Upsampling, ...] = get_args(Upsampling)

# Limits for files, so that none makes us allocate absurd amounts of memory.
MAX_CHANNELS = 4096
MAX_BLOCKS = 256


@dataclass
class TrainedStyle:
    """A network that paints one style.

    Args:
        network: in float32; in evaluation mode where it was loaded.
        name: name of the style.
        recipe: the whole configuration of its training.
        losses: the last measured losses by name, and their ``step``.
    """

    network: ImageTransformer
    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)


@dataclass
class StyleFile:
    """The content of a style's file, without PyTorch.

    Args:
        config: arguments of the ``ImageTransformer``.
        weights: its state dict, in float32.
        name: name of the style.
        recipe: the whole configuration of its training.
        losses: the last measured losses by name, and their ``step``.
    """

    config: dict[str, Any]
    weights: dict[str, NDArray[np.float32]]
    name: str
    recipe: dict[str, Any]
    losses: dict[str, float]

    @property
    def plan(self) -> Plan:
        """The network's layers."""
        return plan_network(**self.config)

    def at_strength(self, strength: float) -> StyleFile:
        """The style at one strength in [0, 1]: its network is not adjustable any more.

        Raises:
            UserError: if training could have made the network adjustable and did not, and another
                strength than 1 is asked for.
        """
        if strength != 1 and not (self.config["adjustable"] or self.config.get("bare")):
            raise UserError(
                f"style '{self.name}' was trained for full strength alone: leave --strength out, "
                "or train it again with model.adjustable=true"
            )
        return replace(
            self,
            config=self.config | {"adjustable": False},
            weights=at_strength(self.weights, strength),
        )

    def network(self) -> ImageTransformer:
        """The network in evaluation mode.

        Raises:
            UserError: if PyTorch is missing.
        """
        need("train", "networks as PyTorch modules", "torch")
        import torch

        from fast_style.networks.transformer import ImageTransformer

        with torch.device("meta"):
            network = ImageTransformer(**self.config)
        weights = {name: torch.from_numpy(array) for name, array in self.weights.items()}
        network.load_state_dict(weights, assign=True)
        return network.eval()


# --- writing ---


def save_style(style: TrainedStyle, path: Path) -> None:
    """Write a style to a file, its network in half precision.

    Half precision halves the file and moves no pixel by a visible amount: weights are of the order
    of 0.01 to 1, far from its limits.

    Args:
        style: the network and its name, recipe and losses.
        path: the file, which is replaced in one go. Missing folders are made.

    Raises:
        UserError: if a weight is not a finite number in half precision, or the file cannot be
            written. A file that was there stays as it was.

    >>> from tempfile import mkdtemp
    >>> from fast_style.networks.transformer import ImageTransformer
    >>> path = Path(mkdtemp()) / "mosaic.safetensors"
    >>> save_style(TrainedStyle(ImageTransformer((4, 8, 8), 1), "mosaic"), path)
    >>> load_style(path).network.config["widths"]
    [4, 8, 8]
    """
    with np.errstate(over="ignore"):  # reported below
        tensors = {
            # safetensors writes memory as it lies: in C order, whatever the tensor's layout is.
            name: tensor.detach().cpu().numpy().astype(np.float16, order="C")
            for name, tensor in style.network.state_dict().items()
        }
    broken = _first_not_finite(tensors)
    if broken:
        raise UserError(
            f"training diverged: '{broken}' has values that are not finite in half precision, and "
            f"{path} is not written; train again with a lower optimizer.lr"
        )
    metadata = {
        "format": FORMAT,
        "name": style.name,
        "network": json.dumps(style.network.config),
        "recipe": json.dumps(style.recipe),
        "losses": json.dumps(style.losses),
    }
    replace_file(path, _with_checksum(save(tensors, metadata)))


def _first_not_finite(weights: Mapping[str, NDArray[Any]]) -> str | None:
    return next((name for name, array in weights.items() if not np.isfinite(array).all()), None)


def _with_checksum(file: bytes) -> bytes:
    """The file with its checksum and a sorted header.

    safetensors writes metadata in random order, and equal runs must give equal files.
    """
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    digest = hashlib.sha256(_header(header) + file[end:])
    header["__metadata__"][CHECKSUM] = digest.hexdigest()
    return _header(header) + file[end:]


def _header(content: dict[str, Any]) -> bytes:
    header = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


# --- finding ---


def find_style(style: str | Path) -> Path:
    """The file of a style.

    Args:
        style: name of a shipped style, as ``wave`` or ``small/wave``, also as `style_name` writes
            it, a path, or an address on a hub, which is fetched.

    Raises:
        UserError: if there is no such style, or it cannot be fetched.
    """
    if is_on_hub(style):
        return fetch_style(str(style))
    path = Path(os.path.expanduser(style))
    shipped = CHECKPOINTS / f"{re.sub('^small-', 'small/', str(style))}.safetensors"
    if path.is_file():
        return path
    if shipped.is_file():
        return shipped
    if re.match(r"(https?|ftp|s3|gs):/", str(style), re.IGNORECASE):
        raise UserError(
            f"style '{style}' is an address, not a file: download it first, and name the file"
        )
    names = ", ".join([*shipped_styles(), *small_styles()]) or "none yet"
    raise UserError(
        f"style '{style}' is neither a file nor a shipped style: give a .safetensors that training "
        f"wrote, or one of: {names}"
    )


def style_name(file: Path) -> str:
    """The name of a style by its file, as it is shown and as it becomes part of other files' names.

    It is the file's own name. That of a shipped small network begins with its folder's, because a
    wide network has the same.

    >>> style_name(find_style("small/wave")), style_name(Path("runs/mine.safetensors"))
    ('small-wave', 'mine')
    """
    return f"small-{file.stem}" if _is_small(file) else file.stem


def _is_small(file: Path) -> bool:
    """Whether a file is one of `small_styles`."""
    # What stands for a blend is in that folder, too, and has a name already.
    is_style = file.suffix == ".safetensors"
    return is_style and file.parent.resolve() == (CHECKPOINTS / "small").resolve()


def shipped_styles() -> list[str]:
    """Names of the styles that come with the package, sorted; without the small ones."""
    return sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))


def small_styles() -> list[str]:
    """Names of the shipped networks with half the channels, as ``small/wave``, sorted."""
    return sorted(f"small/{path.stem}" for path in CHECKPOINTS.glob("small/*.safetensors"))


# --- reading ---


def load_style(style: str | Path) -> TrainedStyle:
    """Read a style with its network. Nothing in the file is executed.

    Args:
        style: as for `find_style`.

    Raises:
        UserError: as `read_style`, or if PyTorch is missing.

    >>> style = load_style("starry-night")
    >>> style.network.config
    {'widths': [32, 64, 128], 'residual_blocks': 5, 'adjustable': True}
    """
    found = read_style(style)
    return TrainedStyle(found.network(), found.name, found.recipe, found.losses)


def read_style(style: str | Path) -> StyleFile:
    """Read a style without PyTorch. Nothing in the file is executed.

    Args:
        style: as for `find_style`.

    Raises:
        UserError: if the file is missing or not a checkpoint of this program, if its tensors are
            not those of the network that it names, or if it was damaged since it was written.

    >>> read_style("starry-night").weights["to_rgb.weight"].shape
    (3, 32, 9, 9)
    """
    path = find_style(style)
    try:
        found = _read(path)
        with path.open("rb") as content:
            if not _is_intact(content):
                raise UserError(f"{path} was damaged after it was written: copy it again")
    except (SafetensorError, OSError) as error:
        if is_picture(path):
            raise UserError(
                f"{path} is a picture, and --style takes a trained network: train one first with "
                f"`fast-style train style={path} data.dir=PHOTOS`, or go without by "
                f"`fast-style optimize PHOTO {path}`"
            ) from error
        raise UserError(
            f"{path} is not a safetensors file ({error}): give the .safetensors that training "
            "wrote (a .ckpt only resumes training)"
        ) from error
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} has damaged metadata ({error}): train it again") from error
    return found


def _read(path: Path) -> StyleFile:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise UserError(
                f"{path} is not a fast_style checkpoint of format {FORMAT}: give a .safetensors "
                "that training wrote"
            )
        config = _network_config(json.loads(metadata["network"]), path)
        weights = _read_weights(file, plan_network(**config).tensor_shapes(), path)
        recipe, losses = (json.loads(metadata[key]) for key in ("recipe", "losses"))
    if not isinstance(recipe, dict) or not isinstance(losses, dict):
        raise ValueError("recipe and losses must be tables")
    # In the file, a small network has the name of the wide one.
    name = style_name(path) if _is_small(path) else metadata.get("name", path.stem)
    return StyleFile(config, weights, name, recipe, losses)


def _network_config(given: Any, path: Path) -> dict[str, Any]:
    """The arguments of the ``ImageTransformer``, within limits."""
    try:
        widths = [int(width) for width in given["widths"]]
        blocks = int(given["residual_blocks"])
        config: dict[str, Any] = {
            "widths": widths,
            "residual_blocks": blocks,
            "adjustable": bool(given.get("adjustable", False)),  # the first files lack it
        }
        channels = [*widths]
        if given.get("bottleneck") is not None:  # most files lack it
            config["bottleneck"] = int(given["bottleneck"])
            channels.append(config["bottleneck"])
        if given.get("bare"):
            config["bare"] = True
        if "upsampling" in given:
            config["upsampling"] = UPSAMPLINGS[UPSAMPLINGS.index(given["upsampling"])]
        if len(widths) != 3 or not 0 <= blocks <= MAX_BLOCKS:
            raise ValueError(given)
        if not all(0 < number <= MAX_CHANNELS for number in channels):
            raise ValueError(given)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} names an impossible network ({str(given)[:100]}): train it again"
        ) from error
    return config


def _read_weights(
    file: Any, shapes: Mapping[str, tuple[int, ...]], path: Path
) -> dict[str, NDArray[np.float32]]:
    """All tensors in float32. Shapes are compared before anything of that size is read."""
    names = set(file.keys())
    for name, shape in shapes.items():
        tensor = file.get_slice(name) if name in names else None
        if tensor is None or tuple(tensor.get_shape()) != shape:
            raise UserError(
                f"{path} does not hold the network that it names: tensor '{name}' is "
                f"{tuple(tensor.get_shape()) if tensor else 'missing'} where {shape} is "
                "needed; train it again"
            )
        if tensor.get_dtype() not in DTYPES:
            raise UserError(
                f"{path} has tensor '{name}' in {tensor.get_dtype()} where F16 is needed: "
                "train it again"
            )
    weights = {name: file.get_tensor(name).astype(np.float32) for name in shapes}
    broken = _first_not_finite(weights)
    if broken:
        raise UserError(f"{path} has values in '{broken}' that are not finite: train it again")
    return weights


def _is_intact(file: BinaryIO) -> bool:
    """Whether a file matches its checksum, or has none."""
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    expected = header["__metadata__"].pop(CHECKSUM, None)
    if expected is None:
        return True
    digest = hashlib.sha256(_header(header))
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest() == expected
