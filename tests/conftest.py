"""Fixtures that several test files share: loss network weights, photos and configurations."""

import os

import torch

import fast_style  # noqa: F401  # ahead of PyTorch, which reads what it sets

# Without a GPU, Triton's interpreter runs the kernels. Triton reads this when it is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import absl.logging
import numpy as np
import pytest
from browser import browser, chromium, visit  # noqa: F401  # fixtures
from click.testing import CliRunner
from command_line import noise
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision import models
from training_runs import TINY, Train, done, picture

from fast_style import Stylizer
from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.cli import main
from fast_style.config.compose import compose_config
from fast_style.devices import usable_cores
from fast_style.networks import kernels
from fast_style.networks.transformer import ImageTransformer

# Processes of pytest -n share the cores, and so do the programs that they start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = max(1, usable_cores() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)

# TensorBoard imports absl, whose log handler keeps the stderr of that moment. When Hydra sets up
# logging, absl closes a stderr that is not the present one, which would be pytest's capture file.
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("there is no GPU")


def torchvision_features(network: str) -> nn.Sequential:
    """The convolutions of torchvision's model, with random weights that keep signals alive."""
    with torch.device("meta"):  # the fully connected layers would take gigabytes
        features = getattr(models, network)(weights=None).features.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for module in features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            assert module.bias is not None
            nn.init.normal_(module.bias, std=0.1, generator=generator)
    return features.eval()


@pytest.fixture
def device() -> Iterator[str]:
    """Where our kernels run: on the GPU or, without one, on the CPU by Triton's interpreter."""
    if torch.cuda.is_available():
        yield "cuda"
    else:
        with kernels.on_cpu():
            yield "cpu"


@pytest.fixture(scope="session")
def vgg16() -> nn.Sequential:
    return torchvision_features("vgg16")


@pytest.fixture(scope="session")
def vgg19() -> nn.Sequential:
    return torchvision_features("vgg19")


@pytest.fixture(scope="session")
def vgg19_file(vgg19: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's own, without the fully connected layers."""
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save({f"features.{name}": tensor for name, tensor in vgg19.state_dict().items()}, path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six small photos, no two alike."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC)
        photo.save(folder / f"{number}.png")
    return folder


class Payload:
    """Unpickling one creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.target), "w")


@pytest.fixture
def bomb(tmp_path: Path) -> Callable[[Path, bool], Path]:
    """Writes a pickle to a path, and returns the file that unpickling it would create."""

    def write(path: Path, as_torch: bool) -> Path:
        target = tmp_path / "executed"
        if as_torch:
            torch.save({"features.0.weight": Payload(target)}, path)
        else:
            path.write_bytes(pickle.dumps(Payload(target)))
        return target

    return write


@pytest.fixture(scope="session")
def style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained style with a tiny network of random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("style") / "tiny.safetensors"
    save_style(TrainedStyle(ImageTransformer((4, 8, 8), residual_blocks=1), "tiny"), path)
    return path


@pytest.fixture(scope="session")
def vivid_style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained style at any strength, with a tiny network that changes much in milliseconds."""
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=1, adjustable=True)
    with torch.no_grad():
        network.to_rgb.weight.mul_(4)
    path = tmp_path_factory.mktemp("style") / "vivid.safetensors"
    save_style(TrainedStyle(network, "vivid"), path)
    return path


@pytest.fixture(scope="session")
def stylizer(vivid_style: Path) -> Stylizer:
    return Stylizer(vivid_style, "cpu", precision="float32")


@pytest.fixture(scope="session")
def unchanged(vivid_style: Path) -> Stylizer:
    """Gives the photo itself."""
    return Stylizer(vivid_style, "cpu", precision="float32", strength=0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 80 x 60 px."""
    path = tmp_path / "photo.jpg"
    noise(80, 60).save(path)
    return path


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Train]:
    """Runs `fast-style train` in this process, in a folder that holds a.png and b.png."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # restored afterwards
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level  # Hydra changes both
    yield lambda *given: CliRunner().invoke(main, ["train", *given])
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps, whose painting is a.png beside it. Copy it to change it."""
    folder = tmp_path_factory.mktemp("finished")
    picture(folder / "a.png")
    given = [*TINY, f"style={folder}/a.png", f"output_dir={folder}/run"]
    done(CliRunner().invoke(main, ["train", *given]))
    return folder / "run"


@pytest.fixture(scope="session")
def compose() -> Callable[..., DictConfig]:
    """Composes conf/train.yaml with overrides."""

    def compose(*overrides: str) -> DictConfig:
        return compose_config(["output_dir=run", *overrides])

    return compose


class Dispatched(TorchDispatchMode):
    """Records operations: ``launches`` of work on the device, and ``moves`` between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[str] = []
        self.moves: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace != "prim" and not func.is_view and "empty" not in func.__name__:
            self.launches.append(str(func))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
        # Plain numbers, as tensors of no dimension, travel with the launch.
        if len({x.device.type for x in tensors if x.ndim}) > 1:
            self.moves.append(f"{func} {[tuple(x.shape) for x in tensors]}")
        return result


@pytest.fixture
def dispatched() -> Dispatched:
    return Dispatched()
