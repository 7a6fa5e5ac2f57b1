"""Pictures in, pictures out: every pixel format against values worked out by hand."""

import io
import os
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from fast_style.errors import UserError
from fast_style.images import (
    MAX_PIXELS,
    SUFFIXES,
    find_pictures,
    open_picture,
    resize_picture,
    save_picture,
    to_picture,
    to_tensor,
)

ORIENTATION = 0x0112


def noise(width: int = 64, height: int = 48, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def blocks(columns: int = 3, rows: int = 2, side: int = 16) -> NDArray[np.uint8]:
    """Flat squares, each of its own colour: what JPEG keeps, and no symmetry."""
    colours = np.arange(columns * rows, dtype=np.uint8).reshape(rows, columns)
    colours = np.stack([40 * colours, 200 - 30 * colours, 100 + 20 * colours], axis=-1)
    return colours.repeat(side, axis=0).repeat(side, axis=1)


def pixels(path: Path) -> NDArray[np.uint8]:
    picture = open_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def grey_as_rgb(levels: list[list[int]]) -> NDArray[np.uint8]:
    return np.array(levels, dtype=np.uint8)[..., None].repeat(3, axis=-1)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc_profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """A version 2 display profile (ICC.1:2001-04, sections 6.1 and 6.2)."""
    d50 = fixed(0.9642, 1.0, 0.8249)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + d50, **tags}
    table, data = struct.pack(">I", len(tags)), b""
    for signature, value in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(data)
        table += signature + struct.pack(">II", offset, len(value))
        data += value + bytes(-len(value) % 4)
    header = bytes(4) + struct.pack(">I", 0x02400000) + b"mntr" + space + connection + bytes(12)
    header += b"acsp" + bytes(28) + d50
    size = struct.pack(">I", 128 + len(table) + len(data))
    return (size + header).ljust(128, b"\0") + table + data


def curve(gamma: float) -> bytes:
    return b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))


def srgb_encode(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1, to [0, 255]."""
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * encoded


class TestFindPictures:
    def test_lists_all_suffixes_sorted_and_opens_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "b" / "deep").mkdir(parents=True)
        (tmp_path / "folder.jpg").mkdir()
        wanted = ["B.JPEG", "a.jpg", "b/deep/x.PnG", "b/y.webp", "folder.jpg/z.tif"]
        for name in [*wanted, "notes.txt", "jpg", "a.jpg.part", "b/.hidden.jpg"]:
            (tmp_path / name).touch()
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache" / "c.jpg").touch()
        assert find_pictures(tmp_path) == [tmp_path / name for name in wanted]

    def test_follows_links_but_not_in_circles(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        folder = tmp_path / "folder"
        elsewhere.mkdir()
        folder.mkdir()
        (elsewhere / "a.png").touch()
        (folder / "link").symlink_to(elsewhere)
        (elsewhere / "back").symlink_to(folder)
        assert find_pictures(folder) == [folder / "link" / "a.png"]

    def test_says_what_is_wrong_with_the_folder(self, tmp_path: Path) -> None:
        file = tmp_path / "file.txt"
        file.touch()
        with pytest.raises(UserError, match=r"none does not exist"):
            find_pictures(tmp_path / "none")
        with pytest.raises(UserError, match=r"file\.txt is not a folder"):
            find_pictures(file)
        with pytest.raises(UserError, match=r"holds no picture.*\.jpeg,.*\.jpg,") as caught:
            find_pictures(tmp_path)
        assert str(tmp_path) in str(caught.value)

    def test_what_cannot_be_read_is_counted_and_named(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("a.jpg", "b.HEIC", "deep/c.nef", "d.mp4", "notes.txt", ".e.heic"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        assert find_pictures(tmp_path) == [tmp_path / "a.jpg"]
        (message,) = caplog.messages
        assert message.startswith(f"3 of the files in {tmp_path} cannot be read")
        assert message.endswith(": b.HEIC, d.mp4, deep/c.nef")
        for number in range(10):
            (tmp_path / f"f{number}.cr2").touch()
        find_pictures(tmp_path)
        assert caplog.messages[1].startswith("13 of the files")
        assert caplog.messages[1].endswith(", and 3 more") or caplog.messages[1].endswith(" 3 more")

    def test_a_folder_of_nothing_that_can_be_read(self, tmp_path: Path) -> None:
        for name in ("a.heic", "b.heic"):
            (tmp_path / name).touch()
        with pytest.raises(UserError, match=r"holds no picture that can.*a\.heic is a HEIC photo"):
            find_pictures(tmp_path)

    def test_suffixes_are_lower_case_with_the_dot(self) -> None:
        assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"} <= SUFFIXES
        assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)


class TestModes:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
    def test_rgb_is_exact(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"p{suffix}"
        Image.fromarray(noise()).save(path)
        np.testing.assert_array_equal(pixels(path), noise())

    def test_one_bit(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        Image.fromarray(np.array([[True, False], [False, False]])).save(path)
        np.testing.assert_array_equal(pixels(path), grey_as_rgb([[255, 0], [0, 0]]))

    def test_grey(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        Image.fromarray(np.array([[0, 7], [128, 255]], dtype=np.uint8)).save(path)
        np.testing.assert_array_equal(pixels(path), grey_as_rgb([[0, 7], [128, 255]]))

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_16_bit_grey_is_scaled_not_clipped(self, tmp_path: Path, suffix: str) -> None:
        values = np.array([[0, 257, 300, 385], [386, 25700, 65534, 65535]], dtype=np.uint16)
        picture = Image.fromarray(values)
        assert picture.mode == "I;16"
        path = tmp_path / f"p{suffix}"
        picture.save(path)
        expected = grey_as_rgb([[0, 1, 1, 1], [2, 100, 255, 255]])
        np.testing.assert_array_equal(pixels(path), expected)

    def test_16_bit_grey_big_endian(self, tmp_path: Path) -> None:
        path = tmp_path / "p.tif"
        values = np.array([[0, 257, 25700, 65535]], dtype=">u2")
        Image.frombytes("I;16B", (4, 1), values.tobytes()).save(path)
        with Image.open(path) as stored:
            assert stored.mode == "I;16B"
        np.testing.assert_array_equal(pixels(path), grey_as_rgb([[0, 1, 100, 255]]))

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.array([[0, 25700, 65535]], dtype=np.int32), [[0, 100, 255]]),
            (np.array([[-5, 500_000, 1_000_000]], dtype=np.int32), [[0, 128, 255]]),
            (np.array([[0.0, 0.2, 1.0]], dtype=np.float32), [[0, 51, 255]]),
            (np.array([[0.0, 0.1, 0.5]], dtype=np.float32), [[0, 26, 128]]),
            (np.array([[-1.0, 40.0, 200.0]], dtype=np.float32), [[0, 51, 255]]),
            (np.array([[np.nan, np.inf, 0.2, 1.0]], dtype=np.float32), [[0, 255, 51, 255]]),
        ],
    )
    def test_32_bit_grey(
        self,
        tmp_path: Path,
        values: NDArray[np.int32] | NDArray[np.float32],
        expected: list[list[int]],
    ) -> None:
        path = tmp_path / "p.tif"
        Image.fromarray(values).save(path)
        np.testing.assert_array_equal(pixels(path), grey_as_rgb(expected))

    @pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif"])
    def test_palette(self, tmp_path: Path, suffix: str) -> None:
        picture = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8))
        picture = picture.convert("P")
        picture.putpalette([250, 10, 20, 0, 200, 30, 5, 6, 7])
        path = tmp_path / f"p{suffix}"
        picture.save(path)
        colours = np.array([[250, 10, 20], [0, 200, 30], [5, 6, 7]])
        np.testing.assert_array_equal(pixels(path), colours[[[0, 1], [2, 1]]])

    def test_cmyk_jpeg(self, tmp_path: Path) -> None:
        path = tmp_path / "p.jpg"
        inks = np.zeros((16, 64, 4), dtype=np.uint8)
        inks[:, 16:32] = [0, 255, 255, 0]
        inks[:, 32:48] = [0, 0, 0, 255]
        inks[:, 48:] = [255, 0, 0, 0]
        Image.fromarray(inks, mode="CMYK").save(path, quality=100)
        with Image.open(path) as stored:
            assert stored.mode == "CMYK"
        found = pixels(path)[8, 8::16].astype(int)
        expected = [[255, 255, 255], [255, 0, 0], [0, 0, 0], [0, 255, 255]]
        np.testing.assert_allclose(found, expected, atol=3)

    def test_lab_tiff(self, tmp_path: Path) -> None:
        path = tmp_path / "p.tif"
        lab = Image.new("LAB", (2, 1), (255, 128, 128))
        lab.putpixel((1, 0), (128, 128, 128))  # L* = 50.2 is Y = 0.1855
        lab.save(path)
        middle = float(srgb_encode(np.array(0.1855)))
        expected = np.array([[255.0] * 3, [middle] * 3])
        np.testing.assert_allclose(pixels(path)[0], expected, atol=1.5)

    def test_ycbcr_jpeg_and_webp_are_close(self, tmp_path: Path) -> None:
        for name in ("p.jpg", "p.webp"):
            Image.fromarray(blocks()).save(tmp_path / name, quality=100)
            found = pixels(tmp_path / name).astype(int)
            np.testing.assert_allclose(found[8::16, 8::16], blocks()[8::16, 8::16], atol=6)


def tiff(
    values: bytes,
    size: tuple[int, int],
    bits: int,
    photometric: int = 1,
    sample_format: int = 1,
    order: str = "<",
    **more: tuple[int, int],
) -> bytes:
    """An uncompressed grey TIFF of one strip (TIFF 6.0, section 3)."""
    tags = {256: size[0], 257: size[1], 258: bits, 259: 1, 262: photometric, 277: 1, 278: size[1]}
    tags |= {279: len(values), 339: sample_format, 273: 0} | dict(more.values())
    offset = 8 + 2 + 12 * len(tags) + 4
    tags[273] = offset
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    return start + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values


class TestDeepTiff:
    """Grey at every depth, with either end as white."""

    # What is stored for a share of white in [0, 1].
    KINDS = {  # noqa: RUF012
        "1": (1, 1, lambda shares: np.packbits(shares > 0.5).tobytes()),
        "4": (
            4,
            1,
            lambda shares: np.rint(shares[::2] * 240 + shares[1::2] * 15).astype("u1").tobytes(),
        ),
        "8": (8, 1, lambda shares: (shares * 255).astype("u1").tobytes()),
        "16": (16, 1, lambda shares: (shares * 65535).astype("<u2").tobytes()),
        "uint32": (32, 1, lambda shares: (shares * (2**32 - 1)).astype("<u4").tobytes()),
        "int32": (32, 2, lambda shares: (shares * (2**31 - 1)).astype("<i4").tobytes()),
        "int16": (16, 2, lambda shares: (shares * 32767).astype("<i2").tobytes()),
        "float": (32, 3, lambda shares: shares.astype("<f4").tobytes()),
    }

    @pytest.mark.parametrize("white_is_zero", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_a_ramp(self, tmp_path: Path, kind: str, white_is_zero: bool) -> None:
        bits, sample_format, stored = self.KINDS[kind]
        ramp = np.repeat([0.0, 1.0], 8) if bits == 1 else np.arange(16) / 15
        values = stored(1 - ramp if white_is_zero else ramp)
        path = tmp_path / "p.tif"
        path.write_bytes(tiff(values, (16, 1), bits, 1 - white_is_zero, sample_format))
        if white_is_zero and kind in ("uint32", "int32", "int16"):  # Pillow knows none of these
            with pytest.raises(UserError, match="is a TIFF of a kind that cannot be read"):
                open_picture(path)
            return
        np.testing.assert_allclose(pixels(path)[0, :, 0].astype(float), ramp * 255, atol=1)

    def test_12_bits(self, tmp_path: Path) -> None:
        packed = b"".join(
            bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in ((0, 1024), (2048, 4095))
        )
        (tmp_path / "p.tif").write_bytes(tiff(packed, (4, 1), 12))
        np.testing.assert_array_equal(pixels(tmp_path / "p.tif"), grey_as_rgb([[0, 64, 128, 255]]))

    @pytest.mark.parametrize(
        ("bits", "sample_format", "order", "photometric"),
        [(16, 1, ">", 0), (32, 1, ">", 1), (64, 3, "<", 1), (8, 2, "<", 1), (24, 1, "<", 1)],
    )
    def test_other_kinds_are_refused(
        self, tmp_path: Path, bits: int, sample_format: int, order: str, photometric: int
    ) -> None:
        path = tmp_path / "p.tif"
        path.write_bytes(tiff(bytes(512), (8, 8), bits, photometric, sample_format, order))
        with pytest.raises(UserError, match=r"p\.tif.* cannot be read.*: save (it|them) with"):
            open_picture(path)

    def test_grey_with_premultiplied_alpha(self, tmp_path: Path) -> None:
        grey_alpha = np.array([[[100, 255], [50, 128], [0, 0]]], dtype=np.uint8)
        path = tmp_path / "p.tif"
        data = tiff(grey_alpha.tobytes(), (3, 1), 8, extra=(338, 1), samples=(277, 2))
        # Two values of 8 bits, in the four bytes of the tag.
        eight = struct.pack("<HHII", 258, 4, 1, 8)
        assert eight in data
        path.write_bytes(data.replace(eight, struct.pack("<HHIHH", 258, 3, 2, 8, 8)))
        # Over white: what is stored, and the share of white that alpha leaves.
        np.testing.assert_allclose(
            pixels(path)[0, :, 0].astype(float), [100, 50 + 255 * (1 - 128 / 255), 255], atol=1
        )


class TestTransparency:
    def composite(
        self, colours: NDArray[np.uint8], alpha: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        share = alpha[..., None] / 255
        return np.rint(share * colours + (1 - share) * 255)

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
    def test_rgba_is_laid_over_white(self, tmp_path: Path, suffix: str) -> None:
        rgba = noise(channels=4)
        rgba[0, 0] = [10, 20, 30, 0]
        rgba[0, 1] = [10, 20, 30, 255]
        path = tmp_path / f"p{suffix}"
        options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == ".webp" else {}
        Image.fromarray(rgba).save(path, **options)
        found = pixels(path)
        np.testing.assert_array_equal(found, self.composite(rgba[..., :3], rgba[..., 3]))
        assert found[0, 0].tolist() == [255, 255, 255]
        assert found[0, 1].tolist() == [10, 20, 30]

    def test_grey_with_alpha(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        grey_alpha = noise(channels=2)
        Image.fromarray(grey_alpha, mode="LA").save(path)
        grey = grey_alpha[..., :1].repeat(3, axis=-1)
        np.testing.assert_array_equal(pixels(path), self.composite(grey, grey_alpha[..., 1]))

    def test_palette_png_with_alpha_per_colour(self, tmp_path: Path) -> None:
        picture = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
        picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        path = tmp_path / "p.png"
        picture.save(path, transparency=bytes([0, 51, 255]))
        expected = [[[255, 255, 255], [204, 255, 204], [0, 0, 255]]]
        np.testing.assert_array_equal(pixels(path), expected)

    def test_transparent_gif(self, tmp_path: Path) -> None:
        picture = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
        picture.putpalette([9, 0, 0, 0, 8, 0])
        path = tmp_path / "p.gif"
        picture.save(path, transparency=0)
        np.testing.assert_array_equal(pixels(path), [[[255, 255, 255], [0, 8, 0]]])

    def test_transparent_colour_of_an_rgb_png(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        colours = np.array([[[1, 2, 3], [1, 2, 4]]], dtype=np.uint8)
        Image.fromarray(colours).save(path, transparency=(1, 2, 3))
        np.testing.assert_array_equal(pixels(path), [[[255, 255, 255], [1, 2, 4]]])

    @pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
    def test_first_frame_of_an_animation(self, tmp_path: Path, suffix: str) -> None:
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
        path = tmp_path / f"p{suffix}"
        options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        with Image.open(path) as stored:
            assert getattr(stored, "n_frames", 1) == 3
        np.testing.assert_array_equal(pixels(path), np.full((8, 8, 3), [255, 0, 0]))


class TestOrientation:
    # Which side of the upright picture the first row and the first column of the stored one show:
    # Exif 2.3, section 4.6.4 A, tag 274.
    STORED = {  # noqa: RUF012
        1: lambda upright: upright,
        2: lambda upright: upright[:, ::-1],
        3: lambda upright: upright[::-1, ::-1],
        4: lambda upright: upright[::-1],
        5: lambda upright: upright.swapaxes(0, 1),
        6: lambda upright: upright.swapaxes(0, 1)[::-1],
        7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
        8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
    }

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_is_upright(self, tmp_path: Path, orientation: int, suffix: str) -> None:
        path = tmp_path / f"p{suffix}"
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        stored = Image.fromarray(np.ascontiguousarray(self.STORED[orientation](blocks())))
        options: dict[str, dict[str, Any]] = {
            ".jpg": {"quality": 100, "subsampling": 0},
            ".webp": {"lossless": True},
        }
        stored.save(path, exif=exif, **options.get(suffix, {}))
        found = pixels(path).astype(int)
        assert found.shape == blocks().shape
        np.testing.assert_allclose(found, blocks(), atol=4 if suffix == ".jpg" else 0)

    def test_is_not_turned_again_when_saved_and_opened(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        Image.fromarray(blocks()).save(tmp_path / "p.png", exif=exif)
        upright = open_picture(tmp_path / "p.png")
        save_picture(upright, tmp_path / "q.png")
        np.testing.assert_array_equal(pixels(tmp_path / "q.png"), np.asarray(upright))

    @pytest.mark.parametrize("orientation", [0, 9, 300])
    def test_unknown_orientation_is_ignored(self, tmp_path: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        Image.fromarray(noise()).save(tmp_path / "p.png", exif=exif)
        np.testing.assert_array_equal(pixels(tmp_path / "p.png"), noise())

    def test_broken_exif_is_ignored(self, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
        path = tmp_path / "p.png"
        Image.fromarray(noise()).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffgarbage")
        np.testing.assert_array_equal(pixels(path), noise())
        assert not recwarn.list


class TestColourProfiles:
    # Adobe RGB (1998), adapted to D50, and its gamma.
    ADOBE_TO_XYZ = np.array(
        [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
    )
    SRGB_TO_XYZ = np.array(
        [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
    )

    def adobe_rgb(self) -> bytes:
        tags = {}
        for channel, column in zip(b"rgb", self.ADOBE_TO_XYZ.T, strict=True):
            tags[bytes([channel]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*column)
            tags[bytes([channel]) + b"TRC"] = curve(2.19921875)
        return icc_profile(b"RGB ", tags)

    def adobe_to_srgb(self, colours: NDArray[np.uint8]) -> NDArray[np.float64]:
        linear = (colours / 255) ** 2.19921875
        return srgb_encode(linear @ (np.linalg.inv(self.SRGB_TO_XYZ) @ self.ADOBE_TO_XYZ).T)

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_adobe_rgb_is_converted(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"p{suffix}"
        colours = blocks()
        Image.fromarray(colours).save(path, icc_profile=self.adobe_rgb())
        expected = self.adobe_to_srgb(colours)
        assert np.abs(expected - colours).max() > 20
        np.testing.assert_allclose(pixels(path), expected, atol=2)

    def test_transparency_stays_out_of_the_conversion(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        colours = blocks()
        alpha = np.full(colours.shape[:2], 51, dtype=np.uint8)
        rgba = np.concatenate([colours, alpha[..., None]], axis=-1)
        Image.fromarray(rgba).save(path, icc_profile=self.adobe_rgb())
        expected = 0.2 * self.adobe_to_srgb(colours) + 0.8 * 255
        np.testing.assert_allclose(pixels(path), expected, atol=1.5)

    @pytest.mark.parametrize("mode", ["L", "LA"])
    def test_grey_profile(self, tmp_path: Path, mode: str) -> None:
        path = tmp_path / "p.png"
        levels = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
        picture = Image.fromarray(levels).convert(mode)
        picture.save(path, icc_profile=icc_profile(b"GRAY", {b"kTRC": curve(1.8)}))
        expected = srgb_encode((levels / 255) ** 1.8)[..., None].repeat(3, axis=-1)
        np.testing.assert_allclose(pixels(path), expected, atol=2)

    @pytest.mark.parametrize("suffix", [".jpg", ".tif"])
    def test_cmyk_profile(self, tmp_path: Path, suffix: str) -> None:
        # A table of 2 x 2 x 2 x 2 colours in which nothing but black ink shows: L* from 100 to 0,
        # while a* and b* stay neutral (ICC.1:2001-04, section 6.5.8).
        ramp = bytes(range(256))
        corners = b"".join(bytes([0 if i & 1 else 255, 128, 128]) for i in range(16))
        table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        table += 4 * ramp + corners + 3 * ramp
        inks = np.zeros((16, 48, 4), dtype=np.uint8)
        inks[:, :16] = [255, 255, 255, 0]
        inks[:, 16:32] = [255, 0, 0, 128]
        inks[:, 32:] = [0, 0, 0, 255]
        path = tmp_path / f"p{suffix}"
        options: dict[str, Any] = {"quality": 100} if suffix == ".jpg" else {}
        profile = icc_profile(b"CMYK", {b"A2B0": table}, connection=b"Lab ")
        Image.fromarray(inks, mode="CMYK").save(path, icc_profile=profile, **options)
        lightness = np.array([100, 100 * 127 / 255])
        linear = ((lightness + 16) / 116) ** 3  # CIE 1976, above 8
        expected = np.append(srgb_encode(linear), 0.0)[:, None].repeat(3, axis=1)
        np.testing.assert_allclose(pixels(path)[8, 8::16], expected, atol=3)

    def test_srgb_by_any_name_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(noise()).save(path, icc_profile=profile)
        np.testing.assert_array_equal(pixels(path), noise())

    def test_a_profile_called_srgb_that_is_another_is_applied(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        swapped = profile.replace(b"rXYZ", b"-XYZ").replace(b"bXYZ", b"rXYZ")
        Image.fromarray(noise()).save(path, icc_profile=swapped.replace(b"-XYZ", b"bXYZ"))
        np.testing.assert_allclose(pixels(path).astype(int), noise()[..., ::-1], atol=1)

    @pytest.mark.parametrize("profile", [b"not a profile", bytes(200)])
    def test_broken_profile_is_ignored(self, tmp_path: Path, profile: bytes) -> None:
        path = tmp_path / "p.png"
        Image.fromarray(noise()).save(path, icc_profile=profile)
        np.testing.assert_array_equal(pixels(path), noise())

    def test_half_a_profile_is_ignored(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        Image.fromarray(noise()).save(path, icc_profile=self.adobe_rgb()[:200])
        np.testing.assert_array_equal(pixels(path), noise())

    def test_profile_for_other_pixels_is_ignored(self, tmp_path: Path) -> None:
        cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
        cmyk.save(tmp_path / "p.tif", icc_profile=self.adobe_rgb())
        np.testing.assert_array_equal(pixels(tmp_path / "p.tif"), np.full((8, 8, 3), [255, 0, 0]))

    @pytest.mark.parametrize("broken", [False, True])
    def test_profile_is_not_carried_into_saved_pictures(self, tmp_path: Path, broken: bool) -> None:
        profile = b"not a profile" if broken else self.adobe_rgb()
        Image.fromarray(blocks()).save(tmp_path / "p.png", icc_profile=profile)
        picture = open_picture(tmp_path / "p.png")
        save_picture(picture, tmp_path / "q.png")
        np.testing.assert_array_equal(pixels(tmp_path / "q.png"), np.asarray(picture))
        with Image.open(tmp_path / "q.png") as saved:
            assert "icc_profile" not in saved.info


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(values: NDArray[Any], bits: int, colour_type: int, *chunks: bytes) -> bytes:
    """Rows ``(H, W)`` or ``(H, W, C)``, unfiltered, with chunks in front of them (PNG, third
    edition); of fewer than 8 bits already packed."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    rows = values.astype(">u2" if bits == 16 else "u1").reshape(len(values), -1)
    width = rows.shape[1] // samples if bits >= 8 else rows.shape[1] * (8 // bits)
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def gamma_chunk(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def primaries_chunk(*xy: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in xy)))


SRGB_CHUNK = chunk(b"sRGB", b"\0")
# White, red, green, blue.
SRGB_XY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3_XY = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE_XY = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)

# Linear light from these to sRGB's, both with D65: CSS Color 4's sample code (Display P3) and
# Adobe RGB (1998), section 4.3.5.3, by IEC 61966-2-1.
P3_TO_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
ADOBE_TO_SRGB = np.array([[1.39836, -0.39836, 0.0], [0.0, 1.0, 0.0], [0.0, -0.04293, 1.04293]])


def srgb_decode(levels: NDArray[Any]) -> NDArray[np.float64]:
    values = levels / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


class TestColourOfPngs:
    # Every 8th level of grey, and some colours.
    colours = np.concatenate(
        [np.arange(0, 256, 8).repeat(3).reshape(1, -1, 3), noise(32, 1)], axis=0
    ).astype(np.uint8)

    def opened(self, tmp_path: Path, data: bytes) -> NDArray[np.float64]:
        (tmp_path / "p.png").write_bytes(data)
        return pixels(tmp_path / "p.png").astype(float)

    @pytest.mark.parametrize("alpha", [False, True])
    def test_linear_light_of_16_bits(self, tmp_path: Path, alpha: bool) -> None:
        values = np.rint(srgb_decode(self.colours) * 65535)
        if alpha:
            values = np.concatenate([values, np.full((*values.shape[:2], 1), 65535)], axis=-1)
        found = self.opened(tmp_path, png(values, 16, 6 if alpha else 2, gamma_chunk(1.0)))
        np.testing.assert_allclose(found, self.colours, atol=1)

    @pytest.mark.parametrize("colour_type", [0, 4])
    def test_linear_grey_of_16_bits(self, tmp_path: Path, colour_type: int) -> None:
        levels = np.arange(256).reshape(16, 16)
        values = np.rint(srgb_decode(levels) * 65535)
        if colour_type == 4:
            values = np.stack([values, np.full_like(values, 65535)], axis=-1)
        found = self.opened(tmp_path, png(values, 16, colour_type, gamma_chunk(1.0)))
        np.testing.assert_allclose(found, levels[..., None].repeat(3, -1), atol=1)

    def test_linear_light_of_8_bits(self, tmp_path: Path) -> None:
        found = self.opened(tmp_path, png(self.colours, 8, 2, gamma_chunk(1.0)))
        np.testing.assert_allclose(found, srgb_encode(self.colours / 255), atol=1)

    def test_gamma_of_a_palette(self, tmp_path: Path) -> None:
        palette = chunk(b"PLTE", bytes([0, 0, 0, 10, 100, 200]))
        data = png(np.array([[0, 1]]), 8, 3, gamma_chunk(1.0), palette)
        expected = srgb_encode(np.array([[[0, 0, 0], [10, 100, 200]]]) / 255)
        np.testing.assert_allclose(self.opened(tmp_path, data), expected, atol=1)

    def test_primaries_and_gamma(self, tmp_path: Path) -> None:
        data = png(self.colours, 8, 2, gamma_chunk(1 / 2.2), primaries_chunk(*ADOBE_XY))
        expected = srgb_encode((self.colours / 255) ** 2.2 @ ADOBE_TO_SRGB.T)
        assert np.abs(expected - self.colours).max() > 20
        np.testing.assert_allclose(self.opened(tmp_path, data), expected, atol=1.5)

    @pytest.mark.parametrize(
        "chunks",
        [
            [gamma_chunk(0.45455)],
            [gamma_chunk(0.45455), primaries_chunk(*SRGB_XY)],
            [SRGB_CHUNK, gamma_chunk(1.0)],
            [gamma_chunk(1.0), SRGB_CHUNK, primaries_chunk(*ADOBE_XY)],
            [chunk(b"cICP", bytes([1, 13, 0, 1])), gamma_chunk(1.0)],
            [gamma_chunk(0.0)],
            [primaries_chunk(0.3127, 0, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06), gamma_chunk(0.45455)],
        ],
        ids=["srgb-gamma", "srgb-primaries", "srgb", "srgb-last", "cicp", "zero", "no-white"],
    )
    def test_what_means_srgb_changes_nothing(self, tmp_path: Path, chunks: list[bytes]) -> None:
        found = self.opened(tmp_path, png(self.colours, 8, 2, *chunks))
        np.testing.assert_array_equal(found, self.colours)

    @pytest.mark.parametrize("transfer", [13, 1])
    def test_cicp_counts_most(self, tmp_path: Path, transfer: int) -> None:
        other = chunk(b"iCCP", b"x\0\0" + zlib.compress(TestColourProfiles().adobe_rgb()))
        cicp = chunk(b"cICP", bytes([12, transfer, 0, 1]))
        for chunks in ([cicp], [other, cicp], [cicp, gamma_chunk(1.0)]):
            found = self.opened(tmp_path, png(self.colours, 8, 2, *chunks))
            expected = srgb_encode(srgb_decode(self.colours) @ P3_TO_SRGB.T)
            np.testing.assert_allclose(found, expected, atol=1.5)

    def test_linear_cicp_of_16_bits(self, tmp_path: Path) -> None:
        values = np.rint(srgb_decode(self.colours) * 65535)
        data = png(values, 16, 2, chunk(b"cICP", bytes([1, 8, 0, 1])))
        np.testing.assert_allclose(self.opened(tmp_path, data), self.colours, atol=1)

    @pytest.mark.parametrize("cicp", [[9, 16, 0, 1], [9, 18, 0, 1], [1, 13, 0, 0], [1, 13, 1, 1]])
    def test_colours_without_an_answer_are_refused(self, tmp_path: Path, cicp: list[int]) -> None:
        with pytest.raises(UserError, match=r"p\.png: colours of this kind .* save it as sRGB"):
            self.opened(tmp_path, png(self.colours, 8, 2, chunk(b"cICP", bytes(cicp))))

    def test_a_profile_counts_more_than_gamma(self, tmp_path: Path) -> None:
        profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(TestColourProfiles().adobe_rgb()))
        data = png(self.colours, 8, 2, gamma_chunk(1.0), profile)
        expected = srgb_encode((self.colours / 255) ** 2.19921875 @ ADOBE_TO_SRGB.T)
        np.testing.assert_allclose(self.opened(tmp_path, data), expected, atol=2)

    def test_grey_profile_of_16_bits_with_alpha(self, tmp_path: Path) -> None:
        levels = np.arange(256).reshape(16, 16)
        values = np.stack([levels * 257, np.full_like(levels, 65535)], axis=-1)
        grey = icc_profile(b"GRAY", {b"kTRC": curve(1.8)})
        data = png(values, 16, 4, chunk(b"iCCP", b"x\0\0" + zlib.compress(grey)))
        expected = srgb_encode((levels / 255) ** 1.8)[..., None].repeat(3, axis=-1)
        np.testing.assert_allclose(self.opened(tmp_path, data), expected, atol=2)


class TestTransparentColour:
    """PNG's tRNS, which names a colour in the file's own depth."""

    def opened(self, tmp_path: Path, data: bytes) -> NDArray[np.uint8]:
        (tmp_path / "p.png").write_bytes(data)
        return pixels(tmp_path / "p.png")

    def test_grey_of_16_bits(self, tmp_path: Path) -> None:
        values = np.array([[300, 301, 25700, 0]])
        found = self.opened(tmp_path, png(values, 16, 0, chunk(b"tRNS", struct.pack(">H", 300))))
        np.testing.assert_array_equal(found, grey_as_rgb([[255, 1, 100, 0]]))

    def test_colours_of_16_bits(self, tmp_path: Path) -> None:
        key = [0x1234, 0x5678, 0x9ABC]
        values = np.array([[key, [0x1234, 0x5678, 0x9ABD], [0x1233, 0x5678, 0x9ABC]]])
        data = png(values, 16, 2, chunk(b"tRNS", struct.pack(">3H", *key)))
        expected = np.rint(values / 257)
        expected[0, 0] = 255
        np.testing.assert_array_equal(self.opened(tmp_path, data), expected)

    @pytest.mark.parametrize(
        ("bits", "packed", "key", "expected"),
        [
            (1, 0b01000000, 1, [0, 255, 0, 0, 0, 0, 0, 0]),
            (1, 0b01000000, 0, [255] * 8),
            (2, 0b00011011, 1, [0, 255, 170, 255]),
            (4, 0x3A, 3, [255, 170]),
            (4, 0x3A, 10, [51, 255]),
        ],
    )
    def test_grey_of_few_levels(
        self, tmp_path: Path, bits: int, packed: int, key: int, expected: list[int]
    ) -> None:
        data = png(np.array([[packed]]), bits, 0, chunk(b"tRNS", struct.pack(">H", key)))
        np.testing.assert_array_equal(self.opened(tmp_path, data), grey_as_rgb([expected]))


class TestAdobeByExif:
    def exif(self, space: int, index: str) -> Image.Exif:
        exif = Image.Exif()
        exif[ExifTags.IFD.Exif] = {
            ExifTags.Base.ColorSpace: space,
            ExifTags.IFD.Interop: {ExifTags.Interop.InteropIndex: index},
        }
        return exif

    @pytest.mark.parametrize("suffix", [".jpg", ".webp"])
    def test_is_converted(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"p{suffix}"
        options: dict[str, Any] = {"quality": 100, "subsampling": 0}
        if suffix == ".webp":
            options = {"lossless": True}
        Image.fromarray(blocks()).save(path, exif=self.exif(65535, "R03"), **options)
        expected = srgb_encode((blocks() / 255) ** 2.19921875 @ ADOBE_TO_SRGB.T)
        assert np.abs(expected - blocks()).max() > 15
        np.testing.assert_allclose(pixels(path).astype(float), expected, atol=4)

    @pytest.mark.parametrize(("space", "index"), [(1, "R98"), (65535, "R98"), (1, "R03")])
    def test_others_are_srgb(self, tmp_path: Path, space: int, index: str) -> None:
        path = tmp_path / "p.webp"
        Image.fromarray(blocks()).save(path, exif=self.exif(space, index), lossless=True)
        np.testing.assert_array_equal(pixels(path), blocks())

    def test_a_profile_counts_more(self, tmp_path: Path) -> None:
        path = tmp_path / "p.webp"
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        exif = self.exif(65535, "R03")
        Image.fromarray(blocks()).save(path, exif=exif, icc_profile=srgb, lossless=True)
        np.testing.assert_array_equal(pixels(path), blocks())


class TestSeveralPictures:
    def noted(self, path: Path) -> list[str]:
        notes: list[str] = []
        open_picture(path, note=notes.append)
        return notes

    @pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
    def test_are_told(self, tmp_path: Path, suffix: str) -> None:
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
        path = tmp_path / f"p{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        count = "has 3 pages" if suffix == ".tif" else "is an animation of 3 pictures"
        assert self.noted(path) == [f"{path} {count}: only the first is used"]

    @pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif", ".jpg"])
    def test_a_single_one_is_not(self, tmp_path: Path, suffix: str) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / f"p{suffix}")
        assert self.noted(tmp_path / f"p{suffix}") == []

    def test_previews_are_not(self, tmp_path: Path) -> None:
        preview = Image.new("RGB", (4, 4))
        preview.encoderinfo = {"tiffinfo": {254: 1}}
        Image.new("RGB", (8, 8)).save(tmp_path / "p.tif", save_all=True, append_images=[preview])
        with Image.open(tmp_path / "p.tif") as stored:
            stored.seek(1)
            assert stored.tag_v2[254] == 1  # type: ignore[attr-defined]
        Image.new("RGB", (8, 8)).save(
            tmp_path / "p.jpg", format="MPO", save_all=True, append_images=[preview]
        )
        assert self.noted(tmp_path / "p.tif") == self.noted(tmp_path / "p.jpg") == []


class TestDraft:
    @pytest.mark.parametrize(
        ("draft_side", "size"),
        [(385, (512, 384)), (193, (512, 384)), (192, (256, 192)), (90, (128, 96)), (1, (64, 48))],
    )
    def test_jpeg_is_decoded_small(
        self, tmp_path: Path, draft_side: int, size: tuple[int, int]
    ) -> None:
        path = tmp_path / "p.jpg"
        colours = blocks(columns=4, rows=3, side=128)
        Image.fromarray(colours).save(path, quality=100, subsampling=0)
        picture = open_picture(path, draft_side)
        assert picture.size == size
        step = size[0] // 4
        found = np.asarray(picture)[step // 2 :: step, step // 2 :: step].astype(int)
        np.testing.assert_allclose(found, colours[64::128, 64::128], atol=4)

    def test_shorter_side_is_never_below(self, tmp_path: Path) -> None:
        for width, height in ((511, 300), (65, 1000), (257, 257)):
            Image.new("RGB", (width, height)).save(tmp_path / "p.jpg")
            for draft_side in (1, 32, 33, 64, 128, 129):
                shorter = min(open_picture(tmp_path / "p.jpg", draft_side).size)
                assert shorter >= min(draft_side, width, height)

    def test_other_formats_stay_whole(self, tmp_path: Path) -> None:
        Image.fromarray(noise()).save(tmp_path / "p.png")
        assert open_picture(tmp_path / "p.png", 4).size == (64, 48)

    def test_turned_jpeg(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        Image.new("RGB", (400, 200)).save(tmp_path / "p.jpg", exif=exif)
        assert open_picture(tmp_path / "p.jpg", 100).size == (100, 200)


class TestOpenErrors:
    def refused(self, path: Path) -> str:
        with pytest.raises(UserError) as caught:
            open_picture(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message

    def test_missing_folder_and_empty(self, tmp_path: Path) -> None:
        (tmp_path / "empty.jpg").touch()
        assert "does not exist" in self.refused(tmp_path / "none.jpg")
        assert "is a folder" in self.refused(tmp_path)
        assert "is empty" in self.refused(tmp_path / "empty.jpg")
        self.refused(tmp_path / "empty.jpg" / "below_a_file.jpg")
        self.refused(tmp_path / ("long" * 100 + ".jpg"))

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
    def test_permission(self, tmp_path: Path) -> None:
        Image.fromarray(noise()).save(tmp_path / "p.png")
        (tmp_path / "p.png").chmod(0)
        assert "may not be read" in self.refused(tmp_path / "p.png")

    def test_text_called_jpg(self, tmp_path: Path) -> None:
        path = tmp_path / "p.jpg"
        path.write_text("<html>404 not found</html>" * 20)
        assert "is not a picture" in self.refused(path)

    @pytest.mark.parametrize(
        ("name", "head", "kind"),
        [
            ("p.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photo"),
            ("p.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC photo"),
            ("p.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a film"),
            ("p.cr3", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a camera's raw file"),
            ("p.cr2", b"II*\0\x10\0\0\0CR\x02\0", "a camera's raw file"),
            ("p.jpg", b"II*\0\x10\0\0\0CR\x02\0", "a camera's raw file"),
            ("p.raf", b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
            ("p.avi", b"RIFF\0\0\0\0AVI LIST", "a film"),
            ("p.png", b"8BPS\0\x01", "an editor's project"),
            ("p.xcf", b"gimp xcf v011\0", "an editor's project"),
            ("p.kra", b"PK\x03\x04", "an editor's project"),
            ("p.svg", b"<?xml version='1.0'?>\n<svg xmlns=''>", "a vector drawing"),
            ("p.jxl", b"\xff\x0a\xfa", "a JPEG XL picture"),
            ("p.pdf", b"%PDF-1.7", "a PDF document"),
            ("p.jpg", b"\n<!DOCTYPE html><html>", "a web page"),
        ],
    )
    def test_files_of_other_kinds(self, tmp_path: Path, name: str, head: bytes, kind: str) -> None:
        (tmp_path / name).write_bytes(head + bytes(100))
        message = self.refused(tmp_path / name)
        assert f" is not a picture that can be read but {kind}: " in message

    @pytest.mark.parametrize("how", ["suffix", "tag"])
    def test_the_preview_of_a_raw_file_is_not_taken_for_it(self, tmp_path: Path, how: str) -> None:
        path = tmp_path / ("p.NEF" if how == "suffix" else "p.tif")
        tags = {50706: b"\x01\x04\0\0"} if how == "tag" else {}
        Image.new("RGB", (16, 12)).save(path, format="TIFF", tiffinfo=tags)
        assert "is a camera's raw file, of which only a preview" in self.refused(path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "p.jpg")
        assert "is a pipe or a device, not a file" in self.refused(tmp_path / "p.jpg")
        reading, writing = os.pipe()
        try:
            assert "is a pipe" in self.refused(Path(f"/dev/fd/{reading}"))
        finally:
            os.close(reading)
            os.close(writing)

    def test_an_address(self) -> None:
        for address in ("https://example.com/a.jpg", "s3://bucket/a.jpg"):
            with pytest.raises(UserError, match=f"^{address} is an address.*download it first"):
                open_picture(Path(address))
            with pytest.raises(UserError, match=f"^{address} is an address.*download it first"):
                find_pictures(Path(address))

    def test_postscript_is_not_run(self, tmp_path: Path) -> None:
        path = tmp_path / "p.jpg"
        Image.fromarray(noise()).save(path, format="EPS")
        assert "is not a picture" in self.refused(path)

    def test_png_called_jpg_opens(self, tmp_path: Path) -> None:
        Image.fromarray(noise()).save(tmp_path / "p.jpg", format="PNG")
        np.testing.assert_array_equal(pixels(tmp_path / "p.jpg"), noise())

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_truncated(self, tmp_path: Path, file_format: str, share: float) -> None:
        buffer = io.BytesIO()
        Image.fromarray(noise(100, 100)).save(buffer, format=file_format)
        path = tmp_path / "p.jpg"
        path.write_bytes(buffer.getvalue()[: int(share * buffer.tell())])
        assert "damaged" in self.refused(path)

    def test_damaged_everywhere(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        opened = refused = 0
        for file_format in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
            buffer = io.BytesIO()
            Image.fromarray(noise(24, 16)).save(buffer, format=file_format)
            for _ in range(40):
                data = np.frombuffer(buffer.getvalue(), dtype=np.uint8).copy()
                data[rng.integers(0, min(len(data), 300), 6)] = rng.integers(0, 256, 6)
                path = tmp_path / "p.jpg"
                path.write_bytes(data.tobytes())
                try:
                    assert open_picture(path).mode == "RGB"
                    opened += 1
                except UserError:
                    refused += 1
        assert opened > 20
        assert refused > 20

    def test_more_pixels_than_allowed(self, tmp_path: Path) -> None:
        width, height = 20_000, MAX_PIXELS // 20_000 + 1
        header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        path = tmp_path / "p.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
        )
        message = self.refused(path)
        assert f"{width:,} x {height:,}" in message
        assert "shrink it first" in message

    def test_more_pixels_than_memory_holds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "p.png"
        Image.new("RGB", (3000, 3000)).save(path)
        needed = 8 * 3000 * 3000
        memory = psutil.virtual_memory()
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=needed))
        assert open_picture(path).size == (3000, 3000)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=needed - 1))
        assert "memory that is free" in self.refused(path)

    @pytest.mark.parametrize("pillow_limit", [64 * 48 - 1, 100])
    def test_pillows_own_limit_does_not_interfere(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        recwarn: pytest.WarningsRecorder,
        pillow_limit: int,
    ) -> None:
        Image.fromarray(noise()).save(tmp_path / "p.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
        np.testing.assert_array_equal(pixels(tmp_path / "p.png"), noise())
        assert pillow_limit == Image.MAX_IMAGE_PIXELS
        assert not recwarn.list


class TestSave:
    @pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
    def test_lossless(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / "new" / "folder" / f"p{suffix}"
        save_picture(Image.fromarray(noise()), path)
        np.testing.assert_array_equal(pixels(path), noise())
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("suffix", "file_format"),
        [(".jpg", "JPEG"), (".JPEG", "JPEG"), (".png", "PNG"), (".webp", "WEBP"), (".bmp", "BMP")],
    )
    def test_suffix_names_the_format(self, tmp_path: Path, suffix: str, file_format: str) -> None:
        save_picture(Image.fromarray(noise()), tmp_path / f"p{suffix}")
        with Image.open(tmp_path / f"p{suffix}") as stored:
            assert stored.format == file_format

    def test_jpeg_keeps_colour_resolution(self, tmp_path: Path) -> None:
        stripes = np.zeros((32, 32, 3), dtype=np.uint8)
        stripes[:, ::2, 0] = 255
        stripes[:, 1::2, 2] = 255
        save_picture(Image.fromarray(stripes), tmp_path / "p.jpg")
        np.testing.assert_allclose(pixels(tmp_path / "p.jpg").astype(int), stripes, atol=25)

    @pytest.mark.parametrize("suffix", [".jpg", ".webp"])
    def test_quality(self, tmp_path: Path, suffix: str) -> None:
        sizes = []
        for quality in (30, 95):
            save_picture(Image.fromarray(noise()), tmp_path / f"p{suffix}", quality)
            sizes.append((tmp_path / f"p{suffix}").stat().st_size)
        assert sizes[0] < 0.7 * sizes[1]

    @pytest.mark.skipif(os.name == "nt", reason="no umask")
    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
    def test_umask_is_respected(self, tmp_path: Path, umask: int, mode: int) -> None:
        before = os.umask(umask)
        try:
            save_picture(Image.fromarray(noise()), tmp_path / "p.png")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "p.png").stat().st_mode) == mode

    def test_overwrites(self, tmp_path: Path) -> None:
        path = tmp_path / "p.png"
        save_picture(Image.new("RGB", (5, 5)), path)
        save_picture(Image.fromarray(noise()), path)
        np.testing.assert_array_equal(pixels(path), noise())

    @pytest.mark.parametrize("name", ["p.xyz", "p"])
    def test_unknown_suffix(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UserError, match=r"\.jpg, \.png, .* or \.webp"):
            save_picture(Image.new("RGB", (5, 5)), tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "meant"), [("p.jpgg", ".jpg"), ("p.pgn", ".png"), ("p.gif", ".png")]
    )
    def test_nearest_suffix_is_named(self, tmp_path: Path, name: str, meant: str) -> None:
        with pytest.raises(UserError, match=rf"{name} does not say .* end in \{meant}\.$"):
            save_picture(Image.new("RGB", (5, 5)), tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("picture", "name", "reason"),
        [
            (Image.new("RGB", (70_000, 2)), "p.jpg", r"70,000 x 2 pixels.*65,500.*\.png"),
            (Image.new("RGB", (2, 65_501)), "p.jpg", r"65,500"),
            (Image.new("RGB", (16_384, 2)), "p.webp", r"16,383"),
            (Image.new("F", (5, 5)), "p.png", r"cannot be saved"),  # fails in the encoder
        ],
    )
    def test_failure_leaves_the_old_file(
        self, tmp_path: Path, picture: Image.Image, name: str, reason: str
    ) -> None:
        path = tmp_path / name
        path.write_bytes(b"old")
        with pytest.raises(UserError, match=reason):
            save_picture(picture, path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize(("name", "size"), [("p.jpg", (65_500, 1)), ("p.webp", (16_383, 1))])
    def test_largest_side(self, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
        save_picture(Image.new("RGB", size), tmp_path / name)
        assert open_picture(tmp_path / name).size == size

    def test_places_that_cannot_be_written(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x")
        (tmp_path / "folder.png").mkdir()
        picture = Image.new("RGB", (5, 5))
        for path in (file / "p.png", file / "below" / "p.png"):
            with pytest.raises(UserError, match="there is a file where its folder should be"):
                save_picture(picture, path)
        with pytest.raises(UserError, match=r"folder\.png is a folder"):
            save_picture(picture, tmp_path / "folder.png")
        with pytest.raises(UserError, match="cannot be saved"):
            save_picture(picture, tmp_path / ("long" * 100 + ".png"))
        assert sorted(tmp_path.iterdir()) == [file, tmp_path / "folder.png"]
        assert file.read_bytes() == b"x"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes all")
    def test_permission(self, tmp_path: Path) -> None:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(UserError, match="Permission denied"):
            save_picture(Image.new("RGB", (5, 5)), tmp_path / "locked" / "p.png")


class TestSizes:
    @pytest.mark.parametrize("size", [(1, 1), (20_000, 10)])
    def test_odd_sizes_survive(self, tmp_path: Path, size: tuple[int, int]) -> None:
        colours = noise(*size)
        save_picture(Image.fromarray(colours), tmp_path / "p.png")
        picture = open_picture(tmp_path / "p.png")
        np.testing.assert_array_equal(np.asarray(picture), colours)
        np.testing.assert_array_equal(np.asarray(to_picture(to_tensor(picture))), colours)

    @pytest.mark.parametrize(
        ("size", "longer_side", "expected"),
        [
            ((100, 40), 50, (50, 20)),
            ((40, 100), 250, (100, 250)),
            ((20_000, 10), 100, (100, 1)),
            ((1, 1), 7, (7, 7)),
            ((101, 50), 101, (101, 50)),
            ((640, 427), 256, (256, 171)),
        ],
    )
    def test_resize(
        self, size: tuple[int, int], longer_side: int, expected: tuple[int, int]
    ) -> None:
        assert resize_picture(Image.new("RGB", size), longer_side).size == expected

    def test_resize_filters_before_it_samples(self) -> None:
        checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
        small = resize_picture(Image.fromarray(checkerboard).convert("RGB"), 16)
        np.testing.assert_allclose(np.asarray(small, dtype=int), 127.5, atol=6)


class TestTensors:
    # Every level in every channel, each channel in another order.
    levels = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) ^ 85], axis=-1)
    colours = levels.reshape(8, 32, 3).astype(np.uint8)

    def test_to_tensor(self) -> None:
        tensor = to_tensor(Image.fromarray(self.colours))
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        expected = np.moveaxis(self.colours.astype(np.float32) / np.float32(255), 2, 0)
        np.testing.assert_array_equal(tensor.numpy(), expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_round_trip_is_exact(self, dtype: torch.dtype) -> None:
        tensor = to_tensor(Image.fromarray(self.colours)).to(dtype).requires_grad_()
        picture = to_picture(tensor)
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), self.colours)

    @pytest.mark.parametrize(("dtype", "one"), [(torch.float16, 0x3C00), (torch.bfloat16, 0x3F80)])
    def test_every_half_precision_number_is_rounded_once(
        self, dtype: torch.dtype, one: int
    ) -> None:
        numbers = torch.arange(one + 1, dtype=torch.int16).view(dtype)  # all from 0 to 1
        expected = np.rint(255 * numbers.double().numpy()).astype(np.uint8)
        found = np.asarray(to_picture(numbers.expand(3, 1, -1)))
        np.testing.assert_array_equal(found[0], expected[:, None].repeat(3, axis=1))

    def test_uint8_is_taken_as_it_is(self) -> None:
        tensor = torch.from_numpy(np.moveaxis(self.colours, 2, 0).copy())
        np.testing.assert_array_equal(np.asarray(to_picture(tensor)), self.colours)

    def test_clamps_and_rounds_to_nearest(self) -> None:
        values = torch.tensor([-3.0, 1.7, torch.inf, 0.49 / 255, 0.51 / 255, 254.51 / 255])
        before = values.clone()
        picture = to_picture(values.expand(3, 1, 6))
        np.testing.assert_array_equal(np.asarray(picture), grey_as_rgb([[0, 255, 255, 0, 1, 255]]))
        assert torch.equal(values, before)

    def test_torch_is_not_imported_for_files(self) -> None:
        code = "import sys, fast_style.images; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
