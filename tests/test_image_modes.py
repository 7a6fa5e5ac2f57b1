"""Every pixel format, depth and orientation, compared with values worked out by hand."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import (
    ORIENTATION,
    blocks,
    chunk,
    grey_as_rgb,
    noise,
    pixels,
    png,
    srgb_encode,
    tiff,
)
from PIL import Image

from fast_style.errors import UserError
from fast_style.images import open_picture, save_picture


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


class TestDeepTiff:
    """Grey at every depth, with either end as white."""

    # Bits a sample, sample format, and the bytes that store shares of white in [0, 1].
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
        if white_is_zero and kind in ("uint32", "int32", "int16"):  # Pillow reads none of these
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
        # The tag's four bytes hold two values of 16 bits: 8 and 8.
        eight = struct.pack("<HHII", 258, 4, 1, 8)
        assert eight in data
        path.write_bytes(data.replace(eight, struct.pack("<HHIHH", 258, 3, 2, 8, 8)))
        # Stored values are multiplied by alpha already; white fills the rest.
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


class TestOrientation:
    # From the upright picture to the stored one (Exif 2.3, section 4.6.4 A, tag 274).
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
