"""Feed-forward style transfer: train a network for one painting, stylize pictures in one pass.

>>> from PIL import Image
>>> from fast_style import Stylizer
>>> from fast_style.bundled import PHOTOS
>>> photo = Image.open(PHOTOS / "chelsea.jpg").resize((96, 64))
>>> Stylizer("starry-night", device="cpu")(photo).size
(96, 64)
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

__all__ = ["Stylizer"]

# PyTorch's threads wait for each other after every operation. GNU OpenMP spins for milliseconds
# before a waiting thread sleeps. Where programs share the cores, that takes time from the thread
# that is waited for. OpenMP reads the variable when PyTorch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    # Stylizer is imported at its first use: the command line's --help must not wait for PyTorch.
    if name == "Stylizer":
        from fast_style.stylizing.stylizer import Stylizer

        return Stylizer
    raise AttributeError(name)
