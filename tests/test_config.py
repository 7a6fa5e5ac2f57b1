"""Every leaf of conf/ composes, and what it names can be built."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from fast_style.data import ContentData
from fast_style.losses import PerceptualLoss
from fast_style.networks.transformer import ImageTransformer
from fast_style.resources import CONF

Compose = Callable[..., DictConfig]

LEAVES = sorted(
    (path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if path.stem != "painting"
)
EXPERIMENTS = [name for group, name in LEAVES if group == "experiment"]


def leaves(group: str) -> list[str]:
    return [name for found, name in LEAVES if found == group]


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


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
    found = list(targets(plain))
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
        loss.measure_style(pictures)
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
def test_styles(
    compose: Compose, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_STYLE_DATA", str(tmp_path))
    style = compose(f"style={name}").style
    assert style.name == name
    assert style.size > 0
    bundled = Path(style.image).is_file()
    assert bundled or Path(style.image).is_relative_to(tmp_path / "styles")


def test_the_default_painting_comes_with_the_package(compose: Compose) -> None:
    assert Path(compose().style.image).is_file()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments(compose: Compose, name: str) -> None:
    cfg = compose(f"experiment={name}", "data.dir=photos")
    default = compose("data.dir=photos")
    assert cfg != default
    again = compose(f"experiment={name}", "data.dir=photos", "trainer.max_steps=7")
    assert again.trainer.max_steps == 7  # the command line has the last word


def test_the_quickstart_needs_no_photo_and_no_download(compose: Compose) -> None:
    cfg = compose("experiment=quickstart")
    assert cfg.data.dir is None
    assert cfg.loss.weights == "bundled"
    assert Path(cfg.style.image).is_file()


def test_photos_must_be_given_otherwise(compose: Compose) -> None:
    assert OmegaConf.missing_keys(compose()) == {"data.dir"}


def test_one_seed_is_everybodys(compose: Compose) -> None:
    assert compose("seed=5").data.seed == 5
