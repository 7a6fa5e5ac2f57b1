"""The stylizer paints what the trained network paints, whatever kind of picture it gets."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import Tensor

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, find_style, load_style, save_style
from fast_style.devices import available_memory, computes_in_bf16, find_device
from fast_style.errors import UserError
from fast_style.images import (
    find_pictures,
    open_picture,
    resize_picture,
    to_picture,
    to_tensor,
)
from fast_style.images.grain import grain
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing import engines
from fast_style.stylizing.engines import BYTES_PER_VALUE


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network whose output fills the whole range."""
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=1)
    with torch.no_grad():
        network.to_rgb.weight.mul_(4)
    path = tmp_path_factory.mktemp("style") / "tiny.safetensors"
    save_style(TrainedStyle(network, "tiny"), path)
    return path


@pytest.fixture(scope="module")
def stylize(style: Path) -> Stylizer:
    """A stylizer in float32, which gives the same on any machine."""
    return Stylizer(style, "cpu", precision="float32")


def photos(count: int = 1, height: int = 33, width: int = 46) -> Tensor:
    """Random tensors, smooth as photos are."""
    coarse = torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def bundled_photos() -> Tensor:
    """Crops of the bundled photos, ``(N, 3, 96, 128)``."""
    pictures = [resize_picture(open_picture(path), 192) for path in find_pictures(PHOTOS)]
    return torch.stack([to_tensor(picture.crop((0, 0, 128, 96))) for picture in pictures])


@torch.no_grad()
def in_float32(style: Path, photos: Tensor) -> Tensor:
    return load_style(style).network(grained(photos))


def grained(photos: Tensor) -> Tensor:
    return (photos + torch.from_numpy(grain(0, *photos.shape[-2:])) / 255).clamp(0, 1)


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1]."""
    return -10 * torch.log10((a - b).square().mean()).item()


def test_a_picture_is_stylized_by_the_network(stylize: Stylizer, style: Path) -> None:
    pixels = (photos()[0] * 255).round().to(torch.uint8)
    stylized = stylize(Image.fromarray(pixels.permute(1, 2, 0).numpy()))
    assert stylized.mode == "RGB"
    expected = in_float32(style, pixels.unsqueeze(0) / 255)[0].permute(1, 2, 0) * 255
    assert expected.std() > 30  # a picture, not grey
    assert np.abs(np.asarray(stylized, dtype=float) - expected.numpy()).max() <= 0.51


def test_what_is_written_is_named(style: Path) -> None:
    assert Stylizer(style).name == "tiny"
    assert Stylizer(str(style)).name == "tiny"


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "CMYK"])
def test_any_mode_becomes_rgb_of_the_same_size(stylize: Stylizer, mode: str) -> None:
    picture = Image.effect_noise((37, 21), 90).convert("RGB").convert(mode)
    before = picture.tobytes()
    stylized = stylize(picture)
    assert (stylized.mode, stylized.size) == ("RGB", (37, 21))
    assert np.asarray(stylized).std() > 5
    assert (picture.mode, picture.tobytes()) == (mode, before)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK"])
def test_modes_of_the_same_colours_give_the_same(stylize: Stylizer, mode: str) -> None:
    grey = Image.linear_gradient("L").resize((40, 32))
    other = grey.convert("RGB").convert(mode) if mode == "CMYK" else grey.convert(mode)
    assert stylize(other).tobytes() == stylize(grey.convert("RGB")).tobytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_keep_dtype_and_shape(stylize: Stylizer, style: Path, dtype: torch.dtype) -> None:
    stylized = stylize(photos(2).to(dtype))
    assert (stylized.dtype, stylized.shape) == (dtype, (2, 3, 33, 46))
    assert stylized.min() >= 0
    assert stylized.max() <= 1
    expected = in_float32(style, photos(2).to(dtype).float())
    tolerance = max(3e-6, torch.finfo(dtype).eps)
    torch.testing.assert_close(stylized, expected.to(dtype), rtol=0, atol=tolerance)


def test_a_batch_is_its_pictures(stylize: Stylizer) -> None:
    batch = photos(3)
    singles = torch.cat([stylize(photo.unsqueeze(0)) for photo in batch])
    torch.testing.assert_close(stylize(batch), singles, rtol=0, atol=1e-5)
    assert (singles[0] - singles[1]).abs().mean() > 0.01  # the pictures do differ


def test_the_same_picture_gives_the_same(stylize: Stylizer) -> None:
    assert torch.equal(stylize(photos()), stylize(photos()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_tensors_are_not_modified(stylize: Stylizer, dtype: torch.dtype) -> None:
    given = photos().to(dtype)
    before = given.clone()
    stylize(given)
    assert torch.equal(given, before)


def test_tensors_of_any_memory_layout(stylize: Stylizer) -> None:
    expected = stylize(photos())
    for given in (
        photos().contiguous(memory_format=torch.channels_last),
        photos().transpose(2, 3).contiguous().transpose(2, 3),
        photos().requires_grad_(),
    ):
        torch.testing.assert_close(stylize(given), expected, rtol=0, atol=1e-5)


def test_stylized_tensors_are_ordinary_ones(stylize: Stylizer) -> None:
    stylized = stylize(photos())
    assert not stylized.requires_grad
    stylized.mul_(255)
    scale = torch.ones(1, requires_grad=True)
    (stylized * scale).sum().backward()  # inference tensors would refuse
    assert scale.grad is not None


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(1, 3, 32, 32, dtype=torch.int64),
        torch.zeros(3, 32, 32),
        torch.zeros(1, 1, 32, 32),
        torch.zeros(1, 4, 32, 32),
        torch.zeros(1, 32, 32, 3),
    ],
    ids=lambda wrong: f"{wrong.dtype}-{tuple(wrong.shape)}",
)
def test_other_tensors_are_refused(stylize: Stylizer, wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"float tensor \(N, 3, H, W\)"):
        stylize(wrong)


@pytest.mark.parametrize(
    ("values", "told"),
    [([-1.0, 1.0], "-1 to 1"), ([0.0, 255.0], "0 to 255"), ([0.5, float("nan")], "nan to nan"),
     ([0.0, float("inf")], "0 to inf")],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_other_values_are_refused(
    stylize: Stylizer, values: list[float], told: str, dtype: torch.dtype
) -> None:
    given = torch.tensor(values, dtype=dtype).repeat(3 * 32 * 16).view(1, 3, 32, 32)
    with pytest.raises(ValueError, match=rf"expected values in \[0, 1\], got {told}"):
        stylize(given)


def test_values_a_rounding_error_outside_are_accepted(stylize: Stylizer) -> None:
    given = photos()
    given[0, 0, 0, :2] = torch.tensor([-1e-6, 1 + 1e-6])
    assert stylize(given).isfinite().all()


@pytest.mark.parametrize(
    ("given", "told"),
    [("photo.jpg", r"the path 'photo\.jpg': open it with PIL\.Image\.open"),
     (Path("photo.jpg"), r"the path 'photo\.jpg'"), ([[[0.5] * 3] * 32] * 32, "a list"),
     (None, "a NoneType")],
)  # fmt: skip
def test_other_things_than_pictures_are_refused(
    stylize: Stylizer, given: object, told: str
) -> None:
    with pytest.raises(
        TypeError, match=f"expected a picture of PIL's, an array or a tensor, got {told}"
    ):
        stylize(given)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=f"expected a picture of PIL's or an array, got {told}"):
        stylize.begin(given)  # type: ignore[call-overload]


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1)])
def test_tiny_pictures_are_refused(stylize: Stylizer, size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=rf"{size[0]} x {size[1]} px .*at least 16"):
        stylize(Image.new("RGB", size))
    with pytest.raises(UserError, match="at least 16"):
        stylize(torch.zeros(1, 3, *size))


def test_the_smallest_picture(stylize: Stylizer) -> None:
    assert stylize(Image.new("RGB", (16, 16))).size == (16, 16)


@pytest.mark.parametrize("shipped", ["starry-night", "wave"])
def test_what_the_machine_chooses_is_nearly_float32(shipped: str) -> None:
    stylizer = Stylizer(shipped, "cpu")
    expected = "bfloat16" if computes_in_bf16(torch.device("cpu")) else "float32"
    assert stylizer.precision == expected
    given = to_tensor(resize_picture(open_picture(find_pictures(PHOTOS)[0]), 320)).unsqueeze(0)
    reference = in_float32(find_style(shipped), given)
    assert reference.std() > 0.1  # a picture, not grey
    assert 40 < psnr(stylizer(given), reference) < (100 if expected == "bfloat16" else 200)


def test_sizes_may_come_in_any_order(stylize: Stylizer, style: Path) -> None:
    for side in (20, 33, 20, 47, 50, 61, 33, 20):
        given = photos(1, side, 46)
        expected = in_float32(style, given)
        torch.testing.assert_close(stylize(given), expected, rtol=0, atol=3e-6)
        pixels = (given[0] * 255).to(torch.uint8).permute(1, 2, 0).numpy()
        assert stylize(Image.fromarray(pixels)).size == (46, side)


def test_threads_may_share_one(stylize: Stylizer) -> None:
    given = [photos(1, 33, width) for width in (40, 41, 42, 43)]
    expected = [stylize(photo) for photo in given]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(stylize.__call__, photo) for photo in given * 4]
    for future, wanted in zip(futures, expected * 4, strict=True):
        assert torch.equal(future.result(), wanted)


def test_other_precisions_are_refused(style: Path) -> None:
    with pytest.raises(ValueError, match="float16"):
        Stylizer(style, "cpu", precision="float16")


@pytest.fixture(scope="module")
def adjustable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=1, adjustable=True)
    with torch.no_grad():
        network.to_rgb.weight.mul_(4)
        for name, parameter in network.named_parameters():
            if name.endswith("_slope"):
                parameter.normal_()
    path = tmp_path_factory.mktemp("adjustable") / "tiny.safetensors"
    save_style(TrainedStyle(network, "tiny"), path)
    return path


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_any_strength_is_what_the_network_learned_it_to_be(
    adjustable: Path, strength: float
) -> None:
    stylize = Stylizer(adjustable, "cpu", precision="float32", strength=strength)
    with torch.no_grad():
        expected = load_style(adjustable).network(grained(photos()), strength)
    # The part of the photo that shows through has no grain.
    expected += (1 - strength) * (photos() - grained(photos()))
    torch.testing.assert_close(stylize(photos()), expected, rtol=0, atol=1e-4)
    picture = to_picture(photos()[0])
    given = to_tensor(picture).unsqueeze(0)
    with torch.no_grad():
        expected = load_style(adjustable).network(grained(given), strength)
    expected += (1 - strength) * (given - grained(given))
    levels = np.asarray(stylize(picture), dtype=float)
    # The painted picture is rounded before it is laid over the photo, and again after.
    assert np.abs(levels - np.asarray(to_picture(expected[0]), dtype=float)).max() <= 1


def test_a_network_of_one_strength_is_told_so(style: Path) -> None:
    with pytest.raises(UserError, match=r"'tiny' was trained for full strength alone.*adjustable"):
        Stylizer(style, "cpu", strength=0.5)


@pytest.mark.parametrize("strength", [1.5, -0.1, float("nan")])
def test_strength_beyond_its_range(adjustable: Path, strength: float) -> None:
    with pytest.raises(ValueError, match=rf"between 0 and 1, not {strength}"):
        Stylizer(adjustable, "cpu", strength=strength)


def test_tensors_that_memory_is_short_of_are_refused(
    stylize: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = psutil.virtual_memory()._replace(available=32 * 32 * 4 * BYTES_PER_VALUE)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    stylize(torch.zeros(4, 3, 32, 32))  # just fits, since they are painted one after another
    with pytest.raises(UserError, match=r"33 x 32 px .*memory.*pictures.*bands"):
        stylize(torch.zeros(1, 3, 32, 33))


@pytest.mark.parametrize("device", ["nonsense", "", "0", "cuda:x", "meta", "hpu", "xla", "ipu"])
def test_unknown_devices_are_refused(style: Path, device: str) -> None:
    with pytest.raises(UserError, match=rf"device '{device}' .*--device auto or cpu"):
        Stylizer(style, device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_missing_gpu_is_refused(style: Path, device: str) -> None:
    with pytest.raises(UserError, match=rf"device '{device}' .*--device auto or cpu"):
        Stylizer(style, device)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(style: Path) -> None:
    stylizer = Stylizer(style)
    assert stylizer.device == "cuda"
    given = bundled_photos()
    assert psnr(stylizer(given), in_float32(style, given)) > 40
    on_gpu = stylizer(photos().cuda())
    assert on_gpu.device.type == "cuda"
    with pytest.raises(UserError, match="device 'cuda:99'"):
        find_device("cuda:99")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_is_cheap() -> None:
    heavy = "[name for name in ('torch', 'openvino', 'numpy', 'PIL') if name in sys.modules]"
    assert python(f"import fast_style, fast_style.cli, sys; print({heavy})") == "[]\n"


def test_a_cpu_stylizes_without_pytorch(style: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 32), "red").save(tmp_path / "photo.png")
    arguments = ["stylize", str(tmp_path / "photo.png"), "--style", str(style), "--device", "cpu"]
    arguments += ["-o", str(tmp_path / "stylized.png")]
    code = "import sys; from fast_style.cli import main; "
    code += f"main({arguments}, standalone_mode=False); print('torch' in sys.modules)"
    assert python(code).endswith("False\n")
    assert Image.open(tmp_path / "stylized.png").size == (40, 32)


def test_signals_can_be_handled_when_styles_are_gone(style: Path) -> None:
    """A thread that frees the last OpenVINO object also frees its own stack for signal handlers."""
    code = "import signal, threading; from PIL import Image; from fast_style import Stylizer; "
    code += "signal.signal(signal.SIGTERM, lambda *_: None); "
    code += f"styles = [Stylizer({str(style)!r}, 'cpu')]; styles[0](Image.new('RGB', (32, 32))); "
    code += "thread = threading.Thread(target=styles.clear); thread.start(); thread.join(); "
    assert python(code + "signal.raise_signal(signal.SIGTERM); print('alive')") == "alive\n"


@pytest.mark.parametrize("that_fit", [0, 1, 9])
def test_frames_are_the_same_pictures(
    style: Path, that_fit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [Image.effect_noise((48, 40), 80).convert("RGB") for _ in range(4)]
    stylize = Stylizer(style, "cpu", precision="float32")
    share = available_memory() / (that_fit + 0.5)
    monkeypatch.setattr(engines, "BYTES_PER_VALUE", int(share / (48 * 40 * 4)))  # of 4 channels
    frames = Stylizer(style, "cpu", precision="float32").for_frames()
    begun = [frames.begin(photo) for photo in photos]
    monkeypatch.undo()
    for photo, finish in zip(photos, begun, strict=True):
        expected = np.asarray(stylize(photo), dtype=int)
        assert np.abs(np.asarray(finish(), dtype=int) - expected).max() <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to this limit")
def test_bands_take_over_within_a_limit_of_the_process(style: Path) -> None:
    code = f"""
import resource
import numpy as np, psutil, torch
from PIL import Image
import fast_style.stylizing.bands
from fast_style.stylizing import engines
from fast_style import Stylizer
from fast_style.devices import available_memory

rng = np.random.default_rng(0)
photo = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((120, 90))
stylize = Stylizer({str(style)!r}, 'cpu', precision='float32')
expected = np.asarray(stylize(photo), dtype=float)
engines.BYTES_PER_VALUE = 2**16  # nearly 3 GB for this picture, as for a larger one
again = Stylizer({str(style)!r}, 'cpu', precision='float32')
limit = psutil.Process().memory_info().vms + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(np.abs(np.asarray(again(photo), dtype=float) - expected).max())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "120 x 90 px is too large for one pass: it is done in bands" in done.stderr
    assert float(done.stdout) <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, PyTorch is asked")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_linux_machine_without_gpu_is_known_without_pytorch(style: Path) -> None:
    if any(next(Path("/dev").glob(name), None) for name in ("nvidia*", "kfd", "dxg")):
        pytest.skip("there is a driver, and PyTorch is asked")
    code = f"import sys; from fast_style import Stylizer; s = Stylizer({str(style)!r}); "
    assert python(code + "print(s.device, 'torch' in sys.modules)") == "cpu False\n"


def test_what_the_package_offers() -> None:
    import fast_style

    assert fast_style.__all__ == ["Stylizer"]
    with pytest.raises(AttributeError, match="Stylist"):
        _ = fast_style.Stylist
