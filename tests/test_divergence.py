"""Trainings that go wrong: they end with a sentence and leave good files alone."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from emulated_graphs import EmulatedRecorder
from omegaconf import DictConfig
from PIL import Image, ImageDraw
from pytorch_lightning.callbacks import ModelCheckpoint
from test_training_module import TINY, assert_equal, fit

from fast_style.checkpoint import load_style
from fast_style.data.content import ContentData
from fast_style.data.datasets import PhotoFolder
from fast_style.errors import UserError
from fast_style.training.divergence import StopWhereDiverged
from fast_style.training.module import StyleTransfer
from fast_style.training.train import train

Compose = Callable[..., DictConfig]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Pictures of one colour, and a small thing on white, whose crops mostly are."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for level in (0, 128, 255):
        Image.new("RGB", (300, 300), (level,) * 3).save(folder / f"{level}.png")
    product = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(product).ellipse((140, 140, 160, 160), fill="red")
    product.save(folder / "product.png")
    return folder


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_flat_pictures_alone_can_be_trained_on(
    compose: Compose, flat: Path, tmp_path: Path, optimizer: str
) -> None:
    cfg = compose(
        *TINY, "data=photos", f"data.dir={flat}", "data.size=40", f"optimizer={optimizer}",
        f"output_dir={tmp_path / 'run'}", "logger.save_dir=${output_dir}",
        "trainer.max_steps=50", "trainer.val_check_interval=25",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = train(cfg)
    assert result.steps == 50
    assert result.losses["total"] < 20
    load_style(result.network)  # refuses what is not finite


class Before(pl.Callback):
    """Does something to the module ahead of a step, counted from 1."""

    def __init__(self, step: int, change: Callable[[StyleTransfer], object]) -> None:
        self.step = step
        self.change = change

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: object
    ) -> None:
        if trainer.global_step == self.step - 1:
            self.change(cast(StyleTransfer, pl_module))


def spoil(module: StyleTransfer) -> None:
    with torch.no_grad():
        module.network.to_rgb.weight[0] = math.nan


@pytest.mark.parametrize("recorded", [False, True])
def test_a_loss_that_is_no_number_ends_the_run_and_replaces_nothing(
    compose: Compose, photos: Path, tmp_path: Path, recorded: bool
) -> None:
    last, network = tmp_path / "last.ckpt", tmp_path / "tiny.safetensors"
    data = ["data=photos", f"data.dir={photos}", "data.size=40"]
    keep = ModelCheckpoint(tmp_path, "last", every_n_train_steps=2, enable_version_counter=False)
    overrides = [*data, "trainer.max_steps=8", "trainer.val_check_interval=2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(UserError, match=r"loss of step 6 is nan, on .*\.png, .*\.png") as told:
            fit(
                compose, *overrides, export=network,
                recorder=EmulatedRecorder() if recorded else None,
                callbacks=[Before(6, spoil), StopWhereDiverged(), keep],
            )  # fmt: skip
    assert "lower optimizer.lr" in str(told.value)
    assert torch.load(last, weights_only=True)["global_step"] == 4
    assert load_style(network).losses["step"] == 4
    straight, _ = fit(compose, *overrides)
    resumed, _ = fit(compose, *overrides, resume=last)
    assert_equal(resumed, straight)


def test_the_files_that_are_named_are_those_of_the_step(compose: Compose, photos: Path) -> None:
    _, trainer = fit(compose, "data=photos", f"data.dir={photos}", "data.size=40")
    data = cast(ContentData, trainer.datamodule)  # type: ignore[attr-defined]
    dataset = cast(PhotoFolder, data.dataset)
    drawn = iter(cast(Any, data.train_dataloader().sampler))  # of the steps after the run
    for step in range(trainer.global_step, trainer.global_step + 3):
        expected = [str(dataset.paths[next(drawn)[1]]) for _ in range(2)]
        assert data.files_of(step) == expected


def test_weights_that_are_no_numbers_are_not_saved(compose: Compose, tmp_path: Path) -> None:
    """The last step's loss is a number still, and its weights are not."""
    module, trainer = fit(compose, "trainer.max_steps=2", callbacks=[StopWhereDiverged()])
    spoil(module)
    with pytest.raises(UserError, match="weights that are not finite"):
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "last.ckpt").exists()


def test_a_loss_that_explodes_ends_the_run(compose: Compose) -> None:
    def explode(module: StyleTransfer) -> None:
        module.loss.image_terms["content"].weight *= 1e6

    with pytest.raises(UserError, match=r"diverged: the loss of step [34] is \d+, on dead leaves"):
        fit(compose, callbacks=[Before(3, explode), StopWhereDiverged()])
