"""Pictures from files and to files, and as tensors.

Outside this package, a picture is an upright, opaque 8-bit sRGB `PIL.Image.Image` of mode "RGB", or
a float RGB tensor in [0, 1].
"""

from fast_style.images.pictures import (
    MAX_PIXELS,
    SAVE_SUFFIXES,
    SUFFIXES,
    check_writable,
    find_pictures,
    is_picture,
    list_folder,
    nearest_suffix,
    open_picture,
    read_mark,
    refusal,
    remove_unfinished,
    resize_picture,
    save_picture,
    start_download,
    to_picture,
    to_tensor,
    upright_rgb,
)

__all__ = [
    "MAX_PIXELS",
    "SAVE_SUFFIXES",
    "SUFFIXES",
    "check_writable",
    "find_pictures",
    "is_picture",
    "list_folder",
    "nearest_suffix",
    "open_picture",
    "read_mark",
    "refusal",
    "remove_unfinished",
    "resize_picture",
    "save_picture",
    "start_download",
    "to_picture",
    "to_tensor",
    "upright_rgb",
]
