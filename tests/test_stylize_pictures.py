"""`fast-style stylize`: pictures of all kinds, in folders and batches, and what is written."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from command_line import complaints, files, noise, refused, run
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fast_style.images import open_picture


def stylize(*arguments: str | Path) -> Result:
    return run("stylize", *arguments)


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(open_picture(path))


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
    expected["palette-tiny.png"] = GOOD["palette.gif"][1]  # palette.png exists already
    assert files(out) == sorted(expected)
    for name, size in expected.items():
        with Image.open(out / name) as picture:
            picture.load()
            mode = "RGBA" if name == "transparent.png" else "RGB"
            assert (picture.mode, picture.size) == (mode, size), name
            assert picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
            assert np.asarray(picture).std() > 1


def test_a_folder_of_good_pictures(tmp_path: Path, style: Path) -> None:
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
    exif[ExifTags.Base.Orientation] = 6  # turn it clockwise
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


def test_a_size_that_makes_a_picture_too_narrow(tmp_path: Path, style: Path) -> None:
    noise(400, 20).save(tmp_path / "wide.png")
    result = stylize(
        tmp_path / "wide.png", "--style", style, "-o", tmp_path / "out", "--size", "64"
    )
    refused(result, "wide.png", "64 x 3 px")


# --- files that people take for pictures ---


def test_a_folder_with_files_that_cannot_be_read(tmp_path: Path, style: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    make(folder, {"ok.jpg": GOOD["cmyk.jpg"]})
    kinds = {
        "IMG_1.JXL": "a JPEG XL picture",
        "IMG_2.CR2": "a camera's raw file",
        "c.svg": "a vector drawing",
    }
    for name in kinds:
        (folder / name).write_bytes(b"\0" * 40)
    result = stylize(folder, "--style", style, "-o", out)
    assert result.exit_code == 2
    for line, (name, kind) in zip(complaints(result), kinds.items(), strict=True):
        assert line.startswith(f"fast-style: {folder / name} is {kind}, which cannot be read: ")
    assert files(out) == ["ok.jpg"]


def test_only_the_first_frame_of_an_animation_is_used(tmp_path: Path, style: Path) -> None:
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
    (line,) = complaints(result)  # once, not once per style
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


def test_a_small_style_is_told_from_the_wide_one(tmp_path: Path, photo: Path) -> None:
    both = ("--style", "small/wave", "--style", "wave")
    assert stylize(photo, *both, "-o", tmp_path / "out").exit_code == 0
    assert files(tmp_path / "out") == ["photo-small-wave.jpg", "photo-wave.jpg"]
    for name in ("small-wave", "wave"):
        with Image.open(tmp_path / "out" / f"photo-{name}.jpg") as picture:
            software = picture.getexif()[ExifTags.Base.Software]
        assert software.endswith(f", style {name}")


def test_an_output_with_a_mistyped_suffix(tmp_path: Path, style: Path, photo: Path) -> None:
    refused(stylize(photo, "--style", style, "-o", tmp_path / "out.jpgg"), "out.jpgg", "in .jpg")
    refused(run("sheet", photo, "--style", style, "-o", tmp_path / "out.pgn"), "out.pgn", "in .png")
    assert files(tmp_path) == ["photo.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path, style: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    refused(stylize(pipe, "--style", style, "-o", tmp_path / "out"), "pipe.png is a pipe")
    refused(run("sheet", pipe, "-o", tmp_path / "out.png"), "pipe.png is a pipe")
    refused(run("optimize", pipe, pipe, "-o", tmp_path / "out.png"), "pipe.png is a pipe")


def test_a_web_address(tmp_path: Path, style: Path, photo: Path) -> None:
    address, out = "https://example.com/a.jpg", tmp_path / "out"
    refused(stylize(address, "--style", style, "-o", out), f"{address} is an address", "download")
    refused(stylize(photo, "--style", address, "-o", out), f"'{address}' is an address", "download")


def test_a_painting_as_style(tmp_path: Path, photo: Path) -> None:
    way = f"fast-style train style={photo} data.dir=PHOTOS"
    refused(stylize(photo, "--style", photo, "-o", tmp_path / "out"), way, "fast-style optimize")
