"""How fast are photos read into batches?"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.meters import WARM_UP, describe_machine, start_torch
from benchmarks.options import rounds_option
from benchmarks.ours import OURS
from benchmarks.processes import run, take_turns
from benchmarks.tables import median_seconds, print_table, timing_cells
from benchmarks.train import COCO

NO_DRAFT, PACKED = "ours, JPEG decoded in full", "crops decoded once, from one file"
RANDOM_CROPS, CENTRE_CROPS = (
    "torchvision, random crops",
    "torchvision, Resize and CenterCrop",
)
BATCH = 16


@dataclass(frozen=True)
class ReadingCost:
    """Seconds that a photo takes from its file into a batch, and until the first batch is there."""

    seconds: float
    start: float


@click.command()
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="A folder of photos; by default the bundled ones.",
)
@click.option("--size", type=click.IntRange(32), default=256, show_default=True, help="px a side.")
@click.option(
    "--count", type=click.IntRange(64), default=1000, show_default=True, help="Photos to read."
)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True)
@rounds_option
def data(photos: str | None, size: int, count: int, workers: int, rounds: int) -> None:
    """Measure reading photos: from files to batches of 16, without training.

    The photos are saved as COCO has them, as JPEG of 640 x 480 px, and linked until there are as
    many as in train2017. They come from the file cache of the system. Without --workers, one
    process reads, so the figures are for one core. "Crops decoded once" are always the same.
    """
    from fast_style.bundled import PHOTOS
    from fast_style.images import find_pictures

    paths = find_pictures(Path(photos) if photos else PHOTOS)
    with tempfile.TemporaryDirectory() as name:
        folder = _lay_out(paths, size, Path(name))
        task = {"folder": str(folder), "size": size, "count": count, "workers": workers}
        measured = take_turns(
            {name: partial(run, measure_reading, contender=name, **task) for name in LOADERS},
            rounds,
        )
    click.echo(f"{run(describe_machine, device='cpu')}; rounds: {rounds}")
    click.echo(f"crops of {size} px from {len(paths)} photos of 640 x 480 px, {workers} workers")
    print_table(
        [
            {
                "": name,
                "photos/s": f"{1 / median_seconds(results):.0f}",
                **timing_cells("s/photo", results, measured[CENTRE_CROPS]),
                "s to the first batch": f"{statistics.median(each.start for each in results):.2f}",
            }
            for name, results in measured.items()
        ]
    )


def _lay_out(paths: list[Path], size: int, folder: Path) -> Path:
    """Save photos and crops.

    Returns:
        A folder with as many photos as COCO, within a folder of its own, as ImageFolder requires.
    """
    import numpy as np
    from PIL import ImageOps

    from fast_style.images import open_picture

    saved, linked = folder / "saved", folder / "data" / "train2017"
    saved.mkdir()
    linked.mkdir(parents=True)
    for number, path in enumerate(tqdm(paths, leave=False, disable=None)):
        picture = ImageOps.fit(open_picture(path), (640, 480))
        picture.save(saved / f"{number}.jpg", quality=90)
    packed = [np.asarray(ImageOps.fit(open_picture(path), (size, size))) for path in paths]
    np.save(folder / "crops.npy", np.stack(packed).transpose(0, 3, 1, 2))
    for number in range(COCO):
        (linked / f"{number:012}.jpg").symlink_to(saved / f"{number % len(paths)}.jpg")
    return linked


# --- workers ---


def measure_reading(
    contender: str, folder: str, size: int, count: int, workers: int
) -> ReadingCost:
    """A worker: read ``count`` photos with one of `LOADERS`."""
    import torch
    import torchvision  # noqa: F401  # importing it is not measured

    start_torch("cpu")
    torch.set_num_threads(1)
    started = time.perf_counter()
    batches: Iterator[Any] = iter(LOADERS[contender](Path(folder), size, workers))
    next(batches)
    start = time.perf_counter() - started
    for _ in range(WARM_UP):
        next(batches)
    started = time.perf_counter()
    number = -(-count // BATCH)
    for _ in range(number):
        next(batches)
    return ReadingCost((time.perf_counter() - started) / (BATCH * number), start)


def our_loader(folder: Path, size: int, workers: int) -> Any:
    import pytorch_lightning as pl

    from fast_style.data.content import ContentData

    content = ContentData(str(folder), size, batch_size=BATCH, workers=workers)
    content.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    return content.train_dataloader()


def undrafted_loader(folder: Path, size: int, workers: int) -> Any:
    """Ours, but JPEG is decoded at its full size."""
    from PIL.JpegImagePlugin import JpegImageFile

    JpegImageFile.draft = lambda *_: None  # type: ignore[method-assign]
    return our_loader(folder, size, workers)


def packed_loader(folder: Path, size: int, workers: int) -> Any:
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    crops = np.load(folder.parent.parent / "crops.npy", mmap_mode="r")
    order = torch.randperm(COCO) % len(crops)
    dataset: Any = crops
    return DataLoader(dataset, BATCH, sampler=order.tolist(), num_workers=workers)


def torchvision_loader(folder: Path, size: int, workers: int, random: bool) -> Any:
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    crops = (
        [
            transforms.RandomResizedCrop(size, (0.25, 1), (1, 1)),
            transforms.RandomHorizontalFlip(),
        ]
        if random
        else [transforms.Resize(size), transforms.CenterCrop(size)]
    )
    transform = transforms.Compose([*crops, transforms.ToTensor()])
    photos = datasets.ImageFolder(str(folder.parent), transform)
    return DataLoader(photos, BATCH, num_workers=workers)


LOADERS: dict[str, Callable[[Path, int, int], Any]] = {
    OURS: our_loader,
    NO_DRAFT: undrafted_loader,
    PACKED: packed_loader,
    RANDOM_CROPS: partial(torchvision_loader, random=True),
    CENTRE_CROPS: partial(torchvision_loader, random=False),
}
