"""A trained style as a function on pictures: the one object that stylizes, everywhere."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.devices import find_device, gpu_is_idle, is_cpu
from fast_style.errors import UserError
from fast_style.extras import installed, missing_extra, need
from fast_style.images import PendingFloats, PendingPicture, upright_rgb
from fast_style.images.floats import FloatPicture, Kind, Picture, size_of
from fast_style.networks import MIN_SIDE
from fast_style.stylizing.blending import Style, read_blend
from fast_style.stylizing.colour import PRESERVE, Preserve
from fast_style.stylizing.engines import BandsEngine, choose_engine
from fast_style.stylizing.finishing import Finishing, shrink_tensors
from fast_style.stylizing.masks import Mask
from fast_style.stylizing.strokes import Stroke, bring_up, shrink

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

# How far values may lie outside [0, 1]: a bilinear resize, for example, sums rounded weights.
TOLERANCE = 1e-3


class Stylizer:
    """Stylizes in one forward pass or, where memory is short for that, in bands of rows.

    A grain that no eye notices is added to each picture first; see `fast_style.images.grain`.

    Args:
        style: name of a shipped style, or path of a ``.safetensors`` file, or several with their
            shares, such as ``{"wave": 0.6, "starry-night": 0.4}``; see `read_blend`.
        device: ``auto`` (a GPU if there is one), or a PyTorch device such as ``cpu`` or ``cuda:1``.
        precision: ``auto`` (bf16 where the hardware multiplies it, and mostly 8 bits on such CPUs;
            else float32), or ``float32``.
        strength: strength of the style in [0, 1], from the photo itself to the full style.
        band_rows: stylize all pictures in bands of this many rows. By default, bands are for
            pictures that need too much memory in one pass.
        scratch: folder for temporary files. With one, all pictures are stylized in bands, which
            keep on disk what grows with the picture.
        progress: called with the work done and the total, while a picture is stylized in bands.
        preserve_color: ``luminance`` keeps hue and chroma of the photo, ``histogram`` its mean
            colour and their spread; see `preserve_color`. By default colours are the style's.
        stroke: how many times wider than the network's own its strokes are, at least 1. The
            picture is painted that much smaller, and brought up along the photo's edges. ``auto``
            makes strokes that are seen when the whole picture is, see `stroke_for`: pictures of up
            to 800 px are painted at their own size.
        mask: picture whose white is painted and whose black stays the photo; see `Mask`.
        feather: blur of the mask's edges in pixels of the photo, at least 0.

    Attributes:
        name: name of the style.
        strength: strength of the style.
        device: the device that was found, such as ``cpu`` or ``cuda``.
        precision: ``bfloat16`` or ``float32``.
        files_at_once: number of files to read, and to write, at once to keep the device busy.

    Raises:
        UserError: if there is no such style or device, or the style has no such strength.
        ValueError: if another argument is not one of those above.

    >>> stylize = Stylizer("starry-night", "cpu", strength=0.8)
    >>> stylize
    <Stylizer 'starry-night', strength 0.8, on cpu>
    >>> night = stylize(Image.new("RGB", (64, 48), "white"))
    >>> night.mode, night.size
    ('RGB', (64, 48))
    """

    def __init__(
        self,
        style: Style,
        device: str = "auto",
        precision: str = "auto",
        strength: float = 1.0,
        band_rows: int | None = None,
        scratch: Path | None = None,
        progress: Callable[[float, float], object] | None = None,
        preserve_color: Preserve | None = None,
        stroke: Stroke = "auto",
        mask: Image.Image | None = None,
        feather: float = 0.0,
    ) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is between 0 and 1, not {strength}")
        if precision not in ("auto", "float32"):
            raise ValueError(f"precision is auto or float32, not {precision}")
        if preserve_color not in (None, *PRESERVE):
            raise ValueError(f"preserve_color is {' or '.join(PRESERVE)}, not {preserve_color}")
        if stroke != "auto" and not 1 <= stroke < math.inf:
            raise ValueError(f"stroke is auto or a number of at least 1, not {stroke}")
        if not 0 <= feather < math.inf:
            raise ValueError(f"feather is a number of at least 0, not {feather}")
        found = read_blend(style).at_strength(strength)
        self._weights = found.weights
        self.name = found.name
        self.strength = strength
        self.device = "cpu" if is_cpu(device) else str(find_device(device))
        if device == "auto" and gpu_is_idle():
            _tell_that_gpu_is_idle()
        exactly = precision == "float32"
        self._one_pass = choose_engine(found, self.device, exactly)
        self.precision = self._one_pass.precision
        self.files_at_once = self._one_pass.files_at_once
        self._bands = BandsEngine(
            found, self.device, self.precision, exactly, band_rows, scratch, progress
        )
        self._always_in_bands = bool(band_rows or scratch)
        if self._always_in_bands:
            need("train", "bands of rows", "torch")
        self._finishing = Finishing(
            strength, preserve_color, None if mask is None else Mask(mask, feather)
        )
        self._stroke = stroke

    def finished_as(self, preserve_color: Preserve | None, stroke: Stroke) -> Stylizer:
        """Return the same network with other colours and strokes; nothing is compiled anew."""
        other = copy.copy(self)
        other._finishing = replace(self._finishing, preserve=preserve_color)
        other._stroke = stroke
        return other

    def for_frames(self) -> Stylizer:
        """Return a stylizer for many pictures of one size, such as the frames of a film.

        On a CPU, `begin` paints a few side by side then, which takes less time: begin the next
        before you wait for the last.
        """
        other = copy.copy(self)
        other._one_pass = self._one_pass.for_frames()
        return other

    def __repr__(self) -> str:
        return f"<Stylizer {self.name!r}, strength {self.strength:g}, on {self.device}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from fast_style.stylizing.notebook import as_html

        return as_html(self)

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what the stylizer paints: weights and options."""
        finishing = self._finishing
        digest = hashlib.sha256(f"{self.strength} {finishing.preserve} {self._stroke}".encode())
        if finishing.mask is not None:
            digest.update(finishing.mask.identity)
        for name, weight in sorted(self._weights.items()):
            digest.update(name.encode() + np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()

    @overload
    def __call__(self, picture: Image.Image) -> Image.Image: ...
    @overload
    def __call__(self, picture: NDArray[Any]) -> FloatPicture: ...
    @overload
    def __call__(self, picture: Tensor) -> Tensor: ...

    def __call__(self, picture: Image.Image | NDArray[Any] | Tensor) -> Picture | Tensor:
        """Stylize a picture of any mode, a float array, or float tensors.

        Args:
            picture: a picture of PIL's, an array ``(H, W, 3)`` of sRGB colours in [0, 1], or
                tensors ``(N, 3, H, W)`` of the same. An array is computed in float32 throughout.

        Returns:
            A picture of mode "RGB" and of the upright picture's size; or a float32 array of the
            same shape; or tensors of the same shape and dtype, on the same device.

        Raises:
            UserError: if a side is shorter than `MIN_SIDE`, or memory is short: for a picture even
                in bands, for tensors in one pass.
            TypeError: for anything else, such as a path.
            ValueError: for arrays or tensors of another shape, of integers, or with values outside
                [0, 1].
        """
        if isinstance(picture, (Image.Image, np.ndarray)):
            return self.begin(picture)()
        _check_tensors(picture)
        return self._stylize_tensors(picture)

    @overload
    def begin(self, picture: Image.Image) -> PendingPicture: ...
    @overload
    def begin(self, picture: NDArray[Any]) -> PendingFloats: ...

    def begin(self, picture: Image.Image | NDArray[Any]) -> Any:
        """Start to stylize a picture or a float array without waiting for a GPU.

        The GPU can go on with the next picture while this one is copied and written.

        Returns:
            A function that waits for the stylized picture and returns it, on any thread.

        Raises:
            UserError: as when called.
            TypeError, ValueError: as when called.
        """
        if isinstance(picture, Image.Image):
            return self._begin(upright_rgb(picture))
        if not isinstance(picture, np.ndarray):
            raise TypeError(f"expected a picture of PIL's or an array, got {_described(picture)}")
        return self._begin(_checked_array(picture))

    def _begin(self, photo: Kind) -> Callable[[], Kind]:
        check_side(*size_of(photo))
        small = shrink(photo, self._stroke)
        painted = self._start(small)
        if self._finishing.is_none and small is photo:
            return painted
        return lambda: self._finishing.picture(photo, self._brought_up(photo, small, painted()))

    def _brought_up(self, photo: Kind, small: Kind, painted: Kind) -> Kind:
        if self.device == "cpu" or small is photo:
            return bring_up(photo, small, painted)
        from fast_style.stylizing.torch_strokes import bring_up_on

        return bring_up_on(self.device, photo, small, painted)

    def _start(self, photo: Kind) -> Callable[[], Any]:
        if not self._always_in_bands:
            painted = self._one_pass.start(photo)
            if painted is not None:
                return painted
            width, height = size_of(photo)
            size = f"{width} x {height} px"
            if not installed("torch"):
                bands = missing_extra("train", "bands of rows, which take less memory,")
                raise UserError(
                    f"to paint {size} in one pass takes more memory than is free: give a larger "
                    f"--stroke, twice in a quarter of the memory, or a smaller --size; {bands}"
                )
            log.warning("a picture of %s is too large for one pass: it is done in bands", size)
        self._one_pass.free_memory()
        return self._bands.start(photo)

    def _stylize_tensors(self, photos: Tensor) -> Tensor:
        from fast_style.stylizing.torch_strokes import bring_up_tensors

        small = shrink_tensors(photos, self._stroke)
        painted = self._one_pass.paint_tensors(small)
        if painted is None:
            height, width = photos.shape[-2:]
            raise UserError(
                f"tensors of {width} x {height} px do not fit into the memory of {self.device}: "
                "give fewer or smaller ones, or pictures, which are stylized in bands"
            )
        painted = bring_up_tensors(photos, small, painted.to(photos.device, photos.dtype))
        return self._finishing.tensors(photos, painted)


@cache  # once is enough
def _tell_that_gpu_is_idle() -> None:
    log.warning(
        "the CPU paints (device cpu ends this note): %s",
        missing_extra("train", "pictures on the GPU"),
    )


def _checked_array(given: NDArray[Any]) -> FloatPicture:
    """Return a float array as float32, clipped to [0, 1]."""
    if given.ndim != 3 or given.shape[2] != 3 or given.dtype.kind != "f":
        raise ValueError(f"expected a float array (H, W, 3), got {given.dtype} {given.shape}")
    if given.size:
        _check_range(given.min(), given.max())
    return np.ascontiguousarray(given.clip(0, 1), np.float32)


def _check_tensors(given: Tensor) -> None:
    torch = sys.modules.get("torch")  # without it, nothing is a tensor
    if torch is None or not isinstance(given, torch.Tensor):
        raise TypeError(
            f"expected a picture of PIL's, an array or a tensor, got {_described(given)}"
        )
    if given.ndim != 4 or given.shape[1] != 3 or not given.is_floating_point():
        raise ValueError(
            f"expected a float tensor (N, 3, H, W), got {given.dtype} {tuple(given.shape)}"
        )
    if given.numel():
        _check_range(*(value.item() for value in given.detach().aminmax()))
    height, width = given.shape[-2:]
    check_side(width, height)


def _check_range(least: float, most: float) -> None:
    if not (least >= -TOLERANCE and most <= 1 + TOLERANCE):  # NaN fails, too
        raise ValueError(
            f"expected values in [0, 1], got {least:g} to {most:g}: divide levels of 8 bits by "
            "255, and clamp what was enlarged"
        )


def _described(given: object) -> str:
    if isinstance(given, (str, os.PathLike)):
        return f"the path {os.fspath(given)!r}: open it with PIL.Image.open"
    return f"a {type(given).__name__}"


def check_side(width: int, height: int) -> None:
    """Refuse a picture that is too small for the network.

    Raises:
        UserError: if a side is shorter than `MIN_SIDE`.
    """
    if min(height, width) < MIN_SIDE:
        raise UserError(
            f"a picture of {width} x {height} px is too small: it needs at least {MIN_SIDE} px a "
            "side; make it larger with --size"
        )
