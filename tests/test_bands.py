"""Bands of rows join to the picture of a single pass, however the picture is cut."""

from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import Dispatched
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, load_style, save_style
from fast_style.errors import UserError
from fast_style.images import find_pictures, open_picture, resize_picture, to_tensor
from fast_style.images.grain import with_grain
from fast_style.networks import MARGIN, plan_network
from fast_style.networks.layers import InstanceNorm
from fast_style.networks.transformer import TENSOR_CORE_CHANNELS, ImageTransformer
from fast_style.stylizing.band_layers import BandNorm, convolution_in_bands
from fast_style.stylizing.bands import (
    _as_input,
    _levels,
    _levels_on,
    layer_bytes,
    stylize_in_bands,
    stylized_bands,
)
from fast_style.stylizing.engines import BYTES_IN_BANDS, BYTES_PER_VALUE
from fast_style.stylizing.onepass import OnePass, TorchEngine

CPU = torch.device("cpu")
FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16


@pytest.fixture(scope="module")
def network() -> ImageTransformer:
    """A network in float64 in which every norm scales and shifts in its own way."""
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=2).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@torch.no_grad()
def in_one_pass(network: ImageTransformer, picture: Image.Image) -> Tensor:
    levels = torch.from_numpy(with_grain(np.array(picture))).permute(2, 0, 1).unsqueeze(0)
    dtype = network.to_rgb.weight.dtype
    return network(levels.to(dtype) / 255)


def in_bands(
    network: ImageTransformer, picture: Image.Image, rows: int | None, scratch: Path | None = None
) -> Tensor:
    bands = stylized_bands(network, picture, CPU, torch.float64, torch.float64, rows, scratch)
    return torch.cat(list(bands), dim=2)


@pytest.mark.parametrize("rows", [1, 3, 8, 1000, None])
@pytest.mark.parametrize(
    "size", [(16, 16), (17, 31), (33, 18), (19, 37), (50, 41), (34, 60)], ids=str
)
def test_bands_are_one_pass(
    network: ImageTransformer, size: tuple[int, int], rows: int | None
) -> None:
    expected = in_one_pass(network, noise(*size))
    assert expected.std() > 0.02
    torch.testing.assert_close(in_bands(network, noise(*size), rows), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("size", [(17, 1501), (1501, 17)], ids=str)
def test_long_thin_pictures(network: ImageTransformer, size: tuple[int, int]) -> None:
    expected = in_one_pass(network, noise(*size))
    torch.testing.assert_close(in_bands(network, noise(*size), 16), expected, rtol=0, atol=1e-11)


def test_a_network_without_residual_blocks() -> None:
    network = ImageTransformer((4, 4, 8), residual_blocks=0).double()
    expected = in_one_pass(network, noise(21, 35))
    torch.testing.assert_close(in_bands(network, noise(21, 35), 7), expected, rtol=0, atol=1e-11)


def test_layers_on_a_disk(network: ImageTransformer, tmp_path: Path) -> None:
    expected = in_bands(network, noise(43, 37), 5)
    assert torch.equal(in_bands(network, noise(43, 37), 5, tmp_path), expected)
    assert not list(tmp_path.iterdir())


def test_nothing_stays_on_the_disk_after_an_error(
    network: ImageTransformer, tmp_path: Path
) -> None:
    def interrupt(done: float, total: float) -> None:
        if done > total / 2:  # while the layers are in use
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize_in_bands(network, noise(40, 40), CPU, FLOAT32, FLOAT32, 4, tmp_path, interrupt)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_used(network: ImageTransformer, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(UserError, match="missing cannot hold a temporary file"):
        in_bands(network, noise(40, 40), 4, missing)


def test_progress_goes_to_its_end(network: ImageTransformer) -> None:
    told: list[tuple[float, float]] = []
    picture = noise(20, 38)
    stylize_in_bands(
        network, picture, CPU, FLOAT32, FLOAT32, 5, progress=lambda *now: told.append(now)
    )
    done = [now for now, _ in told]
    assert done == sorted(done)
    assert done[0] < told[0][1] / 20
    assert done[-1] == pytest.approx(told[-1][1])
    assert len({total for _, total in told}) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_statistics_far_from_zero(dtype: torch.dtype) -> None:
    """A plain sum of squares in float32 loses a variance of 1 beside a mean of 1000."""
    values = torch.randn(1, 3, 500, 40, generator=torch.Generator().manual_seed(0)).double()
    values = (values + torch.tensor([1000.0, -1000.0, 0.0]).view(1, 3, 1, 1)).to(dtype)
    norm = BandNorm(InstanceNorm(3), CPU, dtype)
    for _ in norm.measured(iter(values.split(7, dim=2))):
        pass
    exact = values.double()
    torch.testing.assert_close(norm.mean.double(), exact.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    variance = exact.var((0, 2, 3), correction=0)
    torch.testing.assert_close(norm.variance.double(), variance, rtol=1e-5, atol=0)


@pytest.mark.parametrize("rows", [1, 7, 16, 1000])
@pytest.mark.parametrize("size", [(16, 16), (31, 300)], ids=str)
@pytest.mark.parametrize("bare", [False, True])
def test_a_photo_that_is_kept_on_a_gpu_has_the_same_bands(
    size: tuple[int, int], rows: int, bare: bool
) -> None:
    picture = noise(*size)
    plan = plan_network(bare=bare)
    found = _levels_on(CPU, picture, rows, plan)
    assert found is not None
    assert torch.equal(found, torch.cat(list(_levels(picture, rows, CPU, plan)), dim=2))


def test_channels_that_are_added_for_cuda_change_nothing(network: ImageTransformer) -> None:
    first = network.plan.encoder[0]
    bands = list(_levels(noise(30, 40), 16, CPU, network.plan))

    def convolved(inputs: int) -> Tensor:
        given = (_as_input(band, torch.float64, inputs, MARGIN) for band in bands)
        conv = convolution_in_bands(network, first, CPU, torch.float64, inputs)
        return torch.cat(list(conv(given)), dim=2)

    torch.testing.assert_close(convolved(TENSOR_CORE_CHANNELS), convolved(3), rtol=1e-12, atol=1e-9)


@torch.no_grad()
def test_bands_on_a_gpu_wait_for_nothing(dispatched: Dispatched) -> None:
    """Run on fake CUDA tensors. They have no values, so waiting for one would fail."""
    network = ImageTransformer((4, 8, 8), residual_blocks=1)
    cuda, told = torch.device("cuda"), []

    def note(done: float, total: float) -> None:
        told.append((done / total, len(dispatched.moves)))

    with FakeTensorMode(allow_non_fake_inputs=True):
        network.to(cuda)
        with dispatched:
            bands = stylized_bands(
                network, noise(40, 90), cuda, BFLOAT16, BFLOAT16, 40, progress=note
            )
            heights = [band.shape[2] for band in bands if band.device.type == "cuda"]
    assert sum(heights) == 90
    assert told[-1][0] == pytest.approx(1)
    # The photo moves to the device in strips, and a few numbers with it, before the first band.
    assert {moves for _, moves in told} == {len(dispatched.moves)}
    assert len([move for move in dispatched.moves if "40, 3)" in move]) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [24, 100, None])
def test_bands_on_a_gpu_are_one_pass(rows: int | None) -> None:
    network = load_style("starry-night").network
    photo = resize_picture(open_picture(find_pictures(PHOTOS)[0]), 403)
    expected = in_one_pass(network, photo)
    cuda = torch.device("cuda")
    for dtype, least in ((BFLOAT16, 45), (FLOAT32, 50)):
        stylized = stylize_in_bands(network, photo, cuda, dtype, BFLOAT16, rows)
        assert psnr(stylized, expected) > least


def psnr(a: Image.Image, b: Tensor) -> float:
    return -10 * torch.log10((to_tensor(a) - b[0]).square().mean()).item()


@pytest.mark.parametrize(
    ("dtype", "kept_in", "least"),
    [(FLOAT32, FLOAT32, 55), (FLOAT32, BFLOAT16, 55), (BFLOAT16, BFLOAT16, 40)],
)
def test_a_photo_by_a_shipped_style(dtype: torch.dtype, kept_in: torch.dtype, least: float) -> None:
    """Rounding to 8 bits leaves 55 dB."""
    photo = resize_picture(open_picture(find_pictures(PHOTOS)[0]), 203)
    network = load_style("starry-night").network
    stylized = stylize_in_bands(network, photo, CPU, dtype, kept_in, 24)
    assert stylized.size == photo.size
    assert psnr(stylized, in_one_pass(network, photo)) > least


@pytest.fixture
def tiny(network: ImageTransformer, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_style(TrainedStyle(network, "tiny"), path)
    return path


@pytest.fixture
def stylizer(tiny: Path) -> Stylizer:
    return Stylizer(tiny, "cpu", "float32")


def have_free(monkeypatch: pytest.MonkeyPatch, available: int) -> None:
    memory = psutil.virtual_memory()._replace(available=available)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


@pytest.mark.parametrize(("precision", "kept_in"), [("float32", FLOAT32), ("auto", BFLOAT16)])
def test_what_is_too_large_for_one_pass_goes_in_bands(
    precision: str,
    kept_in: torch.dtype,
    tiny: Path,
    stylizer: Stylizer,
    network: ImageTransformer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    picture = resize_picture(open_picture(find_pictures(PHOTOS)[0]), 160)
    expected = stylizer(picture)
    assert not caplog.records
    stylizer = Stylizer(tiny, "cpu", precision)
    layers = 2 * layer_bytes(network, *picture.size, kept_in)
    stylizer_needs = picture.width * picture.height * 4 * BYTES_PER_VALUE
    monkeypatch.setattr("fast_style.stylizing.engines.BYTES_IN_BANDS", 0)
    assert layers < stylizer_needs
    have_free(monkeypatch, layers)
    stylized = stylizer(picture)
    assert psnr(stylized, to_tensor(expected).unsqueeze(0)) > (55 if precision == "float32" else 40)
    assert "done in bands" in caplog.text
    have_free(monkeypatch, layers - 1)
    with pytest.raises(UserError, match=r"memory, even in bands, .*--size.*--scratch"):
        stylizer(picture)


@pytest.fixture
def stylizer_as_on_a_gpu(tiny: Path) -> Stylizer:
    """A stylizer that takes the GPU's way, on the CPU."""
    stylizer = Stylizer(tiny, "cpu", "float32")
    one_pass = OnePass(load_style(tiny).network, CPU, FLOAT32)
    stylizer._one_pass = TorchEngine(one_pass, graphs=None)
    return stylizer


def test_a_gpu_that_runs_out_of_memory_goes_on_in_bands(
    stylizer_as_on_a_gpu: Stylizer, stylizer: Stylizer, caplog: pytest.LogCaptureFixture
) -> None:
    picture = noise(60, 40)
    expected = stylizer(picture)

    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError  # as CUDA does

    stylizer = stylizer_as_on_a_gpu
    assert isinstance(stylizer._one_pass, TorchEngine)
    handle = stylizer._one_pass.one_pass.network.register_forward_pre_hook(out_of_memory)
    assert psnr(stylizer(picture), to_tensor(expected).unsqueeze(0)) > 55
    assert "done in bands" in caplog.text
    with pytest.raises(UserError, match="memory of cpu"):
        stylizer(to_tensor(picture).unsqueeze(0))
    caplog.clear()
    handle.remove()
    assert psnr(stylizer(picture), to_tensor(expected).unsqueeze(0)) > 40
    assert not caplog.records


def test_a_picture_of_more_values_than_cuda_counts_goes_in_bands(
    stylizer_as_on_a_gpu: Stylizer,
    stylizer: Stylizer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    picture = noise(60, 40)
    monkeypatch.setattr("fast_style.stylizing.onepass.MAX_VALUES", 4 * (60 + 26) * (40 + 26))
    stylizer_as_on_a_gpu(picture)
    assert not caplog.records
    monkeypatch.setattr("fast_style.stylizing.onepass.MAX_VALUES", 4 * (60 + 26) * (40 + 26) - 1)
    stylized = stylizer_as_on_a_gpu(picture)
    assert psnr(stylized, to_tensor(stylizer(picture)).unsqueeze(0)) > 40
    assert "done in bands" in caplog.text


def test_the_disk_is_used_where_memory_is_short(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stylizer = Stylizer(tiny, "cpu", "float32", scratch=tmp_path)
    picture = noise(64, 48)
    have_free(monkeypatch, BYTES_IN_BANDS + 4 * 64 * 48)
    assert stylizer(picture).size == (64, 48)
