"""Training as a LightningModule: network, loss and optimiser, nothing else."""

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

log = logging.getLogger(__name__)

NOISE = 0.02  # standard deviation, of a sensor in poor light
STRIDE = 4  # px: the network's, whose grid a move of fewer px leaves

# The least there is: where an edge is near, networks learn to be dull, and with all of the margin
# they learn it for what lies inside of that.
TRAINING_MARGIN = 4


class StepInputs(NamedTuple):
    """All that a training step reads beside weights, as tensors on its device.

    Args:
        photos: uint8 ``(N, 3, H, W)``.
        strength: of the style, in [0, 1], ``()``. In float64, as Python's numbers are: what is
            computed with it is in float32 either way.
        moved: the first photo, moved and noisy, about [0, 1], ``(1, 3, H - 4, W - 4)``.
        rows, columns: of the first photo that ``moved`` shows, ``(H - 4,)`` and ``(W - 4,)``.
    """

    photos: Tensor
    strength: Tensor
    moved: Tensor
    rows: Tensor
    columns: Tensor


class StyleTransfer(pl.LightningModule):
    """Trains an `ImageTransformer` to lower a `PerceptualLoss` (Johnson et al. 2016, section 3).

    By default Lightning runs the forward pass, the backward pass and the optimiser. With a
    `Recorder`, whole steps are recorded and replayed: a GPU is told of thousands of kernels with
    one launch.

    Args:
        network: what is trained.
        loss: its style already measured.
        optimizer: makes the optimiser of the network's parameters.
        seed: of the strengths of the style that an adjustable network learns, and of the moves and
            the noise that it learns to be steady under.

    Attributes:
        recorder: what records whole steps, or None. Set it before training starts.

    Batches are uint8 ``(N, 3, H, W)``.
    """

    def __init__(
        self,
        network: ImageTransformer,
        loss: PerceptualLoss,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.make_optimizer = optimizer
        self.seed = seed
        self.recorder: Recorder | None = None

    def forward(self, photos: Tensor) -> Tensor:
        return self.network(photos)

    def on_train_start(self) -> None:
        if self.recorder is not None:
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert isinstance(optimizer, Optimizer)
            self.begin(optimizer)

    def begin(self, optimizer: Optimizer) -> None:
        """Get ready to `take` whole steps.

        Args:
            optimizer: of the network's parameters, which lie where they will be trained.
        """
        self._optimizer = optimizer
        if self.recorder is None:
            return
        # One graph for steps at full strength, whose style loss needs no look at the photos, and
        # one for those at any strength.
        self.recorded = {
            full: Graphed(partial(self.whole_step, full, optimizer), self.recorder)
            for full in (True, False)
        }
        self.shape: torch.Size | None = None
        for group in optimizer.param_groups:
            # A graph reads learning rates where they lie.
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)
            if "capturable" in group:  # PyTorch's Adam asks to be told
                group["capturable"] = self.device.type == "cuda"

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        full = self._at_full_strength(self.global_step)
        if self.recorder is None:
            losses = self._losses(full, *self._inputs(batch, self.global_step))
        else:
            losses = self.take(batch, self.global_step)
        objective = losses.pop("objective")
        if self.logs_this_step():
            # Curves of all strengths together would say nothing; Lightning repeats the last value.
            self._log("train", losses if full else {})
        return objective

    def logs_this_step(self) -> bool:
        """Whether Lightning hands the values of this training step to the logger."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (self.global_step + 1) % every == 0

    def take(self, batch: Tensor, number: int) -> dict[str, Tensor]:
        """Take a whole step without Lightning: losses, backward pass and optimiser. It is recorded
        where there is a recorder. Call `begin` first, and this with autocast as Lightning does.

        Args:
            batch: uint8 ``(N, 3, H, W)`` on the device of the network.
            number: of the step, from 0 on. What is left to chance follows from it.

        Returns:
            The losses, and their weighted sum as ``objective``. The next step may overwrite them.
        """
        full, inputs = self._at_full_strength(number), self._inputs(batch, number)
        if self.recorder is None:
            return self.whole_step(full, self._optimizer, *inputs)
        # As it is for a batch of another shape than the first.
        self.shape = self.shape or batch.shape
        if batch.shape == self.shape:
            return dict(self.recorded[full](*inputs))
        log.warning("a batch of another size is trained on without CUDA graphs, which is slower")
        return self.recorder.aside(partial(self.whole_step, full, self._optimizer, *inputs))

    def _inputs(self, batch: Tensor, number: int) -> StepInputs:
        """Draw what is left to chance. It follows from seed and step alone, so that runs repeat and
        resume."""
        rng = np.random.default_rng([self.seed, number, 1])
        device = batch.device
        # Always as many pixels: cuDNN tries its convolutions anew for each size that it meets.
        height, width = (side - STRIDE for side in batch.shape[2:])
        top, left = rng.integers(0, STRIDE, 2).tolist()
        moved = batch[:1, :, top : top + height, left : left + width].float() / 255
        # Drawn where it is used: a GPU that is sent it would first have to finish what it is at.
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
        noise = torch.randn(moved.shape, generator=generator, device=device)
        return StepInputs(
            batch,
            torch.full((), self._strength(number), dtype=torch.float64, device=device),
            moved + NOISE * noise,
            torch.arange(top, top + height, device=device),
            torch.arange(left, left + width, device=device),
        )

    def _at_full_strength(self, number: int) -> bool:
        return not self.network.adjustable or self._strength(number) == 1

    def _strength(self, number: int) -> float:
        """Full strength in every second step, any in the others. Steps that are logged, each
        tenth, are of full strength."""
        if number % 2:
            return 1.0
        return float(np.random.default_rng([self.seed, number]).random())

    def _losses(
        self,
        full: bool,
        photos: Tensor,
        strength: Tensor,
        moved: Tensor,
        rows: Tensor,
        columns: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of a step, and their weighted sum as ``objective``. See `StepInputs`.

        Args:
            full: whether the step is at full strength, whatever ``strength`` says.
        """
        photos = photos.float() / 255
        chosen = 1.0 if full else strength
        given = chosen if self.network.adjustable else None
        stylized = self.network(photos, given, TRAINING_MARGIN)
        losses = self.loss(stylized, photos, chosen)
        objective = losses["total"]
        if self.loss.pair_terms:
            # Of one photo in each step: another pass of the network for each photo is slow.
            here = stylized[:1].index_select(2, rows).index_select(3, columns)
            again = self.network(moved, given, TRAINING_MARGIN)
            of_pair = self.loss.compare_pair(here, again)
            objective = objective + self.loss.weighted_sum(of_pair)
            losses |= of_pair
        return losses | {"objective": objective}

    def whole_step(self, full: bool, optimizer: Optimizer, *inputs: Tensor) -> dict[str, Tensor]:
        """Forward pass, backward pass and optimiser, as one function of tensors.

        Args:
            full: whether the step is at full strength.
            optimizer: of the network's parameters.
            inputs: see `StepInputs`.

        Returns:
            Losses by name, and their weighted sum as ``objective``.
        """
        optimizer.zero_grad()
        losses = self._losses(full, *inputs)
        with torch.autocast(self.device.type, enabled=False):  # as outside of `training_step`
            losses["objective"].backward()
            optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    # Recorded, `training_step` has done all that Lightning does after it.

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
        """Learning rates are numbers in files: the machine that resumes may have no GPU."""
        for state in checkpoint.get("optimizer_states", ()):
            for group in state["param_groups"]:
                group["lr"] = float(group["lr"])
                group.pop("capturable", None)

    def validation_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Returns the stylized photos, for whoever wants to look at them."""
        photos = batch.float() / 255
        stylized = self.network(photos)
        self._log("val", self.loss(stylized, photos), batch_size=len(batch), sync_dist=True)
        return stylized

    def _log(self, stage: str, losses: dict[str, Tensor], **options: object) -> None:
        """``style/relu4_1`` goes to a group of its own, ``train_style/relu4_1``."""
        tags = {
            f"{stage}_{name}" if "/" in name else f"{stage}/{name}": value.detach()
            for name, value in losses.items()
        }
        # The x axis; without it Lightning draws a curve of the epoch, of which there is only one.
        tags["step"] = torch.full((), self.global_step, dtype=torch.float32, device=self.device)
        self.log_dict(tags, **options)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Optimizer:
        return self.make_optimizer(self.network.parameters())
