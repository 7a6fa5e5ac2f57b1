"""The second look: known motion is followed exactly, and nothing outside the photo is seen."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fast_style.losses import PerceptualLoss
from fast_style.networks.transformer import ImageTransformer
from fast_style.training.module import StyleTransfer
from fast_style.training.stability import Move, Warp, sampled

HEIGHT, WIDTH = 48, 64
FULL = torch.ones((), dtype=torch.float64)
STILL = {"noise": 0.0, "zoom": 0.0, "rotation": 0.0, "bend": 0.0, "light": 0.0}


def rng(number: int) -> np.random.Generator:
    return np.random.default_rng([7, number])


def places(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A picture whose pixels say where they are: y, x and a constant."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([y / 255, x / 255, torch.full_like(x, 0.5, dtype=torch.float32)])[None]


def sources(view: Tensor) -> Tensor:
    """Where the pixels of a view come from, in px: y and x, ``(2, h, w)``."""
    return (
        (view[0].double() + 1).permute(2, 0, 1).flip(0)
        / 2
        * torch.tensor([[[HEIGHT - 1.0]], [[WIDTH - 1.0]]])
    )


def test_a_move_is_a_cut() -> None:
    look = Move(noise=0.0)
    for number in range(20):
        changed, view = look.draw(places(), rng(number))
        assert changed.shape == (1, 3, HEIGHT - 4, WIDTH - 4)
        top, left = (changed[0, :2, 0, 0] * 255).round().int().tolist()
        assert 0 <= top < 4
        assert 0 <= left < 4
        cut = places()[:, :, top : top + HEIGHT - 4, left : left + WIDTH - 4]
        assert torch.equal(changed, cut)
        assert torch.equal(look.expected(places(), places(), changed, view, FULL), cut)


@pytest.mark.parametrize(
    ("settings", "scales", "angles"),
    [
        ({}, (1, 1), 0),
        ({"zoom": 0.1}, (math.exp(-0.1), math.exp(0.1)), 0),
        ({"rotation": 5.0}, (1, 1), 5),
        ({"zoom": 0.05, "rotation": 2.0}, (math.exp(-0.05), math.exp(0.05)), 2),
    ],
)
def test_a_warp_is_a_similarity_within_its_limits(
    settings: dict[str, float], scales: tuple[float, float], angles: float
) -> None:
    found_scales, found_angles = [], []
    for number in range(40):
        _, view = Warp(**STILL | settings).draw(places(), rng(number))
        y, x = sources(view)
        # One view px down moves the source by (s cos, s sin): everywhere alike.
        down, across = (
            torch.stack([y.diff(dim=0), x.diff(dim=0)]),
            torch.stack([y.diff(dim=1), x.diff(dim=1)]),
        )
        for step in (down, across):
            torch.testing.assert_close(step, step[:, :1, :1].expand_as(step), rtol=0, atol=2e-4)
        (yy, xy), (yx, xx) = down[:, 0, 0], across[:, 0, 0]
        assert abs(yy - xx) < 1e-4
        assert abs(xy + yx) < 1e-4
        found_scales.append(float(torch.hypot(yy, xy)))
        found_angles.append(math.degrees(math.atan2(float(xy), float(yy))))
        centre = torch.stack([y.mean() - (HEIGHT - 1) / 2, x.mean() - (WIDTH - 1) / 2])
        assert centre.abs().max() < 2.001
    assert min(found_scales) >= scales[0] - 1e-4
    assert max(found_scales) <= scales[1] + 1e-4
    assert max(map(abs, found_angles)) <= angles + 1e-2
    if settings:  # and they are used
        assert max(found_scales) - min(found_scales) > (scales[1] - scales[0]) / 2 - 1e-4
        assert max(found_angles) - min(found_angles) >= angles - 1e-2


def test_a_bend_is_smooth_and_within_its_limit() -> None:
    for number in range(10):
        bent = sources(Warp(**STILL | {"bend": 0.02}).draw(places(), rng(number))[1])
        still = sources(Warp(**STILL).draw(places(), rng(number))[1])
        above, left = (
            (more - less) // 2 for more, less in zip(still.shape[1:], bent.shape[1:], strict=True)
        )
        y, x = bent - still[:, above : above + bent.shape[1], left : left + bent.shape[2]]
        assert 0.1 < y.abs().max() <= 0.02 * HEIGHT + 1e-3
        assert 0.1 < x.abs().max() <= 0.02 * WIDTH + 1e-3
        for field in (y, x):  # neighbours move alike
            assert field.diff(dim=0).abs().max() < 0.3
            assert field.diff(dim=1).abs().max() < 0.3


def test_pictures_are_looked_up_as_opencv_does() -> None:
    picture = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    _, view = Warp(**STILL | {"zoom": 0.1, "rotation": 5.0}).draw(picture, rng(0))
    y, x = (sources(view) * 32).round() / 32  # OpenCV rounds to as much
    inside = (y > 2) & (y < HEIGHT - 3) & (x > 2) & (x < WIDTH - 3)  # it pads otherwise
    expected = cv2.remap(
        picture[0].permute(1, 2, 0).numpy(), x.float().numpy(), y.float().numpy(), cv2.INTER_CUBIC
    )
    rounded = torch.stack([x / (WIDTH - 1), y / (HEIGHT - 1)], dim=-1) * 2 - 1
    found = sampled(picture, rounded[None].float())[0].permute(1, 2, 0)
    torch.testing.assert_close(found[inside], torch.from_numpy(expected)[inside], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (HEIGHT, WIDTH), (256, 256)])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_nothing_outside_the_photo_is_seen(size: tuple[int, int], share: float) -> None:
    look = Warp(0.0, zoom=0.1 * share, rotation=5 * share, bend=0.02 * share, light=0.0)
    shapes = set()
    for number in range(50):
        changed, view = look.draw(places(*size), rng(number))
        assert view.abs().max() <= 1
        shapes.add(changed.shape)
    (shape,) = shapes
    assert min(shape[2:]) > 16  # what the stability loss can compare
    assert all(side % 4 == 0 for side in shape[2:])


def test_light_changes_the_photo_and_not_what_is_expected_of_paint() -> None:
    photo = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 0.8
    painted = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    look = Warp(**STILL | {"light": 0.1})
    for number in range(5):
        changed, view = look.draw(photo, rng(number))
        plain = sampled(photo, view).clamp(1e-3, 1)
        inside = (changed < 1) & (changed > 0) & (plain > 0.05)
        # A gain and a gamma are a line between logarithms, with one slope for all colours.
        slopes = []
        for colour in range(3):
            chosen = inside[0, colour]
            x, y = plain[0, colour][chosen].log(), changed[0, colour][chosen].log()
            slope, gain = np.polyfit(x.numpy(), y.numpy(), 1)
            assert np.abs(slope * x.numpy() + gain - y.numpy()).max() < 1e-3
            assert abs(gain) < 0.1001
            slopes.append(slope)
        assert max(slopes) - min(slopes) < 1e-3
        assert abs(math.log(slopes[0])) < 0.1001
        expected = look.expected(painted, photo, changed, view, FULL)
        assert torch.equal(expected, sampled(painted, view))
        # At strength 0 the stylization is the photo.
        expected = look.expected(photo, photo, changed, view, FULL * 0)
        torch.testing.assert_close(expected, changed, rtol=0, atol=1e-6)


@pytest.mark.parametrize("look", [Move(), Warp()])
def test_a_look_follows_from_its_random_numbers_alone(look: Move | Warp) -> None:
    photo = torch.rand(1, 3, HEIGHT, WIDTH)
    first, again, other = (look.draw(photo, rng(number)) for number in (1, 1, 2))
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)


@pytest.mark.parametrize("number", [0, 1])  # at a random strength, at full strength
def test_gradients_of_both_looks_reach_the_network(number: int) -> None:
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), 1, adjustable=True)
    loss = PerceptualLoss(
        "vgg16", "bundled", ["relu1_1"], ["relu1_1"], 0.0, 0.0, 0.0, stability_weight=1.0
    )
    loss.set_style_image(torch.rand(1, 3, 32, 32))
    module = StyleTransfer(network, loss, torch.optim.Adam, stability=Warp())
    looks: list[Tensor] = []
    network.register_forward_hook(lambda *given: looks.append(given[2]))
    batch = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    found = module._losses(bool(number), *module._inputs(batch, number))
    first, second = torch.autograd.grad(found["objective"], looks, retain_graph=True)
    assert first[0].abs().mean() > 0
    assert first[1].abs().max() == 0  # a pair is made of one photo
    assert second.abs().mean() > 0
    found["objective"].backward()
    for name, parameter in network.named_parameters():
        if number and name.endswith("slope"):
            continue  # full strength does not read it
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_exposure_does_not_reach_the_paint() -> None:
    """Instance norm takes brightness and contrast out, whatever the training."""
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), 1).eval()
    photo = torch.rand(1, 3, HEIGHT, WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(network(0.7 * photo + 0.1), network(photo), rtol=0, atol=2e-3)
        warmer = photo * torch.tensor([1.0, 0.8, 0.6]).view(3, 1, 1)
        assert (network(warmer) - network(photo)).abs().max() > 0.02
