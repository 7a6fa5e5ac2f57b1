"""Opening picture files: which are refused, in which words, and which odd ones are read."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
from picture_files import ORIENTATION, blocks, chunk, noise, pixels
from PIL import Image

from fast_style.errors import UserError
from fast_style.images import MAX_PIXELS, find_pictures, open_picture


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
        path.write_text("404 not found" * 20)
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
        assert message.startswith(f"{tmp_path / name} is {kind}, which cannot be read: ")

    @pytest.mark.parametrize("how", ["suffix", "tag"])
    def test_the_preview_of_a_raw_file_is_not_taken_for_it(self, tmp_path: Path, how: str) -> None:
        path = tmp_path / ("p.NEF" if how == "suffix" else "p.tif")
        tags = {50706: b"\x01\x04\0\0"} if how == "tag" else {}
        Image.new("RGB", (16, 12)).save(path, format="TIFF", tiffinfo=tags)
        assert "is a camera's raw file, and only its preview" in self.refused(path)

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
        assert "is a vector drawing, which cannot be read" in self.refused(path)

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
        assert "of memory to open, more than is free" in self.refused(path)

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
