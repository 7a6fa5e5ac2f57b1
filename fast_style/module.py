"""Training as a LightningModule: network, loss and optimiser, nothing else."""

from collections.abc import Callable, Iterable

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fast_style.losses import PerceptualLoss, stability_loss
from fast_style.networks.transformer import ImageTransformer

NOISE = 0.02  # standard deviation, of a sensor in poor light
STRIDE = 4  # px: the network's, whose grid a move of fewer px leaves

# The least there is: where an edge is near, networks learn to be dull, and with all of the margin
# they learn it for what lies inside of that.
TRAINING_MARGIN = 4


class StyleTransfer(pl.LightningModule):
    """Trains an `ImageTransformer` to lower a `PerceptualLoss` (Johnson et al. 2016, section 3).

    Args:
        network: what is trained.
        loss: its style already measured.
        optimizer: makes the optimiser of the network's parameters.
        seed: of the strengths of the style that an adjustable network learns, and of the moves and
            the noise that it learns to be steady under.

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

    def forward(self, photos: Tensor) -> Tensor:
        return self.network(photos)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        photos = batch.float() / 255
        strength = self._strength()
        stylized = self.network(photos, strength, TRAINING_MARGIN)
        losses = self.loss(stylized, photos, strength or 1.0)
        total = losses["total"]
        if self.loss.stability_weight:
            losses["stability"] = self._stability(photos[:1], stylized[:1], strength)
            total = total + self.loss.stability_weight * losses["stability"]
        # Curves of all strengths together would say nothing; Lightning repeats the last value.
        self._log("train", losses if strength in (None, 1.0) else {})
        return total

    def _stability(self, photo: Tensor, stylized: Tensor, strength: float | None) -> Tensor:
        """Of one photo in each step: another pass of the network for each photo is slow."""
        rng = np.random.default_rng([self.seed, self.global_step, 1])
        # Always as many pixels: cuDNN tries its convolutions anew for each size that it meets.
        height, width = (side - STRIDE for side in photo.shape[2:])
        top, left = rng.integers(0, STRIDE, 2).tolist()
        where = (..., slice(top, top + height), slice(left, left + width))
        moved = photo[where]
        # Drawn where it is used: a GPU that is sent it would first have to finish what it is at.
        generator = torch.Generator(photo.device).manual_seed(int(rng.integers(2**63)))
        noise = torch.randn(moved.shape, generator=generator, device=photo.device)
        again = self.network(moved + NOISE * noise, strength, TRAINING_MARGIN)
        return stability_loss(stylized[where], again)

    def _strength(self) -> float | None:
        """Full strength in every second step of an adjustable network, any in the others; those
        that are logged, every so many, are of full strength."""
        if not self.network.adjustable:
            return None
        if self.global_step % 2:
            return 1.0
        return float(np.random.default_rng([self.seed, self.global_step]).random())

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
