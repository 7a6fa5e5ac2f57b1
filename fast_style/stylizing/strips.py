"""Walk through a picture of any size in strips of rows."""

from collections.abc import Iterator

PIXELS_IN_STRIP = 2**19  # numpy's arrays of a strip fit into a few tens of megabytes

Box = tuple[int, int, int, int]  # left, top, right and bottom, as PIL crops


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
