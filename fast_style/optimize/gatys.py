"""The slow reference: a picture itself is optimised, and no network trained (Gatys et al. 2016)."""

from __future__ import annotations

import logging
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import torch
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from fast_style.config import settings
from fast_style.config.classes import check_arguments
from fast_style.config.compose import compose_config
from fast_style.config.messages import as_user_error
from fast_style.config.paths import buildable, rewrite
from fast_style.devices import available_memory, computes_in_bf16, find_device
from fast_style.errors import UserError
from fast_style.images import (
    check_writable,
    open_picture,
    resize_picture,
    save_picture,
    to_picture,
    to_tensor,
)
from fast_style.losses import PerceptualLoss

logger = logging.getLogger(__name__)  # `log` is a folder of TensorBoard's here

Optimizer = Literal["lbfgs", "adam"]
OnEvaluation = Callable[[int, dict[str, float], Tensor], bool | None]
"""Called after each evaluation with how many there were, its losses as `PerceptualLoss` names them,
and its picture ``(N, 3, H, W)`` in [0, 1]. True ends the optimisation."""


def optimize(
    photos: Tensor,
    loss: PerceptualLoss,
    start: Tensor,
    optimizer: Optimizer = "lbfgs",
    evaluations: int = 500,
    on_evaluation: OnEvaluation | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Lower the total loss of a picture by changing its pixels.

    Pixels stay in [0, 1] as Johnson et al. 2016, section 4.1, have it for their comparison: each
    evaluation, those of line searches included, looks at the projection of its point.

    Args:
        photos: ``(N, 3, H, W)`` in [0, 1], on the loss's device.
        loss: its style measured.
        start: what is changed, of the photos' shape; itself it stays as it is.
        optimizer: ``lbfgs`` (strong Wolfe line search, history of 10) or ``adam`` (step 0.02).
        evaluations: of the loss with its gradient, at most; those of line searches count as well.
            Fewer only where L-BFGS finds no lower point any more.
        on_evaluation: see `OnEvaluation`.
        precision: of the loss network; with bfloat16 losses, pixels and optimiser stay float32.

    Returns:
        The picture of the lowest total among all evaluated, ``(N, 3, H, W)`` in [0, 1].

    Raises:
        UserError: for an unknown optimiser.
    """
    if optimizer not in ("lbfgs", "adam"):
        raise UserError(f"optimizer '{optimizer}' is unknown: choose lbfgs or adam")
    device = photos.device.type
    autocast = torch.autocast(device, precision, enabled=precision != torch.float32)
    with autocast:
        targets = loss.targets_for(photos)
    # L-BFGS's first step has a length of 1, summed over all variables: far too short for so many
    # pixels. In this unit it changes them by a hundredth on average.
    unit = 0.01 * start.numel()
    variables = (start.detach().float() / unit).contiguous().requires_grad_()
    best, lowest, count, scale = start.detach(), float("inf"), 0, 1.0

    def evaluate() -> Tensor:
        nonlocal best, lowest, count, scale
        with torch.no_grad():
            variables.clamp_(0, 1 / unit)
        picture = variables * unit
        with autocast:
            losses = loss.compare(picture, targets)
        if count == 0:
            # L-BFGS has absolute tolerances: a total that starts at 1 suits them whatever the
            # weights and normalisation.
            scale = 1 / losses["total"].item()
        variables.grad = None
        (losses["total"] * scale).backward()
        count += 1
        found = {name: value.item() for name, value in losses.items()}
        if found["total"] < lowest:
            best, lowest = picture.detach(), found["total"]
        stop = on_evaluation is not None and on_evaluation(count, found, picture.detach())
        if stop or count == evaluations:
            raise _Enough
        return losses["total"] * scale

    try:
        if optimizer == "adam":
            adam = torch.optim.Adam([variables], lr=0.02 / unit)
            while True:
                adam.step(evaluate)
        improved = True
        while improved:
            before = lowest
            torch.optim.LBFGS(
                [variables],
                max_iter=evaluations,
                max_eval=evaluations,
                history_size=10,
                line_search_fn="strong_wolfe",
                tolerance_grad=0,
            ).step(evaluate)
            improved = lowest < before
    except _Enough:
        pass
    return best.clamp(0, 1)  # from rounding


class _Enough(Exception):
    """Leaves an optimiser from inside a line search."""


Start = Literal["photo", "noise"] | Image.Image
NAMED_STARTS: dict[str, Start] = {"photo": "photo", "noise": "noise"}

COARSEST = 128  # px, the longer side of the first scale
MIN_SIDE = 16  # px; below, VGG's fourth block has nothing left to look at
PREVIEW_EVERY = 25  # evaluations


@dataclass
class Progress:
    """Where an optimisation stands after one more evaluation."""

    evaluation: int
    """Of all sizes together, counted from 1."""
    done: float
    """The share of the work that is done, in [0, 1]: an evaluation weighs as much as it has pixels.
    """
    side: int
    """The longer side of the picture at this size."""
    losses: dict[str, float]
    picture: Tensor
    """``(1, 3, H, W)`` in [0, 1]."""


def sides(size: int) -> list[int]:
    """Longer sides from coarse to fine, each sqrt(2) times the one before, up to ``size``."""
    steps = max(0, math.floor(2 * math.log2(size / COARSEST) + 1e-9))
    return [round(size / 2 ** (step / 2)) for step in range(steps, -1, -1)]


def stylize(
    photo: Image.Image,
    painting: Image.Image,
    loss: PerceptualLoss,
    size: int,
    style_size: int | None = None,
    start: Start = "photo",
    optimizer: Optimizer = "lbfgs",
    iterations: int = 50,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    on_evaluation: Callable[[Progress], bool | None] | None = None,
) -> Image.Image:
    """Optimise a picture from coarse to fine (Gatys et al. 2017, section 5): each size begins with
    the result of the one before, so that broad strokes are laid where an evaluation is cheap.

    Args:
        photo, painting: of mode "RGB".
        loss: on the device to compute on; the style is measured here, for each size anew.
        size: longer side of the result in pixels.
        style_size: longer side of the painting beside the result, by default ``size``; at coarser
            sizes it is as much smaller as the photo is.
        start: the photo, uniform noise, or a picture, whose details only the last size would keep:
            there is no other then.
        optimizer: see `optimize`.
        iterations: evaluations of the loss at each size, those of line searches included.
        seed: of the noise.
        precision: see `optimize`.
        on_evaluation: called after each evaluation; True ends all, with the best picture so far.

    Raises:
        UserError: if a picture is too narrow at this size.
    """
    device = loss.vgg.mean.device
    ratio = (style_size or size) / size
    _check_side("the photo", photo, size)
    _check_side("the painting", painting, round(size * ratio))
    scales = [size]
    if not isinstance(start, Image.Image):
        scales = [
            side
            for side in sides(size)
            if side == size or min(_shorter(photo, side), _shorter(painting, side * ratio)) >= 64
        ]
    work = sum(side**2 for side in scales)
    evaluated, worked, stopped = 0, 0.0, False

    def report(count: int, losses: dict[str, float], picture: Tensor) -> bool:
        nonlocal evaluated, stopped
        evaluated += 1
        if on_evaluation is not None:
            done = (worked + side**2 * count / iterations) / work
            stopped = bool(on_evaluation(Progress(evaluated, done, side, losses, picture)))
        return stopped

    picture: Tensor | None = None
    for side in scales:
        target = resize_picture(photo, side)
        photos = to_tensor(target).unsqueeze(0)
        if isinstance(start, Image.Image):
            picture = to_tensor(start.resize(target.size, Image.Resampling.LANCZOS)).unsqueeze(0)
        elif picture is not None:
            picture = _enlarge(picture, target.size)
        elif start == "noise":
            picture = torch.rand(photos.shape, generator=torch.Generator().manual_seed(seed))
        else:
            picture = photos
        painted = to_tensor(resize_picture(painting, round(side * ratio))).unsqueeze(0)
        loss.set_style_image(painted.to(device))
        picture = optimize(
            photos.to(device), loss, picture.to(device), optimizer, iterations, report, precision
        )
        worked += side**2
        if stopped:
            break
    assert picture is not None
    # A smaller one only where it was stopped early.
    return to_picture(picture[0]).resize(resize_picture(photo, size).size, Image.Resampling.LANCZOS)


def _enlarge(picture: Tensor, size: tuple[int, int]) -> Tensor:
    width, height = size
    larger = torch.nn.functional.interpolate(
        picture, (height, width), mode="bicubic", align_corners=False
    )
    return larger.clamp(0, 1)


def _shorter(picture: Image.Image, longer: float) -> float:
    return longer * min(picture.size) / max(picture.size)


def _check_side(name: str, picture: Image.Image, longer: int) -> None:
    if _shorter(picture, longer) < MIN_SIDE:
        raise UserError(
            f"{name} is too narrow: with a longer side of {longer} px, the shorter has less than "
            f"{MIN_SIDE} px; choose a larger size, or crop it"
        )


# At the peak, with VGG16, measured at 320 x 320 px on a CPU.
BYTES_PER_PIXEL = {torch.float32: 3500, torch.bfloat16: 2600}


def load_loss(overrides: Sequence[str] = ()) -> PerceptualLoss:
    """A loss of ``conf/loss``, by default the bundled VGG16.

    Args:
        overrides: Hydra's, as ``["loss=vgg19", "loss.style_weight=50"]``.

    Raises:
        UserError: if they are about anything else, or wrong.
    """
    for override in overrides:
        if not override.startswith(("loss=", "loss.", "+loss.", "~loss.")):
            raise UserError(
                f"'{override}' is no setting of the loss: give loss=vgg19, loss.style_weight=50 "
                "and the like, as in training (fast-style train --help shows them all)"
            )
    with as_user_error():
        cfg = compose_config(["loss=vgg16", *rewrite(overrides)])
        settings.check(cfg, ["loss"])
        check_arguments(cfg.loss, "loss")
        return instantiate(buildable(cfg, "loss").loss)


def optimize_file(
    photo: Path,
    painting: Path,
    out: Path,
    size: int,
    style_size: int | None = None,
    start: str = "photo",
    optimizer: Optimizer = "lbfgs",
    iterations: int = 50,
    seed: int = 0,
    device: str = "auto",
    overrides: Sequence[str] = (),
    log: Path | None = None,
) -> dict[str, float]:
    """`stylize` from files to a file, with a progress bar; Ctrl-C ends it with what there is.

    Args:
        photo, painting: files.
        out: file to write.
        start: ``photo``, ``noise``, or the file of a picture.
        device: see `find_device`.
        overrides: see `load_loss`.
        log: folder to write losses and previews for TensorBoard to.
        size, style_size, optimizer, iterations, seed: see `stylize`.

    Returns:
        The losses of the last evaluation.

    Raises:
        UserError: for whatever the user got wrong, before anything slow starts.
    """
    photograph, painted = (open_picture(path, note=logger.warning) for path in (photo, painting))
    begin = NAMED_STARTS.get(start) or open_picture(Path(start), note=logger.warning)
    for given in (photo, painting, Path(start)):
        if out.exists() and given.exists() and out.samefile(given):
            raise UserError(f"{out} is what you start from: give another name with -o")
    place = find_device(device)
    precision = torch.bfloat16 if computes_in_bf16(place) else torch.float32
    loss = load_loss(overrides).to(place)
    _check_memory(photograph, size, place, precision)
    check_writable(out, resize_picture(photograph, size))
    writer = SummaryWriter(log) if log is not None else None
    losses: dict[str, float] = {}
    with (
        _interruptible() as interrupted,
        tqdm(
            total=1.0,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed} < {remaining} left{postfix}",
            file=sys.stderr,
            dynamic_ncols=True,
        ) as bar,
    ):

        def watch(progress: Progress) -> bool:
            losses.update(progress.losses)
            shown = [f"{name} {losses[name]:.3f}" for name in ("total", "content", "style")]
            bar.set_postfix_str(f"{progress.side} px, " + ", ".join(shown), refresh=False)
            bar.update(progress.done - bar.n)
            if writer is not None:
                _log(writer, progress)
            return bool(interrupted)

        try:
            picture = stylize(
                photograph,
                painted,
                loss,
                size,
                style_size,
                begin,
                optimizer,
                iterations,
                seed,
                precision,
                watch,
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"a picture of {size} px does not fit into the memory of {place}: make it smaller "
                "with --size, or use --device cpu"
            ) from error
    save_picture(picture, out)
    if writer is not None:
        writer.close()
    return losses


def _log(writer: SummaryWriter, progress: Progress) -> None:
    for name, value in progress.losses.items():
        tag = f"optimize_{name}" if "/" in name else f"optimize/{name}"
        writer.add_scalar(tag, value, progress.evaluation)
    if progress.evaluation % PREVIEW_EVERY == 0 or progress.done == 1:
        writer.add_image("pictures/optimized", progress.picture[0], progress.evaluation)


def _check_memory(
    photo: Image.Image, size: int, device: torch.device, precision: torch.dtype
) -> None:
    """Refuse what the system would kill us for; GPUs refuse by themselves."""
    needed = size * _shorter(photo, size) * BYTES_PER_PIXEL[precision]
    free = available_memory()
    if device.type == "cpu" and needed > free:
        raise UserError(
            f"a picture of {size} px needs about {needed / 1e9:.0f} GB of memory and "
            f"{free / 1e9:.0f} GB are free: make it smaller with --size"
        )


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Signals that ask to stop, as they come in; a second one ends the program at once."""
    caught: list[int] = []
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        tqdm.write("stopping after this evaluation; once more to stop at once", file=sys.stderr)
        restore()

    for number in previous:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        restore()
