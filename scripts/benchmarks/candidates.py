"""What does each trick of a training step gain?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from benchmarks.meters import describe_machine, start_torch
from benchmarks.options import device_option, rounds_option
from benchmarks.ours import OURS, OurTraining
from benchmarks.processes import run, take_turns
from benchmarks.tables import median_peak, median_seconds, print_table
from benchmarks.train import StepCost, time_steps

if TYPE_CHECKING:
    import torch


@click.command()
@click.option("--size", type=click.IntRange(32), default=128, show_default=True, help="px a side.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True)
@rounds_option
@device_option
def candidates(size: int, batch: int, steps: int, rounds: int, device: str) -> None:
    """Measure a training step as it is, and with one thing at a time done otherwise.

    The warm-up steps, in which something may compile, have a column of their own.
    """
    task = {"size": size, "batch": batch, "steps": steps, "device": device}
    measured = take_turns(
        {name: partial(run, measure_candidate, contender=name, **task) for name in PATCHES},
        rounds,
    )
    click.echo(f"{run(describe_machine, device=device)}; rounds: {rounds}")
    click.echo(f"one step on {batch} photos of {size} x {size} px, VGG16")
    costs = {
        name: [result for result in results if isinstance(result, StepCost)]
        for name, results in measured.items()
    }
    ours = median_seconds(costs[OURS])
    print_table(
        [
            {
                "": name,
                "s/step": f"{median_seconds(results):.3f}",
                "of ours": f"{median_seconds(results) / ours:.2f}",
                "peak GB": f"{median_peak(results) / 1e9:.2f}",
                "first two, s": f"{statistics.median(each.first for each in results):.1f}",
            }
            for name, results in costs.items()
            if results
        ]
    )
    for name, results in measured.items():
        if isinstance(results[0], Failure):
            click.echo(f"{name} left out, as it fails: {results[0].reason}")


@dataclass(frozen=True)
class Failure:
    """Why a candidate does not run here."""

    reason: str


def measure_candidate(
    contender: str, size: int, batch: int, steps: int, device: str
) -> StepCost | Failure:
    """A worker: a training step with one of `PATCHES`."""
    import torch

    from fast_style.devices import best_precision

    place = start_torch(device)
    patch = PATCHES[contender]
    photos = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=place)
    precision = patch.precision or best_precision(device)
    training = OurTraining.build(place, "vgg16", precision, tuned=patch.tuned)
    patch.apply(training)
    step = training.step_on(photos)
    try:
        return time_steps(step, steps, device, precision, training)
    except Exception as error:
        if not patch.may_fail:
            raise
        return Failure(f"{error}".partition("\n")[0])


# --- patches ---


def nothing(training: OurTraining) -> None:
    """The step as it is."""


def vgg_in_nchw(training: OurTraining) -> None:
    """Lay the weights of VGG out as NCHW."""
    vgg = training.module.loss.vgg
    for name, weight in list(vgg.named_buffers()):
        vgg.register_buffer(name, weight.contiguous(), persistent=False)


def network_in_channels_last(training: OurTraining) -> None:
    """Lay the network out as NHWC."""
    import torch

    training.module.network.to(memory_format=torch.channels_last)


def one_vgg_pass(training: OurTraining) -> None:
    """Run VGG once on output and photo together."""
    import torch

    loss = training.module.loss
    look, compare = loss.vgg.forward, loss.forward

    def forward(
        stylized: torch.Tensor, photos: torch.Tensor, strength: float | torch.Tensor = 1.0
    ) -> dict[str, torch.Tensor]:
        features = look(torch.cat([stylized, photos]))

        def half(pictures: torch.Tensor, layers: Any = None) -> dict[str, torch.Tensor]:
            if pictures is stylized:
                return {layer: each[: len(photos)] for layer, each in features.items()}
            if pictures is photos:
                return {layer: each[len(photos) :].detach() for layer, each in features.items()}
            return look(pictures, layers)

        loss.vgg.forward = half  # type: ignore[method-assign]
        try:
            return compare(stylized, photos, strength)
        finally:
            loss.vgg.forward = look  # type: ignore[method-assign]

    loss.forward = forward  # type: ignore[assignment,method-assign]


def gram_by_autograd(training: OurTraining) -> None:
    """Let autograd differentiate the Gram matrices."""
    from fast_style.losses.functional import FeatureProducts

    FeatureProducts.apply = lambda flat: flat.float() @ flat.float().mT


def margins_by_pytorch(training: OurTraining) -> None:
    """Pad with PyTorch's own functions and gradients."""
    import torch.nn.functional as F

    from fast_style.networks import operations, transformer, vgg

    def padded(
        x: torch.Tensor, margin: int, skipped: int = 1, channels: int | None = None
    ) -> torch.Tensor:
        layer = F.pad(x, (margin,) * 4, mode="reflect" if skipped else "replicate")
        if channels is None:
            return layer
        return F.pad(layer, (0, 0, 0, 0, 0, channels - x.shape[1]))

    operations.padded = transformer.padded = vgg.padded = padded


def adam(training: OurTraining, fused: bool) -> None:
    """Optimise with Adam."""
    import torch

    training.module.make_optimizer = partial(torch.optim.Adam, fused=fused)


def compiled(training: OurTraining) -> None:
    """Compile network and VGG."""
    training.module.network.compile()
    training.module.loss.vgg.compile()


@dataclass(frozen=True)
class Patch:
    """One thing that a training step does otherwise.

    Args:
        apply: changes the training before its first step.
        precision: as Lightning names it; None for the best of the device.
        tuned: whether process and network are set up for the device.
        may_fail: whether some releases of PyTorch cannot run it.
    """

    apply: Callable[[OurTraining], None] = nothing
    precision: str | None = None
    tuned: bool = True
    may_fail: bool = False


PATCHES = {
    OURS: Patch(),
    "float32": Patch(precision="32-true"),
    "VGG in NCHW": Patch(vgg_in_nchw),
    "network in channels last": Patch(network_in_channels_last),
    "one VGG pass for output and photo": Patch(one_vgg_pass),
    "Gram matrices by autograd": Patch(gram_by_autograd),
    "margins by PyTorch": Patch(margins_by_pytorch),
    "Adam, fused": Patch(partial(adam, fused=True)),
    "Adam, not fused": Patch(partial(adam, fused=False)),
    "memory as the C library has it": Patch(tuned=False),
    "torch.compile": Patch(compiled, may_fail=True),
}
