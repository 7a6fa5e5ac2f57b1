"""Feed-forward style transfer: train a network for one painting, stylize pictures in one pass.

::

    from fast_style import Stylizer

    Stylizer("starry-night")(Image.open("photo.jpg")).save("night.jpg")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fast_style.stylizer import Stylizer

__all__ = ["Stylizer"]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import: the command line's --help shall not wait for it.
    if name == "Stylizer":
        from fast_style.stylizer import Stylizer

        return Stylizer
    raise AttributeError(name)
