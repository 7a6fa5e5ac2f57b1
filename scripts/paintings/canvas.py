"""Shared by the painters: the size of the canvas, noise, flow, joints and the command line."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Float = NDArray[np.float32]
Int = NDArray[np.int32]
Mask = NDArray[np.bool_]
Array = NDArray[np.floating]  # of either precision, for arguments

WIDTH, HEIGHT = 1000, 800  # pixels of the finished picture, and the unit of every length
SUPERSAMPLING = 2  # draw at twice the size, then shrink, to smooth the edges
JPEG_QUALITY = 92
PAINTINGS = Path(__file__).resolve().parents[2] / "fast_style" / "assets" / "paintings"


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale: float, across: float | None = None
) -> Float:
    """Random hills about `scale` pixels wide, (H, W), with standard deviation near 1.

    With `across`, `scale` is their height down the rows and `across` their width.
    """
    height, width = shape
    across = scale if across is None else across
    coarse = rng.standard_normal((int(height / scale) + 3, int(width / across) + 3))
    image = Image.fromarray(coarse.astype(np.float32))
    noise = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    scaled: Float = (noise / noise.std()).astype(np.float32)
    return scaled


def ramp(at: Array, *stops: tuple[float, tuple[int, int, int]]) -> Float:
    """Colours between (position, sRGB) stops, (..., 3)."""
    positions = [stop[0] for stop in stops]
    channels = np.array([stop[1] for stop in stops], np.float32).T
    mixed = np.stack([np.interp(at, positions, channel) for channel in channels], -1)
    return mixed.astype(np.float32)


def flow_along(level: Array) -> Float:
    """Direction (radians) of the contour lines of `level`, (H, W)."""
    down, right = np.gradient(level)
    direction: Float = np.arctan2(right, -down).astype(np.float32)
    return direction


def trace(direction: Array, starts: Array, lengths: Array, points: int) -> Float:
    """Paths through a flow: (paths, points, 2) as x, y in pixels, from `starts` (paths, 2).

    `direction` is (H, W) in radians, `lengths` (paths,) in pixels.
    """
    rows, columns = direction.shape
    paths = np.empty((len(starts), points, 2), np.float32)
    paths[:, 0] = starts
    step = lengths / (points - 1)
    for i in range(1, points):
        x, y = paths[:, i - 1].T
        angle = direction[
            y.astype(np.int32).clip(0, rows - 1), x.astype(np.int32).clip(0, columns - 1)
        ]
        paths[:, i, 0] = x + step * np.cos(angle)
        paths[:, i, 1] = y + step * np.sin(angle)
    return paths


def distance_to_joint(label: NDArray[np.integer], reach: int) -> Float:
    """Euclidean distance (drawing pixels, at most `reach`) to the nearest change of `label`."""
    joint = np.zeros(label.shape, np.bool_)
    joint[:, 1:] |= label[:, 1:] != label[:, :-1]
    joint[1:] |= label[1:] != label[:-1]
    columns = label.shape[1]
    column = np.arange(columns, dtype=np.int32)
    left = np.maximum.accumulate(np.where(joint, column, -reach), axis=1)
    right = np.minimum.accumulate(np.where(joint, column, columns + reach)[:, ::-1], axis=1)
    row_distance = np.minimum(column - left, right[:, ::-1] - column).clip(max=reach)
    squared = row_distance.astype(np.float32) ** 2
    nearest = squared.copy()
    for shift in range(1, reach):
        np.minimum(nearest[shift:], squared[:-shift] + shift**2, out=nearest[shift:])
        np.minimum(nearest[:-shift], squared[shift:] + shift**2, out=nearest[:-shift])
    return np.sqrt(nearest).clip(max=reach)


def soften(values: Array) -> Float:
    """Smooth (H, W, ...) a little: 1-2-1 down and across, round the edges."""
    soft: Float = np.asarray(values, np.float32)
    for axis in (0, 1):
        soft = ((np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4).astype(
            np.float32
        )
    return soft


def shrink(picture: Array) -> Image.Image:
    """The finished image of a drawing, (HEIGHT, WIDTH, 3) times SUPERSAMPLING, in 0 to 255."""
    image = Image.fromarray(picture.clip(0, 255).round().astype(np.uint8))
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def command(paint: Callable[[int], Image.Image], name: str, shows: str, seed: int) -> None:
    """Read the command line, `paint` a picture, save it."""
    script = f"python scripts/paintings/{name.replace('-', '_')}.py"
    bundled = PAINTINGS / f"{name}.jpg"
    parser = argparse.ArgumentParser(
        description=f"Draw the bundled painting {name}, {shows}, from a seed and nothing else."
        " The same seed gives the same picture; it takes under a minute.",
        epilog="Examples:\n"
        f"  {script}                      # redraw the bundled painting\n"
        f"  {script} --seed 8 -o my.jpg   # the same scene, another hand\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=bundled, metavar="PATH",
        help="where to save the JPEG; missing folders are made (default: the bundled painting,"
        f" fast_style/assets/paintings/{name}.jpg, which is replaced)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=seed, metavar="N",
        help="whole number from 0; it draws the details and the colours, while the scene stays"
        " (default: %(default)s, the bundled painting)",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.seed < 0:
        parser.error(f"--seed must be 0 or more, not {arguments.seed}")
    output: Path = arguments.output
    if output.suffix.lower() not in (".jpg", ".jpeg") or output.is_dir():
        parser.error(f"{output} is not a JPEG's name; end -o in .jpg")
    image = paint(arguments.seed)
    beside = output.with_name(f".{output.name}.part")  # renamed once whole
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        image.save(beside, "JPEG", quality=JPEG_QUALITY)
        beside.replace(output)
    except OSError as error:
        if beside.exists():
            beside.unlink()
        parser.error(f"cannot write {output}: {error.strerror}; choose another path with -o")
    print(f"{output}: {image.width} x {image.height} pixels, {output.stat().st_size // 1024} KiB")
