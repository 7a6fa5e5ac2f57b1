"""Make docs/pictures/film.webp: a view that glides over a bundled photo, and its stylized film.

python scripts/make_film.py docs/pictures/film.webp
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from PIL import Image

from fast_style.bundled import PHOTOS
from fast_style.images import open_picture

FRAMES, RATE = 36, 10
WIDTH, HEIGHT = 256, 192
QUALITY = 45


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--photo", default="chelsea.jpg", show_default=True, help="A bundled photo.")
@click.option("--style", default="starry-night", show_default=True)
def main(target: Path, photo: str, style: str) -> None:
    """Glide over a photo, stylize that film with the command, and put both side by side."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, view in enumerate(views(open_picture(PHOTOS / photo)), 1):
            view.save(folder / f"{number:03}.png")
        command = [sys.executable, "-m", "fast_style.cli", "stylize", str(folder / "%03d.png")]
        command += ["--style", style, "--stroke", "1", "--smooth"]
        subprocess.run([*command, "-o", str(folder / "out" / "%03d.png")], check=True)
        pairs = []
        for number in range(1, FRAMES + 1):
            pair = Image.new("RGB", (2 * WIDTH, HEIGHT))
            pair.paste(Image.open(folder / f"{number:03}.png"), (0, 0))
            pair.paste(Image.open(folder / "out" / f"{number:03}.png"), (WIDTH, 0))
            pairs.append(pair)
    pairs[0].save(
        target,
        save_all=True,
        append_images=pairs[1:],
        duration=1000 // RATE,
        loop=0,
        quality=QUALITY,
        method=4,
    )


def views(photo: Image.Image) -> list[Image.Image]:
    """The frames: a slow circle over the photo that comes back to its start, and a slight zoom."""
    frames = []
    for number in range(FRAMES):
        angle = 2 * math.pi * number / FRAMES
        share = 0.72 + 0.08 * math.cos(angle)
        height = share * min(photo.height, photo.width * HEIGHT / WIDTH)
        width = height * WIDTH / HEIGHT
        left = (photo.width - width) * (0.5 + 0.3 * math.sin(angle))
        top = (photo.height - height) * (0.5 - 0.3 * math.cos(angle))
        box = (left, top, left + width, top + height)
        frames.append(photo.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box=box))
    return frames


if __name__ == "__main__":
    main()
