"""PNG and TIFF of 16 bits: what is read and written, against OpenCV, Pillow and formulas."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import (
    ADOBE_TO_SRGB,
    ADOBE_XY,
    P3_TO_SRGB,
    P3_XY,
    chunk,
    curve,
    fixed,
    gamma_chunk,
    icc_profile,
    png,
    primaries_chunk,
    srgb_decode,
    srgb_encode,
    tiff,
)
from PIL import ExifTags, Image, ImageCms

from fast_style.errors import UserError
from fast_style.images import Beside, Saving, open_photo, read_mark, save_picture, upright_rgb
from fast_style.images.colour import Encoding
from fast_style.images.exif import Exif, append_to_tiff, text_tag
from fast_style.images.metadata import Metadata

TOP = 65535
CLOSE = 24  # of 65,535 levels: what a conversion of colours may be off, a tenth of one of 256


def noise(*shape: int, least: int = 0, most: int = TOP) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(least, most + 1, shape).astype(np.uint16)


def levels(values: Any) -> NDArray[np.int64]:
    assert values.dtype == np.float32
    return np.rint(values.astype(float) * TOP).astype(np.int64)


def as_rgb(grey: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return np.repeat(grey[..., None], 3, axis=-1)


def opencv(path: Path) -> NDArray[Any]:
    """All channels as OpenCV reads them, RGB(A)."""
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found[..., [2, 1, 0, 3][: found.shape[2]]]


def write_opencv(path: Path, values: NDArray[np.uint16]) -> None:
    bgr = values if values.ndim == 2 else values[..., [2, 1, 0, 3][: values.shape[2]]]
    assert cv2.imwrite(str(path), bgr)


# --- reading ---


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_all_bits_are_read(tmp_path: Path, suffix: str, channels: int) -> None:
    values = noise(40, 30, *([channels] if channels else []))
    write_opencv(tmp_path / f"p{suffix}", values)
    photo = open_photo(tmp_path / f"p{suffix}", deep=True)
    colours = values[..., :3] if channels else as_rgb(values)
    assert np.array_equal(levels(photo.colours), colours)
    if channels == 4:
        assert np.array_equal(levels(photo.alpha), values[..., 3])
    else:
        assert photo.alpha is None


def test_a_grey_png_with_alpha(tmp_path: Path) -> None:
    values = noise(20, 30, 2)
    (tmp_path / "p.png").write_bytes(png(values, 16, 4))
    photo = open_photo(tmp_path / "p.png", deep=True)
    assert np.array_equal(levels(photo.colours), as_rgb(values[..., 0]))
    assert np.array_equal(levels(photo.alpha), values[..., 1])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_grey_tiff_with_alpha(tmp_path: Path, order: str) -> None:
    values = noise(20, 30, 2)
    data = values.astype(f"{order}u2").tobytes()
    made = tiff(data, (30, 20), 16, order=order, samples=(277, 2), extra=(338, 2))
    (tmp_path / "p.tif").write_bytes(made)
    photo = open_photo(tmp_path / "p.tif", deep=True)
    assert np.array_equal(levels(photo.colours), as_rgb(values[..., 0]))
    assert np.array_equal(levels(photo.alpha), values[..., 1])
    in_8_bits = open_photo(tmp_path / "p.tif")
    assert np.abs(np.asarray(in_8_bits.colours) - as_rgb(values[..., 0]) / 257).max() <= 0.5
    assert np.abs(np.asarray(in_8_bits.alpha) - values[..., 1] / 257).max() <= 0.5


@pytest.mark.parametrize(("order", "white"), [("<", 1), (">", 1), ("<", 0)])
def test_grey_tiffs(tmp_path: Path, order: str, white: int) -> None:
    values = noise(20, 30)
    made = tiff(values.astype(f"{order}u2").tobytes(), (30, 20), 16, white, order=order)
    (tmp_path / "p.tif").write_bytes(made)
    expected = values if white else TOP - values
    found = levels(open_photo(tmp_path / "p.tif", deep=True).colours)
    assert np.array_equal(found, as_rgb(expected))


def test_one_colour_of_a_png_is_transparent(tmp_path: Path) -> None:
    values = np.full((20, 20, 3), 1000, np.uint16)
    values[:10] = 1001  # the same in 8 bits
    key = np.array([1000, 1000, 1000], ">u2").tobytes()
    (tmp_path / "p.png").write_bytes(png(values, 16, 2, chunk(b"tRNS", key)))
    alpha = open_photo(tmp_path / "p.png", deep=True).alpha
    assert np.array_equal(levels(alpha), np.repeat([[TOP], [0]], 10, axis=0).repeat(20, axis=1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_photo_is_upright(tmp_path: Path, orientation: int) -> None:
    values = noise(20, 30, 3) // 257 * 257
    (tmp_path / "p.png").write_bytes(png(values, 16, 2))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    eight = Image.fromarray((values // 257).astype(np.uint8))
    eight.save(tmp_path / "eight.png", exif=exif)
    with Image.open(tmp_path / "eight.png") as picture:
        expected = np.asarray(upright_rgb(picture))
    photo = tmp_path / "p.png"
    photo.write_bytes(png(values, 16, 2, chunk(b"eXIf", exif.tobytes()[6:])))
    assert np.array_equal(levels(open_photo(photo, deep=True).colours), expected.astype(int) * 257)


XYZ_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540],
     [0.0719453, -0.2289914, 1.4052427]]
)  # fmt: skip  # under D50 (Lindbloom)
# ProPhoto RGB (ROMM, ANSI/I3A IT10.7666): red, green and blue as XYZ under D50.
PROPHOTO = np.array([[0.7977, 0.1352, 0.0313], [0.2880, 0.7119, 0.0001], [0.0, 0.0, 0.8249]])


def prophoto() -> bytes:
    tags = {name: b"XYZ \0\0\0\0" + fixed(*PROPHOTO[:, n]) for n, name in
            enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}  # fmt: skip
    return icc_profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(1.8)))


def from_p3(values: NDArray[Any]) -> NDArray[np.float64]:
    return srgb_encode(srgb_decode(values * 255) @ P3_TO_SRGB.T) / 255


def from_adobe(values: NDArray[Any]) -> NDArray[np.float64]:
    return srgb_encode(values ** (563 / 256) @ ADOBE_TO_SRGB.T) / 255


def from_prophoto(values: NDArray[Any]) -> NDArray[np.float64]:
    light = values ** (round(1.8 * 256) / 256) @ PROPHOTO.T
    return srgb_encode(light @ XYZ_TO_SRGB.T) / 255


@pytest.mark.parametrize(
    ("profile", "convert"),
    [(Encoding(P3_XY, None).profile(), from_p3), (prophoto(), from_prophoto)],
    ids=["Display P3", "ProPhoto"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_become_srgb_in_16_bits(
    tmp_path: Path, profile: bytes, convert: Callable[..., NDArray[np.float64]], suffix: str
) -> None:
    # Close to grey, so that sRGB has them all; neighbours differ by less than a level in 256.
    values = noise(40, 50, 1, least=20_000, most=40_000) + noise(40, 50, 3, most=1500)
    assert isinstance(profile, bytes)
    save_with_profile(tmp_path / f"p{suffix}", values, profile)
    found = levels(open_photo(tmp_path / f"p{suffix}", deep=True).colours)
    error = np.abs(found - convert(values / TOP) * TOP)
    assert error.max() < CLOSE
    assert len(np.unique(found)) > 2000


def save_with_profile(path: Path, values: NDArray[np.uint16], profile: bytes) -> None:
    """Write values in their own colours, by OpenCV's pixels and Pillow's or our tags."""
    if path.suffix == ".png":
        data = b"icc\0\0" + zlib.compress(profile)
        path.write_bytes(png(values, 16, 2, chunk(b"iCCP", data)))
        return
    ok, made = cv2.imencode(".tif", values[..., ::-1])
    assert ok
    file = io.BytesIO(made.tobytes())
    append_to_tiff(file, Exif(), None, profile)
    path.write_bytes(file.getvalue())


def test_chunks_of_a_png_name_its_colours(tmp_path: Path) -> None:
    values = noise(40, 50, 1, least=20_000, most=40_000) + noise(40, 50, 3, most=1500)
    chunks = (gamma_chunk(256 / 563), primaries_chunk(*ADOBE_XY))
    (tmp_path / "p.png").write_bytes(png(values, 16, 2, *chunks))
    found = levels(open_photo(tmp_path / "p.png", deep=True).colours)
    assert np.abs(found - from_adobe(values / TOP) * TOP).max() < CLOSE


def test_grey_in_linear_light(tmp_path: Path) -> None:
    values = noise(20, 30, most=3000)
    profile = icc_profile(b"GRAY", {b"kTRC": curve(1)})
    data = b"icc\0\0" + zlib.compress(profile)
    (tmp_path / "p.png").write_bytes(png(values, 16, 0, chunk(b"iCCP", data)))
    found = levels(open_photo(tmp_path / "p.png", deep=True).colours)
    expected = srgb_encode(values / TOP)[..., None] / 255 * TOP
    assert np.abs(found - expected).max() < 4 * CLOSE  # the darkest shades are spread most


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_cut_off_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    save_picture(photo_of(noise(60, 80, 3))[0], path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"is damaged or incomplete|its beginning is damaged"):
        open_photo(path, deep=True)


def test_rare_kinds_lose_bits_with_a_word(tmp_path: Path) -> None:
    notes: list[str] = []
    floats = np.random.default_rng(0).random((20, 30), np.float32)
    (tmp_path / "p.tif").write_bytes(tiff(floats.tobytes(), (30, 20), 32, sample_format=3))
    photo = open_photo(tmp_path / "p.tif", notes.append, deep=True)
    assert isinstance(photo.colours, Image.Image)
    (sentence,) = notes
    assert "p.tif has 32 bits a channel" in sentence
    assert "becomes 8 bits" in sentence
    write_opencv(tmp_path / "q.png", noise(20, 30))
    open_photo(tmp_path / "q.png", notes.append, deep=True)
    assert len(notes) == 1


def test_colours_in_floats_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "hdr.tif"), np.ones((20, 30, 3), np.float32))
    with pytest.raises(UserError, match=r"hdr\.tif is a TIFF .* floats.* 8 or 16 bits per channel"):
        open_photo(tmp_path / "hdr.tif", deep=True)


# --- writing ---


def photo_of(values: NDArray[np.uint16]) -> tuple[Any, Any]:
    floats = np.divide(values, TOP, dtype=np.float32)
    return floats[..., :3], floats[..., 3] if values.shape[2] == 4 else None


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_all_bits_are_written(tmp_path: Path, suffix: str, channels: int) -> None:
    values, path = noise(70, 90, channels), tmp_path / f"p{suffix}"
    colours, alpha = photo_of(values)
    save_picture(colours, path, mark="a mark", beside=Beside(alpha))
    found = opencv(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, values)
    assert read_mark(path) == "a mark"
    with Image.open(path) as picture:
        picture.load()
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        assert ExifTags.Base.XResolution not in getattr(picture, "tag_v2", {})
        assert suffix == ".tif" or "dpi" not in picture.info


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_photos_own_colours_are_written(tmp_path: Path, suffix: str) -> None:
    values, path = noise(40, 50, 3, least=20_000, most=40_000), tmp_path / f"p{suffix}"
    profile = Encoding(P3_XY, None).profile()
    save_picture(photo_of(values)[0], path, beside=Beside(profile=profile))
    found = opencv(path)
    assert np.abs(from_p3(found / TOP) * TOP - values).max() < 2 * CLOSE
    with Image.open(path) as picture:
        assert picture.info["icc_profile"] == profile


XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-"
    b"syntax-ns#'><rdf:Description xmlns:dc='http://purl.org/dc/elements/1.1/' dc:format='a'/>"
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_metadata_goes_from_file_to_file(tmp_path: Path, suffix: str) -> None:
    metadata = Metadata(Exif({ExifTags.Base.Artist: text_tag("Zoë")}), XMP, (300.0, 150.0))
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    save_picture(photo_of(noise(20, 30, 3))[0], first, beside=Beside(metadata=metadata))
    photo = open_photo(first, deep=True)
    save_picture(photo.colours, second, beside=Saving().beside(photo), software="a program")
    with Image.open(second) as picture:
        picture.load()
        exif = picture.getexif()
        assert exif[ExifTags.Base.Artist].encode("latin-1").decode() == "Zoë"
        assert exif[ExifTags.Base.Software] == "a program"
        assert np.allclose(picture.info["dpi"], (300, 150), atol=0.1)
        assert b"dc:format" in str(picture.info["xmp"]).encode()


def test_other_formats_get_8_bits(tmp_path: Path) -> None:
    smooth = np.linspace(0, 1, 64 * 64 * 3, dtype=np.float32).reshape(64, 64, 3)
    save_picture(smooth, tmp_path / "p.bmp")
    with Image.open(tmp_path / "p.bmp") as picture:
        assert np.array_equal(np.asarray(picture), np.rint(smooth * 255))
    alpha = smooth[..., 0]
    save_picture(smooth, tmp_path / "p.webp", beside=Beside(alpha))
    with Image.open(tmp_path / "p.webp") as picture:
        assert np.array_equal(np.asarray(picture.getchannel("A")), np.rint(alpha * 255))


def test_transparency_in_floats(tmp_path: Path) -> None:
    values = noise(64, 64, 4, least=30_000, most=30_200)
    values[:, :32, 3] = 0
    values[:, :32, :3] = [TOP, 0, TOP]  # what nobody was to see
    values[:, 32:, 3] = 60_000
    write_opencv(tmp_path / "p.png", values)
    photo = open_photo(tmp_path / "p.png", deep=True)
    filled = levels(photo.filled().colours)
    assert np.array_equal(filled[:, 32:], values[:, 32:, :3])
    assert np.abs(filled[:, :32] - 30_100).max() < 400
    white = levels(photo.on_white().colours)
    assert (white[:, :32] == TOP).all()
    expected = (values[:, 32:, :3] * 60_000.0 + TOP * 5535.0) / TOP
    assert np.abs(white[:, 32:] - expected).max() <= 1
    small = photo.resized(32)
    assert np.abs(levels(small.colours)[:, 20:] - 30_100).max() < 200
    assert levels(small.alpha)[0, 31] == pytest.approx(60_000, abs=20)
