"""Headless Chromium for the tests of the page, and visitors in it whose pages must be clean."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Visit = Callable[..., "Page"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60_000  # ms; other tests may run beside
# Root, as in most containers, has no sandbox, and /dev/shm is small there.
CONTAINER = ["--no-sandbox", "--disable-dev-shm-usage"]
# A camera that films a test picture, and that every page may use.
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The program. Where it is missing the test skips; `.ci/run` installs it first."""
    pytest.importorskip("playwright")
    for name in NAMES:
        if path := shutil.which(name):
            return Path(path)
    pytest.skip("there is no Chromium: apt-get install chromium")


# Not for the session: Playwright keeps an event loop running in this thread, which would refuse
# `asyncio.run` to all tests that follow.
@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator["Browser"]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*CONTAINER, *CAMERA],
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Visit]:
    """Opens an address in a browser context of its own: ``visit(address, **context options)``.

    At the end of the test no page may have written an error to its console, which is where
    violations of a content security policy go too, raised one, or asked another origin for
    anything. A test that expects errors clears ``page.complaints``.
    """
    pages: list[Page] = []

    def visit(address: str, **options: Any) -> "Page":
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(PATIENCE)
        watch(page, address)
        pages.append(page)
        page.goto(address)
        return page

    yield visit
    complaints = [complaint for page in pages for complaint in page.complaints]  # type: ignore[attr-defined]
    for page in pages:
        page.context.close()
    assert not complaints


def watch(page: "Page", address: str) -> None:
    """Collect in ``page.complaints`` what a clean page at this address never does."""
    complaints: list[str] = []
    page.complaints = complaints  # type: ignore[attr-defined]
    origin = urlsplit(address)[:2]

    def asked(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts[:2] != origin:
            complaints.append(f"asked for {url}")

    page.on("request", lambda request: asked(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
