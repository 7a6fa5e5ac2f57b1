"""The flicker that is measured, where it is known."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from film_making import make_film

SCRIPT = Path(__file__).parent.parent / "scripts" / "measure_flicker.py"
spec = importlib.util.spec_from_file_location("measure_flicker", SCRIPT)
assert spec is not None
assert spec.loader is not None
measure_flicker = importlib.util.module_from_spec(spec)
sys.modules["measure_flicker"] = measure_flicker  # dataclasses look it up
spec.loader.exec_module(measure_flicker)


def test_a_pan_flickers_by_its_noise_alone() -> None:
    scene = measure_flicker.pan(96, 8)
    # Rounding to levels adds a twelfth to the variance of the noise.
    expected = np.sqrt(2 * (measure_flicker.NOISE**2 + 1 / 12))
    assert measure_flicker.flicker(scene.frames, scene) == pytest.approx(expected, rel=0.05)


def test_a_zoom_flickers_by_its_noise_and_where_it_is_looked_up() -> None:
    scene = measure_flicker.zoom(96, 8)
    noise = np.sqrt(2 * (measure_flicker.NOISE**2 + 1 / 12))
    assert measure_flicker.flicker(scene.frames, scene) < 1.5 * noise
    still = measure_flicker.grid(96, 72)
    unmoved = replace(scene, sources=[still] * 7)
    assert measure_flicker.flicker(scene.frames, unmoved) > 2 * noise
    assert np.mean(scene.masks) > 0.95


def test_a_swinging_exposure_is_a_film_s_own_flicker() -> None:
    scene = measure_flicker.swinging_light(96, measure_flicker.PERIOD + 1)
    means = np.array([frame.mean() for frame in scene.frames])
    assert means[0] == pytest.approx(means[-1], rel=0.01)
    assert means.max() / means.min() == pytest.approx(1.15 / 0.85, rel=0.01)
    assert measure_flicker.flicker(scene.frames, scene) > 5


def test_frames_that_are_lighter_in_turn_flicker() -> None:
    scene = measure_flicker.pan(96, 8)
    flat = [np.full_like(scene.frames[0], 100 + 10 * (number % 2)) for number in range(8)]
    assert measure_flicker.flicker(flat, scene) == pytest.approx(10)


def test_a_film_of_ones_own(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", size=(128, 96), frames=6)
    scene = measure_flicker.with_flow(film, 96, 5)
    assert len(scene.frames) == 5
    assert scene.frames[0].shape == (72, 96, 3)
    assert np.mean(scene.masks) > 0.8
    assert measure_flicker.row_over_time(scene.frames).shape == (5 * 3 + 6, 96 * 3, 3)
