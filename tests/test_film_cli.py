"""Films on the command line: which file goes where, and what is said."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import Result
from command_line import complaints, heed_ctrl_c, noise, refused, run
from film_making import incomplete_film, make_film, times_of
from PIL import Image

from fast_style.film.encoding import FRAMES_OF_PART
from fast_style.film.parts import parts_folder
from fast_style.images.deep import bits_of


def stylize(*arguments: str | Path) -> Result:
    return run("stylize", *arguments)


def test_a_film_goes_to_a_file(tmp_path: Path, style: Path) -> None:
    film, out = make_film(tmp_path / "a.mp4"), tmp_path / "new" / "b.mkv"
    result = stylize(film, "--style", style, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 film in ")
    assert result.stdout.endswith(f"{out}\n")
    assert times_of(out) == pytest.approx([float(t) for t in times_of(film)], abs=0.001)


def test_films_in_a_folder_among_pictures(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "trip", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    make_film(folder / "a.mov")
    make_film(folder / "sub" / "old.avi", codec="mpeg4", options={})
    Image.new("RGB", (32, 24)).save(folder / "b.jpg")
    (folder / "broken.mp4").write_bytes(b"no film")
    result = stylize(folder, "--style", style, "-o", out)
    assert result.exit_code == 2
    assert result.stdout.startswith("1 picture and 2 films in ")
    assert "broken.mp4 is no film that can be read" in result.stderr
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert names == ["a.mov", "b.jpg", "sub/old.mkv"]

    (folder / "broken.mp4").unlink()
    (folder / "b.jpg").unlink()
    again = stylize(folder, "--style", style, "-o", out, "--resume")
    assert again.exit_code == 0
    assert again.stdout.startswith("2 films in ")
    assert sorted(path.name for path in out.rglob("*.m*")) == ["a.mov", "old.mkv"]
    stylize(folder, "--style", style, "-o", out, "--quality", "30")  # would be another film
    assert (out / "a-tiny.mov").exists()


def test_what_moves_is_refused_in_16_bits(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "shots", tmp_path / "out"
    folder.mkdir()
    for number in (1, 2):
        noise(32, 24).save(folder / f"{number}.png")
    numbered = ("stylize", "--style", style, "--depth", "16", folder / "%d.png", "-o")
    refused(run(*numbered, out / "%d.png"), "16 bits", f"name the folder {folder}")
    assert not out.exists()
    refused(run(*numbered, out / "a.mp4"), "a.mp4 cannot have 16 bits", "leave --depth 16 out")
    make_film(folder / "a.mp4")
    noise(32, 24).save(folder / "b.gif", save_all=True, append_images=[noise(32, 24).rotate(180)])
    result = stylize(folder, "--style", style, "--depth", "16", "-o", out)
    assert result.exit_code == 2
    assert len(complaints(result)) == 2
    assert sorted(path.name for path in out.iterdir()) == ["1.png", "2.png"]
    with Image.open(out / "1.png") as picture:
        assert bits_of(picture) == 16


@pytest.mark.parametrize(
    ("source", "out", "sentence"),
    [
        ("a.mp4", "b.jpg", "b.jpg is a picture's name, and "),
        ("a.jpg", "b.mp4", "b.mp4 is a film's name, and "),
        ("a.mp4", "b.avi", "b.avi cannot be written in that format: let it end in .mp4 or .mkv"),
    ],
)
def test_names_that_do_not_fit(
    tmp_path: Path, style: Path, source: str, out: str, sentence: str
) -> None:
    (tmp_path / source).write_bytes(b"")
    result = stylize(tmp_path / source, "--style", style, "-o", tmp_path / out)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_without_the_extra_pictures_go_on(
    tmp_path: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trip"
    folder.mkdir()
    make_film(folder / "a.mp4", frames=2)
    Image.new("RGB", (32, 24)).save(folder / "b.jpg")
    monkeypatch.setitem(sys.modules, "av", None)
    result = stylize(folder, "--style", style, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stdout.startswith("1 picture in ")
    (line,) = result.stderr.splitlines()
    assert line.startswith('fast-style: films need the extra "video": install it with  ')


@pytest.mark.parametrize("option", [(), ("-q",), ("--json",)])
def test_an_incomplete_copy_shows_in_the_exit_code(
    tmp_path: Path, style: Path, option: tuple[str, ...]
) -> None:
    film, out = incomplete_film(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    result = stylize(film, "--style", style, "-o", out, *option)
    assert result.exit_code == 2
    assert f"{film} is incomplete: its last " in result.stderr
    if option == ("--json",):
        line = json.loads(result.stdout)
        assert f"{film} is incomplete: its last " in line.pop("error")
        assert line.pop("seconds") > 0
        expected = {"source": str(film), "output": str(out), "size": [64, 48], "skipped": False}
        assert line == expected
    assert 0 < len(times_of(out)) < 60


def test_json_tells_the_size_of_films_and_of_numbered_pictures(tmp_path: Path, style: Path) -> None:
    film = make_film(tmp_path / "a.mp4", frames=3)
    for out in ("b.mkv", "b.webp", "%03d.png"):
        result = stylize(film, "--style", style, "-o", tmp_path / out, "--json")
        assert json.loads(result.stdout)["size"] == [64, 48]


def test_what_is_replaced_is_told_once_it_is(tmp_path: Path, style: Path) -> None:
    film, mine = make_film(tmp_path / "a.mp4", frames=3), tmp_path / "b.mp4"
    mine.write_bytes(b"mine")
    (tmp_path / "no.mp4").write_bytes(b"no film")
    refused(stylize(tmp_path / "no.mp4", "--style", style, "-o", mine), "is no film")
    assert mine.read_bytes() == b"mine"
    done = stylize(film, "--style", style, "-o", mine)
    assert complaints(done) == [f"fast-style: {mine} was there before and was replaced"]
    assert complaints(stylize(film, "--style", style, "-o", mine)) == []  # it wrote that itself


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, style: Path) -> None:
    """On a terminal, with its bar."""
    count = FRAMES_OF_PART + 400
    film, target = make_film(tmp_path / "a.mp4", frames=count), tmp_path / "b.mp4"
    command = [sys.executable, "-m", "fast_style.cli", "stylize", str(film)]
    command += ["--style", str(style), "-o", str(target)]
    terminal, ours = pty.openpty()
    termios.tcsetwinsize(ours, (24, 100))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=ours, preexec_fn=heed_ctrl_c)
    os.close(ours)
    shown = bytearray()

    def read() -> None:
        with suppress(OSError):  # once the other end is closed
            while more := os.read(terminal, 1000):
                shown.extend(more)

    reader = threading.Thread(target=read)
    reader.start()
    while process.poll() is None and not (parts_folder(target) / "00002.mp4").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    reader.join()
    text = shown.decode()
    assert f"/{count} [" in text
    assert "frame/s" in text
    assert "frames of b.mp4 are done" in text
    assert "--resume" in text
    resumed = stylize(film, "--style", style, "-o", target, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert len(times_of(target)) == count
