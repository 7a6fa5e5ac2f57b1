"""A whole evaluation on small pictures: figures against their definitions, and its files."""

import html
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from fast_style.bundled import PAINTINGS
from fast_style.checkpoint import TrainedStyle, read_style, save_style, shipped_styles
from fast_style.cli import main
from fast_style.data.datasets import CentreSquares
from fast_style.errors import UserError
from fast_style.evaluation import artifacts
from fast_style.evaluation.evaluate import Plan, Progress, evaluate
from fast_style.evaluation.reference import (
    evaluations_to_reach,
    median_evaluations,
    reference_curve,
)
from fast_style.evaluation.report import EXPLANATIONS
from fast_style.evaluation.results import to_json
from fast_style.images import find_pictures, open_picture, resize_picture, to_tensor
from fast_style.losses import PerceptualLoss
from fast_style.networks.transformer import ImageTransformer
from fast_style.optimize.gatys import optimize
from fast_style.stylizing.stylizer import Stylizer

LOSS: dict[str, Any] = {
    "_target_": "fast_style.losses.PerceptualLoss",
    "network": "vgg16",
    "weights": "bundled",
    "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1", "relu2_1"],
    "content_weight": 1.0,
    "style_weight": 10.0,
    "tv_weight": 2.0,
}
SIZE = 96


def checkpoint(path: Path, seed: int = 0, **recipe: Any) -> Path:
    torch.manual_seed(seed)
    style = {"name": "glass", "image": "stained-glass.jpg", "size": 128}
    trained = TrainedStyle(
        ImageTransformer((4, 8, 8), residual_blocks=1),
        "glass",
        {"style": style, "loss": LOSS} | recipe,
        {"step": 7},
    )
    save_style(trained, path)
    return path


def painting() -> Tensor:
    return to_tensor(resize_picture(open_picture(PAINTINGS / "stained-glass.jpg"), 128))[None]


@pytest.fixture(scope="module")
def loss() -> PerceptualLoss:
    loss = PerceptualLoss(**{key: value for key, value in LOSS.items() if key != "_target_"})
    loss.set_style_image(painting())
    return loss


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks and three photos: one partly flat, one of noise, and one that is left out."""
    folder = tmp_path_factory.mktemp("evaluation")
    for seed, name in enumerate(("old", "<b>new & 'bold'")):
        checkpoint(folder / f"{name}.safetensors", seed)
    (folder / "photos").mkdir()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (110, 120, 3), generator=generator, dtype=torch.uint8).numpy()
    Image.fromarray(noise).save(folder / "photos" / "b.png")
    Image.fromarray(noise).save(folder / "photos" / "c.png")
    noise = noise.copy()
    noise[:70] = 90
    Image.fromarray(noise).save(folder / "photos" / "a.png")
    return folder


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    return Plan(
        [str(path) for path in sorted(folder.glob("*.safetensors"), reverse=True)],
        photos=folder / "photos",
        sizes=(SIZE, 128),
        count=2,
        evaluations=8,
        evaluations_sizes=(SIZE,),
    )


@pytest.fixture(scope="module")
def out(folder: Path) -> Path:
    return folder / "report"


@pytest.fixture(scope="module")
def told() -> list[float]:
    return []


@pytest.fixture(scope="module")
def report(plan: Plan, out: Path, told: list[float]) -> dict[str, Any]:
    evaluate(plan, out, lambda progress: told.append(progress.done))
    return json.loads((out / "report.json").read_text())


def squares(plan: Plan, size: int) -> Tensor:
    assert plan.photos is not None
    data = CentreSquares(find_pictures(plan.photos)[:2], size)
    return torch.stack([data[0], data[1]]).float() / 255


def test_losses_are_those_of_the_stylized_photos(
    plan: Plan, report: dict[str, Any], loss: PerceptualLoss
) -> None:
    for path, found in zip(plan.checkpoints, report["checkpoints"], strict=True):
        for size in plan.sizes:
            photos = squares(plan, size)
            stylized = Stylizer(path)(photos)
            each = [loss(a, b) for a, b in zip(stylized.split(1), photos.split(1), strict=True)]
            for name, value in found["sizes"][str(size)]["losses"].items():
                expected = statistics.mean(losses[name].item() for losses in each)
                assert value == pytest.approx(expected, rel=1e-3), name
    assert {"total", "content", "style", "tv", "style/relu1_1", "style/relu2_1"} == set(
        report["checkpoints"][0]["sizes"]["96"]["losses"]
    )


def test_artifacts_are_those_of_the_stylized_photos(plan: Plan, report: dict[str, Any]) -> None:
    stylize, photos = Stylizer(plan.checkpoints[0]), squares(plan, SIZE)
    stylized = torch.cat([stylize(photo) for photo in photos.split(1)])
    found = report["checkpoints"][0]["sizes"][str(SIZE)]
    flat = artifacts.spots(stylized, photos)
    assert flat.isnan().tolist() == [False, True]
    assert [photo["faults"]["spots"] for photo in found["photos"]] == [flat[0].item(), None]
    expected = {
        "spots": flat[0].item(),
        "checkerboard": artifacts.checkerboard(stylized, painting()).mean().item(),
        "change_shifted": artifacts.change(
            artifacts.shift(stylized), stylize(artifacts.shift(photos))
        )
        .mean()
        .item(),
        **{f"border_{name}": value.item() for name, value in artifacts.border(stylized).items()},
    }
    for name, value in expected.items():
        assert found["faults"][name] == pytest.approx(value, rel=0.02, abs=1e-6), name
    for name in ("change_noise", "change_jpeg"):
        assert 0 < found["faults"][name] < 2


def test_networks_of_one_painting_and_loss_share_the_reference(report: dict[str, Any]) -> None:
    (judge,) = report["judges"]
    assert [c["judge"] for c in report["checkpoints"]] == [0, 0]
    assert len(judge["curves"][str(SIZE)]) == 2
    assert judge["dots"] == pytest.approx(artifacts.dots(painting()).item())


def test_evaluations_are_read_off_the_curve(report: dict[str, Any]) -> None:
    curves = report["judges"][0]["curves"][str(SIZE)]
    for checkpoint in report["checkpoints"]:
        found = checkpoint["sizes"][str(SIZE)]
        for photo, curve in zip(found["photos"], curves, strict=True):
            total, count = photo["losses"]["total"], photo["evaluations"]
            if count is None:
                assert len(curve) == 8
                assert min(curve) > total
            else:
                assert curve[count - 1] <= total
                assert all(value > total for value in curve[: count - 1])
        assert found["evaluations"] == median_evaluations(
            [photo["evaluations"] for photo in found["photos"]]
        )
    assert "evaluations" not in report["checkpoints"][0]["sizes"]["128"]


def test_the_curve_is_the_lowest_total_so_far(loss: PerceptualLoss, plan: Plan) -> None:
    photo = squares(plan, SIZE)[:1]
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(3))
    totals: list[float] = []

    optimize(
        photo,
        loss,
        noise,
        evaluations=6,
        on_evaluation=lambda evaluation: totals.append(evaluation.losses["total"]),
    )
    curve = reference_curve(loss, photo, 0.0, 6, seed=3)
    assert curve == pytest.approx([min(totals[: n + 1]) for n in range(6)])
    assert curve != reference_curve(loss, photo, 0.0, 6, seed=4)
    short = reference_curve(loss, photo, curve[3], 6, seed=3)
    assert short == curve[: curve.index(curve[3]) + 1]


def test_counts_and_medians() -> None:
    assert evaluations_to_reach([9.0, 5.0, 5.0, 2.0], 5.0) == 2
    assert evaluations_to_reach([9.0, 5.0], 10.0) == 1
    assert evaluations_to_reach([9.0, 5.0], 4.9) is None
    assert median_evaluations([10, None, 20]) == 20
    assert median_evaluations([10, 20]) == 15
    assert median_evaluations([10, None]) is None


def test_progress_goes_from_nothing_to_all(report: dict[str, Any], told: list[float]) -> None:
    assert told == sorted(told)
    assert told[0] == 0
    assert told[-1] == pytest.approx(1)


def test_the_page_shows_every_network_and_picture(report: dict[str, Any], out: Path) -> None:
    page = (out / "index.html").read_text()
    sources = re.findall(r'src="([^"]+)"', page)
    # For each size: two photos, and for each network the painting and two pictures.
    assert len(sources) == 2 * (2 + 2 * 3)
    for source in sources:
        open_picture(out / unquote(source))
    assert "&lt;b&gt;new &amp; &#39;bold&#39;" in page
    assert "<b>" not in page
    assert page.count("<polyline") == 2
    assert set(EXPLANATIONS) == {"Spots", "Checkerboard", "Border", "Change"}
    for name, paragraphs in EXPLANATIONS.items():
        assert f"<h3>{name}</h3>" in page
        assert all(paragraph in html.unescape(page) for paragraph in paragraphs)
    assert "Not complete" not in page


def test_tensorboard_has_the_figures_by_size(report: dict[str, Any], out: Path) -> None:
    events = EventAccumulator(str(out / "tensorboard" / "0-old"))
    events.Reload()
    found = report["checkpoints"][0]["sizes"]
    for tag, group, name in (
        ("losses/total", "losses", "total"),
        ("losses_style/relu1_1", "losses", "style/relu1_1"),
        ("faults/checkerboard", "faults", "checkerboard"),
    ):
        logged = {event.step: event.value for event in events.Scalars(tag)}
        expected = {int(size): found[size][group][name] for size in found}
        assert logged == pytest.approx(expected, rel=1e-5)
    assert events.Tags()["images"] == ["pictures/photos_above_stylized"]
    (curves,) = (out / "tensorboard").glob("l-bfgs-*")
    events = EventAccumulator(str(curves))
    events.Reload()
    totals = [event.value for event in events.Scalars(f"l-bfgs/total_{SIZE}px_photo_0")]
    assert totals == pytest.approx(report["judges"][0]["curves"][str(SIZE)][0], rel=1e-5)


def test_what_is_measured_stays_after_an_interruption(plan: Plan, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.doing.startswith("<b>"):
            raise KeyboardInterrupt

    found = evaluate(replace(plan, sizes=(SIZE,)), tmp_path, interrupt)
    assert not found.complete
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == to_json(found)
    first, second = written["checkpoints"]
    assert set(first["sizes"]) == {str(SIZE)}
    assert not second["sizes"]
    assert "Not complete" in (tmp_path / "index.html").read_text()


def test_a_second_report_replaces_the_first(plan: Plan, tmp_path: Path) -> None:
    small = replace(plan, checkpoints=plan.checkpoints[:1], sizes=(SIZE,), count=1, evaluations=0)
    for _ in range(2):
        found = evaluate(small, tmp_path)
    assert found.complete
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "index.html",
        "pictures",
        "report.json",
        "tensorboard",
    ]
    events = EventAccumulator(str(tmp_path / "tensorboard" / "0-old"))
    events.Reload()
    assert len(events.Scalars("losses/total")) == 1
    assert not found.references[0].curves


def test_paintings_are_found_by_name_in_a_folder(plan: Plan, tmp_path: Path) -> None:
    painted = tmp_path / "paintings"
    painted.mkdir()
    resize_picture(open_picture(PAINTINGS / "stained-glass.jpg"), 200).save(painted / "mine.png")
    style = {"name": "mine", "image": "mine.png", "size": 96}
    mine = checkpoint(tmp_path / "mine.safetensors", style=style)
    small = replace(
        plan, checkpoints=[str(mine), str(mine)], painting=painted, sizes=(SIZE,), evaluations=0
    )
    found = evaluate(small, tmp_path / "out")
    assert [checkpoint.name for checkpoint in found.checkpoints] == ["mine", "mine-2"]
    (spec,) = [reference.objective.spec for reference in found.references]
    assert (spec.painting.name, spec.style_size) == ("mine.png", 96)


def test_paintings_of_shipped_styles_are_found_in_the_package() -> None:
    for name in shipped_styles():
        image = read_style(name).recipe["style"]["image"]
        assert image == f"{name}.jpg"
        assert (PAINTINGS / image).is_file()


# --- the command line ---


def run(*arguments: str | int | Path) -> Result:
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_command_line(folder: Path, tmp_path: Path) -> None:
    result = run(
        *(folder / "old.safetensors", "--photos", folder / "photos", "-o", tmp_path / "out"),
        *("--size", SIZE, "--count", 1, "--evaluations", 3, "--loss", "vgg16"),
    )
    assert result.exit_code == 0
    assert re.search(r"old +96 px  total \d+\.\d\d, as L-BFGS after (more than )?\d", result.stdout)
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["judges"][0]["loss"]["content_layers"] == ["relu4_2"]


def test_a_shipped_style_needs_no_painting_given(folder: Path, tmp_path: Path) -> None:
    result = run(
        *("wave", "--photos", folder / "photos", "-o", tmp_path / "out"),
        *("--size", SIZE, "--count", 1, "--evaluations", 0),
    )
    assert result.exit_code == 0
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["judges"][0]["painting"] == "wave.jpg"


def test_ctrl_c_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "checkerboard", interrupt)
    result = run(folder / "old.safetensors", "--size", SIZE, "--count", 1, "-o", tmp_path)
    assert result.exit_code == 130
    assert "stopped" in result.stderr
    assert not json.loads((tmp_path / "report.json").read_text())["complete"]


def refused(*arguments: str | int | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 2
    (sentence,) = result.stderr.splitlines()
    return sentence


def test_wrong_input_ends_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    old, out = folder / "old.safetensors", tmp_path / "out"
    assert "neither a file nor a shipped style" in refused("monet", "-o", out)
    stray = checkpoint(tmp_path / "stray.safetensors", style={"image": "monet.jpg", "size": 128})
    assert "monet.jpg" in refused(stray, "-o", out)
    assert "mine.jpg does not exist" in refused(old, "--painting", "mine.jpg", "-o", out)
    assert "nowhere does not exist" in refused(old, "--photos", "nowhere", "-o", out)
    assert "at least 96" in refused(old, "--size", "95", "-o", out)
    assert "choose from 128" in refused(old, "--size", 128, "--evaluations-at", 256, "-o", out)
    assert "vgg17" in refused(old, "--loss", "vgg17", "-o", out)
    assert "tpu" in refused(old, "--device", "tpu", "-o", out)
    photos = folder / "photos"
    assert "elsewhere" in refused(old, "--photos", photos, "-o", photos / "report")
    assert not out.exists()
    (tmp_path / "file").write_text("mine")
    assert "another folder" in refused(old, "--size", SIZE, "-o", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"loss": {}}, "choose one with --loss"),
        ({"loss": {**LOSS, "_target_": "os.system"}}, "choose one with --loss"),
        ({"loss": {**LOSS, "command": "rm"}}, "choose one with --loss"),
        ({"loss": {**LOSS, "weights": "mine.pth"}}, "mine.pth"),
        ({"style": {"image": "stained-glass.jpg"}}, "at which size"),
        (
            {"style": {"image": "stained-glass.jpg", "size": 10**9}},
            "evaluation needs 64 to 10000 px",
        ),
        ({"style": {"size": 128}}, "--painting"),
        ({"style": "glass"}, "--painting"),
        ({"style": {"image": "../paintings/stained-glass.jpg", "size": "x"}}, "at which size"),
    ],
)
def test_recipes_that_say_too_little_or_too_much(
    tmp_path: Path, recipe: dict[str, Any], sentence: str
) -> None:
    path = checkpoint(tmp_path / "odd.safetensors", **recipe)
    with pytest.raises(UserError, match=re.escape(sentence)):
        evaluate(Plan([str(path)]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
