"""One plan makes every network: each choice of `model` goes through all engines."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from fast_style.bundled import CONF
from fast_style.checkpoint import TrainedStyle, load_style, read_style, save_style
from fast_style.images.grain import with_grain
from fast_style.networks import plan_network
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.bands import stylized_bands
from fast_style.stylizing.onepass import OnePass
from fast_style.stylizing.openvino import CompiledTransformer
from fast_style.training.train import train

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
CPU = torch.device("cpu")


@pytest.fixture(params=MODELS)
def network(request: pytest.FixtureRequest, compose: Callable[..., DictConfig]) -> ImageTransformer:
    """A network of each choice, in which every norm scales and shifts in its own way."""
    torch.manual_seed(0)
    network: ImageTransformer = instantiate(compose(f"model={request.param}").model).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return network


@pytest.fixture
def saved(network: ImageTransformer, tmp_path: Path) -> Path:
    path = tmp_path / "style.safetensors"
    save_style(TrainedStyle(network, "style"), path)
    return path


def test_the_plan_names_every_tensor_and_its_shape(network: ImageTransformer) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert network.plan.tensor_shapes() == shapes
    assert plan_network(**network.config) == network.plan


def test_a_file_holds_the_network(network: ImageTransformer, saved: Path) -> None:
    loaded = load_style(saved).network
    assert loaded.config == network.config
    assert loaded.plan == network.plan
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name], rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_all_engines_paint_the_same(saved: Path, strength: float) -> None:
    style = read_style(saved).at_strength(strength)
    levels = np.random.default_rng(0).integers(0, 256, (45, 38, 3), dtype=np.uint8)
    photo = torch.from_numpy(with_grain(levels)).permute(2, 0, 1).unsqueeze(0) / 255
    with torch.no_grad():
        expected = style.network()(photo)
        bands = stylized_bands(
            style.network(), Image.fromarray(levels), CPU, torch.float32, torch.float32, 9
        )
        torch.testing.assert_close(torch.cat(list(bands), 2), expected, rtol=0, atol=2e-5)
        once = OnePass(style.network(), CPU, torch.float32).levels(torch.from_numpy(levels.copy()))
    assert expected.std() > 0.05
    rounded = expected[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(once.numpy() - rounded).max() < 0.51
    exact = CompiledTransformer(style.weights, True, style.plan)(levels)
    assert np.abs(exact - rounded).max() < 0.51
    few_bits = CompiledTransformer(style.weights, False, style.plan)(levels)
    assert np.square(few_bits - rounded).mean() < 0.02 * rounded.var()  # 8 bits


@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_training_moves_every_tensor(
    model: str, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    overrides = [
        "experiment=quickstart",
        f"model={model}",
        "loss.style_layers=[relu1_1]",
        "loss.content_layers=[relu2_1]",
        "data.size=32",
        "data.batch_size=1",
        "data.workers=0",
        "data.val_size=32",
        "data.val_count=1",
        "style.size=48",
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
        "trainer.max_steps=2",  # at full strength, and below
        "trainer.val_check_interval=2",
        "callbacks.schedule.warmup=0",
    ]
    result = train(compose(*overrides, f"output_dir={tmp_path}/run"))
    torch.manual_seed(0)  # conf/train.yaml's seed
    before = instantiate(compose(f"model={model}").model).state_dict()
    after = torch.load(result.checkpoint, weights_only=True)["state_dict"]
    assert {name.removeprefix("network.") for name in after} == before.keys()
    for name, tensor in before.items():
        assert not torch.equal(after[f"network.{name}"], tensor), name
    assert load_style(result.network).network.plan.adjustable


def test_weights_of_another_network_are_refused(network: ImageTransformer) -> None:
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with pytest.raises(ValueError, match="not those of the planned network"):
        CompiledTransformer(weights, True, plan_network(residual_blocks=4))


def test_a_bottleneck_is_narrow_inside_its_blocks() -> None:
    block = plan_network((8, 16, 32), 1, bottleneck=4).residuals[0]
    assert [(layer.inputs, layer.outputs, layer.kernel) for layer in block] == [
        (32, 4, 1),
        (4, 4, 3),
        (4, 32, 1),
    ]
    assert [(layer.activation, layer.skip) for layer in block] == [
        ("relu", "begins"),
        ("relu", None),
        (None, "ends"),
    ]


def test_the_plan_needs_no_pytorch() -> None:
    code = "import sys, fast_style.networks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
