"""Trained networks in files: one ``.safetensors`` that works alone, and nothing is unpickled."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fast_style.errors import UserError
from fast_style.networks.transformer import ImageTransformer
from fast_style.resources import CHECKPOINTS

FORMAT = "fast_style/1"


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


def save_style(style: TrainedStyle, path: Path) -> None:
    """Write a style, its network in half precision, beside ``path`` and then rename it.

    Half precision halves the file and moves no pixel by a visible amount: weights are of the order
    of 0.01 to 1, far from its limits.
    """
    tensors = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in style.network.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "name": style.name,
        "network": json.dumps(style.network.config),
        "recipe": json.dumps(style.recipe),
        "losses": json.dumps(style.losses),
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(_sorted_header(save(tensors, metadata)))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): choose another place"
        ) from error


def _sorted_header(file: bytes) -> bytes:
    """safetensors writes metadata in an order of chance; in order, equal runs give equal files."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[end:]


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
    names = ", ".join(shipped_styles()) or "none yet"
    raise UserError(
        f"style '{style}' is neither a file nor a shipped style: give a .safetensors that training "
        f"wrote, or one of: {names}"
    )


def shipped_styles() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))


def load_style(style: str | Path) -> TrainedStyle:
    """Read a style by name or path. Nothing in the file is executed.

    Raises:
        UserError: if it is missing, no safetensors file, not one of ours, or if its tensors are not
            those of the network that it says it holds.
    """
    path = find_style(style)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(
                    f"{path} is no fast_style checkpoint of format {FORMAT}: give a .safetensors "
                    "that training wrote"
                )
            network = _build(json.loads(metadata["network"]), path)
            expected = network.state_dict()
            found = set(file.keys())
            for name, tensor in expected.items():
                shape = tuple(file.get_slice(name).get_shape()) if name in found else None
                if shape != tuple(tensor.shape):
                    raise UserError(
                        f"{path} does not hold the network that it names: tensor '{name}' is "
                        f"{shape or 'missing'} where {tuple(tensor.shape)} is needed; train it anew"
                    )
            weights = {name: file.get_tensor(name).float() for name in expected}
            details = [json.loads(metadata[key]) for key in ("recipe", "losses")]
            if not all(isinstance(detail, dict) for detail in details):
                raise ValueError("recipe and losses must be tables")
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no safetensors file ({error}): give the .safetensors that training wrote "
            "(a .ckpt only resumes training)"
        ) from error
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} has damaged metadata ({error}): train it anew") from error
    network.load_state_dict(weights, assign=True)
    return TrainedStyle(network.eval(), metadata.get("name", path.stem), *details)


def _build(config: Any, path: Path) -> ImageTransformer:
    """A network without memory yet, so that a file cannot ask for more than it holds."""
    try:
        widths = [int(width) for width in config["widths"]]
        blocks = int(config["residual_blocks"])
        if len(widths) != 3 or not all(0 < n <= 4096 for n in widths) or not 0 <= blocks <= 256:
            raise ValueError(config)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} names an impossible network ({str(config)[:100]}): train it anew"
        ) from error
    with torch.device("meta"):
        return ImageTransformer(widths, blocks, bool(config.get("adjustable", False)))
