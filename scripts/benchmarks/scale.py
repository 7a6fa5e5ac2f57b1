"""How do time and memory grow with pictures, batches and folders of photos?"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from tqdm import tqdm

from benchmarks.meters import describe_machine, peak, psnr, reset_peak, seconds_of, start_torch
from benchmarks.options import device_option
from benchmarks.ours import OURS_FP32, bundled_photo, our_network, our_stylizer
from benchmarks.plain import PLAIN, plain_network
from benchmarks.processes import run
from benchmarks.tables import print_table

IN_BANDS, ONE_PASS = "ours, in bands", "ours, one pass"
SAME_ENGINE = "ours, one pass in PyTorch"  # which computes bands
SMALLEST = 0.25  # megapixels
MODEL = "johnson"
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class ScaleCost:
    """One picture or batch: seconds, and the peak of memory in bytes."""

    seconds: float
    peak: int


@dataclass(frozen=True)
class PictureOfSize:
    """The cost of a picture of a number of pixels, by one contender."""

    contender: str
    side: int
    seconds: float
    peak: int


@dataclass(frozen=True)
class Agreement:
    """PSNR in dB of bands against one pass, and the precisions of both."""

    psnr: float
    precision: str
    kept_in: str


@dataclass(frozen=True)
class StartCost:
    """Seconds to list a folder, to build the data set, and to the first batch."""

    photos: int
    listing: float
    construction: float
    first_batch: float


@click.command()
@click.option(
    "--largest",
    type=click.FloatRange(SMALLEST),
    default=100.0,
    show_default=True,
    help="Megapixels of the largest picture, from 0.25 on by factors of 4.",
)
@click.option(
    "--largest-pass",
    type=click.FloatRange(SMALLEST),
    default=4.0,
    show_default=True,
    help="Megapixels of the largest picture in one pass, by ours and by the plain network.",
)
@click.option(
    "--most-photos",
    type=click.IntRange(10),
    default=100_000,
    show_default=True,
    help="Photos in the largest folder to train on, from 10 on by factors of 10.",
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to draw scale.svg (time and memory) and startup.svg in.",
)
@device_option
def scale(
    largest: float, largest_pass: float, most_photos: int, plots: Path | None, device: str
) -> None:
    """Measure how time and memory grow with the picture, the batch and the folder of photos.

    Each measurement is a process of its own, from a picture in memory to a picture. Memory is the
    peak of the whole process. Lines are fitted by least squares.
    """
    contenders = [IN_BANDS, ONE_PASS, PLAIN]
    if device == "cpu":  # on a GPU, one pass is PyTorch's anyway
        contenders.insert(2, SAME_ENGINE)
    pictures = _measure_pictures(contenders, largest, largest_pass, device)
    click.echo(run(describe_machine, device=device))
    _print_pictures(pictures, contenders)

    side = _side(min(largest, largest_pass))
    for contender in (*contenders[1:-1], OURS_FP32):
        found = run(measure_bands_agreement, contender=contender, side=side, device=device)
        click.echo(
            f"in bands in {found.precision}, layers in {found.kept_in}, against "
            f"'{contender}' at {side} x {side} px: {found.psnr:.1f} dB PSNR"
        )

    click.echo("\nbatches of tensors of 256 x 256 px, one pass")
    _print_batches(device)
    click.echo("\nstart of training against photos in the folder, seconds")
    starts = [run(measure_start, photos=count) for count in _powers(10, 10, most_photos)]
    _print_starts(starts)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        _draw_pictures(pictures, plots / "scale.svg")
        _draw_starts(starts, plots / "startup.svg")


def _powers(first: float, factor: int, most: float) -> list[int]:
    found = [first]
    while found[-1] * factor <= most:
        found.append(found[-1] * factor)
    return [int(each) for each in found]


def _side(megapixels: float) -> int:
    return round((megapixels * 1e6) ** 0.5)


def _measure_pictures(
    contenders: Sequence[str], largest: float, largest_pass: float, device: str
) -> list[PictureOfSize]:
    sizes = [SMALLEST]
    while sizes[-1] * 4 <= largest:
        sizes.append(sizes[-1] * 4)
    if sizes[-1] < largest:
        sizes.append(largest)
    found = []
    for megapixels in tqdm(sizes, leave=False, disable=None):
        side = _side(megapixels)
        for contender in contenders:
            if contender == IN_BANDS or megapixels <= largest_pass:
                cost = run(measure_picture, contender=contender, side=side, device=device)
                found.append(PictureOfSize(contender, side, cost.seconds, cost.peak))
    return found


def _print_pictures(pictures: Sequence[PictureOfSize], contenders: Sequence[str]) -> None:
    print_table(
        [
            {
                "": each.contender,
                "side": str(each.side),
                "seconds": f"{each.seconds:.3f}",
                "s/megapixel": f"{each.seconds / each.side**2 * 1e6:.3f}",
                "peak GB": f"{each.peak / 1e9:.2f}",
            }
            for each in sorted(pictures, key=lambda each: each.contender)
        ]
    )
    for contender in contenders:
        own = [each for each in pictures if each.contender == contender]
        if len(own) > 1:
            line = statistics.linear_regression(
                [each.side**2 for each in own], [each.peak for each in own]
            )
            click.echo(
                f"{contender}: {line.slope:.1f} bytes a pixel + {line.intercept / 1e9:.2f} GB"
            )


def _print_batches(device: str) -> None:
    costs = {count: run(measure_batch, batch=count, device=device) for count in BATCHES}
    print_table(
        [
            {
                "": str(count),
                "s/picture": f"{cost.seconds / count:.4f}",
                "peak GB": f"{cost.peak / 1e9:.2f}",
            }
            for count, cost in costs.items()
        ]
    )


def _print_starts(starts: Sequence[StartCost]) -> None:
    print_table(
        [
            {
                "photos": f"{start.photos:,}",
                "listing alone": f"{start.listing:.3f}",
                "ContentData": f"{start.construction:.3f}",
                "to the first batch": f"{start.first_batch:.3f}",
            }
            for start in starts
        ]
    )


def _draw_pictures(pictures: Sequence[PictureOfSize], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots(1, 2)
    for contender in (IN_BANDS, ONE_PASS, PLAIN):
        own = [each for each in pictures if each.contender == contender]
        megapixels = [each.side**2 / 1e6 for each in own]
        axes[0].plot(megapixels, [each.seconds for each in own], "o-", label=contender)
        axes[1].plot(megapixels, [each.peak / 1e9 for each in own], "o-", label=contender)
    for axis, name in zip(axes, ("seconds", "peak memory, GB"), strict=True):
        axis.set(xlabel="megapixels", ylabel=name)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(path)


def _draw_starts(starts: Sequence[StartCost], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3), layout="constrained")
    axis = figure.subplots()
    photos = [start.photos for start in starts]
    axis.loglog(photos, [start.first_batch for start in starts], "o-", label="to the first batch")
    axis.loglog(photos, [start.listing for start in starts], "o-", label="listing alone")
    axis.set(xlabel="photos in the folder", ylabel="seconds")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path)


# --- workers ---


def measure_picture(contender: str, side: int, device: str) -> ScaleCost:
    """A worker: a square picture, from picture to picture."""
    import torch

    from fast_style.devices import computes_in_bf16
    from fast_style.images import to_picture, to_tensor
    from fast_style.stylizing.bands import stylize_in_bands

    place = start_torch(device)
    picture = bundled_photo().resize((side, side))
    dtype = torch.bfloat16 if computes_in_bf16(place) else torch.float32
    if contender == PLAIN:
        plain = plain_network().to(place)

        @torch.inference_mode()
        def call() -> object:
            return to_picture(plain(to_tensor(picture)[None].to(place) * 255)[0] / 255)
    elif contender == IN_BANDS:
        ours = our_network(MODEL).to(place)

        def call() -> object:
            return stylize_in_bands(ours, picture, place, dtype, torch.bfloat16)
    elif contender == SAME_ENGINE:
        ours = our_network(MODEL)
        ours.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

        @torch.inference_mode()
        def call() -> object:
            return to_picture(ours(to_tensor(picture)[None].to(dtype))[0])
    else:
        stylizer = our_stylizer(contender, MODEL, device)

        def call() -> object:
            return stylizer(picture)

    reset_peak(device)
    # The first call takes longer, which matters where calls are short. A GPU replays the third.
    repeats = 3 if device == "cuda" or side**2 <= 4e6 else 1
    seconds = min(seconds_of(call, device) for _ in range(repeats))
    return ScaleCost(seconds, peak(device))


def measure_bands_agreement(contender: str, side: int, device: str) -> Agreement:
    """A worker: bands against one pass, before either is rounded to 8 bits."""
    import numpy as np
    import torch
    from PIL import Image

    from fast_style.devices import computes_in_bf16
    from fast_style.images import to_tensor
    from fast_style.images.grain import with_grain
    from fast_style.stylizing.bands import stylized_bands

    place = start_torch(device)
    picture = bundled_photo().resize((side, side))
    network = our_network(MODEL)
    exactly = contender == OURS_FP32
    dtype = torch.bfloat16 if not exactly and computes_in_bf16(place) else torch.float32
    kept_in = dtype if exactly else torch.bfloat16
    with torch.no_grad():
        bands = stylized_bands(network, picture, place, dtype, kept_in)
        in_bands = torch.cat([band.cpu() for band in bands], dim=2)
        if contender == SAME_ENGINE:
            given = Image.fromarray(with_grain(np.asarray(picture)))
            network.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            whole = network(to_tensor(given)[None].to(dtype)).float()
        else:
            stylizer = our_stylizer(contender, MODEL, device)
            whole = stylizer(to_tensor(picture)[None].to(place)).cpu()
    return Agreement(psnr(whole, in_bands), f"{dtype}", f"{kept_in}")


def measure_batch(batch: int, device: str) -> ScaleCost:
    """A worker: a batch of tensors in one pass."""
    import torch

    photos = torch.rand(batch, 3, 256, 256, device=start_torch(device))
    stylizer = our_stylizer(ONE_PASS, MODEL, device)
    reset_peak(device)
    seconds = min(seconds_of(lambda: stylizer(photos), device) for _ in range(3))
    return ScaleCost(seconds, peak(device))


def measure_start(photos: int) -> StartCost:
    """A worker: from a folder of photos to the first batch."""
    from torch.utils.data import DataLoader

    from fast_style.data.content import ContentData, EndlessSampler
    from fast_style.images import save_picture

    with tempfile.TemporaryDirectory() as name:
        photo, folder = Path(name) / "photo.jpg", Path(name) / "photos"
        save_picture(bundled_photo().resize((320, 240)), photo)
        for number in range(photos):
            path = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
            if number % 1000 == 0:
                path.parent.mkdir(parents=True)
            try:
                path.hardlink_to(photo)
            except OSError:  # a file system limits the names of a file
                path.symlink_to(photo)
        ContentData(None)  # imports its modules
        listing = seconds_of(lambda: sorted(os.walk(folder)), "cpu")
        started = time.perf_counter()
        data = ContentData(str(folder), size=128, workers=0)
        construction = time.perf_counter() - started
        sampler = EndlessSampler(len(data.dataset), seed=0)
        next(iter(DataLoader(data.dataset, batch_size=4, sampler=sampler)))
        first_batch = time.perf_counter() - started
    return StartCost(photos, listing, construction, first_batch)
