"""The photos that visitors gave, each under a name that nobody can guess, for an hour."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from PIL import Image, ImageOps

from fast_style.app.limits import Limits
from fast_style.app.refusal import BUSY, TOO_LARGE, TOO_MANY, UNKNOWN, Refusal, called
from fast_style.app.work import Task
from fast_style.errors import UserError
from fast_style.film import moves
from fast_style.images import MAX_PIXELS, open_picture, picture_size, resize_picture
from fast_style.shell import readable
from fast_style.stylizing.stylizer import check_side

THUMBNAIL = (200, 200)  # px; one size for all photos, because networks are compiled for a size
PREVIEW_SIDE = 1200  # px; the longer side at which previews are painted, at most
MOST_NAME = 200  # characters


@dataclass
class Photo:
    """A photo of a visitor.

    Args:
        id: unguessable name.
        visitor: who gave it.
        name: the visitor's name of the file.
        folder: folder of the server that holds the file and what is made of it.
        file: the file as it was given.
        width: in px, upright.
        height: in px, upright.
        bytes: size of the file.
        used: when it was used last, on the monotonic clock.
        thumbnails: tasks that paint thumbnails, or have, by style.
        preview: the task that paints the latest preview.
    """

    id: str
    visitor: str
    name: str
    folder: Path
    file: Path
    width: int
    height: int
    bytes: int
    used: float
    thumbnails: dict[str, Task] = field(default_factory=dict)
    preview: Task | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def small(self) -> Image.Image:
        """The middle of the photo in the size of thumbnails."""
        return _opened(self.folder / "thumbnail.png")

    def middle(self) -> Image.Image:
        """The photo in the size of previews, or smaller."""
        return _opened(self.folder / "preview.jpg")

    def cancel(self) -> None:
        """Drop what waits to be painted small."""
        for task in (*self.thumbnails.values(), *filter(None, [self.preview])):
            task.future.cancel()


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except FileNotFoundError as error:  # it was forgotten while its preview waited
        raise _gone() from error


def _gone() -> Refusal:
    return Refusal(UNKNOWN, "that photo is not here any more: give it again")


class PhotoShelf:
    """Keeps photos in a folder.

    Args:
        folder: where.
        limits: how many.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self._photos: dict[str, Photo] = {}
        self._lock = threading.Lock()

    def check_room(self, visitor: str) -> None:
        """Refuse a photo before it is received.

        Raises:
            Refusal: if the visitor, or all together, have as many as are kept.
        """
        with self._lock:
            photos = list(self._photos.values())
        if sum(photo.visitor == visitor for photo in photos) >= self.limits.photos:
            raise Refusal(
                TOO_MANY,
                f"you have {self.limits.photos} photos here, as many as are kept: remove one first",
            )
        full = sum(photo.bytes for photo in photos) >= self.limits.bytes_in_all
        if full or self.disk_is_full() or len(photos) >= self.limits.photos_in_all:
            raise Refusal(BUSY, "the server keeps as many photos as it can: try again later")

    def disk_is_full(self) -> bool:
        """Whether the disk has room for a few more files alone."""
        return shutil.disk_usage(self.folder).free < 4 * self.limits.upload_bytes

    def add(self, upload: IO[bytes], name: str | None, visitor: str) -> Photo:
        """Check and keep a photo.

        Args:
            upload: the file.
            name: the visitor's name of it.
            visitor: who gave it.

        Raises:
            Refusal: in the words of the command line, if it cannot be stylized.
        """
        self.check_room(visitor)  # again: others were received meanwhile
        name, id = plain_name(name), secrets.token_urlsafe(16)
        folder = self.folder / id
        folder.mkdir(mode=0o700)
        try:
            file = store(upload, folder, name)
            picture = decoded(file, name, self.limits)
            with called(file, name):
                _check_paintable(file, picture)
            ImageOps.fit(picture, THUMBNAIL).save(folder / "thumbnail.png", compress_level=1)
            middle = picture
            if max(picture.size) > PREVIEW_SIDE:
                middle = resize_picture(picture, PREVIEW_SIDE)
            middle.save(folder / "preview.jpg", quality=95, subsampling=0)
            size, bytes, now = picture.size, file.stat().st_size, time.monotonic()
            photo = Photo(id, visitor, name, folder, file, *size, bytes, now)
            with self._lock:
                self._photos[id] = photo
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return photo

    def get(self, id: str) -> Photo:
        """Return a photo, and keep it for another hour.

        Raises:
            Refusal: if it is not there, or not any more.
        """
        with self._lock:
            photo = self._photos.get(id)
        if photo is None:
            raise _gone()
        photo.used = time.monotonic()
        return photo

    def forget(self, id: str) -> None:
        """Delete a photo and all that was made of it."""
        with self._lock:
            photo = self._photos.pop(id, None)
        if photo is not None:
            photo.cancel()
            shutil.rmtree(photo.folder, ignore_errors=True)

    def forget_old(self) -> None:
        """Delete the photos that were not used for as long as they are kept."""
        oldest = time.monotonic() - self.limits.keep_s
        for photo in list(self._photos.values()):
            if photo.used < oldest:
                self.forget(photo.id)


def plain_name(name: str | None) -> str:
    """Return the last part of a file name, as it may be shown and given to a download.

    >>> plain_name("../../etc/pass\\nwd.jpg"), plain_name("C:\\\\x\\\\cat.png"), plain_name("..")
    ('passwd.jpg', 'cat.png', 'photo')
    """
    last = re.split(r"[/\\]", name or "")[-1]
    last = "".join(character for character in last if character.isprintable()).strip()
    path = PurePosixPath(last)
    short = path.stem[:MOST_NAME] + path.suffix[:16]
    return short if short.strip(".") else "photo"


def store(upload: IO[bytes], folder: Path, name: str) -> Path:
    """Copy an upload into a folder; of the visitor's name only the suffix is taken."""
    suffix = PurePosixPath(name).suffix
    file = folder / ("photo" + (suffix if re.fullmatch(r"\.\w{1,15}", suffix) else ""))
    with file.open("xb") as target:
        shutil.copyfileobj(upload, target)
    return file


def decoded(file: Path, name: str, limits: Limits) -> Image.Image:
    """Open a visitor's picture, unless it has too many pixels.

    Raises:
        Refusal: in the words of the command line.
    """
    size = picture_size(file)
    if size is not None and limits.pixels < size[0] * size[1] <= MAX_PIXELS:
        raise Refusal(
            TOO_LARGE,
            f"{readable(name)} has {size[0]:,} x {size[1]:,} pixels, more than the "
            f"{limits.pixels / 1e6:g} megapixels that this page takes: shrink it first, or use "
            "fast-style stylize",
        )
    with called(file, name):
        return open_picture(file)


def _check_paintable(file: Path, picture: Image.Image) -> None:
    if moves(file):
        raise UserError(
            f"{file} is an animation or a film, which the page does not paint: use fast-style "
            "stylize"
        )
    try:
        check_side(*picture.size)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
