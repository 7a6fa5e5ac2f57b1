from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from fast_style.data.dead_leaves import dead_leaves

SIZE = 128


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return np.stack([dead_leaves(SIZE, np.random.default_rng(seed)) for seed in range(24)])


def spectral_slope(pictures: NDArray[np.uint8]) -> float:
    """Log-log slope of the radially averaged power spectrum, from 4 to size / 3 cycles."""
    grey = pictures.mean(-1)
    size = grey.shape[1]
    window = np.hanning(size)
    grey = (grey - grey.mean((1, 2), keepdims=True)) * window * window[:, None]
    power = (np.abs(np.fft.fft2(grey)) ** 2).mean(0)
    cycles = np.fft.fftfreq(size, 1 / size)
    radius = np.rint(np.hypot(cycles, cycles[:, None])).astype(int).ravel()
    radial = np.bincount(radius, power.ravel()) / np.bincount(radius)
    band = np.arange(4, size // 3)
    return float(np.polyfit(np.log(band), np.log(radial[band] + 1e-12), 1)[0])


@pytest.mark.parametrize("size", [32, 97, 128])
def test_shape_and_type(size: int) -> None:
    picture = dead_leaves(size, np.random.default_rng(0))
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size >= 32"):
        dead_leaves(31, np.random.default_rng(0))


def test_the_generator_alone_determines_the_picture() -> None:
    first = dead_leaves(SIZE, np.random.default_rng(7))
    np.random.seed(1)  # the global state must not matter
    np.testing.assert_array_equal(first, dead_leaves(SIZE, np.random.default_rng(7)))


def test_pictures_differ_between_seeds_and_draws(pictures: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    drawn = [dead_leaves(SIZE, rng), dead_leaves(SIZE, rng), *pictures[1:]]
    for first, second in pairwise(drawn):
        assert np.abs(first.astype(float) - second).mean() > 10


def test_shapes_cover_the_canvas(pictures: NDArray[np.uint8]) -> None:
    # Every cell of a 4 x 4 grid holds edges in most pictures, and none is left black.
    cells = pictures.astype(float).mean(-1).reshape(24, 4, SIZE // 4, 4, SIZE // 4)
    assert ((cells.std((2, 4)) > 4).mean(0) > 0.8).all()
    assert (cells.mean((0, 2, 4)) > 40).all()


def test_power_falls_with_frequency_as_in_photographs(pictures: NDArray[np.uint8]) -> None:
    # Photographs give about -2.4 by this estimate; 1/f amplitude is -2, clean edges alone -3.
    assert -2.75 < spectral_slope(pictures) < -1.6

    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=pictures.shape, dtype=np.uint8)
    assert spectral_slope(noise) == pytest.approx(0, abs=0.2)
    assert spectral_slope(np.full_like(pictures, 90)) == pytest.approx(0, abs=0.2)


def test_both_flat_areas_and_sharp_detail_occur(pictures: NDArray[np.uint8]) -> None:
    step = np.abs(np.diff(pictures.astype(float).mean(-1), axis=2))
    assert (step < 4).mean() > 0.3
    assert (step > 40).mean() > 0.01


def test_colours_spread_broadly_between_pictures(pictures: NDArray[np.uint8]) -> None:
    mean = pictures.astype(float).mean((1, 2))
    assert mean.mean(1).std() > 20  # exposure
    assert (mean[:, 0] - mean[:, 2]).std() > 12  # orange against blue
    assert 70 < mean.mean() < 160


def test_channels_are_correlated_and_mostly_muted(pictures: NDArray[np.uint8]) -> None:
    pixels = pictures.astype(float).reshape(-1, 3)
    correlation = np.corrcoef(pixels.T)
    assert (correlation > 0.6).all()
    assert correlation[0, 2] < 0.98
    chroma = pixels.max(1) - pixels.min(1)
    assert np.median(chroma) < 60
    assert (chroma > 100).mean() > 0.01


def test_few_values_are_clipped(pictures: NDArray[np.uint8]) -> None:
    assert (pictures == 0).mean() < 0.1
    assert (pictures == 255).mean() < 0.1
