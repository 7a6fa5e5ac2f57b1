"""Colours that a file describes, converted to sRGB and compared with formulas."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import (
    ADOBE_TO_SRGB,
    ADOBE_XY,
    P3_TO_SRGB,
    SRGB_CHUNK,
    SRGB_XY,
    blocks,
    chunk,
    curve,
    fixed,
    gamma_chunk,
    icc_profile,
    noise,
    pixels,
    png,
    primaries_chunk,
    srgb_decode,
    srgb_encode,
)
from PIL import ExifTags, Image, ImageCms

from fast_style.errors import UserError
from fast_style.images import open_picture, save_picture


class TestColourProfiles:
    # Linear Adobe RGB (1998) and linear sRGB to XYZ, adapted to D50.
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
        # A table of 2 x 2 x 2 x 2 colours in which only black ink counts: L* falls from 100 to 0,
        # a* and b* stay neutral (ICC.1:2001-04, section 6.5.8).
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
        linear = ((lightness + 16) / 116) ** 3  # CIE 1976, for L* above 8
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
