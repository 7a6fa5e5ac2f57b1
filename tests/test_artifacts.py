"""Each measure rises with its own artifact, put in on purpose, and with nothing else."""

import io
import math

import pytest
import torch
from PIL import Image
from torch import Tensor

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import shipped_styles, small_styles
from fast_style.evaluation import artifacts
from fast_style.images import find_pictures, open_picture, to_picture, to_tensor

SIDE = 256
AREA = (SIDE - 2 * artifacts.BORDER) ** 2  # where dots count


def grey(side: int = SIDE) -> Tensor:
    return torch.full((1, 3, side, side), 0.5)


def noise(deviation: float = 0.1, seed: int = 0, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + deviation * torch.randn(count, 3, SIDE, SIDE, generator=generator)


def places(side: int = SIDE) -> tuple[Tensor, Tensor]:
    down, across = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return down.float(), across.float()


def dot(row: float, column: float, height: float, scale: float = 3.0) -> Tensor:
    down, across = places()
    return height * torch.exp(-((down - row) ** 2 + (across - column) ** 2) / (2 * scale**2))


def strokes(period: float, angle: float, amplitude: float = 0.2) -> Tensor:
    down, across = places()
    phase = 2 * math.pi / period * (down * math.cos(angle) + across * math.sin(angle))
    return 0.5 + amplitude * torch.cos(phase).expand(1, 3, -1, -1)


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """The middles of the bundled photos."""
    squares = []
    for path in find_pictures(PHOTOS):
        photo = open_picture(path)
        left, top = (photo.width - SIDE) // 2, (photo.height - SIDE) // 2
        squares.append(to_tensor(photo.crop((left, top, left + SIDE, top + SIDE))))
    return torch.stack(squares)


# --- spots ---


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.0, 4.5, 6.0])
@pytest.mark.parametrize("height", [0.3, -0.3])
def test_each_dot_is_counted_once(scale: float, height: float) -> None:
    stylized = grey()
    for row, column in ((40, 50), (100, 200), (180.4, 90.3)):
        stylized = stylized + dot(row, column, height, scale)
    assert artifacts.spots(stylized, grey()).item() == pytest.approx(3 * 10_000 / AREA)


def test_a_dot_in_one_channel_is_a_dot() -> None:
    stylized = grey()
    stylized[:, 1] += dot(128, 128, 0.3)
    assert artifacts.dots(stylized).item() == pytest.approx(10_000 / AREA)


def test_faint_dots_are_none() -> None:
    assert artifacts.dots(grey() + dot(128, 128, 0.9 * artifacts.SPOT_CONTRAST)).item() == 0
    assert artifacts.dots(grey() + dot(128, 128, 1.1 * artifacts.SPOT_CONTRAST)).item() > 0


@pytest.mark.parametrize("period", [4.0, 7.3, 16.0, 40.0])
@pytest.mark.parametrize("angle", [0.0, 0.5, math.pi / 4, 2.0])
def test_strokes_are_no_dots(period: float, angle: float) -> None:
    assert artifacts.dots(strokes(period, angle, amplitude=0.4)).item() == 0


def test_a_fine_grid_is_no_dots() -> None:
    down, across = places()
    grid = 0.1 * torch.cos(math.pi / 2 * down) * torch.cos(math.pi / 2 * across)
    assert artifacts.dots(grey() + grid).item() == 0


def test_dots_count_where_the_photo_is_flat() -> None:
    photo = grey()
    photo[..., SIDE // 2 :] = noise()[..., SIDE // 2 :]
    on_the_wall, on_the_grass = dot(128, 50, 0.3), dot(128, 200, 0.3)
    assert artifacts.spots(grey() + on_the_grass, photo).item() == 0
    found = artifacts.spots(grey() + on_the_grass + on_the_wall, photo).item()
    assert 10_000 / AREA < found < 3 * 10_000 / AREA  # about half of the photo is flat


def test_nothing_is_said_of_a_photo_without_flat_parts() -> None:
    assert artifacts.spots(grey() + dot(128, 128, 0.3), noise()).isnan().item()


def test_each_picture_has_its_own_count() -> None:
    stylized = torch.cat([grey(), grey() + dot(128, 128, 0.3)])
    found = artifacts.spots(stylized, torch.cat([grey(), grey()]))
    assert found.tolist() == pytest.approx([0, 10_000 / AREA])


def test_dots_show_on_real_pictures(photos: Tensor) -> None:
    centres = range(20, SIDE - 16, 24)
    droplets = torch.stack([dot(row, column, 0.4) for row in centres for column in centres]).sum(0)
    brighter = photos.mean((1, 2, 3), keepdim=True) < 0.5
    before = artifacts.spots(photos, photos)
    after = artifacts.spots(torch.where(brighter, photos + droplets, photos - droplets), photos)
    flat = ~before.isnan()
    assert flat.sum() >= 2
    assert (before[flat] < 2).all()
    assert (after[flat] > 10).all()  # of 10,000 / 24**2 = 17


# --- checkerboard ---


@pytest.mark.parametrize("step", [(1, 0), (0, 1), (1, 1), (1, 3), (2, 0), (2, 2), (1, 2)])
def test_a_grid_is_measured_in_levels(step: tuple[int, int]) -> None:
    """The root mean square of the wave: 0.71 of its amplitude, or all of it at a period of 2 px."""
    down, across = places()
    wave = torch.cos(math.pi / 2 * (step[0] * down + step[1] * across))
    expected = 255 * 0.02 * wave.double().square().mean().sqrt().item()
    assert artifacts.checkerboard(grey() + 0.02 * wave, grey()).item() == pytest.approx(
        expected, 0.01
    )


@pytest.mark.parametrize("period", [3.0, 5.3, 6.0, 8.0, 16.0])
def test_other_periods_are_no_grid(period: float) -> None:
    for angle in (0.0, math.pi / 2, 0.6):
        assert artifacts.checkerboard(strokes(period, angle), grey()).item() < 0.5


def test_noise_is_no_grid() -> None:
    deviation = 0.1
    assert artifacts.checkerboard(noise(deviation), grey()).item() < 0.1 * 255 * deviation


def test_the_paintings_own_grid_is_taken_off() -> None:
    down, across = places()
    canvas = 0.03 * torch.cos(math.pi / 2 * down)
    grid = 0.04 * torch.cos(math.pi / 2 * across)
    assert artifacts.checkerboard(grey() + canvas, grey() + canvas).item() < 0.1
    found = artifacts.checkerboard(grey() + canvas + grid, grey() + canvas).item()
    assert found == pytest.approx(255 * 0.04 / math.sqrt(2), 0.01)


def test_a_grid_shows_on_real_pictures(photos: Tensor) -> None:
    down, across = places()
    grid = 0.02 * torch.cos(math.pi / 2 * down) * torch.cos(math.pi / 2 * across)
    before = artifacts.checkerboard(photos, grey())
    after = artifacts.checkerboard(photos + grid, grey())
    assert (before < 3).all()  # the lattice tower behind the rocket
    torch.testing.assert_close(
        (after**2 - before**2).sqrt(), torch.full((4,), 255 * 0.02 / 2), rtol=0.1, atol=0
    )


# --- border ---


def framed(pictures: Tensor, width: int, change: Tensor) -> Tensor:
    """``change`` within ``width`` px of the edge, ``pictures`` elsewhere."""
    inside = torch.zeros(pictures.shape[-2:], dtype=torch.bool)
    inside[width:-width, width:-width] = True
    return torch.where(inside, pictures, change)


def test_an_even_picture_has_no_border() -> None:
    found = artifacts.border(noise(count=2))
    assert found["contrast_3"] == pytest.approx(1, abs=0.02)
    assert found["contrast_16"] == pytest.approx(1, abs=0.02)
    assert found["colour_3"] < 1
    assert found["colour_16"] < 1


@pytest.mark.parametrize("width", [3, 16])
def test_a_pale_frame_shifts_the_colour(width: int) -> None:
    pictures = noise(count=2)
    found = artifacts.border(framed(pictures, width, pictures + 0.06))
    assert found[f"colour_{width}"] == pytest.approx(255 * 0.06, abs=1)
    assert found[f"contrast_{width}"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("width", [3, 16])
def test_a_dull_frame_lacks_contrast(width: int) -> None:
    pictures = noise(count=2)
    found = artifacts.border(framed(pictures, width, 0.5 + 0.4 * (pictures - 0.5)))
    assert found[f"contrast_{width}"] == pytest.approx(0.4, abs=0.02)
    assert found[f"colour_{width}"] < 1


def test_a_frame_may_be_coloured() -> None:
    blue = torch.tensor([0.0, 0.0, 0.1]).view(3, 1, 1)
    found = artifacts.border(framed(grey(), 3, grey() + blue))
    assert found["colour_3"] == pytest.approx(255 * 0.1 / math.sqrt(3), rel=1e-4)


def test_opposite_sides_that_differ_by_chance_cancel() -> None:
    slope = grey() + torch.linspace(-0.3, 0.3, SIDE)
    assert artifacts.border(slope)["colour_16"] < 0.01


def test_pictures_need_not_be_square() -> None:
    wide = noise()[..., :100, :]
    found = artifacts.border(framed(wide, 3, wide + 0.06))
    assert found["colour_3"] == pytest.approx(255 * 0.06, abs=1.5)


def test_a_frame_shows_on_real_pictures(photos: Tensor) -> None:
    before = artifacts.border(photos)
    pale = artifacts.border(framed(photos, 3, photos + 0.05))
    assert before["colour_3"] < 4
    assert pale["colour_3"] > before["colour_3"] + 8


@pytest.mark.parametrize("style", [*shipped_styles(), *small_styles()])
def test_shipped_styles_paint_to_the_edge(style: str, photos: Tensor) -> None:
    found = artifacts.border(Stylizer(style)(photos))
    assert 0.85 < found["contrast_3"] < 1.15
    assert found["colour_3"] < 8  # the pale frame above adds more


# --- change ---


def test_nothing_changed() -> None:
    assert artifacts.change(noise(), noise()).item() == 0


def test_another_picture() -> None:
    assert artifacts.change(noise(seed=0), noise(seed=1)).item() == pytest.approx(
        math.sqrt(2), 0.01
    )


def test_change_is_a_share_of_the_contrast() -> None:
    picture, again = noise(), noise() + 0.03
    assert artifacts.change(picture, again).item() == pytest.approx(0.3, 0.01)
    assert artifacts.change(picture / 2, again / 2).item() == pytest.approx(0.3, 0.01)


def test_the_border_is_measured_elsewhere() -> None:
    picture = noise()
    assert artifacts.change(picture, framed(picture, 16, picture + 0.5)).item() == 0


def test_moving_along_is_no_change() -> None:
    photo = noise()
    down, across = places()
    grid = 0.1 * torch.cos(math.pi / 2 * (down + across))

    def still(pictures: Tensor) -> Tensor:
        return 1 - pictures

    def on_a_grid(pictures: Tensor) -> Tensor:
        height, width = pictures.shape[-2:]
        return pictures + grid[:height, :width]

    for network, low, high in ((still, 0.0, 1e-6), (on_a_grid, 0.5, 1.5)):
        change = artifacts.change(
            artifacts.shift(network(photo)), network(artifacts.shift(photo))
        ).item()
        assert low <= change <= high


def test_noise_is_of_a_deviation_and_repeats() -> None:
    once = artifacts.add_noise(grey())
    assert (once - grey()).std().item() == pytest.approx(0.02, rel=0.01)
    assert torch.equal(once, artifacts.add_noise(grey()))
    assert not torch.equal(once, artifacts.add_noise(grey(), seed=1))


def test_recompressed_is_what_a_jpeg_file_holds(photos: Tensor) -> None:
    file = io.BytesIO()
    to_picture(photos[1]).save(file, "JPEG", quality=75)  # Pillow halves colours by default
    expected = to_tensor(Image.open(file))
    assert torch.equal(artifacts.recompress(photos)[1], expected)
    assert 0.002 < (expected - photos[1]).square().mean().sqrt() < 0.05
