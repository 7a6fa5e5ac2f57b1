"""The benchmark measures networks of conf/, and its candidates compute the same step."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.candidates import (
    PATCHES,
    gram_by_autograd,
    margins_by_pytorch,
    network_in_channels_last,
    nothing,
    one_vgg_pass,
    vgg_in_nchw,
)
from benchmarks.film import measure_film
from benchmarks.meters import describe_machine, psnr
from benchmarks.ours import OurTraining, our_network
from benchmarks.processes import run
from fast_style.losses.functional import FeatureProducts
from fast_style.networks import operations, transformer, vgg

EQUAL = (
    vgg_in_nchw,
    network_in_channels_last,
    one_vgg_pass,
    gram_by_autograd,
    margins_by_pytorch,
)


@pytest.mark.parametrize(("model", "widths"), [("johnson", [32, 64, 128]), ("small", [16, 32, 64])])
def test_each_model_is_built(model: str, widths: list[int]) -> None:
    assert our_network(model).widths == widths


def test_a_worker_answers_from_its_own_process() -> None:
    assert run(describe_machine, device="cpu") == describe_machine("cpu")


def test_a_worker_that_fails_ends_the_program(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(psnr, second="none")
    assert ended.value.code not in (0, None)
    assert "psnr() missing" in capfd.readouterr().err


def test_a_film_is_measured() -> None:
    cost = measure_film("small", "cpu", width=64, height=48, frames=3, smooth=False)
    assert cost.frames == 3
    assert 0 < cost.steady_seconds < cost.seconds
    assert min(cost.reading, cost.network, cost.writing) > 0


def test_patches_that_change_only_the_way_have_the_same_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, name in (
        (FeatureProducts, "apply"),
        (operations, "padded"),
        (transformer, "padded"),
        (vgg, "padded"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back at the end
    photos = torch.randint(
        0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    def gradient(patch: Callable[[OurTraining], None]) -> torch.Tensor:
        torch.manual_seed(0)
        training = OurTraining.build(torch.device("cpu"), "vgg16", "32-true", tuned=False)
        patch(training)
        training.step_on(photos)()
        gradients = (parameter.grad for parameter in training.module.network.parameters())
        return torch.cat([each.flatten() for each in gradients if each is not None])

    assert {patch.apply for patch in PATCHES.values()} >= {*EQUAL, nothing}
    expected = gradient(nothing)
    for patch in EQUAL:
        assert (gradient(patch) - expected).norm() < 1e-4 * expected.norm()
