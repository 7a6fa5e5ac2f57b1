"""Paint thumbnails, previews and files of visitors' photos."""

from __future__ import annotations

import io
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image
from pydantic import BaseModel, Field

from fast_style.app.limits import Limits
from fast_style.app.photos import PREVIEW_SIDE, Photo, PhotoShelf
from fast_style.app.refusal import BUSY, NOT_NOW, TOO_MANY, UNKNOWN, Refusal, called
from fast_style.app.styles import LoadedStyles, StyleShelf
from fast_style.app.work import SMALL, Kind, Task, WorkQueue
from fast_style.checkpoint import style_name
from fast_style.devices import is_cpu
from fast_style.images import Saving, resize_picture
from fast_style.stylizing.colour import Preserve
from fast_style.stylizing.files import stylize_files
from fast_style.stylizing.planning import Job, Placing, mark_of, settings_text
from fast_style.stylizing.strokes import Stroke, small_size, stroke_for
from fast_style.stylizing.stylizer import Stylizer

SHOWN_SIDE = 800  # px; longer side of previews
QUALITY = 90  # of JPEG, for thumbnails and previews
SECONDS_PER_MEGAPIXEL = 1.0  # before a painting was timed
STYLES_KEPT, PREVIEWS_KEPT = 32, 2  # a network keeps the memory of its last picture


class Options(BaseModel):
    """How to paint: the options of ``fast-style stylize``.

    Args:
        style: name of the style.
        strength: in [0, 1].
        color: the style's colours, or which of the photo's to keep.
        stroke: how many times wider strokes are, or ``auto``.
    """

    style: str
    strength: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)
    color: Literal["style", "luminance", "histogram"] = "style"
    stroke: Literal["auto"] | Annotated[float, Field(ge=1, le=8, allow_inf_nan=False)] = "auto"

    @property
    def preserve_color(self) -> Preserve | None:
        return None if self.color == "style" else self.color


@dataclass
class Painting:
    """A photo that is painted at full size.

    Args:
        id: unguessable name.
        photo: the photo.
        job: what is read and written.
        style: name of the style.
        task: its place in the queue; None until it has one.
        began: when painting began, on the monotonic clock; None before.
        share: share of the work that is done, where that is known.
    """

    id: str
    photo: Photo
    job: Job
    style: str
    task: Task | None = None
    began: float | None = None
    share: float | None = None

    @property
    def file_name(self) -> str:
        """Name for the visitor's file, as ``fast-style stylize`` gives with several styles."""
        return f"{Path(self.photo.name).stem}-{self.style}{self.job.target.suffix}"


class Painter:
    """Paints photos in the order of a `WorkQueue`.

    On a CPU large pictures have a thread of their own beside the one for small pictures, which
    stay quick. A GPU takes one picture after the other.

    Args:
        photos: the photos.
        styles: the styles.
        device: where to compute, as for `Stylizer`.
        limits: how many pictures may wait.
    """

    def __init__(self, photos: PhotoShelf, styles: StyleShelf, device: str, limits: Limits) -> None:
        self.photos = photos
        self.styles = styles
        self.device = device
        self.limits = limits
        self.queue = WorkQueue() if is_cpu(device) else WorkQueue([tuple(Kind)])
        self._for_thumbnails = LoadedStyles(device, STYLES_KEPT)
        self._for_previews = LoadedStyles(device, PREVIEWS_KEPT)
        self._paintings: dict[str, Painting] = {}
        self._pace = SECONDS_PER_MEGAPIXEL
        self._lock = threading.Lock()

    # --- small pictures ---

    def thumbnail(self, photo: Photo, style: str) -> Task:
        """Queue a thumbnail, unless it is there or waits already; its result is a JPEG.

        Raises:
            Refusal: if there is no such style, or too much waits.
        """
        file = self.styles.file(style)
        with self._lock:
            task = photo.thumbnails.get(style)
            if task is None or task.future.cancelled() or _failed(task):
                self._check_small()
                task = self.queue.add(
                    Kind.THUMBNAIL, photo.visitor, lambda: self._paint_thumbnail(photo, file)
                )
                photo.thumbnails[style] = task
        return task

    def _paint_thumbnail(self, photo: Photo, file: Path) -> bytes:
        with called(photo.file, photo.name):
            return _jpeg(self._for_thumbnails.get(file)(photo.small()))

    def preview(self, photo: Photo, options: Options) -> Task:
        """Queue a preview, and drop the one that waits for the same photo; its result is a JPEG.

        Raises:
            Refusal: as for a thumbnail.
        """
        file = self.styles.file(options.style)
        self._check_small()
        with self._lock:
            if photo.preview is not None:
                photo.preview.future.cancel()
            photo.preview = self.queue.add(
                Kind.PREVIEW, photo.visitor, lambda: self._paint_preview(photo, file, options)
            )
            return photo.preview

    def _paint_preview(self, photo: Photo, file: Path, options: Options) -> bytes:
        with called(photo.file, photo.name):
            small_size(photo.size, options.stroke)  # refuses what the painting would be refused for
            side, stroke = preview_size(photo.size, options.stroke)
            stylizer = self._for_previews.get(file, options.strength)
            middle = photo.middle()
            if side != max(middle.size):
                middle = resize_picture(middle, side)
            painted = stylizer.finished_as(options.preserve_color, stroke)(middle)
            if max(painted.size) > SHOWN_SIDE:
                painted = resize_picture(painted, SHOWN_SIDE)
            return _jpeg(painted)

    def _check_small(self) -> None:
        if self.queue.waiting(SMALL) >= self.limits.previews:
            raise Refusal(BUSY, "the server has too much to paint now: try again in a minute")

    # --- pictures at full size ---

    def begin(self, photo: Photo, options: Options) -> Painting:
        """Queue a painting at full size.

        Raises:
            Refusal: if there is no such style, or too much waits.
        """
        style = self.styles.file(options.style)
        if self.queue.waiting({Kind.PAINTING}, photo.visitor) >= self.limits.paintings:
            raise Refusal(
                TOO_MANY, f"{self.limits.paintings} of your pictures wait: let one be painted first"
            )
        waiting = self.queue.waiting({Kind.PAINTING})
        if waiting >= self.limits.paintings_in_all or self.photos.disk_is_full():
            raise Refusal(BUSY, "the server has too much to paint now: try again in a minute")
        id = secrets.token_urlsafe(16)
        painting = Painting(id, photo, _job(photo, options, style, id), options.style)
        with self._lock:
            self._paintings[id] = painting
            painting.task = self.queue.add(
                Kind.PAINTING, photo.visitor, lambda: self._paint(painting, options, style)
            )
        return painting

    def painting(self, id: str) -> Painting:
        """Return a painting.

        Raises:
            Refusal: if it, or its photo, is not there any more.
        """
        painting = self._paintings.get(id)
        if painting is None:
            raise Refusal(UNKNOWN, "that picture is not here any more: paint it again")
        self.photos.get(painting.photo.id)
        return painting

    def state(self, painting: Painting) -> dict[str, object]:
        """Return how far a painting is: its state, how many are ahead, the share that is done."""
        assert painting.task is not None
        future = painting.task.future
        known: dict[str, object] = {"ahead": 0, "done": 0.0, "error": None}
        if future.cancelled():
            return known | {"state": "failed", "error": "the server stopped"}
        if not future.done():
            if painting.began is None:
                return known | {"state": "waiting", "ahead": self.queue.ahead(painting.task)}
            return known | {"state": "painting", "done": self._share(painting)}
        error = future.exception()
        if error is None:
            return known | {"state": "done", "done": 1.0}
        sentence = str(error) if isinstance(error, Refusal) else "the server could not paint it"
        return known | {"state": "failed", "error": sentence}

    def file(self, painting: Painting) -> Path:
        """Return the file of a painting.

        Raises:
            Refusal: if it is not done.
        """
        if self.state(painting)["state"] != "done":
            raise Refusal(NOT_NOW, "that picture is not painted yet: wait for it")
        return painting.job.target

    def forget(self, photo: Photo) -> None:
        """Delete a photo, and all that was or would be painted of it."""
        for painting in list(self._paintings.values()):
            if painting.photo is photo and painting.task is not None:
                painting.task.future.cancel()
        self.photos.forget(photo.id)
        self.forget_old()

    def forget_old(self) -> None:
        """Delete pictures that were kept for long enough, and paintings without a photo."""
        self.photos.forget_old()
        for id, painting in list(self._paintings.items()):
            if not painting.photo.folder.exists():
                self._paintings.pop(id, None)

    def _share(self, painting: Painting) -> float:
        """The share that is done. A single pass says nothing, so the time it should take counts."""
        if painting.share is not None:
            return painting.share
        assert painting.began is not None
        expected = self._pace * painting.photo.width * painting.photo.height / 1e6
        return min(0.95, (time.monotonic() - painting.began) / max(expected, 1e-3))

    def _paint(self, painting: Painting, options: Options, style: Path) -> None:
        painting.began = time.monotonic()
        photo, job = painting.photo, painting.job
        self.photos.get(photo.id)

        def progress(done: float, total: float) -> None:
            painting.share = done / total

        with called(photo.file, photo.name):
            stylizer = Stylizer(
                style,
                self.device,
                strength=options.strength,
                preserve_color=options.preserve_color,
                stroke=options.stroke,
                progress=progress,
            )
            try:
                (error,) = stylize_files(stylizer.begin, [job], None)
            finally:
                if not photo.file.exists():  # forgotten meanwhile
                    shutil.rmtree(photo.folder, ignore_errors=True)
            if error is not None:
                raise error
        pace = (time.monotonic() - painting.began) / (photo.width * photo.height / 1e6)
        self._pace += (pace - self._pace) / 2


def preview_size(size: tuple[int, int], stroke: Stroke) -> tuple[int, float]:
    """Return at which longer side a preview is painted, and how many times wider its strokes are.

    Strokes are as wide, beside the picture, as in the painting at full size, if the network can
    paint them that fine at 1200 px.

    Args:
        size: width and height of the photo in px.
        stroke: stroke of the painting at full size.

    >>> preview_size((4000, 3000), 5.0), preview_size((4000, 3000), 10.0)
    ((800, 1.0), (800, 2.0))
    >>> preview_size((4000, 3000), 1.0), preview_size((600, 400), "auto")
    ((1200, 1.0), (600, 1.0))
    """
    painted_side = max(size) / stroke_for(size, stroke)  # at full size
    shown = min(max(size), SHOWN_SIDE)
    if painted_side < shown:
        return shown, shown / painted_side
    return min(round(painted_side), PREVIEW_SIDE), 1.0


def _job(photo: Photo, options: Options, style: Path, id: str) -> Job:
    """What ``fast-style stylize`` would do with the photo, lay it in the server's own folder."""
    settings = settings_text(
        options.strength,
        preserve_color=options.preserve_color,
        stroke=options.stroke,
        others=[str(Saving())],
    )
    target = photo.folder / f"{id}{Placing().suffix_for(photo.file)}"
    return Job(photo.file, target, mark_of(Path(photo.name), style, settings), style_name(style))


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _failed(task: Task) -> bool:
    return task.future.done() and task.future.exception() is not None
