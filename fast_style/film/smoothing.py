"""Steady strokes: the stylized frame before moves with the scene and is blended into the next.

A network paints each frame anew, and small changes of the photo, such as noise, move its strokes:
the film flickers. Here the strokes follow the scene, as in Ruder et al. 2016 (Artistic style
transfer for videos) but after the network: optical flow says where each pixel was in the frame
before, and where that is certain, the frame before is moved there and blended in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fast_style.extras import missing_extra

if TYPE_CHECKING:
    from fast_style.film.reading import Frame

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Share of the frame before where motion is certain. A larger share lessens flicker little and blurs
# strokes (`scripts/measure_flicker.py`).
BLEND = 0.8

# Longer side in pixels at which flow is computed, and then enlarged: of frames of 512 px, half the
# side lessens flicker as much in a third of the time.
FLOW_SIDE = 320

# Ruder et al. 2016, section 5: flow there and back differs by no more than this in certain places,
# relative to its squared length and in squared pixels.
RELATIVE_ERROR = 0.01
ABSOLUTE_ERROR = 0.5

# Levels by which a pixel may change colour until half of its certainty is left. What changes colour
# is painted anew.
HALF_CERTAIN = 12.0


def require_cv2() -> Any:
    """Import OpenCV.

    Raises:
        UserError: if it is missing; the message has the line that installs it.
    """
    try:
        import cv2
    except ImportError as error:
        raise missing_extra("video", "smooth films") from error
    return cv2


@dataclass(frozen=True)
class Motion:
    """Where a frame's pixels were in the frame before.

    Args:
        source: ``(H, W, 2)``, the coordinates in the frame before, x first, of each pixel.
        certainty: ``(H, W)`` in [0, 1]; 0 where a pixel was hidden or beyond the edge.
    """

    source: Floats
    certainty: Floats


def find_motion(before: Pixels, now: Pixels) -> Motion:
    """Find where pixels were in the frame before, by DIS optical flow (Kroeger et al. 2016).

    Args:
        before: ``(H, W, 3)`` RGB.
        now: the same shape.
    """
    cv2 = require_cv2()
    height, width = now.shape[:2]
    scale = min(1.0, FLOW_SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (before, now)]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # Flow that is smoother and refined for longer than by default trembles less, and so do strokes.
    dis.setVariationalRefinementAlpha(60.0)
    dis.setVariationalRefinementIterations(10)
    back = dis.calc(grey[1], grey[0], None)
    forth = dis.calc(grey[0], grey[1], None)
    source = back + grid(*size)
    there_and_back = back + warped(forth, source)
    error = (there_and_back**2).sum(axis=-1)
    lengths = (back**2).sum(axis=-1) + (warped(forth, source) ** 2).sum(axis=-1)
    certain = error < RELATIVE_ERROR * lengths + ABSOLUTE_ERROR
    inside = (
        (source[..., 0] >= 0)
        & (source[..., 0] <= size[0] - 1)
        & (source[..., 1] >= 0)
        & (source[..., 1] <= size[1] - 1)
    )
    moved = warped(small[0], source).astype(np.float32)
    changed = cv2.blur(np.abs(moved - small[1]).mean(axis=-1), (3, 3))
    certainty = (certain & inside) / (1 + (changed / HALF_CERTAIN) ** 2)
    certainty = cv2.blur(certainty.astype(np.float32), (3, 3))
    if size != (width, height):
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        back = cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR) * ratio
        certainty = cv2.resize(certainty, (width, height), interpolation=cv2.INTER_LINEAR)
        source = back + grid(width, height)
    return Motion(source.astype(np.float32), certainty)


def grid(width: int, height: int) -> Floats:
    """Return each pixel's own coordinates, ``(H, W, 2)``, x first."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def warped(values: NDArray[Any], source: Floats) -> NDArray[Any]:
    """Interpolate values of ``(H, W, ...)`` at other coordinates.

    Args:
        values: uint8 or float32.
        source: as in `Motion`.
    """
    cv2 = require_cv2()
    how = cv2.INTER_CUBIC if values.dtype == np.uint8 else cv2.INTER_LINEAR
    moved: NDArray[Any] = cv2.remap(values, source, None, how, borderMode=cv2.BORDER_REPLICATE)
    return moved


def with_motion(frames: Iterable[Frame], before: Iterator[Frame]) -> Iterator[Frame]:
    """Add to each frame its motion from the one before.

    Args:
        frames: in order.
        before: gives the frame before the first, or nothing.
    """
    last = next(before, None)
    for frame in frames:
        motion = None
        if last is not None:
            motion = find_motion(np.asarray(last.picture), np.asarray(frame.picture))
        yield replace(frame, motion=motion)
        last = frame


class Smoother:
    """Blends each stylized frame with the one before.

    Args:
        before: the last stylized frame of an earlier run, if there was one.
    """

    def __init__(self, before: Pixels | None = None) -> None:
        self.before = before

    def __call__(self, painted: Pixels, motion: Motion | None) -> Pixels:
        """Smooth a frame.

        Args:
            painted: as the network gives it, ``(H, W, 3)``.
            motion: from the frame before; None for the first frame.
        """
        if motion is not None and self.before is not None:
            share = (BLEND * motion.certainty)[..., None]
            moved = warped(self.before, motion.source).astype(np.float32)
            painted = np.rint(moved * share + painted * (1 - share)).astype(np.uint8)
        self.before = painted
        return painted
