"""Where the files that travel with the package lie, in a clone and in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def _beside(name: str) -> Path:
    """A wheel carries the top-level folder in the package, a clone has it beside the package."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


CONF = _beside("conf")
CHECKPOINTS = _beside("checkpoints")
ASSETS = _PACKAGE / "assets"
PHOTOS = ASSETS / "photos"
PAINTINGS = ASSETS / "paintings"
VGG16_WEIGHTS = ASSETS / "vgg16" / "vgg16_to_relu4_3.safetensors"
