"""`fast-style stylize --watch`: pictures that arrive in a real folder, some of them slowly."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import files, heed_ctrl_c, noise, refused, run
from PIL import Image

from fast_style.errors import UserError
from fast_style.stylizing.watching import SETTLED_S, Watch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals")


class Watching:
    """The program, watching the folder ``in``, writing to ``out``, and telling in JSON."""

    def __init__(self, folder: Path, style: Path, *more: str) -> None:
        self.folder = folder
        (folder / "in").mkdir(exist_ok=True)
        command = ["-m", "fast_style.cli", "stylize", "--watch", "in", "-o", "out", "--json"]
        self.program = subprocess.Popen(
            [sys.executable, *command, "--style", str(style), *more],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            preexec_fn=heed_ctrl_c,
        )
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        assert self.program.stderr is not None
        assert self.program.stderr.readline() == "fast-style: watching in; Ctrl-C ends this\n"
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.program.stdout is not None
        for line in self.program.stdout:
            self.lines.put(json.loads(line))

    def next(self) -> dict[str, Any]:
        return self.lines.get(timeout=180)

    def end(self) -> str:
        """Press Ctrl-C, and return what was said on standard error."""
        self.program.send_signal(signal.SIGINT)
        _, said = self.program.communicate(timeout=30)
        self.reader.join(10)
        assert self.program.returncode == 130
        return said


@pytest.fixture
def watching(tmp_path: Path, style: Path) -> Iterator[Callable[..., Watching]]:
    started = []

    def start(*more: str) -> Watching:
        started.append(Watching(tmp_path, style, *more))
        return started[-1]

    yield start
    for found in started:
        found.program.kill()
        found.program.wait()


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    noise(width, height).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
def test_pictures_are_stylized_as_they_arrive(
    tmp_path: Path, watching: Callable[..., Watching]
) -> None:
    (tmp_path / "in").mkdir()
    noise(40, 30).save(tmp_path / "in" / "early.png")
    program = watching()
    first = program.next()
    assert (first["source"], first["output"]) == ("in/early.png", "out/early.png")

    content = png(200, 150)
    with (tmp_path / "in" / "slow.png").open("wb") as file:
        for begin in range(0, len(content), 9000):  # ten pieces, in more than SETTLED_S
            file.write(content[begin : begin + 9000])
            file.flush()
            assert program.lines.empty()
            time.sleep(0.15)
    slow = program.next()
    assert (slow["source"], slow["size"], slow["error"]) == ("in/slow.png", [200, 150], None)
    with Image.open(tmp_path / "out" / "slow.png") as painted:
        painted.load()

    # A tree that is moved into the folder at once, and a picture that is replaced.
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    noise(24, 20).save(tmp_path / "tree" / "deep" / "two words.jpg")
    (tmp_path / "tree").rename(tmp_path / "in" / "tree")
    assert program.next()["output"] == "out/tree/deep/two words.jpg"
    noise(50, 40).save(tmp_path / "in" / "early.png")
    again = program.next()
    assert (again["output"], again["size"]) == ("out/early.png", [50, 40])

    said = program.end()
    assert said == "fast-style: stopped; what was written before is complete\n"
    assert files(tmp_path / "out") == ["early.png", "slow.png", "tree/deep/two words.jpg"]

    # What is done is not done again; what came in the meantime is.
    noise(24, 20).save(tmp_path / "in" / "meanwhile.png")
    program = watching()
    found = {line["source"]: line["skipped"] for line in (program.next() for _ in range(4))}
    assert found == {
        "in/early.png": True,
        "in/slow.png": True,
        "in/tree/deep/two words.jpg": True,
        "in/meanwhile.png": False,
    }
    program.end()


@pytest.mark.slow
def test_what_cannot_be_used_is_told_and_watching_goes_on(
    tmp_path: Path, watching: Callable[..., Watching]
) -> None:
    program = watching("--no-recursive")
    (tmp_path / "in" / "photo.cr2").write_bytes(b"\0" * 40)
    assert "raw file" in program.next()["error"]
    content = png(99, 99)
    half = tmp_path / "in" / "half.png"
    half.write_bytes(content[:9000])  # and the rest much later
    assert "half.png is damaged or incomplete" in program.next()["error"]
    assert not (tmp_path / "out").exists()
    half.write_bytes(content)
    assert program.next()["output"] == "out/half.png"
    (tmp_path / "in" / "deep").mkdir()
    noise(24, 20).save(tmp_path / "in" / "deep" / "below.png")
    noise(24, 20).save(tmp_path / "in" / "last.png")
    assert program.next()["output"] == "out/last.png"
    program.end()
    assert program.lines.empty()


def test_results_within_the_folder_are_no_arrivals(tmp_path: Path) -> None:
    watch = Watch(tmp_path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    for name in ("a.png", "out/b.png"):
        noise(24, 20).save(tmp_path / name)
    (tmp_path / "empty.png").touch()
    assert watch.arrived() == ([], [], [])
    time.sleep(SETTLED_S + 0.1)
    assert watch.arrived() == ([], [tmp_path / "a.png"], [])
    assert watch.arrived() == ([], [], [])


def test_folders_that_cannot_be_watched(tmp_path: Path, style: Path) -> None:
    def watch(folder: Path, out: Path) -> None:
        sentence = refused(run("stylize", "--watch", folder, "--style", style, "-o", out))
        assert str(tmp_path) in sentence

    watch(tmp_path, tmp_path)
    watch(tmp_path, tmp_path / "a.png")
    watch(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(UserError, match="name another folder with -o"):
        Watch(tmp_path, tmp_path / ".")
