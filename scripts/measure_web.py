"""Measure a page of ``fast-style export --web``: what a visitor loads, and how long painting takes.

    uv run fast-style export wave --web page
    uv run scripts/measure_web.py page fast_style/assets/photos/chelsea.jpg

Each figure is the least of several runs: on one core and on all in turn, and by WebGPU with --gpu.
Beside the seconds stand those that processors worked for the browser, which other programs hardly
change. It needs Chromium.
"""

from __future__ import annotations

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
import psutil

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ONE_CORE = 'sessionStorage.setItem("isolation", "tried")'  # so the page asks for no threads
GPU = ["--enable-unsafe-webgpu", "--enable-features=Vulkan"]

PAINT = """async ({ bytes, options, call }) => {
  window.painter ??= await (await import("./painter.js")).openPainter();
  const photo = await painter.addPhoto(new File([new Uint8Array(bytes)], "photo.png"));
  const start = performance.now();
  if (call === "thumbnail") await painter.thumbnail(photo, options.style);
  else await painter.full(photo, options, () => {});
  return (performance.now() - start) / 1000;
}"""


class _Server(SimpleHTTPRequestHandler):
    """Counts the bytes that it sends."""

    sent: ClassVar[dict[str, int]] = {}

    def log_message(self, *_: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        self.sent[self.path] = Path(self.translate_path(self.path)).stat().st_size
        super().copyfile(source, outputfile)


@click.command()
@click.argument("page", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("photo", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--runs", default=3, show_default=True, help="Runs of which the fastest counts.")
@click.option("--gpu", is_flag=True, help="Measure WebGPU, too.")
def main(page: Path, photo: Path, runs: int, gpu: bool) -> None:
    """Print sizes and seconds of PAGE, a folder, painting PHOTO."""
    from playwright.sync_api import sync_playwright

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=page))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    styles = json.loads((page / "styles.json").read_text())["styles"]
    with sync_playwright() as playwright:
        launch = partial(playwright.chromium.launch, executable_path=shutil.which("chromium"))
        browser = launch(args=["--no-sandbox"])
        ways = {
            "one core": _opened(browser, address, ONE_CORE),
            "all cores": _opened(browser, address),
        }
        if gpu:
            ways["WebGPU"] = _opened(launch(args=["--no-sandbox", *GPU]), address)
        for style in styles:
            for call in ("thumbnail", "full"):  # a preview is like a full painting of 800 px
                seconds = _interleaved(ways, photo, style["id"], call, runs)
                told = ", ".join(
                    f"{way} {least:.2f} s ({work:.2f} s of work)"
                    for way, (least, work) in seconds.items()
                )
                click.echo(f"{style['id']} {call}: {told}")
    for path, size in sorted(_Server.sent.items(), key=lambda item: -item[1])[:8]:
        click.echo(f"{path} {size / 1e6:.2f} MB")


def _opened(browser: Browser, address: str, script: str | None = None) -> Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(0)
    if script:
        page.add_init_script(script)
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return page


def _interleaved(
    ways: dict[str, Page], photo: Path, style: str, call: str, runs: int
) -> dict[str, tuple[float, float]]:
    """For each way, the least seconds, and the least of the browser's work."""
    options = {"style": style, "strength": 1, "color": "style", "stroke": 1}
    given = {"bytes": list(photo.read_bytes()), "options": options, "call": call}
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(runs + 1):  # the first loads the network
        for way, page in ways.items():
            before = _work()
            passed = page.evaluate(PAINT, given)
            seconds[way].append((passed, _work() - before))
    return {
        way: (min(passed for passed, _ in each[1:]), min(work for _, work in each[1:]))
        for way, each in seconds.items()
    }


def _work() -> float:
    """Seconds that processors have worked for this process's children."""
    children = psutil.Process().children(recursive=True)
    return sum(sum(child.cpu_times()[:2]) for child in children)


if __name__ == "__main__":
    main()
