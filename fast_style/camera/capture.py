"""Frames of a camera, or of a film in its place: always the newest."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.errors import UserError
from fast_style.extras import missing_extra

USUAL_RATE = 25.0  # frames a second of a film that does not say


class Capture:
    """Reads frames on a thread of its own and keeps only the newest, so that nothing lags behind.

    A film plays at its own speed, once.

    Args:
        source: number of a camera, or a film.
        size: longer side in pixels that larger frames are scaled down to.
        mirrored: exchange left and right.

    Attributes:
        ended: whether there is no frame left.

    Raises:
        UserError: if OpenCV is missing, or the camera or film gives no frame.
    """

    def __init__(self, source: int | Path, size: int, mirrored: bool = False) -> None:
        self._cv2 = _require_cv2()
        self._source, self._size, self._mirrored = source, size, mirrored
        self._reader = _opened(self._cv2, source, size)
        is_there, frame = self._reader.read()
        if not is_there:
            self._reader.release()
            raise UserError(_nothing_from(source))
        self._newest: NDArray[np.uint8] | None = frame
        self._read_all = self._closed = False
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return self._read_all and self._newest is None

    def newest(self, timeout: float) -> Image.Image | None:
        """Wait for a frame that was not given yet, and return the newest, of mode "RGB".

        Args:
            timeout: seconds to wait at most.

        Returns:
            None if there is none yet, or never more; see ``ended``.

        Raises:
            UserError: if a camera stops.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None or self._read_all, timeout)
            frame, self._newest = self._newest, None
        if frame is not None:
            return Image.fromarray(self._prepared(frame))
        if self._read_all and isinstance(self._source, int):
            raise UserError(
                f"camera {self._source} gives no more pictures: look at its plug, and start again"
            )
        return None

    def close(self) -> None:
        """Give the camera back."""
        self._closed = True
        self._thread.join()
        self._reader.release()

    def _read(self) -> None:
        step = 0.0  # a camera waits by itself
        if not isinstance(self._source, int):
            step = 1 / (self._reader.get(self._cv2.CAP_PROP_FPS) or USUAL_RATE)
        due = time.monotonic()
        while not self._closed:
            due += step
            time.sleep(max(0.0, due - time.monotonic()))
            is_there, frame = self._reader.read()
            with self._arrived:
                if is_there:
                    self._newest = frame
                else:
                    self._read_all = True
                self._arrived.notify_all()
            if not is_there:
                return

    def _prepared(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = frame.shape[:2]
        scale = self._size / max(height, width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            frame = self._cv2.resize(frame, size, interpolation=self._cv2.INTER_AREA)
        rgb = frame[..., ::-1]
        return np.ascontiguousarray(rgb[:, ::-1] if self._mirrored else rgb)


def _require_cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise missing_extra("video", "cameras") from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors have a sentence
    return cv2


def _opened(cv2: Any, source: int | Path, size: int) -> Any:
    if isinstance(source, int):
        reader = cv2.VideoCapture(source)
        reader.set(cv2.CAP_PROP_FRAME_WIDTH, size)  # or the nearest that the camera has
    elif not source.is_file():
        raise UserError(f"{source} does not exist: name a film, or a camera with --camera")
    else:
        reader = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
    if not reader.isOpened():
        raise UserError(_nothing_from(source))
    return reader


def _nothing_from(source: int | Path) -> str:
    if not isinstance(source, int):
        return f"{source} is no film that can be read, or is damaged: name another"
    if sys.platform == "linux" and not Path(f"/dev/video{source}").exists():
        return f"there is no camera {source}: plug one in, or name another with --camera"
    return (
        f"camera {source} gives no picture: close other programs that use it, allow this one to, "
        "or name another with --camera"
    )
