"""Data sets of content images: photos of a folder, dead leaves, and a base for your own."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from fast_style.data.dead_leaves import dead_leaves
from fast_style.errors import UserError
from fast_style.images import find_pictures, open_picture
from fast_style.images.grain import with_grain

log = logging.getLogger(__name__)

Sample = tuple[Tensor, list[str]]
"""An image, uint8 ``(3, size, size)``, and a line for each file that was skipped to get it."""


class ContentImages(Dataset[Sample], ABC):
    """Square images to train on. Subclasses write `__len__` and `draw`.

    An image follows from the seed, the epoch and its index alone, never from the number of loader
    processes or devices: runs repeat exactly, and so do resumed runs.

    Args:
        size: side of an image in pixels.
        seed: seed of all that is left to chance.

    >>> class Noise(ContentImages):
    ...     def __len__(self):
    ...         return 100
    ...
    ...     def draw(self, index, rng, skipped):
    ...         return rng.integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
    >>> image, skipped = Noise(size=64, seed=0)[0, 5]  # epoch 0, index 5
    >>> image.shape
    torch.Size([3, 64, 64])
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images in an epoch."""

    @abstractmethod
    def draw(self, index: int, rng: np.random.Generator, skipped: list[str]) -> NDArray[np.uint8]:
        """Return an image, ``(size, size, 3)`` RGB.

        Args:
            index: number of the image in its epoch, below ``len``.
            rng: the only source of randomness, another one in each epoch.
            skipped: takes a line for each file that was skipped, which training logs once.
        """

    def name(self, key: tuple[int, int]) -> str:
        """Return what messages call the image of ``(epoch, index)``."""
        epoch, index = key
        return f"{type(self).__name__} {epoch}.{index}"

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        skipped: list[str] = []
        rng = np.random.default_rng([self.seed, epoch, index])
        return _to_tensor(self.draw(index, rng, skipped)), skipped


class PhotoFolder(ContentImages):
    """Random square crops of the photos in a folder.

    Scale and place of a crop are random, and half of the crops are flipped left to right. A photo
    that cannot be read or is too small is replaced by the next one that can be used.

    Args:
        folder: folder of photos, flat or nested.
        size: side of a crop in pixels.
        scale: side of a crop before it is resized, as a share of the photo's shorter side: the
            smallest and the largest share, in (0, 1].
        min_side: photos with a shorter side are skipped.
        seed: see `ContentImages`.

    Raises:
        UserError: if no picture in the folder can be used.
    """

    def __init__(
        self, folder: Path, size: int, scale: Sequence[float], min_side: int, seed: int
    ) -> None:
        super().__init__(size, seed)
        self.scale = (float(scale[0]), float(scale[1]))
        self.min_side = min_side
        self.paths = find_pictures(folder)
        reasons: list[str] = []
        if self._first_usable(0, size, reasons) is None:
            raise UserError(
                f"none of the {len(self.paths)} pictures in {folder} can be used (the first: "
                f"{reasons[0]}): give a folder of photos at least {min_side} px a side"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, key: tuple[int, int]) -> str:
        return str(self.paths[key[1]])

    def draw(self, index: int, rng: np.random.Generator, skipped: list[str]) -> NDArray[np.uint8]:
        share = rng.uniform(*self.scale)
        across, down = rng.random(2)
        flip = rng.random() < 0.5
        photo = self._first_usable(index, round(self.size / share), skipped)
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
        return np.asarray(crop)

    def _first_usable(self, index: int, draft_side: int, skipped: list[str]) -> Image.Image | None:
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


class DeadLeaves(ContentImages):
    """Synthetic images, see `dead_leaves`. No two are alike, in any epoch."""

    def __len__(self) -> int:
        return 1000  # any number will do: each epoch has its own images

    def name(self, key: tuple[int, int]) -> str:
        epoch, index = key
        return f"dead leaves {epoch}.{index}"

    def draw(self, index: int, rng: np.random.Generator, skipped: list[str]) -> NDArray[np.uint8]:
        return dead_leaves(self.size, rng)


class CentreSquares(Dataset[Tensor]):
    """The centre squares of photos, uint8 ``(3, size, size)``.

    Args:
        paths: files of the photos.
        size: side of a square in pixels.
    """

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
        return _to_tensor(np.asarray(square))


def readable_squares(folder: Path, size: int, count: int) -> CentreSquares:
    """Return the centre squares of the first photos of a folder that can be read.

    Args:
        folder: folder of photos, flat or nested.
        size: side of a square in pixels.
        count: number of photos at most.

    Raises:
        UserError: if none can be read.
    """
    readable: list[Path] = []
    reasons: list[str] = []
    paths = find_pictures(folder)
    for path in paths:
        if len(readable) == count:
            break
        try:
            open_picture(path, size)
            readable.append(path)
        except UserError as error:
            reasons.append(str(error))
            log.warning("skipped %s (of data.val_dir)", error)
    if not readable:
        raise UserError(
            f"none of the {len(paths)} pictures in data.val_dir={folder} can be used (the first: "
            f"{reasons[0]}): give a folder of photos"
        )
    return CentreSquares(readable, size)


def _to_tensor(levels: NDArray[np.uint8]) -> Tensor:
    """Add grain to ``(H, W, 3)``, as ``(3, H, W)``.

    Instance norm divides an image of a single colour by almost nothing: without grain, gradients
    are zero or overflow.
    """
    return torch.from_numpy(with_grain(levels)).permute(2, 0, 1).contiguous()
