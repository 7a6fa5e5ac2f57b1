"""A grain that gives networks something to paint on, and that nobody notices."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fast_style import Stylizer
from fast_style.checkpoint import shipped_styles, small_styles
from fast_style.images.grain import grain, tensor_grain, tiles_on, with_grain


def test_three_values_are_equally_frequent() -> None:
    values, counts = np.unique(grain(0, 600, 600), return_counts=True)
    assert values.tolist() == [-1, 0, 1]
    assert abs(counts / 360_000 - 1 / 3).max() < 0.01


def test_any_rows_are_those_of_the_whole() -> None:
    np.testing.assert_array_equal(grain(250, 700, 40), grain(0, 700, 40)[250:])


@pytest.mark.parametrize(
    ("top", "bottom", "width"), [(0, 1, 1), (0, 600, 700), (250, 700, 40), (263, 264, 269)]
)
def test_tensors_have_the_same(top: int, bottom: int, width: int) -> None:
    found = tensor_grain(tiles_on(torch.device("cpu")), top, bottom, width)
    assert found.dtype == torch.int8
    np.testing.assert_array_equal(found.numpy(), grain(top, bottom, width))


def test_it_does_not_repeat() -> None:
    whole = grain(0, 1100, 1100).astype(float)
    spectrum = np.fft.rfft2(whole)
    correlation = np.fft.irfft2(abs(spectrum) ** 2, s=whole.shape)
    correlation /= correlation[0, 0]
    correlation[0, 0] = 0
    assert abs(correlation).max() < 0.03


def test_levels_stay_levels() -> None:
    for level in (0, 128, 255):
        grained = with_grain(np.full((50, 60, 3), level, np.uint8))
        difference = grained.astype(int) - level
        assert abs(difference).max() == 1
        assert (difference == difference[..., :1]).all()  # brightness changes, colour does not


@pytest.mark.parametrize("style", [*shipped_styles(), *small_styles()])
def test_what_has_no_texture_is_painted(style: str) -> None:
    drawing = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(drawing).ellipse((10, 10, 60, 60), outline="black", width=3)
    paper = np.asarray(Stylizer(style)(drawing), float)[140:190, 140:190]
    assert paper.std((0, 1)).max() > (4 if style.startswith("small/") else 5)
