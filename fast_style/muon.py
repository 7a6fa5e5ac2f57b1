"""Muon for the kernels in front of an instance norm, Adam for all else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


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
            groups.append({"params": rest, "lr": adam_lr, "betas": tuple(betas), "eps": eps})
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
            if "momentum" in group:
                self._step_kernels(params, group["lr"], group["momentum"])
            else:
                self._step_adam(params, group["lr"], group["betas"], group["eps"])
        return loss

    def _step_kernels(self, kernels: list[nn.Parameter], lr: float, momentum: float) -> None:
        # Kernels of a shape go through the products together.
        shapes: defaultdict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for kernel in kernels:
            shapes[kernel.shape].append(kernel)
        for shape, alike in shapes.items():
            directions = []
            for kernel in alike:
                assert kernel.grad is not None
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel)
                average = state["momentum"].lerp_(kernel.grad, 1 - momentum)
                directions.append(torch.lerp(kernel.grad, average, momentum).flatten(1))
            steps = orthogonalized(torch.stack(directions))
            for kernel, step in zip(alike, steps, strict=True):
                norm = kernel.norm()
                kernel.sub_(step.view(shape) * (lr * norm / step.norm()))
                kernel.mul_(norm / kernel.norm())

    def _step_adam(
        self, params: list[nn.Parameter], lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        for param in params:
            assert param.grad is not None
            state = self.state[param]
            if not state:
                state["step"] = 0
                state["mean"] = torch.zeros_like(param)
                state["square"] = torch.zeros_like(param)
            state["step"] += 1
            mean = state["mean"].lerp_(param.grad, 1 - betas[0])
            square = state["square"].lerp_(param.grad.square(), 1 - betas[1])
            deviation = (square / (1 - betas[1] ** state["step"])).sqrt_().add_(eps)
            param.addcdiv_(mean, deviation, value=-lr / (1 - betas[0] ** state["step"]))


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
