"""Muon for the kernels in front of an instance norm, Adam for all else."""

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

TINY = 1e-12  # keeps a division by the norm of nothing finite


class Muon(Optimizer):
    """Muon (Jordan et al. 2024) for kernels, Adam (Kingma and Ba 2015) for the rest.

    A gradient's direction is dominated by few singular vectors; Muon steps along all of them alike.
    Here a step's length is a share of its kernel's own norm, since instance norm forgets how large
    that is; for the same reason kernels keep their norm, which would grow with every step, and in a
    few thousand out of half precision. The last convolution of an ``ImageTransformer`` has no norm
    behind it and is left to Adam.

    Args:
        params: Muon's are those with four dimensions ``(outputs, inputs, height, width)`` and more
            than the three outputs of RGB.
        lr: length of a step, as a share of the kernel's norm.
        momentum: share of the last steps' gradients (Nesterov's) in the direction.
        adam_lr, betas, eps: Adam's.
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
        kernels = [param for param in params if param.ndim == 4 and len(param) > 3]
        rest = [param for param in params if param.ndim != 4 or len(param) <= 3]
        groups: list[dict[str, Any]] = []
        if kernels:
            groups.append({"params": kernels, "lr": lr, "momentum": momentum})
        if rest:
            adams = {"lr": adam_lr, "betas": tuple(betas), "eps": eps}
            # Told so, PyTorch leaves a step's number on the device when it loads a state.
            groups.append({"params": rest, **adams, "fused": True})
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; returns what the closure did."""
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

    # Dozens of small tensors: one after the other, they would take a GPU as many launches as all of
    # the rest of a training step.

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
        # Kernels of a shape go through the products together. On a GPU all do, filled up with
        # zeros, which change nothing: it multiplies them sooner than it is told of more products.
        for batch in [alike] if serve(kernels[0]) else [[numbers] for numbers in alike]:
            order = [number for numbers in batch for number in numbers]
            steps = orthogonalized(_stacked([_matrix(directions[n]) for n in order]))
            # A gradient of zeros, as a constant layer gives, is no direction: its kernel stays.
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
            if not isinstance(done, Tensor):  # nor is it in the checkpoints of earlier versions
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
        """Of the parameter's gradients so far; it begins at zero."""
        if name not in self.state[param]:
            self.state[param][name] = torch.zeros_like(param)
        average: Tensor = self.state[param][name]
        return average


def _gradient(param: Tensor) -> Tensor:
    assert param.grad is not None
    return param.grad


def _matrix(kernel: Tensor) -> Tensor:
    """``(outputs, rest)``, or transposed if that is taller than wide. In channels_last the rest is
    in the order of memory, which saves a copy: a step does not depend on the order of columns."""
    last = kernel.is_contiguous(memory_format=torch.channels_last)
    matrix = (kernel.permute(0, 2, 3, 1) if last else kernel).flatten(1)
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _kernel(matrix: Tensor, like: Tensor) -> Tensor:
    """The kernel that `_matrix` made a matrix of, without the zeros of `_stacked`."""
    outputs, rest = len(like), like[0].numel()
    matrix = matrix[:rest, :outputs].mT if outputs > rest else matrix[:outputs, :rest]
    if like.is_contiguous(memory_format=torch.channels_last):
        _, inputs, height, width = like.shape
        return matrix.unflatten(1, (height, width, inputs)).permute(0, 3, 1, 2)
    return matrix.unflatten(1, like.shape[1:])


def _stacked(matrices: list[Tensor]) -> Tensor:
    """Matrices as ``(N, rows, columns)``, the smaller ones filled up with zeros."""
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
    """Matrices ``(N, rows, columns)`` with their singular vectors kept and all singular values
    moved near 1: by five steps of Newton and Schulz's iteration with the coefficients of Jordan et
    al. 2024, into about 0.7 to 1.2, but for those that are next to nothing."""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalized(matrices.mT).mT
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    for _ in range(5):
        products = x @ x.mT
        products = torch.baddbmm(products, products, products, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, products, x, beta=3.4445)
    return x
