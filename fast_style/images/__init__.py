"""Pictures from files and to files, and as tensors.

Outside this package, a picture is an upright, opaque 8-bit sRGB `PIL.Image.Image` of mode "RGB", or
a float RGB tensor in [0, 1].
"""

from fast_style.images.conversion import upright_rgb
from fast_style.images.folders import find_pictures, list_folder
from fast_style.images.headers import is_picture
from fast_style.images.kinds import SUFFIXES, refusal_by_suffix
from fast_style.images.reading import MAX_PIXELS, open_picture
from fast_style.images.tensors import (
    PendingPicture,
    resize_picture,
    start_download,
    to_picture,
    to_tensor,
)
from fast_style.images.writing import (
    SAVE_SUFFIXES,
    check_writable,
    nearest_suffix,
    read_mark,
    save_picture,
)

__all__ = [
    "MAX_PIXELS",
    "SAVE_SUFFIXES",
    "SUFFIXES",
    "PendingPicture",
    "check_writable",
    "find_pictures",
    "is_picture",
    "list_folder",
    "nearest_suffix",
    "open_picture",
    "read_mark",
    "refusal_by_suffix",
    "resize_picture",
    "save_picture",
    "start_download",
    "to_picture",
    "to_tensor",
    "upright_rgb",
]
