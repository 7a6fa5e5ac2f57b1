"""A narrow network is made of a wide one, and learns its pictures."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, load_style, save_style
from fast_style.images import find_pictures, open_picture, resize_picture, to_tensor
from fast_style.networks.transformer import ImageTransformer

SCRIPT = Path(__file__).parent.parent / "scripts" / "shrink.py"
spec = importlib.util.spec_from_file_location("shrink", SCRIPT)
assert spec is not None
assert spec.loader is not None
shrink = importlib.util.module_from_spec(spec)
sys.modules["shrink"] = shrink  # dataclasses look it up
spec.loader.exec_module(shrink)


def network(widths: tuple[int, int, int]) -> ImageTransformer:
    torch.manual_seed(1)
    made = ImageTransformer(widths, 2, adjustable=True)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim == 1:  # as if trained: no norm is like another
                parameter.add_(0.3 * torch.randn(parameter.shape))
            if name == "to_rgb.weight":
                parameter.mul_(3)
    return made.eval()


def doubled(narrow: ImageTransformer) -> ImageTransformer:
    """The same pictures by twice the channels: each is there twice, in a random order."""
    wide = ImageTransformer([2 * w for w in narrow.widths], 2, adjustable=True).eval()
    orders = {w: torch.randperm(2 * w) for w in {*narrow.widths}}
    weights = {}
    for name, tensor in narrow.state_dict().items():
        outputs = 1 if tensor.shape[0] == 3 else 2
        tensor = torch.cat([tensor] * outputs)
        if outputs == 2:
            tensor = tensor[orders[len(tensor) // 2]]
        if tensor.ndim == 4 and tensor.shape[1] != 3:
            inputs = tensor.shape[1]
            tensor = (tensor / 2).repeat(1, 2, 1, 1)[:, orders[inputs]]
        weights[name] = tensor
    wide.load_state_dict(weights)
    return wide


def photos(count: int = 4, side: int = 64) -> Tensor:
    found = [open_picture(path) for path in find_pictures(PHOTOS)][:count]
    pictures = [to_tensor(resize_picture(photo, 100))[:, :side, :side] for photo in found]
    return (torch.stack(pictures) * 255).round().byte()


def test_channels_that_are_there_twice_are_dropped_without_a_trace() -> None:
    narrow = network((4, 6, 8))
    wide = doubled(narrow)
    given = photos()
    with torch.no_grad():
        for strength in (1.0, 0.5):
            expected = narrow(given / 255, strength)
            torch.testing.assert_close(wide(given / 255, strength), expected, rtol=0, atol=1e-4)
        found = shrink.narrowed(wide, narrow.widths, given)
        assert found.config == narrow.config
        for strength in (1.0, 0.5):
            error = found(given / 255, strength) - narrow(given / 255, strength)
            assert error.square().mean().sqrt() < 0.01
    assert expected.std() > 0.05


def test_learning_brings_a_narrow_network_nearer() -> None:
    wide = network((8, 12, 16))
    given = photos(2)
    pairs = []
    with torch.no_grad():
        narrow = shrink.narrowed(wide, (4, 6, 8), given)
        for number, strength in ((0, 1.0), (1, 0.6)):
            photo = given[number : number + 1]
            painted = (wide(photo / 255, strength) * 255).round().byte()
            pairs.append(shrink.Pair(photo, painted, strength))

    def error() -> float:
        with torch.no_grad():
            errors = [narrow(p.photo / 255, p.strength) - p.painted / 255 for p in pairs]
        return float(torch.cat(errors).abs().mean())

    before = error()
    shrink.learn(narrow, pairs, 30, 0.02, np.random.default_rng(0))
    assert error() < 0.8 * before


def test_the_script_writes_a_style_that_paints_like_the_wide_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = doubled(network((4, 6, 8)))
    recipe = {**load_style("wave").recipe, "seed": 5}
    save_style(TrainedStyle(wide, "wide", recipe, {"step": 5}), tmp_path / "wide.safetensors")
    monkeypatch.setattr(shrink, "FITTED", 4)
    arguments = [tmp_path / "wide.safetensors", PHOTOS, tmp_path / "small" / "narrow.safetensors"]
    options = ["--widths", "4", "6", "8", "--size", "64", "--pairs", "16", "--steps", "2"]
    done = CliRunner().invoke(shrink.main, [*map(str, arguments), *options])
    assert done.exit_code == 0, (done.output, done.exception)
    found = load_style(tmp_path / "small" / "narrow.safetensors")
    assert found.network.widths == [4, 6, 8]
    assert found.name == "wide"
    assert found.recipe["loss"] == recipe["loss"]
    assert found.recipe["init"] == "wide"
    assert found.recipe["shrinking"]["steps"] == found.losses["step"] == 2
    assert found.losses["val/total"] > found.losses["val/content"] > 0
    with torch.no_grad():
        given = photos() / 255
        expected = wide(given)
        error = (found.network(given) - expected).square().mean().sqrt()
    assert error < 0.5 * expected.std()
