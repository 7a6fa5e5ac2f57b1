"""Strokes that move with the scene: on motion that is known, and in whole films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from film_making import make_film, pixels_of
from numpy.typing import NDArray

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.film import FilmOptions, FilmProgress, stylize_film
from fast_style.film.encoding import FRAMES_OF_PART
from fast_style.film.smoothing import Smoother, find_motion, grid, warped
from fast_style.images import open_picture

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return np.asarray(open_picture(PHOTOS / "coffee.jpg"))[:200, :260]


def shifted(photo: Pixels, x: int, y: int) -> Pixels:
    """A camera's view that moved right and down."""
    return np.ascontiguousarray(photo[y : y + 120, x : x + 160])


def test_known_motion_is_found(photo: Pixels) -> None:
    motion = find_motion(shifted(photo, 20, 20), shifted(photo, 25, 23))
    inner = (slice(15, -15), slice(15, -15))
    error = np.abs(motion.source - grid(160, 120) - (5, 3))[inner]
    assert np.median(error) < 0.3
    assert motion.certainty[inner].mean() > 0.8
    assert motion.certainty[:, -3:].max() < 0.1  # was beyond the edge


def test_what_was_hidden_is_not_certain(photo: Pixels) -> None:
    before, now = (shifted(photo, 20, 20).copy() for _ in range(2))
    before[30:70, 40:80] = (200, 30, 30)
    now[30:70, 70:110] = (200, 30, 30)
    uncovered = find_motion(before, now).certainty[35:65, 44:64]
    assert uncovered.mean() < 0.3


def test_another_scene_is_not_certain(photo: Pixels) -> None:
    other = np.asarray(open_picture(PHOTOS / "chelsea.jpg"))[:120, :160]
    assert find_motion(shifted(photo, 0, 0), other).certainty.mean() < 0.25


def test_noise_on_a_still_scene_is_smoothed(photo: Pixels) -> None:
    rng = np.random.default_rng(0)
    scene = shifted(photo, 20, 20)

    def noisy(sigma: float) -> Pixels:
        return np.clip(scene + rng.normal(0, sigma, scene.shape), 0, 255).astype(np.uint8)

    views = [noisy(2) for _ in range(12)]
    painted = [noisy(15) for _ in range(12)]  # as of a network that flickers
    smooth = Smoother()
    smoothed = [smooth(painted[0], None)]
    for before, now, frame in zip(views, views[1:], painted[1:], strict=False):
        smoothed.append(smooth(frame, find_motion(before, now)))

    def flicker(frames: list[Pixels]) -> float:
        return float(np.abs(np.diff(np.array(frames[6:], float), axis=0)).mean())

    assert flicker(smoothed) < 0.4 * flicker(painted)
    assert np.abs(smoothed[-1] - scene.astype(float)).mean() < 7


def test_warping_by_whole_pixels_is_exact(photo: Pixels) -> None:
    view = shifted(photo, 20, 20)
    assert (warped(view, grid(160, 120)) == view).all()
    source = grid(160, 120) + np.array([4, 2], np.float32)
    assert (warped(view, source)[:-2, :-4] == view[2:, 4:]).all()


@pytest.mark.parametrize("suffix", [".mkv", ".gif"])
def test_smooth_films_flicker_less(tmp_path: Path, stylizer: Stylizer, suffix: str) -> None:
    film = make_film(tmp_path / "a.mp4", frames=16, options={"crf": "30"})
    flicker = {}
    for smooth in (False, True):
        target = tmp_path / f"{smooth}{suffix}"
        codec = "ffv1" if suffix == ".mkv" else None
        stylize_film(film, target, stylizer, FilmOptions(codec=codec, smooth=smooth))
        frames = np.array(pixels_of(target), float)
        assert len(frames) == 16
        flicker[smooth] = np.abs(np.diff(frames[:, 20:], axis=0)).mean()  # below what moves
    assert flicker[True] < 0.7 * flicker[False]


def test_smooth_films_resume_as_if_they_had_not_stopped(tmp_path: Path, stylizer: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", size=(32, 32), frames=FRAMES_OF_PART + 20)
    options = FilmOptions(codec="ffv1", smooth=True)

    def stop(progress: FilmProgress) -> Any:
        if progress.done == FRAMES_OF_PART + 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize_film(film, tmp_path / "b.mkv", stylizer, options, stop)
    stylize_film(film, tmp_path / "b.mkv", stylizer, replace(options, resume=True))
    stylize_film(film, tmp_path / "c.mkv", stylizer, options)
    resumed, in_one_go = (np.array(pixels_of(tmp_path / name)) for name in ("b.mkv", "c.mkv"))
    assert (resumed == in_one_go).all()
