"""The page of `fast-style app` in Chromium: what is seen, painted, downloaded and trained."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from app_server import ENDLESS, SMALLEST
from browser import Visit
from command_line import refused, run
from PIL import Image
from visitor import choose, hand_over, slide

from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.checkpoint import shipped_styles

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

LONG = 240_000  # ms: for a training beside other tests
SENT_BACK = "Failed to load resource: the server responded with a status of 400"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, photos: list[Path]) -> Iterator[str]:
    """The address of `fast-style app`."""
    styles = tmp_path_factory.mktemp("styles")
    command = [
        sys.executable,
        "-m",
        "fast_style.cli",
        "app",
        "--port",
        "0",
        "--styles",
        str(styles),
        *SMALLEST,
    ]
    with subprocess.Popen(
        command, cwd=photos[0].parent, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield found[0]
        process.terminate()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundled photos, made small."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("coffee", "chelsea"):
        image = Image.open(PHOTOS / f"{name}.jpg")
        image.thumbnail((180, 180))
        image.save(folder / f"{name}.png")
    return [folder / "coffee.png", folder / "chelsea.png"]


@pytest.fixture
def expect(browser: object) -> Any:
    from playwright.sync_api import expect

    return expect


def painting(page: "Page", expect: Any, option: str, value: object) -> str:
    """Wait until the page shows the painting with this option, and return its pixels."""
    shown = f"#picture[data-shown*='\"{option}\":{json.dumps(value)}']"
    expect(page.locator(shown)).to_be_visible()
    pixels: str = page.locator(".after").evaluate(
        """(image) => {
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return context.getImageData(0, 0, canvas.width, canvas.height).data.join();
        }"""
    )
    return pixels


def ids(page: "Page") -> set[str]:
    """The names of photos in the addresses that a page asked for."""
    found: set[str] = page.evaluate(
        "() => performance.getEntriesByType('resource').map((entry) => entry.name)"
        ".map((name) => /photos\\/([^/]+)\\//.exec(name)?.[1]).filter(Boolean)"
    )
    return set(found)


def test_a_photo_is_dropped_painted_and_downloaded(
    visit: Visit,
    app: str,
    expect: Any,
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = visit(app)
    hand_over(page, "drop", photos[0])
    pictures = [painting(page, expect, "strength", 1)]
    expect(page.locator(".swatch img:visible")).to_have_count(len(shipped_styles()))
    page.get_by_label("wave").check()
    pictures.append(painting(page, expect, "style", "wave"))
    slide(page, "#strength", 0.5)
    pictures.append(painting(page, expect, "strength", 0.5))
    page.locator("[name=color][value=luminance]").check()
    pictures.append(painting(page, expect, "color", "luminance"))
    slide(page, "#stroke", 2)
    pictures.append(painting(page, expect, "stroke", 2))
    assert len(set(pictures)) == 5

    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    options = ["--strength", "0.5", "--preserve-color", "luminance", "--stroke", "2"]
    monkeypatch.chdir(photos[0].parent)  # as the app: the file says what made it of which photo
    result = run("stylize", "coffee.png", "--style", "wave", *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    (painted,) = (tmp_path / "out").iterdir()
    assert download.value.suggested_filename == "coffee-wave.png"
    assert Path(download.value.path()).read_bytes() == painted.read_bytes()


def test_a_wrong_file_gets_the_sentence_of_the_command(
    visit: Visit, app: str, expect: Any, tmp_path: Path
) -> None:
    wrong = tmp_path / "notes.jpg"
    wrong.write_text("no picture")
    sentence = refused(run("stylize", wrong, "--style", "wave", "-o", tmp_path / "out"))
    page = visit(app)
    choose(page, wrong)
    said = page.locator(".welcome .note span").first
    expect(said).to_contain_text("notes.jpg")
    # The command knows where the file is, the server only its name.
    expected = sentence.removeprefix("fast-style: ").replace(f"{tmp_path}/", "")
    assert (said.text_content() or "").rstrip(".") == expected.rstrip(".")
    complaints: list[str] = page.complaints  # type: ignore[attr-defined]
    assert [complaint for complaint in complaints if not complaint.startswith(SENT_BACK)] == []
    complaints.clear()


def test_two_visitors_do_not_see_each_other(
    visit: Visit, app: str, expect: Any, photos: list[Path]
) -> None:
    pages = [visit(app), visit(app)]
    for page, photo in zip(pages, photos, strict=True):
        choose(page, photo)
    for page, photo in zip(pages, photos, strict=True):
        expect(page.locator("#picture[data-shown]")).to_be_visible()
        expect(page.locator(".tile:has(input[type=radio])")).to_have_count(1)
        expect(page.locator("#photo-name")).to_have_text(photo.name)
        assert page.context.cookies() == []
    names = [ids(page) for page in pages]
    assert all(len(name) == 1 for name in names)
    assert names[0].isdisjoint(names[1])
    assert all(len(id) >= 22 for name in names for id in name)  # 128 bits


def test_a_photo_is_deleted_on_leaving(
    visit: Visit, app: str, expect: Any, photos: list[Path]
) -> None:
    page = visit(app)
    choose(page, photos[0])
    expect(page.locator("#picture[data-shown]")).to_be_visible()
    (id,) = ids(page)
    address = urljoin(app, f"api/photos/{id}/preview?style=wave&strength=1&color=style&stroke=1")
    assert page.request.get(address).ok
    page.goto("about:blank")
    for _ in range(100):
        if not (answer := page.request.get(address)).ok:
            break
        page.wait_for_timeout(50)
    assert answer.status == 404
    assert urlopen(app).status == 200


def test_styles_are_trained_and_stopped(
    visit: Visit, app: str, expect: Any, photos: list[Path]
) -> None:
    page = visit(app)
    choose(page, photos[0])
    page.get_by_role("tab", name="Train").click()
    for name, steps in (("long", ENDLESS), ("short", 20)):
        page.locator("#painting input").set_input_files(PAINTINGS / "wave.jpg")
        page.get_by_label("Name of the style").fill(name)
        page.get_by_label("Steps").fill(str(steps))
        page.get_by_role("button", name="Start training").click()
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    long, short = (page.locator(".run", has_text=name) for name in ("long", "short"))
    expect(short).to_contain_text("1 training is ahead of this one.")
    expect(long.locator("polyline")).not_to_have_count(0, timeout=LONG)
    long.get_by_role("button", name="Stop and keep the style").click()
    expect(long).to_contain_text("Stopped", timeout=LONG)
    expect(long.get_by_role("button", name="Paint with it")).to_be_visible()
    expect(short).to_contain_text("Ready", timeout=LONG)
    expect(short).to_contain_text("Step 20 of 20")
    expect(short.get_by_role("img", name="What short paints after 20 steps")).to_be_visible()
    short.get_by_role("button", name="Paint with it").click()
    expect(page.get_by_role("radio", name="short")).to_be_checked()
    expect(page.locator(".swatch img:visible")).to_have_count(len(shipped_styles()) + 2)
    expect(page.locator('#picture[data-shown*=\'"style":"short"\']')).to_be_visible()
