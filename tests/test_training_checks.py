"""What training refuses before it starts."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from omegaconf import OmegaConf
from PIL import Image

from fast_style.devices import available_memory
from fast_style.errors import UserError
from fast_style.losses import PerceptualLoss
from fast_style.training.checks import STYLE_BYTES_PER_PIXEL, load_style_image

resource = pytest.importorskip("resource")

LEFT = 250_000_000


@pytest.fixture
def little_memory() -> Iterator[None]:
    """This process may take 250 MB more than it has."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    taken = psutil.Process().memory_info().data
    resource.setrlimit(resource.RLIMIT_DATA, (taken + LEFT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts all memory as data")
def test_a_style_size_beyond_memory_is_refused_and_the_size_it_names_fits(
    tmp_path: Path, little_memory: None
) -> None:
    path = tmp_path / "painting.png"
    Image.effect_noise((600, 400), 80).convert("RGB").save(path)
    style = OmegaConf.create({"image": str(path), "size": 1500})
    with pytest.raises(UserError) as refused:
        load_style_image(style)
    needed, free = (STYLE_BYTES_PER_PIXEL * 1500 * 1000 + 150e6) / 1e9, LEFT / 1e9
    told = re.fullmatch(
        rf"style\.size=1500 needs about {needed:.1f} GB of memory and {free:.1f} GB are free: "
        r"give style\.size=(\d+) or less",
        str(refused.value),
    )
    assert told, refused.value
    style.size = int(told[1])
    assert 350 < style.size < 500
    style_image = load_style_image(style)
    assert max(style_image.shape) == style.size
    layers = ["relu1_1", "relu2_1", "relu3_3", "relu4_3"]
    PerceptualLoss("vgg16", "bundled", ["relu4_2"], layers).set_style_image(style_image)


def test_the_largest_style_size_is_refused_on_this_machine(tmp_path: Path) -> None:
    if available_memory() > 250e9:
        pytest.skip("this machine has the memory")
    path = tmp_path / "painting.png"
    Image.new("RGB", (64, 64)).save(path)
    with pytest.raises(UserError, match=r"style\.size=20000 needs about 28\d\.\d GB"):
        load_style_image(OmegaConf.create({"image": str(path), "size": 20_000}))
