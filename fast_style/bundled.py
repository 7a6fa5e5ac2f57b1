"""Paths of the files that come with the package, in a clone and in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def _top_level(name: str) -> Path:
    """A folder that a wheel holds within the package and a clone beside it."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


CONF = _top_level("conf")
CHECKPOINTS = _top_level("checkpoints")
ASSETS = _PACKAGE / "assets"
PHOTOS = ASSETS / "photos"
PAINTINGS = ASSETS / "paintings"
VGG16_WEIGHTS = ASSETS / "vgg16" / "vgg16_to_relu4_3.safetensors"
PAGE = ASSETS / "page"
