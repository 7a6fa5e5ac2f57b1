"""Photos on their way to training: in what order, which part of them, and what is skipped."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from fast_style.data.content import ContentData, EndlessSampler
from fast_style.data.datasets import CentreSquares, DeadLeaves, PhotoFolder
from fast_style.errors import UserError
from fast_style.training.train import train

RED = (220, 30, 20)


def batches(data: ContentData) -> Iterator[Tensor]:
    """Training batches as the trainer would take them."""
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    for batch in data.train_dataloader():
        yield data.on_before_batch_transfer(batch, 0)


def ramps(folder: Path, width: int = 256, height: int = 192) -> Path:
    """A photo whose red is its column and whose green is its row."""
    folder.mkdir()
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    Image.fromarray(pixels).save(folder / "ramps.png")
    return folder


def box(crop: Tensor) -> tuple[float, float, float, float, bool]:
    """Left, top, width and height of a crop of `ramps`, and whether it was flipped."""
    red, green = crop[0].double().mean(0), crop[1].double().mean(1)
    n = len(red)
    inner = slice(2, -2)  # the filter sees less at the border
    across = (red[inner][-1] - red[inner][0]) / (n - 5)
    down = (green[inner][-1] - green[inner][0]) / (n - 5)
    left = min(red[2] - 2.5 * across, red[2] + (n - 2.5) * across) + 0.5
    top = green[2] - 2.5 * down + 0.5
    return float(left), float(top), float(abs(across) * n), float(down * n), bool(across < 0)


# --- the order ---


def test_sampler_covers_every_photo_once_an_epoch() -> None:
    keys = list(islice(EndlessSampler(7, seed=0), 3 * 7))
    assert [epoch for epoch, _ in keys] == [0] * 7 + [1] * 7 + [2] * 7
    orders = [[i for epoch, i in keys if epoch == e] for e in range(3)]
    for order in orders:
        assert sorted(order) == list(range(7))
    assert orders[0] != orders[1] != orders[2] != list(range(7))


def test_sampler_follows_from_its_seed() -> None:
    def first(seed: int) -> list[tuple[int, int]]:
        return list(islice(EndlessSampler(50, seed), 120))

    assert first(3) == first(3)
    assert first(3) != first(4)


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_the_photos_out(world_size: int) -> None:
    alone = list(islice(EndlessSampler(10, seed=1), 60))
    parts = [
        list(islice(EndlessSampler(10, 1, rank=rank, world_size=world_size), 60 // world_size))
        for rank in range(world_size)
    ]
    for rank, part in enumerate(parts):
        assert part == alone[rank::world_size]
    assert Counter(key for part in parts for key in part) == Counter(alone)


@pytest.mark.parametrize("start", [1, 6, 10, 37, 100])
def test_sampler_resumes_exactly(start: int) -> None:
    whole = list(islice(EndlessSampler(10, seed=1), start + 30))
    assert list(islice(EndlessSampler(10, seed=1, start=start), 30)) == whole[start:]


def test_processes_resume_exactly() -> None:
    for rank in range(2):
        whole = list(islice(EndlessSampler(9, seed=1, rank=rank, world_size=2), 40))
        resumed = EndlessSampler(9, seed=1, start=24, rank=rank, world_size=2)
        assert list(islice(resumed, 28)) == whole[12:]


def test_a_single_photo_makes_an_epoch() -> None:
    assert list(islice(EndlessSampler(1, seed=0), 3)) == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize("folder", ["photos", None])
def test_batches_do_not_depend_on_workers(folder: str | None, photos: Path) -> None:
    def first(workers: int) -> Tensor:
        data = ContentData(
            str(photos) if folder else None, size=32, batch_size=3, workers=workers, seed=5
        )
        return torch.cat(list(islice(batches(data), 5)))

    assert torch.equal(first(0), first(2))


def test_batches_follow_from_the_seed_alone(photos: Path) -> None:
    def first(seed: int) -> Tensor:
        data = ContentData(str(photos), size=32, batch_size=6, workers=0, seed=seed)
        return torch.cat(list(islice(batches(data), 2)))

    torch.manual_seed(1)
    np.random.seed(1)
    once = first(0)
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first(0), once)
    assert not torch.equal(first(1), once)
    assert not torch.equal(once[:6].sort(0)[0], once[6:].sort(0)[0])  # epochs have their own crops


def test_batches_are_uint8_squares(photos: Path) -> None:
    data = ContentData(str(photos), size=40, batch_size=4, workers=0)
    batch = next(batches(data))
    assert batch.shape == (4, 3, 40, 40)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous()


def test_dead_leaves_are_never_the_same() -> None:
    dataset = DeadLeaves(32, seed=0)
    pictures = [dataset[key][0] for key in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    assert all(p.shape == (3, 32, 32) and p.dtype == torch.uint8 for p in pictures)
    assert len({p.numpy().tobytes() for p in pictures}) == 4
    assert torch.equal(dataset[1, 1][0], pictures[3])
    assert not torch.equal(DeadLeaves(32, seed=1)[0, 0][0], pictures[0])


# --- the crops ---


def test_crops_lie_inside_and_vary(tmp_path: Path) -> None:
    dataset = PhotoFolder(ramps(tmp_path / "photos"), 64, (0.5, 1.0), 64, seed=0)
    boxes = np.array([box(dataset[epoch, 0][0]) for epoch in range(60)])
    left, top, width, height, flipped = boxes.T
    slack = 1.0
    assert (left >= -slack).all()
    assert (top >= -slack).all()
    assert (left + width <= 256 + slack).all()
    assert (top + height <= 192 + slack).all()
    np.testing.assert_allclose(width, height, atol=2 * slack)  # squares stay squares
    share = height / 192
    assert (share > 0.5 - 0.02).all()
    assert (share < 1.0 + 0.02).all()
    assert share.min() < 0.6
    assert share.max() > 0.9
    assert left.min() < 20
    assert (left + width).max() > 236
    assert 15 <= flipped.sum() <= 45  # of 60


def test_scale_one_is_the_whole_shorter_side(tmp_path: Path) -> None:
    dataset = PhotoFolder(ramps(tmp_path / "photos"), 64, (1.0, 1.0), 64, seed=0)
    for epoch in range(10):
        _, top, width, height, _ = box(dataset[epoch, 0][0])
        assert (top, width, height) == pytest.approx((0, 192, 192), abs=1.5)


def test_small_photos_are_enlarged(tmp_path: Path) -> None:
    dataset = PhotoFolder(ramps(tmp_path / "photos", 70, 66), 128, (0.5, 1.0), 64, seed=0)
    assert dataset[0, 0][0].shape == (3, 128, 128)


def test_large_jpegs_are_decoded_small_and_cropped_alike(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.mkdir()
    with Image.open(ramps(tmp_path / "photos") / "ramps.png") as ramp:
        ramp.resize((1024, 768), Image.Resampling.BILINEAR).save(large / "x.jpg", quality=95)
    for key in [(0, 0), (1, 0), (2, 0)]:
        crops = [
            PhotoFolder(folder, 48, (0.5, 1.0), 64, seed=0)[key][0].int()
            for folder in (tmp_path / "photos", large)
        ]
        assert (crops[0] - crops[1]).abs().float().mean() < 4


# --- the folder and its files ---


def test_nested_folders_and_every_mode(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "a" / "b").mkdir(parents=True)
    red = Image.new("RGB", (80, 70), RED)
    red.save(folder / "rgb.jpg", quality=95)
    red.convert("CMYK").save(folder / "a" / "cmyk.jpg", quality=95)
    red.quantize(8).save(folder / "a" / "palette.png")
    Image.new("RGBA", (80, 70), (*RED, 255)).save(folder / "a" / "b" / "rgba.PNG")
    Image.new("L", (80, 70), 90).save(folder / "a" / "b" / "grey.jpg")
    Image.new("I;16", (80, 70), 90 * 257).save(folder / "a" / "b" / "deep.png")
    dataset = PhotoFolder(folder, 32, (0.5, 1.0), 64, seed=0)
    assert len(dataset) == 6
    for index, path in enumerate(dataset.paths):
        crop, skipped = dataset[0, index]
        assert skipped == []
        colour = (90, 90, 90) if path.stem in ("grey", "deep") else RED
        expected = torch.tensor(colour).view(3, 1, 1).expand(3, 32, 32)
        assert (crop.int() - expected).abs().max() <= 4, path


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.zeros((96, 96, 3), dtype=np.uint8)
    pixels[:48] = 255  # white above black, once turned; the file says "turn by 180 degrees"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels[::-1, ::-1]).save(folder / "turned.jpg", exif=exif, quality=95)
    crop, _ = PhotoFolder(folder, 32, (1.0, 1.0), 64, seed=0)[0, 0]
    assert crop[:, :12].float().mean() > 250
    assert crop[:, -12:].float().mean() < 5


@pytest.fixture
def flawed(photos: Path) -> Path:
    """Six good photos, two that cannot be read and one that is too small."""
    (photos / "0_text.jpg").write_text("no photo")
    whole = (photos / "3.png").read_bytes()
    (photos / "4_cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (20, 200)).save(photos / "9_tiny.png")
    return photos


def test_files_that_cannot_be_read_are_counted_and_named(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("IMG_1.JXL", "IMG_2.CR2"):
        (photos / name).write_bytes(bytes(40))
    assert len(PhotoFolder(photos, 32, (0.5, 1.0), 64, seed=0)) == 6
    (message,) = caplog.messages
    assert message.startswith(f"2 of the files in {photos} cannot be read")
    assert "IMG_1.JXL, IMG_2.CR2" in message


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_are_skipped_and_named_once(
    flawed: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = ContentData(str(flawed), size=64, batch_size=3, workers=workers)
    with caplog.at_level(logging.WARNING, logger="fast_style.data.content"):
        taken = list(islice(batches(data), 12))  # four epochs of nine
    assert all(batch.shape == (3, 3, 64, 64) for batch in taken)
    lines = [
        record.getMessage() for record in caplog.records if record.name == "fast_style.data.content"
    ]
    assert len(lines) == 3
    for name in ("0_text.jpg", "4_cut.png", "9_tiny.png"):
        assert len([line for line in lines if name in line]) == 1
    assert "20 x 200 px" in next(line for line in lines if "tiny" in line)
    assert [f"({n} so far)" in line for n, line in enumerate(lines, start=1)] == [True] * 3


def test_the_place_of_a_bad_file_goes_to_the_next_good_one(flawed: Path) -> None:
    dataset = PhotoFolder(flawed, 64, (1.0, 1.0), 64, seed=0)
    names = [path.name for path in dataset.paths]
    bad, after = names.index("4_cut.png"), names.index("5.png")
    assert after == bad + 1
    crop, skipped = dataset[0, bad]
    assert [name for name in names if any(name in line for line in skipped)] == ["4_cut.png"]
    following = Path(dataset.paths[after])
    for path in dataset.paths:
        if path != following:
            path.unlink()
    again, _ = dataset[0, bad]  # nothing else is left to draw from
    assert torch.equal(crop, again)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_too_small_means_the_same_in_every_draw(tmp_path: Path, size: int) -> None:
    Image.new("RGB", (50, 50)).save(tmp_path / "small.png")
    Image.new("RGB", (90, 90)).save(tmp_path / "large.png")
    dataset = PhotoFolder(tmp_path, size, (0.5, 1.0), 64, seed=0)
    small = [path.name for path in dataset.paths].index("small.png")
    assert {len(dataset[epoch, small][1]) for epoch in range(20)} == {1}


def test_nothing_but_bad_files(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"no photo")
    with pytest.raises(UserError, match=r"none of the 3 pictures in .*0\.jpg") as caught:
        ContentData(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_nothing_but_tiny_photos(tmp_path: Path) -> None:
    Image.new("RGB", (63, 300)).save(tmp_path / "narrow.png")
    with pytest.raises(UserError, match=r"63 x 300 px.*photos at least 64 px a side"):
        ContentData(str(tmp_path))


def test_files_that_disappear_during_training(photos: Path) -> None:
    dataset = PhotoFolder(photos, 32, (0.5, 1.0), 64, seed=0)
    for path in dataset.paths[1:]:
        path.unlink()
    assert len(dataset[0, 1][1]) == 5
    dataset.paths[0].unlink()
    with pytest.raises(UserError, match="no picture can be read any more"):
        dataset[0, 1]


@pytest.mark.parametrize("name", ["empty", "missing", "notes.txt"])
def test_folders_that_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no folder")
    with pytest.raises(UserError, match=name):
        ContentData(str(tmp_path / name))
    with pytest.raises(UserError, match=name):
        ContentData(None, val_dir=str(tmp_path / name))


# --- validation, resuming ---


def test_validation_shows_centre_squares(tmp_path: Path) -> None:
    square = CentreSquares([ramps(tmp_path / "photos") / "ramps.png"], 64)[0]
    left, top, width, height, flipped = box(square)
    assert (left, top, width, height) == pytest.approx((32, 0, 192, 192), abs=1.5)
    assert not flipped


def test_validation_takes_the_first_photos_in_order(photos: Path) -> None:
    data = ContentData(None, val_dir=str(photos), val_size=48, val_count=2)
    found = list(data.val_dataloader())
    assert [batch.shape for batch in found] == [(1, 3, 48, 48)] * 2
    assert [path.name for path in data.validation.paths] == ["0.png", "1.png"]
    assert torch.equal(data.on_before_batch_transfer(found[0], 0), found[0])


def test_bundled_photos_are_the_default_to_look_at() -> None:
    data = ContentData(None, val_size=32)
    squares = torch.cat(list(data.val_dataloader()))
    assert len(squares) >= 3
    assert squares.float().std() > 20


# --- data sets of one's own ---

OWN_DATA = """
import numpy as np
from fast_style.data import ContentImages


class Stripes(ContentImages):
    def __init__(self, count, size, seed):
        super().__init__(size, seed)
        self.count = count

    def __len__(self):
        return self.count

    def draw(self, index, rng, skipped):
        if index == 0:
            skipped.append("stripe 0 is worn")
        stripes = np.zeros((self.size, self.size, 3), dtype=np.uint8)
        stripes[:, index % self.size] = rng.integers(100, 200)
        return stripes
"""

OWN_LEAF = """
defaults:
  - dead_leaves
  - _self_

dataset:
  _target_: own_data.Stripes
  count: 5
  size: ${data.size}
  seed: ${data.seed}
"""


def test_a_class_and_a_leaf_are_a_data_set(
    compose: Callable[..., DictConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "own_data.py").write_text(OWN_DATA)
    leaf = tmp_path / "my_conf" / "data" / "stripes.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text(OWN_LEAF)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = compose(
        f"hydra.searchpath=[{leaf.parent.parent}]", "experiment=quickstart", "data=stripes",
        "model.widths=[4,8,8]", "model.residual_blocks=1", "loss.style_layers=[relu1_1]",
        "loss.content_layers=[relu1_1]", "data.size=32", "data.batch_size=5", "data.workers=0",
        "data.val_size=32", "data.val_count=1", "style.size=48", "trainer.accelerator=cpu",
        "trainer.max_steps=2", f"output_dir={tmp_path / 'run'}", "logger=none",
    )  # fmt: skip
    assert train(cfg).steps == 2
    assert [r.getMessage() for r in caplog.records if "worn" in r.getMessage()] == [
        "skipped stripe 0 is worn (1 so far)"
    ]

    data = instantiate(cfg.data)
    first, second = islice(batches(data), 2)
    assert first.shape == (5, 3, 32, 32)
    brightest = [sorted(batch.float().mean((1, 2)).argmax(1).tolist()) for batch in (first, second)]
    assert brightest == [[0, 1, 2, 3, 4]] * 2
    assert not torch.equal(first, second)  # epochs have their own images
    assert data.files_of(0)[0].startswith("Stripes 0.")
