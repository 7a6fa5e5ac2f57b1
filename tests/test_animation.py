"""Stylized animations, read back with Pillow: timing, loops and transparency."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from film_making import drawn, make_film, pixels_of, times_of
from PIL import Image, ImageSequence

from fast_style import Stylizer
from fast_style.errors import UserError
from fast_style.film import FilmOptions, FilmResult, moves, stylize_film

SIZE = (64, 48)


def animation(path: Path, transparent: bool = False, **options: Any) -> Path:
    """Five frames, no two alike."""
    frames = [Image.fromarray(drawn(number, SIZE)) for number in range(5)]
    if transparent:
        hole = Image.new("L", SIZE, 255)
        hole.paste(0, (20, 20, 40, 40))
        for frame in frames:
            frame.putalpha(hole)
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


def read(path: Path) -> tuple[list[float], list[np.ndarray[Any, Any]], Any]:
    """Durations in milliseconds, RGBA of the frames, and how often it is played."""
    with Image.open(path) as picture:
        times, frames = [], []
        for frame in ImageSequence.Iterator(picture):
            frames.append(np.asarray(frame.convert("RGBA")))
            times.append(frame.info["duration"])
        return times, frames, picture.info.get("loop")


TIMES = [40, 100, 40, 1000, 70]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".apng"])
@pytest.mark.parametrize("loop", [0, 3])
def test_timing_and_loop_are_kept(
    tmp_path: Path, unchanged: Stylizer, suffix: str, loop: int
) -> None:
    source = animation(tmp_path / f"a{suffix}", duration=TIMES, loop=loop)
    assert moves(source)
    made = stylize_film(source, tmp_path / f"b{suffix}", unchanged, FilmOptions(quality=95))
    assert made == FilmResult(5)
    before, after = read(source), read(tmp_path / f"b{suffix}")
    assert after[0] == before[0] == TIMES
    assert after[2] == before[2]
    assert np.abs(np.array(after[1], int) - np.array(before[1])).mean() < 8


def test_a_gif_that_is_played_once(tmp_path: Path, unchanged: Stylizer) -> None:
    source = animation(tmp_path / "a.gif", duration=TIMES)
    stylize_film(source, tmp_path / "b.gif", unchanged)
    assert read(tmp_path / "b.gif")[2] is None
    stylize_film(source, tmp_path / "b.webp", unchanged)
    assert read(tmp_path / "b.webp")[2] == 1


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_transparency_is_kept(tmp_path: Path, unchanged: Stylizer, suffix: str) -> None:
    disposal = {"disposal": 2} if suffix == ".gif" else {}
    source = animation(tmp_path / f"a{suffix}", transparent=True, duration=TIMES, **disposal)
    stylize_film(source, tmp_path / f"b{suffix}", unchanged)
    _, frames, _ = read(tmp_path / f"b{suffix}")
    for frame in frames:
        assert (frame[20:40, 20:40, 3] == 0).all()
        assert (frame[:20, :, 3] == 255).all()


def test_a_still_picture_before_the_animation(tmp_path: Path, unchanged: Stylizer) -> None:
    source = animation(tmp_path / "a.png", duration=50, default_image=True)
    stylize_film(source, tmp_path / "b.png", unchanged)
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.info["default_image"]
        assert picture.n_frames == 5  # type: ignore[attr-defined]


def test_from_animation_to_film(tmp_path: Path, unchanged: Stylizer) -> None:
    source = animation(tmp_path / "a.gif", duration=TIMES)
    stylize_film(source, tmp_path / "b.mp4", unchanged, FilmOptions(quality=100))
    assert [float(time) for time in times_of(tmp_path / "b.mp4")] == [0, 0.04, 0.14, 0.18, 1.18]
    before = np.array(read(source)[1], int)[..., :3]
    assert np.abs(before - np.array(pixels_of(tmp_path / "b.mp4"))).mean() < 8


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_from_film_to_animation(tmp_path: Path, unchanged: Stylizer, suffix: str) -> None:
    source = make_film(tmp_path / "a.mp4", frames=30)
    assert stylize_film(source, tmp_path / f"b{suffix}", unchanged).frames == 30
    times, frames, loop = read(tmp_path / f"b{suffix}")
    assert len(frames) == 30
    assert loop == 0
    assert sum(times) == pytest.approx(30 * 1001 / 30, abs=10)
    assert max(times) - min(times) <= 10


def test_a_fast_film_loses_frames_that_a_gif_would_play_slowly(
    tmp_path: Path, unchanged: Stylizer
) -> None:
    source = make_film(
        tmp_path / "a.mp4", frames=60, rate=Fraction(120), time_base=Fraction(1, 12000)
    )
    stylize_film(source, tmp_path / "b.gif", unchanged)
    times, _, _ = read(tmp_path / "b.gif")
    assert min(times) >= 20
    assert sum(times) == pytest.approx(500, abs=20)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_a_damaged_animation(tmp_path: Path, unchanged: Stylizer, suffix: str) -> None:
    source = animation(tmp_path / f"a{suffix}", duration=TIMES)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    made = stylize_film(source, tmp_path / f"b{suffix}", unchanged)
    assert 1 < made.frames < 5
    (sentence,) = made.missing
    assert sentence.startswith(f"{source} is damaged (")


def test_memory_for_all_frames(
    tmp_path: Path, unchanged: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(tmp_path / "a.mp4", size=(16, 16), frames=40)
    with pytest.raises(UserError, match=r"b\.gif needs .* GB of memory for 40 frames"):
        stylize_film(film, tmp_path / "b.gif", unchanged, FilmOptions(size=20_000 * 8))


def test_animations_on_the_command_line(tmp_path: Path, vivid_style: Path) -> None:
    folder, out = tmp_path / "trip", tmp_path / "out"
    folder.mkdir()
    animation(folder / "a.gif", duration=TIMES, loop=0)
    animation(folder / "b.png", duration=TIMES, loop=0)
    Image.new("RGB", SIZE).save(folder / "still.gif")
    for _ in range(2):  # what the same command wrote is replaced
        result = run("stylize", folder, "--style", vivid_style, "-o", out)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("1 picture and 2 films in ")
        assert sorted(path.name for path in out.iterdir()) == ["a.gif", "b.png", "still.png"]
    assert read(out / "a.gif")[0] == TIMES
    for name in ("c.webp", "c.mp4", "c.jpg"):
        result = run("stylize", folder / "a.gif", "--style", vivid_style, "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert (tmp_path / name).exists()
