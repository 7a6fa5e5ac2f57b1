"""Content pictures to train on: any folder of photos, or dead leaves made on the fly.

Which picture comes when, and which crop of it, follows from (seed, epoch, index) alone, never from
the number of workers or processes, so that runs repeat and resume exactly.
"""

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fast_style.bundled import PHOTOS
from fast_style.data.dead_leaves import dead_leaves
from fast_style.devices import usable_cores
from fast_style.errors import UserError
from fast_style.images import find_pictures, open_picture
from fast_style.images.grain import with_grain

log = logging.getLogger(__name__)

# What a content dataset gives for (epoch, index): a picture, uint8 (3, size, size), and the files
# that were skipped on the way to it.
Sample = tuple[Tensor, list[str]]


class ContentData(pl.LightningDataModule):
    """Batches of content pictures, uint8 ``(N, 3, size, size)``, without end.

    Args:
        dir: folder of photos, flat or nested, or None for dead leaves.
        size: side of the square crops in pixels.
        batch_size: pictures in a batch, for each process.
        scale: a crop's side as a share of the photo's shorter side, drawn between these two.
        min_side: photos with a shorter side are skipped.
        workers: loader processes; None for one a core but one, at most 16.
        val_dir: folder of photos to watch during training, or None for the bundled ones.
        val_size: side of their centre squares.
        val_count: how many of them at most, the first in order of name.
        seed: of order and crops.

    Raises:
        UserError: for a folder that does not exist or holds no picture that can be used.
    """

    def __init__(
        self,
        dir: str | None,
        size: int = 256,
        batch_size: int = 4,
        scale: Sequence[float] = (0.5, 1.0),
        min_side: int = 64,
        workers: int | None = None,
        val_dir: str | None = None,
        val_size: int = 256,
        val_count: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        self.workers = min(max(usable_cores() - 1, 1), 16) if workers is None else workers
        self.dataset: PhotoFolder | DeadLeaves = (
            DeadLeaves(int(size), seed)
            if dir is None
            else PhotoFolder(Path(os.path.expanduser(dir)), int(size), scale, min_side, seed)
        )
        self.validation = _readable_squares(
            Path(os.path.expanduser(val_dir)) if val_dir else PHOTOS, val_size, val_count
        )
        self.skipped: set[str] = set()

    def train_dataloader(self) -> DataLoader[Sample]:
        trainer = self.trainer
        assert trainer is not None
        return DataLoader(
            self.dataset,
            batch_size=self.batch_size,
            sampler=self._sampler(trainer.global_step),
            num_workers=self.workers,
            collate_fn=_collate,
            worker_init_fn=_outlive_signals,
            pin_memory=trainer.strategy.root_device.type == "cuda",
            prefetch_factor=4 if self.workers else None,
        )

    def files_of(self, step: int) -> list[str]:
        """What this process trains on in a step, counted from 0: files, or numbers of dead leaves.
        A file that cannot be read gave its place to the next one that can."""
        assert self.trainer is not None
        count = self.batch_size * self.trainer.accumulate_grad_batches
        return [self.dataset.name(key) for key in islice(self._sampler(step), count)]

    def _sampler(self, step: int) -> "EndlessSampler":
        trainer = self.trainer
        assert trainer is not None
        step_size = self.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        return EndlessSampler(
            len(self.dataset),
            seed=self.seed,
            start=step * step_size,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(self.validation, batch_size=1)

    def on_before_batch_transfer(
        self, batch: Tensor | tuple[Tensor, list[str]], dataloader_idx: int
    ) -> Tensor:
        """Take the names of skipped files off a training batch and log each once."""
        if isinstance(batch, Tensor):
            return batch
        photos, skipped = batch
        for line in sorted(set(skipped) - self.skipped):
            self.skipped.add(line)
            log.warning("skipped %s (%d so far)", line, len(self.skipped))
        return photos


class PhotoFolder(Dataset[Sample]):
    """Random square crops of the photos under a folder, ``(epoch, index)`` to uint8
    ``(3, size, size)``: of random scale and place, flipped left to right half of the time.

    A photo that cannot be read or is too small gives its place to the next that can.
    """

    def __init__(
        self, folder: Path, size: int, scale: Sequence[float], min_side: int, seed: int
    ) -> None:
        self.size = size
        self.scale = (float(scale[0]), float(scale[1]))
        self.min_side = min_side
        self.seed = seed
        self.paths = find_pictures(folder)
        reasons: list[str] = []
        if self._first_good(0, size, reasons) is None:
            raise UserError(
                f"none of the {len(self.paths)} pictures in {folder} can be used (the first: "
                f"{reasons[0]}): give a folder of photos at least {min_side} px a side"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, key: tuple[int, int]) -> str:
        """The file of ``(epoch, index)``."""
        return str(self.paths[key[1]])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        share = rng.uniform(*self.scale)
        across, down = rng.random(2)
        flip = rng.random() < 0.5
        skipped: list[str] = []
        photo = self._first_good(index, round(self.size / share), skipped)
        if photo is None:
            raise UserError(f"no picture can be read any more: {skipped[0]}")
        side = min(photo.size) * share
        left, top = (photo.width - side) * across, (photo.height - side) * down
        crop = photo.resize(
            (self.size, self.size),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
            reducing_gap=3.0,
        )
        if flip:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _to_uint8(np.asarray(crop)), skipped

    def _first_good(self, index: int, draft_side: int, skipped: list[str]) -> Image.Image | None:
        for step in range(len(self.paths)):
            path = self.paths[(index + step) % len(self.paths)]
            try:
                photo = open_picture(path, max(draft_side, self.min_side))
            except UserError as error:
                skipped.append(str(error))
                continue
            if min(photo.size) >= self.min_side:
                return photo
            skipped.append(f"{path}: {photo.width} x {photo.height} px is too small to train on")
        return None


class DeadLeaves(Dataset[Sample]):
    """Pictures of `dead_leaves`, ``(epoch, index)`` to uint8 ``(3, size, size)``; no two alike."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return 1000  # an epoch of any length will do, since every epoch has its own pictures

    def name(self, key: tuple[int, int]) -> str:
        epoch, index = key
        return f"dead leaves {epoch}.{index}"

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        picture = dead_leaves(self.size, np.random.default_rng([self.seed, *key]))
        return _to_uint8(picture), []


class CentreSquares(Dataset[Tensor]):
    """The centre squares of photos, uint8 ``(3, size, size)``."""

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths = paths
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        photo = open_picture(self.paths[index])
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        square = photo.resize(
            (self.size, self.size),
            Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
        )
        return _to_uint8(np.asarray(square))


def _readable_squares(folder: Path, size: int, count: int) -> CentreSquares:
    """Of the first ``count`` photos that can be read; others are named."""
    good: list[Path] = []
    reasons: list[str] = []
    paths = find_pictures(folder)
    for path in paths:
        if len(good) == count:
            break
        try:
            open_picture(path, size)
            good.append(path)
        except UserError as error:
            reasons.append(str(error))
            log.warning("skipped %s (of data.val_dir)", error)
    if not good:
        raise UserError(
            f"none of the {len(paths)} pictures in data.val_dir={folder} can be used (the first: "
            f"{reasons[0]}): give a folder of photos"
        )
    return CentreSquares(good, size)


class EndlessSampler(Sampler[tuple[int, int]]):
    """Keys ``(epoch, index)`` for one process, each epoch in an order of its own.

    Args:
        length: pictures in an epoch.
        seed: of the orders.
        start: how many pictures all processes together have drawn before.
        rank, world_size: this process takes every ``world_size``-th picture from ``rank`` on.
    """

    def __init__(
        self, length: int, seed: int, start: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.length = length
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position = self.start + self.rank
        epoch = -1
        order = np.empty(0, dtype=np.int64)
        while True:
            if position // self.length != epoch:
                epoch = position // self.length
                order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
            yield epoch, int(order[position % self.length])
            position += self.world_size


def _to_uint8(levels: NDArray[np.uint8]) -> Tensor:
    """``(H, W, 3)`` with its grain, as ``(3, H, W)``. Of a picture of a single colour, instance
    norm divides by next to nothing: without grain, gradients are 0 or beyond all numbers."""
    return torch.from_numpy(with_grain(levels)).permute(2, 0, 1).contiguous()


GRACE = 10  # s that a loader's process works on after SIGTERM


def _outlive_signals(worker: int) -> None:
    """Ctrl-C, SIGTERM and SIGHUP often go to a whole process group. The loader's processes go on,
    so that the training process can end the step at hand; it ends them then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):  # Windows has neither of these
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # Not ignored: a process that exits waits for children that it sent this signal.
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


def _collate(samples: list[Sample]) -> tuple[Tensor, list[str]]:
    return (
        torch.stack([picture for picture, _ in samples]),
        [name for _, skipped in samples for name in skipped],
    )
