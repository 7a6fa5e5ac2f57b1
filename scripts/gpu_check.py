"""Measures on a GPU what this project aims at, and says which goals are met. See gpu_check.sh.

Every measurement is a process of its own with a time limit, so that one that hangs or dies costs
the others nothing. This process imports no PyTorch.
"""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import benchmark
import click

ROOT = Path(__file__).parent.parent
SECONDS = 470  # of all parts together: with the start and the end of this, eight minutes
STYLE = "starry-night"  # shipped; what it is does not matter where it is used

# The style that is trained, as scripts/train_shipped.sh trains it.
TRAINED = "stained-glass"
TRAINED_BY = ("style.size=640", "loss.style_weight=12", "loss.style_scales=[1]")
TWO_CORES_TOTAL = 3.23  # of the network that two cores trained for hours, on the bundled photos


@dataclass(frozen=True)
class Load:
    """What a device is given to do."""

    step: dict[str, int]  # of the benchmark's training steps
    rounds: int  # of ours; the others have one
    loop: float | None  # minutes of a whole loop; None for as many steps as above
    trainings: dict[str, float]  # minutes
    training: tuple[str, ...]  # overrides for those
    evaluated: tuple[int, int]  # px and photos
    picture: dict[str, int]  # of the benchmark's stylizing
    sizes: tuple[tuple[int, int], ...]
    bands: tuple[
        int, int, int
    ]  # rows of a band, sides of a picture that one pass can do and of one
    # that it cannot
    repeated: tuple[str, ...]  # overrides for short runs that are compared
    links: int  # of the bundled photos, where no others are given


LOADS = {
    "cuda": Load(
        step={"size": 256, "batch": 16, "steps": 60},
        rounds=2,
        loop=0.25,
        trainings={"15 s": 0.25, "a minute": 1.0},
        training=("experiment=gpu",),
        evaluated=(256, 4),
        picture={"width": 1920, "height": 1080, "repeats": 20},
        sizes=((1280, 720), (1000, 667), (333, 500)),
        bands=(256, 2000, 10_000),
        repeated=("experiment=coco", "loss=vgg16"),
        links=400,
    ),
    "cpu": Load(
        step={"size": 32, "batch": 1, "steps": 1},
        rounds=1,
        loop=None,
        trainings={"15 s": 0.02, "a minute": 0.03},
        training=(
            *("experiment=gpu", "trainer=cpu", "data.size=32", "data.batch_size=1"),
            *("data.workers=0", "data.val_size=32", "data.val_count=1"),
            "trainer.log_every_n_steps=1",
        ),
        evaluated=(96, 1),
        picture={"width": 64, "height": 48, "repeats": 1},
        sizes=((40, 32), (33, 41)),
        bands=(16, 64, 80),
        repeated=(
            *("experiment=coco", "loss=vgg16", "trainer=cpu", "data.size=32", "data.batch_size=1"),
            *("data.workers=0", "data.val_size=32", "data.val_count=1", "style.size=64"),
        ),
        links=8,
    ),
}


class PartFailed(Exception):
    """Why a part has no result."""


@dataclass
class Check:
    """What all parts need, and what they found."""

    out: Path
    photos: Path
    device: str
    work: Path
    load: Load
    deadline: float
    rows: list[dict[str, str]] = field(default_factory=list)
    part_ends: float = math.inf

    def add(
        self,
        what: str,
        measured: str,
        goal: str = "",
        met: bool | None = None,
        anywhere: bool = False,
    ) -> None:
        """Add a row to the table.

        Args:
            met: whether the goal is; None where there is none.
            anywhere: whether the goal holds for a CPU and tiny settings, too.
        """
        verdict = "" if met is None else "met" if met else "NOT MET"
        if met is not None and self.device == "cpu" and not anywhere:
            verdict = "not measured"
        self.rows.append({"": what, "goal": goal, "measured": measured, "verdict": verdict})
        self.write()

    def write(self) -> None:
        lines = [
            f"| {row['']} | {row['goal']} | {row['measured']} | {row['verdict']} |"
            for row in self.rows
        ]
        head = ["| what | goal | measured | |", "| --- | --- | --- | --- |"]
        (self.out / "table.md").write_text("\n".join([*head, *lines]) + "\n")

    def run(self, *command: object, openvino: bool = False) -> str:
        """Run a program; what it says goes to the log.

        Args:
            openvino: whether it may use that.

        Returns:
            What it wrote to standard output.

        Raises:
            PartFailed: if it fails or takes longer than its part may.
        """
        left = min(self.part_ends, self.deadline) - time.monotonic()
        if left <= 0:
            raise PartFailed("no time was left")
        paths = [ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        if not openvino:
            paths.insert(0, self.work / "without")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "TRITON_CACHE_DIR": str(self.work / "triton"),
        }
        with (self.out / "log.txt").open("a+") as log:
            log.write(f"\n$ {' '.join(map(str, command))}\n")
            log.flush()
            before = log.tell()
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            try:
                said, _ = process.communicate(timeout=None if left == math.inf else left)
            except subprocess.TimeoutExpired as error:
                raise PartFailed(f"out of time after {left:.0f} s") from error
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            log.seek(before)
            complaints = log.read().split("\n")
            log.write(said)
        if process.returncode:
            words = [line.strip() for line in (*said.split("\n"), *complaints) if line.strip()]
            raise PartFailed(f"exit code {process.returncode}: {words[-1][-300:] if words else ''}")
        return said

    def worker(self, task: str, contender: str, **options: object) -> dict[str, Any]:
        """One of the benchmark's measurements."""
        given = {"task": task, "contender": contender, "device": self.device, **options}
        # On a CPU, OpenVINO stylizes.
        needed = self.device == "cpu" and task != "train"
        return _last_line(
            self.run(
                ROOT / "scripts" / "benchmark.py", "worker", json.dumps(given), openvino=needed
            )
        )

    def measure(self, measurement: str, **task: object) -> Any:
        """What one of the `MEASUREMENTS` found."""
        given = {"photos": str(self.photos), "device": self.device, **task}
        needed = self.device == "cpu" and measurement != "repeats"
        return _last_line(
            self.run(__file__, "--measure", measurement, json.dumps(given), openvino=needed)
        )


def _last_line(said: str) -> Any:
    return json.loads(said.splitlines()[-1])


# Parts


def training_steps(check: Check) -> None:
    load = check.load
    task = {**load.step, "loss": "vgg16", "photos": None, "minutes": None}
    batch = load.step["batch"]

    def rate(contender: str) -> tuple[float, dict[str, Any]]:
        result = check.worker("train", contender, **task)
        return batch / result["seconds"], result

    ours = [rate(benchmark.OURS) for _ in range(load.rounds)]
    check.add("machine", ours[0][1]["machine"])
    fastest = max(images for images, _ in ours)
    check.add(
        f"training step, {batch} x {load.step['size']} px, one scale, strengths, stability",
        " and ".join(f"{images:.0f} img/s" for images, _ in ours),
        ">= 1,000 img/s",
        fastest >= 1000,
    )
    check.add("peak memory of training steps", f"{ours[0][1]['peak'] / 1e9:.1f} GB")
    check.add(
        "the first steps of two processes: kernels compiled, then kept; graphs recorded",
        " and then ".join(f"{result['first']:.1f} s" for _, result in ours),
    )
    for contender in (benchmark.OURS_EAGERLY, benchmark.OURS_FP32, benchmark.PLAIN):
        images, _ = rate(contender)
        check.add(f"the same step, {contender}", f"{images:.0f} img/s")


def gpu_tests(check: Check) -> None:
    tests = ROOT / "tests"
    marked = [path for path in tests.glob("test_*.py") if "mark.gpu" in path.read_text()]
    runs = {"tests that need a GPU": ["-m", "gpu", *sorted(marked)]}
    if check.device == "cuda":  # where they take minutes by Triton's interpreter, CI runs them
        runs["tests of the kernels"] = [*tests.glob("test_kernels.py")]
    processes = 8 if check.device == "cuda" else 0
    for what, chosen in runs.items():
        options = ["-q", "-n", processes, "-p", "no:cacheprovider"]
        said = check.run("-m", "pytest", *options, *chosen, openvino=True)
        summary = said.strip().splitlines()[-1].strip("= ")
        check.add(what, summary, "all pass", "passed" in summary)


def whole_loops(check: Check) -> None:
    load = check.load
    task = {**load.step, "loss": "vgg16", "photos": str(check.photos), "minutes": load.loop}
    seconds = {}
    for contender in (benchmark.OURS_LOADING, benchmark.PLAIN_LOADING):
        seconds[contender] = check.worker("train", contender, **task)["seconds"]
    ours, plain = seconds.values()
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


def _train(check: Check, name: str) -> None:
    """Train a style from files, as anybody would."""
    run = check.work / name.replace(" ", "-")
    said = check.run(
        *["-m", "fast_style.cli", "train", *check.load.training, f"style={TRAINED}"],
        *[*TRAINED_BY, f"data.dir='{check.photos}'", f"output_dir='{run}'", "trainer.max_steps=-1"],
        f"callbacks.schedule.minutes={check.load.trainings[name]}",
    )
    if check.device == "cuda":
        graphs = "by CUDA graphs" in said
        check.add(
            f"a style in {name}: CUDA graphs", "used" if graphs else "not used", "used", graphs
        )
    found = check.measure("trained", run=str(run), name=TRAINED)
    check.add(
        f"a style in {name}, experiment=gpu, from files",
        f"{found['steps']} steps, {found['rate']:.0f} img/s while training; "
        f"{found['seconds']:.0f} s from the first log to the last",
    )
    check.add(
        f"{name}: the exported file's network against last.ckpt's",
        _decibels(found["exported"]),
        ">= 40 dB",
        found["exported"] >= 40,
        anywhere=True,
    )
    check.add(
        f"{name}: a photo stylized with that file against last.ckpt's network in float32",
        _decibels(found["stylized"]),
        ">= 40 dB",
        found["stylized"] >= 40,
        anywhere=True,
    )
    for kept in (f"{TRAINED}.safetensors", "sheet.jpg"):
        shutil.copy(run / kept, check.out / f"{run.name}-{kept}")


def short_training(check: Check) -> None:
    _train(check, "15 s")


def long_training(check: Check) -> None:
    _train(check, "a minute")


def evaluation(check: Check) -> None:
    """What those trainings reached, by `fast-style evaluate`."""
    size, count = check.load.evaluated
    trained = {
        name: check.work / name.replace(" ", "-") / f"{TRAINED}.safetensors"
        for name in check.load.trainings
    }
    there = {name: path for name, path in trained.items() if path.exists()}
    if not there:
        raise PartFailed("nothing was trained")
    check.run(
        *["-m", "fast_style.cli", "evaluate", *there.values(), TRAINED, "--evaluations", "0"],
        *["--size", size, "--count", count, "--device", check.device],
        *["-o", check.work / "report"],
        openvino=check.device == "cpu",
    )
    report = json.loads((check.work / "report" / "report.json").read_text())
    *totals, shipped = (
        checkpoint["sizes"][f"{size}"]["losses"]["total"] for checkpoint in report["checkpoints"]
    )
    for name, total in zip(there, totals, strict=True):
        goal, most = {
            "15 s": (f"<= {TWO_CORES_TOTAL}, by hours on two cores", TWO_CORES_TOTAL),
            "a minute": (f"<= {shipped:.2f}, of the shipped file", shipped),
        }[name]
        check.add(f"`evaluate` after {name}: total", f"{total:.2f}", goal, total <= most)


def stylizing(check: Check) -> None:
    folder = check.work / "stylizing"
    task = {**check.load.picture, "folder": str(folder), "model": "johnson"}
    check.worker("prepare", benchmark.OURS, **task)
    ours = check.worker("stylize", benchmark.OURS, **task)
    milliseconds, rate = 1000 * ours["seconds"], 1 / ours["file_seconds"]
    size = f"{task['width']} x {task['height']}"
    check.add(f"{size} on the device", f"{milliseconds:.2f} ms", "<= 4 ms", milliseconds <= 4)
    check.add("peak memory of that", f"{ours['peak'] / 1e9:.2f} GB")
    check.add("that from file to file", f"{rate:.0f} a second", ">= 150 a second", rate >= 150)
    plain = check.worker("stylize", benchmark.PLAIN, **task)
    times = plain["seconds"] / ours["seconds"]
    check.add(
        f"{size}, plain, float32",
        f"{1000 * plain['seconds']:.2f} ms; ours {times:.1f} times as fast",
        "ours >= 3 times as fast",
        times >= 3,
    )


def pictures(check: Check) -> None:
    load = check.load
    size = (load.picture["width"], load.picture["height"])
    found = check.measure("pictures", size=size, sizes=load.sizes)
    check.add(
        "a photo against float32",
        _decibels(found["float32"]),
        ">= 45 dB",
        found["float32"] >= 45,
    )
    check.add(
        f"{len(load.sizes)} sizes in turn, thrice, against a fresh Stylizer each",
        _decibels(found["in_turn"]),
        "equal, or >= 50 dB",
        found["in_turn"] >= 50,
        anywhere=True,
    )
    check.add(
        "tensors in a batch, thrice, against one by one",
        _decibels(found["batch"]),
        "equal, or >= 50 dB",
        found["batch"] >= 50,
        anywhere=True,
    )


def bands(check: Check) -> None:
    rows, small, huge = check.load.bands
    found = check.measure("bands", rows=rows, small=small, huge=huge)
    check.add(
        f"{small} x {small} px in bands of {rows} rows against one pass",
        _decibels(found["psnr"]),
        ">= 45 dB",
        found["psnr"] >= 45,
    )
    check.add(
        f"{huge} x {huge} px in bands", f"{found['seconds']:.1f} s", "<= 3 s", found["seconds"] <= 3
    )
    gigabytes = found["peak"] / 1e9
    check.add("peak memory of that", f"{gigabytes:.1f} GB", "<= 5.9 GB", gigabytes <= 5.9)


def repeats(check: Check) -> None:
    found = check.measure("repeats", overrides=check.load.repeated, folder=str(check.work / "runs"))
    floor = found.pop("repeated")
    check.add("20 steps twice: how far weights differ", _share(floor))
    most = max(2 * floor, 0.02)
    for what, share in (
        ("resumed at step 10 against never stopped", found["resumed"]),
        ("CUDA graphs against cuda_graphs=false", found["eager"]),
    ):
        check.add(
            f"20 steps, {what}",
            _share(share),
            f"equal, or <= {most:.1%} of what they moved",
            share <= most,
            anywhere=True,
        )


def without_openvino(check: Check) -> None:
    """Only a CPU needs it: machines with a GPU may have none."""
    modules = ("cli", "demo", "evaluation", "gatys", "sheet", "stylizer", "training")
    check.run("-c", "; ".join(f"import fast_style.{module}" for module in modules))
    if check.device == "cuda":
        photo, target = sorted(check.photos.rglob("*.jpg"))[0], check.work / "shell.jpg"
        command = ["-m", "fast_style.cli", "stylize", photo, "--style", STYLE, "-o", target]
        check.run(*command, "--device", "cuda")
    done = "imported and a photo stylized" if check.device == "cuda" else "imported"
    check.add("without OpenVINO", done, "works", True, anywhere=True)


def _decibels(value: float) -> str:
    return "equal" if value == math.inf else f"{value:.1f} dB"


def _share(value: float) -> str:
    return "bit for bit" if value == 0 else f"{value:.2%} of what they moved"


# What must not be lost comes first; each with its time limit in seconds.
PARTS: dict[str, tuple[Callable[[Check], None], int]] = {
    "steps": (training_steps, 150),
    "tests": (gpu_tests, 100),
    "loops": (whole_loops, 90),
    "short": (short_training, 75),
    "stylizing": (stylizing, 60),
    "pictures": (pictures, 40),
    "bands": (bands, 45),
    "repeats": (repeats, 75),
    "long": (long_training, 110),
    "evaluation": (evaluation, 40),
    "openvino": (without_openvino, 30),
}


# Measurements, each in a process that PyTorch may fill


def measure_trained(task: dict[str, Any]) -> dict[str, float]:
    """How fast a training was, and whether its files hold what it trained."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from fast_style import Stylizer
    from fast_style.bundled import PAINTINGS
    from fast_style.checkpoint import load_style
    from fast_style.images import open_picture, resize_picture, save_picture, to_tensor
    from fast_style.images.grain import with_grain
    from fast_style.stylizing.sheet import before_after_sheet

    run, device = Path(task["run"]), torch.device(task["device"])
    path = run / f"{task['name']}.safetensors"
    logged = EventAccumulator(str(run / "tensorboard")).Reload()
    speeds = logged.Scalars("train_speed/images_per_second")
    speeds = [event for event in speeds if event.step > benchmark.WARM_UP_ON_GPU] or speeds[-1:]

    checkpoint = torch.load(run / "last.ckpt", map_location="cpu", weights_only=True)
    exported = load_style(path).network
    trained = copy.deepcopy(exported)
    trained.load_state_dict(_network_weights(checkpoint))
    networks = [network.to(device).eval() for network in (exported, trained)]
    photos = _pictures(task)[:4]
    photo = ImageOps.fit(photos[0], (256, 256))
    grained = Image.fromarray(with_grain(np.asarray(photo)))
    with torch.no_grad():
        first, second = (network(to_tensor(grained)[None].to(device)) for network in networks)
    stylize = Stylizer(path, task["device"])
    pairs = [(shown, stylize(shown)) for shown in (resize_picture(each, 640) for each in photos)]
    painting = open_picture(PAINTINGS / f"{task['name']}.jpg")
    caption = f"{checkpoint['global_step']} steps"
    save_picture(before_after_sheet(painting, caption, pairs), run / "sheet.jpg")
    return {
        "steps": checkpoint["global_step"],
        "rate": statistics.median(event.value for event in speeds),
        "seconds": speeds[-1].wall_time - speeds[0].wall_time,
        "exported": _psnr(first, second),
        "stylized": _psnr(to_tensor(stylize(photo))[None], second.clamp(0, 1)),
    }


def measure_pictures(task: dict[str, Any]) -> dict[str, float]:
    """How near pictures come to float32; and, of several sizes in turn and of batches, to what is
    made of them otherwise."""
    import torch
    from PIL import ImageOps

    from fast_style import Stylizer
    from fast_style.images import to_tensor

    photos = _pictures(task)[:3]
    stylize, exactly = Stylizer(STYLE, task["device"]), Stylizer(STYLE, task["device"], "float32")
    given = ImageOps.fit(photos[0], tuple(task["size"]))
    *_, painted = (stylize(given) for _ in range(3))  # the third time by a graph
    found = {"float32": _psnr(to_tensor(painted), to_tensor(exactly(given)))}

    sizes = [tuple(size) for size in task["sizes"]]
    # Each time another picture: what a recorded graph kept of an earlier one would show.
    turns = [ImageOps.fit(photos[turn % len(photos)], size) for turn in range(3) for size in sizes]
    in_turn = [stylize(picture) for picture in turns]
    found["in_turn"] = min(
        _psnr(to_tensor(stylized), to_tensor(Stylizer(STYLE, task["device"])(picture)))
        for picture, stylized in zip(turns, in_turn, strict=True)
    )

    fresh = Stylizer(STYLE, task["device"])
    tensors = [to_tensor(ImageOps.fit(photo, sizes[-1])) for photo in (*photos, *photos)][:3]
    batch = torch.stack(tensors).to(task["device"])
    one_by_one = torch.cat([fresh(photo) for photo in batch.split(1)])
    batches = [stylize(batch.roll(turn, 0)).roll(-turn, 0) for turn in range(3)]
    found["batch"] = min(_psnr(each, one_by_one) for each in batches)
    return found


def measure_bands(task: dict[str, Any]) -> dict[str, float]:
    """Pictures in bands: how near to one pass, how fast, in how much memory."""
    import torch
    from PIL import ImageOps

    from fast_style import Stylizer
    from fast_style.images import to_tensor

    photo = _pictures(task)[0]
    small, huge = (ImageOps.fit(photo, (side, side)) for side in (task["small"], task["huge"]))
    in_bands = Stylizer(STYLE, task["device"], band_rows=task["rows"])
    found = _psnr(to_tensor(Stylizer(STYLE, task["device"])(small)), to_tensor(in_bands(small)))
    # A GPU chooses bands by itself.
    stylize = in_bands if task["device"] == "cpu" else Stylizer(STYLE, task["device"])
    device = torch.device(task["device"])
    if device.type == "cuda":
        torch.cuda.empty_cache()
    benchmark._reset_peak(device)
    started = time.perf_counter()
    stylize(huge)
    seconds = time.perf_counter() - started
    return {"psnr": found, "seconds": seconds, "peak": benchmark._peak(device)}


def measure_repeats(task: dict[str, Any]) -> dict[str, float]:
    """20 steps: twice, resumed in the middle, and eagerly. How far the weights are from those of
    the first run, as a share of the way that these moved from the start."""
    import torch
    from hydra import compose, initialize_config_dir

    from fast_style.bundled import CONF
    from fast_style.checkpoint import load_style
    from fast_style.config.compose import register_resolvers
    from fast_style.training.train import BASE, train

    register_resolvers()

    def weights(name: str, *overrides: str, resume: Path | None = None) -> dict[str, torch.Tensor]:
        common = [f"style={TRAINED}", f"data.dir='{task['photos']}'", "init=base"]
        common += ["trainer.max_steps=20", "trainer.val_check_interval=10"]
        common += ["callbacks.checkpoint.filename='{step}'", "+callbacks.checkpoint.save_top_k=-1"]
        common += [f"output_dir={task['folder']}/{name}"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [*task["overrides"], *common, *overrides])
        cfg.ckpt_path = None if resume is None else str(resume)
        checkpoint = train(cfg).checkpoint
        return _network_weights(torch.load(checkpoint, map_location="cpu", weights_only=True))

    first = weights("first")
    [middle] = (
        path
        for path in (Path(task["folder"]) / "first").glob("step=*.ckpt")
        if torch.load(path, map_location="cpu", weights_only=True)["global_step"] == 10
    )
    others = {
        "repeated": weights("repeated"),
        "resumed": weights("resumed", resume=middle),
        "eager": weights("eager", "cuda_graphs=false"),
    }
    start = load_style(BASE).network.state_dict()

    def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
        squares = [(a[name] - b[name]).double().square().sum().item() for name in start]
        return math.sqrt(sum(squares))

    moved = distance(first, start)
    return {name: distance(first, other) / moved for name, other in others.items()}


MEASUREMENTS = {
    "trained": measure_trained,
    "pictures": measure_pictures,
    "bands": measure_bands,
    "repeats": measure_repeats,
}


def _network_weights(checkpoint: dict[str, Any]) -> dict[str, Any]:
    found = checkpoint["state_dict"].items()
    return {
        name.removeprefix("network."): tensor
        for name, tensor in found
        if name.startswith("network.")
    }


def _pictures(task: dict[str, Any]) -> list[Any]:
    """The first few photos."""
    from fast_style.images import find_pictures, open_picture

    return [open_picture(path) for path in find_pictures(Path(task["photos"]))[:4]]


def _psnr(first: Any, second: Any) -> float:
    """In dB, of tensors of values in [0, 1]; infinite where they are equal."""
    mse = (first.cpu().double() - second.cpu().double()).square().mean().item()
    return -10 * math.log10(mse) if mse else math.inf


# The command


def _bundled(folder: Path, links: int) -> Path:
    """A folder as large as wanted, of the bundled photos over and over."""
    sources = sorted((ROOT / "fast_style" / "assets" / "photos").glob("*.jpg"))
    folder.mkdir()
    for number in range(links):
        (folder / f"{number:06}.jpg").symlink_to(sources[number % len(sources)])
    return folder


def _parts(check: Check, names: tuple[str, ...]) -> Iterator[str]:
    """Run parts; gives each one's name and how it went."""
    for name in names:
        part, seconds = PARTS[name]
        started = time.monotonic()
        check.part_ends = started + seconds if check.device == "cuda" else math.inf
        outcome = "done"
        try:
            part(check)
        except PartFailed as error:
            outcome = f"{error}"
        except Exception as error:  # of one part: the others go on
            outcome = f"{type(error).__name__}: {error}"
        if outcome != "done":
            said = outcome.replace("\n", " ").replace("|", "/")
            row = {"": f"part '{name}'", "goal": "runs", "measured": said, "verdict": "FAILED"}
            check.rows.append(row)
            check.write()
        yield f"{name}: {outcome} after {time.monotonic() - started:.0f} s"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("out", type=click.Path(path_type=Path, file_okay=False, resolve_path=True))
@click.argument(
    "photos",
    required=False,
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
)
@click.option(
    "--device",
    type=click.Choice(["cuda", "cpu"]),
    default="cuda",
    show_default=True,
    help="cpu runs everything very small, to see that it runs.",
)
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="May be repeated.")
def main(out: Path, photos: Path | None, device: str, only: tuple[str, ...]) -> None:
    """Measure on one GPU, in at most eight minutes, what this project aims at.

    PHOTOS to train on are by default the bundled ones, over and over. OUT gets table.md, written as
    results come, log.txt with all that was said, and what was trained. The exit code is 1 if a goal
    is missed or a part failed.
    """
    started = time.monotonic()
    if device == "cuda" and benchmark._resolved("auto") != "cuda":
        click.echo("gpu_check: PyTorch finds no GPU here; --device cpu tries the script", err=True)
        sys.exit(2)
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.txt").write_text("")
    load = LOADS[device]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "without").mkdir()
        refused = 'raise ImportError("only a CPU may need OpenVINO")\n'
        (work / "without" / "openvino.py").write_text(refused)
        folder = photos or _bundled(work / "photos", load.links)
        deadline = started + SECONDS if device == "cuda" else math.inf
        check = Check(out, folder, device, work, load, deadline)
        for news in _parts(check, only or tuple(PARTS)):
            click.echo(news, err=True)
    click.echo((out / "table.md").read_text())
    if any(row["verdict"] in ("NOT MET", "FAILED") for row in check.rows):
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(MEASUREMENTS[sys.argv[2]](json.loads(sys.argv[3]))))
    else:
        main()
