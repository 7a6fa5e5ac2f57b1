"""Draw checkpoints/pictures: the bundled photos, the same in each shipped style, and sheets.

usage: python scripts/make_previews.py
"""

from pathlib import Path

from PIL import Image

from fast_style import Stylizer
from fast_style.bundled import CHECKPOINTS, PHOTOS
from fast_style.checkpoint import shipped_styles, small_styles
from fast_style.images import find_pictures, open_picture, resize_picture, save_picture
from fast_style.stylizing.sheet import draw_styles

SIDE = 640  # px, longer side of the photos
HEIGHT = 300  # px, of each picture in a row
GAP = 8  # px


def main() -> None:
    photos = [resize_picture(open_picture(path), SIDE) for path in find_pictures(PHOTOS)]
    save_picture(row(photos), pictures() / "photos.jpg", quality=90)
    for name in shipped_styles():
        stylize = Stylizer(name)
        save_picture(row([stylize(photo) for photo in photos]), pictures() / f"{name}.jpg", 90)
    draw_styles(PHOTOS / "chelsea.jpg", pictures() / "styles.jpg", shipped_styles())
    save_picture(wide_and_small(photos[1]), pictures() / "small.jpg", 80)
    some = ["starry-night", "stained-glass", "indigo-woodcut"]
    strengths = (0.25, 0.5, 0.75, 1.0)
    draw_styles(PHOTOS / "rocket.jpg", pictures() / "strengths.jpg", some, strengths, size=320)


def pictures() -> Path:
    return CHECKPOINTS / "pictures"


def wide_and_small(photo: Image.Image) -> Image.Image:
    """A photo in each style that has a small network: above by the wide one, below by the small."""
    names = small_styles()
    wide = row([Stylizer(name.removeprefix("small/"))(photo) for name in names])
    small = row([Stylizer(name)(photo) for name in names])
    canvas = Image.new("RGB", (wide.width, 2 * HEIGHT + GAP), "white")
    canvas.paste(wide, (0, 0))
    canvas.paste(small, (0, HEIGHT + GAP))
    return canvas


def row(photos: list[Image.Image]) -> Image.Image:
    """Pictures side by side, all of one height."""
    photos = [
        photo.resize((round(photo.width * HEIGHT / photo.height), HEIGHT), Image.Resampling.LANCZOS)
        for photo in photos
    ]
    width = sum(photo.width for photo in photos) + GAP * (len(photos) - 1)
    canvas = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for photo in photos:
        canvas.paste(photo, (left, 0))
        left += photo.width + GAP
    return canvas


if __name__ == "__main__":
    main()
