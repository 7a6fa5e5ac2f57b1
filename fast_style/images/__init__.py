"""Pictures from files and to files, and as tensors.

Outside this package, a picture is upright, opaque and sRGB: an 8-bit `PIL.Image.Image` of mode
"RGB", a float32 array ``(H, W, 3)`` in [0, 1] where 16 bits count (`fast_style.images.floats`), or
a float tensor in [0, 1].
"""

from fast_style.images.conversion import upright_rgb
from fast_style.images.folders import find_pictures, list_folder, scan_folder
from fast_style.images.headers import is_picture, picture_size
from fast_style.images.kinds import HEIF_SUFFIXES, SUFFIXES, refusal_by_suffix
from fast_style.images.photo import Beside, WholePhoto
from fast_style.images.reading import MAX_PIXELS, open_photo, open_picture
from fast_style.images.tensors import (
    PendingFloats,
    PendingPicture,
    resize_picture,
    start_download,
    to_picture,
    to_tensor,
)
from fast_style.images.writing import (
    SAVE_SUFFIXES,
    Saving,
    check_writable,
    holds_16_bits,
    holds_alpha,
    nearest_suffix,
    read_mark,
    save_picture,
)

__all__ = [
    "HEIF_SUFFIXES",
    "MAX_PIXELS",
    "SAVE_SUFFIXES",
    "SUFFIXES",
    "Beside",
    "PendingFloats",
    "PendingPicture",
    "Saving",
    "WholePhoto",
    "check_writable",
    "find_pictures",
    "holds_16_bits",
    "holds_alpha",
    "is_picture",
    "list_folder",
    "nearest_suffix",
    "open_photo",
    "open_picture",
    "picture_size",
    "read_mark",
    "refusal_by_suffix",
    "resize_picture",
    "save_picture",
    "scan_folder",
    "start_download",
    "to_picture",
    "to_tensor",
    "upright_rgb",
]
