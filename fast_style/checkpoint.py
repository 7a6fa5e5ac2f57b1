"""Trained networks in files: one ``.safetensors`` that works alone, and nothing is unpickled.

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
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fast_style.bundled import CHECKPOINTS
from fast_style.errors import UserError
from fast_style.files import replace_file
from fast_style.images import is_picture
from fast_style.networks import at_strength

if TYPE_CHECKING:
    from fast_style.networks.transformer import ImageTransformer

FORMAT = "fast_style/1"
CHECKSUM = "sha256"  # of the file without this key; files of before have none


@dataclass
class TrainedStyle:
    """A network and what is known of it.

    Args:
        network: in float32, in evaluation mode when loaded.
        name: the style's.
        recipe: the whole configuration it was trained with.
        losses: the last measured, by name, with ``step``.
    """

    network: ImageTransformer
    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)


@dataclass
class StyleFile:
    """What a style's file holds.

    Args:
        config: the arguments of the ``ImageTransformer``.
        weights: its state dict, in float32.
        name, recipe, losses: as in `TrainedStyle`.
    """

    config: dict[str, Any]
    weights: dict[str, NDArray[np.float32]]
    name: str
    recipe: dict[str, Any]
    losses: dict[str, float]

    def at_strength(self, strength: float) -> StyleFile:
        """With the weights of this strength of the style in [0, 1], for a network that is not
        adjustable any more, see `fast_style.networks.at_strength`.

        Raises:
            UserError: if the network knows its full strength alone.
        """
        if strength != 1 and not self.config["adjustable"]:
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
        """In evaluation mode."""
        import torch

        from fast_style.networks.transformer import ImageTransformer

        with torch.device("meta"):
            network = ImageTransformer(**self.config)
        weights = {name: torch.from_numpy(array) for name, array in self.weights.items()}
        network.load_state_dict(weights, assign=True)
        return network.eval()


def save_style(style: TrainedStyle, path: Path) -> None:
    """Write a style, its network in half precision, beside ``path`` and then rename it.

    Half precision halves the file and moves no pixel by a visible amount: weights are of the order
    of 0.01 to 1, far from its limits.

    Raises:
        UserError: if the network has weights that are no numbers in half precision, or the file
            cannot be written; then nothing is.
    """
    with np.errstate(over="ignore"):  # told below
        tensors = {
            # safetensors writes memory as it lies: in C order, whatever the tensor's layout is.
            name: tensor.detach().cpu().numpy().astype(np.float16, order="C")
            for name, tensor in style.network.state_dict().items()
        }
    broken = _not_finite(tensors)
    if broken:
        raise UserError(
            f"training diverged: '{broken}' has values that are no numbers in half precision, and "
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


def _not_finite(weights: Mapping[str, NDArray[Any]]) -> str | None:
    """The name of the first that holds something else than numbers."""
    return next((name for name, array in weights.items() if not np.isfinite(array).all()), None)


def _with_checksum(file: bytes) -> bytes:
    """With a header in order: safetensors writes metadata in an order of chance, and equal runs
    shall give equal files."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    digest = hashlib.sha256(_header(header) + file[end:])
    header["__metadata__"][CHECKSUM] = digest.hexdigest()
    return _header(header) + file[end:]


def _header(content: dict[str, Any]) -> bytes:
    header = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def _is_intact(file: BinaryIO) -> bool:
    """Whether a file has the checksum that it was written with, or none."""
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    expected = header["__metadata__"].pop(CHECKSUM, None)
    if expected is None:
        return True
    digest = hashlib.sha256(_header(header))
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest() == expected


def find_style(style: str | Path) -> Path:
    """The file of a style given by name (of a shipped one) or by path.

    Raises:
        UserError: if there is none.
    """
    path = Path(os.path.expanduser(style))
    shipped = CHECKPOINTS / f"{style}.safetensors"
    if path.is_file():
        return path
    if shipped.is_file():
        return shipped
    if re.match(r"(https?|ftp|s3|gs):/", str(style), re.IGNORECASE):
        raise UserError(
            f"style '{style}' is an address, not a file: download it first, and name the file"
        )
    names = ", ".join(shipped_styles()) or "none yet"
    raise UserError(
        f"style '{style}' is neither a file nor a shipped style: give a .safetensors that training "
        f"wrote, or one of: {names}"
    )


def shipped_styles() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))


def load_style(style: str | Path) -> TrainedStyle:
    """Read a style by name or path, with its network. Nothing in the file is executed.

    Raises:
        UserError: as `read_style`.
    """
    found = read_style(style)
    return TrainedStyle(found.network(), found.name, found.recipe, found.losses)


def read_style(style: str | Path) -> StyleFile:
    """Read a style by name or path, without PyTorch. Nothing in the file is executed.

    Raises:
        UserError: if it is missing, no safetensors file, not one of ours, if its tensors are not
            those of the network that it says it holds, or if it was changed since it was written.
    """
    path = find_style(style)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(
                    f"{path} is no fast_style checkpoint of format {FORMAT}: give a .safetensors "
                    "that training wrote"
                )
            config = _network_config(json.loads(metadata["network"]), path)
            expected = _tensor_shapes(**config)
            found = set(file.keys())
            for name, shape in expected.items():  # before anything of that size is read
                tensor = file.get_slice(name) if name in found else None
                if tensor is None or tuple(tensor.get_shape()) != shape:
                    raise UserError(
                        f"{path} does not hold the network that it names: tensor '{name}' is "
                        f"{tuple(tensor.get_shape()) if tensor else 'missing'} where {shape} is "
                        "needed; train it anew"
                    )
                if tensor.get_dtype() not in ("F16", "F32", "F64"):
                    raise UserError(
                        f"{path} has tensor '{name}' in {tensor.get_dtype()} where F16 is needed: "
                        "train it anew"
                    )
            weights = {name: file.get_tensor(name).astype(np.float32) for name in expected}
            broken = _not_finite(weights)
            if broken:
                raise UserError(
                    f"{path} has values in '{broken}' that are no numbers: train it anew"
                )
            recipe, losses = (json.loads(metadata[key]) for key in ("recipe", "losses"))
            if not isinstance(recipe, dict) or not isinstance(losses, dict):
                raise ValueError("recipe and losses must be tables")
        with path.open("rb") as content:
            if not _is_intact(content):
                raise UserError(
                    f"{path} is not as it was written, a part of it is damaged: copy it again"
                )
    except (SafetensorError, OSError) as error:
        if is_picture(path):
            raise UserError(
                f"{path} is a picture, and --style takes a trained network: train one first with "
                f"`fast-style train style={path} data.dir=PHOTOS`, or go without by "
                f"`fast-style optimize PHOTO {path}`"
            ) from error
        raise UserError(
            f"{path} is no safetensors file ({error}): give the .safetensors that training wrote "
            "(a .ckpt only resumes training)"
        ) from error
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} has damaged metadata ({error}): train it anew") from error
    return StyleFile(config, weights, metadata.get("name", path.stem), recipe, losses)


def _network_config(config: Any, path: Path) -> dict[str, Any]:
    try:
        widths = [int(width) for width in config["widths"]]
        blocks = int(config["residual_blocks"])
        if len(widths) != 3 or not all(0 < n <= 4096 for n in widths) or not 0 <= blocks <= 256:
            raise ValueError(config)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} names an impossible network ({str(config)[:100]}): train it anew"
        ) from error
    adjustable = bool(config.get("adjustable", False))  # networks were not, at first
    return {"widths": widths, "residual_blocks": blocks, "adjustable": adjustable}


def _tensor_shapes(
    widths: list[int], residual_blocks: int, adjustable: bool
) -> dict[str, tuple[int, ...]]:
    """The state dict of an ``ImageTransformer`` by name and shape."""
    full, half, quarter = widths
    layers = [("encoder.0.0", "encoder.0.1", 3, full, 9)]
    layers += [("encoder.1.0", "encoder.1.1", full, half, 3)]
    layers += [("encoder.2.0", "encoder.2.1", half, quarter, 3)]
    for number in range(residual_blocks):
        body = f"residuals.{number}.body"
        layers += [(f"{body}.0.0", f"{body}.0.1", quarter, quarter, 3)]
        layers += [(f"{body}.1", f"{body}.2", quarter, quarter, 3)]
    layers += [("decoder.0.0", "decoder.0.1", quarter, half, 3)]
    layers += [("decoder.1.0", "decoder.1.1", half, full, 3)]
    shapes: dict[str, tuple[int, ...]] = {}
    for convolution, norm, inputs, outputs, size in layers:
        shapes[f"{convolution}.weight"] = (outputs, inputs, size, size)
        shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (outputs,)
        if adjustable:
            shapes[f"{norm}.weight_slope"] = shapes[f"{norm}.bias_slope"] = (outputs,)
    return shapes | {"to_rgb.weight": (3, full, 9, 9), "to_rgb.bias": (3,)}
