"""Muon against singular value decompositions and PyTorch's Adam."""

import copy

import pytest
import torch
from torch import Tensor, nn

from fast_style.networks import kernels
from fast_style.networks.transformer import ImageTransformer
from fast_style.training.muon import Muon, orthogonalized


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 8, 50), (2, 50, 8), (1, 16, 16)])
def test_orthogonalized_keeps_singular_vectors_and_evens_out_values(
    shape: tuple[int, int, int],
) -> None:
    # Singular values from 0.05 to 1, where the iteration is meant to work.
    left, _, right = torch.linalg.svd(random(*shape).double(), full_matrices=False)
    values = torch.linspace(0.05, 1, min(shape[1:])).double()
    matrices = left * values @ right
    found = orthogonalized(matrices)
    inside = left.mT @ found @ right.mT
    evened = inside.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(inside, torch.diag_embed(evened))
    assert evened.min() > 0.6
    assert evened.max() < 1.3


def test_a_kernel_moves_by_lr_of_its_norm_down_the_gradient() -> None:
    kernel = nn.Parameter(random(6, 4, 3, 3))
    before = kernel.detach().clone()
    kernel.grad = 1e-7 * random(6, 4, 3, 3, seed=1)  # its size does not matter
    Muon([kernel], lr=0.05).step()
    change = kernel.detach() - before
    assert change.norm() / before.norm() == pytest.approx(0.05, rel=0.02)
    assert (change * kernel.grad).sum() < 0


def test_momentum_remembers_earlier_gradients() -> None:
    kernel = nn.Parameter(torch.eye(4).view(4, 4, 1, 1))
    optimizer = Muon([kernel], lr=0.01, momentum=0.9)
    first, second = random(4, 4, 1, 1, seed=1), random(4, 4, 1, 1, seed=2)
    kernel.grad = first
    optimizer.step()
    before = kernel.detach().clone()
    kernel.grad = second
    optimizer.step()
    # Nesterov's momentum: 0.1 of the gradient, and 0.9 of the average that includes it.
    average = 0.9 * (0.1 * first) + 0.1 * second
    direction = (0.1 * second + 0.9 * average).flatten(1)
    expected = orthogonalized(direction[None])[0]
    expected *= 0.01 * before.norm() / expected.norm()
    moved = before.flatten(1) - expected
    moved *= before.norm() / moved.norm()
    torch.testing.assert_close(kernel.detach().flatten(1), moved)


def test_kernels_keep_their_norm_however_long_they_are_trained() -> None:
    kernel = nn.Parameter(random(8, 4, 3, 3))
    before = kernel.norm().item()
    optimizer = Muon([kernel])
    for step in range(300):  # random steps would let it grow by a seventh and more
        kernel.grad = random(8, 4, 3, 3, seed=step)
        optimizer.step()
    assert kernel.norm().item() == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("shape", [(7,), (3, 5, 2, 2)])
def test_scales_shifts_and_the_kernel_to_rgb_are_left_to_adam(shape: tuple[int, ...]) -> None:
    ours, theirs = nn.Parameter(random(*shape)), nn.Parameter(random(*shape))
    muon = Muon([ours], adam_lr=0.01, betas=(0.8, 0.9), eps=1e-6)
    adam = torch.optim.Adam([theirs], lr=0.01, betas=(0.8, 0.9), eps=1e-6)
    for step in range(5):
        ours.grad = random(*shape, seed=step)
        theirs.grad = ours.grad.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_goes_on_from_its_state_where_it_stopped() -> None:
    torch.manual_seed(0)
    network = ImageTransformer([4, 8, 8], 1, adjustable=True)
    optimizer = Muon(network.parameters())
    photos = torch.rand(1, 3, 16, 16)

    def steps(network: ImageTransformer, optimizer: Muon) -> None:
        for _ in range(3):
            optimizer.zero_grad()
            network(photos, 0.5).square().mean().backward()
            optimizer.step()

    steps(network, optimizer)
    other = copy.deepcopy(network)
    resumed = Muon(other.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(network, optimizer)
    steps(other, resumed)
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_goes_on_from_a_state_that_counts_in_whole_numbers() -> None:
    """Checkpoints of earlier versions do."""
    scale, other = nn.Parameter(random(5)), nn.Parameter(random(5))
    optimizer, resumed = Muon([scale]), Muon([other])
    scale.grad = other.grad = random(5, seed=1)
    for _ in range(3):
        optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0]["step"] = int(state["state"][0]["step"])
    del state["param_groups"][0]["fused"]
    resumed.load_state_dict(state)
    other.data.copy_(scale)
    optimizer.step()
    resumed.step()
    assert torch.equal(other, scale)


def test_parameters_without_gradient_stay() -> None:
    kernel = nn.Parameter(random(4, 2, 3, 3))
    scale = nn.Parameter(random(2))
    before = kernel.detach().clone(), scale.detach().clone()
    Muon([kernel, scale]).step()
    assert torch.equal(kernel, before[0])
    assert torch.equal(scale, before[1])


def test_a_gradient_of_zeros_moves_nothing() -> None:
    kernels = [nn.Parameter(random(4, 2, 3, 3)), nn.Parameter(torch.zeros(4, 2, 3, 3))]
    before = [kernel.detach().clone() for kernel in kernels]
    optimizer = Muon(kernels)
    for _ in range(3):
        for kernel in kernels:
            kernel.grad = torch.zeros_like(kernel)
        optimizer.step()
    torch.testing.assert_close([kernel.detach() for kernel in kernels], before, rtol=1e-6, atol=0)


def test_kernels_together_step_as_kernels_alone() -> None:
    """On a GPU, all go through the products at once, in channels_last."""
    shapes = [(8, 4, 3, 3), (8, 8, 3, 3), (4, 3, 5, 5), (8, 8, 3, 3), (30, 2, 3, 3)]
    alone = [nn.Parameter(random(*shape, seed=n)) for n, shape in enumerate(shapes)]
    together = [
        nn.Parameter(kernel.detach().contiguous(memory_format=torch.channels_last))
        for kernel in alone
    ]
    for step in range(3):
        for n, (one, other) in enumerate(zip(alone, together, strict=True)):
            one.grad = random(*one.shape, seed=10 * step + n)
            other.grad = one.grad.contiguous(memory_format=torch.channels_last)
        if step == 0:
            optimizers = Muon(alone), Muon(together)
        optimizers[0].step()
        with kernels.on_cpu():
            optimizers[1].step()
    for one, other in zip(alone, together, strict=True):
        assert other.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(other.detach(), one.detach(), rtol=1e-5, atol=1e-6)
