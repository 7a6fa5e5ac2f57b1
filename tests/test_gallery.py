"""A gallery is a page that works from a folder: pictures, links and files are beside it."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pytest
from command_line import noise, refused, run
from PIL import Image

from fast_style import Stylizer
from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.notebook import as_html

if TYPE_CHECKING:
    from browser import Visit

NAMES = ("a & b", "größe", "a-b")  # two of them are one name for a file


class Elements(HTMLParser):
    """Collects all elements with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, {name: value or "" for name, value in attrs}))

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.all if name == tag]


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three small untrained styles, and of a file that is none."""
    folder = tmp_path_factory.mktemp("styles")
    for name in NAMES:
        save_style(
            TrainedStyle(ImageTransformer((4, 8, 8), 1), name), folder / f"{name}.safetensors"
        )
    (folder / "other.safetensors").write_bytes(b"no style")
    return folder


@pytest.fixture(scope="module")
def made(styles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery of that folder on one photo, moved after it was made."""
    folder = tmp_path_factory.mktemp("made")
    Image.open(PHOTOS / "chelsea.jpg").resize((96, 64)).save(folder / "my photo.png")
    out = folder / "out"
    result = run("gallery", styles, "--photo", folder / "my photo.png", "--size", "64", "-o", out)
    assert result.exit_code == 0
    assert "other.safetensors" in result.stderr, "it is left out, and that is told"
    return Path(shutil.move(out, folder / "elsewhere"))


def test_all_that_the_page_names_is_beside_it(made: Path) -> None:
    page = Elements((made / "index.html").read_text(encoding="utf-8"))
    anchors = {attributes["id"] for attributes in page.of("section") if "id" in attributes}
    links = [attributes["href"] for attributes in page.of("a")]
    for link in [*links, *(attributes["src"] for attributes in page.of("img"))]:
        if link.startswith("#"):
            assert unquote(link[1:]) in anchors
        else:
            assert (made / unquote(link)).is_file(), link
    assert len(page.of("img")) == 1 + len(NAMES)
    assert all(attributes["alt"] for attributes in page.of("img"))
    assert not page.of("script")


def test_each_style_can_be_had_and_has_painted_the_photo(made: Path, styles: Path) -> None:
    page = Elements((made / "index.html").read_text(encoding="utf-8"))
    files = [unquote(link["href"]) for link in page.of("a") if "download" in link]
    contents = {(made / file).read_bytes() for file in files}
    assert contents == {(styles / f"{name}.safetensors").read_bytes() for name in NAMES}
    photo = Image.open(made / "pictures" / "photos" / "my-photo.jpg")
    painted = {file: np.asarray(Stylizer(made / file, "cpu")(photo), np.float32) for file in files}
    for file in files:
        shown = np.asarray(Image.open(made / "pictures" / Path(file).stem / "my-photo.jpg"))
        away = {other: np.abs(shown - painted[other]).mean() for other in files}
        assert min(away, key=lambda other: away[other]) == file


def test_a_shipped_style_comes_with_its_painting(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    noise(48, 48).save(tmp_path / "photo.png")
    from fast_style.sharing.gallery import make_gallery

    page = make_gallery(["wave"], [tmp_path / "photo.png"], shipped, size=64).read_text("utf-8")
    assert "1,170" in page, "its steps"
    with Image.open(PAINTINGS / "wave.jpg") as painting:
        ratio = painting.width / painting.height
    with Image.open(shipped / "pictures" / "wave" / "painting.jpg") as shown:
        assert shown.width / shown.height == pytest.approx(ratio, rel=0.03)


def test_a_page_of_ones_own_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("my home page")
    refused(run("gallery", "-o", tmp_path), "index.html", "-o")
    assert (tmp_path / "index.html").read_text() == "my home page"


def test_a_folder_without_styles_is_refused(tmp_path: Path) -> None:
    refused(run("gallery", tmp_path, "-o", tmp_path / "out"), "holds no style")
    refused(run("gallery", tmp_path / "none", "-o", tmp_path / "out"), "none is no folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_browser_shows_it_whole_at_every_width(made: Path, visit: Visit) -> None:
    for width in (1280, 360):
        page = visit((made / "index.html").as_uri(), viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for picture in page.locator("img").all():
            picture.scroll_into_view_if_needed()
            picture.evaluate("picture => picture.decode()")


def test_a_stylizer_shows_itself_in_a_notebook(styles: Path) -> None:
    stylize = Stylizer(styles / "a & b.safetensors", "cpu")
    assert repr(stylize) == "<Stylizer 'a & b', strength 1, on cpu>"
    page = Elements(as_html(stylize))
    (picture,) = page.of("img")
    assert picture["src"].startswith("data:image/png;base64,")
    assert "a & b, strength 1, on cpu" in picture["alt"]
    assert stylize._repr_html_() == as_html(stylize)
