"""Whole runs on tiny networks and pictures: what they write, repeat, resume and refuse."""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner, Result
from omegaconf import DictConfig
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, load_style, save_style
from fast_style.cli import main
from fast_style.data.datasets import CentreSquares
from fast_style.devices import computes_in_bf16
from fast_style.errors import UserError
from fast_style.evaluation import artifacts
from fast_style.images import find_pictures
from fast_style.networks.transformer import ImageTransformer
from fast_style.training.train import TrainingResult, train

TINY = [
    "experiment=quickstart",
    "model.widths=[4,8,8]",
    "model.residual_blocks=1",
    "loss.style_layers=[relu1_1]",
    "loss.content_layers=[relu2_1]",
    "loss.stability_weight=1",
    "data.size=32",
    "data.batch_size=2",
    "data.workers=0",
    "data.val_size=32",
    "data.val_count=1",
    "style.size=48",
    "trainer.accelerator=cpu",
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.log_every_n_steps=1",
]

# Validation, with its exports and checkpoints, takes longer than steps this small.
RARELY = "trainer.val_check_interval=1000"

STANDSTILL = ["optimizer.lr=0", "optimizer.adam_lr=0"]

Run = Callable[..., TrainingResult]


@pytest.fixture(scope="session")
def run(compose: Callable[..., DictConfig]) -> Run:
    """Trains into a folder: ``run(folder, *overrides)``."""

    def run(folder: Path, *overrides: str) -> TrainingResult:
        return train(compose(*TINY, f"output_dir={folder}", *overrides))

    return run


@pytest.fixture(scope="module")
def finished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run of six steps that every test may look at and none may change."""
    return run(tmp_path_factory.mktemp("finished") / "run")


def events(result: TrainingResult) -> EventAccumulator:
    found = EventAccumulator(str(result.checkpoint.parent / "tensorboard"), {"images": 0})
    return found.Reload()


def scalars(result: TrainingResult, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in events(result).Scalars(tag)}


def weights(path: Path) -> dict[str, Tensor]:
    """The weights of the network in a .ckpt, in full precision."""
    return torch.load(path, weights_only=True)["state_dict"]


# --- what a run writes ---


def test_a_run_leaves_a_network_that_works_alone(finished: TrainingResult) -> None:
    style = load_style(finished.network)
    assert style.name == "stained-glass"
    assert style.network.config == {
        "widths": [4, 8, 8], "residual_blocks": 1, "adjustable": True,
    }  # fmt: skip
    assert style.losses["step"] == 6
    assert style.losses["val/total"] == pytest.approx(finished.losses["total"], abs=1e-5)
    for name, tensor in weights(finished.checkpoint).items():
        found = style.network.state_dict()[name.removeprefix("network.")]
        torch.testing.assert_close(found, tensor.half().float(), rtol=0, atol=0)


def test_the_network_carries_its_recipe_and_no_folder_of_this_machine(
    finished: TrainingResult,
) -> None:
    recipe = load_style(finished.network).recipe
    assert recipe["style"]["size"] == 48
    assert recipe["data"]["batch_size"] == 2
    assert recipe["loss"]["style_layers"] == ["relu1_1"]
    assert recipe["seed"] == 0
    with safe_open(finished.network, framework="pt") as file:
        told = str(file.metadata())
    for folder in (finished.network.parent.parent, Path.home(), Path(__file__).parent.parent):
        assert str(folder) not in told


def test_files_of_a_run(finished: TrainingResult) -> None:
    folder = finished.checkpoint.parent
    assert finished.network == folder / "stained-glass.safetensors"
    assert finished.checkpoint == folder / "last.ckpt"
    assert finished.steps == 6
    assert {path.name for path in folder.iterdir()} == {
        "stained-glass.safetensors", "last.ckpt", "tensorboard",
    }  # fmt: skip


def test_validation_losses_are_those_of_the_network(finished: TrainingResult) -> None:
    assert set(finished.losses) >= {"total", "content", "style", "tv"}
    weights = load_style(finished.network).recipe["loss"]
    expected = sum(
        weights[f"{name}_weight"] * finished.losses[name] for name in ("content", "style", "tv")
    )
    assert finished.losses["total"] == pytest.approx(expected, rel=1e-3)


def test_the_checkpoint_is_plain_and_holds_no_vgg(finished: TrainingResult) -> None:
    found = torch.load(finished.checkpoint, weights_only=True)
    expected = ImageTransformer((4, 8, 8), 1, adjustable=True).state_dict()
    assert found["state_dict"].keys() == {f"network.{name}" for name in expected}
    assert found["global_step"] == 6
    assert len(found["optimizer_states"]) == 1
    assert finished.checkpoint.stat().st_size < 300_000


def test_tensorboard_shows_the_run(finished: TrainingResult) -> None:
    tags = events(finished).Tags()
    steps = list(range(1, 6))  # the first step is not of full strength
    for name in ("total", "content", "style", "tv"):
        found = scalars(finished, f"train/{name}")
        assert list(found) == steps, name
        assert all(math.isfinite(value) for value in found.values())
        assert len(scalars(finished, f"val/{name}")) == 2
    assert list(scalars(finished, "train_style/relu1_1")) == steps
    assert "val_style/relu1_1" in tags["scalars"]
    speed = scalars(finished, "train_speed/images_per_second")
    assert len(speed) == 6
    assert all(value > 0 for value in speed.values())
    parts = [
        scalars(finished, f"train_speed/{part}")
        for part in ("waiting_for_data", "forward", "backward", "optimizer")
    ]
    for shares in zip(*(part.values() for part in parts), strict=True):
        assert all(0 < share < 1 for share in shares)
        assert sum(shares) == pytest.approx(1, abs=1e-5)
    (text,) = (tag for tag in tags["tensors"] if tag.startswith("config"))
    (config,) = events(finished).Tensors(text)[0].tensor_proto.string_val
    assert "residual_blocks: 1" in config.decode()


def test_tensorboard_shows_the_pictures(finished: TrainingResult) -> None:
    found = events(finished)
    (painting,) = found.Images("pictures/painting")
    assert max(painting.width, painting.height) == 48  # as large as the style was measured
    photos = found.Images("pictures/photos_above_stylized")
    assert len({picture.step for picture in photos}) == 2
    # One photo of 32 px above its stylized version, in a frame.
    assert all(32 <= p.width < 2 * 32 and 64 <= p.height < 3 * 32 for p in photos)


def test_learning_rate_warms_up_and_falls_as_a_cosine(run: Run, tmp_path: Path) -> None:
    result = run(tmp_path / "run", "trainer.max_steps=20", "callbacks.schedule.warmup=0.25", RARELY)
    found = scalars(result, "train/learning_rate")
    assert list(found) == list(range(20))
    for step, rate in found.items():
        if step < 5:
            expected = 0.03 * (0.04 + 0.96 * step / 5)
        else:
            expected = 0.03 * (1 + math.cos(math.pi * (step - 5) / 15)) / 2
        assert rate == pytest.approx(expected, rel=1e-5), step


def test_training_lowers_the_loss(run: Run, tmp_path: Path) -> None:
    result = run(tmp_path / "run", "trainer.max_steps=60", "trainer.val_check_interval=10")
    found = list(scalars(result, "val/total").values())
    assert len(found) == 6
    assert found[-1] < 0.7 * found[0]
    assert found[-1] == pytest.approx(result.losses["total"], rel=1e-5)


def test_photos_train_as_well_and_bad_ones_are_named(
    run: Run, tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "bad.jpg").write_text("no photo")
    result = run(tmp_path / "run", "data=photos", "data.size=32", f"data.dir={photos}")
    assert result.steps == 6
    assert len([r for r in caplog.records if "bad.jpg" in r.getMessage()]) == 1


def test_a_run_by_the_clock_ends(run: Run, tmp_path: Path) -> None:
    result = run(tmp_path / "run", "callbacks.schedule.minutes=0.02", "trainer.max_steps=-1")
    assert result.steps > 1
    assert 1.2 <= result.seconds < 10
    assert load_style(result.network).losses["step"] == result.steps


# --- repeating, resuming ---


def test_the_same_seed_gives_the_same_file(
    finished: TrainingResult, run: Run, tmp_path: Path
) -> None:
    torch.manual_seed(123)
    np.random.seed(123)
    again = run(tmp_path / "run")
    assert again.network.read_bytes() == finished.network.read_bytes()


def test_another_seed_gives_another_network(
    finished: TrainingResult, run: Run, tmp_path: Path
) -> None:
    other = load_file(run(tmp_path / "run", "seed=1").network)
    for name, tensor in load_file(finished.network).items():
        if tensor.ndim == 4:
            assert (other[name].float() - tensor.float()).abs().max() > 1e-3, name


def test_loader_processes_do_not_matter(finished: TrainingResult, run: Run, tmp_path: Path) -> None:
    other = run(tmp_path / "run", "data.workers=2")
    torch.testing.assert_close(
        weights(other.checkpoint), weights(finished.checkpoint), rtol=0, atol=0
    )


@pytest.mark.parametrize("stop", [2, 3, 4])
@pytest.mark.parametrize("source", ["dead_leaves", "photos"])
def test_a_resumed_run_ends_as_one_that_never_stopped(
    source: str, stop: int, run: Run, tmp_path: Path, photos: Path
) -> None:
    data = [f"data={source}", *([f"data.dir={photos}"] if source == "photos" else [])]
    straight = run(
        tmp_path / "straight", *data,
        f"callbacks.checkpoint.every_n_train_steps={stop}",
        "callbacks.checkpoint.filename='{step}'",
        "+callbacks.checkpoint.save_top_k=-1",
    )  # fmt: skip
    middle = next(
        path
        for path in (tmp_path / "straight").glob("step=*.ckpt")
        if torch.load(path, weights_only=True)["global_step"] == stop
    )
    middle = middle.rename(tmp_path / "middle.ckpt")
    resumed = run(tmp_path / "resumed", *data, f"ckpt_path={middle}")
    assert resumed.steps == 6
    torch.testing.assert_close(
        weights(resumed.checkpoint), weights(straight.checkpoint), rtol=0, atol=0
    )
    for tag in ("train/total", "train/learning_rate"):
        whole = scalars(straight, tag)
        after = {step: value for step, value in scalars(resumed, tag).items() if step % 2}
        assert after == {step: whole[step] for step in range(stop, 6) if step % 2}
    assert not torch.equal(
        weights(middle)["network.to_rgb.weight"],
        weights(straight.checkpoint)["network.to_rgb.weight"],
    )


def test_last_ckpt_of_an_ended_run_can_be_trained_on(
    finished: TrainingResult, run: Run, tmp_path: Path
) -> None:
    longer = run(tmp_path / "run", f"ckpt_path={finished.checkpoint}", "trainer.max_steps=9")
    assert longer.steps == 9
    assert list(scalars(longer, "train/total")) == [7, 8]


def test_init_starts_from_a_trained_network(
    finished: TrainingResult, run: Run, tmp_path: Path
) -> None:
    result = run(tmp_path / "run", f"init={finished.network}", *STANDSTILL, "seed=9")
    start = load_file(finished.network)
    for name, tensor in load_file(result.network).items():
        assert torch.equal(tensor, start[name]), name


@pytest.mark.parametrize("adjustable", [True, False])
def test_init_whether_strength_can_be_adjusted_or_not(
    finished: TrainingResult, run: Run, tmp_path: Path, adjustable: bool
) -> None:
    start = finished.network
    if adjustable:
        start = tmp_path / "plain.safetensors"
        save_style(TrainedStyle(ImageTransformer((4, 8, 8), 1), "plain"), start)
    result = run(tmp_path / "run", f"init={start}", *STANDSTILL, f"model.adjustable={adjustable}")
    network = load_style(result.network).network
    assert network.adjustable == adjustable
    photo = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(network(photo), load_style(start).network(photo))


def test_strengths_below_full_are_trained_too(finished: TrainingResult) -> None:
    slopes = [t for name, t in weights(finished.checkpoint).items() if name.endswith("_slope")]
    assert len(slopes) == 2 * 7
    assert all(slope.count_nonzero() > 0 for slope in slopes)


def test_stability_is_learned(run: Run, tmp_path: Path) -> None:
    photos = CentreSquares(find_pictures(PHOTOS), 96)
    seen = torch.stack([photos[index] for index in range(len(photos))]).float() / 255
    changes = []
    for weight in (0, 10):
        done = run(
            tmp_path / f"{weight}",
            f"loss.stability_weight={weight}",
            "trainer.max_steps=60",
            RARELY,
        )
        network = load_style(done.network).network
        with torch.no_grad():
            moved, noisy = network(artifacts.shift(seen)), network(artifacts.add_noise(seen))
            still = network(seen)
        changes.append(
            [
                artifacts.change(artifacts.shift(still), moved).mean(),
                artifacts.change(still, noisy).mean(),
            ]
        )
    (shifted, noise), (steady_shifted, steady_noise) = changes
    assert steady_shifted < 0.9 * shifted
    assert steady_noise < 0.9 * noise


def test_init_of_another_shape(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    save_style(TrainedStyle(ImageTransformer((8, 8, 8), 1), "wide"), path)
    with pytest.raises(UserError, match=r"init=.*wide\.safetensors.*\[8, 8, 8\].*\[4, 8, 8\]"):
        run(tmp_path / "run", f"init={path}")


# --- the command line ---


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Runs `fast-style train` with arguments, here and now, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # put back what it was, afterwards
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level  # Hydra sets up logging of its own
    yield lambda *arguments: CliRunner().invoke(main, ["train", *TINY, *arguments])
    root.handlers[:] = handlers
    root.setLevel(level)


def assert_one_sentence(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("fast-style: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trainer.max_step=3"], ["max_step"]),
        (["los=vgg16"], ["los"]),
        (["trainer.max_steps="], ["trainer"]),
        (["trainer.max_steps=many"], ["trainer"]),
        (["style=no-such-style"], ["no-such-style", "starry-night", "wave"]),
        (["loss=vgg61"], ["vgg61", "vgg16", "vgg19"]),
        (["experiment=no-such-thing"], ["no-such-thing", "coco"]),
        (["style=absent.jpg"], ["absent.jpg"]),
        (["style=text.jpg"], ["text.jpg"]),
        (["style=empty/"], ["empty"]),
        (["data=photos"], ["data.dir"]),
        (["data=photos", "data.dir=empty"], ["empty", "no picture"]),
        (["data=photos", "data.dir=absent"], ["absent", "does not exist"]),
        (["data=photos", "data.dir=bad"], ["bad", "none of the 1 pictures"]),
        (["data.val_dir=absent"], ["absent"]),
        (["ckpt_path=absent.ckpt"], ["absent.ckpt", "does not exist"]),
        (["ckpt_path=text.jpg"], ["text.jpg", "not a training checkpoint"]),
        (["ckpt_path=tensors.ckpt"], ["tensors.ckpt", "not a training checkpoint"]),
        (["ckpt_path=empty"], ["empty"]),
        (["init=no-such-style"], ["no-such-style"]),
        (["init=text.jpg"], ["text.jpg"]),
        (["loss.weights=absent.pth"], ["absent.pth"]),
        (["loss.weights=text.jpg"], ["text.jpg"]),
        (["loss.style_layers=[relu9_9]"], ["relu9_9", "relu1_1"]),
        (["loss.style_layers=[relu5_1]"], ["relu5_1", "bundled VGG16 ends"]),
        (["loss.style_layers=[]"], ["style_layers"]),
        (["loss.network=resnet"], ["resnet", "vgg19"]),
        (["loss.normalization=gattys"], ["gattys", "gatys"]),
        (["model.widths=[4,8]"], ["model.widths=[4,8]", "a list of 3"]),
        (["data.batch_size=0"], ["batch_size"]),
        (["data.size=4"], ["data.size"]),
        (["style.size=0"], ["style.size"]),
        (["data.val_size=0"], ["data.val_size"]),
        (["data.scale=[0,1]"], ["data.scale"]),
        (["data.scale=[1,0.5]"], ["data.scale"]),
        (["data.scale=[0.5,2]"], ["data.scale"]),
        (["logger=null"], ["choose parts by name"]),
        (["style=3"], ["choose parts by name"]),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_sentence(
    command: Callable[..., Result], tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jpg").write_text("no photo")
    (tmp_path / "text.jpg").write_text("these are words\n")
    torch.save({"state_dict": {}}, tmp_path / "tensors.ckpt")
    assert_one_sentence(command(*arguments), *words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(command: Callable[..., Result]) -> None:
    assert_one_sentence(command("trainer=gpu", "trainer.accelerator=gpu"), "gpu")


def test_a_checkpoint_that_would_run_code(
    command: Callable[..., Result], tmp_path: Path, bomb: Callable[[Path, bool], Path]
) -> None:
    for as_torch in (True, False):
        target = bomb(tmp_path / "last.ckpt", as_torch)
        assert_one_sentence(command("ckpt_path=last.ckpt"), "not a training checkpoint")
        assert not target.exists()


def test_a_checkpoint_of_another_network(
    command: Callable[..., Result], finished: TrainingResult
) -> None:
    result = command(f"ckpt_path={finished.checkpoint}", "model.widths=[8,8,8]")
    assert_one_sentence(result, "last.ckpt", "network")


def test_a_checkpoint_of_another_optimizer(
    command: Callable[..., Result], finished: TrainingResult
) -> None:
    result = command(f"ckpt_path={finished.checkpoint}", "optimizer=adam")
    assert_one_sentence(result, "last.ckpt", "optimizer")


def test_any_painting_by_its_path(command: Callable[..., Result], tmp_path: Path) -> None:
    painting = tmp_path / "my paintings, all" / "Großes Bild.v2.png"
    painting.parent.mkdir()
    Image.effect_noise((60, 40), 80).save(painting)
    result = command(f"style={str(painting).replace(',', '_')}")
    assert_one_sentence(result, "does not exist")
    painting = painting.rename(tmp_path / "Großes Bild.v2.png")
    result = command(f"style={painting}")
    assert result.exit_code == 0, result.output
    (network,) = tmp_path.glob("runs/*/*/*.safetensors")
    assert load_style(network).name == network.stem == "Großes Bild.v2"
    assert str(network.name) in result.stdout


def test_one_run_for_each_of_several_paintings(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        Image.effect_noise((60, 40), 80).save(tmp_path / f"{name}.png")
    result = command("style=a.png,b.png,stained-glass", "seed=0,1", "-m", "trainer.max_steps=1")
    assert result.exit_code == 0, result.output
    found = sorted(path.stem for path in tmp_path.glob("runs/*/*/*.safetensors"))
    assert found == ["a", "a", "b", "b", "stained-glass", "stained-glass"]


# --- processes of their own ---


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path), **more}


def arguments(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "fast_style.cli", "train", *TINY, *overrides]


@pytest.mark.slow
def test_bad_input_leaves_with_code_2(tmp_path: Path) -> None:
    result = subprocess.run(
        arguments("style=absent.jpg"), cwd=tmp_path, env=environment(tmp_path),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "absent.jpg does not exist" in result.stderr


SPY = """
import torch
from pathlib import Path
from pytorch_lightning.callbacks import Callback

class Spy(Callback):
    def __init__(self, folder):
        self.folder = Path(folder)

    def on_train_start(self, trainer, module):
        torch.save(module.network.state_dict(), self.folder / "untrained")

    def on_train_batch_start(self, trainer, module, batch, index):
        torch.save(batch.cpu(), self.folder / f"batch_{trainer.global_step}_{trainer.global_rank}")

    def on_train_end(self, trainer, module):
        torch.save(module.network.state_dict(), self.folder / f"network_{trainer.global_rank}")
"""


def free_port() -> int:
    """A port on which nobody listens, and which the system gives to no connection meanwhile, as it
    might the one that Lightning would find: those are above 32768."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


def run_together(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that starts a second process, and again if the system lost that one at once.

    Lightning waits for it without end then. It was seen once, on a machine with too much to do.
    """
    for timeout in (120, 240):
        try:
            return subprocess.run(
                command, cwd=cwd, env=environment(cwd, MASTER_PORT=str(free_port())),
                capture_output=True, text=True, check=False, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode()
            if "GLOBAL_RANK: 1" in said:
                raise
    raise AssertionError(f"the second process never began: {said}")


@pytest.mark.slow
def test_two_processes_draw_different_photos_and_learn_the_same(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spy.py").write_text(SPY)
    # In float32, and with a loss that is the mean over pictures, however they are shared out.
    same = ["trainer.precision=32-true", "loss.normalization=johnson"]
    spy = ["+callbacks.spy._target_=spy.Spy", "+callbacks.spy.folder"]
    command = arguments(
        "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=1",
        "output_dir=out", *same, f"{spy[1]}={tmp_path}", spy[0],
    )  # fmt: skip
    result = run_together(command, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("validation losses") == 1
    (network,) = tmp_path.rglob("*.safetensors")
    assert load_style(network).losses["step"] == 6

    def load(name: str) -> Any:
        return torch.load(tmp_path / name, weights_only=True)

    seen = [load(f"batch_{step}_{rank}") for step in range(6) for rank in range(2)]
    assert len({batch.numpy().tobytes() for batch in seen}) == 12
    first, second = load("network_0"), load("network_1")
    torch.testing.assert_close(first, second, rtol=0, atol=0)

    # One process with batches of two sees the same photos and takes the same steps.
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "alone").mkdir()
    run(tmp_path / "alone" / "out", *same, f"{spy[1]}={tmp_path / 'alone'}", spy[0])
    for step in range(6):
        assert torch.equal(load(f"alone/batch_{step}_0"), torch.cat(seen[2 * step : 2 * step + 2]))
    # Not weight by weight: some have no effect behind the next instance norm, no gradient but
    # rounding errors, and Adam makes steps of those.
    transformer = ImageTransformer((4, 8, 8), 1, adjustable=True)
    stylized = []
    for state in (first, load("alone/network_0"), load("untrained")):
        transformer.load_state_dict(state)
        with torch.no_grad():
            stylized.append(transformer(seen[0].float() / 255))
    together, alone, untrained = stylized
    difference = (together - alone).abs().max()
    assert difference < 0.01 * (untrained - alone).abs().max()


@contextmanager
def endless_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A training in a process group of its own, with a loader's process, that has written its
    network once."""
    process = subprocess.Popen(
        arguments(
            "output_dir=out", "trainer.max_steps=1000000", "trainer.val_check_interval=4",
            "data.workers=1",
        ),
        cwd=folder, env=environment(folder), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    network = folder / "out" / "stained-glass.safetensors"
    try:
        deadline = time.monotonic() + 120
        while not network.is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        yield process
    finally:
        process.kill()


def steps_of(folder: Path) -> int:
    """The step of the network and of the checkpoint, which must be the same."""
    step = load_style(folder / "out" / "stained-glass.safetensors").losses["step"]
    last = torch.load(folder / "out" / "last.ckpt", weights_only=True)
    assert last["global_step"] == step
    return int(step)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_ends_a_run_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    with endless_run(tmp_path) as process:
        os.killpg(process.pid, number)
        told, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    assert "Traceback" not in complaints
    assert "to resume" in told
    assert steps_of(tmp_path) >= 4


@pytest.mark.slow
def test_a_loader_that_is_killed_ends_a_run_in_a_sentence(tmp_path: Path) -> None:
    with endless_run(tmp_path) as process:
        (loader,) = psutil.Process(process.pid).children()
        loader.kill()
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 2, complaints
    assert "Traceback" not in complaints
    assert complaints.splitlines()[-1].startswith("fast-style: a process that loads photos died")
    assert steps_of(tmp_path) >= 4


@pytest.mark.slow
@pytest.mark.skipif(
    not computes_in_bf16(torch.device("cpu")), reason="this CPU does not multiply bf16"
)
def test_bf16_learns_what_float32_learns(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """Over the first 200 steps, in means of 40."""

    def losses(precision: str) -> np.ndarray:
        overrides = ["experiment=quickstart", "data.size=64", "data.batch_size=2", "data.workers=0"]
        overrides += ["data.val_size=64", "data.val_count=4", "style.size=128"]
        overrides += ["trainer.accelerator=cpu", "trainer.max_steps=200"]
        overrides += ["trainer.val_check_interval=200", "trainer.log_every_n_steps=1"]
        folder = tmp_path / precision
        result = train(
            compose(*overrides, f"trainer.precision={precision}", f"output_dir={folder}")
        )
        totals = list(scalars(result, "train/total").values())
        # Means over fewer steps vary by chance: after the first rounding the two runs diverge.
        return np.array([part.mean() for part in np.array_split(totals, 5)])

    totals, expected = losses("bf16-mixed"), losses("32-true")
    assert expected[-1] < 0.7 * expected[0]  # it does learn
    np.testing.assert_allclose(totals, expected, rtol=0.05)
