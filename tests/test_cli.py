"""The command line, as a user meets it: what is written, what is said, and the exit code."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import ExifTags, Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fast_style.checkpoint import TrainedStyle, save_style, shipped_styles
from fast_style.cli import main
from fast_style.images import open_picture
from fast_style.networks.transformer import ImageTransformer
from fast_style.shell import program

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("style") / "tiny.safetensors"
    save_style(TrainedStyle(ImageTransformer((4, 8, 8), residual_blocks=1), "tiny"), path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    noise(80, 60).save(path)
    return path


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    shape = (height, width, channels)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def stylize(*arguments: str | Path) -> Result:
    return run("stylize", *arguments)


def complaints(result: Result) -> list[str]:
    return result.stderr.splitlines()


def refused(result: Result, *names: str) -> str:
    """The one sentence, which names all these, that the run ended with."""
    (sentence,) = complaints(result)
    assert result.exit_code == 2
    assert sentence.startswith("fast-style: ")
    for name in names:
        assert name in sentence
    assert "Traceback" not in result.output
    return sentence


def files(folder: Path) -> list[str]:
    """All files in a folder and below, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(open_picture(path))


# What a folder of pictures holds


def truncated(path: Path) -> None:
    noise(64, 48).save(path)
    path.write_bytes(path.read_bytes()[:-900])


def text(path: Path) -> None:
    path.write_text("this is no picture\n" * 20)


def png_named_jpg(path: Path) -> None:
    noise(61, 35).save(path, format="PNG")


def palette(path: Path) -> None:
    noise(40, 30).quantize(17).save(path)


def grey_of_16_bits(path: Path) -> None:
    Image.fromarray(np.arange(40 * 30, dtype=np.uint16).reshape(30, 40) * 50).save(path)


def cmyk(path: Path) -> None:
    noise(40, 30).convert("CMYK").save(path)


def transparent(path: Path) -> None:
    noise(40, 30, channels=4).save(path)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    noise(50, 30).save(path, exif=exif)


def one_pixel(path: Path) -> None:
    noise(1, 1).save(path)


def wide(path: Path) -> None:
    noise(20_000, 24).save(path)


def missing(path: Path) -> None:
    pass


Maker = Callable[[Path], None]
GOOD: dict[str, tuple[Maker, tuple[int, int]]] = {
    "really-a-png.jpg": (png_named_jpg, (61, 35)),
    "palette.png": (palette, (40, 30)),
    "palette.gif": (palette, (40, 30)),
    "grey16.png": (grey_of_16_bits, (40, 30)),
    "cmyk.jpg": (cmyk, (40, 30)),
    "transparent.png": (transparent, (40, 30)),
    "turned.jpg": (turned, (30, 50)),
    "wide.png": (wide, (20_000, 24)),
    "name with spaces, and ü.jpg": (png_named_jpg, (61, 35)),
}
BAD: dict[str, tuple[Maker, str]] = {
    "truncated.jpg": (truncated, "damaged"),
    "empty.jpg": (Path.touch, "empty"),
    "text.jpg": (text, "not a picture"),
    "dot.png": (one_pixel, "too small"),
    "missing.jpg": (missing, "does not exist"),
}


def make(folder: Path, kinds: Mapping[str, tuple[Maker, object]]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, (maker, _) in kinds.items():
        maker(folder / name)
    return [folder / name for name in kinds]


def test_good_and_bad_pictures_in_one_batch(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos = [*make(folder, BAD), *make(folder, GOOD)]
    result = stylize(*photos, "--style", style, "-o", out)
    assert result.exit_code == 2
    lines = complaints(result)
    assert len(lines) == len(BAD)
    for name, (_, reason) in BAD.items():
        (line,) = [line for line in lines if name in line]
        assert line.startswith("fast-style: ")
        assert reason in line
    assert f"{len(GOOD)} pictures in " in result.stdout

    expected = {name: size for name, (_, size) in GOOD.items() if name != "palette.gif"}
    expected["palette-tiny.png"] = GOOD["palette.gif"][1]  # palette.png is there already
    assert files(out) == sorted(expected)
    for name, size in expected.items():
        with Image.open(out / name) as picture:
            picture.load()
            assert (picture.mode, picture.size) == ("RGB", size), name
            assert picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
            assert np.asarray(picture).std() > 1


def test_a_folder_in_which_all_is_good(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    make(folder, GOOD)
    result = stylize(folder, "--style", style, "-o", out)
    assert complaints(result) == []
    assert result.exit_code == 0
    assert len(files(out)) == len(GOOD)
    assert result.stdout.strip().endswith(str(out))


def test_turned_photos_come_out_upright(tmp_path: Path, style: Path) -> None:
    upright = noise(30, 50)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    names = [tmp_path / "turned.png", tmp_path / "upright.png"]
    assert stylize(*names, "--style", style, "-o", tmp_path / "out").exit_code == 0
    out = tmp_path / "out"
    np.testing.assert_array_equal(pixels(out / "turned.png"), pixels(out / "upright.png"))


def test_one_picture_to_a_file(tmp_path: Path, style: Path, photo: Path) -> None:
    out = tmp_path / "new" / "folder" / "night.png"
    result = stylize(photo, "--style", style, "-o", out)
    assert result.exit_code == 0
    assert result.stdout.startswith("1 picture in ")
    assert str(out) in result.stdout
    assert result.stderr == ""
    with Image.open(out) as picture:
        assert (picture.format, picture.size) == ("PNG", (80, 60))


def test_the_default_is_a_folder_named_stylized(
    tmp_path: Path, style: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert stylize("photo.jpg", "--style", style).exit_code == 0
    assert files(tmp_path / "stylized") == ["photo.jpg"]


@pytest.mark.parametrize(("size", "expected"), [(64, (64, 48)), (160, (160, 120)), (80, (80, 60))])
def test_size_is_the_longer_side(
    tmp_path: Path, style: Path, photo: Path, size: int, expected: tuple[int, int]
) -> None:
    tall = tmp_path / "tall.png"
    open_picture(photo).transpose(Image.Transpose.ROTATE_90).save(tall)
    out = tmp_path / "out"
    assert stylize(photo, tall, "--style", style, "-o", out, "--size", str(size)).exit_code == 0
    assert open_picture(out / "photo.jpg").size == expected
    assert open_picture(out / "tall.png").size == expected[::-1]


@pytest.mark.parametrize("size", ["15", "0", "-1", "big", "1000000"])
def test_impossible_sizes(tmp_path: Path, style: Path, photo: Path, size: str) -> None:
    result = stylize(photo, "--style", style, "-o", tmp_path / "out", "--size", size)
    assert result.exit_code == 2
    assert "'--size'" in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_size_that_leaves_too_little(tmp_path: Path, style: Path) -> None:
    noise(400, 20).save(tmp_path / "wide.png")
    result = stylize(
        tmp_path / "wide.png", "--style", style, "-o", tmp_path / "out", "--size", "64"
    )
    refused(result, "wide.png", "64 x 3 px")


# What people take for pictures


def test_a_folder_with_files_that_cannot_be_read(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    make(folder, {"ok.jpg": GOOD["cmyk.jpg"]})
    kinds = {
        "IMG_1.HEIC": "a HEIC photo",
        "IMG_2.CR2": "a camera's raw file",
        "c.psd": "an editor's project",
    }
    for name in kinds:
        (folder / name).write_bytes(b"\0" * 40)
    result = stylize(folder, "--style", style, "-o", out)
    assert result.exit_code == 2
    for line, (name, kind) in zip(complaints(result), kinds.items(), strict=True):
        assert line.startswith(f"fast-style: {folder / name} is {kind}, which cannot be read: ")
    assert files(out) == ["ok.jpg"]


def test_the_first_of_several_pictures(tmp_path: Path, style: Path) -> None:
    frames = [noise(40, 30), noise(40, 30).transpose(Image.Transpose.ROTATE_180)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    out = tmp_path / "out"
    styles: list[str | Path] = ["--style", style, "--style", "wave"]
    result = stylize(tmp_path / "a.gif", "--style", style, "-o", out / "a.jpg")
    assert result.exit_code == 0
    assert complaints(result) == [
        f"fast-style: {tmp_path / 'a.gif'} is an animation of 2 pictures: only the first is used"
    ]
    assert (
        run("sheet", tmp_path / "a.gif", *styles, "-o", tmp_path / "s.png").stderr.count(
            "only the first is used"
        )
        == 1
    )


def test_several_styles(tmp_path: Path, style: Path, photo: Path) -> None:
    out = tmp_path / "out"
    result = stylize(photo, text_file(tmp_path), "--style", style, "--style", "wave",
                     "--style", style, "-o", out)  # fmt: skip
    assert result.exit_code == 2
    (line,) = complaints(result)  # once, not for each style
    assert "notes.jpg" in line
    assert result.stdout.startswith("2 pictures in ")
    assert files(out) == ["photo-tiny.jpg", "photo-wave.jpg"]
    assert (
        np.abs(pixels(out / "photo-tiny.jpg").astype(int) - pixels(out / "photo-wave.jpg")).mean()
        > 5
    )


def text_file(folder: Path) -> Path:
    text(folder / "notes.jpg")
    return folder / "notes.jpg"


def test_a_second_style_replaces_nothing(tmp_path: Path, style: Path, photo: Path) -> None:
    out = tmp_path / "out"
    for name in (style, "wave", style, "wave"):
        assert stylize(photo, "--style", name, "-o", out).exit_code == 0
    assert files(out) == ["photo-wave.jpg", "photo.jpg"]


def test_a_slip_in_the_name_of_the_output(tmp_path: Path, style: Path, photo: Path) -> None:
    refused(stylize(photo, "--style", style, "-o", tmp_path / "out.jpgg"), "out.jpgg", "in .jpg")
    refused(run("sheet", photo, "--style", style, "-o", tmp_path / "out.pgn"), "out.pgn", "in .png")
    assert files(tmp_path) == ["photo.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path, style: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    refused(stylize(pipe, "--style", style, "-o", tmp_path / "out"), "pipe.png is a pipe")
    refused(run("sheet", pipe, "-o", tmp_path / "out.png"), "pipe.png is a pipe")
    refused(run("optimize", pipe, pipe, "-o", tmp_path / "out.png"), "pipe.png is a pipe")


def test_an_address(tmp_path: Path, style: Path, photo: Path) -> None:
    address, out = "https://example.com/a.jpg", tmp_path / "out"
    refused(stylize(address, "--style", style, "-o", out), f"{address} is an address", "download")
    refused(stylize(photo, "--style", address, "-o", out), f"'{address}' is an address", "download")


def test_a_painting_as_style(tmp_path: Path, photo: Path) -> None:
    way = f"fast-style train style={photo} data.dir=PHOTOS"
    refused(stylize(photo, "--style", photo, "-o", tmp_path / "out"), way, "fast-style optimize")


# Where nothing can be written


def test_a_file_above_the_folder(tmp_path: Path, style: Path, photo: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("mine")
    refused(stylize(photo, "--style", style, "-o", blocker / "out"), "blocker")
    refused(stylize(photo, "--style", style, "-o", blocker / "out.png"), "blocker")
    refused(stylize(photo, "--style", style, "-o", blocker), "blocker is a file")
    assert blocker.read_text() == "mine"
    assert files(tmp_path) == ["blocker", "photo.jpg"]


def test_several_pictures_to_one_file(tmp_path: Path, style: Path, photo: Path) -> None:
    result = stylize(photo, photo, "--style", style, "-o", tmp_path / "all.jpg")
    refused(result, "all.jpg", "folder")
    assert files(tmp_path) == ["photo.jpg"]


def test_pictures_are_never_replaced_by_their_stylized_versions(
    tmp_path: Path, style: Path, photo: Path
) -> None:
    before = photo.read_bytes()
    noise(40, 40).save(tmp_path / "elsewhere.png")
    (tmp_path / "in").mkdir()
    other = tmp_path / "in" / "other.png"
    noise(40, 40).save(other)
    refused(stylize(photo, other, "--style", style, "-o", tmp_path), "photo.jpg")
    assert photo.read_bytes() == before
    assert (tmp_path / "other.png").exists()


@pytest.mark.parametrize("where", ["picture", "out", "style"])
def test_names_that_are_too_long(tmp_path: Path, style: Path, photo: Path, where: str) -> None:
    name = "a" * 300
    given: dict[str, str | Path] = {"picture": photo, "out": tmp_path / "out", "style": style}
    given[where] = tmp_path / f"{name}.jpg"
    result = stylize(given["picture"], "--style", given["style"], "-o", given["out"])
    refused(result, name)


def test_outputs_of_before_are_replaced_in_one_go(tmp_path: Path, style: Path, photo: Path) -> None:
    out, kept = tmp_path / "out" / "photo.jpg", tmp_path / "kept.jpg"
    assert stylize(photo, "--style", style, "-o", out.parent).exit_code == 0
    first = out.read_bytes()
    os.link(out, kept)  # a file that was written into would change under both names
    noise(90, 70).save(photo)
    assert stylize(photo, "--style", style, "-o", out.parent).exit_code == 0
    assert open_picture(out).size == (90, 70)
    assert kept.read_bytes() == first
    assert files(out.parent) == ["photo.jpg"]


def test_a_failure_leaves_the_output_of_before(tmp_path: Path, style: Path, photo: Path) -> None:
    out = tmp_path / "out"
    assert stylize(photo, "--style", style, "-o", out).exit_code == 0
    first = (out / "photo.jpg").read_bytes()
    text(photo)
    refused(stylize(photo, "--style", style, "-o", out), "photo.jpg")
    assert (out / "photo.jpg").read_bytes() == first
    assert files(out) == ["photo.jpg"]


def test_a_second_run_over_the_same_folder_takes_no_results(
    tmp_path: Path, style: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert stylize(".", "--style", style).exit_code == 0
        assert files(tmp_path) == ["photo.jpg", "stylized/photo.jpg"]


# Styles and devices that cannot be used


def refused_style(tmp_path: Path, photo: Path, style: str | Path, *names: str) -> str:
    result = stylize(photo, photo, "--style", style, "-o", tmp_path / "out")
    sentence = refused(result, str(style), *names)
    assert not (tmp_path / "out").exists()
    return sentence


def test_a_style_that_is_text(tmp_path: Path, photo: Path) -> None:
    text(tmp_path / "notes.safetensors")
    refused_style(tmp_path, photo, tmp_path / "notes.safetensors", "safetensors")


def test_a_style_that_is_empty(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "empty.safetensors").touch()
    refused_style(tmp_path, photo, tmp_path / "empty.safetensors", "safetensors")


@pytest.mark.parametrize("as_torch", [True, False])
def test_a_style_is_never_unpickled(
    tmp_path: Path, photo: Path, bomb: Callable[[Path, bool], Path], as_torch: bool
) -> None:
    path = tmp_path / "style.safetensors"
    executed = bomb(path, as_torch)
    refused_style(tmp_path, photo, path)
    assert not executed.exists()


def test_a_training_checkpoint_as_style(tmp_path: Path, photo: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": ImageTransformer((4, 8, 8), 1).state_dict()}, path)
    refused_style(tmp_path, photo, path, ".ckpt only resumes training")


def test_a_style_of_another_width_than_it_says(tmp_path: Path, photo: Path, style: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_style(TrainedStyle(ImageTransformer((4, 8, 16), 1), "other"), other)
    with safe_open(style, "pt") as file:
        metadata = file.metadata()
    mixed = tmp_path / "mixed.safetensors"
    save_file(load_file(other), mixed, metadata)
    refused_style(tmp_path, photo, mixed, "does not hold the network")


def test_tensors_of_something_else_as_style(tmp_path: Path, photo: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    refused_style(tmp_path, photo, path, "no fast_style checkpoint")


@pytest.mark.parametrize("name", ["starry-knight", "", ".", "nowhere/style.safetensors"])
def test_unknown_styles(tmp_path: Path, photo: Path, name: str) -> None:
    sentence = refused_style(tmp_path, photo, name, f"'{name}'", "neither a file nor a shipped")
    for shipped in shipped_styles():
        assert shipped in sentence


@pytest.mark.parametrize("device", ["nonsense", "meta", "hpu"])
def test_unknown_devices(tmp_path: Path, style: Path, photo: Path, device: str) -> None:
    result = stylize(photo, "--style", style, "-o", tmp_path / "out", "--device", device)
    refused(result, f"'{device}'", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu(tmp_path: Path, style: Path, photo: Path) -> None:
    result = stylize(photo, "--style", style, "-o", tmp_path / "out", "--device", "cuda")
    refused(result, "'cuda'", "cpu")


# What is asked wrongly, and help


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


def test_nothing_but_bad_pictures(tmp_path: Path, style: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(stylize(empty, "--style", style, "-o", tmp_path / "out"), "empty holds no picture")
    assert not (tmp_path / "out").exists()


def test_styles_are_listed() -> None:
    result = run("styles")
    assert result.exit_code == 0
    for name in shipped_styles():
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


# As a process of its own


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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to this limit")
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
def test_too_little_memory_is_told_in_a_sentence(
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
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as program:
        os.close(theirs)
        seen = b""
        while not re.search(rb"0/1 \[00:0[1-9]", seen):  # the clock goes on
            seen += os.read(terminal, 1000)
        program.send_signal(signal.SIGINT)
        sent = time.monotonic()
        while b"stopped" not in seen:
            seen += os.read(terminal, 1000)
        assert program.wait(60) == 130
        # One pass takes several seconds, and much more on a busy machine.
        assert time.monotonic() - sent < 2
    os.close(terminal)
    assert files(tmp_path) == ["large.jpg"]


def test_names_that_are_not_utf_8(tmp_path: Path, style: Path, photo: Path) -> None:
    name = os.fsdecode(b"gr\xfcn.jpg")
    try:
        photo.rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system knows UTF-8 alone")
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
