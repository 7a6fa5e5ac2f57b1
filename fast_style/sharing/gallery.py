"""A page that shows styles on the same photos, and offers their files: static HTML."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from fast_style.checkpoint import StyleFile, find_style, read_style, style_name
from fast_style.errors import UserError
from fast_style.files import numbered, replace_file
from fast_style.hub import SUFFIX
from fast_style.images import open_picture, resize_picture
from fast_style.sharing.card import as_jpeg, losses_of, painting_of, training_of
from fast_style.shell import readable
from fast_style.stylizing.stylizer import Stylizer

log = logging.getLogger(__name__)

PAGE = "index.html"
GENERATOR = "fast-style gallery"


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Args:
        path: of its file, relative to the page.
        caption: text below it, which also stands for it.
        size: width and height in pixels.
    """

    path: str
    caption: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Section:
    """A style on the page.

    Args:
        key: anchor, and part of file names.
        name: of the style.
        file: path of the style's file, relative to the page.
        megabytes: of that file.
        painting: the bundled painting of a shipped style.
        pictures: one of each photo.
        figures: what the style's file tells about its training.
    """

    key: str
    name: str
    file: str
    megabytes: float
    painting: Picture | None
    pictures: list[Picture]
    figures: dict[str, str]


def styles_in(folder: Path) -> list[Path]:
    """The styles in a folder, by name. What is no style is logged and left out.

    Raises:
        UserError: if there is none, or no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name one of {SUFFIX} files of training")
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            read_style(path)
        except UserError as error:
            log.warning("left out: %s", error)
        else:
            found.append(path)
    if not found:
        raise UserError(f"{folder} holds no style: name a folder of {SUFFIX} files of training")
    return found


def make_gallery(
    styles: Sequence[str | Path],
    photos: Sequence[Path],
    out: Path,
    size: int = 512,
    device: str = "auto",
    on_picture: Callable[[], object] = lambda: None,
) -> Path:
    """Write a page, its pictures and the styles' files into a folder.

    Args:
        styles: as for `find_style`.
        photos: files of the photos.
        out: the folder. What an earlier gallery wrote there is replaced.
        size: longer side of the pictures in pixels.
        device: device, as for `Stylizer`.
        on_picture: called after each stylized picture.

    Returns:
        The page's file.

    Raises:
        UserError: if a style or photo cannot be read, the folder holds another page, or a file
            cannot be written.
    """
    page = out / PAGE
    if page.exists() and GENERATOR.encode() not in page.read_bytes():
        raise UserError(f"{page} is not of a gallery: name another folder with -o")
    files = [find_style(style) for style in styles]
    read = [read_style(file) for file in files]
    opened = [resize_picture(open_picture(photo, note=log.warning), size) for photo in photos]
    names = list(_keys(photo.stem for photo in photos))
    shown = [
        _write(out, f"pictures/photos/{name}.jpg", photo, readable(path.stem))
        for name, photo, path in zip(names, opened, photos, strict=True)
    ]
    sections = []
    for key, file, style in zip(_keys(map(style_name, files)), files, read, strict=True):
        stylize = Stylizer(file, device)
        pictures = []
        for name, photo, original in zip(names, opened, shown, strict=True):
            caption = f"{original.caption}, in {readable(style_name(file))}"
            pictures.append(_write(out, f"pictures/{key}/{name}.jpg", stylize(photo), caption))
            on_picture()
        sections.append(_section(key, file, style, pictures, out, size))
    replace_file(page, _page(shown, sections).encode())
    return page


def _keys(stems: Iterable[str]) -> Iterator[str]:
    """Names for files and anchors, each once, without what an address cannot hold."""
    taken: set[str] = set()
    for stem in stems:
        plain = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "style"
        name = next(name for name in numbered(plain) if name not in taken)
        taken.add(name)
        yield name


def _write(out: Path, path: str, picture: Image.Image, caption: str) -> Picture:
    replace_file(out / path, as_jpeg(picture))
    return Picture(path, caption, picture.size)


def _section(
    key: str, file: Path, style: StyleFile, pictures: list[Picture], out: Path, size: int
) -> Section:
    content = file.read_bytes()
    replace_file(out / f"styles/{key}{SUFFIX}", content)
    bundled, painting = painting_of(file), None
    if bundled is not None:
        original = resize_picture(open_picture(bundled), size)
        painting = _write(out, f"pictures/{key}/painting.jpg", original, "the painting")
    losses = {f"{name} loss": value for name, value in losses_of(style).items()}
    return Section(
        key,
        readable(style_name(file)),
        f"styles/{key}{SUFFIX}",
        len(content) / 1e6,
        painting,
        pictures,
        training_of(style) | losses,
    )


def _page(photos: list[Picture], sections: list[Section]) -> str:
    environment = Environment(
        loader=PackageLoader("fast_style.sharing", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("gallery.html.jinja").render(
        photos=photos, sections=sections, generator=GENERATOR
    )
