"""Photos of 16 bits: painted from floats, finished in floats, written with 16 bits."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from command_line import files, refused, run
from numpy.typing import NDArray
from PIL import Image

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import read_style
from fast_style.errors import UserError
from fast_style.images import open_picture, resize_picture
from fast_style.images.grain import with_grain
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.masks import blurred
from fast_style.stylizing.onepass import TorchEngine

TOP = 65535


def sky(height: int = 48, width: int = 64) -> NDArray[np.float32]:
    """A smooth sky of few levels in 8 bits and of thousands in 16."""
    ramp = np.linspace(0.4, 0.5, height * width).reshape(height, width)
    return np.stack([ramp, ramp + 0.1, ramp + 0.3], axis=-1).astype(np.float32)


def opencv(path: Path) -> NDArray[Any]:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found[..., [2, 1, 0, 3][: found.shape[2]]]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    levels = np.rint(sky() * TOP).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "sky.png"), levels[..., ::-1])
    return tmp_path / "sky.png"


# --- arrays ---


def test_an_array_is_painted_in_float32(style: Path) -> None:
    given = sky()
    painted = Stylizer(str(style), "cpu")(given)
    assert (painted.dtype, painted.shape) == (np.float32, given.shape)
    network = read_style(str(style)).at_strength(1).network()
    assert isinstance(network, ImageTransformer)
    photo = torch.from_numpy(with_grain(given * np.float32(255)) / 255)
    with torch.no_grad():
        expected = network(photo.permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(painted - expected).max() < 1e-4
    assert len(np.unique(painted[..., 0])) > 1000
    assert np.array_equal(given, sky())


def test_bands_and_gpus_keep_the_bits_of_an_array(style: Path) -> None:
    given = sky()
    whole = Stylizer(str(style), "cpu")(given)
    banded = Stylizer(str(style), "cpu", band_rows=16)(given)
    network = read_style(str(style)).at_strength(1).network()
    engine = TorchEngine.on(torch.device("cpu"), network, exactly=False)
    begun = engine.start(given)
    assert begun is not None
    for painted in (banded, begun()):
        assert isinstance(painted, np.ndarray)
        assert painted.dtype == np.float32
        assert np.abs(painted - whole).max() < 1e-4


def test_a_gpu_that_multiplies_bf16_paints_arrays_in_float32(style: Path) -> None:
    from fast_style.stylizing.onepass import OnePass

    given, cpu = sky(), torch.device("cpu")
    network = read_style(str(style)).at_strength(1).network()
    exact = OnePass(read_style(str(style)).at_strength(1).network(), cpu, torch.float32)
    engine = TorchEngine(OnePass(network, cpu, torch.bfloat16), None, lambda: exact)
    begun = engine.start(given)
    assert begun is not None
    painted = begun()
    assert isinstance(painted, np.ndarray)
    assert np.abs(painted - Stylizer(str(style), "cpu")(given)).max() < 1e-4


def test_finishing_an_array_rounds_nothing(style: Path) -> None:
    given = sky()
    assert np.abs(Stylizer("wave", "cpu", strength=0)(given) - given).max() < 1e-6
    black = Image.new("L", (64, 48))
    assert np.array_equal(Stylizer(str(style), "cpu", mask=black)(given), given)
    feathered = Image.new("L", (64, 48))
    feathered.paste(255, (0, 0, 32, 48))
    options: dict[str, Any] = {
        "mask": feathered, "feather": 12, "stroke": 2, "preserve_color": "luminance",
        "strength": 0.7,
    }  # fmt: skip
    painted = Stylizer("wave", "cpu", "float32", **options)(given)
    assert len(np.unique(painted)) > 5000


def test_an_array_is_finished_as_a_picture_is() -> None:
    picture = resize_picture(open_picture(PHOTOS / "chelsea.jpg"), 64)
    mask = Image.new("L", picture.size)
    mask.paste(255, (0, 0, 32, 48))
    options: dict[str, Any] = {"mask": mask, "feather": 6, "stroke": 2, "strength": 0.7}
    stylize = Stylizer("wave", "cpu", "float32", preserve_color="luminance", **options)
    rounded = np.asarray(stylize(picture)) / 255
    assert np.abs(stylize(np.asarray(picture) / 255) - rounded).max() < 0.03


def test_a_mask_is_blurred_as_opencv_blurs() -> None:
    mask = np.kron(np.random.default_rng(0).integers(0, 2, (6, 9)), np.ones((40, 40)))
    mask = mask.astype(np.float32)
    for deviation in (0.5, 2.0, 12.0):
        ours = blurred(mask, deviation)
        theirs = cv2.GaussianBlur(mask, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)
        assert np.abs(ours - theirs).max() < 0.02
    assert np.abs(blurred(mask, 5000.0) - mask.mean()).max() < 0.3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((32, 32), np.float32), "float array"),
        (np.zeros((32, 32, 3), np.uint8), "float array"),
        (np.full((32, 32, 3), 200.0), "in \\[0, 1\\]"),
        (np.full((32, 32, 3), np.nan), "in \\[0, 1\\]"),
    ],
)
def test_other_arrays_are_refused(style: Path, given: NDArray[Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Stylizer(str(style), "cpu")(given)
    with pytest.raises(UserError, match="at least 16"):
        Stylizer(str(style), "cpu")(sky(8, 20))


# --- files ---


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_stay_16_bits(tmp_path: Path, style: Path, photo: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    assert run("stylize", photo, "--style", style, "-o", out).exit_code == 0
    painted = opencv(out)
    assert painted.dtype == np.uint16
    assert len(np.unique(painted[..., 0])) > 1000
    expected = Stylizer(str(style), "cpu")(np.rint(sky() * TOP).astype(np.float32) / TOP)
    assert np.abs(painted - expected * TOP).max() <= 1


def test_the_photo_itself_survives(tmp_path: Path, photo: Path) -> None:
    out = tmp_path / "out.png"
    assert run("stylize", photo, "--style", "wave", "--strength", "0", "-o", out).exit_code == 0
    assert np.abs(opencv(out).astype(int) - np.rint(sky() * TOP)).max() <= 1


def test_transparency_survives(tmp_path: Path, style: Path) -> None:
    levels = np.random.default_rng(0).integers(0, TOP + 1, (32, 40, 4)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "p.tif"), levels)
    assert run("stylize", tmp_path / "p.tif", "--style", style, "-o", tmp_path / "o").exit_code == 0
    painted = opencv(tmp_path / "o" / "p.tif")
    assert painted.dtype == np.uint16
    assert np.array_equal(painted[..., 3], levels[..., 3])


def test_depth(tmp_path: Path, style: Path, photo: Path) -> None:
    Image.fromarray(np.rint(sky() * 255).astype(np.uint8)).save(tmp_path / "eight.jpg")
    out = tmp_path / "out"
    command = ("stylize", "--style", style, "-o", out)
    assert run(*command, photo, "--depth", "8").exit_code == 0
    assert opencv(out / "sky.png").dtype == np.uint8
    assert run(*command, photo, "--format", "jpg").exit_code == 0
    assert opencv(out / "sky.jpg").dtype == np.uint8
    smooth = run(*command, tmp_path / "eight.jpg", "--depth", "16", "--format", "png")
    assert smooth.exit_code == 0
    assert opencv(out / "eight.png").dtype == np.uint16
    assert len(np.unique(opencv(out / "eight.png")[..., 0])) > 1000
    refused(
        run(*command, tmp_path / "eight.jpg", "--depth", "16"), "eight.jpg", "--format png", ".png"
    )
    assert files(out) == ["eight.png", "sky.jpg", "sky.png"]


def without_the_extra(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command where pyvips is not installed."""
    hidden = (
        "import sys; sys.modules['pyvips'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'pyvips' else find(name, *rest)\n"
        "from fast_style.cli import main; main()"
    )
    command = [sys.executable, "-c", hidden, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_where_the_extra_is_missing(tmp_path: Path, style: Path, photo: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(photo.read_bytes())
    out = tmp_path / "out"
    result = without_the_extra("stylize", tmp_path / "in", "--style", style, "-o", out)
    assert result.returncode == 0, result.stderr
    (sentence,) = result.stderr.splitlines()
    assert "16 bits become 8 bits" in sentence
    assert "--extra deep" in sentence or "fast-style[deep]" in sentence
    assert opencv(out / "a.png").dtype == np.uint8
    result = without_the_extra("stylize", photo, "--style", style, "-o", out, "--depth", "16")
    assert result.returncode == 2
    (sentence,) = result.stderr.splitlines()
    assert "deep" in sentence


def test_is_imported_only_for_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.rint(sky() * 255).astype(np.uint8)).save(tmp_path / "p.png")
    program = (
        "import sys; from pathlib import Path; from fast_style.images import open_photo; "
        "open_photo(Path(sys.argv[1]), deep=True); print('pyvips' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "p.png")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"
