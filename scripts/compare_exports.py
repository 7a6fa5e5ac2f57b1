"""Compare exported ONNX files with the Stylizer, as a table: bytes, and decibels at odd sizes.

Run it with ``uv run scripts/compare_exports.py``. It takes a minute or two on two cores.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import read_style, shipped_styles
from fast_style.export.onnx import PRECISIONS, onnx_model
from fast_style.images import find_pictures, open_picture

SIZES = (299, 301), (211, 397)  # height and width


def main() -> None:
    """Print a row for each precision: the worst of all shipped styles."""
    photos = [
        np.asarray(open_picture(path))[:height, :width].transpose(2, 0, 1)[None] / np.float32(255)
        for path, (height, width) in zip(find_pictures(PHOTOS), SIZES, strict=False)
    ]
    print("| weights | bytes | least dB | mean dB |\n| --- | --- | --- | --- |")
    expected = {
        name: [
            Stylizer(name, "cpu", "float32")(torch.from_numpy(photo)).numpy() for photo in photos
        ]
        for name in shipped_styles()
    }
    for precision in PRECISIONS:
        quality, size = [], 0
        for name in shipped_styles():
            content = onnx_model(read_style(name), precision).SerializeToString()
            size = max(size, len(content))
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            for photo, picture in zip(photos, expected[name], strict=True):
                given = {"photo": photo, "strength": np.array(1, np.float32)}
                (found,) = session.run(None, given)
                quality.append(-10 * np.log10(np.square(found - picture, dtype=float).mean()))
        print(f"| {precision} | {size:,} | {min(quality):.1f} | {np.mean(quality):.1f} |")


if __name__ == "__main__":
    main()
