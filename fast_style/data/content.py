"""Batches of content images, in an order that follows from the seed alone."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from fast_style.bundled import PHOTOS
from fast_style.data.datasets import (
    ContentImages,
    DeadLeaves,
    PhotoFolder,
    Sample,
    readable_squares,
)
from fast_style.devices import usable_cores

log = logging.getLogger(__name__)

MAX_WORKERS = 16
GRACE = 10  # seconds that a loader process keeps working after SIGTERM


class ContentData(pl.LightningDataModule):
    """Batches of content images without end, uint8 ``(N, 3, size, size)``.

    Which image comes when, and which crop of it, follows from seed, epoch and index alone, never
    from the number of loader processes or devices: runs repeat exactly, and so do resumed runs.

    Args:
        dir: folder of photos, flat or nested, or None for dead leaves.
        size: side of the square crops in pixels.
        batch_size: images in a batch of each process.
        scale: side of a crop as a share of the photo's shorter side: smallest and largest share.
        min_side: photos with a shorter side are skipped.
        workers: number of loader processes. None for one for each core but one, at most 16.
        val_dir: folder of validation photos, or None for the bundled ones.
        val_size: side of the validation photos' centre squares in pixels.
        val_count: number of validation photos at most, the first in order of name.
        seed: seed of order and crops.
        dataset: a data set of your own, used instead of ``dir``, ``size``, ``scale`` and
            ``min_side``.

    Raises:
        UserError: for a folder that does not exist or holds no picture that can be used.

    >>> data = ContentData(dir=None, size=64, val_size=32)  # dead leaves
    >>> image, skipped = data.dataset[0, 5]  # epoch 0, index 5
    >>> image.shape
    torch.Size([3, 64, 64])
    >>> next(iter(data.val_dataloader())).shape
    torch.Size([1, 3, 32, 32])
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
        dataset: ContentImages | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        self.workers = min(max(usable_cores() - 1, 1), MAX_WORKERS) if workers is None else workers
        if dataset is not None:
            self.dataset = dataset
        elif dir is None:
            self.dataset = DeadLeaves(int(size), seed)
        else:
            folder = Path(os.path.expanduser(dir))
            self.dataset = PhotoFolder(folder, int(size), scale, min_side, seed)
        self.validation = readable_squares(
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
        """Return what this process trains on in a step, counted from 0, by name.

        Names are files, or numbers of dead leaves. A file that cannot be read is named although the
        next one took its place.
        """
        assert self.trainer is not None
        count = self.batch_size * self.trainer.accumulate_grad_batches
        return [self.dataset.name(key) for key in islice(self._sampler(step), count)]

    def _sampler(self, step: int) -> EndlessSampler:
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
        """Return the images of a batch, and log each of its skipped files once."""
        if isinstance(batch, Tensor):
            return batch
        images, skipped = batch
        for line in sorted(set(skipped) - self.skipped):
            self.skipped.add(line)
            log.warning("skipped %s (%d so far)", line, len(self.skipped))
        return images


class EndlessSampler(Sampler[tuple[int, int]]):
    """Keys ``(epoch, index)`` for one process, in a new order in each epoch.

    Args:
        length: number of images in an epoch.
        seed: seed of the orders.
        start: number of images that all processes together have drawn before.
        rank: number of this process, from 0 on.
        world_size: number of processes. Each takes every ``world_size``-th image.

    >>> list(islice(EndlessSampler(length=3, seed=0), 6))
    [(0, 2), (0, 0), (0, 1), (1, 2), (1, 0), (1, 1)]
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


def _outlive_signals(worker: int) -> None:
    """Let a loader process work on when Ctrl-C, SIGTERM or SIGHUP reach the whole process group.

    The training process finishes its step and then ends its loader processes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):  # Windows has neither SIGHUP nor SIGALRM
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # SIGTERM must not be ignored: a process that exits sends it to its children and waits.
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


def _collate(samples: list[Sample]) -> tuple[Tensor, list[str]]:
    return (
        torch.stack([image for image, _ in samples]),
        [line for _, skipped in samples for line in skipped],
    )
