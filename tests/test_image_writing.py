"""Saving pictures: the file is complete, or the old one stays."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from picture_files import noise, pixels
from PIL import Image

from fast_style.errors import UserError
from fast_style.images import open_picture, save_picture


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
