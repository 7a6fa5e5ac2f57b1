"""Feed-forward style transfer: train a network for one painting, stylize pictures in one pass.

::

    from fast_style import Stylizer

    Stylizer("starry-night")(Image.open("photo.jpg")).save("night.jpg")
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

__all__ = ["Stylizer"]

# PyTorch's threads wait for each other after every operation. GNU OpenMP spins for milliseconds
# before it sleeps; where another program has the core, that is the time the other thread needs.
# OpenMP reads the variable when PyTorch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import: the command line's --help shall not wait for it.
    if name == "Stylizer":
        from fast_style.stylizing.stylizer import Stylizer

        return Stylizer
    raise AttributeError(name)
