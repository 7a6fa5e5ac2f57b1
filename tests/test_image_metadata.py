"""What a stylized photo keeps of its file: EXIF, XMP, resolution, profile; and what it does not."""

import io
import struct
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import complaints, files, run
from picture_files import ADOBE_XY, P3_XY, chunk, curve, icc_profile, noise, png, primaries_chunk
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin, TiffImagePlugin

from fast_style.images import Beside, Saving, open_photo, open_picture, read_mark, save_picture
from fast_style.images.exif import ASCII, Exif, Tag
from fast_style.images.metadata import Metadata

Base, GPS, IFD = ExifTags.Base, ExifTags.GPS, ExifTags.IFD
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".avif"]
SOURCES = [".jpg", ".png", ".webp", ".avif"]  # to which Pillow writes all of EXIF and XMP

PLACE = "Nice"
XMP = f"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
 tiff:Orientation="1" exif:GPSLatitude="43,42N" GCamera:MotionPhoto="1" xmp:Rating="4">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Café &amp; sea</rdf:li></rdf:Alt></dc:title>
<exif:GPSLongitude>7,15E</exif:GPSLongitude><photoshop:City>{PLACE}</photoshop:City>
<xmp:Thumbnails><rdf:Alt><rdf:li>the thumbnail</rdf:li></rdf:Alt></xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def full_exif(order: str) -> bytes:
    """EXIF as cameras write it, with a thumbnail, in a byte order."""
    exif = Image.Exif()
    exif.endian = order
    exif[Base.Orientation] = 1
    exif[Base.Artist] = "Jose"
    exif[Base.Model] = "Camera 7"
    exif[Base.Software] = "Editor"
    exif.get_ifd(IFD.Exif).update(
        {
            Base.DateTimeOriginal: "2024:05:06 07:08:09",
            Base.ExposureTime: TiffImagePlugin.IFDRational(1, 250),
            Base.ExposureBiasValue: TiffImagePlugin.IFDRational(-1, 3),
            Base.ISOSpeedRatings: 400,
            Base.UserComment: b"ASCII\0\0\0a comment",
            Base.MakerNote: b"the maker's own" * 3,
            Base.ExifImageWidth: 4000,
            Base.ColorSpace: 1,
            Base.LensModel: "35 mm",
        }
    )
    exif.get_ifd(IFD.GPSInfo).update(
        {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (43.0, 42.0, 0.5), GPS.GPSAltitudeRef: b"\0"}
    )
    block = bytearray(exif.tobytes().replace(b"Jose", b"Jo\xc3\xa9"))  # UTF-8, as is usual
    # The next directory holds the thumbnail.
    number = ">" if order == ">" else "<"
    (first,) = struct.unpack_from(number + "I", block, 6 + 4)
    (count,) = struct.unpack_from(number + "H", block, 6 + first)
    end = len(block) - 6
    struct.pack_into(number + "I", block, 6 + first + 2 + 12 * count, end)
    tags = ((513, 4, 1, end + 2 + 24 + 4), (514, 4, 1, 13))
    block += struct.pack(number + "H", 2)
    block += b"".join(struct.pack(number + "HHII", *tag) for tag in tags) + bytes(4)
    return bytes(block + b"the thumbnail")


@pytest.fixture(params=SOURCES)
def photo(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"photo{request.param}"
    options: dict[str, Any] = {"dpi": (300, 300), "exif": full_exif("<"), "xmp": XMP}
    if request.param == ".png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.fromarray(noise()).save(path, **options)
    return path


def written(photo: Path, suffix: str, saving: Saving | None = None) -> Image.Image:
    """Write a photo as a stylized one is written, though not painted, and open it with Pillow."""
    out = photo.with_name(f"out{suffix}")
    opened = open_photo(photo)
    saving = saving or Saving()
    beside = saving.beside(opened)
    save_picture(opened.colours, out, saving.quality, "a mark", beside, "a program")
    picture = Image.open(out)
    picture.load()
    return picture


def xmp_of(picture: Image.Image) -> bytes:
    found = picture.info.get("xmp", b"")
    return found.encode() if isinstance(found, str) else bytes(found)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exif_is_kept(photo: Path, suffix: str) -> None:
    picture = written(photo, suffix)
    exif = picture.getexif()
    if photo.suffix != ".avif":  # where Pillow wrote question marks
        assert exif[Base.Artist].encode("latin-1") == "Joé".encode()
    assert exif[Base.Model] == "Camera 7"
    assert exif[Base.Software] == "a program"
    assert exif[Base.ImageID] == "a mark"
    details = exif.get_ifd(IFD.Exif)
    assert details[Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert details[Base.ExposureTime] == 1 / 250
    assert details[Base.ExposureBiasValue] == TiffImagePlugin.IFDRational(-1, 3)
    assert details[Base.ISOSpeedRatings] == 400
    assert details[Base.UserComment] == b"ASCII\0\0\0a comment"
    assert details[Base.LensModel] == "35 mm"
    assert details[Base.ColorSpace] == 1
    assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == picture.size == (64, 48)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_not_kept(photo: Path, suffix: str) -> None:
    picture = written(photo, suffix)
    exif = picture.getexif()
    assert Base.Orientation not in exif
    assert Base.MakerNote not in exif.get_ifd(IFD.Exif)
    assert not exif.get_ifd(IFD.GPSInfo)
    everything = Path(str(picture.filename)).read_bytes()  # type: ignore[attr-defined]
    assert b"the thumbnail" not in everything
    assert b"the thumbnail" not in xmp_of(picture)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_xmp_is_kept(photo: Path, suffix: str) -> None:
    xmp = xmp_of(written(photo, suffix)).decode()
    assert '<rdf:li xml:lang="x-default">Café &amp; sea</rdf:li>' in xmp
    assert 'xmp:Rating="4"' in xmp
    assert "<?xpacket begin" in xmp
    for gone in ("Orientation", "GPSL", PLACE, "MotionPhoto", "thumbnail"):
        assert gone not in xmp


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_location_is_kept_where_it_is_asked_for(photo: Path, suffix: str) -> None:
    picture = written(photo, suffix, Saving(keep_location=True))
    location = picture.getexif().get_ifd(IFD.GPSInfo)
    assert location[GPS.GPSLatitudeRef] == "N"
    assert location[GPS.GPSLatitude] == (43.0, 42.0, 0.5)
    xmp = xmp_of(picture).decode()
    for kept in ("GPSLatitude", "GPSLongitude", PLACE):
        assert kept in xmp


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_stripped(photo: Path, suffix: str) -> None:
    picture = written(photo, suffix, Saving(strip_metadata=True))
    exif = picture.getexif()
    assert Base.Artist not in exif
    assert Base.Model not in exif
    assert exif[Base.ImageID] == "a mark"
    assert not exif.get_ifd(IFD.Exif)
    assert not exif.get_ifd(IFD.GPSInfo)
    assert not xmp_of(picture)


def test_options_that_exclude_each_other(tmp_path: Path, style: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "p.png")
    result = run("stylize", tmp_path / "p.png", "--style", style, "--strip-metadata",
                 "--keep-location")  # fmt: skip
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".bmp"])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".bmp"])
def test_resolution_is_kept(tmp_path: Path, source: str, suffix: str) -> None:
    path = tmp_path / f"p{source}"
    Image.fromarray(noise()).save(path, dpi=(300, 150))
    for saving in (Saving(), Saving(strip_metadata=True)):
        picture = written(path, suffix, saving)
        exif = picture.getexif()
        found = picture.info.get("dpi") or (exif[Base.XResolution], exif[Base.YResolution])
        np.testing.assert_allclose([float(number) for number in found], (300, 150), atol=0.1)


def test_no_resolution_where_there_was_none(tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "p.png")
    picture = written(tmp_path / "p.png", ".jpg")
    assert "dpi" not in picture.info or Base.XResolution not in picture.getexif()


def test_resolution_of_webp_and_of_a_turned_photo(tmp_path: Path, style: Path) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = 100.0, 50.0, 3
    Image.fromarray(noise()).save(tmp_path / "p.webp", exif=exif)
    picture = written(tmp_path / "p.webp", ".png")
    assert picture.size == (48, 64)
    np.testing.assert_allclose(picture.info["dpi"], (127, 254), atol=0.1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_mark_is_the_new_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    save_picture(Image.fromarray(noise()), path, mark="an older mark")
    assert read_mark(path) == "an older mark"
    assert read_mark(Path(written(path, suffix).filename)) == "a mark"  # type: ignore[attr-defined]


def test_the_command(tmp_path: Path, style: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "p.jpg", exif=full_exif("<"), xmp=XMP)
    out = tmp_path / "out"
    for options in ([], [], ["--quality", "50", "--keep-location"]):
        result = run("stylize", tmp_path / "p.jpg", "--style", style, "-o", out, *options)
        assert result.exit_code == 0
        assert not complaints(result)
    assert files(out) == [f"p-{style.stem}.jpg", "p.jpg"]
    exif = Image.open(out / "p.jpg").getexif()
    assert exif[Base.Model] == "Camera 7"
    assert exif[Base.Software] == f"fast-style {version('fast-style')}, style {style.stem}"
    assert not exif.get_ifd(IFD.GPSInfo)
    changed = out / f"p-{style.stem}.jpg"
    assert Image.open(changed).getexif().get_ifd(IFD.GPSInfo)
    assert changed.stat().st_size < (out / "p.jpg").stat().st_size / 2


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_both_byte_orders(tmp_path: Path, order: str, suffix: str) -> None:
    Image.fromarray(noise()).save(tmp_path / "p.jpg", exif=full_exif(order))
    details = written(tmp_path / "p.jpg", suffix).getexif().get_ifd(IFD.Exif)
    assert details[Base.ExposureTime] == 1 / 250
    assert details[Base.ISOSpeedRatings] == 400
    assert details[Base.DateTimeOriginal] == "2024:05:06 07:08:09"


def test_from_tiff(tmp_path: Path, style: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "p.tif", exif=full_exif("<"), dpi=(150, 150))
    picture = written(tmp_path / "p.tif", ".jpg")
    exif = picture.getexif()
    assert exif[Base.Model] == "Camera 7"
    assert exif.get_ifd(IFD.Exif)[Base.LensModel] == "35 mm"
    assert Base.StripOffsets not in exif
    assert picture.info["dpi"] == (150, 150)


def test_damaged_metadata_is_no_obstacle(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = full_exif("<")
    for _ in range(60):
        block = np.frombuffer(whole, dtype=np.uint8).copy()
        block[rng.integers(6, len(block), 8)] = rng.integers(0, 256, 8)
        xmp = bytearray(XMP)
        xmp[int(rng.integers(0, len(xmp)))] = int(rng.integers(0, 256))
        Image.new("RGB", (20, 20)).save(tmp_path / "p.webp", exif=block.tobytes(), xmp=bytes(xmp))
        photo = open_photo(tmp_path / "p.webp")
        for suffix in (".jpg", ".tif"):
            out = tmp_path / f"q{suffix}"
            save_picture(photo.colours, out, mark="m", beside=Saving().beside(photo))
            assert read_mark(out) == "m"
            assert open_picture(out).size == (20, 20)


@pytest.mark.parametrize(
    "xmp",
    [
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
        b"<x",
        bytes(9),
        b"<x>" * 8000 + b"</x>" * 8000,
        b"<x>" + b"a" * 70_000 + b"</x>",
    ],
)
def test_xmp_that_is_not_read(xmp: bytes) -> None:
    assert Metadata(xmp=xmp).kept().xmp is None


def test_exif_that_a_jpeg_cannot_hold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Exif(main={270: Tag(ASCII, 70_000, b"a" * 69_999 + b"\0")})
    beside = Beside(metadata=Metadata(exif))
    for name in ("p.jpg", "p.png"):
        save_picture(Image.new("RGB", (9, 9)), tmp_path / name, mark="m", beside=beside)
        assert read_mark(tmp_path / name) == "m"
    assert "p.jpg has no room for the photo's EXIF" in caplog.text
    assert "p.png" not in caplog.text


class TestProfile:
    def named(self, picture: Image.Image) -> str:
        return ImageCms.getProfileDescription(
            ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        ).strip()

    @staticmethod
    def wide(xy: tuple[float, ...]) -> bytes:
        """An ICC profile of primaries, adapted to D50 by hand, with a power of 2.2."""
        x, y = np.reshape(xy, (4, 2)).T
        xyz = np.stack([x, y, 1 - x - y]) / y
        primaries = xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])
        bradford = np.array(
            [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
        )
        d50 = np.array([0.9642, 1, 0.8249])
        gains = np.diag((bradford @ d50) / (bradford @ xyz[:, 0]))
        columns = (np.linalg.inv(bradford) @ gains @ bradford @ primaries).T
        tags = {
            name: b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(65536 * v)) for v in column)
            for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
        }
        return icc_profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(2.2)))

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_srgb_is_named(self, tmp_path: Path, suffix: str) -> None:
        Image.fromarray(noise()).save(tmp_path / "p.png", icc_profile=self.wide(P3_XY))
        assert "sRGB" in self.named(written(tmp_path / "p.png", suffix))

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
    def test_own_profile(self, tmp_path: Path, suffix: str) -> None:
        # Colours inside sRGB come back as they were, up to rounding twice.
        colours = (noise() // 4 + 96).astype(np.uint8)
        profile = self.wide(P3_XY)
        exif = full_exif("<")
        Image.fromarray(colours).save(tmp_path / "p.png", icc_profile=profile, exif=exif)
        picture = written(tmp_path / "p.png", suffix, Saving(100, keep_profile=True))
        assert picture.info["icc_profile"] == profile
        atol = 2 if suffix != ".jpg" else 6
        np.testing.assert_allclose(np.asarray(picture).astype(int), colours, atol=atol)
        assert picture.getexif().get_ifd(IFD.Exif)[Base.ColorSpace] == 65535

    def test_the_colours_are_the_same_in_both(self, tmp_path: Path, style: Path) -> None:
        profile = self.wide(ADOBE_XY)
        # Near 0, one level of a power is many of sRGB's.
        Image.fromarray(noise() // 4 + 96).save(tmp_path / "p.png", icc_profile=profile)
        own = written(tmp_path / "p.png", ".png", Saving(keep_profile=True))
        back = ImageCms.profileToProfile(
            own, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        )
        srgb = written(tmp_path / "p.png", ".png")
        assert back is not None
        np.testing.assert_allclose(np.asarray(back).astype(int), np.asarray(srgb), atol=3)

    def test_colours_that_a_png_names_in_chunks(self, tmp_path: Path, style: Path) -> None:
        colours = (noise() // 4 + 96).astype(np.uint8)
        (tmp_path / "p.png").write_bytes(png(colours, 8, 2, chunk(b"cICP", bytes([12, 13, 0, 1]))))
        picture = written(tmp_path / "p.png", ".png", Saving(keep_profile=True))
        np.testing.assert_allclose(np.asarray(picture).astype(int), colours, atol=2)
        assert self.named(picture) == "RGB of a file"
        (tmp_path / "q.png").write_bytes(png(colours, 8, 2, primaries_chunk(*ADOBE_XY)))
        picture = written(tmp_path / "q.png", ".png", Saving(keep_profile=True))
        np.testing.assert_allclose(np.asarray(picture).astype(int), colours, atol=2)

    @pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
    def test_other_profiles_become_srgb(self, tmp_path: Path, mode: str) -> None:
        profile = icc_profile(b"GRAY", {b"kTRC": curve(1.8)}) if mode == "L" else b"broken"
        Image.fromarray(noise()).convert(mode).save(tmp_path / "p.jpg", icc_profile=profile)
        picture = written(tmp_path / "p.jpg", ".jpg", Saving(keep_profile=True))
        assert "sRGB" in self.named(picture)

    def test_a_long_profile_stays_in_a_tiff(self, tmp_path: Path) -> None:
        profile = self.wide(P3_XY)
        profile = struct.pack(">I", 3_000_000) + profile[4:].ljust(2_999_996, b"\0")
        Image.fromarray(noise()).save(tmp_path / "p.webp", icc_profile=profile)
        picture = written(tmp_path / "p.webp", ".tif", Saving(keep_profile=True))
        assert picture.info["icc_profile"] == profile

    def test_bytes_are_the_same_each_day(self, tmp_path: Path) -> None:
        from fast_style.images.colour import srgb_profile

        header = srgb_profile()[:128]
        assert header[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


class TestCompression:
    @pytest.mark.parametrize(
        ("quality", "sampling"), [(None, 0), (95, 0), (90, 0), (89, 2), (30, 2)]
    )
    def test_jpeg(self, tmp_path: Path, quality: int | None, sampling: int) -> None:
        save_picture(Image.fromarray(noise()), tmp_path / "p.jpg", quality)
        with Image.open(tmp_path / "p.jpg") as saved:
            assert JpegImagePlugin.get_sampling(saved) == sampling

    @pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
    def test_quality(self, tmp_path: Path, suffix: str) -> None:
        Image.fromarray(noise()).save(tmp_path / "p.png")
        sizes = []
        for quality in (30, 60, 100):
            written(tmp_path / "p.png", suffix, Saving(quality))
            sizes.append((tmp_path / f"out{suffix}").stat().st_size)
        assert sizes[0] < sizes[1] < sizes[2]

    def test_avif_is_close(self, tmp_path: Path) -> None:
        smooth = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
        save_picture(smooth, tmp_path / "p.avif")
        found = np.asarray(open_picture(tmp_path / "p.avif")).astype(int)
        np.testing.assert_allclose(found, np.asarray(smooth), atol=6)

    @pytest.mark.parametrize("channels", [3, 4])
    def test_tiff_is_small_and_exact(self, tmp_path: Path, channels: int) -> None:
        smooth = Image.linear_gradient("L").convert("RGB")
        alpha = Image.linear_gradient("L").rotate(90) if channels == 4 else None
        save_picture(smooth, tmp_path / "p.tif", mark="m", beside=Beside(alpha))
        assert (tmp_path / "p.tif").stat().st_size < 256 * 256 * channels / 10
        with Image.open(tmp_path / "p.tif") as saved:
            assert saved.mode == ("RGBA" if alpha else "RGB")
            np.testing.assert_array_equal(np.asarray(saved)[..., :3], np.asarray(smooth))
            if alpha:
                np.testing.assert_array_equal(np.asarray(saved)[..., 3], np.asarray(alpha))
        assert read_mark(tmp_path / "p.tif") == "m"


def test_a_quality_out_of_range(tmp_path: Path, style: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "p.png")
    for quality in ("0", "101", "best"):
        result = run("stylize", tmp_path / "p.png", "--style", style, "--quality", quality)
        assert result.exit_code == 2
        assert "--quality" in result.stderr
