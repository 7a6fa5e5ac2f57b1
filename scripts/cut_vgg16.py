"""Cut VGG16's weights down to what is bundled: conv1_1 to conv4_3, half precision.

usage: python scripts/cut_vgg16.py VGG16.safetensors [OUT]

VGG16.safetensors holds torchvision's tensor names; its metadata is carried over.
"""

import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from fast_style.bundled import VGG16_WEIGHTS
from fast_style.networks.vgg import layer_plan


def main(source: str, out: str | Path = VGG16_WEIGHTS) -> None:
    with safe_open(source, framework="pt") as file:
        tensors = {
            f"features.{index}.{part}": file.get_tensor(f"features.{index}.{part}").half()
            for name, index, _ in layer_plan("vgg16", frozenset({"relu4_3"}))
            if name != "pool"
            for part in ("weight", "bias")
        }
        metadata = (file.metadata() or {}) | {
            "architecture": "torchvision.models.vgg16().features, conv1_1 to conv4_3",
            "dtype": "float16",
        }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, metadata)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
