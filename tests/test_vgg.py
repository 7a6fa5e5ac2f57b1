"""VGG features equal torchvision's, and every kind of wrong weights is refused."""

import os
import urllib.request
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fast_style.bundled import VGG16_WEIGHTS
from fast_style.errors import UserError
from fast_style.networks.vgg import VGGFeatures

# Index in torchvision's `features` of each ReLU.
RELUS = {
    "vgg16": {
        "relu1_1": 1, "relu1_2": 3, "relu2_1": 6, "relu2_2": 8,
        "relu3_1": 11, "relu3_2": 13, "relu3_3": 15,
        "relu4_1": 18, "relu4_2": 20, "relu4_3": 22,
        "relu5_1": 25, "relu5_2": 27, "relu5_3": 29,
    },
    "vgg19": {
        "relu1_1": 1, "relu1_2": 3, "relu2_1": 6, "relu2_2": 8,
        "relu3_1": 11, "relu3_2": 13, "relu3_3": 15, "relu3_4": 17,
        "relu4_1": 20, "relu4_2": 22, "relu4_3": 24, "relu4_4": 26,
        "relu5_1": 29, "relu5_2": 31, "relu5_3": 33, "relu5_4": 35,
    },
}  # fmt: skip

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(2, 3, 35, 48, generator=torch.Generator().manual_seed(1))


def state(features: nn.Sequential, up_to: int | None = None) -> dict[str, Tensor]:
    """Tensors under torchvision's names, and one fully connected tensor, which must be ignored."""
    tensors = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    if up_to is not None:
        tensors = {name: t for name, t in tensors.items() if int(name.split(".")[1]) <= up_to}
    return {**tensors, "classifier.6.bias": torch.zeros(1000)}


def reference(
    features: nn.Sequential, pictures: Tensor, relus: dict[str, int]
) -> dict[str, Tensor]:
    x = (pictures - MEAN) / STD
    found = {}
    for index, layer in enumerate(features):
        if index == 0:
            # Repeat the picture's edge, and cut off the outputs that see the layer's own zeros.
            x = layer(F.pad(x, (2, 2, 2, 2), mode="replicate"))[..., 2:-2, 2:-2]
            continue
        x = layer(x)
        for name in (name for name, at in relus.items() if at == index):
            found[name] = x.clone()
    return found


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_features_equal_torchvisions(
    network: str,
    suffix: str,
    pictures: Tensor,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    features: nn.Sequential = request.getfixturevalue(network)
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(state(features), path)
    vgg = VGGFeatures(network, RELUS[network], str(path)).double()
    with torch.no_grad():
        found = vgg(pictures.double())
        expected = reference(deepcopy(features).double(), pictures.double(), RELUS[network])
    assert found.keys() == expected.keys()
    for name in expected:
        assert expected[name].std() > 0.01, name
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-6)


def test_a_subset_of_the_layers_is_the_same_and_cheaper(
    vgg16: nn.Sequential, pictures: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state(vgg16), path)
    vgg = VGGFeatures("vgg16", ["relu1_2", "relu2_2", "relu4_1"], str(path))
    shallow = VGGFeatures("vgg16", ["relu1_2", "relu2_2"], str(path))
    with torch.no_grad():
        full = vgg(pictures)
        with FlopCounterMode(display=False) as stopped:
            some = vgg(pictures, ["relu2_2"])
        with FlopCounterMode(display=False) as needed:
            shallow(pictures)
    assert list(some) == ["relu2_2"]
    torch.testing.assert_close(some["relu2_2"], full["relu2_2"], rtol=0, atol=0)
    assert stopped.get_total_flops() == needed.get_total_flops() > 0


def test_nothing_past_the_deepest_layer_is_built(vgg16: nn.Sequential, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state(vgg16, up_to=7), path)  # the file ends there
    vgg = VGGFeatures("vgg16", ["relu2_2", "relu1_1"], str(path))
    needed = sum(t.numel() for t in state(vgg16, up_to=7).values()) - 1000
    assert sum(b.numel() for b in vgg.buffers()) == needed + 6  # with mean and deviation


def test_vgg_is_frozen_and_in_no_checkpoint(pictures: Tensor) -> None:
    vgg = VGGFeatures("vgg16", ["relu1_1", "relu2_1"], "bundled")
    assert list(vgg.parameters()) == []
    assert vgg.state_dict() == {}
    assert not any(buffer.requires_grad for buffer in vgg.buffers())
    pictures.requires_grad_()
    vgg(pictures)["relu2_1"].square().mean().backward()
    assert pictures.grad is not None
    assert (pictures.grad.abs().sum((1, 2, 3)) > 0).all()


def test_autocast_computes_with_weights_rounded_once(pictures: Tensor) -> None:
    vgg = VGGFeatures("vgg16", ["relu1_1", "relu2_1"], "bundled")
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():  # as validation does, before or after training
            vgg(pictures)
        found = vgg(pictures.requires_grad_())
    found["relu2_1"].sum().backward()
    with torch.no_grad():
        whole = vgg(pictures)  # in float32, with weights that were not rounded
        expected = deepcopy(vgg).double()(pictures.double())
    for name, features in expected.items():
        assert found[name].dtype == torch.bfloat16
        assert (found[name] - features).norm() < 0.01 * features.norm()
        assert (whole[name] - features).norm() < 1e-5 * features.norm()
        assert found[name].is_contiguous(memory_format=torch.channels_last)


def test_rounded_weights_follow_the_module(pictures: Tensor) -> None:
    vgg = VGGFeatures("vgg16", ["relu1_1"], "bundled")
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            vgg(pictures)
        vgg._apply(lambda tensor: 2 * tensor)  # changes all buffers, as a move to a device does
        expected = vgg(pictures)["relu1_1"]
        with torch.autocast("cpu", torch.bfloat16):
            found = vgg(pictures)["relu1_1"]
    assert (found - expected).norm() < 0.01 * expected.norm()


def test_buffers_follow_the_module(pictures: Tensor) -> None:
    vgg = VGGFeatures("vgg16", ["relu1_1"], "bundled").double()
    assert {buffer.dtype for buffer in vgg.buffers()} == {torch.float64}
    assert vgg(pictures.double())["relu1_1"].dtype == torch.float64


def test_shapes_halve_with_each_block() -> None:
    vgg = VGGFeatures("vgg16", ["relu1_2", "relu2_2", "relu3_3", "relu4_3"], "bundled")
    with torch.no_grad():
        found = vgg(torch.zeros(1, 3, 50, 33))
    assert {name: tuple(x.shape[1:]) for name, x in found.items()} == {
        "relu1_2": (64, 50, 33),
        "relu2_2": (128, 25, 16),
        "relu3_3": (256, 12, 8),
        "relu4_3": (512, 6, 4),
    }


def test_bundled_weights_are_vgg16s_to_relu4_3_in_half_precision(vgg16: nn.Sequential) -> None:
    bundled = load_file(VGG16_WEIGHTS)
    expected = {name: t.shape for name, t in state(vgg16, up_to=21).items() if "feat" in name}
    assert {name: tensor.shape for name, tensor in bundled.items()} == expected
    assert len(bundled) == 20  # ten convolutions
    assert {tensor.dtype for tensor in bundled.values()} == {torch.float16}
    assert VGG16_WEIGHTS.stat().st_size < 16_000_000


def test_bundled_weights_are_a_trained_network() -> None:
    # After training on ImageNet, most first filters detect edges and colours and sum to nearly zero
    # (5 in 100 random filters do), and stripes excite all layers more than plain grey.
    weight = load_file(VGG16_WEIGHTS)["features.0.weight"].float()
    share = weight.sum((1, 2, 3)).abs() / weight.abs().sum((1, 2, 3))
    assert (share < 0.02).float().mean() > 0.5

    vgg = VGGFeatures("vgg16", ["relu1_2", "relu2_2", "relu3_3", "relu4_3"], "bundled")
    edges = (torch.arange(64) // 8 % 2).float().expand(1, 3, 64, 64)
    grey = torch.full((1, 3, 64, 64), 0.45)
    with torch.no_grad():
        for (name, busy), calm in zip(vgg(edges).items(), vgg(grey).values(), strict=True):
            assert busy.isfinite().all(), name
            assert busy.mean() > 1.5 * calm.mean(), name
            assert 0.02 < (busy > 0).float().mean() < 0.98, name


def test_bundled_weights_equal_their_source() -> None:
    path = Path(os.environ.get("FAST_STYLE_DATA", "")) / "vgg16_features.safetensors"
    if "FAST_STYLE_DATA" not in os.environ or not path.is_file():
        pytest.skip("FAST_STYLE_DATA names no folder with vgg16_features.safetensors")
    source = load_file(path)
    for name, tensor in load_file(VGG16_WEIGHTS).items():
        torch.testing.assert_close(tensor, source[name].half(), rtol=0, atol=0, msg=name)


def test_the_bundle_ends_at_relu4_3() -> None:
    with pytest.raises(UserError, match=r"bundled VGG16 ends at relu4_3"):
        VGGFeatures("vgg16", ["relu1_1", "relu5_1"], "bundled")


def test_vgg19_is_not_bundled() -> None:
    with pytest.raises(UserError, match="only VGG16 is bundled, not vgg19"):
        VGGFeatures("vgg19", ["relu1_1"], "bundled")


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("vgg16", "relu3_4"), ("vgg19", "relu6_1"), ("vgg16", "relu0_1"), ("vgg16", "conv1_1"),
        ("vgg16", "relu1"), ("vgg16", ""), ("vgg19", "relu1_3"), ("vgg16", "pool"),
    ],
)  # fmt: skip
def test_unknown_layer(network: str, layer: str) -> None:
    with pytest.raises(UserError, match=f"{network} has no layer '{layer}'.*relu1_1, relu1_2"):
        VGGFeatures(network, ["relu1_1", layer], "bundled")


def test_unknown_network() -> None:
    with pytest.raises(UserError, match="'resnet50' is unknown: choose vgg16 or vgg19"):
        VGGFeatures("resnet50", ["relu1_1"], "bundled")


def test_missing_tensor(vgg16: nn.Sequential, tmp_path: Path) -> None:
    tensors = state(vgg16, up_to=7)
    del tensors["features.5.bias"]
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(UserError, match=r"cut\.pth' lack tensor 'features\.5\.bias'.*relu2_1"):
        VGGFeatures("vgg16", ["relu2_2"], str(tmp_path / "cut.pth"))


def test_weights_of_the_other_network(vgg16: nn.Sequential, tmp_path: Path) -> None:
    torch.save(state(vgg16, up_to=22), tmp_path / "vgg16.pth")
    with pytest.raises(UserError, match=r"vgg16\.pth'.*torchvision's file for this network"):
        VGGFeatures("vgg19", ["relu3_4"], str(tmp_path / "vgg16.pth"))


@pytest.mark.parametrize("value", [torch.zeros(64, 3, 5, 5), torch.zeros(()), "text", None, [1.0]])
def test_misshapen_tensor(vgg16: nn.Sequential, tmp_path: Path, value: object) -> None:
    torch.save({**state(vgg16, up_to=2), "features.0.weight": value}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"'features\.0\.weight' of shape .*\(64, 3, 3, 3\) is"):
        VGGFeatures("vgg16", ["relu1_1"], str(tmp_path / "odd.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pt", ""])
@pytest.mark.parametrize(
    "content",
    [b"", b"these are no weights\n", b"<!DOCTYPE html><html>", bytes(range(256)) * 8,
     b"PK\x03\x04" + bytes(100), b"\x80\x02.", b"\x80\x02}q\x00.", b"\x80\x02]q\x00h\x05."],
)  # fmt: skip
def test_files_that_are_no_weights(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights.*torchvision's") as caught:
        VGGFeatures("vgg16", ["relu1_1"], str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_cut_off_file(vgg16: nn.Sequential, tmp_path: Path) -> None:
    for suffix, save in ((".pth", torch.save), (".safetensors", save_file)):
        path = tmp_path / f"cut{suffix}"
        save(state(vgg16, up_to=2), path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(UserError, match=f"cut{suffix}' cannot be read"):
            VGGFeatures("vgg16", ["relu1_1"], str(path))


@pytest.mark.parametrize("as_torch", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_nothing_is_executed(
    tmp_path: Path, bomb: Callable[[Path, bool], Path], suffix: str, as_torch: bool
) -> None:
    path = tmp_path / f"weights{suffix}"
    target = bomb(path, as_torch)
    with pytest.raises(UserError, match="cannot be read"):
        VGGFeatures("vgg16", ["relu1_1"], str(path))
    assert not target.exists()


@pytest.mark.parametrize("name", ["absent.pth", ".", "torchvison"])
def test_absent_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"'{name}' do not exist: give 'torchvision', 'bundled'"):
        VGGFeatures("vgg16", ["relu1_1"], name)


@pytest.fixture
def no_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing was downloaded, and nothing can be. Returns the folder for downloads."""
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # a port without a listener
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # an opener remembers its proxies
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_without_internet_the_ways_out_are_named(no_internet: Path, network: str) -> None:
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        VGGFeatures(network, ["relu1_1"], "torchvision")
    message = str(caught.value)
    assert f"https://download.pytorch.org/models/{network}-" in message  # where to get it
    assert str(no_internet / f"{network}-") in message  # where to put it
    assert "loss.weights=FILE" in message
    assert "loss=vgg16" in message  # the way without a download
    assert "\n" not in message


def test_a_file_put_where_the_message_says_is_found(
    no_internet: Path, vgg19_file: Path, vgg19: nn.Sequential, pictures: Tensor
) -> None:
    with pytest.raises(UserError) as caught:
        VGGFeatures("vgg19", ["relu1_1"], "torchvision")
    cached = next(word for word in str(caught.value).split() if str(no_internet) in word)
    Path(cached).parent.mkdir(parents=True, exist_ok=True)
    Path(cached).write_bytes(vgg19_file.read_bytes())
    with torch.no_grad():
        found = VGGFeatures("vgg19", ["relu1_2"], "torchvision")(pictures)
        expected = reference(vgg19[:4], pictures, {"relu1_2": 3})
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("content", [b"<html>please log in</html>", b"", b"PK\x03\x04 cut off"])
def test_a_damaged_download(no_internet: Path, content: bytes) -> None:
    no_internet.mkdir(parents=True)
    cached = no_internet / "vgg19-dcbb9e9d.pth"
    cached.write_bytes(content)
    with pytest.raises(UserError) as caught:
        VGGFeatures("vgg19", ["relu1_1"], "torchvision")
    assert str(cached) in str(caught.value)
