"""An exported ONNX file, in ONNX Runtime, paints our picture."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, read_style, save_style
from fast_style.export.onnx import PRECISIONS, Precision, onnx_model
from fast_style.images import find_pictures, open_picture
from fast_style.networks.transformer import ImageTransformer

WHOLE = np.asarray(open_picture(find_pictures(PHOTOS)[0])) / np.float32(255)
SIZES = [(16, 16), (17, 18), (101, 37), (98, 263), (270, 35)]  # the last are longer than a tile
LEAST_DB = {"float32": 90.0, "float16": 70.0, "int8": 45.0}


def crop(height: int, width: int, left: int = 0) -> np.ndarray:
    return WHOLE[:height, left : left + width].transpose(2, 0, 1)[None]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def painted(
    model: onnxruntime.InferenceSession, photos: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    (picture,) = model.run(None, {"photo": photos, "strength": np.array(strength, np.float32)})
    return picture


def decibels(first: np.ndarray, second: np.ndarray) -> float:
    assert first.shape == second.shape
    return float(-10 * np.log10(np.square(first - second, dtype=float).mean() + 1e-15))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_paints_our_picture_at_every_size(precision: Precision) -> None:
    model = session(onnx_model(read_style("starry-night"), precision))
    ours = Stylizer("starry-night", "cpu", "float32")
    for height, width in SIZES:
        photo = crop(height, width)
        expected = ours(torch.from_numpy(photo)).numpy()
        assert decibels(expected, photo) < 25
        assert decibels(painted(model, photo), expected) > LEAST_DB[precision], (height, width)


@pytest.mark.parametrize("strength", [0.0, 0.4])
def test_the_strength_is_an_input(strength: float) -> None:
    photo = crop(45, 62)
    picture = painted(session(onnx_model(read_style("wave"))), photo, strength)
    expected = Stylizer("wave", "cpu", "float32", strength=strength)(torch.from_numpy(photo))
    assert decibels(picture, expected.numpy()) > 90


def test_photos_of_a_batch_do_not_mix() -> None:
    model = session(onnx_model(read_style("wave")))
    photos = np.concatenate([crop(33, 50), crop(33, 50, left=200)])
    together = painted(model, photos)
    for photo, picture in zip(photos, together, strict=True):
        np.testing.assert_allclose(painted(model, photo[None])[0], picture, atol=1e-5)


@pytest.mark.parametrize("network", [((8, 16, 32), 1, False, 8), ((4, 8, 8), 0, True, None)])
def test_every_kind_of_network(
    network: tuple[tuple[int, ...], int, bool, int | None], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    made = ImageTransformer(*network)
    for parameter in made.parameters():
        if parameter.ndim == 1:  # norms that change nothing would hide a mistake
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    path = tmp_path / "style.safetensors"
    save_style(TrainedStyle(made, "style"), path)
    photo = crop(38, 45)
    expected = Stylizer(path, "cpu", "float32")(torch.from_numpy(photo)).numpy()
    assert decibels(painted(session(onnx_model(read_style(path))), photo), expected) > 90


def test_the_file_says_what_it_is() -> None:
    model = onnx_model(read_style("wave"), "float16")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["style"] == "wave"
    assert said["weights"] == "float16"
    assert "MIT" in said["licence"]
    assert [entry.version for entry in model.opset_import] == [17]
    assert len(model.SerializeToString()) < 4_000_000
