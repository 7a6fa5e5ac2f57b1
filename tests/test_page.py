"""The page in Chromium, with a painter that is canvas filters: what does not need a server."""

import functools
import io
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import Visit
from PIL import Image
from visitor import PHONE, check_contrast, check_width, choose, focused, hand_over, slide

from fast_style.bundled import PAGE, PHOTOS

if TYPE_CHECKING:
    from playwright.sync_api import FileChooser, Page

pytestmark = pytest.mark.slow

RUNNING = {
    "id": "1", "name": "garden", "state": "running", "ahead": 0, "step": 20, "steps": 300,
    "secondsLeft": 240, "picture": "scene.svg", "style": None, "error": None,
    "losses": [
        {"step": step, "content": 4e5 / step, "style": 3e6 / step, "total": 3.4e6 / step}
        for step in range(1, 21)
    ],
}  # fmt: skip


class Quiet(SimpleHTTPRequestHandler):
    """Serves files with the policy that `fast-style app` has."""

    def end_headers(self) -> None:
        policy = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:"
        self.send_header("Content-Security-Policy", policy)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page from a plain folder, in a folder of its own below the root."""
    root = tmp_path_factory.mktemp("site")
    shutil.copytree(PAGE, root / "a" / "page")
    shutil.copy(Path(__file__).parent / "demo_painter.js", root / "a" / "page" / "painter.js")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/a/page/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def expect(browser: object) -> Any:
    from playwright.sync_api import expect

    return expect


def asked(page: "Page") -> list[dict[str, Any]]:
    previews: list[dict[str, Any]] = page.evaluate("demo.previews")
    return previews


def test_a_photo_is_painted_in_all_styles(visit: Visit, address: str, expect: Any) -> None:
    page = visit(address)
    choose(page, PHOTOS / "coffee.jpg")
    expect(page.locator(".swatch img:visible")).to_have_count(8)
    expect(page.get_by_alt_text("Your photo, painted")).to_be_visible()
    expect(page.locator(".caption")).to_contain_text("coffee.jpg600 \u00d7 400")
    page.locator(".swatch", has_text="wave").click()
    expect(page.get_by_label("wave")).to_be_checked()
    expect(page.locator("#picture[data-shown*=wave]")).to_be_visible()
    expect(page.locator("#status")).to_have_text("The painting is up to date.")
    assert asked(page)[-1]["style"] == "wave"


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(visit: Visit, address: str, expect: Any, kind: str) -> None:
    page = visit(address)
    hand_over(page, kind, PHOTOS / "chelsea.jpg")
    expect(page.get_by_label("chelsea.jpg")).to_be_checked()
    expect(page.locator(".drop-here")).to_be_hidden()


def test_the_camera_takes_a_photo(visit: Visit, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the photo").click()
    expect(page.get_by_label("camera.jpg")).to_be_checked()


def test_an_older_answer_never_shows_over_a_newer_one(
    visit: Visit, address: str, expect: Any
) -> None:
    page = visit(f"{address}?deaf=1")  # a painter that does not stop when it is told to
    choose(page, PHOTOS / "coffee.jpg")
    expect(page.locator("#picture[data-shown]")).to_be_visible()
    page.evaluate("demo.delays = [900, 10]")
    slide(page, "#strength", 0.2)
    page.wait_for_timeout(300)
    slide(page, "#strength", 0.7)
    page.wait_for_timeout(1200)
    assert [options["strength"] for options in asked(page)] == [1, 0.2, 0.7]
    assert '"strength":0.7' in (page.locator("#picture").get_attribute("data-shown") or "")


def test_sliding_asks_for_a_preview_at_rest(visit: Visit, address: str, expect: Any) -> None:
    page = visit(address)
    choose(page, PHOTOS / "coffee.jpg")
    expect(page.locator("#picture[data-shown]")).to_be_visible()
    slide(page, "#stroke", *range(1, 9))
    expect(page.locator("#stroke-value")).to_have_text("8 \u00d7")
    expect(page.locator("#picture[data-shown*='\"stroke\":8']")).to_be_visible()
    assert [options["stroke"] for options in asked(page)] == ["auto", 8]
    page.get_by_label("Matched").check()
    expect(page.locator("#picture[data-shown*=histogram]")).to_be_visible()


def test_the_keyboard_does_everything(visit: Visit, address: str, expect: Any) -> None:
    page = visit(f"{address}?training=1")
    seen: list[dict[str, Any]] = []
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))

    def go_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            seen.append(focused(page))
            assert seen[-1]["outlined"], seen[-1]
            if seen[-1]["name"] == name:
                return
        raise AssertionError(f"no way to {name}: {[stop['name'] for stop in seen]}")

    go_to("Choose photos")
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(50)
    choosers[0].set_files([PHOTOS / "coffee.jpg", PHOTOS / "rocket.jpg"])
    expect(page.locator(".swatch img:visible")).to_have_count(8)
    page.locator("h1").click()  # start from the top again
    go_to("Compare: how much of the photo to show")
    page.keyboard.press("End")
    expect(page.locator(".compare")).to_have_value("100")
    go_to("coffee.jpg")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#photo-name")).to_have_text("rocket.jpg")
    go_to("starry-night")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("the-scream")).to_be_checked()
    go_to("Strength")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#strength-value")).to_have_text("95 %")
    go_to("Stroke size")
    page.keyboard.press("End")
    go_to("Painting")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#color-hint")).to_contain_text("light and dark")
    go_to("Download")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "rocket-the-scream.jpg"
    page.get_by_role("tab", name="Stylize").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Train")).to_be_focused()
    expect(page.locator("#train")).to_be_visible()
    go_to("Start training")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_room_and_text_has_contrast(
    visit: Visit, address: str, expect: Any, scheme: str, tmp_path: Path
) -> None:
    page = visit(f"{address}?training=1&styles=30", color_scheme=scheme, **PHONE)
    wrong = tmp_path / f"{'a-long-name-' * 9}.jpg"
    wrong.write_text("no picture")
    choose(page, wrong)
    expect(page.get_by_role("alert")).to_be_visible()
    check_width(page)
    check_contrast(page)
    choose(page, PHOTOS / "coffee.jpg", PHOTOS / "chelsea.jpg", wrong)
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#picture[data-shown]")).to_be_visible()
    check_width(page)
    check_contrast(page)
    page.get_by_role("tab", name="Train").click()
    page.evaluate(
        "training => (demo.update = { running: 1, waiting: 3, mine: [training] })", RUNNING
    )
    expect(page.get_by_role("heading", name="garden")).to_be_visible()
    check_width(page)
    check_contrast(page)


def test_what_goes_wrong_is_said_beside_it(
    visit: Visit, address: str, expect: Any, tmp_path: Path
) -> None:
    page = visit(f"{address}?photos=2&training=1")
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no picture")
    choose(page, wrong)
    note = page.locator(".welcome .note")
    expect(note).to_contain_text("notes.txt is not a picture that can be read.")
    note.get_by_role("button", name="Dismiss").click()
    expect(note).to_have_count(0)
    choose(page, *[PHOTOS / f"{name}.jpg" for name in ("coffee", "rocket", "chelsea")])
    expect(page.locator(".easel .note")).to_contain_text("There is room for 2 photos at once.")
    expect(page.locator("#strip .tile input[type=radio]")).to_have_count(2)
    page.evaluate("demo.failPreview = 'the painter is out of blue'")
    slide(page, "#strength", 0.5)
    expect(page.locator("#picture-notes")).to_contain_text("The painter is out of blue.")
    page.evaluate("demo.failPreview = null")
    slide(page, "#strength", 0.4)
    expect(page.locator("#picture-notes .note")).to_have_count(0)
    page.get_by_role("tab", name="Train").click()
    page.get_by_role("button", name="Start training").click()
    page.locator("#painting input").set_input_files(PHOTOS / "coffee.jpg")
    page.get_by_label("Folder of photos").fill("missing")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#training-notes")).to_contain_text("There is no folder missing")


def test_a_page_without_painter_says_so(visit: Visit, address: str, expect: Any) -> None:
    page = visit(f"{address}?refuse=this+browser+has+no+WebAssembly")
    expect(page.get_by_role("alert")).to_contain_text("This browser has no WebAssembly.")


def test_a_painter_with_few_abilities_has_few_controls(
    visit: Visit, address: str, expect: Any
) -> None:
    page = visit(f"{address}?can=strength")
    choose(page, PHOTOS / "coffee.jpg")
    expect(page.locator("#picture[data-shown]")).to_be_visible()
    expect(page.get_by_label("Strength")).to_be_visible()
    expect(page.get_by_label("Stroke size")).to_be_hidden()
    expect(page.get_by_role("group", name="Colours")).to_be_hidden()
    expect(page.get_by_role("tab")).to_have_count(0)


def test_several_photos_come_as_one_file(visit: Visit, address: str, expect: Any) -> None:
    page = visit(address)
    choose(page, PHOTOS / "coffee.jpg", PHOTOS / "rocket.jpg", PHOTOS / "coffee.jpg")
    page.get_by_text("Download all 3").wait_for()
    page.evaluate(
        "demo.progress = [{ done: 0, waiting: 2, ms: 900 }, { done: 0.4, waiting: 0, ms: 900 }]"
    )
    with page.expect_download() as download:
        page.get_by_text("Download all 3").click()
        expect(page.locator("#saving")).to_contain_text("1 of 3: 2 pictures ahead of yours")
        expect(page.locator("#saving")).to_contain_text("1 of 3: painting, 40 %")
        expect(page.locator("#download")).to_be_disabled()
    expect(page.locator(".tile[data-state=saved]")).to_have_count(3)
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        names = [f"{name}.jpg" for name in ("coffee-starry-night", "rocket-starry-night")]
        assert archive.namelist() == [*names, "coffee-starry-night-2.jpg"]
        assert Image.open(io.BytesIO(archive.read(names[0]))).size == (600, 400)


def test_a_download_is_stopped(visit: Visit, address: str, expect: Any) -> None:
    page = visit(address)
    choose(page, PHOTOS / "coffee.jpg")
    page.evaluate("demo.progress = [{ done: 0.1, waiting: 0, ms: 30000 }]")
    page.get_by_role("button", name="Download").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Download")).to_be_enabled()
    expect(page.locator("#saving")).to_be_hidden()
    expect(page.locator(".note")).to_have_count(0)


def test_a_removed_photo_is_forgotten(visit: Visit, address: str, expect: Any) -> None:
    page = visit(address)
    choose(page, PHOTOS / "coffee.jpg", PHOTOS / "rocket.jpg")
    page.get_by_text("Download all 2").wait_for()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#photo-name")).to_have_text("rocket.jpg")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="Turn a photo into a painting")).to_be_visible()
    assert page.evaluate("demo.forgotten") == ["coffee.jpg", "rocket.jpg"]


def test_a_training_is_watched(visit: Visit, address: str, expect: Any) -> None:
    page = visit(f"{address}?training=1")
    page.get_by_role("tab", name="Train").click()
    hand_over(page, "drop", PHOTOS / "coffee.jpg")
    expect(page.get_by_label("Name of the style")).to_have_value("coffee")
    page.get_by_label("Thorough").check()
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#painting img")).to_be_hidden()
    started = {"file": "coffee.jpg", "photos": "", "steps": 2000, "name": "coffee"}
    assert page.evaluate("demo.started") == started

    def tell(**news: Any) -> None:
        update = {"running": 1, "waiting": 1, "mine": [{**RUNNING, **news}]}
        page.evaluate("update => (demo.update = update)", update)

    card = page.locator(".run")
    tell(state="waiting", ahead=1, step=0, losses=[], picture=None)
    expect(card).to_contain_text("1 training is ahead of this one.")
    expect(page.locator("#queue")).to_have_text("1 training of another visitor is under way.")
    tell()
    expect(card).to_contain_text("Step 20 of 300")
    expect(card).to_contain_text("4 min left")
    expect(card.get_by_alt_text("What garden paints after 20 steps")).to_be_visible()
    expect(card.locator("polyline")).to_have_count(3)
    card.get_by_role("button", name="Stop and keep the style").click()
    expect(card.get_by_role("button", name="Stop and keep the style")).to_be_disabled()
    assert page.evaluate("demo.cancelled") == ["1"]
    tell(state="cancelled", style="wave")
    card.get_by_role("button", name="Paint with it").click()
    expect(page.locator("#stylize")).to_be_visible()
    assert page.locator("[name=style]:checked").get_attribute("value") == "wave"
    tell(state="failed", error="the losses are not finite")
    page.get_by_role("tab", name="Train").click()
    expect(card).to_contain_text("The losses are not finite.")
