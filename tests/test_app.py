"""The app's server: what it paints, what it refuses, and whom."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
import torch
from app_server import ADDRESS, ENDLESS, SMALLEST, give, painted, refusal, serving
from command_line import noise, run
from command_line import refused as refused_command
from PIL import Image
from starlette.testclient import TestClient

from fast_style.app.limits import Limits
from fast_style.app.painter import Options, preview_size
from fast_style.app.photos import PhotoShelf
from fast_style.app.refusal import Refusal
from fast_style.app.work import Kind, WorkQueue
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, read_style, save_style
from fast_style.images import open_picture
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.stylizer import Stylizer


@pytest.fixture(scope="session")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one quick style of every strength."""
    folder = tmp_path_factory.mktemp("styles")
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=1, adjustable=True)
    save_style(TrainedStyle(network, "tiny"), folder / "tiny.safetensors")
    return folder


@pytest.fixture
def client(styles: Path) -> Iterator[TestClient]:
    with serving(styles) as client:
        yield client


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def smooth(width: int, height: int) -> Image.Image:
    """A picture that JPEG hardly changes."""
    coarse = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


# --- painting ---


def test_the_page_learns_styles_and_limits(client: TestClient) -> None:
    said = client.get("/api/hello").json()
    assert {"id": "tiny", "name": "tiny"} in said["styles"]
    assert {"id": "wave", "name": "wave"} in said["styles"]
    assert said["limits"]["photos"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_style_whose_name_is_not_utf_8_does_not_close_the_page(
    styles: Path, photo: Path, tmp_path: Path
) -> None:
    shutil.copy(styles / "tiny.safetensors", tmp_path / os.fsdecode(b"caf\xe9.safetensors"))
    with serving(tmp_path) as client:
        names = [style["id"] for style in client.get("/api/hello").json()["styles"]]
        assert r"caf\xe9" in names
        answer = painted(client, give(client, photo)["id"], style=r"caf\xe9")
        assert Image.open(io.BytesIO(answer.content)).size == Image.open(photo).size


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        (
            {"strength": 0.35, "color": "luminance", "stroke": 2},
            ["--strength", "0.35", "--preserve-color", "luminance", "--stroke", "2"],
        ),
        (
            {"color": "histogram", "stroke": 1},
            ["--preserve-color", "histogram", "--stroke", "1"],
        ),
    ],
)
def test_a_painting_is_the_file_of_the_command(
    client: TestClient,
    styles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    noise(900, 600).save("my photo.jpg", exif=exif)
    answer = painted(client, give(client, Path("my photo.jpg"))["id"], style="tiny", **options)
    result = run("stylize", "my photo.jpg", "--style", styles / "tiny.safetensors", *arguments)
    assert result.exit_code == 0, result.output
    assert answer.content == Path("stylized/my photo.jpg").read_bytes()
    assert answer.headers["content-disposition"] == (
        "attachment; filename*=utf-8''my%20photo-tiny.jpg"
    )


def test_small_pictures_show_the_photo_in_the_style(
    client: TestClient, styles: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    smooth(1600, 1200).save(photo)
    given = give(client, photo)
    assert (given["name"], given["width"], given["height"]) == ("photo.png", 1600, 1200)
    thumbnail = client.get(f"/api/photos/{given['id']}/thumbnails/tiny")
    assert opened(thumbnail.content).size == (200, 200)
    preview = client.get(
        f"/api/photos/{given['id']}/preview", params={"style": "tiny", "stroke": "2"}
    )
    shown = opened(preview.content).convert("RGB")
    assert shown.size == (800, 600)
    expected = Stylizer(styles / "tiny.safetensors", "cpu")(
        open_picture(photo).resize((800, 600), Image.Resampling.LANCZOS)
    )
    seen, wanted, plain = (
        np.asarray(picture.resize((100, 75), Image.Resampling.BOX), int)
        for picture in (shown, expected, open_picture(photo))
    )
    assert np.abs(seen - wanted).mean() < 3 < np.abs(plain - wanted).mean()  # JPEG averages out


def test_a_style_that_is_written_again_paints_previews_anew(tmp_path: Path, photo: Path) -> None:
    file = tmp_path / "tiny.safetensors"
    with serving(tmp_path) as client:
        preview = f"/api/photos/{give(client, photo)['id']}/preview?style=tiny"
        seen = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            save_style(TrainedStyle(ImageTransformer((4, 8, 8), residual_blocks=1), "tiny"), file)
            seen.append(client.get(preview).content)
        assert seen[0] != seen[1]


def test_strength_zero_is_the_photo(client: TestClient, tmp_path: Path) -> None:
    smooth(320, 240).save(tmp_path / "photo.png")
    preview = f"/api/photos/{give(client, tmp_path / 'photo.png')['id']}/preview"
    differences = []
    for strength in (0, 1):
        answer = client.get(preview, params={"style": "tiny", "strength": strength})
        shown, given = opened(answer.content), open_picture(tmp_path / "photo.png")
        differences.append(np.abs(np.asarray(shown, int) - np.asarray(given, int)).mean())
    assert differences[0] < 3 < differences[1]  # JPEG is off by one or two levels


def test_strokes_of_a_preview_are_as_wide_as_those_of_the_file() -> None:
    assert preview_size((4000, 3000), 8.0) == (800, pytest.approx(1.6))
    assert preview_size((4000, 3000), 1.0) == (1200, 1.0)
    assert preview_size((300, 200), 2.0) == (300, 2.0)


# --- wrong files ---


def truncated() -> bytes:
    file = io.BytesIO()
    noise(300, 200).save(file, "JPEG")
    return file.getvalue()[:3000]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.jpg", b"This is no picture.\n" * 50),
        ("half.jpg", truncated()),
        ("empty.png", b""),
        ("page.html", b"<!doctype html><title>x</title>"),
        ("claims.png", bomb(60_000, 60_000)),
        ("film.mp4", b"\0\0\0\x18ftypmp42" + bytes(100)),
        ("small.png", None),
        ("../../etc/passwd.jpg", b"root"),
    ],
)
def test_wrong_files_get_the_sentences_of_the_command_line(
    client: TestClient, tmp_path: Path, name: str, content: bytes | None
) -> None:
    file = tmp_path / Path(name).name
    if content is None:
        noise(9, 7).save(file)
        content = file.read_bytes()
    file.write_bytes(content)
    answer = client.post("/api/photos", files={"file": (name, content)})
    sentence = refusal(answer, 400)
    if name != "film.mp4":  # which the command line takes
        said = run("stylize", file, "--style", "wave", "-o", tmp_path / "out").stderr
        assert sentence in re.sub(rf"{re.escape(str(file.parent))}/", "", said)
    assert sentence.startswith(file.name)
    assert not list(Path(str(client.app.app.state.held.photos.folder)).iterdir())  # type: ignore[attr-defined]


def test_pictures_of_too_many_pixels_are_refused_before_they_are_decoded(
    styles: Path,
) -> None:
    with serving(styles, pixels=1_000_000) as client:
        answer = client.post("/api/photos", files={"file": ("big.png", bomb(20_000, 20_000))})
        refusal(answer, 413, "big.png", "20,000 x 20,000", "1 megapixels")


def test_files_of_too_many_bytes_are_refused(styles: Path) -> None:
    with serving(styles, upload_bytes=2**20) as client:
        answer = client.post("/api/photos", files={"file": ("big.jpg", bytes(2 * 2**20))})
        refusal(answer, 413, "1 MB")

        def chunks() -> Iterator[bytes]:  # without a length
            yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(40):
                yield bytes(2**16)

        kind = {"content-type": "multipart/form-data; boundary=x"}
        refusal(client.post("/api/photos", content=chunks(), headers=kind), 413, "1 MB")
        refusal(client.post("/api/photos", content=bytes(2**17)), 413)


def test_requests_that_make_no_sense_are_refused(client: TestClient, photo: Path) -> None:
    id = give(client, photo)["id"]
    refusal(client.post("/api/photos", data={"file": "text"}), 400, "no picture")
    refusal(client.post("/api/photos", content=b"{}"), 400)
    refusal(client.get(f"/api/photos/{id}/thumbnails/nobody"), 404, "no such style")
    refusal(client.get("/api/photos/AAAA/thumbnails/tiny"), 404, "not here any more")
    for wrong in ({"strength": 2}, {"strength": "nan"}, {"color": "x"}, {"stroke": 99}, {}):
        options = {"style": "tiny"} | wrong if wrong else {}
        refusal(client.get(f"/api/photos/{id}/preview", params=options), 400, "wrong")
        refusal(client.post(f"/api/photos/{id}/paintings", json=options), 400, "wrong")
    for path in ("/api/photos/../../etc/passwd", "/%2e%2e/%2e%2e/web.py", "/..%2fREADME.md"):
        assert client.get(path).status_code in (400, 404)


def test_animations_and_films_are_for_the_command_line(client: TestClient, tmp_path: Path) -> None:
    frames = [noise(40, 30), Image.new("RGB", (40, 30))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "photo.jpg")
    for name, file in (("a.gif", "a.gif"), ("photo.mp4", "photo.jpg")):
        files = {"file": (name, (tmp_path / file).read_bytes())}
        refusal(client.post("/api/photos", files=files), 400, f"{name} is an animation or a film")


# --- who may ask ---


def test_other_sites_and_other_names_are_refused(client: TestClient, photo: Path) -> None:
    id = give(client, photo)["id"]
    picture = f"/api/photos/{id}/thumbnails/tiny"
    for path in ("/api/hello", picture, "/page.css"):
        assert client.get(path, headers={"host": "evil.example:8000"}).status_code == 403
        assert client.get(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert client.get(path, headers={"sec-fetch-site": "same-site"}).status_code == 403
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        answer = client.post(f"/api/photos/{id}/forget", headers={"origin": origin})
        refusal(answer, 403, "another site")
    follows_a_link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    framed = follows_a_link | {"sec-fetch-dest": "iframe"}
    assert client.get("/", headers=framed).status_code == 403
    for host in ("127.0.0.1:8000", "localhost:8000"):
        own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
        assert client.get(picture, headers=own).status_code == 200
    assert client.post(f"/api/photos/{id}/forget", headers={"origin": ADDRESS}).status_code == 204


def test_elsewhere_the_address_holds_a_token(styles: Path, photo: Path) -> None:
    with serving(styles, token="s3cret") as client:
        for path in ("/", "/api/hello", "/s3cre/api/hello", "/s3crett/api/hello", "//api/hello"):
            assert client.get(path).status_code == 404
        answer = client.get("/s3cret/api/hello", headers={"host": "my-machine.local:8000"})
        assert answer.status_code == 200
        assert client.get("/s3cret", follow_redirects=False).headers["location"] == "/s3cret/"


def test_answers_carry_the_headers_that_protect_them(client: TestClient, photo: Path) -> None:
    id = give(client, photo)["id"]
    answer = client.get(f"/api/photos/{id}/thumbnails/tiny")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    for path in ("/api/hello", "/nothing", f"/api/photos/{id}/thumbnails/nobody"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"] == policy
        assert "set-cookie" not in answer.headers
    assert len(id) >= 20


# --- deleted ---


def test_pictures_go_on_leaving_after_their_time_and_at_the_end(styles: Path, photo: Path) -> None:
    with serving(styles, keep_s=2.0) as client:
        folder = client.app.app.state.held.photos.folder  # type: ignore[attr-defined]
        assert folder.stat().st_mode & 0o777 == 0o700
        left, old = (give(client, photo)["id"] for _ in range(2))
        assert client.post(f"/api/photos/{left}/forget").status_code == 204
        assert not (folder / left).exists()
        while (folder / old).exists():
            time.sleep(0.1)
        refusal(client.get(f"/api/photos/{old}/thumbnails/tiny"), 404, "not here any more")
        give(client, photo)
    assert not folder.exists()


def test_a_visitor_keeps_only_so_many_photos(styles: Path, photo: Path) -> None:
    with serving(styles, photos=2) as client:
        first = give(client, photo)["id"]
        give(client, photo)
        with photo.open("rb") as file:
            refusal(client.post("/api/photos", files={"file": file}), 429, "remove one first")
        client.app.app.state.held.photos.check_room("another visitor")  # type: ignore[attr-defined]
        client.post(f"/api/photos/{first}/forget")
        give(client, photo)


def test_a_full_disk_gets_no_more_paintings(
    client: TestClient, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = give(client, photo)["id"]
    full = shutil.disk_usage(photo)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    refusal(client.post(f"/api/photos/{id}/paintings", json={"style": "tiny"}), 503, "try again")
    with photo.open("rb") as file:
        refusal(client.post("/api/photos", files={"file": file}), 503, "try again")


# --- in turn ---


def test_small_pictures_go_first_and_visitors_take_turns() -> None:
    queue, done = WorkQueue([tuple(Kind)]), list[str]()
    at_work, go_on = threading.Event(), threading.Event()

    def block() -> None:
        at_work.set()
        go_on.wait()

    queue.add(Kind.PAINTING, "a", block)
    at_work.wait()
    asked = ["a", "a", "a", "b", "b", "c"]
    tasks = [
        queue.add(Kind.THUMBNAIL, who, partial(done.append, f"{who}{number}"))
        for number, who in enumerate(asked)
    ]
    large = queue.add(Kind.PAINTING, "d", partial(done.append, "large"))
    queue.add(Kind.PREVIEW, "a", partial(done.append, "preview"))
    left_out = queue.add(Kind.PREVIEW, "b", partial(done.append, "left out"))
    assert queue.ahead(tasks[2]) == 5
    assert queue.ahead(large) == 1
    left_out.future.cancel()
    go_on.set()
    large.future.result()
    assert done == ["preview", "a0", "b3", "c5", "a1", "b4", "a2", "large"]
    assert queue.stop(1)


def test_a_new_preview_drops_the_one_that_waits(client: TestClient, photo: Path) -> None:
    painter = client.app.app.state.held.painter  # type: ignore[attr-defined]
    held = client.app.app.state.held.photos.get(give(client, photo)["id"])  # type: ignore[attr-defined]
    go_on = threading.Event()
    painter.queue.add(Kind.PREVIEW, "b", go_on.wait)
    asked = [painter.preview(held, Options(style="tiny", strength=s / 4)) for s in range(4)]
    assert [task.future.cancelled() for task in asked] == [True, True, True, False]
    go_on.set()
    assert opened(asked[-1].future.result()).size == (80, 60)


def test_small_pictures_do_not_wait_for_large_ones(client: TestClient, photo: Path) -> None:
    painter = client.app.app.state.held.painter  # type: ignore[attr-defined]
    id, go_on = give(client, photo)["id"], threading.Event()
    painter.queue.add(Kind.PAINTING, "b", go_on.wait)
    begun = client.post(f"/api/photos/{id}/paintings", json={"style": "tiny"}).json()["id"]
    assert client.get(f"/api/photos/{id}/thumbnails/tiny").status_code == 200
    state = client.get(f"/api/paintings/{begun}").json()
    assert (state["state"], state["ahead"]) == ("waiting", 1)
    refusal(client.get(f"/api/paintings/{begun}/file"), 409, "not painted yet")
    go_on.set()


# --- the program ---


@pytest.mark.slow
def test_the_program_serves_without_pytorch_until_ctrl_c(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "temporary").mkdir()
    program = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "fast_style.cli", "app", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "stderr").open("w"),
        text=True,
    )
    with program:
        assert program.stdout is not None
        address = re.search(r"http://127.0.0.1:\d+/", program.stdout.readline())
        assert address is not None
        with httpx.Client(base_url=address[0], timeout=120) as client:
            assert "<title>" in client.get("/").text
            assert "openPainter" in client.get("/painter.js").text
            id = give(client, photo)["id"]
            assert opened(client.get(f"/api/photos/{id}/thumbnails/wave").content).size == (
                200,
                200,
            )
            assert painted(client, id, style="wave").status_code == 200
            assert list((tmp_path / "temporary").iterdir())
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
    assert not list((tmp_path / "temporary").iterdir())
    said = (tmp_path / "stderr").read_text()
    assert "openvino" in said
    assert not re.search(r"\| +torch$", said, re.MULTILINE)
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_refused_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("app", "--port", str(port))
        refused_command(result, f"port {port}", "choose another")
        assert "while attempting" not in result.stderr


def test_a_device_that_is_not_there_is_refused_before_the_page_opens() -> None:
    result = run("app", "--port", "0", "--device", "meta")
    refused_command(result, "meta", "--device")
    assert "listens" not in result.stdout


# --- training ---


@pytest.mark.parametrize("setting", ["foo=bar", "data.size=-3", "data.size"])
def test_wrong_settings_of_trainings_are_refused_at_the_start(setting: str) -> None:
    refused_command(run("app", setting), setting.partition("=")[0])


def wait_for(client: TestClient, id: str, *states: str) -> dict[str, Any]:
    while True:
        (training,) = client.get(f"/api/trainings?mine={id}").json()["mine"]
        if training["state"] in states:
            return cast(dict[str, Any], training)
        time.sleep(0.1)


@pytest.mark.slow
def test_a_training_that_is_stopped_keeps_its_network(tmp_path: Path, photo: Path) -> None:
    styles, empty = tmp_path / "styles", tmp_path / "empty"
    empty.mkdir()
    with serving(styles, training=SMALLEST) as client:

        def start(name: str, photos: str) -> str:
            data = {"photos": photos, "steps": str(ENDLESS), "name": name}
            with photo.open("rb") as file:
                answer = client.post("/api/trainings", files={"file": file}, data=data)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])

        first, second, third = start("My noise!", ""), start("b", str(empty)), start("c", "")
        with photo.open("rb") as file:
            refusal(client.post("/api/trainings", files={"file": file}), 429, "3 of your trainings")
        assert client.get("/api/trainings").json() == {"running": 1, "waiting": 2, "mine": []}
        assert wait_for(client, third, "waiting")["ahead"] == 2
        client.post(f"/api/trainings/{third}/cancel")
        assert wait_for(client, third, "cancelled")["style"] is None

        while not (seen := wait_for(client, first, "running"))["losses"]:
            time.sleep(0.1)
        assert seen["steps"] == ENDLESS
        assert 0 < seen["step"] < ENDLESS
        assert seen["secondsLeft"] > 0
        assert set(seen["losses"][0]) == {"step", "content", "style", "total"}
        client.post(f"/api/trainings/{first}/cancel")
        stopped = wait_for(client, first, "cancelled")
        assert stopped["style"] == "my-noise"
        assert opened(client.get(f"/{stopped['picture']}").content).format == "JPEG"
        trained = read_style(styles / "my-noise.safetensors")
        assert 0 < trained.losses["step"] < ENDLESS
        assert {"id": "my-noise", "name": "my-noise"} in client.get("/api/hello").json()["styles"]

        failed = wait_for(client, second, "failed")
        assert "empty" in failed["error"]
        assert "holds no picture" in failed["error"]
        assert str(tmp_path / "styles") not in failed["error"]


def test_wrong_trainings_are_refused(styles: Path, tmp_path: Path, photo: Path) -> None:
    allowed = tmp_path / "allowed"
    (allowed / "inner").mkdir(parents=True)
    (allowed / "way-out").symlink_to("/etc")
    with serving(styles, "token", (allowed,)) as client:
        trainings = client.app.app.state.held.trainings  # type: ignore[attr-defined]
        assert trainings.photo_folder(str(allowed / "inner")) == (allowed / "inner").resolve()
        for path in (
            "/etc",
            f"{allowed}/../..",
            f"{allowed}/way-out",
            f"{allowed}/no",
            "\0",
            "x" * 5000,
        ):
            with pytest.raises(Refusal, match="no folder on the server") as caught:
                trainings.photo_folder(path)
            assert caught.value.status == 400
        content = photo.read_bytes()
        for data in ({"steps": "0"}, {"steps": "-3"}, {"steps": "1e9"}, {"photos": "/etc"}):
            answer = client.post(
                "/token/api/trainings", files={"file": ("a.jpg", content)}, data=data
            )
            refusal(answer, 400)
        answer = client.post("/token/api/trainings", files={"file": ("text.jpg", b"no picture")})
        refusal(answer, 400, "text.jpg is not a picture")
        refusal(client.post("/token/api/trainings/x/cancel"), 404)
        assert client.get("/token/api/trainings?mine=x").json() == {
            "running": 0,
            "waiting": 0,
            "mine": [],
        }
        assert not list(trainings.folder.iterdir())
    with serving(styles, "token") as client:
        trainings = client.app.app.state.held.trainings  # type: ignore[attr-defined]
        with pytest.raises(Refusal):
            trainings.photo_folder(str(allowed))


def test_a_photo_that_is_forgotten_while_it_waits_is_not_here(tmp_path: Path) -> None:
    shelf = PhotoShelf(tmp_path, Limits())
    with (PHOTOS / "chelsea.jpg").open("rb") as upload:
        photo = shelf.add(upload, "chelsea.jpg", "somebody")
    assert photo.middle().width > photo.small().width
    shelf.forget(photo.id)
    for look in (photo.middle, photo.small):
        with pytest.raises(Refusal, match="not here any more") as refused:
            look()
        assert refused.value.status == 404
