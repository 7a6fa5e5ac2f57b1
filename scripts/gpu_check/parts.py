"""The parts of the check, and the goals of each."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.meters import describe_machine
from benchmarks.ours import OURS, OURS_FP32
from benchmarks.plain import PLAIN
from benchmarks.stylize import PictureCost, measure_stylizing, write_inputs
from benchmarks.train import (
    OURS_EAGERLY,
    StepCost,
    measure_our_loop,
    measure_plain_loop,
    measure_step,
)
from gpu_check.check import ROOT, Check, PartFailed
from gpu_check.measurements import (
    STYLE,
    TRAINED,
    measure_bands,
    measure_pictures,
    measure_repeats,
    measure_trained,
)

# The style to train, as scripts/train_shipped.sh trains it.
TRAINED_BY = ("style.size=640", "loss.style_weight=12", "loss.style_scales=[1]")
TWO_CORES_TOTAL = 3.23  # of a network that two cores trained for hours, on the bundled photos


def training_steps(check: Check) -> None:
    """Speed and memory of a training step, ours and the others'."""
    load = check.load
    batch = load.step["batch"]

    def measured(contender: str) -> StepCost:
        task: dict[str, Any] = {**load.step, "device": check.device, "loss": "vgg16"}
        return check.call(measure_step, contender=contender, **task)

    check.add("machine", check.call(describe_machine, device=check.device))
    ours = [measured(OURS) for _ in range(load.rounds)]
    rates = [batch / cost.seconds for cost in ours]
    check.add(
        f"training step, {batch} x {load.step['size']} px, one scale, strengths, stability",
        " and ".join(f"{rate:.0f} img/s" for rate in rates),
        ">= 1,000 img/s",
        max(rates) >= 1000,
    )
    check.add("peak memory of training steps", f"{ours[0].peak / 1e9:.1f} GB")
    check.add(
        "the first steps of two processes: kernels compiled, then kept; graphs recorded",
        " and then ".join(f"{cost.first:.1f} s" for cost in ours),
    )
    for contender in (OURS_EAGERLY, OURS_FP32, PLAIN):
        rate = batch / measured(contender).seconds
        check.add(f"the same step, {contender}", f"{rate:.0f} img/s")


def gpu_tests(check: Check) -> None:
    """The tests that need a GPU."""
    tests = ROOT / "tests"
    marked = [path for path in tests.glob("test_*.py") if "mark.gpu" in path.read_text()]
    runs = {"tests that need a GPU": ["-m", "gpu", *sorted(marked)]}
    if check.device == "cuda":  # Triton's interpreter takes minutes on a CPU
        runs["tests of the kernels"] = [*tests.glob("test_kernels.py")]
    processes = 8 if check.device == "cuda" else 0
    for what, chosen in runs.items():
        options = ["-q", "-n", processes, "-p", "no:cacheprovider"]
        said = check.run("-m", "pytest", *options, *chosen, openvino=True)
        summary = said.strip().splitlines()[-1].strip("= ")
        check.add(what, summary, "all pass", "passed" in summary)


def whole_loops(check: Check) -> None:
    """Speed of training from files."""
    load = check.load
    task: dict[str, Any] = {**load.step, "device": check.device, "loss": "vgg16"}
    task |= {"photos": str(check.photos), "minutes": load.loop}
    ours = check.call(measure_our_loop, **task).seconds
    plain = check.call(measure_plain_loop, **task).seconds
    batch = load.step["batch"]
    check.add(
        "the same from files, by `fast-style train`",
        f"{batch / ours:.0f} img/s",
        ">= 1,000 img/s",
        batch / ours >= 1000,
    )
    check.add(
        "pytorch/examples' loop from the same files",
        f"{batch / plain:.0f} img/s; ours {plain / ours:.1f} times that",
        "ours >= 4 times that",
        plain / ours >= 4,
    )


def short_training(check: Check) -> None:
    _train(check, "15 s")


def long_training(check: Check) -> None:
    _train(check, "a minute")


def _train(check: Check, name: str) -> None:
    """Train a style from files with the command line."""
    folder = check.work / name.replace(" ", "-")
    said = check.run(
        *["-m", "fast_style.cli", "train", *check.load.training, f"style={TRAINED}", *TRAINED_BY],
        *[f"data.dir='{check.photos}'", f"output_dir='{folder}'", "trainer.max_steps=-1"],
        f"callbacks.schedule.minutes={check.load.trainings[name]}",
    )
    if check.device == "cuda":
        graphs = "with CUDA graphs" in said
        check.add(
            f"a style in {name}: CUDA graphs", "used" if graphs else "not used", "used", graphs
        )
    found = check.call(
        measure_trained,
        openvino=check.device == "cpu",
        run=str(folder),
        photos=str(check.photos),
        device=check.device,
    )
    check.add(
        f"a style in {name}, experiment=gpu, from files",
        f"{found.steps} steps, {found.rate:.0f} img/s while training; "
        f"{found.seconds:.0f} s from the first log to the last",
    )
    check.add(
        f"{name}: the exported file's network against last.ckpt's",
        _decibels(found.exported),
        ">= 40 dB",
        found.exported >= 40,
        anywhere=True,
    )
    check.add(
        f"{name}: a photo stylized with that file against last.ckpt's network in float32",
        _decibels(found.stylized),
        ">= 40 dB",
        found.stylized >= 40,
        anywhere=True,
    )
    for kept in (f"{TRAINED}.safetensors", "sheet.jpg"):
        shutil.copy(folder / kept, check.out / f"{folder.name}-{kept}")


def evaluation(check: Check) -> None:
    """What those trainings reached, by `fast-style evaluate`."""
    trained = {
        name: check.work / name.replace(" ", "-") / f"{TRAINED}.safetensors"
        for name in check.load.trainings
    }
    present = {name: path for name, path in trained.items() if path.exists()}
    if not present:
        raise PartFailed("nothing was trained")
    size = check.load.evaluated_size
    check.run(
        *["-m", "fast_style.cli", "evaluate", *present.values(), TRAINED, "--evaluations", "0"],
        *["--size", size, "--count", check.load.evaluated_count, "--device", check.device],
        *["-o", check.work / "report"],
        openvino=check.device == "cpu",
    )
    report = json.loads((check.work / "report" / "report.json").read_text())
    *totals, shipped = (
        checkpoint["sizes"][f"{size}"]["losses"]["total"] for checkpoint in report["checkpoints"]
    )
    goals = {
        "15 s": (f"<= {TWO_CORES_TOTAL}, by hours on two cores", TWO_CORES_TOTAL),
        "a minute": (f"<= {shipped:.2f}, of the shipped file", shipped),
    }
    for name, total in zip(present, totals, strict=True):
        goal, most = goals[name]
        check.add(f"`evaluate` after {name}: total", f"{total:.2f}", goal, total <= most)


def stylizing(check: Check) -> None:
    """Speed and memory of stylizing a picture."""
    load, folder = check.load, str(check.work / "stylizing")
    openvino = check.device == "cpu"
    size = f"{load.width} x {load.height}"
    check.call(
        write_inputs,
        openvino=openvino,
        folder=folder,
        width=load.width,
        height=load.height,
        model="johnson",
    )

    def measured(contender: str) -> PictureCost:
        return check.call(
            measure_stylizing,
            openvino=openvino,
            contender=contender,
            folder=folder,
            repeats=load.repeats,
            device=check.device,
        )

    ours = measured(OURS)
    assert ours.file_seconds is not None
    milliseconds, rate = 1000 * ours.seconds, 1 / ours.file_seconds
    check.add(f"{size} on the device", f"{milliseconds:.2f} ms", "<= 4 ms", milliseconds <= 4)
    check.add("peak memory of that", f"{ours.peak / 1e9:.2f} GB")
    check.add("that from file to file", f"{rate:.0f} a second", ">= 150 a second", rate >= 150)
    plain = measured(PLAIN)
    times = plain.seconds / ours.seconds
    check.add(
        f"{size}, plain, float32",
        f"{1000 * plain.seconds:.2f} ms; ours {times:.1f} times as fast",
        "ours >= 3 times as fast",
        times >= 3,
    )


def pictures(check: Check) -> None:
    """Whether pictures are right, one after another and in batches."""
    load = check.load
    found = check.call(
        measure_pictures,
        openvino=check.device == "cpu",
        photos=str(check.photos),
        device=check.device,
        size=(load.width, load.height),
        sizes=load.sizes,
    )
    check.add(
        "a photo against float32",
        _decibels(found.float32),
        ">= 45 dB",
        found.float32 >= 45,
    )
    check.add(
        f"{len(load.sizes)} sizes in turn, three times, against a fresh Stylizer each",
        _decibels(found.in_turn),
        "equal, or >= 50 dB",
        found.in_turn >= 50,
        anywhere=True,
    )
    check.add(
        "tensors in a batch, three times, against one by one",
        _decibels(found.batch),
        "equal, or >= 50 dB",
        found.batch >= 50,
        anywhere=True,
    )


def bands(check: Check) -> None:
    """Whether pictures in bands are right, fast and lean."""
    load = check.load.bands
    found = check.call(
        measure_bands,
        openvino=check.device == "cpu",
        photos=str(check.photos),
        device=check.device,
        rows=load.rows,
        small=load.small,
        huge=load.huge,
    )
    check.add(
        f"{load.small} x {load.small} px in bands of {load.rows} rows against one pass",
        _decibels(found.psnr),
        ">= 45 dB",
        found.psnr >= 45,
    )
    check.add(
        f"{load.huge} x {load.huge} px in bands",
        f"{found.seconds:.1f} s",
        "<= 3 s",
        found.seconds <= 3,
    )
    gigabytes = found.peak / 1e9
    check.add("peak memory of that", f"{gigabytes:.1f} GB", "<= 5.9 GB", gigabytes <= 5.9)


def repeats(check: Check) -> None:
    """Whether trainings repeat, resume, and do the same with CUDA graphs."""
    found = check.call(
        measure_repeats,
        photos=str(check.photos),
        folder=str(check.work / "runs"),
        overrides=check.load.repeated,
    )
    check.add("20 steps twice: how far weights differ", _share(found.repeated))
    most = max(2 * found.repeated, 0.02)
    for what, share in (
        ("resumed at step 10 against never stopped", found.resumed),
        ("CUDA graphs against cuda_graphs=false", found.eager),
    ):
        check.add(
            f"20 steps, {what}",
            _share(share),
            f"equal, or <= {most:.1%} of what they moved",
            share <= most,
            anywhere=True,
        )


def without_openvino(check: Check) -> None:
    """Whether all works without OpenVINO, which machines with a GPU may lack."""
    modules = (
        *("cli", "demo", "evaluation.evaluate", "optimize.files"),
        *("stylizing.sheet", "stylizing.stylizer", "training.train"),
    )
    check.run("-c", "; ".join(f"import fast_style.{module}" for module in modules))
    done = "imported"
    if check.device == "cuda":
        photo, target = sorted(check.photos.rglob("*.jpg"))[0], check.work / "shell.jpg"
        command = ["-m", "fast_style.cli", "stylize", photo, "--style", STYLE, "-o", target]
        check.run(*command, "--device", "cuda")
        done = "imported and a photo stylized"
    check.add("without OpenVINO", done, "works", True, anywhere=True)


def _decibels(value: float) -> str:
    return "equal" if value == math.inf else f"{value:.1f} dB"


def _share(value: float) -> str:
    return "bit for bit" if value == 0 else f"{value:.2%} of what they moved"


@dataclass(frozen=True)
class Part:
    """A part of the check, and its time limit in seconds."""

    run: Callable[[Check], None]
    seconds: int


# The most important comes first.
PARTS = {
    "steps": Part(training_steps, 150),
    "tests": Part(gpu_tests, 100),
    "loops": Part(whole_loops, 90),
    "short": Part(short_training, 75),
    "stylizing": Part(stylizing, 60),
    "pictures": Part(pictures, 40),
    "bands": Part(bands, 45),
    "repeats": Part(repeats, 75),
    "long": Part(long_training, 110),
    "evaluation": Part(evaluation, 40),
    "openvino": Part(without_openvino, 30),
}
