"""Training as a LightningModule: network, loss and optimiser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fast_style.losses import PerceptualLoss
from fast_style.networks.cuda_graphs import Graphed, Recorder
from fast_style.networks.transformer import ImageTransformer
from fast_style.training.stability import Move, SecondLook

log = logging.getLogger(__name__)

# The smallest margin that a network takes. A larger one teaches the network a dull rim just inside
# it.
TRAINING_MARGIN = 4


class StepInputs(NamedTuple):
    """What a training step reads beside weights, as tensors on its device.

    Attributes:
        content_images: uint8 ``(N, 3, H, W)``.
        strength: strength of the style in [0, 1], ``()``, in float64 like Python's numbers. Results
            computed with it are float32.
        changed: the second look at the first content image, ``(1, 3, h, w)``, see `SecondLook`.
        view: where the pixels of ``changed`` come from.
    """

    content_images: Tensor
    strength: Tensor
    changed: Tensor
    view: Tensor


class StyleTransfer(pl.LightningModule):
    """Trains an `ImageTransformer` to lower a `PerceptualLoss` (Johnson et al. 2016, section 3).

    Batches are uint8 ``(N, 3, H, W)``. Lightning runs the forward pass, the backward pass and the
    optimiser, unless there is a `Recorder`: it records whole steps as CUDA graphs and replays them,
    so that one launch starts thousands of kernels.

    Args:
        network: the network to train.
        loss: the loss to lower. Its style image is set.
        optimizer: makes the optimiser of the network's parameters.
        seed: seed of strengths and second looks.
        stability: how the photo changes that the stability loss has stylized twice.

    Attributes:
        recorder: what records whole steps, or None. Set it before training starts.
    """

    def __init__(
        self,
        network: ImageTransformer,
        loss: PerceptualLoss,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        seed: int = 0,
        stability: SecondLook | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.make_optimizer = optimizer
        self.seed = seed
        self.stability = stability or Move()
        self.recorder: Recorder | None = None

    def forward(self, content_images: Tensor) -> Tensor:
        return self.network(content_images)

    def on_train_start(self) -> None:
        if self.recorder is not None:
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert isinstance(optimizer, Optimizer)
            self.begin(optimizer)

    def begin(self, optimizer: Optimizer) -> None:
        """Prepare for `take`.

        Args:
            optimizer: the optimiser of the network's parameters, which are on their device already.
        """
        self._optimizer = optimizer
        if self.recorder is None:
            return
        # Steps at full strength are another graph: their style loss needs no features of the
        # content images.
        self.recorded = {
            full: Graphed(partial(self.whole_step, full, optimizer), self.recorder)
            for full in (True, False)
        }
        self.shape: torch.Size | None = None
        for group in optimizer.param_groups:
            # A graph reads the learning rate from a tensor.
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)
            if "capturable" in group:  # PyTorch's Adam requires it
                group["capturable"] = self.device.type == "cuda"

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        full = self._at_full_strength(self.global_step)
        if self.recorder is None:
            losses = self._losses(full, *self._inputs(batch, self.global_step))
        else:
            losses = self.take(batch, self.global_step)
        objective = losses.pop("objective")
        if self.logs_this_step():
            # Losses at different strengths make no curve. Lightning repeats the last values.
            self._log("train", losses if full else {})
        return objective

    def logs_this_step(self) -> bool:
        """Return whether Lightning passes the values of this training step to the logger."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (self.global_step + 1) % every == 0

    def take(self, batch: Tensor, number: int) -> dict[str, Tensor]:
        """Run a whole step without Lightning: losses, backward pass and optimiser.

        The recorder, if any, records or replays it. Call `begin` first, and this under autocast as
        Lightning does.

        Args:
            batch: uint8 ``(N, 3, H, W)`` on the device of the network.
            number: number of the step, from 0 on. Strength and second look follow from it.

        Returns:
            The losses by name, and their weighted sum as ``objective``. The next step may overwrite
            them.
        """
        full, inputs = self._at_full_strength(number), self._inputs(batch, number)
        if self.recorder is None:
            return self.whole_step(full, self._optimizer, *inputs)
        # A graph is made for one shape: batches of another shape run without.
        self.shape = self.shape or batch.shape
        if batch.shape == self.shape:
            return dict(self.recorded[full](*inputs))
        log.warning("a batch of another size trains without CUDA graphs, which is slower")
        return self.recorder.aside(partial(self.whole_step, full, self._optimizer, *inputs))

    def _inputs(self, batch: Tensor, number: int) -> StepInputs:
        """Draw strength and second look from seed and step alone: runs repeat and resume."""
        rng = np.random.default_rng([self.seed, number, 1])
        strength = torch.full((), self._strength(number), dtype=torch.float64, device=batch.device)
        return StepInputs(batch, strength, *self.stability.draw(batch[:1].float() / 255, rng))

    def _at_full_strength(self, number: int) -> bool:
        return not self.network.adjustable or self._strength(number) == 1

    def _strength(self, number: int) -> float:
        """1 in every second step, among them all that are logged; else a random strength."""
        if number % 2:
            return 1.0
        return float(np.random.default_rng([self.seed, number]).random())

    def _losses(
        self,
        full: bool,
        content_images: Tensor,
        strength: Tensor,
        changed: Tensor,
        view: Tensor,
    ) -> dict[str, Tensor]:
        """Return the losses of a step, and their weighted sum as ``objective``.

        The other arguments are those of `StepInputs`. With ``full``, ``strength`` is 1.
        """
        content_images = content_images.float() / 255
        chosen = 1.0 if full else strength
        given = chosen if self.network.adjustable else None
        stylized = self.network(content_images, given, TRAINING_MARGIN)
        losses = self.loss(stylized, content_images, chosen)
        objective = losses["total"]
        if self.loss.pair_terms:
            # A pair of one image only: a second pass of the network over all of them is slow.
            again = self.network(changed, given, TRAINING_MARGIN)
            here = self.stability.expected(
                stylized[:1], content_images[:1], changed, view, strength
            )
            of_pair = self.loss.compare_pair(here, again)
            objective = objective + self.loss.weighted_sum(of_pair)
            losses |= of_pair
        return losses | {"objective": objective}

    def whole_step(self, full: bool, optimizer: Optimizer, *inputs: Tensor) -> dict[str, Tensor]:
        """Run forward pass, backward pass and optimiser as one function of tensors.

        Args:
            full: whether the step is at full strength.
            optimizer: the optimiser of the network's parameters.
            inputs: see `StepInputs`.

        Returns:
            The losses by name, and their weighted sum as ``objective``.
        """
        optimizer.zero_grad()
        losses = self._losses(full, *inputs)
        # Lightning, too, ends autocast before the backward pass.
        with torch.autocast(self.device.type, enabled=False):
            losses["objective"].backward()
            optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    # With a recorder, `training_step` has already done what Lightning would do after it.

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        if self.recorder is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.recorder is None:
            super().backward(loss, *args, **kwargs)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        if self.recorder is None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        else:
            assert optimizer_closure is not None
            optimizer_closure()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write learning rates as numbers: the machine that resumes the run may have no GPU."""
        for state in checkpoint.get("optimizer_states", ()):
            for group in state["param_groups"]:
                group["lr"] = float(group["lr"])
                group.pop("capturable", None)

    def validation_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Log the losses of a batch, uint8 ``(N, 3, H, W)``.

        Returns:
            The stylized images in [0, 1], of the same shape, for callbacks.
        """
        content_images = batch.float() / 255
        stylized = self.network(content_images)
        losses = self.loss(stylized, content_images)
        self._log("val", losses, batch_size=len(batch), sync_dist=True)
        return stylized

    def _log(self, stage: str, losses: dict[str, Tensor], **options: object) -> None:
        """Log losses in groups: ``train/style``, and its parts as ``train_style/relu4_1``."""
        tags = {
            f"{stage}_{name}" if "/" in name else f"{stage}/{name}": value.detach()
            for name, value in losses.items()
        }
        # The x axis. Without it, Lightning would also draw a curve of the only epoch.
        tags["step"] = torch.full((), self.global_step, dtype=torch.float32, device=self.device)
        self.log_dict(tags, **options)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Optimizer:
        return self.make_optimizer(self.network.parameters())
