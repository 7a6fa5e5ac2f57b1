"""The command line: usage, help, exit codes, and the program as a process of its own."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import files, heed_ctrl_c, refused, run
from PIL import Image

from fast_style.checkpoint import shipped_styles, small_styles
from fast_style.cli import main
from fast_style.shell import program

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stylize"], "Missing argument"),
        (["stylize", "photo.jpg"], "Missing option '--style'. Choose composition-vii, "),
        (["stylise", "photo.jpg"], "No such command 'stylise'"),
        (["stylize", "photo.jpg", "--style", "x", "--sice", "64"], "No such option"),
        (["sheet", "photo.jpg", "--strength", "1.5"], "'--strength'"),
        (["sheet", "photo.jpg", "--strength", "nan"], "'--strength'"),
        (["stylize", "photo.jpg", "--style", "wave", "--strength", "nan"], "'--strength'"),
        (["demo", "--minutes", "inf"], "'--minutes'"),
        (["sheet", "photo.jpg", "--size", "15"], "'--size'"),
        (["demo", "--steps", "0"], "'--steps'"),
        (["demo", "--minutes", "0"], "'--minutes'"),
        (["demo", "--seed", "-1"], "'--seed'"),
    ],
)
def test_wrong_usage(arguments: Sequence[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_folder_without_pictures(tmp_path: Path, style: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(
        run("stylize", empty, "--style", style, "-o", tmp_path / "out"), "empty holds no picture"
    )
    assert not (tmp_path / "out").exists()


def test_styles_are_listed() -> None:
    result = run("styles")
    assert result.exit_code == 0
    for name in [*shipped_styles(), *small_styles()]:
        assert f"{name} " in result.stdout
    assert "fast-style stylize" in result.stdout


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert "0.1.0" in result.stdout


@pytest.mark.parametrize(
    "command", [[], ["stylize"], ["sheet"], ["demo"], ["optimize"], ["evaluate"], ["styles"]]
)
def test_help(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


COMMANDS = ["stylize", "sheet", "demo", "optimize", "evaluate"]


def shown_examples(command: Sequence[str]) -> list[list[str]]:
    """The command lines in a help page, as words, without the program."""
    _, lines = run(*command, "--help").stdout.split("Examples:\n")
    words = [shlex.split(line, comments=True) for line in lines.strip().splitlines()]
    called = shlex.split(program())
    assert all(line[: len(called)] == called for line in words)
    return [line[len(called) :] for line in words]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_examples_in_the_help_are_understood(command: list[str]) -> None:
    shown = shown_examples(command)
    assert shown
    for name, *arguments in shown:
        assert [name] == command or not command
        main.commands[name].make_context(name, arguments)  # raises what wrong usage raises


# --- in a process of its own ---


def process(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "program",
    [[REPOSITORY / "scripts" / "stylize.py"], ["-m", "fast_style.cli", "stylize"]],
    ids=["script", "module"],
)
def test_stylizing_from_a_shell(
    tmp_path: Path, style: Path, photo: Path, program: list[str | Path]
) -> None:
    done = process(*program, "photo.jpg", "nowhere.jpg", "--style", style, cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere.jpg does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("1 picture in ")
    assert files(tmp_path) == ["photo.jpg", "stylized/photo.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce this limit")
@pytest.mark.parametrize("megabytes", [300, 700])
@pytest.mark.parametrize(
    "command",
    [
        ["stylize", "photo.png", "--style", "wave"],
        ["sheet", "photo.png", "--style", "wave", "--size", "1200"],
        ["optimize", "photo.png", "photo.png", "--size", "1200"],
        ["evaluate", "wave"],
    ],
    ids=lambda command: command[0],
)
def test_a_lack_of_memory_is_reported_in_a_sentence(
    tmp_path: Path, command: list[str], megabytes: int
) -> None:
    Image.new("RGB", (1200, 900), "red").save(tmp_path / "photo.png")
    code = (
        "import resource; "
        f"resource.setrlimit(resource.RLIMIT_AS, ({megabytes} * 2**20, {megabytes} * 2**20)); "
        f"from fast_style.cli import main; main({command})"
    )
    done = process("-c", code, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert "memory" in done.stderr.splitlines()[-1]
    assert files(tmp_path) == ["photo.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals")
def test_a_large_picture_shows_progress_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    import pty
    import termios

    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(small).resize((3600, 2700)).save(tmp_path / "large.jpg")
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = ["-m", "fast_style.cli", "stylize", "large.jpg", "--style", "wave", "-o", "out"]
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    ) as program:
        os.close(theirs)
        seen = b""
        while not re.search(rb"0/1 \[00:0[1-9]", seen):  # the clock runs on within the picture
            seen += os.read(terminal, 1000)
        program.send_signal(signal.SIGINT)
        sent = time.monotonic()
        while b"stopped" not in seen:
            seen += os.read(terminal, 1000)
        assert program.wait(60) == 130
        # One pass takes several seconds, and longer on a busy machine.
        assert time.monotonic() - sent < 2
    os.close(terminal)
    assert files(tmp_path) == ["large.jpg"]


def test_names_that_are_not_utf_8(tmp_path: Path, style: Path, photo: Path) -> None:
    name = os.fsdecode(b"gr\xfcn.jpg")
    try:
        photo.rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system accepts only UTF-8")
    done = process("-m", "fast_style.cli", "stylize", name, "--style", style, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stylized" / name).exists()


@pytest.mark.parametrize("script", ["stylize.py", "train.py"])
def test_help_of_scripts(tmp_path: Path, script: str) -> None:
    done = process(REPOSITORY / "scripts" / script, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {"stylize.py": "--style", "train.py": "style=PAINTING"}[script] in done.stdout
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "command",
    [["--help"], *([name, "--help"] for name in ("stylize", "sheet", "demo", "optimize"))],
)
def test_help_does_not_wait_for_pytorch(tmp_path: Path, command: list[str]) -> None:
    code = (
        "import sys; from fast_style.cli import main; "
        f"main({command}, standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = process("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
