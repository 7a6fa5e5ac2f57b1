"""One pass on a GPU from 8-bit levels to 8-bit levels, tested on a CPU and on fake tensors."""

import pytest
import torch
from conftest import Dispatched
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fast_style.images.grain import with_grain
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.onepass import OnePass

CPU = torch.device("cpu")


def network() -> ImageTransformer:
    torch.manual_seed(0)
    return ImageTransformer((4, 8, 8), residual_blocks=1)


def levels(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)


@torch.no_grad()
def test_levels_and_photos_are_stylized_with_their_grain() -> None:
    given = levels(37, 29)
    grained = torch.from_numpy(with_grain(given.numpy())).permute(2, 0, 1).unsqueeze(0)
    expected = network()(grained / 255)
    once = OnePass(network(), CPU, torch.float32)
    stylized = once.levels(given)
    assert (stylized.dtype, stylized.shape) == (torch.uint8, given.shape)
    assert stylized.is_contiguous()
    difference = stylized.permute(2, 0, 1) - expected[0] * 255
    assert difference.abs().max() < 0.51
    photos = (given / 255).permute(2, 0, 1).unsqueeze(0)
    before = photos.clone()
    torch.testing.assert_close(once.photos(photos), expected, rtol=0, atol=1e-5)
    assert torch.equal(photos, before)  # the static buffers of a graph must not change


@torch.no_grad()
@pytest.mark.parametrize("kind", ["levels", "photos"])
def test_few_operations_around_the_network(kind: str, dispatched: Dispatched) -> None:
    """Fake tensors have no values, so an operation that waits for one would fail."""
    once = OnePass(network(), CPU, torch.bfloat16)
    with FakeTensorMode(allow_non_fake_inputs=True):
        given: Tensor
        if kind == "levels":
            given = torch.empty(40, 30, 3, dtype=torch.uint8)
        else:
            given = torch.empty(2, 3, 40, 30)
        with dispatched:
            stylized = once.levels(given) if kind == "levels" else once.photos(given)
        photos = torch.empty(2 if kind == "photos" else 1, 3, 40, 30, dtype=torch.bfloat16)
        alone = Dispatched()
        with alone:
            once.network(photos.contiguous(memory_format=torch.channels_last))
    assert stylized.shape == given.shape
    assert len(dispatched.launches) - len(alone.launches) <= 14
