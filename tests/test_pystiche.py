"""Losses and gradients equal pystiche's (Meier and Lohweg 2020), with the same VGG16."""

import importlib
import sys
from collections import defaultdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from fast_style.bundled import PAINTINGS, PHOTOS, VGG16_WEIGHTS
from fast_style.images import open_picture, resize_picture, to_tensor
from fast_style.losses import Normalization, PerceptualLoss

CONTENT_LAYERS = ("relu3_3", "relu4_2")
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
WEIGHTS: dict[str, Any] = {"content_weight": 1.5, "style_weight": 20.0, "tv_weight": 3.0}


@pytest.fixture(scope="module")
def pystiche() -> Any:
    # pystiche imports addresses of weights from torchvision under a name that no longer exists.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("alexnet", "vgg"):
            module = sys.modules[f"torchvision.models.{name}"]
            patch.setattr(module, "model_urls", defaultdict(str), raising=False)
        return importlib.import_module("pystiche")


@pytest.fixture(scope="module")
def encoder(pystiche: Any) -> Any:
    """torchvision's VGG16 as pystiche's encoder; the first layer repeats the picture's edge."""
    features = models.vgg16(weights=None).features[:23]
    weights = {name.removeprefix("features."): t for name, t in load_file(VGG16_WEIGHTS).items()}
    features.load_state_dict({name: weights[name].float() for name in features.state_dict()})
    features[0].padding_mode = "replicate"
    modules: list[tuple[str, nn.Module]] = [("normalize", pystiche.enc.TorchPreprocessing())]
    block = convolution = 1
    for module in features:
        if isinstance(module, nn.MaxPool2d):
            modules.append((f"pool{block}", module))
            block, convolution = block + 1, 1
        elif isinstance(module, nn.Conv2d):
            modules.append((f"conv{block}_{convolution}", module))
        else:
            modules.append((f"relu{block}_{convolution}", nn.ReLU()))
            convolution += 1
    return pystiche.enc.MultiLayerEncoder(modules).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """A square photo, a variation of it, and a painting of another shape."""
    photo, painting = (
        to_tensor(resize_picture(open_picture(path), size)).unsqueeze(0)
        for path, size in ((PHOTOS / "astronaut.jpg", 144), (PAINTINGS / "poppy-field.jpg", 200))
    )
    photo = photo[..., :96, :96]
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    return photo, (photo.roll(5, 3) + 0.1 * noise).clamp(0, 1), painting


@pytest.mark.parametrize("normalization", ["relative", "johnson", "gatys"])
def test_losses_and_gradient_are_pystiches(
    normalization: Normalization,
    pystiche: Any,
    encoder: Any,
    pictures: tuple[Tensor, Tensor, Tensor],
) -> None:
    photo, stylized, painting = pictures
    loss = PerceptualLoss(
        "vgg16", "bundled", CONTENT_LAYERS, STYLE_LAYERS, **WEIGHTS, normalization=normalization
    )
    loss.set_style_image(painting)
    ours = stylized.clone().requires_grad_()
    found = loss(ours, photo)
    found["total"].backward()

    # pystiche takes means over all elements of features, and of Gram matrices that are not divided
    # by the channels. The papers take sums; "relative" divides by the same mean of the target.
    theirs = stylized.clone().requires_grad_()
    content, style = [], []
    for layer in CONTENT_LAYERS:
        view = encoder.extract_encoder(layer)
        target = view(photo)
        comparison = pystiche.loss.FeatureReconstructionLoss(view)
        comparison.set_target_image(photo)
        scale = {"relative": 1 / target.square().mean(), "gatys": target.numel() / 2}
        content.append(comparison(theirs) * scale.get(normalization, 1.0))
    for layer in STYLE_LAYERS:
        view = encoder.extract_encoder(layer)
        target = pystiche.gram_matrix(view(painting), normalize=True)
        comparison = pystiche.loss.GramLoss(view)
        comparison.set_target_image(painting)
        scale = {"relative": 1 / target.square().mean(), "gatys": 1 / 4}
        style.append(comparison(theirs) * scale.get(normalization, 1.0))
    # pystiche leaves out the last row and column. Repeated, they add nothing.
    edged = F.pad(theirs, (0, 1, 0, 1), mode="replicate")
    tv = pystiche.loss.functional.total_variation_loss(edged, reduction="sum")
    channels, side = photo.shape[1:3]
    expected = {
        "content": sum(content) / (1 if normalization == "johnson" else len(content)),
        "style": sum(style) / (1 if normalization == "johnson" else len(style)),
        "tv": tv / (channels * side * (side - 1)) if normalization == "relative" else tv,
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=0)
    sum(WEIGHTS[f"{name}_weight"] * value for name, value in expected.items()).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert (ours.grad - theirs.grad).norm() < 1e-4 * theirs.grad.norm()
