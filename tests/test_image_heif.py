"""HEIC photos with the extra ``heif``, and the sentence that installs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import files, run
from picture_files import ORIENTATION, P3_TO_SRGB, blocks, noise, srgb_decode, srgb_encode
from PIL import ExifTags, Image

from fast_style.errors import UserError
from fast_style.images import find_pictures, is_picture, open_photo, open_picture

pillow_heif = pytest.importorskip("pillow_heif")

HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    """A photo as a telephone writes it, turned by its EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "A telephone"
    exif[ORIENTATION] = 6
    path = tmp_path / "IMG_1.HEIC"
    file = pillow_heif.from_pillow(Image.fromarray(blocks(side=32)))
    file.save(path, quality=-1, chroma=444, exif=exif.tobytes())
    return path


def test_is_read_upright(heic: Path) -> None:
    picture = open_picture(heic)
    assert picture.size == (64, 96)
    expected = np.rot90(blocks(side=32), -1).astype(int)
    np.testing.assert_allclose(np.asarray(picture).astype(int), expected, atol=3)


def test_counts_as_a_picture(heic: Path) -> None:
    assert is_picture(heic)
    assert find_pictures(heic.parent) == [heic]


def test_other_formats_are_read_as_before(tmp_path: Path) -> None:
    Image.fromarray(blocks()).save(tmp_path / "p.heic", format="PNG")
    np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / "p.heic")), blocks())
    Image.fromarray(blocks()).save(tmp_path / "p.avif", quality=100)
    assert open_picture(tmp_path / "p.avif").size == (48, 32)


def test_becomes_a_jpeg_with_its_metadata(heic: Path, style: Path) -> None:
    out = heic.parent / "out"
    assert run("stylize", heic.parent, "--style", style, "-o", out).exit_code == 0
    assert files(out) == ["IMG_1.jpg"]
    with Image.open(out / "IMG_1.jpg") as stylized:
        assert stylized.format == "JPEG"
        assert stylized.size == (64, 96)
        assert stylized.getexif()[ExifTags.Base.Make] == "A telephone"
        assert ORIENTATION not in stylized.getexif()


def test_alpha(tmp_path: Path) -> None:
    alpha = np.linspace(0, 255, 64).astype(np.uint8)[None].repeat(48, axis=0)
    file = pillow_heif.from_pillow(Image.fromarray(np.dstack([noise(), alpha])))
    file.save(tmp_path / "p.heic", quality=-1)
    found = open_photo(tmp_path / "p.heic").alpha
    np.testing.assert_allclose(np.asarray(found).astype(int), alpha, atol=3)


def test_wide_colours_without_a_profile(tmp_path: Path) -> None:
    # The picture says Display P3 in numbers: 12 for its primaries, 13 for the curve of sRGB.
    colours = (blocks(side=32) // 2 + 64).astype(np.uint8)
    file = pillow_heif.from_pillow(Image.fromarray(colours))
    file.save(tmp_path / "p.heic", quality=-1, chroma=444, color_primaries=12,
              transfer_characteristics=13, matrix_coefficients=0)  # fmt: skip
    photo = open_photo(tmp_path / "p.heic")
    expected = srgb_encode(srgb_decode(colours) @ P3_TO_SRGB.T)
    np.testing.assert_allclose(np.asarray(photo.colours).astype(int), expected, atol=3)
    assert photo.profile is not None


def test_several_pictures(tmp_path: Path) -> None:
    file = pillow_heif.from_pillow(Image.fromarray(blocks(side=32)))
    file.add_from_pillow(Image.fromarray(blocks(side=32)))
    file.save(tmp_path / "p.heic")
    notes: list[str] = []
    open_picture(tmp_path / "p.heic", note=notes.append)
    assert notes == [f"{tmp_path / 'p.heic'} holds 2 pictures: only the first is used"]


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_cut_off(heic: Path, share: float) -> None:
    whole = heic.read_bytes()
    heic.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"IMG_1\.HEIC is (damaged|a HEIC photo)"):
        open_picture(heic)


def without_the_extra(program: str, *arguments: str | Path) -> str:
    """Run a program where pillow-heif is not installed, and return what it prints."""
    hidden = f"import sys\nsys.modules['pillow_heif'] = None\n{program}"
    command = [sys.executable, "-c", hidden, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_where_the_extra_is_missing(tmp_path: Path) -> None:
    (tmp_path / "p.heic").write_bytes(HEAD)
    (tmp_path / "p.jpg").write_bytes(HEAD)
    (tmp_path / "q.heif").touch()
    program = """
from pathlib import Path
from fast_style.images import list_folder, open_picture, refusal_by_suffix
folder = Path(sys.argv[1])
for name in ("p.heic", "p.jpg"):
    try:
        open_picture(folder / name)
    except Exception as error:
        print(error)
print(refusal_by_suffix(list_folder(folder).unreadable[1]))
"""
    lines = without_the_extra(program, tmp_path).splitlines()
    for name, line in zip(("p.heic", "p.jpg", "q.heif"), lines, strict=True):
        assert line.startswith(f"{tmp_path / name} is a HEIC photo, which cannot be read: ")
        assert "uv sync --extra heif  or" in line or "pip install 'fast-style[heif]'  or" in line
        assert line.endswith("or export it as JPEG.")


def test_is_imported_only_for_heic(tmp_path: Path) -> None:
    Image.fromarray(blocks()).save(tmp_path / "p.png")
    program = (
        "import sys; from pathlib import Path; from fast_style.images import open_picture; "
        "open_picture(Path(sys.argv[1])); print('pillow_heif' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "p.png")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"
