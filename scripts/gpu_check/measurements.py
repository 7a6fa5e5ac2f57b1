"""Workers that check trained networks and stylized pictures.

They run in processes of their own, see `benchmarks.processes`, and import PyTorch.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.meters import WARM_UP_ON_GPU, peak, reset_peak

if TYPE_CHECKING:
    import torch
    from PIL import Image

STYLE = "starry-night"  # any shipped style does
TRAINED = "stained-glass"  # the style that is trained


@dataclass(frozen=True)
class TrainedFigures:
    """A training.

    Args:
        steps: number of steps.
        rate: photos per second between logs.
        seconds: from the first log to the last.
        exported: PSNR in dB of the exported network against the network in last.ckpt.
        stylized: PSNR in dB of a photo stylized with the file against one by last.ckpt.
    """

    steps: int
    rate: float
    seconds: float
    exported: float
    stylized: float


def measure_trained(run: str, photos: str, device: str) -> TrainedFigures:
    """How fast a training was, and whether its files hold what it trained."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from fast_style import Stylizer
    from fast_style.checkpoint import load_style
    from fast_style.images import resize_picture, to_tensor
    from fast_style.images.grain import with_grain

    path = Path(run) / f"{TRAINED}.safetensors"
    logged = EventAccumulator(str(Path(run) / "tensorboard")).Reload()
    speeds = logged.Scalars("train_speed/images_per_second")
    speeds = [event for event in speeds if event.step > WARM_UP_ON_GPU] or speeds[-1:]

    checkpoint = torch.load(Path(run) / "last.ckpt", map_location="cpu", weights_only=True)
    exported = load_style(path).network
    trained = copy.deepcopy(exported)
    trained.load_state_dict(_network_weights(checkpoint))
    opened = _pictures(photos)
    photo = ImageOps.fit(opened[0], (256, 256))
    grained = to_tensor(Image.fromarray(with_grain(np.asarray(photo))))[None].to(device)
    with torch.no_grad():
        first, second = (network.to(device).eval()(grained) for network in (exported, trained))
    stylize = Stylizer(path, device, stroke=1)
    steps = checkpoint["global_step"]
    pairs = [(shown, stylize(shown)) for shown in (resize_picture(each, 640) for each in opened)]
    _draw_sheet(pairs, f"{steps} steps", Path(run) / "sheet.jpg")
    return TrainedFigures(
        steps=steps,
        rate=statistics.median(event.value for event in speeds),
        seconds=speeds[-1].wall_time - speeds[0].wall_time,
        exported=_psnr(first, second),
        stylized=_psnr(to_tensor(stylize(photo))[None], second.clamp(0, 1)),
    )


def _draw_sheet(pairs: Sequence[tuple[Image.Image, Image.Image]], caption: str, path: Path) -> None:
    from fast_style.bundled import PAINTINGS
    from fast_style.images import open_picture, save_picture
    from fast_style.stylizing.sheet import before_after_sheet

    painting = open_picture(PAINTINGS / f"{TRAINED}.jpg")
    save_picture(before_after_sheet(painting, caption, pairs), path)


@dataclass(frozen=True)
class PicturesFigures:
    """PSNR in dB of pictures, infinite where they are equal.

    Args:
        float32: of a photo against float32.
        in_turn: of several sizes in turn, against a fresh stylizer each.
        batch: of tensors in a batch, against one by one.
    """

    float32: float
    in_turn: float
    batch: float


def measure_pictures(
    photos: str, device: str, size: tuple[int, int], sizes: Sequence[tuple[int, int]]
) -> PicturesFigures:
    """How close pictures come to those that are made more carefully."""
    import torch
    from PIL import ImageOps

    from fast_style import Stylizer
    from fast_style.images import to_tensor

    opened = _pictures(photos)[:3]
    stylize, exactly = (
        Stylizer(STYLE, device, stroke=1),
        Stylizer(STYLE, device, "float32", stroke=1),
    )
    given = ImageOps.fit(opened[0], size)
    *_, painted = (stylize(given) for _ in range(3))  # the third time by a graph
    float32 = _psnr(to_tensor(painted), to_tensor(exactly(given)))

    # Each turn has another picture, so that what a graph kept of an earlier one would show.
    turns = [ImageOps.fit(opened[turn % len(opened)], each) for turn in range(3) for each in sizes]
    painted_in_turn = [stylize(picture) for picture in turns]
    in_turn = min(
        _psnr(to_tensor(stylized), to_tensor(Stylizer(STYLE, device, stroke=1)(picture)))
        for picture, stylized in zip(turns, painted_in_turn, strict=True)
    )

    fresh = Stylizer(STYLE, device, stroke=1)
    tensors = [to_tensor(ImageOps.fit(photo, sizes[-1])) for photo in (*opened, *opened)]
    batch = torch.stack(tensors[:3]).to(device)
    one_by_one = torch.cat([fresh(photo) for photo in batch.split(1)])
    batches = [stylize(batch.roll(turn, 0)).roll(-turn, 0) for turn in range(3)]
    return PicturesFigures(float32, in_turn, min(_psnr(each, one_by_one) for each in batches))


@dataclass(frozen=True)
class BandsFigures:
    """Pictures in bands: PSNR in dB against one pass, and seconds and bytes of a huge one."""

    psnr: float
    seconds: float
    peak: int


def measure_bands(photos: str, device: str, rows: int, small: int, huge: int) -> BandsFigures:
    """How close bands come to one pass, how fast, and in how much memory."""
    import torch
    from PIL import ImageOps

    from fast_style import Stylizer
    from fast_style.images import to_tensor

    photo = _pictures(photos)[0]
    little, large = (ImageOps.fit(photo, (side, side)) for side in (small, huge))
    in_bands = Stylizer(STYLE, device, band_rows=rows, stroke=1)
    psnr = _psnr(to_tensor(Stylizer(STYLE, device, stroke=1)(little)), to_tensor(in_bands(little)))
    # A GPU chooses bands by itself.
    stylize = in_bands if device == "cpu" else Stylizer(STYLE, device, stroke=1)
    if device != "cpu":
        torch.cuda.empty_cache()
    reset_peak(device)
    started = time.perf_counter()
    stylize(large)
    seconds = time.perf_counter() - started
    return BandsFigures(psnr, seconds, peak(device))


@dataclass(frozen=True)
class RepeatsFigures:
    """How far the weights of other runs are from those of the first.

    Distances are a share of the way that the weights of the first run moved from the start.

    Args:
        repeated: the same run again.
        resumed: resumed in the middle.
        eager: without CUDA graphs.
    """

    repeated: float
    resumed: float
    eager: float


def measure_repeats(photos: str, folder: str, overrides: Sequence[str]) -> RepeatsFigures:
    """Train 20 steps: twice, resumed in the middle, and without CUDA graphs."""
    import torch

    from fast_style.checkpoint import load_style
    from fast_style.config.compose import compose_config
    from fast_style.training.train import BASE, train

    common = [f"style={TRAINED}", f"data.dir='{photos}'", "init=base"]
    common += ["trainer.max_steps=20", "trainer.val_check_interval=10"]
    common += ["callbacks.checkpoint.filename='{step}'", "+callbacks.checkpoint.save_top_k=-1"]

    def weights(name: str, *more: str, resume: Path | None = None) -> dict[str, torch.Tensor]:
        cfg = compose_config([*overrides, *common, f"output_dir={folder}/{name}", *more])
        cfg.ckpt_path = None if resume is None else str(resume)
        checkpoint = train(cfg).checkpoint
        return _network_weights(torch.load(checkpoint, map_location="cpu", weights_only=True))

    first = weights("first")
    [middle] = (
        path
        for path in (Path(folder) / "first").glob("step=*.ckpt")
        if torch.load(path, map_location="cpu", weights_only=True)["global_step"] == 10
    )
    start = load_style(BASE).network.state_dict()

    def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
        squares = [(a[name] - b[name]).double().square().sum().item() for name in start]
        return math.sqrt(sum(squares))

    moved = distance(first, start)
    return RepeatsFigures(
        repeated=distance(first, weights("repeated")) / moved,
        resumed=distance(first, weights("resumed", resume=middle)) / moved,
        eager=distance(first, weights("eager", "cuda_graphs=false")) / moved,
    )


def _network_weights(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("network."): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith("network.")
    }


def _pictures(folder: str) -> list[Image.Image]:
    """The first four photos."""
    from fast_style.images import find_pictures, open_picture

    return [open_picture(path) for path in find_pictures(Path(folder))[:4]]


def _psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """PSNR in dB of values in [0, 1]; infinite where they are equal."""
    mse = (first.cpu().double() - second.cpu().double()).square().mean().item()
    return -10 * math.log10(mse) if mse else math.inf
