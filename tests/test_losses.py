"""The losses against the papers' formulas, written out with loops, and cases worked by hand."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fast_style.errors import UserError
from fast_style.losses import (
    Normalization,
    PerceptualLoss,
    content_loss,
    gram_matrix,
    stability_loss,
    style_loss,
    total_variation,
)

NORMALIZATIONS: tuple[Normalization, ...] = ("relative", "johnson", "gatys")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().numpy()


def sum_gram(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gatys et al. 2016, equation 3: G_ij = sum over k of F_ik F_jk, of one picture (C, H, W)."""
    channels, height, width = features.shape
    gram = np.zeros((channels, channels))
    for i, j in product(range(channels), repeat=2):
        for y, x in product(range(height), range(width)):
            gram[i, j] += features[i, y, x] * features[j, y, x]
    return gram


def squared(values: NDArray[np.float64]) -> float:
    return sum(float(value) ** 2 for value in values.ravel())


# --- Gram matrices ---


def test_gram_matrix_is_johnsons_equation_3() -> None:
    features = random(2, 3, 4, 5)
    found = gram_matrix(features)
    assert found.shape == (2, 3, 3)
    for one, gram in zip(array(features), array(found), strict=True):
        np.testing.assert_allclose(gram, sum_gram(one) / (3 * 4 * 5), rtol=1e-5)


def test_gram_matrix_by_hand() -> None:
    # Two channels, one row of two: (1, 2) and (3, -1). Products: 5, 1, 10; divided by 2 * 1 * 2.
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])
    expected = torch.tensor([[[1.25, 0.25], [0.25, 2.5]]])
    torch.testing.assert_close(gram_matrix(features), expected)


def test_gram_matrix_of_constant_features() -> None:
    features = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 7, 9)
    expected = torch.tensor([[1.0, 2, 3], [2, 4, 6], [3, 6, 9]]) / 3
    torch.testing.assert_close(gram_matrix(features)[0], expected)


def test_gram_matrix_does_not_care_where_things_are() -> None:
    features = random(1, 4, 6, 6)
    shuffled = features.flatten(2)[..., torch.randperm(36)].view(1, 4, 9, 4)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gram_matrix_is_summed_in_float32(dtype: torch.dtype) -> None:
    # 4096 squares of 40 overflow float16, and bfloat16 stops counting after a few hundred.
    features = torch.full((1, 2, 64, 64), 40.0, dtype=dtype)
    with torch.autocast("cpu", dtype=dtype):
        gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, torch.full((1, 2, 2), 800.0))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3), (torch.float16, 1e-3)]
)
def test_gram_matrix_and_its_gradient_equal_float64s(
    dtype: torch.dtype, tolerance: float, memory_format: torch.memory_format
) -> None:
    features = random(2, 16, 33, 40).to(dtype).to(memory_format=memory_format).requires_grad_()
    weights = random(2, 16, 16, seed=1) - 0.5  # not symmetric, as no gradient need be
    gram = gram_matrix(features)
    (gradient,) = torch.autograd.grad(gram, features, weights)
    assert gradient.is_contiguous(memory_format=memory_format)
    flat = features.detach().double().flatten(2).requires_grad_()
    exact = torch.einsum("nik,njk->nij", flat, flat) / (16 * 33 * 40)
    (expected,) = torch.autograd.grad(exact, flat, weights.double())
    # The features are given in 16 bits, but nothing is lost in summing their products.
    torch.testing.assert_close(gram.double(), exact, rtol=1e-5, atol=1e-9)
    assert (gradient.flatten(2) - expected).norm() < tolerance * expected.norm()


def test_losses_under_autocast_are_float32() -> None:
    features, target = random(1, 4, 16, 16).bfloat16(), random(1, 4, 16, 16, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [
            content_loss(features, target),
            style_loss(gram_matrix(features), gram_matrix(target)),
            total_variation(features),
        ]
    plain = [
        content_loss(features.float(), target.float()),
        style_loss(gram_matrix(features.float()), gram_matrix(target.float())),
        total_variation(features.float()),
    ]
    for loss, expected in zip(found, plain, strict=True):
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected)


# --- content loss ---


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_content_loss_formulas(normalization: Normalization) -> None:
    features, target = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    error = squared(array(features) - array(target)) / 2  # of one picture on average
    expected = {
        "relative": error / (squared(array(target)) / 2),
        "johnson": error / (3 * 4 * 5),  # equation 2
        "gatys": error / 2,  # equation 1
    }[normalization]
    loss = content_loss(features, target, normalization)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("normalization", "expected"), [("relative", 0.25), ("johnson", 1.0), ("gatys", 3.0)]
)
def test_content_loss_by_hand(normalization: Normalization, expected: float) -> None:
    # Six values of 3 where the photo has 2: errors of 1.
    features, target = torch.full((1, 2, 1, 3), 3.0), torch.full((1, 2, 1, 3), 2.0)
    assert float(content_loss(features, target, normalization)) == pytest.approx(expected)
    assert float(content_loss(target, target, normalization)) == 0


def test_relative_content_loss_does_not_care_for_the_scale_of_features() -> None:
    features, target = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    loss = content_loss(features, target)
    torch.testing.assert_close(content_loss(100 * features, 100 * target), loss)
    torch.testing.assert_close(content_loss(torch.zeros_like(target), target), torch.tensor(1.0))


def test_relative_content_loss_of_a_black_photo_is_finite() -> None:
    black = torch.zeros(1, 2, 3, 3)
    assert content_loss(random(1, 2, 3, 3), black).isfinite()
    assert content_loss(black, black) == 0


# --- style loss ---


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_style_loss_formulas(normalization: Normalization) -> None:
    features, painting = random(2, 3, 4, 5), random(1, 3, 6, 7, seed=1)
    target = sum_gram(array(painting)[0]) / (3 * 6 * 7)
    expected = 0.0
    for one in array(features):
        error = squared(sum_gram(one) / (3 * 4 * 5) - target)
        expected += {
            "relative": error / squared(target),
            "johnson": error,  # equation 4
            "gatys": error / 4,
        }[normalization] / 2
    loss = style_loss(gram_matrix(features), gram_matrix(painting), normalization)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_gatys_style_loss_is_his_equation_4_where_sizes_are_equal() -> None:
    # E = |G - A|^2 / (4 N^2 M^2) with Gram matrices that are plain sums, N channels, M positions.
    features, painting = random(1, 3, 4, 5), random(1, 3, 4, 5, seed=1)
    error = squared(sum_gram(array(features)[0]) - sum_gram(array(painting)[0]))
    loss = style_loss(gram_matrix(features), gram_matrix(painting), "gatys")
    assert float(loss) == pytest.approx(error / (4 * 3**2 * 20**2), rel=1e-4)


@pytest.mark.parametrize(
    ("normalization", "expected"), [("relative", 0.5), ("johnson", 4.0), ("gatys", 1.0)]
)
def test_style_loss_by_hand(normalization: Normalization, expected: float) -> None:
    gram = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    target = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])  # four errors of 1 against a norm of 8
    assert float(style_loss(gram, target, normalization)) == pytest.approx(expected)
    assert float(style_loss(target, target, normalization)) == 0


def test_relative_style_loss_does_not_care_for_the_scale_of_features() -> None:
    features, painting = random(2, 3, 4, 5), random(1, 3, 6, 7, seed=1)
    loss = style_loss(gram_matrix(features), gram_matrix(painting))
    scaled = style_loss(gram_matrix(30 * features), gram_matrix(30 * painting))
    torch.testing.assert_close(scaled, loss)


# --- total variation ---


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_total_variation_formulas(normalization: Normalization) -> None:
    pictures = random(2, 3, 4, 6)
    expected = 0.0
    for one in array(pictures):
        down = [
            (one[c, y + 1, x] - one[c, y, x]) ** 2
            for c, y, x in product(range(3), range(3), range(6))
        ]
        across = [
            (one[c, y, x + 1] - one[c, y, x]) ** 2
            for c, y, x in product(range(3), range(4), range(5))
        ]
        if normalization == "relative":
            expected += (sum(down) / len(down) + sum(across) / len(across)) / 2
        else:
            expected += (sum(down) + sum(across)) / 2
    loss = total_variation(pictures, normalization)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_total_variation_by_hand() -> None:
    # Rows (0, 1, 3) and (0, 1, 3): across 1 + 4 in each row, down nothing.
    picture = torch.tensor([[0.0, 1, 3], [0, 1, 3]]).expand(1, 3, 2, 3)
    assert float(total_variation(picture, "johnson")) == 3 * 10
    assert float(total_variation(picture, "gatys")) == 3 * 10
    assert float(total_variation(picture, "relative")) == 2.5
    assert float(total_variation(picture.mT, "johnson")) == 3 * 10
    assert float(total_variation(torch.full((2, 3, 5, 5), 0.3))) == 0


# --- perceptual loss ---

MakeLoss = Callable[..., PerceptualLoss]


@pytest.fixture
def painting() -> Tensor:
    return random(1, 3, 40, 32, seed=7)


@pytest.fixture
def make_loss(painting: Tensor) -> MakeLoss:
    def make(normalization: Normalization = "relative", **weights: Any) -> PerceptualLoss:
        loss = PerceptualLoss(
            "vgg16", "bundled", ["relu2_2", "relu1_2"], ["relu1_1", "relu2_1"],
            normalization=normalization, **weights,
        )  # fmt: skip
        loss.set_style_image(painting)
        return loss

    return make


def test_stability_formula() -> None:
    first, again = random(2, 3, 24, 28), random(2, 3, 24, 28, seed=1)
    inner, inner_again = (array(pictures)[..., 8:-8, 8:-8] for pictures in (first, again))
    expected = ((inner - inner_again) ** 2).mean() / inner.var(ddof=1)
    assert stability_loss(first, again).item() == pytest.approx(expected, rel=1e-5)


def test_stability_is_no_reward_for_contrast() -> None:
    first, again = random(1, 3, 24, 24).requires_grad_(), random(1, 3, 24, 24, seed=1)
    (gradient,) = torch.autograd.grad(stability_loss(first, again), first)
    difference = (first - again)[..., 8:-8, 8:-8]
    variance = first[..., 8:-8, 8:-8].var()
    torch.testing.assert_close(
        gradient[..., 8:-8, 8:-8], 2 * difference / difference.numel() / variance
    )


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_all_losses_from_the_features_up(
    normalization: Normalization, make_loss: MakeLoss, painting: Tensor
) -> None:
    loss = make_loss(normalization, content_weight=2.0, style_weight=30.0, tv_weight=0.5)
    stylized, photos = random(2, 3, 24, 28), random(2, 3, 24, 28, seed=1)
    found = {name: float(value) for name, value in loss(stylized, photos).items()}
    assert set(found) == {"total", "content", "style", "tv", "style/relu1_1", "style/relu2_1"}

    ours, theirs, wanted = loss.vgg(stylized), loss.vgg(photos), loss.vgg(painting)
    content = [
        float(content_loss(ours[x], theirs[x], normalization)) for x in ("relu2_2", "relu1_2")
    ]
    style = [
        float(style_loss(gram_matrix(ours[x]), gram_matrix(wanted[x]), normalization))
        for x in ("relu1_1", "relu2_1")
    ]
    layers = 1 if normalization == "johnson" else 2  # summed there, averaged elsewhere
    assert found["content"] == pytest.approx(sum(content) / layers, rel=1e-4)
    assert found["style"] == pytest.approx(sum(style) / layers, rel=1e-4)
    assert found["style/relu1_1"] == pytest.approx(style[0], rel=1e-4)
    assert found["style/relu2_1"] == pytest.approx(style[1], rel=1e-4)
    assert found["tv"] == pytest.approx(float(total_variation(stylized, normalization)), rel=1e-5)
    total = 2 * found["content"] + 30 * found["style"] + 0.5 * found["tv"]
    assert found["total"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_style_at_half_the_scale(
    normalization: Normalization, strength: float, painting: Tensor
) -> None:
    loss = PerceptualLoss(
        "vgg16", "bundled", ["relu1_2"], ["relu1_1", "relu2_1"], style_scales=[2, 1],
        normalization=normalization,
    )  # fmt: skip
    loss.set_style_image(random(1, 3, 40, 40))  # of two paintings, the last one counts
    loss.set_style_image(painting)
    stylized, photos = random(2, 3, 36, 45), random(2, 3, 36, 45, seed=1)
    found = {name: float(value) for name, value in loss(stylized, photos, strength).items()}

    def halved(pictures: Tensor) -> Tensor:
        height, width = (side // 2 for side in pictures.shape[-2:])
        squares = pictures[..., : 2 * height, : 2 * width].reshape(-1, 3, height, 2, width, 2)
        return squares.mean((3, 5))

    expected = {}
    for suffix, seen in (("", lambda pictures: pictures), ("_by_2", halved)):
        for layer in ("relu1_1", "relu2_1"):
            ours, own, wanted = (
                gram_matrix(loss.vgg(seen(pictures))[layer])
                for pictures in (stylized, photos, painting)
            )
            target = strength * wanted + (1 - strength) * own
            expected[f"style/{layer}{suffix}"] = float(style_loss(ours, target, normalization))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-3), name
    combined = sum(expected.values()) / (1 if normalization == "johnson" else 4)
    assert found["style"] == pytest.approx(combined, rel=1e-3)
    assert {name for name in found if "/" in name} == set(expected)


def test_what_is_too_small_to_be_shrunk_is_told() -> None:
    loss = PerceptualLoss("vgg16", "bundled", ["relu1_2"], ["relu1_1"], style_scales=[1, 4])
    with pytest.raises(UserError, match=r"90 x 63 px .* shrunk by 4 .*loss\.style_scales"):
        loss.set_style_image(random(1, 3, 63, 90))
    loss.set_style_image(random(1, 3, 64, 90))
    with pytest.raises(UserError, match=r"32 x 32 px .* shrunk by 4"):
        loss(random(1, 3, 32, 32), random(1, 3, 32, 32))


@pytest.mark.parametrize("scales", [[], [0], [1, 1.5], [-2], 2, ["a"], "12"])
def test_other_style_scales_are_refused(scales: Any) -> None:
    with pytest.raises(UserError, match=r"loss\.style_scales=.*whole numbers"):
        PerceptualLoss("vgg16", "bundled", ["relu1_2"], ["relu1_1"], style_scales=scales)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_photo_itself_has_no_content_loss(
    normalization: Normalization, make_loss: MakeLoss
) -> None:
    photos = random(2, 3, 24, 28)
    losses = make_loss(normalization)(photos, photos)
    assert losses["content"] == 0
    assert losses["style"] > 0


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_painting_itself_has_no_style_loss(
    normalization: Normalization, make_loss: MakeLoss, painting: Tensor
) -> None:
    losses = make_loss(normalization)(painting, random(*painting.shape, seed=1))
    assert losses["style"] == pytest.approx(0, abs=1e-9)
    assert losses["content"] > 0


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_without_strength_the_photo_itself_loses_nothing(
    normalization: Normalization, make_loss: MakeLoss
) -> None:
    photos = random(2, 3, 24, 28)
    losses = make_loss(normalization)(photos, photos, 0.0)
    assert losses["total"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_strength_moves_the_gram_matrices_from_the_photos_to_the_paintings(
    normalization: Normalization, make_loss: MakeLoss, painting: Tensor
) -> None:
    loss = make_loss(normalization)
    stylized, photos = random(2, 3, 24, 28), random(2, 3, 24, 28, seed=1)
    found = loss(stylized, photos, 0.25)
    for layer in ("relu1_1", "relu2_1"):
        grams = [gram_matrix(loss.vgg(x)[layer]).double() for x in (stylized, photos, painting)]
        error = (grams[0] - 0.75 * grams[1] - 0.25 * grams[2]).square().sum((1, 2)).mean()
        if normalization == "relative":
            error /= (0.75 * grams[1] + 0.25 * grams[2]).square().sum((1, 2)).mean()
        if normalization == "gatys":
            error /= 4
        assert float(found[f"style/{layer}"]) == pytest.approx(float(error), rel=1e-4)


def test_style_strength_is_one_more_factor(make_loss: MakeLoss) -> None:
    pictures = random(2, 3, 24, 28), random(2, 3, 24, 28, seed=1)
    double = make_loss(style_weight=10.0, style_strength=2.0)(*pictures)
    assert torch.equal(double["total"], make_loss(style_weight=20.0)(*pictures)["total"])


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_batch_is_the_mean_of_its_pictures(
    normalization: Normalization, make_loss: MakeLoss
) -> None:
    loss = make_loss(normalization, tv_weight=1.0)
    stylized, photos = random(2, 3, 24, 28), random(2, 3, 24, 28, seed=1)
    together = loss(stylized, photos)
    first, second = loss(stylized[:1], photos[:1]), loss(stylized[1:], photos[1:])
    for name in together.keys() - ({"content", "total"} if normalization == "relative" else set()):
        torch.testing.assert_close(together[name], (first[name] + second[name]) / 2)


def test_a_flat_photo_weighs_no_more_than_it_holds() -> None:
    # Errors of 0.01 in features of 0.01 count little beside features of 1.
    target = torch.stack([torch.ones(2, 4, 4), torch.full((2, 4, 4), 0.01)])
    assert float(content_loss(target * 2, target)) == pytest.approx(1.0, rel=1e-5)
    assert float(content_loss(target + 0.01, target)) == pytest.approx(2e-4, rel=1e-3)


def test_loss_teaches_the_picture_and_nothing_else(make_loss: MakeLoss) -> None:
    loss = make_loss(tv_weight=1.0)
    stylized, photos = random(1, 3, 24, 28), random(1, 3, 24, 28, seed=1)
    stylized.requires_grad_()
    photos.requires_grad_()
    loss(stylized, photos)["total"].backward()
    assert stylized.grad is not None
    assert stylized.grad.abs().sum() > 0
    assert photos.grad is None
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    assert all(buffer.grad is None for buffer in loss.buffers())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_equals_finite_differences(
    normalization: Normalization, make_loss: MakeLoss
) -> None:
    loss = make_loss(normalization, tv_weight=1.0).double()
    photos = random(1, 3, 16, 18, seed=1).double()
    stylized = random(1, 3, 16, 18).double().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(stylized, photos)["total"], stylized)
    # Steps along the gradient, and along a random half of its components, change the loss far more
    # than the rounding of Gram matrices, which are always float32.
    signs = torch.rand(stylized.shape, generator=torch.Generator().manual_seed(3)).round()
    for direction in (gradient / gradient.norm(), gradient * signs / (gradient * signs).norm()):
        step = 1e-3 * direction
        with torch.no_grad():
            up, down = (loss(stylized + s, photos)["total"] for s in (step, -step))
        slope = float((up - down) / 2e-3)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-3)


def test_painting_and_photos_may_differ_in_size(make_loss: MakeLoss, painting: Tensor) -> None:
    loss = make_loss()
    tiled = painting.repeat(1, 1, 2, 2)
    assert float(loss(tiled, tiled)["style"]) < 0.01  # only the borders differ


def test_the_style_can_be_measured_anew(make_loss: MakeLoss, painting: Tensor) -> None:
    loss = make_loss()
    other = random(1, 3, 24, 24, seed=9) ** 4
    loss.set_style_image(other)
    assert loss(other, other)["style"] == pytest.approx(0, abs=1e-9)
    assert loss(painting, painting)["style"] > 0.01


def test_unknown_normalization() -> None:
    with pytest.raises(UserError, match="'relativ' is unknown: choose relative, johnson, gatys"):
        PerceptualLoss("vgg16", "bundled", ["relu1_1"], ["relu1_1"], normalization="relativ")  # type: ignore[arg-type]


def test_unknown_layer() -> None:
    with pytest.raises(UserError, match="no layer 'relu9_9'"):
        PerceptualLoss("vgg16", "bundled", ["relu1_1"], ["relu9_9"])


@pytest.mark.parametrize(("content", "style"), [([], ["relu1_1"]), (["relu1_1"], [])])
def test_no_layers_at_all_is_a_sentence(content: list[str], style: list[str]) -> None:
    with pytest.raises(UserError, match="layer"):
        PerceptualLoss("vgg16", "bundled", content, style)
