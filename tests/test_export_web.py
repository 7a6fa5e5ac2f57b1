"""The page that paints in the browser: Chromium paints with it as the Stylizer does."""

import io
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from command_line import files, refused, run
from PIL import Image

from fast_style.bundled import CHECKPOINTS, PHOTOS
from fast_style.checkpoint import TrainedStyle, read_style, save_style
from fast_style.export.npm import NAME, VERSION
from fast_style.export.web import small_of, web_styles
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.colour import Preserve
from fast_style.stylizing.stylizer import Stylizer

if TYPE_CHECKING:
    from browser import Visit
    from playwright.sync_api import Page

PHOTO = PHOTOS / "chelsea.jpg"
PATIENCE = 120_000  # ms; networks compute on cores that other tests use, too
LEAST_PSNR = 45.0  # dB: the page's weights have 8 bits


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def serve(folder: Path) -> ThreadingHTTPServer:
    """Serve a folder as ``python -m http.server`` does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime Web, as npm packs it. npm has a cache of its own."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("npm")
    command = [npm, "pack", "--prefer-offline", f"{NAME}@{VERSION}"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"npm cannot fetch {NAME}: {result.stderr}")
    return folder / f"{NAME}-{VERSION}.tgz"


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adjustable styles with tiny networks of random weights."""
    folder = tmp_path_factory.mktemp("styles")
    for seed, name in enumerate(("dawn", "dusk & dew")):
        torch.manual_seed(seed)
        network = ImageTransformer((8, 8, 16), residual_blocks=1, adjustable=True)
        with torch.no_grad():
            for key, parameter in network.named_parameters():
                if key.endswith("_slope"):
                    parameter.normal_(std=0.3)
        save_style(TrainedStyle(network, name), folder / f"{seed}.safetensors")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def folder(package: Path, styles: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the two styles."""
    folder = tmp_path_factory.mktemp("page") / "page"
    result = run("export", *styles, "--web", folder, "--runtime", package)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    server = serve(folder)
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def png(tmp_path: Path) -> Path:
    """A bundled photo without loss, so that the page's painting is a file without loss, too."""
    path = tmp_path / "photo.png"
    Image.open(PHOTO).convert("RGB").resize((226, 150)).save(path)
    return path


def opened(visit: "Visit", address: str, **options: Any) -> "Page":
    page = visit(address, **options)
    page.set_default_timeout(PATIENCE)
    page.wait_for_selector("html[data-ready]")
    return page


def add(page: "Page", *photos: Path) -> None:
    page.set_input_files("input[data-photos] >> nth=0", photos)
    page.wait_for_selector(".picture[data-shown]")


def drop(page: "Page", photo: Path) -> None:
    """Drop a file on the page."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            return transfer;
        }""",
        [photo.name, list(photo.read_bytes())],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.wait_for_selector(".picture[data-shown]")


def download(page: "Page") -> tuple[str, Image.Image]:
    with page.expect_download() as event:
        page.click("#download")
    picture = Image.open(io.BytesIO(event.value.path().read_bytes()))
    return event.value.suggested_filename, picture


def choose(page: "Page", *, style: str, strength: float, stroke: int, color: str) -> None:
    page.check(f"[name=style][value={style}]", force=True)
    page.check(f"[name=color][value={color}]", force=True)
    page.fill("#strength", str(strength))
    page.fill("#stroke", str(stroke))


def psnr(picture: Image.Image, expected: Image.Image) -> float:
    a, b = (np.asarray(each.convert("RGB"), np.float64) for each in (picture, expected))
    return float(10 * np.log10(255**2 / np.square(a - b).mean()))


def test_a_dropped_photo_is_painted_as_by_the_stylizer(
    visit: "Visit", address: str, styles: list[Path], png: Path
) -> None:
    page = opened(visit, address)
    assert page.evaluate("crossOriginIsolated")  # WASM may have threads
    drop(page, png)
    name, picture = download(page)
    assert name == "photo-dawn.png"
    photo = Image.open(png)
    assert psnr(picture, Stylizer(styles[0], precision="float32")(photo)) > LEAST_PSNR

    preserved: list[Preserve] = ["luminance", "histogram"]
    for color in preserved:
        choose(page, style="dusk-dew", strength=0.6, stroke=3, color=color)
        name, picture = download(page)
        assert name == "photo-dusk-dew.png"
        stylize = Stylizer(styles[1], "cpu", "float32", 0.6, preserve_color=color, stroke=3)
        assert psnr(picture, stylize(photo)) > LEAST_PSNR


def test_a_phone_paints_an_upright_jpeg(
    visit: "Visit", address: str, styles: list[Path], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    lying = Image.open(PHOTO).resize((160, 96))
    lying.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    page = opened(
        visit, address, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    add(page, tmp_path / "phone.jpg")
    page.wait_for_selector(".swatch .paint[data-waiting]", state="detached")  # all thumbnails
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    name, picture = download(page)
    assert (name, picture.format, picture.size) == ("phone-dawn.jpg", "JPEG", (96, 160))
    expected = Stylizer(styles[0], precision="float32")(Image.open(tmp_path / "phone.jpg"))
    assert psnr(picture, expected) > 25  # small and coloured like noise, which JPEG keeps badly


def test_what_cannot_be_painted_is_named_in_a_sentence(
    visit: "Visit", address: str, png: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    Image.new("RGB", (15, 40)).save(tmp_path / "thin.png")
    page = opened(visit, address)
    page.set_input_files(
        "input[data-photos] >> nth=0", [tmp_path / "notes.txt", tmp_path / "thin.png", png]
    )
    page.wait_for_selector(".picture[data-shown]")
    notes = " ".join(page.locator("[data-notes=photos]").all_inner_texts())
    assert "notes.txt is not a picture that this browser opens: save it as JPEG or PNG." in notes
    assert (
        "thin.png has 15 \N{MULTIPLICATION SIGN} 40 px: a picture needs at least 16 px a side."
        in notes
    )

    page.fill("#stroke", "8")
    Image.new("RGB", (40, 40)).save(tmp_path / "small.png")
    add(page, tmp_path / "small.png")
    page.check(".tile:has-text('small.png') input", force=True)
    page.wait_for_selector("#picture-notes .note")
    assert "needs at least 128 px a side." in page.inner_text("#picture-notes")


def test_the_service_worker_leaves_another_page_at_its_address_alone(
    visit: "Visit", folder: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    shutil.copytree(folder, ours)
    server = serve(ours)
    page = opened(visit, f"http://127.0.0.1:{server.server_port}/")
    assert page.evaluate("crossOriginIsolated")
    (ours / "index.html").write_text(
        "<!doctype html><link rel=icon href=data:,><p>Another page</p>"
    )
    page.reload()
    assert not page.evaluate("crossOriginIsolated")
    assert (
        page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
    )
    server.shutdown()
    server.server_close()


def test_npm_fetches_the_runtime_and_an_earlier_page_is_replaced(
    package: Path, folder: Path, styles: list[Path], tmp_path: Path
) -> None:
    page = tmp_path / "page"
    shutil.copytree(folder, page)
    assert len(list((page / "styles").iterdir())) == 2
    assert run("export", styles[0], styles[0], "--web", page).exit_code == 0
    assert files(page / "styles") == ["dawn-2.onnx", "dawn.onnx"]
    ids = [style["id"] for style in json.loads((page / "styles.json").read_text())["styles"]]
    assert ids == ["dawn", "dawn-2"]
    assert files(page / "runtime") == files(folder / "runtime")


def test_files_that_were_there_before_the_page_stay(
    package: Path, styles: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "mine.onnx").write_bytes(b"mine")
    assert run("export", styles[0], "--web", tmp_path, "--runtime", package).exit_code == 0
    assert files(tmp_path / "styles") == ["dawn.onnx", "mine.onnx"]


def test_mistakes_get_a_sentence_and_nothing_is_written(
    styles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page"
    wrong = tmp_path / "wrong.tgz"
    wrong.write_bytes(b"something else")
    refused(run("export", styles[0], "--web", page, "--runtime", wrong), "wrong.tgz", "npm pack")
    refused(run("export", styles[0], "--web", page, "--runtime", tmp_path / "none"), "none")
    refused(run("export", styles[0], "--web", wrong), "wrong.tgz is a file")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(run("export", styles[0], "--web", page), "install Node.js", "--runtime")
    assert not page.exists()

    page.mkdir()
    (page / "index.html").write_text("mine")
    refused(run("export", styles[0], "--web", page), "holds another page")
    assert (page / "index.html").read_text() == "mine"


def test_npm_without_a_network_gets_a_sentence(
    package: Path, styles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    monkeypatch.setenv("npm_config_offline", "true")
    result = run("export", styles[0], "--web", tmp_path / "page")
    refused(result, "npm cannot fetch onnxruntime-web", "--runtime")
    assert not (tmp_path / "page").exists()


def test_a_small_network_takes_the_place_of_a_shipped_one() -> None:
    assert small_of("no-such-style") == "no-such-style"
    for path in (CHECKPOINTS / "small").glob("*.safetensors"):
        small, full = (read_style(style).plan for style in (small_of(path.stem), path.stem))
        assert small.to_rgb.inputs < full.to_rgb.inputs
    both = list(web_styles(["wave", "small/wave"], full=True))
    assert [style.entry["name"] for style in both] == ["wave", "small-wave"]
    assert both[1].file == "styles/small-wave.onnx"
