"""A user's own loss is one class outside the package and one file of configuration."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from emulated_graphs import EmulatedRecorder
from omegaconf import DictConfig
from test_training_module import TINY as MODULE_TINY
from test_training_module import assert_equal, fit

from fast_style.checkpoint import load_style
from fast_style.cli import main
from fast_style.errors import UserError
from fast_style.losses import EncodedImages, PerceptualLoss, total_variation
from fast_style.training.train import train

Compose = Callable[..., DictConfig]

MODULE = '''
from fast_style.losses import LossTerm, PairTerm


class Deviation(LossTerm):
    """Gives features the style image's standard deviations, and keeps the content's brightness."""

    def __init__(self, layer, weight):
        super().__init__(weight, [layer])
        self.layer = layer

    def set_style_image(self, style):
        deviation = style.features()[self.layer].std((2, 3))
        self.register_buffer("deviation", deviation, persistent=False)

    def target(self, content, strength):
        return content.images.mean((1, 2, 3))

    def forward(self, stylized, target):
        features = stylized.features()[self.layer]
        error = features.std((2, 3)) - self.deviation
        spread = error.square().mean() / self.deviation.square().mean()
        brightness = (stylized.images.mean((1, 2, 3)) - target).square().mean()
        return spread + brightness, {"spread": spread, "brightness": brightness}


class Flicker(PairTerm):
    def forward(self, stylized, again):
        return (stylized.mean() - again.mean()).square()
'''

LEAF = """
defaults:
  - vgg16
  - _self_

terms:
  deviation:
    _target_: own_losses.Deviation
    layer: relu1_2
    weight: 3.0
"""

# `train` checks the logger, which the module's own tests do without.
TINY = [*(override for override in MODULE_TINY if "logger" not in override), "logger=none"]

FLICKER = "+loss.terms.flicker={_target_:own_losses.Flicker,weight:2}"
DEVIATION = "+loss.terms.deviation={_target_:own_losses.Deviation,layer:relu1_2,weight:3}"


@pytest.fixture(autouse=True)
def own_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_losses.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_losses", raising=False)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Runs `fast-style train` with arguments in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # put back what it was, afterwards
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level  # Hydra sets up logging of its own
    yield lambda *arguments: CliRunner().invoke(main, ["train", *TINY, *arguments])
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_class_and_a_leaf_train_from_the_command_line(
    tmp_path: Path, command: Callable[..., Result]
) -> None:
    leaf = tmp_path / "my_conf" / "loss" / "deviation.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text(LEAF)
    result = command(
        "--config-dir=my_conf", "loss=deviation", "output_dir=out",
        "trainer.max_steps=4", "trainer.val_check_interval=2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert ", deviation " in result.stdout
    losses = load_style(tmp_path / "out" / "stained-glass.safetensors").losses
    assert losses["step"] == 4
    assert losses["val/deviation"] > 0
    parts = losses["val_deviation/spread"] + losses["val_deviation/brightness"]
    assert losses["val/deviation"] == pytest.approx(parts, abs=2e-6)
    weights = {"content": 1, "style": 10, "tv": 5, "deviation": 3}
    total = sum(weight * losses[f"val/{name}"] for name, weight in weights.items())
    assert losses["val/total"] == pytest.approx(total, rel=1e-4)


def test_own_terms_train_by_graphs_as_without(compose: Compose) -> None:
    plain, trainer = fit(compose, DEVIATION, FLICKER)
    recorder = EmulatedRecorder()
    recorded, recorded_trainer = fit(compose, DEVIATION, FLICKER, recorder=recorder)
    assert recorder.replays > 0
    assert_equal(recorded, plain)
    found = {name for name in trainer.callback_metrics if name.startswith("train")}
    assert found >= {
        "train/deviation", "train_deviation/spread", "train/flicker", "train/stability",
    }  # fmt: skip
    for name in found:
        assert torch.equal(recorded_trainer.callback_metrics[name], trainer.callback_metrics[name])


def test_own_terms_are_resumed_and_checkpoints_hold_the_network_alone(
    compose: Compose, tmp_path: Path
) -> None:
    def run(folder: str, *overrides: str) -> dict[str, Any]:
        cfg = compose(
            *TINY, DEVIATION, f"output_dir={tmp_path / folder}", "trainer.max_steps=4",
            "trainer.val_check_interval=2", *overrides,
        )  # fmt: skip
        result = train(cfg)
        assert result.losses["deviation"] > 0
        return torch.load(result.checkpoint, weights_only=True)["state_dict"]

    straight = run(
        "straight",
        "callbacks.checkpoint.filename='{step}'", "+callbacks.checkpoint.save_top_k=-1",
    )  # fmt: skip
    assert all(name.startswith("network.") for name in straight)
    middle = next(
        path.rename(tmp_path / "middle.ckpt")
        for path in (tmp_path / "straight").glob("step=*.ckpt")
        if torch.load(path, weights_only=True)["global_step"] == 2
    )
    resumed = run("resumed", f"ckpt_path={middle}")
    torch.testing.assert_close(resumed, straight, rtol=0, atol=0)


def loss_with(**terms: Any) -> PerceptualLoss:
    return PerceptualLoss("vgg16", "bundled", ["relu1_2"], ["relu1_1"], terms=terms)


def test_the_total_is_the_weighted_sum_of_all_terms() -> None:
    from own_losses import Deviation, Flicker

    loss = loss_with(deviation=Deviation("relu2_1", 7.0), flicker=Flicker(5.0))
    generator = torch.Generator().manual_seed(0)
    style, content, stylized = torch.rand(3, 1, 3, 24, 32, generator=generator)
    loss.set_style_image(style)
    found = loss(stylized, content)
    deviations = [loss.vgg(x)["relu2_1"].std((2, 3)) for x in (stylized, style)]
    spread = (deviations[0] - deviations[1]).square().mean() / deviations[1].square().mean()
    brightness = (stylized.mean() - content.mean()).square()
    torch.testing.assert_close(found["deviation"], spread + brightness)
    torch.testing.assert_close(found["deviation/spread"], spread)
    total = found["content"] + 10 * found["style"] + 7 * found["deviation"]
    torch.testing.assert_close(found["total"], total)
    # Stability has no weight.
    pair = loss.compare_pair(stylized, content)
    assert set(pair) == {"flicker"}
    torch.testing.assert_close(loss.weighted_sum(pair), 5 * pair["flicker"])


def test_a_term_can_replace_one_that_is_built_in() -> None:
    from fast_style.losses import LossTerm

    class Smoother(LossTerm):
        def forward(self, stylized: EncodedImages, target: None) -> torch.Tensor:
            return 2 * total_variation(stylized.images)

    loss = loss_with(tv=Smoother(1.0))
    images = torch.rand(1, 3, 24, 32)
    loss.set_style_image(images)
    assert list(loss.terms) == ["content", "style", "tv", "stability"]
    torch.testing.assert_close(loss(images, images)["tv"], 2 * total_variation(images))


@pytest.mark.parametrize("name", ["total", "objective", "values", "two words", "a.b", "style/x"])
def test_names_that_a_term_cannot_have(name: str) -> None:
    from own_losses import Flicker

    with pytest.raises(UserError, match=rf"loss\.terms\.{name} cannot be a loss's name"):
        loss_with(**{name: Flicker(1.0)})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{_target_:own_losses.Absent}", "own_losses.Absent cannot be imported"),
        ("{_target_:own_losses.Deviation,weight:1}", "loss.terms.mine.layer is missing"),
        ("{_target_:own_losses.Flicker,wait:1}", "did you mean loss.terms.mine.weight?"),
        ("{weight:1}", "loss.terms="),
        ("3", "loss.terms="),
        ("{_target_:torch.nn.Identity}", "loss.terms.mine is of class Identity: give a LossTerm"),
    ],
)
def test_terms_that_are_none(given: str, words: str, command: Callable[..., Result]) -> None:
    result = command(f"+loss.terms.mine={given}")
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
