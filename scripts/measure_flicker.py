"""How much stylized films flicker: the network alone, and with ``--smooth``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.film.reading import probe, read_frames
from fast_style.film.smoothing import Smoother, find_motion, grid, warped
from fast_style.images import open_picture

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

NOISE = 2.0  # standard deviation in levels of a camera's noise, laid over known motion
PAN = (3, 1)  # px a frame, right and down
ZOOM, TURN = 0.005, 0.2  # a frame: how much closer, as a share, and degrees
LIGHT, PERIOD = 0.15, 12  # how much the exposure swings, as a share, and frames of a swing
MOST_FLOW_ERROR = 1.0  # px, there and back, of what is measured


@dataclass(frozen=True)
class Scene:
    """A film and where each of its pixels was in the frame before.

    Args:
        frames: each ``(H, W, 3)``.
        sources: for each frame but the first, ``(H, W, 2)`` as in `Motion`.
        masks: for each frame but the first, ``(H, W)``, where that is known.
    """

    frames: Sequence[Pixels]
    sources: Sequence[Floats]
    masks: Sequence[Mask]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--style", "styles", multiple=True, default=["wave", "starry-night"])
@click.option("--film", type=click.Path(path_type=Path, exists=True), help="A film of yours.")
@click.option("--size", type=click.IntRange(64), default=256, show_default=True)
@click.option("--frames", type=click.IntRange(3), default=60, show_default=True)
@click.option("--strip", type=click.Path(path_type=Path), help="PNG of one row over time.")
def main(
    styles: tuple[str, ...], film: Path | None, size: int, frames: int, strip: Path | None
) -> None:
    """Measure the flicker of stylized films.

    Each frame is compared with the one before, moved to where the scene has moved: the root of the
    mean squared difference, in levels. A perfectly steady film has that of its source. Motion is
    known exactly for a camera over a photo, with noise: one that pans by whole pixels, one that
    comes closer and turns, and one that stands still while its exposure swings. For a film of
    yours it is Farneback's optical flow, where it agrees there and back; --smooth uses another.

    \b
    uv run python scripts/measure_flicker.py --film clip.mp4 --strip strip.png
    """
    scenes = {
        "pan over a photo": pan(size, frames),
        "slow zoom and turn": zoom(size, frames),
        "exposure that swings": swinging_light(size, frames),
    }
    if film is not None:
        scenes[film.name] = with_flow(film, size, frames)
    strips = []
    click.echo("| scene | style | source | network | `--smooth` |")
    click.echo("| --- | --- | --- | --- | --- |")
    for name, scene in scenes.items():
        own = flicker(scene.frames, scene)
        for style in styles:
            painted = stylized(scene.frames, style)
            smooth = smoothed(scene.frames, painted)
            found = [flicker(kind, scene) for kind in (painted, smooth)]
            cells = [f"{value:.1f} ({value / own:.1f} x)" for value in found]
            click.echo(f"| {name} | {style} | {own:.1f} | {' | '.join(cells)} |")
            strips += [row_over_time(kind) for kind in (painted, smooth)]
    if strip is not None:
        Image.fromarray(np.concatenate(strips)).save(strip)


def pan(size: int, frames: int) -> Scene:
    """A camera that moves over a photo by whole pixels."""
    across, down = PAN
    height = round(size * 0.75)
    pixels = _photo(size + across * frames, height + down * frames)
    rng = np.random.default_rng(0)
    views = []
    for number in range(frames):
        x, y = across * number, down * number
        views.append(_with_noise(pixels[y : y + height, x : x + size], rng))
    source = grid(size, height) + np.array(PAN, np.float32)
    mask = np.ones((height, size), bool)
    mask[height - down :] = False
    mask[:, size - across :] = False
    return Scene(views, [source] * (frames - 1), [mask] * (frames - 1))


def zoom(size: int, frames: int) -> Scene:
    """A camera that comes closer and turns around the middle of its picture."""
    height = round(size * 0.75)
    pixels = np.rint(_photo(2 * size, 2 * height)).astype(np.uint8)  # sharp even from close by
    centre = np.array([size - 1, height - 1], np.float32) / np.float32(2)
    middle = (np.array(pixels.shape[1::-1], np.float32) - 1) / np.float32(2)
    start = min(pixels.shape[1] / size, pixels.shape[0] / height) / 1.6  # turned, it stays inside

    def turned(scale: float, degrees: float) -> Floats:
        """Places relative to the middle, for all pixels of a frame."""
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.asarray((grid(size, height) - centre) @ turn.T * scale, np.float32)

    rng = np.random.default_rng(0)
    views = []
    for number in range(frames):
        places = turned(start * (1 - ZOOM) ** number, TURN * number) + middle
        views.append(_with_noise(warped(pixels, places), rng))
    source = (turned(1 - ZOOM, TURN) + centre).astype(np.float32)
    mask = np.asarray(((source >= 0) & (source <= (size - 1, height - 1))).all(-1), bool)
    return Scene(views, [source] * (frames - 1), [mask] * (frames - 1))


def swinging_light(size: int, frames: int) -> Scene:
    """A camera that stands still, and whose exposure swings."""
    height = round(size * 0.75)
    pixels = _photo(size, height)[:height, :size]
    rng = np.random.default_rng(0)
    swing = 1 + LIGHT * np.sin(np.arange(frames) * 2 * np.pi / PERIOD)
    views = [_with_noise(pixels * np.float32(0.8 * gain), rng) for gain in swing]
    mask = np.ones((height, size), bool)
    return Scene(views, [grid(size, height)] * (frames - 1), [mask] * (frames - 1))


def _photo(width: int, height: int) -> Floats:
    """Resize a bundled photo to cover this width and height, in px."""
    photo = open_picture(PHOTOS / "coffee.jpg")
    scale = max(width / photo.width, height / photo.height)
    sides = (round(photo.width * scale) + 1, round(photo.height * scale) + 1)
    return np.asarray(photo.resize(sides, Image.Resampling.LANCZOS), dtype=np.float32)


def _with_noise(view: NDArray[Any], rng: np.random.Generator) -> Pixels:
    noisy = view + rng.normal(0, NOISE, view.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def with_flow(path: Path, size: int, frames: int) -> Scene:
    """A film's frames, and the flow between them where it is certain."""
    film = probe(path)
    scale = size / max(film.size)
    width, height = (2 * round(side * scale / 2) for side in film.size)
    views: list[Pixels] = []
    for frame in read_frames(film, (width, height)):
        views.append(np.asarray(frame.picture))
        if len(views) == frames:
            break
    grey = [cv2.cvtColor(view, cv2.COLOR_RGB2GRAY) for view in views]
    sources, masks = [], []
    for before, now in pairwise(grey):
        back, forth = farneback(now, before), farneback(before, now)
        source = grid(width, height) + back
        error = np.linalg.norm(back + warped(forth, source), axis=-1)
        inside = (source >= 0).all(-1) & (source <= (width - 1, height - 1)).all(-1)
        sources.append(source)
        masks.append(inside & (error < MOST_FLOW_ERROR))
    return Scene(views, sources, masks)


def farneback(start: NDArray[Any], end: NDArray[Any]) -> Floats:
    """Where each pixel of one grey frame is in another, relative to where it was."""
    flow = np.zeros((*start.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(start, end, flow, 0.5, 4, 21, 5, 7, 1.5, 0)
    return np.asarray(flow, np.float32)


def stylized(frames: Sequence[Pixels], style: str) -> list[Pixels]:
    """Each frame as the network paints it."""
    stylizer = Stylizer(style, stroke=1)
    return [
        np.asarray(stylizer(Image.fromarray(frame)))
        for frame in tqdm(frames, desc=style, leave=False, disable=None)
    ]


def smoothed(frames: Sequence[Pixels], painted: Sequence[Pixels]) -> list[Pixels]:
    """What ``--smooth`` makes of painted frames."""
    smooth = Smoother()
    result = [smooth(painted[0], None)]
    for before, now, frame in zip(frames, frames[1:], painted[1:], strict=False):
        result.append(smooth(frame, find_motion(before, now)))
    return result


def flicker(frames: Sequence[Pixels], scene: Scene) -> float:
    """Root of the mean squared difference from the frame before, moved, in levels."""
    squares = []
    for number, (source, mask) in enumerate(zip(scene.sources, scene.masks, strict=True)):
        moved = warped(frames[number], source).astype(np.float32)
        squares.append(((moved - frames[number + 1])[mask] ** 2).mean())
    return float(np.sqrt(np.mean(squares)))


def row_over_time(frames: Sequence[Pixels]) -> Pixels:
    """One row of pixels, a quarter from above, from the first frame to the last."""
    row = frames[0].shape[0] // 4
    strip = np.array([frame[row] for frame in frames]).repeat(3, axis=0).repeat(3, axis=1)
    gap = np.full((6, *strip.shape[1:]), 255, np.uint8)
    return np.concatenate([strip, gap])


if __name__ == "__main__":
    main()
