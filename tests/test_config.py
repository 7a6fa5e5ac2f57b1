"""Every leaf of conf/ composes, and the classes it names can be built."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from fast_style.bundled import CONF, PAINTINGS
from fast_style.checkpoint import read_style, shipped_styles
from fast_style.config.classes import follow_moves, targets
from fast_style.data.content import ContentData
from fast_style.images import open_picture
from fast_style.losses import PerceptualLoss
from fast_style.networks.transformer import ImageTransformer

Compose = Callable[..., DictConfig]

LEAVES = sorted(
    (path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if path.stem != "painting"
)
EXPERIMENTS = [name for group, name in LEAVES if group == "experiment"]


def leaves(group: str) -> list[str]:
    return [name for found, name in LEAVES if found == group]


def test_there_is_nothing_but_leaves_and_the_root() -> None:
    assert {path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_file()} == {
        "train.yaml",
        "style/painting.yaml",
        *(f"{group}/{name}.yaml" for group, name in LEAVES),
    }


@pytest.mark.parametrize(("group", "name"), LEAVES)
def test_every_leaf_composes_and_names_what_exists(compose: Compose, group: str, name: str) -> None:
    choice = f"{group}={name}"
    cfg = compose(choice, *([] if name == "dead_leaves" else ["data.dir=photos"]))
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    found = [target for _, target in targets(plain)]
    assert len(found) >= (8 if name == "none" else 9)  # model, data, loss, optimiser, trainer, ...
    for target in found:
        assert isinstance(get_class(target), type)


@pytest.mark.parametrize("name", leaves("model"))
def test_models(compose: Compose, name: str) -> None:
    network = instantiate(compose(f"model={name}").model)
    assert isinstance(network, ImageTransformer)
    with torch.no_grad():
        assert network(torch.rand(1, 3, 20, 24)).shape == (1, 3, 20, 24)


def test_small_is_half_as_wide(compose: Compose) -> None:
    small, johnson = (compose(f"model={name}").model for name in ("small", "johnson"))
    assert [2 * width for width in small.widths] == list(johnson.widths) == [32, 64, 128]
    assert small.residual_blocks == johnson.residual_blocks == 5


@pytest.mark.parametrize("name", leaves("loss"))
def test_losses(compose: Compose, name: str, vgg19_file: Path) -> None:
    weights = [f"loss.weights={vgg19_file}"] if name == "vgg19" else []
    loss = instantiate(compose(f"loss={name}", *weights).loss)
    assert isinstance(loss, PerceptualLoss)
    pictures = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        loss.set_style_image(pictures)
        losses = loss(pictures, pictures)
    assert losses["style"] < 1e-6
    assert losses["total"].isfinite()


@pytest.mark.parametrize("name", leaves("data"))
def test_data(compose: Compose, name: str, photos: Path) -> None:
    folder = [] if name == "dead_leaves" else [f"data.dir={photos}"]
    data = instantiate(compose(f"data={name}", "data.size=32", "seed=7", *folder).data)
    assert isinstance(data, ContentData)
    assert data.seed == 7
    assert data.dataset[0, 0][0].shape == (3, 32, 32)


@pytest.mark.parametrize("name", leaves("optimizer"))
def test_optimizers(compose: Compose, name: str) -> None:
    scale = torch.nn.Parameter(torch.ones(3))
    kernel = torch.nn.Parameter(torch.ones(4, 3, 3, 3))
    optimizer = instantiate(compose(f"optimizer={name}").optimizer)([scale, kernel])
    (scale.square().sum() + kernel[0].square().sum()).backward()
    optimizer.step()
    assert (scale < 1).all()
    assert (kernel[0] < 1).all()


@pytest.mark.parametrize("name", leaves("callbacks"))
def test_callbacks(compose: Compose, name: str) -> None:
    for callback in instantiate(compose(f"callbacks={name}").callbacks).values():
        assert callback.state_key


@pytest.mark.parametrize("name", leaves("logger"))
def test_loggers(compose: Compose, name: str, tmp_path: Path) -> None:
    cfg = compose(f"logger={name}", f"output_dir={tmp_path}")
    logger = instantiate(cfg.logger)
    if name == "none":
        assert logger is None
    else:
        assert logger.log_dir == str(tmp_path / name)


@pytest.mark.parametrize("name", leaves("trainer"))
def test_trainers(compose: Compose, name: str) -> None:
    accelerator = "auto" if name == "auto" else "cpu"  # not every machine has a GPU
    trainer = instantiate(
        compose(f"trainer={name}", f"trainer.accelerator={accelerator}").trainer, logger=False
    )
    assert trainer.max_steps == 40000
    assert trainer.world_size == (2 if name == "ddp" else 1)
    assert trainer.precision in ("32-true", "bf16-mixed")


@pytest.mark.parametrize("name", leaves("style"))
def test_every_style_finds_its_painting_in_the_package(compose: Compose, name: str) -> None:
    style = compose(f"style={name}").style
    assert style.name == name
    assert style.size > 0
    assert Path(style.image) == PAINTINGS / f"{name}.jpg"
    # The style is measured at 768 px at most. Larger files would only make the package larger.
    assert 768 <= max(open_picture(Path(style.image)).size) <= 1000


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments(compose: Compose, name: str) -> None:
    cfg = compose(f"experiment={name}", "data.dir=photos")
    default = compose("data.dir=photos")
    assert cfg != default
    again = compose(f"experiment={name}", "data.dir=photos", "trainer.max_steps=7")
    assert again.trainer.max_steps == 7  # the command line wins


def test_the_quickstart_needs_no_photo_and_no_download(compose: Compose) -> None:
    cfg = compose("experiment=quickstart")
    assert cfg.data.dir is None
    assert cfg.loss.weights == "bundled"
    assert Path(cfg.style.image).is_file()


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_short_experiments_start_from_the_base_and_need_no_download(
    compose: Compose, name: str
) -> None:
    cfg = compose(f"experiment={name}", "data.dir=photos")
    assert cfg.init == "base"
    assert cfg.loss.weights == "bundled"


def test_train_shipped_is_the_recipe_in_the_shipped_files(compose: Compose, tmp_path: Path) -> None:
    uv = tmp_path / "uv"  # records what the script would train
    uv.write_text(f'#!/bin/sh\n(printf "%s\\n" "$@"; echo) >> {tmp_path}/commands\n')
    uv.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    script = CONF.parent / "scripts" / "train_shipped.sh"
    subprocess.run(["bash", script, "photos", "out"], env={"PATH": path}, check=True)
    trained = []
    for command in (tmp_path / "commands").read_text().split("\n\n")[:-1]:
        assert command.startswith("run\nfast-style\ntrain\n")
        cfg = compose(*command.splitlines()[3:])
        recipe = read_style(cfg.style.name).recipe
        follow_moves(recipe)
        found: Any = OmegaConf.to_container(cfg, resolve=True)
        found["style"]["image"] = Path(cfg.style.image).name
        found["schedule"] = found["callbacks"]["schedule"]
        for part in ("style", "model", "loss", "optimizer", "init", "seed", "schedule"):
            assert found[part] == recipe[part], (cfg.style.name, part)
        for key in ("size", "batch_size", "scale", "min_side"):
            assert found["data"][key] == recipe["data"][key], (cfg.style.name, key)
        assert found["trainer"]["max_steps"] == recipe["trainer"]["max_steps"]
        trained.append(cfg.style.name)
    assert sorted([*trained, "poppy-field"]) == shipped_styles()


def test_photos_must_be_given_otherwise(compose: Compose) -> None:
    assert OmegaConf.missing_keys(compose()) == {"data.dir"}


def test_one_seed_is_everybodys(compose: Compose) -> None:
    assert compose("seed=5").data.seed == 5
