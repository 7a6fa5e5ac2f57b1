"""The OpenVINO graph computes PyTorch's numbers at every size."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch

from fast_style.bundled import PHOTOS
from fast_style.checkpoint import StyleFile, read_style
from fast_style.images import find_pictures, open_picture
from fast_style.images.grain import grain, with_grain
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing import openvino as engine
from fast_style.stylizing.openvino import CompiledTransformer
from fast_style.stylizing.side_by_side import SideBySide

# Sides with every remainder of 4. 8-bit levels are converted before and behind the network, for
# which two sizes are enough.
SIZES = [(16, 16), (16, 31), (17, 18), (18, 17), (19, 64), (20, 21), (33, 47), (101, 37)]
LEVELS_AT = [(16, 16), (33, 47)]
NETWORKS = [  # conf/model's, and few channels, which no vector register divides
    ((32, 64, 128), 2),
    ((16, 32, 64), 2),
    ((4, 8, 8), 2),
    ((4, 8, 8), 0),
]


def compiled(network: ImageTransformer) -> CompiledTransformer:
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return CompiledTransformer(weights, exactly=True, plan=network.plan)


@pytest.mark.parametrize(("widths", "residual_blocks"), NETWORKS)
def test_the_graph_is_the_network(widths: tuple[int, int, int], residual_blocks: int) -> None:
    torch.manual_seed(0)
    network = ImageTransformer(widths, residual_blocks).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:  # norms that change nothing would hide a mistake
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    graph = compiled(network)
    for height, width in SIZES:
        photo = torch.rand(height, width, 3)
        speckles = torch.from_numpy(grain(0, height, width))[..., None] / 255
        given = (photo + speckles).clamp(0, 1)
        with torch.no_grad():
            expected = network(given.permute(2, 0, 1).unsqueeze(0))[0].permute(1, 2, 0).numpy()
        assert expected.std() > 0.05
        np.testing.assert_allclose(graph(photo.numpy()), expected, rtol=0, atol=5e-6)
        if (height, width) not in LEVELS_AT:
            continue
        levels = (photo * 255).round().numpy().astype(np.uint8)
        given = torch.from_numpy(with_grain(levels)) / 255
        with torch.no_grad():
            expected = network(given.permute(2, 0, 1).unsqueeze(0))[0].permute(1, 2, 0)
        stylized = graph(levels)
        assert stylized.dtype == np.uint8
        assert np.abs(stylized - expected.numpy() * 255).max() < 0.51


def test_weights_of_any_memory_layout() -> None:
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), 1).eval()
    photo = np.random.default_rng(0).random((24, 31, 3), np.float32)
    expected = compiled(network)(photo)
    network.to(memory_format=torch.channels_last)
    assert not network.get_parameter("encoder.0.0.weight").is_contiguous()
    np.testing.assert_array_equal(compiled(network)(photo), expected)


@pytest.fixture(scope="module", params=[0.0, 3.0], ids=["mean 0", "mean 3"])
def large(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """16 megapixels with this mean, and their exact instance norm."""
    values = np.random.default_rng(0).standard_normal((1, 1, 4096, 4096), np.float32)
    x = torch.from_numpy(values).add_(request.param).bfloat16().float().numpy()
    return x, (x - x.mean(dtype=float)) / x.std(dtype=float)


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
def test_instance_norm_is_right_on_large_pictures(
    large: tuple[np.ndarray, np.ndarray], bf16: bool
) -> None:
    # Summed in float32 one by one, the variance can be off by a hundredth.
    x, expected = large
    photo = engine.ops.parameter(x.shape, np.float32)
    graph = openvino.Model([engine.ops.result(engine.standardized(photo))], [photo])
    precision = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32"}
    normed = openvino.Core().compile_model(graph, "CPU", precision)([x])[0]
    np.testing.assert_allclose(normed.mean(dtype=float), 0, atol=0.001)
    np.testing.assert_allclose(normed.std(dtype=float), 1, rtol=0.002)
    assert np.abs(normed - expected).max() < (0.05 if bf16 else 0.005)


PHOTO = np.asarray(open_picture(find_pictures(PHOTOS)[0]).resize((240, 160)))
WHITE = np.full((160, 240, 3), 250, np.uint8)


def drawn(*lines: tuple[slice, slice]) -> np.ndarray:
    drawing = WHITE + np.random.default_rng(0).integers(0, 2, WHITE.shape, np.uint8)
    for line in lines:
        drawing[line] = 20
    return drawing


PICTURES = {
    "photo": PHOTO,
    "lines on white": drawn((slice(30, 32), slice(20, 200)), (slice(100, 102), slice(20, 200))),
    "a dot on white": drawn((slice(80, 83), slice(100, 103))),
}


@pytest.mark.parametrize("style", ["starry-night", "peacock-mosaic", "composition-vii"])
@pytest.mark.parametrize("picture", PICTURES)
def test_few_bits_are_used_where_they_keep_the_picture(style: str, picture: str) -> None:
    weights = read_style(style).at_strength(1.0).weights
    given = PICTURES[picture]
    exact = CompiledTransformer(weights, exactly=True)(given).astype(float)
    stylized = CompiledTransformer(weights, exactly=False)(given)
    error = np.square(stylized - exact).mean() / 255**2
    assert -10 * np.log10(error + 1e-9) > 40
    if picture == "photo":
        assert error  # in 8 bits
    else:  # in float32
        assert not error


@pytest.mark.parametrize("style", ["starry-night", "wave", "stained-glass"])
def test_few_bits_keep_a_page_that_is_nearly_white(style: str) -> None:
    page = 235 + 4 * np.random.default_rng(0).standard_normal((160, 240, 1))
    given = page.clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    weights = read_style(style).at_strength(1.0).weights
    exact = CompiledTransformer(weights, exactly=True)(given).astype(float)
    error = np.square(CompiledTransformer(weights, exactly=False)(given) - exact).mean() / 255**2
    assert -10 * np.log10(error + 1e-9) > 40


def test_few_bits_are_multiplied_as_integers() -> None:
    """What OpenVINO does not recognize as 8 bits loses precision and gains no time."""
    style = read_style("small/wave").at_strength(1.0)
    graph = engine.build_graph(style.weights, 64, 64, np.dtype(np.uint8), True, style.plan)
    compiled = openvino.Core().compile_model(graph, "CPU")
    ran = [node.rt_info for node in compiled.get_runtime_model().get_ops()]
    precisions = [
        str(node["runtimePrecision"].value)
        for node in ran
        if node["layerType"].value == "Convolution"
    ]
    blocks = sum(len(block) for block in style.plan.residuals)
    assert len(precisions) == len(style.plan.encoder) + blocks + 1  # and the last one
    assert sum(precision in ("i8", "u8") for precision in precisions) == blocks + 1


@pytest.fixture(scope="module")
def small() -> StyleFile:
    return read_style("small/wave").at_strength(1.0)


@pytest.mark.parametrize("most", [1, 2])
def test_pictures_side_by_side_are_those_of_one_at_a_time(small: StyleFile, most: int) -> None:
    network = CompiledTransformer(small.weights, False, small.plan)
    given = [np.roll(PHOTO, 20 * number, axis=1) for number in range(6)]
    given.insert(3, PICTURES["lines on white"])
    beside = SideBySide(network, PHOTO.shape[:2], most)
    begun = [beside.start(picture) for picture in given]
    for picture, finish in reversed(list(zip(given, begun, strict=True))):
        difference = np.abs(finish().astype(int) - network(picture))
        # A sum in another order may round otherwise.
        assert difference.mean() < 1
        assert difference.max() < 8
    exact = CompiledTransformer(small.weights, True, small.plan)(given[3])
    assert np.abs(begun[3]().astype(int) - exact).max() <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such alarms")
def test_pictures_side_by_side_go_on_after_an_interruption(small: StyleFile) -> None:
    network = CompiledTransformer(small.weights, False, small.plan)
    large = np.tile(PHOTO, (8, 8, 1))
    beside = SideBySide(network, large.shape[:2], 2)
    expected = beside.start(large)()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            _ = [beside.start(large) for _ in range(50)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    again = [beside.start(large) for _ in range(3)]
    for finish in again:
        np.testing.assert_array_equal(finish(), expected)


def test_nobody_is_told_that_openvino_is_used(tmp_path: Path) -> None:
    code = "import fast_style.stylizing.openvino, sys; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "None\n"
    assert not list(tmp_path.iterdir())  # what reports leaves its identity in the home folder
