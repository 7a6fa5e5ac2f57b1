"""Walk through a picture of any size in strips of rows."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from fast_style.images.floats import Box, FloatPicture, Kind, size_of, to_image

PIXELS_IN_STRIP = 2**19  # numpy's arrays of a strip fit into a few tens of megabytes


def strips(size: tuple[int, int], pixels: int = PIXELS_IN_STRIP) -> Iterator[Box]:
    """Yield the boxes of strips that cover a picture from top to bottom.

    Args:
        size: width and height of the picture.
        pixels: about how many are in a strip, which has at least one row.

    >>> list(strips((2**18, 3)))
    [(0, 0, 262144, 2), (0, 2, 262144, 3)]
    """
    width, height = size
    rows = max(1, pixels // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def made_in_strips(
    like: Kind,
    strip: Callable[[Box], FloatPicture],
    pixels: int = PIXELS_IN_STRIP,
    threads: int = 1,
) -> Kind:
    """Make a picture of the kind and size of another.

    Args:
        like: a picture of mode "RGB", or of floats.
        strip: returns the colours in a box.
        pixels: about how many are in a strip.
        threads: how many strips to make at once.
    """
    boxes = list(strips(size_of(like), pixels))
    with ThreadPoolExecutor(threads) as pool:
        if isinstance(like, Image.Image):
            picture = Image.new("RGB", like.size)
            parts = pool.map(lambda box: to_image(strip(box)), boxes)
            for box, part in zip(boxes, parts, strict=True):
                picture.paste(part, box)
            return picture
        values = np.empty_like(like)

        def fill(box: Box) -> None:
            values[box[1] : box[3]] = strip(box)

        for _ in pool.map(fill, boxes):
            pass  # raises what a thread raised
        return values
