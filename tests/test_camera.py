"""The stylized camera: a film in the camera's place, and a window that presses keys."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused, run
from film_making import drawn, make_film
from PIL import Image, ImageGrab

from fast_style import Stylizer
from fast_style.camera import Capture, Controls, Live
from fast_style.camera.window import TkWindow
from fast_style.errors import UserError

SIZE = (64, 48)
RATE = 20


def make(path: Path, frames: int) -> Path:
    """A film without loss; its square comes back every 14 frames."""
    return make_film(
        path,
        size=SIZE,
        times=range(frames),
        time_base=Fraction(1, RATE),
        rate=Fraction(RATE),
        codec="ffv1",
        pixel_format="bgr0",
        options={},
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute, which no test waits for."""
    return make(tmp_path_factory.mktemp("film") / "a.mkv", 30 * RATE)


@pytest.fixture
def capture(film: Path) -> Iterator[Capture]:
    capture = Capture(film, 640)
    yield capture
    capture.close()


class ScriptedWindow:
    """Presses one key after each picture, and q at the end.

    Attributes:
        shown: the pictures, with title and text.
    """

    def __init__(self, *keys: str) -> None:
        self.left = [*keys, "q"]
        self.shown: list[tuple[Image.Image, str, str]] = []
        self.is_new = False

    def show(self, picture: Image.Image | None, title: str, text: str) -> None:
        if picture is not None:
            self.shown.append((picture, title, text))
            self.is_new = True

    def pressed(self) -> Sequence[str]:
        is_new, self.is_new = self.is_new, False
        return [self.left.pop(0)] if is_new else []

    @property
    def titles(self) -> list[str]:
        """Style and strength of each picture."""
        return [", ".join(title.split(", ")[:2]) for _, title, _ in self.shown]


@pytest.fixture
def load(vivid_style: Path) -> Callable[[int, float], Stylizer]:
    def load(style: int, strength: float) -> Stylizer:
        if style == 2:
            raise UserError("c cannot be loaded")
        return Stylizer(vivid_style, "cpu", "float32", strength if style == 0 else 0)

    return load


def difference(picture: Image.Image, other: Any) -> float:
    return float(np.abs(np.asarray(picture, int) - np.asarray(other, int)).mean())


def nearest(picture: Image.Image, frames: list[Any]) -> tuple[int, float]:
    """The number of the frame that is most like a picture, and how much they differ."""
    differences = [difference(picture, frame) for frame in frames]
    return int(np.argmin(differences)), min(differences)


def test_keys_choose_style_and_strength(
    tmp_path: Path, capture: Capture, load: Any, stylizer: Stylizer
) -> None:
    keys = ("Down", "Down", "Up", "Right", "Right", "Left", "2", "9", "x", "1")
    window = ScriptedWindow(*keys)
    Live(capture, window, Controls("abc"), load, tmp_path).run()
    assert window.titles == [
        *("a, 100 %", "a, 90 %", "a, 80 %", "a, 90 %", "b, 90 %"),
        "b, 90 %",  # there is no stylizer of c
        *("a, 90 %", "b, 90 %", "b, 90 %", "b, 90 %", "a, 90 %"),
    ]
    assert window.shown[5][2] == "c cannot be loaded"
    assert {text for _, _, text in (*window.shown[:5], *window.shown[6:])} == {""}
    frames = [drawn(number, SIZE) for number in range(14)]
    painted = [stylizer(Image.fromarray(frame)) for frame in frames]
    assert nearest(window.shown[0][0], painted)[1] < 1
    assert nearest(window.shown[0][0], frames)[1] > 15
    assert nearest(window.shown[8][0], frames)[1] < 1  # b changes nothing


def test_help_and_pictures_that_are_saved(tmp_path: Path, capture: Capture, load: Any) -> None:
    window = ScriptedWindow("?", "h", "s", "s")
    Live(capture, window, Controls("abc"), load, tmp_path / "new").run()
    texts = [text for _, _, text in window.shown]
    assert "q or Esc  quit" in texts[1]
    assert "2  b" in texts[1]
    assert texts[0] == texts[2] == ""
    saved = sorted((tmp_path / "new").iterdir())
    assert len(saved) == 2
    by_time = sorted(saved, key=lambda path: path.stat().st_mtime_ns)
    for path, text in zip(by_time, texts[3:], strict=True):
        assert text == f"saved {path}"
    pictures = [np.asarray(Image.open(path)).tobytes() for path in saved]
    shown = [np.asarray(picture).tobytes() for picture, _, _ in window.shown]
    assert set(pictures) <= set(shown)


class SlowWindow(ScriptedWindow):
    """Takes as long as six frames for each."""

    def show(self, picture: Image.Image | None, title: str, text: str) -> None:
        super().show(picture, title, text)
        time.sleep(6 / RATE)


def test_frames_are_dropped_rather_than_late(tmp_path: Path, load: Any) -> None:
    """The last frame of a film is shown when its time has come, however slow the window is."""
    frames = 14
    film = make(tmp_path / "a.mkv", frames)
    capture = Capture(film, 640)
    window = SlowWindow(*"x" * frames)
    Live(capture, window, Controls("ab", style=1), load, tmp_path).run()
    capture.close()
    pictures = [drawn(number, SIZE) for number in range(frames)]
    numbers = [nearest(picture, pictures)[0] for picture, _, _ in window.shown]
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= frames // 2
    assert numbers[-1] == frames - 1


def test_size_and_mirror(film: Path) -> None:
    capture = Capture(film, 32, mirrored=True)
    frame = capture.newest(5)
    capture.close()
    assert frame is not None
    frames = [Image.fromarray(drawn(number, SIZE)).reduce(2) for number in range(14)]
    assert frame.size == (32, 24)
    assert nearest(frame, [np.asarray(each)[:, ::-1] for each in frames])[1] < 1
    assert nearest(frame, frames)[1] > 20


def test_smooth_strokes_flicker_less(tmp_path: Path, film: Path, vivid_style: Path) -> None:
    """Only the noise changes between frames."""

    class Noisy:
        """A camera before a wall."""

        ended = False
        rng = np.random.default_rng(0)
        wall = drawn(0, SIZE).astype(int)

        def newest(self, timeout: float) -> Image.Image:
            noise = self.rng.normal(0, 4, self.wall.shape)
            return Image.fromarray((self.wall + noise).clip(0, 255).astype(np.uint8))

    def flicker(smooth: bool) -> float:
        window = ScriptedWindow(*"x" * 6)
        stylizer = Stylizer(vivid_style, "cpu", "float32")
        camera: Any = Noisy()
        Live(camera, window, Controls("a"), lambda *_: stylizer, tmp_path, smooth).run()
        pictures = [picture for picture, _, _ in window.shown]
        return difference(pictures[-1], pictures[-2])

    assert flicker(True) < 0.6 * flicker(False)


# The command, and the real window.


def test_no_camera(style: Path) -> None:
    refused(run("camera", "--camera", "63", "--style", style), "camera 63", "--camera")


@pytest.mark.skipif(sys.platform != "linux", reason="a device file stands for a busy camera")
def test_a_busy_camera(monkeypatch: pytest.MonkeyPatch, style: Path) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: str(path).startswith("/dev/video") or None)
    with pytest.raises(UserError, match="camera 63 gives no picture: close other programs"):
        Capture(63, 640)


def test_no_film(tmp_path: Path, style: Path) -> None:
    refused(run("camera", tmp_path / "a.mp4", "--style", style), "a.mp4 does not exist")
    (tmp_path / "b.mp4").write_bytes(b"no film")
    refused(run("camera", tmp_path / "b.mp4", "--style", style), "b.mp4 is no film")


def test_no_display(film: Path, style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.setenv("DISPLAY", ":9876")
    refused(run("camera", film, "--style", style), "there is no display for a window")


@pytest.mark.parametrize(
    ("module", "sentence"),
    [("tkinter", "sudo apt install python3-tk"), ("cv2", 'cameras need the extra "video"')],
)
def test_without_what_it_needs(
    film: Path, style: Path, module: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    refused(run("camera", film, "--style", style), sentence)


@pytest.fixture
def display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A screen in memory."""
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("the window needs Xvfb, which is not installed")
    told = tmp_path / "display"
    with told.open("w+b") as number:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "400x300x24", "-nolisten", "tcp"],
            stdout=number,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not (text := told.read_text().strip()) and server.poll() is None:
                time.sleep(0.02)
            monkeypatch.setenv("DISPLAY", f":{text}")
            yield f":{text}"
        finally:
            server.terminate()
            server.wait()


def look_at_the_window() -> None:
    """Run in a process of its own, which tkinter ends with its display."""
    display = os.environ["DISPLAY"]
    picture = Image.fromarray(drawn(3, (200, 120)))
    window = TkWindow()
    window.show(picture, "a title", "")
    screen = ImageGrab.grab(xdisplay=display)
    x, y = window.root.winfo_rootx(), window.root.winfo_rooty()
    assert difference(screen.crop((x, y, x + 200, y + 120)), picture) == 0
    assert window.root.title() == "a title"

    window.root.geometry("100x180")  # as by a mouse
    window.root.update()
    window.show(picture, "a title", "some text\nin two lines")
    screen = ImageGrab.grab(xdisplay=display)
    width, height = 100, window.root.winfo_height()
    shown = np.asarray(screen)[y : y + height, x : x + width]
    rows = np.flatnonzero(shown[:, 50].any(axis=-1))
    top = rows[0]
    assert top > 0  # black above
    assert difference(Image.fromarray(shown[top : top + 60]), picture.resize((100, 60))) < 3

    window.root.focus_force()
    window.root.update()
    assert window.pressed() == []
    for key in ("<Key-q>", "<Key-Right>", "<Key-question>", "<Key-Escape>", "<Key-7>"):
        window.root.event_generate(key)
    assert window.pressed() == ["q", "Right", "?", "Escape", "7"]
    window.root.tk.call(*window.root.protocol("WM_DELETE_WINDOW").split())  # the close button
    assert window.pressed() == ["q"]
    window.close()


def test_the_window(display: str) -> None:
    command = [sys.executable, "-c", "import test_camera; test_camera.look_at_the_window()"]
    looked = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert looked.returncode == 0, looked.stderr


def test_the_command_shows_a_film_until_its_end(tmp_path: Path, style: Path, display: str) -> None:
    film = make(tmp_path / "a.mkv", 20)
    command: list[str | Path] = [sys.executable, "-m", "fast_style.cli", "camera", film]
    command += ["--style", style, "--smooth"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
