"""How fast and how lean is a training step?"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import click

from benchmarks.meters import (
    WARM_UP,
    WARM_UP_ON_GPU,
    describe_machine,
    peak,
    reset_peak,
    seconds_of,
    start_torch,
    warm_up_steps,
)
from benchmarks.options import device_option, rounds_option
from benchmarks.ours import (
    OURS,
    OURS_FP32,
    OurTraining,
    training_recipe,
    write_random_vgg19,
)
from benchmarks.plain import PLAIN, plain_training
from benchmarks.processes import run, take_turns
from benchmarks.tables import median_seconds, memory_cells, print_table, timing_cells

OURS_EAGERLY = "ours, eagerly"
OURS_LOADING, PLAIN_LOADING = "ours, from files", "plain, from files"
COCO = 118_287  # photos in COCO's train2017


@dataclass(frozen=True)
class StepCost:
    """A training step.

    Args:
        seconds: of one step.
        peak: bytes of memory.
        precision: as Lightning names it.
        first: seconds of all steps before the timed ones.
        operations: additions and multiplications of a step, by torch's count; None if not counted.
    """

    seconds: float
    peak: int
    precision: str
    first: float = 0.0
    operations: float | None = None


@click.command()
@click.option("--size", type=click.IntRange(32), help="px a side: 128 on a CPU, 256 on a GPU.")
@click.option("--batch", type=click.IntRange(1), help="4 on a CPU, 16 on a GPU.")
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Timed steps in each process, after the warm-up: 6 on a CPU, 60 on a GPU.",
)
@rounds_option
@device_option
@click.option(
    "--loss",
    type=click.Choice(["vgg16", "vgg19"]),
    default="vgg16",
    show_default=True,
    help="Our loss, from conf/loss. vgg19 has random weights, which take the same time. The plain "
    "contender always measures VGG16 up to relu4_3.",
)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Also measure whole training loops on these photos, including reading them.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Length of those loops; by default as many steps as --steps.",
)
def train(
    size: int | None,
    batch: int | None,
    steps: int | None,
    rounds: int,
    device: str,
    loss: str,
    photos: str | None,
    minutes: float | None,
) -> None:
    """Measure one training step: forward, loss, backward, optimiser.

    Ours is a training step without Lightning around it. On a CPU it is the step of
    experiment=quickstart at full strength. On a GPU it is the step of experiment=coco, alternating
    full and any strength, with the stability loss, as CUDA graphs and eagerly. A process enqueues
    all timed steps on the GPU before it waits for them.

    Photos are random and already in memory, so reading is measured only by the loops of --photos.
    There, ours is `fast-style train`. The plain loop reads like pytorch/examples: in the training
    process, with torchvision's ImageFolder, Resize, CenterCrop and ToTensor.

    The matrix rate is what torch reaches here for products of 4096 x 4096 in the precision of a
    contender. Its share is the additions and multiplications of a step, by torch's own count, over
    the time of the whole step.
    """
    on_gpu = device == "cuda"
    size, batch = size or (256 if on_gpu else 128), batch or (16 if on_gpu else 4)
    task: dict[str, Any] = {"size": size, "batch": batch, "steps": steps or (60 if on_gpu else 6)}
    task |= {"device": device, "loss": loss}
    names = (OURS, OURS_EAGERLY, OURS_FP32, PLAIN) if on_gpu else (OURS, OURS_FP32, PLAIN)
    contenders: dict[str, Callable[[], StepCost]] = {
        name: partial(run, measure_step, contender=name, **task) for name in names
    }
    if photos:
        loop = {**task, "photos": photos, "minutes": minutes}
        contenders[OURS_LOADING] = partial(run, measure_our_loop, **loop)
        contenders[PLAIN_LOADING] = partial(run, measure_plain_loop, **loop)
    measured = take_turns(contenders, rounds)
    rates = {
        precision: run(measure_matrix_rate, precision=precision, device=device)
        for precision in {results[0].precision for results in measured.values()}
    }
    click.echo(f"{run(describe_machine, device=device)}; rounds: {rounds}")
    note = " with random weights, for timing only" if loss == "vgg19" else ""
    click.echo(f"one step on {batch} photos of {size} x {size} px; ours with {loss}{note}")
    print_table(
        [
            {
                "": name,
                "precision": results[0].precision,
                **timing_cells("s/step", results, measured[PLAIN]),
                "images/s": f"{batch / median_seconds(results):.1f}",
                **memory_cells(results, measured[PLAIN]),
                **_share_cells(results, rates[results[0].precision]),
            }
            for name, results in measured.items()
        ]
    )
    if photos:
        _print_loops(measured, batch)


def _share_cells(results: Sequence[StepCost], rate: float) -> dict[str, str]:
    """Operations of a step, and their rate as a share of the matrix rate; empty for loops."""
    operations = results[0].operations
    if operations is None:
        return {"GFLOP": "", "of matrix rate": ""}
    return {
        "GFLOP": f"{operations / 1e9:.0f}",
        "of matrix rate": f"{operations / median_seconds(results) / rate:.2f}",
    }


def _print_loops(measured: dict[str, list[StepCost]], batch: int) -> None:
    for name in (OURS_LOADING, PLAIN_LOADING):
        hours = 2 * COCO * median_seconds(measured[name]) / batch / 3600
        click.echo(f"{name}: at this rate two epochs of COCO's train2017 take {hours:.2f} h")
    faster = median_seconds(measured[PLAIN_LOADING]) / median_seconds(measured[OURS_LOADING])
    click.echo(f"{OURS_LOADING}: {faster:.1f} times as many images/s as {PLAIN_LOADING}")


# --- workers ---


def measure_step(
    contender: str, size: int, batch: int, steps: int, device: str, loss: str
) -> StepCost:
    """A worker: a step of `PLAIN`, `OURS`, `OURS_FP32` or `OURS_EAGERLY`."""
    import torch

    from fast_style.devices import best_precision

    place = start_torch(device)
    photos = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=place)
    if contender == PLAIN:
        step = plain_training(repeat(photos.float()), place)
        return time_steps(step, steps, device, "32-true")
    precision = "32-true" if contender == OURS_FP32 else best_precision(device)
    training = OurTraining.build(place, loss, precision)
    step = training.step_on(photos, recorded=contender != OURS_EAGERLY)
    return time_steps(step, steps, device, precision, training)


def time_steps(
    step: Callable[[], None],
    steps: int,
    device: str,
    precision: str,
    training: OurTraining | None = None,
) -> StepCost:
    """Warm up, time steps and count their operations.

    Args:
        training: ours; its steps are counted without CUDA graphs.
    """
    from torch.utils.flop_counter import FlopCounterMode

    reset_peak(device)
    first = sum(seconds_of(step, device) for _ in range(warm_up_steps(device)))
    if device == "cpu":
        seconds = statistics.median(seconds_of(step, device) for _ in range(steps))
    else:

        def take_all() -> None:
            for _ in range(steps):
                step()

        seconds = seconds_of(take_all, device) / steps
    memory = peak(device)
    if training is not None:
        training.module.recorder = None
    counted = 2  # one at full strength, one at any
    with FlopCounterMode(display=False) as counter:
        for _ in range(counted):
            step()
    return StepCost(seconds, memory, precision, first, counter.get_total_flops() / counted)


def measure_matrix_rate(precision: str, device: str) -> float:
    """A worker: operations per second of large matrix products."""
    import torch

    from fast_style.devices import tune_for
    from fast_style.networks.transformer import ImageTransformer

    place = start_torch(device)
    tune_for(place, ImageTransformer())  # products of float32 as in training
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    side = 4096
    a, b = (torch.rand(side, side, device=place, dtype=dtype) for _ in range(2))
    seconds = statistics.median(seconds_of(lambda: a @ b, device) for _ in range(10))
    return 2 * side**3 / seconds


def measure_our_loop(
    size: int,
    batch: int,
    steps: int,
    device: str,
    loss: str,
    photos: str,
    minutes: float | None,
) -> StepCost:
    """A worker: `fast-style train` between its own logs, including reading and logging."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from fast_style.config.compose import compose_config
    from fast_style.training.train import train

    start_torch(device)
    reset_peak(device)
    # On a GPU, every tenth step is logged.
    warm_up = WARM_UP if device == "cpu" else 2 * WARM_UP_ON_GPU
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*training_recipe(device, loss), "data=photos"]
        overrides += [f"data.dir='{photos}'", f"data.size={size}"]
        overrides += [f"data.batch_size={batch}", f"output_dir={folder}/run"]
        overrides += [f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}"]
        overrides += ["trainer.val_check_interval=1000000000"]
        if device == "cpu":  # a GPU has to wait for each log
            overrides += ["trainer.log_every_n_steps=1"]
        if minutes is None:
            overrides += [f"trainer.max_steps={warm_up + steps}"]
        else:
            overrides += [f"callbacks.schedule.minutes={minutes}", "trainer.max_steps=-1"]
        if loss == "vgg19":
            overrides += [f"loss.weights={folder}/vgg19.safetensors"]
            write_random_vgg19(Path(folder) / "vgg19.safetensors")
        cfg = compose_config(overrides)
        train(cfg)
        log = EventAccumulator(f"{folder}/run/tensorboard").Reload()
        logged = log.Scalars("train_speed/images_per_second")
    timed = [event for event in logged if event.step >= warm_up]
    seconds = (timed[-1].wall_time - timed[0].wall_time) / (timed[-1].step - timed[0].step)
    return StepCost(seconds, peak(device), cfg.trainer.precision)


def measure_plain_loop(
    size: int,
    batch: int,
    steps: int,
    device: str,
    loss: str,
    photos: str,
    minutes: float | None,
) -> StepCost:
    """A worker: the plain loop, which reads its photos itself, one after the other."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    place = start_torch(device)
    reset_peak(device)
    crops = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
    transform = transforms.Compose([*crops, transforms.Lambda(lambda x: x.mul(255))])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "photos").symlink_to(photos)
        loader = DataLoader(datasets.ImageFolder(folder, transform), batch)
        batches = (read.to(place) for _ in repeat(None) for read, _ in loader)
        step = plain_training(batches, place)
        for _ in range(warm_up_steps(device)):
            step()
        started, done = time.perf_counter(), 0
        limit = minutes and 60 * minutes
        while time.perf_counter() - started < limit if limit else done < steps:
            seconds_of(step, device)
            done += 1
        seconds = (time.perf_counter() - started) / done
    return StepCost(seconds, peak(device), "32-true")
