"""The loop of the stylized camera, and what its keys do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from fast_style.camera.capture import Capture
from fast_style.errors import UserError
from fast_style.files import numbered
from fast_style.film.smoothing import Smoother, find_motion
from fast_style.images import save_picture

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

WAIT_S = 0.05  # for a frame, before keys are looked at again
STEP = 10  # percent of strength a key
SHARE_OF_NEW = 0.1  # of the last frame's time in the mean that is shown


class Window(Protocol):
    """Shows pictures and collects keys."""

    def show(self, picture: Image.Image | None, title: str, text: str) -> None:
        """Show a picture of mode "RGB", or leave the one that is shown; and lines of text."""

    def pressed(self) -> Sequence[str]:
        """Return the keys since the last call: characters, or Left, Right, Up, Down, Escape."""


@dataclass
class Controls:
    """What the keys choose.

    Args:
        styles: names of the styles.
        strength: in percent.
    """

    styles: Sequence[str]
    strength: int = 100
    style: int = 0
    shows_keys: bool = False
    wants_saved: bool = False
    done: bool = False

    def press(self, key: str) -> None:
        """Do what a key stands for; other keys do nothing."""
        if key in ("Right", "n", "Left", "p"):
            step = 1 if key in ("Right", "n") else -1
            self.style = (self.style + step) % len(self.styles)
        elif key.isdecimal() and 1 <= int(key) <= len(self.styles):
            self.style = int(key) - 1
        elif key in ("Up", "Down"):
            step = STEP if key == "Up" else -STEP
            self.strength = min(100, max(0, self.strength + step))
        elif key in ("?", "h"):
            self.shows_keys = not self.shows_keys
        elif key == "s":
            self.wants_saved = True
        elif key in ("q", "Escape"):
            self.done = True

    def help(self) -> str:
        """What the keys do, a line each."""
        digits = [f"{number}  {name}" for number, name in enumerate(self.styles[:9], 1)]
        return "\n".join(
            [
                "right, left  next and previous style",
                "up, down  more and less of the style",
                "s  save the picture",
                "? or h  show and hide the keys",
                "q or Esc  quit",
                *digits,
            ]
        )


class Live:
    """Paints the newest frame and shows it, again and again, until a key or the film ends it.

    Args:
        capture: gives the frames.
        window: shows them.
        controls: what is chosen at first.
        load: makes the stylizer of a style, by its number, and of a strength in [0, 1].
        folder: where pictures are saved.
        smooth: let strokes move with the scene.
    """

    def __init__(
        self,
        capture: Capture,
        window: Window,
        controls: Controls,
        load: Callable[[int, float], Stylizer],
        folder: Path,
        smooth: bool = False,
    ) -> None:
        self._capture, self._window, self._controls = capture, window, controls
        self._load, self._folder, self._smooth = load, folder, smooth
        self._chosen = (controls.style, controls.strength)
        self._stylize = load(controls.style, controls.strength / 100)
        self._smoother = Smoother()
        self._before: Image.Image | None = None
        self._seconds = 0.0  # a frame
        self._note = ""

    def run(self) -> None:
        """Show frames until the end."""
        controls = self._controls
        painted: Image.Image | None = None
        while not self._capture.ended:
            started = time.monotonic()
            for key in self._window.pressed():
                controls.press(key)
                self._note = ""
            if controls.done:
                return
            self._choose()
            photo = self._capture.newest(WAIT_S)
            if photo is not None:
                painted = self._paint(photo)
                self._count(time.monotonic() - started)
            if controls.wants_saved and painted is not None:
                controls.wants_saved = False
                self._save(painted)
            lines = [self._note, controls.help() if controls.shows_keys else ""]
            text = "\n".join(filter(None, lines))
            self._window.show(photo and painted, self._title(), text)

    def _choose(self) -> None:
        """Load the style and strength that were chosen, or say why they cannot be had."""
        controls = self._controls
        chosen = (controls.style, controls.strength)
        if chosen == self._chosen:
            return
        try:
            self._stylize = self._load(controls.style, controls.strength / 100)
        except UserError as error:
            self._note = str(error)
            controls.style, controls.strength = self._chosen
            return
        self._chosen = chosen
        self._before, self._seconds = None, 0.0

    def _paint(self, photo: Image.Image) -> Image.Image:
        painted = self._stylize(photo)
        if not self._smooth:
            return painted
        motion = None
        if self._before is not None:
            motion = find_motion(np.asarray(self._before), np.asarray(photo))
        self._before = photo
        return Image.fromarray(self._smoother(np.asarray(painted), motion))

    def _count(self, seconds: float) -> None:
        before = self._seconds or seconds
        self._seconds = before + SHARE_OF_NEW * (seconds - before)

    def _title(self) -> str:
        controls = self._controls
        rate = f"{1 / self._seconds:.1f} frames/s, " if self._seconds else ""
        return f"{controls.styles[controls.style]}, {controls.strength} %, {rate}? shows keys"

    def _save(self, painted: Image.Image) -> None:
        name = f"{self._controls.styles[self._controls.style]}-{datetime.now():%Y-%m-%d-%H%M%S}"
        names = (self._folder / f"{each}.png" for each in numbered(name))
        path = next(path for path in names if not path.exists())
        try:
            save_picture(painted, path)
        except UserError as error:
            self._note = str(error)
        else:
            self._note = f"saved {path}"
