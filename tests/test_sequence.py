"""Numbered pictures in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import run
from film_making import drawn, make_film, pixels_of, times_of
from PIL import Image

from fast_style import Stylizer
from fast_style.errors import UserError
from fast_style.film import FilmOptions, FilmProgress, stylize_film

SIZE = (64, 48)


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Numbers 8 to 12, and other files."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in range(8, 13):
        Image.fromarray(drawn(number, SIZE)).save(folder / f"shot_{number:03}.png")
    Image.new("RGB", SIZE).save(folder / "shot_final.png")
    Image.new("RGB", SIZE).save(folder / "shot_9.png")
    return folder / "shot_%03d.png"


def test_numbers_are_kept(tmp_path: Path, unchanged: Stylizer, shots: Path) -> None:
    target = tmp_path / "out" / "painted_%05d.png"
    assert stylize_film(shots, target, unchanged).frames == 5
    names = sorted(path.name for path in target.parent.iterdir())
    assert names == [f"painted_{number:05}.png" for number in range(8, 13)]
    for number in range(8, 13):
        painted = np.asarray(Image.open(target.parent / f"painted_{number:05}.png"))
        assert (painted == drawn(number, SIZE)).all()


def test_from_pictures_to_a_film(tmp_path: Path, unchanged: Stylizer, shots: Path) -> None:
    stylize_film(shots, tmp_path / "b.mp4", unchanged, FilmOptions(quality=100))
    assert [float(time) for time in times_of(tmp_path / "b.mp4")] == [0, 0.04, 0.08, 0.12, 0.16]
    for pixels, number in zip(pixels_of(tmp_path / "b.mp4"), range(8, 13), strict=True):
        assert np.abs(pixels.astype(int) - drawn(number, SIZE)).mean() < 5


def test_from_a_film_to_pictures(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", frames=12)
    assert stylize_film(film, tmp_path / "out" / "%d.png", unchanged).frames == 12
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{number}.png" for number in range(1, 13)}


@pytest.mark.parametrize("smooth", [False, True])
def test_pictures_resume(tmp_path: Path, vivid_style: Path, shots: Path, smooth: bool) -> None:
    stylizer = Stylizer(vivid_style, "cpu", precision="float32")
    target = tmp_path / "out" / "%02d.png"

    def stop(progress: FilmProgress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    options = FilmOptions(mark="a mark", smooth=smooth)
    with pytest.raises(KeyboardInterrupt):
        stylize_film(shots, target, stylizer, options, stop)
    (kept,) = (path.stat().st_mtime_ns for path in [target.parent / "08.png"])
    told: list[FilmProgress] = []
    resumed = FilmOptions(mark="a mark", smooth=smooth, resume=True)
    assert stylize_film(shots, target, stylizer, resumed, told.append).frames == 5
    assert told[0].done >= 4
    assert (target.parent / "08.png").stat().st_mtime_ns == kept
    stylize_film(shots, tmp_path / "again" / "%02d.png", stylizer, options)
    for number in range(8, 13):
        one, other = (
            np.asarray(Image.open(folder / f"{number:02}.png"))
            for folder in (target.parent, tmp_path / "again")
        )
        assert (one == other).all()


def test_what_is_no_sequence(tmp_path: Path, unchanged: Stylizer, shots: Path) -> None:
    with pytest.raises(UserError, match="names no picture"):
        stylize_film(tmp_path / "%d.png", tmp_path / "b.mp4", unchanged)
    with pytest.raises(UserError, match="would be replaced"):
        stylize_film(shots, shots, unchanged)
    with pytest.raises(UserError, match=r"%d\.gif cannot be written"):
        stylize_film(shots, tmp_path / "%d.gif", unchanged)


def test_on_the_command_line(tmp_path: Path, vivid_style: Path, shots: Path) -> None:
    for target, made in (("o_%04d.jpg", "o_0008.jpg"), ("o.mp4", "o.mp4"), ("o.gif", "o.gif")):
        result = run("stylize", shots, "--style", vivid_style, "-o", tmp_path / target)
        assert result.exit_code == 0, result.output
        assert (tmp_path / made).exists()
