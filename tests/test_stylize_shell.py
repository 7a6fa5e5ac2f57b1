"""`fast-style stylize` in a shell: pipes, JSON, what is done already, trees, and odd names."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from command_line import complaints, files, noise, refused, run
from film_making import make_film, times_of
from PIL import Image

from fast_style.cli import main

PROGRAM = [sys.executable, "-m", "fast_style.cli"]


def stylize(*arguments: str | Path, stdin: bytes = b"") -> Result:
    given = [str(argument) for argument in ("stylize", *arguments)]
    result = CliRunner().invoke(main, given, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def shell(command: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command line in which ``stylize`` stands for the program."""
    line = f'stylize() {{ "{sys.executable}" -m fast_style.cli stylize "$@"; }}\n{command}'
    return subprocess.run(
        ["bash", "-c", line], input=stdin, cwd=cwd, capture_output=True, timeout=120, check=False
    )


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def encoded(picture: Image.Image, file_format: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


# --- standard input and output ---


@pytest.mark.parametrize(
    ("given", "options", "written"),
    [
        ("PNG", [], "PNG"),
        ("JPEG", [], "JPEG"),
        ("WEBP", ["-o", "-"], "WEBP"),
        ("GIF", [], "PNG"),
        ("JPEG", ["--format", "png"], "PNG"),
        ("PNG", ["--format", ".JPG"], "JPEG"),
    ],
)
def test_a_picture_goes_from_pipe_to_pipe(
    style: Path, given: str, options: list[str], written: str
) -> None:
    result = stylize("-", "--style", style, *options, stdin=encoded(noise(40, 30), given))
    assert result.exit_code == 0, result.stderr
    painted = opened(result.stdout_bytes)
    assert (painted.format, painted.size) == (written, (40, 30))
    assert result.stderr == ""


def test_pipes_give_the_pixels_that_files_give(tmp_path: Path, style: Path) -> None:
    content = encoded(noise(40, 30), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    assert stylize(tmp_path / "a.png", "--style", style, "-o", tmp_path / "out").exit_code == 0
    with Image.open(tmp_path / "out" / "a.png") as expected:
        piped = stylize("-", "--style", style, stdin=content)
        np.testing.assert_array_equal(opened(piped.stdout_bytes), expected)


def test_bytes_pass_through_the_program_as_they_are(tmp_path: Path, style: Path) -> None:
    done = shell(
        f"stylize - --style '{style}' --format png | tee out.png",
        tmp_path,
        stdin=encoded(noise(40, 30), "PNG"),
    )
    assert done.returncode == 0, done.stderr
    assert opened(done.stdout).size == (40, 30)
    assert done.stdout == (tmp_path / "out.png").read_bytes()
    assert done.stderr == b""
    assert files(tmp_path) == ["out.png"]


def test_a_file_goes_to_standard_output_in_its_own_format(style: Path, photo: Path) -> None:
    result = stylize(photo, "--style", style, "-o", "-")
    assert opened(result.stdout_bytes).format == "JPEG"


def test_standard_input_goes_to_a_file_or_a_folder(
    tmp_path: Path, style: Path, photo: Path
) -> None:
    content, out = encoded(noise(40, 30), "WEBP"), tmp_path / "out"
    named = stylize("-", "--style", style, "-o", out / "night.png", stdin=content)
    assert named.stdout.startswith("1 picture in ")
    together = stylize(photo, "-", "--style", style, "-o", out, stdin=content)
    assert together.stdout.startswith("2 pictures in ")
    assert files(out) == ["night.png", "photo.jpg", "stdin.webp"]


@pytest.mark.parametrize(("suffix", "made"), [(".mp4", ".mp4"), (".webm", ".mkv"), (".ts", ".mkv")])
def test_films_on_standard_input_and_output(
    tmp_path: Path, style: Path, suffix: str, made: str
) -> None:
    codec = {"codec": "libvpx-vp9", "options": {}} if suffix == ".webm" else {}
    film = make_film(tmp_path / f"a{suffix}", frames=4, **codec)
    to_file = stylize("-", "--style", style, "-o", tmp_path / "b.mkv", stdin=film.read_bytes())
    assert to_file.stdout.startswith("1 film in ")
    to_stdout = stylize("-", "--style", style, stdin=film.read_bytes())
    piped = tmp_path / f"c{made}"
    piped.write_bytes(to_stdout.stdout_bytes)
    with av.open(str(piped)) as container:
        assert (made[1:] == "mp4") == ("mp4" in container.format.name)
    times = pytest.approx([float(time) for time in times_of(film)], abs=0.001)
    for target in (tmp_path / "b.mkv", piped):
        assert [float(time) for time in times_of(target)] == times


@pytest.mark.parametrize("content", [b"", b"hello\n", encoded(noise(99, 99), "PNG")[:-900]])
def test_what_is_wrong_with_standard_input_is_said_without_a_file(
    tmp_path: Path, style: Path, content: bytes
) -> None:
    result = stylize("-", "--style", style, stdin=content)
    sentence = refused(result, "standard input is ")
    assert "/" not in sentence
    assert result.stdout == ""


def test_a_film_on_standard_input_that_is_cut_off(tmp_path: Path, style: Path) -> None:
    film = make_film(tmp_path / "a.mp4").read_bytes()  # what its frames are stands at its end
    for cut in (film[: len(film) // 2], b""):
        result = stylize("-", "--style", style, "-o", tmp_path / "b.mp4", stdin=cut)
        sentence = refused(result, "standard input is no film that can be read, or is damaged")
        assert "stdin" not in sentence
    refused(stylize("-", "--style", style, stdin=film[:-900]), "standard input holds", "is damaged")
    assert files(tmp_path) == ["a.mp4"]
    picture = encoded(noise(40, 30), "PNG")
    result = stylize("-", "--style", style, "-o", tmp_path / "b.mp4", stdin=picture)
    refused(result, "b.mp4 is a film's name, and standard input a picture")


def test_warnings_call_standard_input_by_its_name(style: Path) -> None:
    file = io.BytesIO()
    noise(40, 30).save(file, "TIFF", save_all=True, append_images=[noise(40, 30)])
    result = stylize("-", "--style", style, stdin=file.getvalue())
    assert result.stderr == ("fast-style: standard input has 2 pages: only the first is used\n")


def test_streams_that_do_not_serve(tmp_path: Path, style: Path, photo: Path) -> None:
    refused(stylize("-", "-", "--style", style, "-o", tmp_path / "o"), "name - once")
    refused(stylize(photo, photo, "--style", style, "-o", "-"), "one picture", "name a folder")
    refused(stylize(tmp_path, "--style", style, "-o", "-"), "one picture", "name a folder")
    refused(stylize("-", "--style", style, "--style", "wave"), "several styles")
    both = stylize("-", "--style", style, "--json")
    assert both.exit_code == 2
    assert "name a file with -o" in both.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals")
@pytest.mark.parametrize("stream", ["input", "output"])
def test_a_terminal_is_no_picture(tmp_path: Path, style: Path, photo: Path, stream: str) -> None:
    import pty

    terminal, theirs = pty.openpty()
    arguments = ["-", "-o", "x.png"] if stream == "input" else [str(photo), "-o", "-"]
    done = subprocess.run(
        [*PROGRAM, "stylize", "--style", str(style), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    os.close(theirs)
    os.close(terminal)
    assert done.returncode == 2
    assert f"standard {stream} is a terminal: ".encode() in done.stderr


def test_a_file_named_like_the_stream(
    tmp_path: Path, style: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo.rename("-")
    assert stylize("./-", "--style", style, "-o", "out").exit_code == 0
    assert files(tmp_path / "out") == ["-.png"]


# --- formats ---


def test_all_pictures_are_written_in_one_format(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.JPG", "c.gif"):
        noise(40, 30).save(folder / name)
    assert stylize(folder, "--style", style, "-o", out, "--format", "webp").exit_code == 0
    assert files(out) == ["a.webp", "b.webp", "c.webp"]


def test_formats_that_contradict_or_are_unknown(tmp_path: Path, style: Path, photo: Path) -> None:
    out = tmp_path / "a.png"
    refused(
        stylize(photo, "--style", style, "-o", out, "--format", "jpg"), "a.png does not", ".jpg"
    )
    assert (
        stylize(photo, "--style", style, "-o", tmp_path / "a.jpeg", "--format", "jpg").exit_code
        == 0
    )
    unknown = stylize(photo, "--style", style, "--format", "cr2")
    assert unknown.exit_code == 2
    assert "'cr2' is no format to write: choose " in unknown.stderr


# --- JSON and quiet ---


def test_a_line_of_json_for_each_file(tmp_path: Path, style: Path, photo: Path) -> None:
    out, missing = tmp_path / "out", tmp_path / "missing.jpg"
    result = stylize(photo, missing, "--style", style, "--json", "-o", out, "--size", "40")
    assert result.exit_code == 2
    good, bad = lines(result)
    assert 0 < good.pop("seconds") < 60
    assert good == {
        "source": str(photo),
        "output": str(out / "photo.jpg"),
        "size": [40, 30],
        "skipped": False,
        "error": None,
    }
    assert bad["source"] == str(missing)
    assert bad["error"].startswith(f"{missing} does not exist")
    assert bad["output"] is bad["size"] is None
    assert complaints(result) == [f"fast-style: {bad['error']}"]


def test_json_tells_what_gives_no_job(tmp_path: Path, style: Path, photo: Path) -> None:
    empty, raw = tmp_path / "empty", tmp_path / "in" / "a.cr2"
    empty.mkdir()
    raw.parent.mkdir()
    raw.touch()
    noise(40, 30).save(raw.parent / "b.png")
    result = stylize(empty, raw.parent, photo, "--style", style, "--json", "-o", photo.parent)
    assert [line["source"] for line in lines(result)] == [
        str(path) for path in (empty, raw, photo, raw.parent / "b.png")
    ]
    assert [line["error"] is None for line in lines(result)] == [False, False, False, True]


def test_json_holds_names_of_any_bytes(tmp_path: Path, style: Path, photo: Path) -> None:
    name = os.fsdecode(b"gr\xfcn \x1b[31m\n.jpg")
    try:
        photo.rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system accepts only UTF-8")
    (line,) = lines(stylize(tmp_path / name, "--style", style, "--json", "-o", tmp_path / "out"))
    assert Path(line["source"]) == tmp_path / name
    assert Path(line["output"]).exists()


def test_quiet_prints_errors_only(tmp_path: Path, style: Path, photo: Path) -> None:
    frames = [noise(40, 30), noise(40, 30).rotate(90)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    given: list[str | Path] = [photo, tmp_path / "a.tif", "--style", style, "-o", tmp_path / "out"]
    assert stylize(*given, "-q").output == ""
    result = stylize(*given, tmp_path / "missing.jpg", "--quiet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(complaints(result)) == 1


def test_a_pipe_gets_no_bars_and_no_colours(tmp_path: Path, style: Path, photo: Path) -> None:
    done = shell(f"stylize photo.jpg missing.jpg --style '{style}' --band-rows 8", tmp_path)
    said = done.stdout + done.stderr
    assert not re.search(rb"[\r\x1b]|%", said)
    assert len(said.splitlines()) == 2


# --- what is done already ---


def test_what_is_done_is_skipped_until_something_changes(
    tmp_path: Path, style: Path, photo: Path
) -> None:
    mine, out = tmp_path / "mine.safetensors", tmp_path / "out"
    mine.write_bytes(style.read_bytes())

    def skipped(*more: str) -> list[bool]:
        result = stylize(tmp_path, "--style", mine, "--json", "-o", out, *more)
        assert result.exit_code == 0
        return [line["skipped"] for line in lines(result)]

    assert skipped("--skip-existing") == [False]
    before = (out / "photo.jpg").stat().st_mtime_ns
    assert skipped("--skip-existing") == [True]
    assert (out / "photo.jpg").stat().st_mtime_ns == before
    assert skipped() == [False]
    noise(44, 33).save(tmp_path / "new.png")
    assert skipped("--skip-existing") == [True, False]  # what is skipped comes first
    for changed in (photo, mine):
        os.utime(changed, ns=(0, (out / "photo.jpg").stat().st_mtime_ns + 1))
        assert False in skipped("--skip-existing")
        os.utime(changed, ns=(0, 0))
    assert skipped("--skip-existing", "--size", "40") == [False, False]
    assert files(out) == ["new-mine.png", "new.png", "photo-mine.jpg", "photo.jpg"]


def test_the_summary_counts_what_was_skipped(tmp_path: Path, style: Path, photo: Path) -> None:
    given: list[str | Path] = ["--style", style, "-o", tmp_path / "out", "--skip-existing"]
    stylize(photo, *given)
    assert (
        stylize(photo, *given).stdout
        == f"nothing to do, 1 picture already done: {tmp_path}/out/photo.jpg\n"
    )
    noise(44, 33).save(tmp_path / "new.png")
    assert re.fullmatch(
        rf"1 picture in [\d.]+ s, 1 picture already done: {re.escape(str(tmp_path))}/out\n",
        stylize(tmp_path / "new.png", photo, *given).stdout,
    )


def test_a_picture_of_the_users_is_not_taken_for_done(
    tmp_path: Path, style: Path, photo: Path
) -> None:
    mine = tmp_path / "out" / "photo.jpg"
    mine.parent.mkdir()
    noise(40, 30).save(mine)
    before = mine.read_bytes()
    stylize(photo, "--style", style, "-o", mine.parent, "--skip-existing")
    assert files(mine.parent) == ["photo-tiny.jpg", "photo.jpg"]
    assert mine.read_bytes() == before


# --- folders and names ---


def test_folders_below_are_left_out_where_asked(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", "deep/er/c.png"):
        noise(40, 30).save(folder / name)
    stylize(folder, "--style", style, "-o", out, "--no-recursive")
    assert files(out) == ["a.png"]
    stylize(folder, "--style", style, "-o", out, "--recursive")
    assert files(out) == ["a.png", "deep/b.png", "deep/er/c.png"]
    (folder / "a.png").unlink()
    result = stylize(folder, "--style", style, "-o", out, "--no-recursive")
    refused(result, f"{folder} holds no picture: it has no file that ends in")


NAMES = [
    "two words.png",
    " leading and trailing .png",
    "new\nline.png",
    "tab\t.png",
    "-dash.png",
    "--style.png",
    "$HOME `id` $(id).png",
    "a;b&c|d.png",
    'it\'s "quoted".png',
    "*.png",
    "[1]?.png",
    "~.png",
    "100%s {0}.png",
    "back\\slash.png",
    "日本語.png",
    "עברית.png",
    "e\u0301.png",
    "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ARTIST PALETTE}.png",
]


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
def test_globs_and_any_names_in_a_shell(tmp_path: Path, style: Path) -> None:
    for name in NAMES:
        noise(24, 20).save(tmp_path / name)
    for given, out in (("-- *.png", "by glob"), (".", "by folder"), ("./*.[Pp]ng", "by class")):
        done = shell(f"stylize --json -o '../{out}' --style '{style}' {given}", tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        made = [Path(json.loads(line)["output"]).name for line in done.stdout.splitlines()]
        assert sorted(made) == sorted(NAMES)
        assert files(tmp_path.parent / out) == sorted(NAMES)


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
def test_odd_names_stay_on_one_line(tmp_path: Path, style: Path) -> None:
    for name in ("new\nline.png", "red\x1b[31m.png"):
        noise(24, 20).save(tmp_path / name)
        done = stylize(tmp_path / name, "--style", style, "-o", tmp_path / "out")
        assert len(done.stdout.splitlines()) == 1
        assert "\x1b" not in done.stdout
        gone = stylize(tmp_path / f"no {name}", "--style", style, "-o", tmp_path / "out")
        assert "\x1b" not in refused(gone, "does not exist: check the name")


# --- workers and refusals ---


def test_several_files_are_read_and_written_at_once(tmp_path: Path, style: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(7):
        noise(24 + number, 20).save(folder / f"{number}.png")
    for workers in ("1", "3"):
        out = tmp_path / workers
        result = stylize(folder, "--style", style, "-o", out, "--workers", workers, "--json")
        assert [Path(line["source"]).name for line in lines(result)] == files(folder)
    for name in files(folder):
        with Image.open(tmp_path / "1" / name) as one, Image.open(tmp_path / "3" / name) as three:
            np.testing.assert_array_equal(one, three)
    assert run("stylize", folder, "--style", style, "--workers", "0").exit_code == 2


def test_each_refusal_names_the_file_and_a_remedy(tmp_path: Path, style: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "photo.cr2").write_bytes(b"\0\0\0\x18ftypcrx ")
    noise(4, 4).save(tmp_path / "small.png")
    noise(99, 99).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-900])
    (tmp_path / "folder").mkdir()
    (tmp_path / "name\x1b.png").touch()
    names = ["folder", *files(tmp_path), "missing.jpg"]  # folders are listed first
    result = stylize(*(tmp_path / name for name in names), "--style", style, "-o", tmp_path / "out")
    assert result.exit_code == 2
    for name, line in zip(names, complaints(result), strict=True):
        assert line.startswith(f"fast-style: {tmp_path / name}".replace("\x1b", "\\x1b"))
        assert re.search(r": [a-z]+ ", line.removeprefix("fast-style: ")), line


# --- completion ---


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_styles_options_and_files(tmp_path: Path) -> None:
    script = """
        eval "$(_FAST_STYLE_COMPLETE=bash_source fast-style)"
        compopt() { echo "files"; }
        try() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _fast_style_completion fast-style
            echo "${COMPREPLY[*]}"
        }
        try fast-style stylize --skip
        try fast-style stylize a.jpg --style st
        try fast-style stylize a.jpg --style ./mi
        try fast-style evaluate wa
    """
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PATH": os.pathsep.join((scripts, os.environ["PATH"]))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == [
        "--skip-existing",
        "stained-glass",
        "starry-night",
        "files",
        "wave",
    ]
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_take_the_line_of_the_docs(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(
        main, prog_name="fast-style", env={"_FAST_STYLE_COMPLETE": f"{name}_source"}
    )
    assert result.exit_code == 0
    assert "_fast_style_completion" in result.stdout
    if shutil.which(name):
        file = tmp_path / "completion"
        file.write_text(result.stdout)
        check = subprocess.run([name, "-n", file], capture_output=True, check=False)
        assert (check.returncode, check.stderr) == (0, b"")
