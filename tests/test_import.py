"""`fast-style import`: networks of other programs paint as they do there, in every engine."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import files, refused, run
from other_networks import Examples, Transposed, with_random_weights
from PIL import Image
from safetensors.torch import save_file
from test_export_onnx import crop, decibels, painted, session
from torch import Tensor, nn

from fast_style import Stylizer
from fast_style.checkpoint import load_style, read_style
from fast_style.export.importing import IMAGENET_DEVIATION, IMAGENET_MEAN
from fast_style.export.onnx import onnx_model
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.onepass import OnePass

WIDTHS = (8, 8, 16)
MEAN, DEVIATION = (
    torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
)
SIZES = [(16, 17), (39, 62)]  # sides with every remainder of 4


def examples() -> nn.Module:
    return with_random_weights(Examples(WIDTHS, 2), "deconv3.conv2d", 120, 60)


def ceshine() -> nn.Module:
    return with_random_weights(Examples(WIDTHS, 2), "deconv3.conv2d", 0, 1)


def gordicaleksa() -> nn.Module:
    network = Examples(WIDTHS, 1, ups="up", inner=".conv2d")
    return with_random_weights(network, "up3.conv2d", 0, 1)


def rrmina() -> nn.Module:
    return with_random_weights(Transposed(WIDTHS, 2), "DeconvBlock.4.conv_layer", 120, 60)


def bottleneck() -> nn.Module:
    return with_random_weights(Transposed(WIDTHS, 1, 8), "DeconvBlock.4.conv_layer", 120, 60)


def of_levels(network: nn.Module, photo: Tensor) -> Tensor:
    return network(photo * 255) / 255


def of_imagenet(network: nn.Module, photo: Tensor) -> Tensor:
    return network((photo - MEAN) / DEVIATION) * DEVIATION + MEAN


def of_bgr(network: nn.Module, photo: Tensor) -> Tensor:
    return of_levels(network, photo.flip(1)).flip(1)


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor], Tensor], list[str]]]
KINDS = {
    "pytorch/examples": (examples, of_levels, []),
    "ceshine": (ceshine, of_imagenet, ["--values", "imagenet"]),
    "gordicaleksa": (gordicaleksa, of_imagenet, []),
    "rrmina": (rrmina, of_bgr, []),
    "rrmina, bottleneck": (bottleneck, of_bgr, []),
}


def theirs(kind: str, photo: np.ndarray) -> np.ndarray:
    """What the program paints, of whose rows and columns beyond the photo's nobody speaks."""
    make, paint, _ = KINDS[kind]
    height, width = photo.shape[2:]
    picture = paint(make(), torch.from_numpy(photo))[..., :height, :width]
    assert picture.std() > 0.05
    assert ((picture > 0) & (picture < 1)).float().mean() > 0.05
    return picture.clamp(0, 1).numpy()


@pytest.fixture(params=KINDS)
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    make, _, options = KINDS[request.param]
    torch.save(make().state_dict(), tmp_path / "candy.pth")
    result = run("import", tmp_path / "candy.pth", "-o", tmp_path / "candy.safetensors", *options)
    assert result.exit_code == 0, result.output
    return request.param, tmp_path / "candy.safetensors"


def test_every_engine_paints_what_the_other_program_paints(imported: tuple[str, Path]) -> None:
    kind, style = imported
    exact = Stylizer(style, "cpu", "float32")
    file = session(onnx_model(read_style(style)))
    once = OnePass(load_style(style).network, torch.device("cpu"), torch.float32)
    engines: dict[str, Callable[[Image.Image], Image.Image]] = {
        "float32": exact,
        "as fast as it goes": Stylizer(style, "cpu"),
        "bands": Stylizer(style, "cpu", "float32", band_rows=7),
        "one pass": lambda photo: Image.fromarray(
            once.levels(torch.from_numpy(np.array(photo))).numpy()
        ),
    }
    for height, width in SIZES:
        levels = np.rint(crop(height, width) * 255)
        photo = levels / np.float32(255)
        expected = theirs(kind, photo)
        assert decibels(exact(torch.from_numpy(photo)).numpy(), expected) > 60
        assert decibels(painted(file, photo), expected) > 60
        picture = Image.fromarray(levels[0].astype(np.uint8).transpose(1, 2, 0))
        for name, engine in engines.items():
            found = np.asarray(engine(picture)).transpose(2, 0, 1)[None] / np.float32(255)
            assert decibels(found, expected) > 45, name


@pytest.mark.slow
@pytest.mark.parametrize("make", [examples, rrmina])
def test_an_imported_network_as_a_program(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.save(make().state_dict(), tmp_path / "a.pth")
    run("import", tmp_path / "a.pth", "-o", tmp_path / "a.safetensors")
    assert run("export", tmp_path / "a.safetensors", "--pt2", tmp_path / "a.pt2").exit_code == 0
    program = torch.export.load(tmp_path / "a.pt2").module()
    for height, width in SIZES:
        photo = torch.from_numpy(crop(height, width))
        expected = Stylizer(tmp_path / "a.safetensors", "cpu", "float32", strength=0.5)(photo)
        found = program(photo, torch.tensor(0.5))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_strength_blends_with_the_photo(tmp_path: Path) -> None:
    torch.save(examples().state_dict(), tmp_path / "a.pth")
    run("import", tmp_path / "a.pth", "-o", tmp_path / "a.safetensors")
    photo = crop(21, 26)
    half = Stylizer(tmp_path / "a.safetensors", "cpu", "float32", strength=0.5)
    expected = (photo + theirs("pytorch/examples", photo)) / 2
    assert decibels(half(torch.from_numpy(photo)).numpy(), expected) > 55


def test_files_of_old_and_new_pytorch_and_wrappers(tmp_path: Path) -> None:
    tensors = examples().state_dict()
    old = dict(tensors)
    for name, tensor in tensors.items():
        if ".in" in name or name.startswith("in"):
            module = name.rpartition(".")[0]
            old[f"{module}.running_mean"] = torch.randn_like(tensor)
            old[f"{module}.running_var"] = torch.rand_like(tensor)
    torch.save(tensors, tmp_path / "zip.pth")
    torch.save(old, tmp_path / "old.model", _use_new_zipfile_serialization=False)
    assert zipfile.is_zipfile(tmp_path / "zip.pth")
    assert not zipfile.is_zipfile(tmp_path / "old.model")
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"state_dict": wrapped, "epoch": 2}, tmp_path / "wrapped.pth")
    save_file(tensors, tmp_path / "plain.safetensors")
    styles = []
    for name in ("zip.pth", "old.model", "wrapped.pth", "plain.safetensors"):
        result = run("import", tmp_path / name, "-o", tmp_path / "out" / "candy.safetensors")
        assert result.exit_code == 0, result.output
        assert "pytorch/examples" in result.output
        styles.append((tmp_path / "out" / "candy.safetensors").read_bytes())
    assert len(set(styles)) == 1


def test_what_is_not_such_a_network_is_refused(
    bomb: Callable[[Path, bool], Path], tmp_path: Path
) -> None:
    tensors = examples().state_dict()

    def wrong(content: object, *words: str) -> None:
        torch.save(content, tmp_path / "a.pth")
        refused(run("import", tmp_path / "a.pth", "-o", tmp_path / "out.safetensors"), *words)

    executed = bomb(tmp_path / "bomb.pth", True)
    refused(run("import", tmp_path / "bomb.pth", "-o", tmp_path / "out.safetensors"), "bomb.pth")
    assert not executed.exists()
    (tmp_path / "text.pth").write_text("not a network")
    refused(run("import", tmp_path / "text.pth"), "text.pth", "tensors")
    refused(run("import", tmp_path / "none.pth"), "none.pth")
    torch.save({}, tmp_path / "empty.pth")
    refused(run("import", tmp_path / "empty.pth"), "empty.pth", "it is empty")
    wrong(ImageTransformer((4, 8, 8), 1).state_dict(), "a.pth", "pytorch/examples")
    wrong([torch.zeros(1)], "a.pth", "state dict")
    wrong({**tensors, "in1.num_batches_tracked": torch.tensor(1)}, "batch norm")
    wrong({**tensors, "res9.conv1.conv2d.weight": torch.zeros(1)}, "res9")
    wrong({**tensors, "conv2.conv2d.weight": torch.zeros(8, 8, 5, 5)}, "conv2.conv2d.weight")
    wrong({**tensors, "in2.weight": torch.full((8,), torch.nan)}, "finite")
    wrong({name: value for name, value in tensors.items() if name != "in4.bias"}, "in4.bias")
    refused(
        run("import", tmp_path / "a.pth", "-o", tmp_path / "out.pth"), "out.pth", ".safetensors"
    )
    assert files(tmp_path) == ["a.pth", "bomb.pth", "empty.pth", "text.pth"]
