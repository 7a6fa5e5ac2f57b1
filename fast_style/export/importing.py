"""Networks of other programs as styles of ours.

They have Johnson's layers and differ in what lies around them: no margin, no grain, values from 0
to 255 or in the units of ImageNet, no sigmoid. `ImageTransformer` is ``bare`` for them. How a
program scales its values goes into the first and the last kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.errors import UserError
from fast_style.extras import need
from fast_style.networks import Plan, Upsampling, plan_network

if TYPE_CHECKING:
    from torch import Tensor

Values = Literal["255", "imagenet"]
VALUES: tuple[Values, ...] = get_args(Values)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

FIRST, LAST, LAST_BIAS = "encoder.0.0.weight", "to_rgb.weight", "to_rgb.bias"

HALF_LIMIT = 65504  # the largest number in half precision, in which styles are written


@dataclass(frozen=True)
class Layout:
    """How one program names its tensors.

    Names have ``{n}`` for a number that counts from 1, ``{n4}`` for one from 4 and ``{even}`` for
    one from 0 in steps of 2.

    Args:
        program: where it is from.
        encoder: names of a convolution and its norm.
        residual: the same, in which ``{block}`` counts blocks from 0 and ``{block1}`` from 1.
        decoder: the same.
        to_rgb: the last convolution.
        values: what the program gives its networks.
        upsampling: of the decoder.
        bgr: whether channels are blue, green, red.
    """

    program: str
    encoder: tuple[str, str]
    residual: tuple[str, str]
    decoder: tuple[str, str]
    to_rgb: str
    values: Values
    upsampling: Upsampling = "nearest"
    bgr: bool = False

    def modules(self, plan: Plan) -> dict[str, str]:
        """The program's name for each module of the plan."""
        names: dict[str, str] = {plan.to_rgb.name: self.to_rgb}
        parts = [
            *((layer, self.encoder, _numbers(i)) for i, layer in enumerate(plan.encoder)),
            *(
                (layer, self.residual, {**_numbers(i), "block": block, "block1": block + 1})
                for block, layers in enumerate(plan.residuals)
                for i, layer in enumerate(layers)
            ),
            *((layer, self.decoder, _numbers(i)) for i, layer in enumerate(plan.decoder)),
        ]
        for layer, (convolution, norm), numbers in parts:
            assert layer.norm is not None
            names[layer.name] = convolution.format(**numbers)
            names[layer.norm] = norm.format(**numbers)
        return names


def _numbers(i: int) -> dict[str, int]:
    return {"n": i + 1, "n4": i + 4, "even": 2 * i}


LAYOUTS = (
    Layout(
        "pytorch/examples",
        encoder=("conv{n}.conv2d", "in{n}"),
        residual=("res{block1}.conv{n}.conv2d", "res{block1}.in{n}"),
        decoder=("deconv{n}.conv2d", "in{n4}"),
        to_rgb="deconv3.conv2d",
        values="255",
    ),
    Layout(
        "gordicaleksa/pytorch-neural-style-transfer-johnson",
        encoder=("conv{n}.conv2d", "in{n}"),
        residual=("res{block1}.conv{n}.conv2d", "res{block1}.in{n}"),
        decoder=("up{n}.conv2d.conv2d", "in{n4}"),
        to_rgb="up3.conv2d",
        values="imagenet",
    ),
    Layout(
        "rrmina/fast-neural-style-pytorch",
        encoder=("ConvBlock.{even}.conv_layer", "ConvBlock.{even}.norm_layer"),
        residual=(
            "ResidualBlock.{block}.conv{n}.conv_layer",
            "ResidualBlock.{block}.conv{n}.norm_layer",
        ),
        decoder=("DeconvBlock.{even}.conv_transpose", "DeconvBlock.{even}.norm_layer"),
        to_rgb="DeconvBlock.4.conv_layer",
        values="255",
        upsampling="transposed",
        bgr=True,
    ),
)


def import_style(source: Path, target: Path, values: Values | None = None) -> str:
    """Write a network of another program as a style.

    Args:
        source: a state dict, as ``torch.save`` or safetensors writes it. Nothing but tensors is
            unpickled.
        target: the ``.safetensors`` to write.
        values: what the program gives its networks: levels from 0 to ``255``, or the units of
            ``imagenet``. By default what the known program gives.

    Returns:
        The program whose network it is.

    Raises:
        UserError: if the file cannot be read, is not such a network, or cannot be written.
    """
    need("train", "networks of other programs", "torch")
    import torch

    from fast_style.networks.transformer import ImageTransformer

    tensors = _tensors(source)
    layout = next((each for each in LAYOUTS if f"{each.to_rgb}.weight" in tensors), None)
    if layout is None:
        programs = ", ".join(each.program for each in LAYOUTS)
        raise UserError(
            f"{source} is not a network that can be imported (it begins with "
            f"{', '.join(sorted(tensors)[:3])}): give a state dict of {programs}"
        )
    config = _config(tensors, layout, source)
    weights = _weights(tensors, layout, plan_network(**config), source)
    _rescale(weights, layout, values or layout.values)
    if not all(weight.abs().max() <= HALF_LIMIT for weight in weights.values()):  # NaN fails, too
        raise UserError(f"{source} has weights that are not finite in half precision")
    with torch.device("meta"):
        network = ImageTransformer(**config)
    network.load_state_dict(weights, assign=True)
    recipe = {"imported": {"program": layout.program, "values": values or layout.values}}
    save_style(TrainedStyle(network.eval(), target.stem, recipe), target)
    return layout.program


def _tensors(source: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, without the names of wrappers around them."""
    import torch
    from safetensors.torch import load_file

    try:
        if source.suffix == ".safetensors":
            content: Any = load_file(source)
        else:
            content = torch.load(source, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # what is no pickle of tensors fails in many ways
        raise UserError(
            f"{source} is not a file of tensors alone: save the network's state dict with "
            "torch.save, and give that file"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # beside notes on the training
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in content.items()
    ):
        raise UserError(f"{source} is not a state dict: give one that names tensors")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _config(tensors: Mapping[str, Tensor], layout: Layout, source: Path) -> dict[str, Any]:
    """The arguments of the ``ImageTransformer``."""

    def outputs(name: str, **numbers: int) -> int:
        tensor = tensors.get(f"{name.format(**numbers)}.weight")
        if tensor is None or tensor.ndim != 4:
            raise UserError(f"{source} lacks '{name.format(**numbers)}' of a network of Johnson's")
        return len(tensor)

    convolution, _ = layout.residual
    blocks = 0
    while f"{convolution.format(block=blocks, block1=blocks + 1, n=1)}.weight" in tensors:
        blocks += 1
    config: dict[str, Any] = {
        "widths": [outputs(layout.encoder[0], **_numbers(i)) for i in range(3)],
        "residual_blocks": blocks,
        "bare": True,
    }
    if blocks and f"{convolution.format(block=0, block1=1, n=3)}.weight" in tensors:
        config["bottleneck"] = outputs(convolution, block=0, block1=1, n=1)
    if layout.upsampling != "nearest":
        config["upsampling"] = layout.upsampling
    return config


def _weights(
    tensors: Mapping[str, Tensor], layout: Layout, plan: Plan, source: Path
) -> dict[str, Tensor]:
    """The tensors of the plan, by our names."""
    modules = layout.modules(plan)
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, shape in plan.tensor_shapes().items():
        module, _, part = name.rpartition(".")
        theirs = f"{modules[module]}.{part}"
        tensor = tensors.get(theirs)
        if tensor is None or tuple(tensor.shape) != shape:
            raise UserError(
                f"{source} has '{theirs}' as {'nothing' if tensor is None else tuple(tensor.shape)}"
                f" where {shape} is needed: it is not a network of {layout.program}"
            )
        found[name] = tensor.detach().float()
        used.add(theirs)
    _check_rest(set(tensors) - used, modules.values(), source)
    return found


def _check_rest(names: set[str], modules: Iterable[str], source: Path) -> None:
    """Refuse tensors that the network would need. A norm takes the bias of the convolution before
    it away again. Old versions of PyTorch wrote running statistics that nothing read."""
    counted = [name for name in names if name.endswith(".num_batches_tracked")]
    if counted:
        raise UserError(
            f"{source} normalizes by statistics of its training ('{counted[0]}'), not by those of "
            "the picture: networks with batch norm cannot be imported"
        )
    harmless = {
        f"{module}.{part}" for module in modules for part in ("bias", "running_mean", "running_var")
    }
    if names - harmless:
        raise UserError(
            f"{source} has '{min(names - harmless)}', which networks that can be imported lack"
        )


def _rescale(weights: dict[str, Tensor], layout: Layout, values: Values) -> None:
    """Let the network take values from -1 to 1, as ours do, and give values from 0 to 1.

    What a program adds to the photo's values adds a constant to the first convolution's output,
    which the norm behind it takes away.
    """
    import torch

    mean, deviation = torch.zeros(3), torch.full((3,), 1 / 255)
    if values == "imagenet":
        mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_DEVIATION)
    first, last, bias = (weights[name] for name in (FIRST, LAST, LAST_BIAS))
    if layout.bgr:
        first, last, bias = first.flip(1), last.flip(0), bias.flip(0)
    weights[FIRST] = first / (2 * deviation)[:, None, None]
    weights[LAST] = last * deviation[:, None, None, None]
    weights[LAST_BIAS] = bias * deviation + mean
