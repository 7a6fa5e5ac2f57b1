"""Gatys' algorithm lowers the papers' losses and counts its evaluations; files and sizes fit."""

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torchvision import models

from fast_style.bundled import PAINTINGS, PHOTOS, VGG16_WEIGHTS
from fast_style.cli import main
from fast_style.errors import UserError
from fast_style.images import open_picture, resize_picture, to_tensor
from fast_style.losses import PerceptualLoss
from fast_style.optimize.files import load_loss
from fast_style.optimize.gatys import Evaluation, OnEvaluation, Optimizer, optimize
from fast_style.optimize.pyramid import (
    OnProgress,
    Progress,
    Settings,
    optimize_coarse_to_fine,
    sides,
)

PHOTO = PHOTOS / "chelsea.jpg"
PAINTING = PAINTINGS / "stained-glass.jpg"
STYLE_LAYERS = {"relu1_1": 1, "relu2_1": 6, "relu3_3": 15, "relu4_3": 22}  # in torchvision's VGG16
CONTENT_LAYER = 20  # relu4_2


def small(path: Path, side: int) -> Tensor:
    return to_tensor(resize_picture(open_picture(path), side)).unsqueeze(0)


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return small(PHOTO, 48)


@pytest.fixture
def loss() -> PerceptualLoss:
    loss = load_loss()
    loss.set_style_image(small(PAINTING, 64))
    return loss


def starts(photo: Tensor) -> dict[str, Tensor]:
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))
    return {"photo": photo, "noise": noise, "picture": 1 - photo}


def note_totals(totals: list[float]) -> OnEvaluation:
    return lambda evaluation: totals.append(evaluation.losses["total"])


def optimized(settings: Settings, on_progress: OnProgress, start: str = "photo") -> Image.Image:
    """The bundled photo and painting, optimised from coarse to fine."""
    content, style = open_picture(PHOTO), open_picture(PAINTING)
    return optimize_coarse_to_fine(
        content, style, load_loss(), settings, start, on_progress=on_progress
    )


# --- the optimisation ---


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["photo", "noise", "picture"])
def test_the_loss_falls(
    photo: Tensor, loss: PerceptualLoss, start: str, optimizer: Optimizer
) -> None:
    begin = starts(photo)[start]
    before = begin.clone()
    totals: list[float] = []

    picture = optimize(photo, loss, begin, optimizer, 25, note_totals(totals))
    assert picture.shape == photo.shape
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert torch.equal(begin, before)
    assert totals[0] == pytest.approx(float(loss(begin, photo)["total"]), rel=1e-5)
    assert min(totals) < 0.5 * totals[0]
    assert float(loss(picture, photo)["total"]) == pytest.approx(min(totals), rel=1e-5)


def test_the_total_is_the_papers_formulas_in_float64(photo: Tensor, loss: PerceptualLoss) -> None:
    found: dict[str, float] = {}
    seen: list[Tensor] = []

    def watch(evaluation: Evaluation) -> None:
        found.update(evaluation.losses)
        seen.append(evaluation.picture.clone())

    optimize(photo, loss, photo, "adam", 6, watch)

    features = models.vgg16(weights=None).features[: STYLE_LAYERS["relu4_3"] + 1]
    weights = load_file(VGG16_WEIGHTS)
    names = {f"features.{name}": name for name, _ in features.named_parameters()}
    features.load_state_dict({short: weights[name] for name, short in names.items()})
    first = features[0]
    assert isinstance(first, nn.Conv2d)
    first.padding_mode = "replicate"
    features.double()
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)

    def layers(picture: Tensor) -> list[Tensor]:
        x, outputs = (picture.double() - mean) / std, []
        with torch.no_grad():
            for module in features:
                x = module(x).clone()
                outputs.append(x)
        return outputs

    def gram(f: Tensor) -> Tensor:  # Johnson et al. 2016, equation 3
        return torch.einsum("bchw,bdhw->cd", f, f) / f.numel()

    of_result, of_photo, of_painting = map(layers, (seen[-1], photo, small(PAINTING, 64)))
    p = of_photo[CONTENT_LAYER]
    content = ((of_result[CONTENT_LAYER] - p) ** 2).mean() / (p**2).mean()
    grams = [(gram(of_result[i]), gram(of_painting[i])) for i in STYLE_LAYERS.values()]
    style = sum(((g - a) ** 2).sum() / (a**2).sum() for g, a in grams) / len(grams)
    x = seen[-1].double()
    down, across = x.diff(dim=2), x.diff(dim=3)
    tv = (down**2).mean() + (across**2).mean()
    total = content + loss.terms["style"].weight * style + loss.terms["tv"].weight * tv
    assert found["content"] == pytest.approx(float(content), rel=1e-4)
    assert found["style"] == pytest.approx(float(style), rel=1e-4)
    assert found["tv"] == pytest.approx(float(tv), rel=1e-4)
    assert found["total"] == pytest.approx(float(total), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("evaluations", [1, 7, 12])
def test_evaluations_are_counted_exactly(
    photo: Tensor, loss: PerceptualLoss, optimizer: Optimizer, evaluations: int
) -> None:
    counts: list[int] = []
    passes: list[bool] = []
    begin = starts(photo)["noise"]
    loss.vgg.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    optimize(photo, loss, begin, optimizer, evaluations, lambda each: counts.append(each.count))
    assert counts == list(range(1, evaluations + 1))
    assert passes == [False] + [True] * evaluations  # the photo once, then each evaluation


def test_it_stops_when_told_to_with_the_best_so_far(photo: Tensor, loss: PerceptualLoss) -> None:
    totals: list[float] = []

    def stop_at_9(evaluation: Evaluation) -> bool:
        totals.append(evaluation.losses["total"])
        return evaluation.count == 9

    picture = optimize(photo, loss, photo, "lbfgs", 1000, stop_at_9)
    assert len(totals) == 9
    assert float(loss(picture, photo)["total"]) == pytest.approx(min(totals), rel=1e-5)


def test_the_papers_own_weights_work_as_well(photo: Tensor) -> None:
    # Totals near 1e12 instead of 1 test the absolute tolerances of L-BFGS.
    loss = load_loss(["loss.normalization=gatys", "loss.style_weight=1e3", "loss.tv_weight=0"])
    loss.set_style_image(small(PAINTING, 64))
    totals: list[float] = []
    optimize(photo, loss, photo, "lbfgs", 25, note_totals(totals))
    assert totals[0] > 1e6
    assert min(totals) < 0.5 * totals[0]


def test_any_memory_format(photo: Tensor, loss: PerceptualLoss) -> None:
    begin = photo.contiguous(memory_format=torch.channels_last)
    picture = optimize(photo, loss, begin, "lbfgs", 4)
    assert torch.allclose(picture, optimize(photo, loss, photo, "lbfgs", 4), atol=1e-4)


# --- coarse to fine ---


def test_sides_grow_by_the_square_root_of_two() -> None:
    assert sides(512) == [128, 181, 256, 362, 512]
    assert sides(513)[0] == 128
    assert sides(64) == [64]
    for size in (100, 129, 700, 1001):
        found = sides(size)
        assert found[-1] == size
        assert found[0] < 182
        assert all(b / a == pytest.approx(2**0.5, rel=0.01) for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("width", "height", "size", "expected"),
    [
        (75, 50, 61, (61, 41)),
        (33, 90, 91, (33, 91)),
        (200, 150, 183, (183, 137)),
    ],
)
def test_sizes(width: int, height: int, size: int, expected: tuple[int, int]) -> None:
    photo = open_picture(PHOTO).resize((width, height))
    seen: list[Progress] = []
    picture = optimize_coarse_to_fine(
        photo,
        open_picture(PAINTING),
        load_loss(),
        Settings(size, iterations=2),
        on_progress=seen.append,
    )
    assert picture.size == expected
    assert [p.evaluation for p in seen] == list(range(1, len(seen) + 1))
    assert [p.side for p in seen] == [side for side in sides(size) for _ in range(2)]
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)


def test_stopped_early_it_is_still_as_large_as_asked_for() -> None:
    seen: list[int] = []

    def stop(progress: Progress) -> bool:
        seen.append(progress.side)
        return True

    picture = optimized(Settings(190), stop)
    assert seen == [134]
    assert picture.size == resize_picture(open_picture(PHOTO), 190).size


def test_the_seed_decides() -> None:
    def made(seed: int) -> bytes:
        settings = Settings(48, iterations=6, seed=seed)
        return optimized(settings, lambda progress: None, "noise").tobytes()

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_the_size_of_the_painting_matters() -> None:
    def style_at_start(style_size: int | None) -> float:
        first: list[float] = []
        settings = Settings(64, style_size, iterations=1)
        optimized(settings, lambda progress: first.append(progress.losses["style"]))
        return first[0]

    expected = load_loss()
    expected.set_style_image(small(PAINTING, 100))
    there = small(PHOTO, 64)
    assert style_at_start(100) == pytest.approx(float(expected(there, there)["style"]), rel=1e-4)
    assert style_at_start(None) == pytest.approx(style_at_start(64))
    assert style_at_start(None) != pytest.approx(style_at_start(100), rel=1e-3)


# --- the command line ---


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["optimize", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(result: Result, *names: str) -> None:
    sentence = result.stderr.splitlines()[-1]
    assert result.exit_code == 2, result.output
    assert sentence.startswith(("fast-style: ", "Error: "))
    for name in names:
        assert name in sentence


def test_from_files_to_a_file(tmp_path: Path) -> None:
    out, log = tmp_path / "new" / "out.png", tmp_path / "log"
    result = run(PHOTO, PAINTING, "-o", out, "--size", "64", "--iterations", "4", "--log", log)
    assert result.exit_code == 0, result.output
    assert "out.png: content " in result.stdout
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]
    made = np.asarray(open_picture(out), dtype=float)
    photo = np.asarray(resize_picture(open_picture(PHOTO), 64), dtype=float)
    assert made.shape == photo.shape
    assert np.abs(made - photo).mean() > 2

    events = EventAccumulator(str(log))
    events.Reload()
    totals = events.Scalars("optimize/total")
    assert [event.step for event in totals] == [1, 2, 3, 4]
    assert min(event.value for event in totals) < totals[0].value
    assert "optimize_style/relu4_3" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["pictures/optimized"]


def test_from_a_picture_of_another_size_and_other_weights(tmp_path: Path) -> None:
    start, out = tmp_path / "start.png", tmp_path / "out.jpg"
    Image.new("RGB", (31, 77), (200, 30, 30)).save(start)
    result = run(
        PHOTO, PAINTING, "loss.style_weight=0", "loss.tv_weight=0", "loss.content_weight=1",
        "-o", out, "--size", "64", "--start", start, "--iterations", "1", "--optimizer", "adam",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    colour = np.asarray(open_picture(out), dtype=float).mean((0, 1))
    assert np.abs(colour - (200, 30, 30)).max() < 3  # after one evaluation it is still the start


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere.jpg", PAINTING], ["nowhere.jpg does not exist"]),
        ([PHOTO, "nowhere.jpg"], ["nowhere.jpg does not exist"]),
        ([PHOTO, "text.jpg"], ["text.jpg is not a picture"]),
        (["thin.png", PAINTING], ["the photo is too narrow"]),
        ([PHOTO, "thin.png"], ["the painting is too narrow"]),
        ([PHOTO, PAINTING, "--start", "nowhere.png"], ["nowhere.png does not exist"]),
        ([PHOTO, PAINTING, "--optimizer", "sgd"], ["sgd", "lbfgs"]),
        ([PHOTO, PAINTING, "--device", "nonsense"], ["'nonsense'"]),
        ([PHOTO, PAINTING, "data.size=3"], ["data.size=3", "loss"]),
        ([PHOTO, PAINTING, "loss.styleweight=3"], ["styleweight"]),
        ([PHOTO, PAINTING, "loss=vgg17"], ["vgg17"]),
        ([PHOTO, PAINTING, "loss.style_layers=[relu9_9]"], ["relu9_9"]),
        ([PHOTO, PAINTING, "-o", "."], [". is a folder"]),
        ([PHOTO, PAINTING, "-o", "text.jpg/out.png"], ["text.jpg/out.png cannot be saved"]),
        ([PHOTO, PAINTING, "-o", "out.xyz"], ["out.xyz does not say in which format"]),
        ([PHOTO, PAINTING, "-o", "a" * 300 + ".png"], ["aaa.png", "name"]),
        (["mine.png", PAINTING, "-o", "mine.png"], ["mine.png is what you start from"]),
        (["mine.png", PAINTING, "--size", "20000"], ["20000 px needs about"]),
        ([PHOTO, PAINTING, "--log", "text.jpg"], ["text.jpg"]),
    ],
)
def test_mistakes_are_found_before_anything_slow(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str | Path],
    said: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (1000, 20)).save(tmp_path / "thin.png")
    Image.new("RGB", (50, 40)).save(tmp_path / "mine.png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused(run(*given, "--iterations", "1000000"), *said)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_unknown_optimizers_from_python(photo: Tensor, loss: PerceptualLoss) -> None:
    with pytest.raises(UserError, match="'sgd' is unknown: choose lbfgs or adam"):
        optimize(photo, loss, photo, "sgd")  # type: ignore[arg-type]


@pytest.mark.slow
def test_ctrl_c_keeps_what_there_is(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = ["optimize", PHOTO, PAINTING, "-o", out, "--size", "64", "--iterations", "1000000"]
    with subprocess.Popen(
        [sys.executable, "-m", "fast_style.cli", *map(str, command)], stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        shown = b""
        while b"style" not in shown:  # the bar shows losses once it is at work
            shown += process.stderr.read(1)
        assert not out.exists()
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 0
    assert open_picture(out).size == resize_picture(open_picture(PHOTO), 64).size
