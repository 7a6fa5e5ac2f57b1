"""Shapes, layers and arithmetic of the image transformation network."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fast_style.networks import MARGIN, Layer, at_strength
from fast_style.networks.layers import ReflectedConv, ToRGB, UpsampledConv
from fast_style.networks.operations import mirrored, padded
from fast_style.networks.transformer import ImageTransformer

SIZES = [(16, 16), (16, 31), (17, 18), (19, 64), (20, 21), (33, 47), (64, 48), (101, 37)]


@pytest.fixture
def network() -> ImageTransformer:
    torch.manual_seed(0)
    return ImageTransformer((4, 8, 8), residual_blocks=1).eval()


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def multiply_adds(widths: Sequence[int], size: int = 64) -> float:
    network = ImageTransformer(widths)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(pictures(1, size, size))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_output_has_the_size_of_the_input(
    network: ImageTransformer, height: int, width: int
) -> None:
    with torch.no_grad():
        stylized = network(pictures(2, height, width))
    assert stylized.shape == (2, 3, height, width)
    assert stylized.isfinite().all()


def test_every_remainder_of_four_keeps_its_size(network: ImageTransformer) -> None:
    with torch.no_grad():
        for height in range(16, 24):
            for width in range(16, 24):
                assert network(pictures(1, height, width)).shape[-2:] == (height, width)


def test_output_lies_in_the_unit_range_and_uses_it(network: ImageTransformer) -> None:
    with torch.no_grad():
        network.to_rgb.weight.mul_(50)  # untrained, it paints nearly grey
        stylized = network(pictures(1, 32, 32))
    assert stylized.min() >= 0
    assert stylized.max() <= 1
    assert stylized.max() - stylized.min() > 0.9


def test_pictures_of_a_batch_do_not_touch_each_other(network: ImageTransformer) -> None:
    batch = pictures(3, 21, 34)
    with torch.no_grad():
        together = network(batch)
        alone = torch.cat([network(picture[None]) for picture in batch])
    torch.testing.assert_close(together, alone)


def test_training_and_evaluation_mode_agree(network: ImageTransformer) -> None:
    batch = pictures(2, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(network.train()(batch), network.eval()(batch))


def test_brightness_and_contrast_do_not_matter(network: ImageTransformer) -> None:
    # The first convolution has no bias, and the photo is reflected at its border. So a constant
    # added to the photo is a constant in each channel, a factor stays a factor, and instance norm
    # removes both.
    network = network.double()
    photos = pictures(1, 32, 40).double()
    tinted = 0.5 * photos + torch.tensor([0.1, 0.3, 0.0]).view(1, 3, 1, 1).double()
    with torch.no_grad():
        torch.testing.assert_close(network(tinted), network(photos), rtol=0, atol=1e-4)
        assert (network(photos.flip(3)) - network(photos)).abs().max() > 1e-3


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("mode", "margin"), [("reflect", 1), ("reflect", 4), ("replicate", 1)])
@pytest.mark.parametrize("size", [(9, 14), (5, 5), (12, 6)], ids=str)
def test_margins_and_their_gradients_are_pytorchs(
    size: tuple[int, int], mode: str, margin: int, memory_format: torch.memory_format
) -> None:
    x = pictures(2, *size).double().to(memory_format=memory_format).requires_grad_()
    expected = F.pad(x, (margin,) * 4, mode=mode)
    skipped = 1 if mode == "reflect" else 0
    ours = padded(x, margin, skipped)
    assert torch.equal(ours, expected)
    gradient = torch.rand_like(expected)
    (wanted,) = torch.autograd.grad(expected, x, gradient)
    given = gradient.to(memory_format=memory_format)
    (found,) = torch.autograd.grad(ours, x, given)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)
    on_cuda = mirrored(x.detach(), margin, skipped)
    assert torch.equal(on_cuda, expected)
    for kept in (found, on_cuda):
        assert kept.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (8, 4), (1, 1)])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 7), (5, 4), (9, 13)])
def test_upsampled_conv_is_nearest_upsampling_reflection_and_convolution(
    inputs: int, outputs: int, height: int, width: int
) -> None:
    torch.manual_seed(0)
    layer = Layer("conv", inputs, outputs, kernel=3, upsample="nearest")
    conv = UpsampledConv(layer).double()
    x = torch.randn(2, inputs, height, width, dtype=torch.float64, requires_grad=True)
    weight = conv.weight.detach().clone().requires_grad_()
    doubled = F.interpolate(x, scale_factor=2, mode="nearest")
    reference = F.conv2d(F.pad(doubled, (1, 1, 1, 1), mode="reflect"), weight)

    found = conv(padded(x, layer.margin, layer.skipped))
    torch.testing.assert_close(found, reference)
    assert found.shape == (2, outputs, 2 * height, 2 * width)

    towards = torch.randn_like(reference)
    by_weight, by_x = torch.autograd.grad((reference * towards).sum(), (weight, x))
    found_by_weight, found_by_x = torch.autograd.grad((found * towards).sum(), (conv.weight, x))
    torch.testing.assert_close(found_by_weight, by_weight)
    torch.testing.assert_close(found_by_x, by_x)


@pytest.mark.parametrize(("kernel_size", "stride"), [(9, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 22)])
def test_reflected_conv_reflects_at_the_border(
    kernel_size: int, stride: int, height: int, width: int
) -> None:
    torch.manual_seed(0)
    layer = Layer("conv", 2, 3, kernel_size, stride)
    conv = ReflectedConv(layer).double()
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    reference = nn.Conv2d(
        2, 3, kernel_size, stride, padding=kernel_size // 2, padding_mode="reflect", bias=False
    ).double()
    reference.load_state_dict(conv.state_dict())
    found = conv(padded(x, layer.margin, layer.skipped))
    torch.testing.assert_close(found, reference(x))
    assert found.shape[-2:] == (-(-height // stride), -(-width // stride))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 19), (17, 18), (21, 23)])
def test_last_layer_learns_as_a_plain_convolution_does(height: int, width: int) -> None:
    torch.manual_seed(0)
    layer = ToRGB(Layer("to_rgb", 5, 3, kernel=9)).double()
    x = torch.randn(2, 5, height + 8, width + 8, dtype=torch.double, requires_grad=True)
    weights = torch.randn(2, 3, height, width, dtype=torch.double)
    plain = F.conv2d(x, layer.weight, layer.bias)
    found = layer(x)
    torch.testing.assert_close(found, plain)
    assert layer.bias is not None
    of = (x, layer.weight, layer.bias)
    torch.testing.assert_close(
        torch.autograd.grad(found, of, weights), torch.autograd.grad(plain, of, weights)
    )
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain)


def test_the_network_is_johnsons_layer_by_layer(adjustable: ImageTransformer) -> None:
    """The network equals PyTorch's own layers, written out, with the same weights."""
    plain = ImageTransformer((4, 8, 8), residual_blocks=1).double()
    plain.load_state_dict(at_strength(adjustable.double().state_dict(), 0.4))
    weights = plain.state_dict()

    def convolution(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        margin = weight.shape[-1] // 2
        padding = F.pad(x, (margin,) * 4, mode="reflect")
        return F.conv2d(padding, weight, weights.get(f"{name}.bias"), stride)

    def norm(x: Tensor, name: str) -> Tensor:
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        scale, shift = (weights[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    photos = pictures(2, 19, 22).double()
    x = F.pad(photos * 2 - 1, (MARGIN,) * 4, mode="reflect")
    for number, stride in enumerate((1, 2, 2)):
        x = norm(convolution(x, f"encoder.{number}.0", stride), f"encoder.{number}.1").relu()
    block = norm(convolution(x, "residuals.0.body.0.0"), "residuals.0.body.0.1").relu()
    x = x + norm(convolution(block, "residuals.0.body.1"), "residuals.0.body.2")
    for number in (0, 1):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = norm(convolution(x, f"decoder.{number}.0"), f"decoder.{number}.1").relu()
    painted = torch.sigmoid(convolution(x, "to_rgb"))[..., MARGIN:, MARGIN:][..., :19, :22]
    with torch.no_grad():
        found = adjustable(photos, 0.4)
    torch.testing.assert_close(found, 0.6 * photos + 0.4 * painted, rtol=0, atol=1e-9)


def test_instance_norms_can_be_learned() -> None:
    norms = [m for m in ImageTransformer().modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 3 + 10 + 2
    for norm in norms:
        assert norm.affine
        assert not norm.track_running_stats


def test_the_default_network_has_johnsons_layers() -> None:
    # Johnson et al. 2016, supplement, table 1: (filters, kernel, share of the padded side).
    table = [
        (32, 9, 1),
        (64, 3, 2),
        (128, 3, 4),
        *[(128, 3, 4)] * 10,  # five residual blocks of two
        (64, 3, 2),
        (32, 3, 1),
        (3, 9, 1),
    ]
    found = []
    network = ImageTransformer()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, out: found.append(
                    (out.shape[1], m.weight.shape[-1], (64 + 2 * MARGIN) // out.shape[-1])
                )
            )
    with torch.no_grad():
        network(pictures(1, 64, 64))
    assert found == table


def test_parameter_count_of_the_default_network() -> None:
    # Counted by hand from the same table: kernels, a scale and a shift for each normalised channel,
    # and the bias of the last layer (instance norm would remove any other bias).
    kernels = 3 * 32 * 81 + 32 * 64 * 9 + 64 * 128 * 9 + 10 * 128 * 128 * 9
    kernels += 128 * 64 * 9 + 64 * 32 * 9 + 32 * 3 * 81
    norms = 2 * (32 + 64 + 128 + 10 * 128 + 64 + 32)
    assert sum(p.numel() for p in ImageTransformer().parameters()) == kernels + norms + 3


def test_half_the_widths_take_about_a_quarter_of_the_arithmetic() -> None:
    # A little more, because the first and the last layer keep three channels on one side.
    assert 0.25 < multiply_adds((16, 32, 64)) / multiply_adds((32, 64, 128)) < 0.31


def test_gradients_reach_every_parameter(network: ImageTransformer) -> None:
    network(pictures(1, 32, 32)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_config_builds_the_same_network(network: ImageTransformer) -> None:
    twin = ImageTransformer(**network.config).eval()
    twin.load_state_dict(network.state_dict())
    photos = pictures(1, 18, 25)
    with torch.no_grad():
        torch.testing.assert_close(twin(photos), network(photos), rtol=0, atol=0)


def test_residual_blocks_can_be_left_out() -> None:
    network = ImageTransformer((4, 8, 8), residual_blocks=0)
    assert len([m for m in network.modules() if isinstance(m, nn.Conv2d)]) == 3 + 2 + 1
    assert network(pictures(1, 17, 19)).shape == (1, 3, 17, 19)


# --- the strength of the style ---


@pytest.fixture
def adjustable() -> ImageTransformer:
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=1, adjustable=True).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def test_no_strength_is_the_photo_and_full_strength_the_style(adjustable: ImageTransformer) -> None:
    photos = pictures(2, 19, 22)
    with torch.no_grad():
        torch.testing.assert_close(adjustable(photos, 0.0), photos, rtol=0, atol=0)
        torch.testing.assert_close(adjustable(photos, 1.0), adjustable(photos))


def test_any_strength_is_a_plain_network_laid_over_the_photo(adjustable: ImageTransformer) -> None:
    plain = ImageTransformer((4, 8, 8), residual_blocks=1).eval()
    weights = at_strength(adjustable.state_dict(), 0.25)
    plain.load_state_dict(weights)
    norm, slope = (adjustable.get_parameter(f"encoder.1.1.weight{end}") for end in ("", "_slope"))
    torch.testing.assert_close(plain.get_parameter("encoder.1.1.weight"), norm - 0.75 * slope)
    photos = pictures(2, 19, 22)
    with torch.no_grad():
        expected = 0.25 * plain(photos) + 0.75 * photos
        torch.testing.assert_close(adjustable(photos, 0.25), expected)
        assert (plain(photos) - adjustable(photos)).abs().max() > 0.01


def test_every_parameter_of_an_adjustable_network_has_a_gradient_at_any_strength(
    adjustable: ImageTransformer,
) -> None:
    for strength in (0.3, 1.0):
        adjustable.zero_grad()
        adjustable(pictures(1, 16, 16), strength).sum().backward()
        assert all(parameter.grad is not None for parameter in adjustable.parameters())
