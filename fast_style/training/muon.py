"""Muon for the kernels in front of an instance norm, Adam for all other parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adam import adam

from fast_style.networks.kernels import serve

TINY = 1e-12  # keeps a division by a norm of zero finite
RGB = 3  # outputs of the last convolution, which no instance norm follows


class Muon(Optimizer):
    """Muon (Jordan et al. 2024) for kernels, Adam (Kingma and Ba 2015) for all other parameters.

    A few singular vectors dominate a gradient's direction. Muon steps along all of them alike.

    Instance norm undoes the scale of the kernel in front of it. The length of a step is therefore a
    share of the kernel's norm, and each step keeps that norm: it would grow with each step and
    overflow half precision after a few thousand. The last convolution of an `ImageTransformer` has
    no norm behind it and is left to Adam.

    Muon recognizes that convolution by its three outputs, because every optimizer gets the same
    flat list of parameters, which says nothing about their layers. Parameter groups would change
    Adam's checkpoints, and a mark on a parameter does not survive `copy.deepcopy`.

    Args:
        params: parameters of any shape. Muon takes kernels ``(outputs, inputs, height, width)``
            with more than three outputs.
        lr: length of a step, as a share of the kernel's norm, at least 0.
        momentum: share of earlier gradients in the direction (Nesterov), in [0, 1).
        adam_lr: Adam's learning rate, at least 0.
        betas: Adam's betas, each in [0, 1).
        eps: Adam's epsilon, at least 0.

    >>> convolution = nn.Conv2d(8, 16, 3)
    >>> optimizer = Muon(convolution.parameters(), lr=0.1)
    >>> before = convolution.weight.detach().clone()
    >>> convolution(torch.rand(1, 8, 9, 9)).square().mean().backward()
    >>> optimizer.step()
    >>> torch.equal(convolution.weight, before)
    False
    >>> torch.allclose(convolution.weight.norm(), before.norm())
    True
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 0.03,
        momentum: float = 0.95,
        adam_lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        params = list(params)
        kernels = [param for param in params if param.ndim == 4 and len(param) > RGB]
        rest = [param for param in params if param.ndim != 4 or len(param) <= RGB]
        groups: list[dict[str, Any]] = []
        if kernels:
            groups.append({"params": kernels, "lr": lr, "momentum": momentum})
        if rest:
            adams = {"lr": adam_lr, "betas": tuple(betas), "eps": eps}
            # "fused" makes PyTorch load the number of steps onto the device.
            groups.append({"params": rest, **adams, "fused": True})
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: computes the loss and its gradients anew, or None.

        Returns:
            The result of the closure, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if not params:
                continue
            if "momentum" in group:
                self._step_kernels(params, group["lr"], group["momentum"])
            else:
                self._step_adam(params, group["lr"], group["betas"], group["eps"])
        return loss

    # Dozens of small tensors are stepped together. One after another, they would take a GPU as many
    # launches as the rest of a training step.

    def _step_kernels(self, kernels: list[Tensor], lr: float, momentum: float) -> None:
        gradients = [_gradient(kernel) for kernel in kernels]
        averages = [self._average(kernel, "momentum") for kernel in kernels]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        directions = torch._foreach_lerp(gradients, averages, momentum)
        norms = torch._foreach_norm(kernels)
        shapes: defaultdict[torch.Size, list[int]] = defaultdict(list)
        for number, kernel in enumerate(kernels):
            shapes[kernel.shape].append(number)
        alike = list(shapes.values())
        # Kernels of one shape are multiplied together. On a GPU kernels of all shapes are, padded
        # with zeros, which change nothing: larger products take less time than more launches.
        for batch in [alike] if serve(kernels[0]) else [[numbers] for numbers in alike]:
            order = [number for numbers in batch for number in numbers]
            steps = orthogonalized(_stacked([_matrix(directions[n]) for n in order]))
            # A gradient of zeros has no direction: its kernel stays.
            lengths = steps.norm(dim=(1, 2)).clamp_min(TINY)
            lengths = lr * torch.stack([norms[n] for n in order]) / lengths
            scaled = dict(zip(order, (steps * lengths[:, None, None]).unbind(), strict=True))
            for numbers in batch:
                torch._foreach_sub_(
                    [kernels[n] for n in numbers], [_kernel(scaled[n], kernels[n]) for n in numbers]
                )
        grown = torch._foreach_norm(kernels)
        torch._foreach_clamp_min_(grown, TINY)
        torch._foreach_mul_(kernels, torch._foreach_div(norms, grown))

    def _step_adam(
        self, params: list[Tensor], lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        for param in params:
            done = self.state[param].get("step", 0)
            if not isinstance(done, Tensor):  # a new run, or an early version's checkpoint
                self.state[param]["step"] = torch.full((), float(done), device=param.device)
        adam(
            params,
            [_gradient(param) for param in params],
            [self._average(param, "mean") for param in params],
            [self._average(param, "square") for param in params],
            [],
            [self.state[param]["step"] for param in params],
            fused=True,
            amsgrad=False,
            beta1=betas[0],
            beta2=betas[1],
            lr=lr,
            weight_decay=0.0,
            eps=eps,
            maximize=False,
        )

    def _average(self, param: Tensor, name: str) -> Tensor:
        """A running average of the parameter's gradients, at first zero."""
        if name not in self.state[param]:
            self.state[param][name] = torch.zeros_like(param)
        average: Tensor = self.state[param][name]
        return average


def _gradient(param: Tensor) -> Tensor:
    assert param.grad is not None
    return param.grad


def _matrix(kernel: Tensor) -> Tensor:
    """A kernel as ``(outputs, rest)``, transposed if that is taller than wide.

    In channels_last the rest keeps the order of memory, which saves a copy. The order of columns
    does not matter to a step.
    """
    last = kernel.is_contiguous(memory_format=torch.channels_last)
    matrix = (kernel.permute(0, 2, 3, 1) if last else kernel).flatten(1)
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _kernel(matrix: Tensor, like: Tensor) -> Tensor:
    """Undo `_matrix`, and the padding of `_stacked`."""
    outputs, rest = len(like), like[0].numel()
    matrix = matrix[:rest, :outputs].mT if outputs > rest else matrix[:outputs, :rest]
    if like.is_contiguous(memory_format=torch.channels_last):
        _, inputs, height, width = like.shape
        return matrix.unflatten(1, (height, width, inputs)).permute(0, 3, 1, 2)
    return matrix.unflatten(1, like.shape[1:])


def _stacked(matrices: list[Tensor]) -> Tensor:
    """Matrices as ``(N, rows, columns)``, padded with zeros."""
    if len({matrix.shape for matrix in matrices}) == 1:
        return torch.stack(matrices)
    rows, columns = (max(matrix.shape[axis] for matrix in matrices) for axis in (0, 1))
    stack = matrices[0].new_zeros((len(matrices), rows, columns))
    begin = 0
    for shape, group in groupby(matrices, lambda matrix: matrix.shape):
        some = list(group)
        stack[begin : begin + len(some), : shape[0], : shape[1]] = torch.stack(some)
        begin += len(some)
    return stack


def orthogonalized(matrices: Tensor) -> Tensor:
    """Return matrices with the same singular vectors and with singular values near 1.

    Five steps of the Newton-Schulz iteration with the coefficients of Jordan et al. 2024 bring
    singular values to about 0.7 to 1.2, except those near zero.

    Args:
        matrices: ``(N, rows, columns)``.

    Returns:
        New matrices of the same shape.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalized(matrices.mT).mT
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp_min(TINY)
    for _ in range(5):
        products = x @ x.mT
        products = torch.baddbmm(products, products, products, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, products, x, beta=3.4445)
    return x
