"""Make a narrow network that paints like a wide one, on a CPU and without a loss network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm, trange

from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, load_style, save_style
from fast_style.data.datasets import PhotoFolder, readable_squares
from fast_style.evaluation.objective import load_objective
from fast_style.networks.plan import EPSILON, MARGIN, Layer
from fast_style.networks.transformer import ImageTransformer
from fast_style.training.muon import Muon

FITTED = 16  # photos that kernels are fitted on
POSITIONS = 4000  # of each photo, at most
RIDGE = 1e-3  # as a share of the mean square of an input
BATCH = 2  # photos a step
WARMUP = 0.1  # share of the steps in which the learning rate rises


class Pair(NamedTuple):
    """A photo and what the wide network makes of it, uint8 ``(1, 3, size, size)``."""

    photo: Tensor
    painted: Tensor
    strength: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("style")
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--widths", type=int, nargs=3, default=(16, 32, 64), show_default=True)
@click.option("--size", type=click.IntRange(64), default=192, show_default=True)
@click.option("--pairs", "count", type=click.IntRange(FITTED), default=200, show_default=True)
@click.option("--steps", type=click.IntRange(0), default=300, show_default=True)
@click.option("--lr", type=float, default=0.02, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(
    style: str,
    photos: Path,
    out: Path,
    widths: tuple[int, int, int],
    size: int,
    count: int,
    steps: int,
    lr: float,
    seed: int,
) -> None:
    """Make a narrow network that paints like the one of STYLE, and write it to OUT.

    First the narrow network takes over some of the wide one's channels, and its kernels are fitted
    by least squares to what the wide one computes in them, layer by layer (He, Zhang and Sun
    2017). Then it learns the wide one's pictures, at full strength and at others (Hinton, Vinyals
    and Dean 2015). The loss network takes no part, so a step costs a fraction of a training step.
    It is used at the end, to measure the losses that the file holds.
    """
    torch.manual_seed(seed)
    wide = load_style(style)
    folder = PhotoFolder(photos, size, (0.5, 1.0), 64, seed)
    rng = np.random.default_rng(seed)
    pairs = painted_pairs(wide.network, folder, count, rng)
    narrow = narrowed(wide.network, widths, torch.cat([pair.photo for pair in pairs[:FITTED]]))
    learn(narrow, pairs, steps, lr, rng)
    recipe = wide.recipe | {
        "model": {**wide.recipe.get("model", {}), "widths": list(widths)},
        "init": wide.name,
        "shrinking": {"size": size, "pairs": count, "steps": steps, "lr": lr, "seed": seed},
    }
    losses = losses_of(narrow, style) | {"step": steps}
    save_style(TrainedStyle(narrow, wide.name, recipe, losses), out)


@torch.no_grad()
def painted_pairs(
    network: ImageTransformer, photos: PhotoFolder, count: int, rng: np.random.Generator
) -> list[Pair]:
    """Paint crops of photos, every second one at full strength."""
    pairs = []
    strengths = np.where(np.arange(count) % 2, 1.0, rng.random(count)).tolist()
    for number, strength in enumerate(tqdm(strengths, desc="painting", mininterval=5)):
        photo = photos[divmod(number, len(photos))][0].unsqueeze(0)
        painted = network(photo / 255, strength)
        pairs.append(Pair(photo, (painted * 255).round().byte(), strength))
    return pairs


@torch.no_grad()
def losses_of(network: ImageTransformer, style: str) -> dict[str, float]:
    """Measure what training would log: the wide network's own losses on the bundled photos."""
    loss = load_objective(style, device="cpu").loss
    squares = readable_squares(PHOTOS, 256, 8)
    photos = [squares[number].unsqueeze(0) / 255 for number in range(len(squares))]
    found = [loss(network(photo), photo) for photo in photos]
    return {
        f"val/{name}": round(float(torch.stack([each[name] for each in found]).mean()), 6)
        for name in ("total", "content", "style", "tv")
    }


# --- fitting ---


@torch.no_grad()
def narrowed(network: ImageTransformer, widths: Sequence[int], photos: Tensor) -> ImageTransformer:
    """Make a narrow network of the channels of a wide one.

    Args:
        network: the wide network.
        widths: channels at full, half and quarter resolution.
        photos: uint8 ``(N, 3, H, W)`` to fit kernels on.
    """
    config = network.config | {"widths": list(widths)}
    narrow_network = ImageTransformer(**config)
    plan, weights = network.plan, network.state_dict()
    found: dict[str, Tensor] = {}
    wide = narrow = F.pad(photos / 255 * 2 - 1, (MARGIN,) * 4, mode="reflect")
    wide_skip = narrow_skip = wide
    kept = stream = torch.arange(3)
    layers = zip(plan.normed, narrow_network.plan.normed, strict=True)
    for layer, own in layers:
        if layer.skip == "begins":
            wide_skip, narrow_skip, stream = wide, narrow, kept
        before = convolved(wide, weights[f"{layer.name}.weight"], layer)
        norm = [weights[f"{layer.norm}.{part}"] for part in ("weight", "bias")]
        wide = activated(before, norm, layer)
        if layer.skip == "ends":
            kept = stream
        else:
            kept = most_telling(wide, use_of(network, layer), own.outputs)
        kernel = fitted(narrow, before[:, kept], own)
        narrow = activated(convolved(narrow, kernel, own), [part[kept] for part in norm], own)
        if layer.skip == "ends":
            wide, narrow = wide + wide_skip, narrow + narrow_skip
        found[f"{layer.name}.weight"] = kernel
        for name in weights:
            if name.startswith(f"{layer.norm}."):
                found[name] = weights[name][kept]
    last, own = plan.to_rgb, narrow_network.plan.to_rgb
    goal = convolved(wide, weights["to_rgb.weight"], last)
    found["to_rgb.weight"] = kernel = fitted(narrow, goal, own)
    missing = (goal - convolved(narrow, kernel, own)).mean((0, 2, 3))
    found["to_rgb.bias"] = weights["to_rgb.bias"] + missing
    narrow_network.load_state_dict(found)
    return narrow_network


def use_of(network: ImageTransformer, layer: Layer) -> Tensor:
    """How much the layers that read a layer's output make of each of its channels."""
    plan, weights = network.plan, network.state_dict()
    layers = [*plan.normed, plan.to_rgb]
    following = layers[layers.index(layer) + 1]
    readers = [following]
    if following.skip == "begins":  # all residual blocks read the channels of the first
        readers = [*(block[0] for block in plan.residuals), plan.decoder[0]]
    squares = [weights[f"{reader.name}.weight"].square().sum((0, 2, 3)) for reader in readers]
    return torch.stack(squares).sum(0).sqrt()


def most_telling(output: Tensor, use: Tensor, count: int) -> Tensor:
    """Choose the channels that, one after the other, explain most of all channels.

    Args:
        output: ``(N, C, H, W)``.
        use: ``(C,)``, the weight of each channel.
        count: number of channels to choose.
    """
    flat = (output - output.mean((2, 3), keepdim=True)).transpose(0, 1).flatten(1)
    flat = flat * use[:, None]
    left = flat @ flat.T
    tiny = left.diagonal().max() * 1e-6
    chosen: list[int] = []
    for _ in range(count):
        variance = left.diagonal().clamp_min(tiny)
        gain = left.square().sum(0) / variance
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        left = left - torch.outer(left[:, best], left[best]) / variance[best]
    return torch.tensor(sorted(chosen))


def fitted(inputs: Tensor, goal: Tensor, layer: Layer) -> Tensor:
    """The kernel that comes nearest to some outputs, apart from their means, by least squares.

    Args:
        inputs: ``(N, I, H, W)``, of a narrow layer.
        goal: ``(N, O, h, w)``, of the wide layer before its norm, in the channels that are kept.
        layer: the narrow layer.
    """
    size = inputs.shape[1] * layer.kernel**2
    squares, products = torch.zeros(size, size), torch.zeros(size, goal.shape[1])
    for photo, wanted in zip(inputs, goal, strict=True):
        patches = F.unfold(widened(photo[None], layer), layer.kernel, stride=layer.stride)[0]
        some = torch.randperm(patches.shape[1])[:POSITIONS]
        patches, wanted = patches[:, some], wanted.flatten(1)[:, some]
        patches = patches - patches.mean(1, keepdim=True)
        wanted = wanted - wanted.mean(1, keepdim=True)
        squares += patches @ patches.T
        products += patches @ wanted.T
    squares += RIDGE * squares.diagonal().mean() * torch.eye(size)
    kernel = torch.linalg.solve(squares, products).T
    return kernel.reshape(-1, inputs.shape[1], layer.kernel, layer.kernel)


def convolved(inputs: Tensor, kernel: Tensor, layer: Layer) -> Tensor:
    return F.conv2d(widened(inputs, layer), kernel, stride=layer.stride)


def widened(inputs: Tensor, layer: Layer) -> Tensor:
    if layer.upsample:
        inputs = F.interpolate(inputs, scale_factor=2, mode="nearest")
    return F.pad(inputs, (layer.kernel // 2,) * 4, mode="reflect")


def activated(before: Tensor, norm: Sequence[Tensor], layer: Layer) -> Tensor:
    weight, bias = norm
    x = F.instance_norm(before, weight=weight, bias=bias, eps=EPSILON)
    return x.relu() if layer.activation == "relu" else x


# --- learning ---


def learn(
    network: ImageTransformer,
    pairs: Sequence[Pair],
    steps: int,
    lr: float,
    rng: np.random.Generator,
) -> None:
    """Train a network to paint the pictures of pairs."""
    optimizer = Muon(network.parameters(), lr=lr)
    highest = [group["lr"] for group in optimizer.param_groups]
    order = chain.from_iterable(rng.permutation(len(pairs)) for _ in repeat(None))
    bar = trange(steps, desc="learning", mininterval=5)
    errors: list[float] = []
    for step in bar:
        share = min((step + 1) / (WARMUP * steps), (steps - step) / ((1 - WARMUP) * steps))
        for group, rate in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * share
        optimizer.zero_grad()
        for _ in range(BATCH):
            pair = pairs[next(order)]
            goal = pair.painted / 255
            error = network(pair.photo / 255, pair.strength) - goal
            (distance(error) / BATCH).backward()
            errors.append(error.detach().square().mean().item())
        optimizer.step()
        bar.set_postfix_str(f"{255 * np.mean(errors[-50:]) ** 0.5:.1f} levels", refresh=False)


def distance(error: Tensor) -> Tensor:
    """Mean absolute error of pixels, and of their differences: edges count twice."""
    down, across = error.diff(dim=2), error.diff(dim=3)
    return error.abs().mean() + down.abs().mean() + across.abs().mean()


if __name__ == "__main__":
    main()
