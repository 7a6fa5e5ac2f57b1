"""Stylized films, read back with PyAV alone: what is kept of the source, and what a stop leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from command_line import heed_ctrl_c
from film_making import (
    drawn,
    exact,
    frames_of,
    incomplete_film,
    make_film,
    packets_of,
    pixels_of,
    times_of,
)
from numpy.typing import NDArray
from PIL import Image

from fast_style import Stylizer
from fast_style.errors import UserError
from fast_style.film import FilmOptions, FilmProgress, FilmResult, read_film_mark, stylize_film
from fast_style.film.encoding import FRAMES_OF_PART
from fast_style.film.parts import parts_folder
from fast_style.film.pipeline import run_stages

BEST = FilmOptions(quality=100)
LOSSLESS = FilmOptions(codec="ffv1")


def mean_difference(a: list[Any], b: list[Any]) -> float:
    assert len(a) == len(b)
    return float(np.mean([np.abs(x.astype(int) - y).mean() for x, y in zip(a, b, strict=True)]))


def test_frames_are_those_that_the_network_paints(tmp_path: Path, stylizer: Stylizer) -> None:
    film = make_film(tmp_path / "a.mkv", codec="ffv1", pixel_format="yuv444p", options={})
    stylize_film(film, tmp_path / "b.mkv", stylizer, LOSSLESS)
    painted = [np.asarray(stylizer(Image.fromarray(pixels))) for pixels in pixels_of(film)]
    assert mean_difference(pixels_of(tmp_path / "b.mkv"), painted) < 3
    assert mean_difference(pixels_of(film), painted) > 20


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".m4v"])
def test_variable_rates_keep_their_times(tmp_path: Path, unchanged: Stylizer, suffix: str) -> None:
    # In thousandths, which Matroska counts in.
    times = [0, 40, 80, 200, 201, 333, 1000, 1040, 5000, 5017]
    film = make_film(
        tmp_path / f"a{suffix}", times=times, time_base=Fraction(1, 1000), rate=Fraction(25)
    )
    stylize_film(film, tmp_path / f"b{suffix}", unchanged)
    assert times_of(tmp_path / f"b{suffix}") == [Fraction(time, 1000) for time in times]


def test_odd_units_of_time_and_a_late_start_are_kept(tmp_path: Path, unchanged: Stylizer) -> None:
    times = [1001 * number + 5 * (number % 3) + 777 for number in range(20)]
    film = make_film(tmp_path / "a.mp4", times=times, time_base=Fraction(1, 11988))
    before = times_of(film)
    stylize_film(film, tmp_path / "b.mp4", unchanged)
    assert times_of(tmp_path / "b.mp4") == before
    durations = [
        [frame.duration for frame in frames_of(tmp_path / name)] for name in ("a.mp4", "b.mp4")
    ]
    assert durations[0] == durations[1]


def test_times_across_parts(tmp_path: Path, unchanged: Stylizer) -> None:
    count = 2 * FRAMES_OF_PART + 7
    film = make_film(tmp_path / "a.mp4", size=(16, 16), frames=count, sound="aac")
    assert stylize_film(film, tmp_path / "b.mp4", unchanged).frames == count
    assert times_of(tmp_path / "b.mp4") == times_of(film)
    assert packets_of(tmp_path / "b.mp4", "audio") == packets_of(film, "audio")


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [
        (".avi", "mpeg4", "libmp3lame"),
        (".mpg", "mpeg2video", "mp2"),
        (".webm", "libvpx-vp9", "libopus"),
        (".ts", "libx264", "aac"),
        (".flv", "flv", "libmp3lame"),
        (".mkv", "ffv1", "flac"),
        (".mov", "prores", "aac"),
        (".wmv", "wmv2", "libmp3lame"),
    ],
)
def test_containers_and_codecs(
    tmp_path: Path, unchanged: Stylizer, suffix: str, codec: str, sound: str
) -> None:
    recipe: dict[str, Any] = {"codec": codec, "sound": sound, "options": {"b": "4000000"}}
    if codec == "prores":
        recipe["pixel_format"] = "yuv422p10le"
    if suffix in (".avi", ".mpg", ".flv", ".wmv"):
        rate = Fraction(25)
        recipe |= {"rate": rate, "time_base": 1 / rate}
    film = make_film(tmp_path / f"a{suffix}", **recipe)
    target = tmp_path / ("b.webm" if suffix == ".webm" else "b.mkv")
    stylize_film(film, target, unchanged, BEST)
    assert mean_difference(pixels_of(target), pixels_of(film)) < 4
    if suffix != ".avi":  # whose frames have no times, only an order
        first = times_of(film)[0]
        kept = [float(time - times_of(target)[0]) for time in times_of(target)]
        assert kept == pytest.approx([float(time - first) for time in times_of(film)], abs=0.001)
    before, after = (packets_of(path, "audio") for path in (film, target))
    header = 7 if suffix == ".ts" else 0  # of each packet in a stream that is broadcast
    assert [data[header:] for _, data in before] == [data for _, data in after]


def test_sound_is_carried_byte_for_byte(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", sound="aac", frames=30)
    stylize_film(film, tmp_path / "b.mp4", unchanged)
    assert packets_of(tmp_path / "b.mp4", "audio") == packets_of(film, "audio")
    assert len(packets_of(film, "audio")) > 10


def test_subtitles_are_carried(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mkv", subtitles=["Good evening.", "Hé, <i>you</i>!"])
    stylize_film(film, tmp_path / "b.mkv", unchanged)
    assert packets_of(tmp_path / "b.mkv", "subtitle") == packets_of(film, "subtitle")


def test_what_the_target_cannot_hold_is_refused(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", sound="aac")
    with pytest.raises(UserError, match=r"b\.webm cannot hold .* sound \(aac\).*\.mkv"):
        stylize_film(film, tmp_path / "b.webm", unchanged)
    film = make_film(tmp_path / "a.mkv", subtitles=["Good evening."])
    with pytest.raises(UserError, match=r"b\.mp4 cannot hold .* subtitles \(subrip\).*\.mkv"):
        stylize_film(film, tmp_path / "b.mp4", unchanged)
    film = make_film(
        tmp_path / "a.wmv",
        codec="wmv2",
        sound="wmav2",
        rate=Fraction(25),
        time_base=Fraction(1, 25),
    )
    with pytest.raises(UserError, match=r"b\.mkv cannot hold .* \(wmav2\).*: convert it first"):
        stylize_film(film, tmp_path / "b.mkv", unchanged)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".mkv", ".mp4", ".wmv"]


def test_title_is_kept_and_place_is_not(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", metadata={"title": "Trip", "location": "+48.1+011.5/"})
    stylize_film(film, tmp_path / "b.mp4", unchanged)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.metadata["title"] == "Trip"
        assert "location" not in container.metadata


def test_chapters_languages_and_fonts_are_kept(tmp_path: Path, unchanged: Stylizer) -> None:
    plain = make_film(tmp_path / "plain.mkv", sound="aac", subtitles=["Good evening."])
    with av.open(str(plain)) as source, av.open(str(tmp_path / "a.mkv"), "w") as container:
        added: dict[int, Any] = {}
        for stream in source.streams:
            added[stream.index] = container.add_stream_from_template(stream, opaque=True)
            added[stream.index].metadata["language"] = "fra"
        added[2].disposition = av.stream.Disposition.forced
        container.add_attachment("font.ttf", "font/ttf", b"a font")
        second = {"id": 1, "start": 0, "end": 1, "time_base": Fraction(1), "metadata": {}}
        container.set_chapters([second])  # type: ignore[list-item]
        for packet in source.demux():
            if packet.size:
                packet.stream = added[packet.stream.index]
                container.mux(packet)
    stylize_film(tmp_path / "a.mkv", tmp_path / "b.mkv", unchanged)
    with av.open(str(tmp_path / "b.mkv")) as container:
        *streams, font = container.streams
        assert [stream.metadata["language"] for stream in streams] == ["fra"] * 3
        assert streams[2].disposition & av.stream.Disposition.forced
        assert font.data == b"a font"  # type: ignore[attr-defined]
        (chapter,) = container.chapters()
        assert chapter["end"] * chapter["time_base"] == 1  # type: ignore[operator]


def test_a_title_in_no_known_encoding(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mkv", metadata={"title": "Caf??"}, frames=2)
    film.write_bytes(film.read_bytes().replace(b"Caf??", b"Caf\xe9!"))
    stylize_film(film, tmp_path / "b.mkv", unchanged)
    with av.open(str(tmp_path / "b.mkv"), metadata_errors="replace") as container:
        assert container.metadata["title"].startswith("Caf")


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotation_is_applied(
    tmp_path: Path, unchanged: Stylizer, rotation: int, mirrored: bool
) -> None:
    film = make_film(tmp_path / "a.mp4", rotation=rotation, mirrored=mirrored, frames=2)
    stylize_film(film, tmp_path / "b.mp4", unchanged, BEST)
    # FFmpeg's angle is counterclockwise, and of a picture that is mirrored afterwards.
    expected = [np.rot90(pixels, rotation // 90) for pixels in pixels_of(film)]
    if mirrored:
        expected = [pixels[:, ::-1] for pixels in expected]
    assert mean_difference(pixels_of(tmp_path / "b.mp4"), expected) < 3
    assert all(frame.rotation == 0 for frame in frames_of(tmp_path / "b.mp4"))


def test_pixel_aspect_turns_with_the_picture(tmp_path: Path, unchanged: Stylizer) -> None:
    for name, rotation in (("a", None), ("b", 90)):
        film = make_film(
            tmp_path / f"{name}.mp4", rotation=rotation, aspect=Fraction(16, 11), frames=2
        )
        stylize_film(film, tmp_path / f"{name}2.mp4", unchanged)
    aspects = []
    for name in ("a2.mp4", "b2.mp4"):
        with av.open(str(tmp_path / name)) as container:
            aspects.append(exact(container.streams.video[0].sample_aspect_ratio))
    assert aspects == [Fraction(16, 11), Fraction(11, 16)]


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (63, 47), (50, 34)])
@pytest.mark.parametrize("codec", ["h264", "vp9", "ffv1"])
def test_odd_sides_keep_their_size(
    tmp_path: Path, unchanged: Stylizer, size: tuple[int, int], codec: str
) -> None:
    film = make_film(
        tmp_path / "a.mkv", size=size, codec="ffv1", pixel_format="yuv444p", options={}, frames=3
    )
    options = FilmOptions(codec=codec, quality=None if codec == "ffv1" else 100)
    stylize_film(film, tmp_path / "b.mkv", unchanged, options)
    assert {(frame.width, frame.height) for frame in frames_of(tmp_path / "b.mkv")} == {size}
    assert mean_difference(pixels_of(tmp_path / "b.mkv"), pixels_of(film)) < 4


@pytest.mark.parametrize(
    "colours",
    [
        {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1},
        {"colorspace": 6, "color_range": 1, "color_primaries": 6, "color_trc": 6},
        {"colorspace": 5, "color_range": 2, "color_primaries": 5, "color_trc": 4},
        {"colorspace": 1, "color_range": 2, "color_primaries": 12, "color_trc": 13},
        {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 14},
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colour_tags_are_kept_and_used(
    tmp_path: Path, unchanged: Stylizer, colours: dict[str, int], suffix: str
) -> None:
    film = make_film(tmp_path / f"a{suffix}", colours=colours, frames=2)
    target = tmp_path / f"b{suffix}"
    stylize_film(film, target, unchanged, BEST)
    tags = "colorspace", "color_range", "color_primaries", "color_trc"
    (frame, _) = frames_of(target)
    assert {name: getattr(frame, name) for name in tags} == colours
    drawn_pixels = [drawn(number, (64, 48)) for number in range(2)]
    assert mean_difference(pixels_of(target), drawn_pixels) < 4


def test_a_film_without_tags_gets_none(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", frames=2)
    stylize_film(film, tmp_path / "b.mp4", unchanged, BEST)
    (frame, _) = frames_of(tmp_path / "b.mp4")
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (2, 2, 2)
    assert mean_difference(pixels_of(tmp_path / "b.mp4"), pixels_of(film)) < 3


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_becomes_standard_range(
    tmp_path: Path,
    unchanged: Stylizer,
    caplog: pytest.LogCaptureFixture,
    transfer: int,
    name: str,
) -> None:
    colours = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": transfer}
    film = tmp_path / "a.mkv"
    with av.open(str(film), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p10le"
        for tag, value in colours.items():
            setattr(stream.codec_context, tag, value)
        # A grey wedge above BT.709's green, as BT.2020 codes it (ITU-R BT.2087).
        pixels = np.zeros((48, 64, 3), np.uint16)
        pixels[:24] = np.linspace(0, 65535, 64)[:, None]
        light = np.array([0.3293, 0.9195, 0.0880])
        pixels[24:] = 65535 * (pq(light * 100) if name == "PQ" else hlg(light * 0.09))
        frame = av.VideoFrame.from_ndarray(pixels, "rgb48le").reformat(
            format="yuv444p10le", dst_colorspace=9, dst_color_range=1
        )
        for _ in range(2):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    stylize_film(film, tmp_path / "b.mkv", unchanged, LOSSLESS)
    assert f"a.mkv is of high dynamic range ({name})" in caplog.text
    (frame, _) = frames_of(tmp_path / "b.mkv")
    found = frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc
    assert found == (1, 1, 1, 1)
    (painted, _) = pixels_of(tmp_path / "b.mkv")
    wedge, green = painted[8:16].mean(axis=0), painted[32:40, 8:56].mean(axis=(0, 1))
    assert np.ptp(wedge, axis=1).max() < 4  # grey
    assert np.diff(wedge[:, 1]).min() > -2
    assert wedge[0].max() < 4
    white = 0.58 if name == "PQ" else 0.75  # signals of 203 cd/m2, ITU-R BT.2408
    assert wedge[round(63 * white)].min() > 245
    assert wedge[round(63 * white) - 8].max() < 235
    assert green[1] > 80
    assert max(green[0], green[2]) < 0.3 * green[1]  # unconverted, red would be 0.6 of green


def pq(light: NDArray[Any]) -> NDArray[Any]:
    """SMPTE ST 2084: from cd/m2 to signals."""
    power = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: NDArray[Any]) -> NDArray[Any]:
    """ITU-R BT.2100: from scene light to signals, for less than a twelfth."""
    return np.sqrt(3 * light.clip(0, 1 / 12))


def test_frames_are_scaled(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", size=(96, 64), rotation=90, frames=2)
    stylize_film(film, tmp_path / "b.mp4", unchanged, FilmOptions(size=48))
    assert {(frame.width, frame.height) for frame in frames_of(tmp_path / "b.mp4")} == {(32, 48)}


def test_quality_and_codec(tmp_path: Path, stylizer: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4")
    sizes = []
    for quality in (20, 60, 95):
        target = tmp_path / f"{quality}.mp4"
        stylize_film(film, target, stylizer, FilmOptions(codec="hevc", quality=quality))
        sizes.append(target.stat().st_size)
        with av.open(str(target)) as container:
            assert container.streams.video[0].codec_context.name == "hevc"
            assert container.streams.video[0].codec_context.codec_tag == "hvc1"
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
def test_encoders_keep_quiet(
    tmp_path: Path, unchanged: Stylizer, capfd: pytest.CaptureFixture[str], codec: str
) -> None:
    film = make_film(tmp_path / "a.mp4", size=(96, 64), frames=5)
    capfd.readouterr()
    stylize_film(film, tmp_path / "b.mkv", unchanged, FilmOptions(codec=codec))
    assert capfd.readouterr() == ("", "")
    assert len(times_of(tmp_path / "b.mkv")) == 5


@pytest.mark.parametrize(
    ("target", "options", "sentence"),
    [
        ("b.mp4", FilmOptions(codec="h265x"), "h265x is not an encoder"),
        ("b.mp4", FilmOptions(codec="aac"), "aac is not for video"),
        ("b.webm", FilmOptions(codec="h264"), r"b\.webm cannot hold video in h264"),
        ("b.mp4", FilmOptions(codec="mpeg4", quality=50), "--quality is not known"),
        ("b.avi", FilmOptions(), r"b\.avi cannot be written .*\.mp4"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, unchanged: Stylizer, target: str, options: FilmOptions, sentence: str
) -> None:
    film = make_film(tmp_path / "a.mp4", frames=2)
    with pytest.raises(UserError, match=sentence):
        stylize_film(film, tmp_path / target, unchanged, options)
    assert not parts_folder(tmp_path / target).exists()


def test_a_film_does_not_replace_its_source(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", frames=2)
    with pytest.raises(UserError, match=r"a\.mp4 would be replaced"):
        stylize_film(film, film, unchanged)
    with pytest.raises(UserError, match=r"is a folder: name a film to write"):
        stylize_film(film, tmp_path, unchanged)


def test_progress_is_told(tmp_path: Path, unchanged: Stylizer) -> None:
    told: list[FilmProgress] = []
    film = make_film(tmp_path / "a.mp4", frames=9)
    assert stylize_film(film, tmp_path / "b.mp4", unchanged, progress=told.append).frames == 9
    assert [step.done for step in told] == list(range(1, 10))
    assert {step.total for step in told} == {9}
    assert told[-1].seconds_left == 0
    assert told[-1].frames_per_second > 0


def test_a_film_that_does_not_say_how_long_it_is(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.h264", frames=9)
    told: list[FilmProgress] = []
    assert stylize_film(film, tmp_path / "b.mp4", unchanged, progress=told.append).frames == 9
    assert len(times_of(tmp_path / "b.mp4")) == 9
    assert told[-1].total is None
    assert told[-1].seconds_left is None


@pytest.mark.parametrize("content", [b"", b"no film", b"\0" * 5000])
def test_what_is_no_film_is_refused(tmp_path: Path, unchanged: Stylizer, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mp4 is no film that can be read, or is damaged"):
        stylize_film(tmp_path / "a.mp4", tmp_path / "b.mp4", unchanged)


def test_a_film_that_is_missing(tmp_path: Path, unchanged: Stylizer) -> None:
    with pytest.raises(UserError, match=r"a\.mp4 does not exist"):
        stylize_film(tmp_path / "a.mp4", tmp_path / "b.mp4", unchanged)


def test_a_film_without_video(tmp_path: Path, unchanged: Stylizer) -> None:
    whole = make_film(tmp_path / "whole.mp4", sound="aac")
    with av.open(str(whole)) as source, av.open(str(tmp_path / "a.mp4"), "w") as sound:
        stream = sound.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                sound.mux(packet)
    with pytest.raises(UserError, match=r"a\.mp4 holds no video"):
        stylize_film(tmp_path / "a.mp4", tmp_path / "b.mp4", unchanged)


def test_a_film_that_breaks_off(
    tmp_path: Path, unchanged: Stylizer, caplog: pytest.LogCaptureFixture
) -> None:
    film = make_film(tmp_path / "a.mkv", frames=30, sound="aac")
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    count = stylize_film(film, tmp_path / "b.mkv", unchanged).frames
    assert 0 < count < 30
    assert len(times_of(tmp_path / "b.mkv")) == count


def test_an_incomplete_copy_is_told(tmp_path: Path, unchanged: Stylizer) -> None:
    times = [30_000 + 1001 * number for number in range(90)]  # a late start is no damage
    film = make_film(tmp_path / "a.mp4", times=times, options={"g": "10"}, header_first=True)
    assert stylize_film(film, tmp_path / "b.mp4", unchanged) == FilmResult(90)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    made = stylize_film(film, tmp_path / "c.mp4", unchanged)
    assert 0 < made.frames < 60
    seconds = (90 - made.frames) * 1001 / 30_000
    assert f"{film} is incomplete: its last {seconds:.1f} s are missing; " in made.missing[-1]


def test_what_is_missing_is_told_by_the_run_that_joins_the_parts(
    tmp_path: Path, unchanged: Stylizer
) -> None:
    film, target = incomplete_film(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    told: list[FilmProgress] = []

    def block(progress: FilmProgress) -> None:
        """Put a folder where the film will go."""
        told.append(progress)
        target.mkdir(exist_ok=True)

    with pytest.raises(UserError, match="cannot be written"):
        stylize_film(film, target, unchanged, progress=block)
    target.rmdir()
    made = stylize_film(film, target, unchanged, FilmOptions(resume=True), told.append)
    assert made.frames == len(told)  # none was painted again
    assert "is incomplete" in made.missing[-1]


def test_damage_in_the_middle_is_left_out_and_told(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mkv", codec="mjpeg", pixel_format="yuvj420p", options={})
    content = bytearray(film.read_bytes())
    begins = [n for n in range(len(content)) if content[n : n + 3] == b"\xff\xd8\xff"]
    content[begins[5] : begins[6] - 40] = bytes(begins[6] - 40 - begins[5])
    film.write_bytes(content)
    made = stylize_film(film, tmp_path / "b.mkv", unchanged)
    assert made.frames == 11
    (sentence,) = made.missing
    assert sentence.startswith(f"{film} is damaged (")


def test_interlaced_films_become_whole_frames(
    tmp_path: Path, unchanged: Stylizer, caplog: pytest.LogCaptureFixture
) -> None:
    times = [5 + 4 * number + number % 2 for number in range(12)]
    options = {"crf": "1", "x264-params": "bff=1"}
    film = make_film(
        tmp_path / "a.mp4",
        times=times,
        time_base=Fraction(1, 100),
        rate=Fraction(25),
        pixel_format="yuv444p",
        options=options,
        interlaced=True,
    )
    stylize_film(film, tmp_path / "b.mkv", unchanged, LOSSLESS)
    before, after = frames_of(film), frames_of(tmp_path / "b.mkv")
    assert times_of(tmp_path / "b.mkv") == times_of(film)
    assert all(frame.interlaced_frame for frame in before)
    assert not any(frame.interlaced_frame for frame in after)
    assert caplog.messages[0] == f"{film} is interlaced: its frames are deinterlaced"
    rows = slice(6, 10)  # within the square, so that rows above and below tell what belongs there
    first, combed, whole = (
        [pixels[rows] for pixels in film]
        for film in (
            [drawn(number, (64, 48)) for number in range(12)],
            pixels_of(film),
            pixels_of(tmp_path / "b.mkv"),
        )
    )
    assert mean_difference(combed, first) > 8
    assert mean_difference(whole, first) < 3


def test_an_interlaced_film_that_the_filter_does_not_take(
    tmp_path: Path, unchanged: Stylizer
) -> None:
    options = {"crf": "10", "x264-params": "bff=1"}
    film = make_film(tmp_path / "a.mkv", size=(64, 4), options=options, interlaced=True)
    with pytest.raises(UserError) as caught:
        stylize_film(film, tmp_path / "b.mkv", unchanged, FilmOptions(size=640))
    assert str(caught.value).startswith(f"{film} is interlaced and cannot be deinterlaced (")
    assert not parts_folder(tmp_path / "b.mkv").exists()


def test_films_of_10_bits_are_read_right(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(
        tmp_path / "a.mkv", codec="ffv1", pixel_format="yuv444p10le", options={}, frames=3
    )
    stylize_film(film, tmp_path / "b.mkv", unchanged, LOSSLESS)
    (frame, *_) = frames_of(tmp_path / "b.mkv")
    assert (frame.format.name, len(times_of(tmp_path / "b.mkv"))) == ("yuv444p", 3)
    drawings = [drawn(number, (64, 48)) for number in range(3)]
    for pixels, drawing in zip(pixels_of(tmp_path / "b.mkv"), drawings, strict=True):
        assert np.abs(pixels.astype(int) - drawing).max() <= 3


def test_frames_too_small_for_the_network(tmp_path: Path, unchanged: Stylizer) -> None:
    film = make_film(tmp_path / "a.mp4", size=(40, 8))
    with pytest.raises(UserError, match=r"a\.mp4: .*40 x 8 px is too small"):
        stylize_film(film, tmp_path / "b.mp4", unchanged)
    film = make_film(tmp_path / "a.mp4", size=(64, 36))
    with pytest.raises(UserError, match=r"a\.mp4: .*16 x 8 px is too small.*larger with --size"):
        stylize_film(film, tmp_path / "b.mp4", unchanged, FilmOptions(size=16))
    assert not parts_folder(tmp_path / "b.mp4").exists()


def test_without_the_extra(
    tmp_path: Path, unchanged: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(tmp_path / "a.mp4", frames=2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r'films need the extra "video": install it with .*video'):
        stylize_film(film, tmp_path / "b.mp4", unchanged)


@pytest.mark.parametrize("name", ["- -o.mp4", "a:b?c=%03d.mp4", "новый\nфильм.mp4", "http:x.mp4"])
def test_any_name(tmp_path: Path, unchanged: Stylizer, name: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "plain.mp4", frames=2).rename(tmp_path / name)
    stylize_film(Path(name), Path(f"out {name}"), unchanged)
    assert len(times_of(tmp_path / f"out {name}")) == 2


# A stop, and what it leaves.

RUN = """
import sys, os
from pathlib import Path
from fast_style import Stylizer
from fast_style.film import FilmOptions, stylize_film
source, target, style, codec = sys.argv[1:]
def told(progress):
    print(progress.done, flush=True)
stylizer = Stylizer(style, "cpu", precision="float32")
stylize_film(Path(source), Path(target), stylizer, FilmOptions(codec=codec), told)
"""

LONG = FRAMES_OF_PART + 60


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One part and a half."""
    folder = tmp_path_factory.mktemp("film")
    return make_film(folder / "a.mp4", size=(32, 32), frames=LONG, sound="aac")


def started(film: Path, target: Path, style: Path, codec: str = "h264") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(film), str(target), str(style), codec]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )


def stop_after(process: subprocess.Popen[str], frames: int, by: signal.Signals) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= frames:
            break
    process.send_signal(by)
    process.wait(60)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", ".mkv"), ("h264", ".mp4")])
def test_resumed_frames_are_those_of_a_run_in_one_go(
    tmp_path: Path,
    long_film: Path,
    vivid_style: Path,
    stylizer: Stylizer,
    by: signal.Signals,
    codec: str,
    suffix: str,
) -> None:
    target = tmp_path / f"b{suffix}"
    stop_after(started(long_film, target, vivid_style, codec), FRAMES_OF_PART + 10, by)
    assert not target.exists()
    (first, *_) = sorted(parts_folder(target).glob(f"*{suffix}"))
    assert len(times_of(first)) == FRAMES_OF_PART  # what is done plays

    told: list[FilmProgress] = []
    options = FilmOptions(codec=codec)
    resumed = replace(options, resume=True)
    assert stylize_film(long_film, target, stylizer, resumed, told.append).frames == LONG
    assert told[0].done == FRAMES_OF_PART + 1
    assert not parts_folder(target).exists()
    in_one_go = tmp_path / f"c{suffix}"
    stylize_film(long_film, in_one_go, stylizer, options)
    assert times_of(target) == times_of(in_one_go)
    # x264 is not the same in every run, not even in one of our own.
    most = 0 if codec == "ffv1" else 3
    assert mean_difference(pixels_of(target), pixels_of(in_one_go)) <= most
    assert packets_of(target, "audio") == packets_of(in_one_go, "audio")


def test_the_part_at_work_plays_after_ctrl_c(
    tmp_path: Path, long_film: Path, vivid_style: Path
) -> None:
    target = tmp_path / "b.mp4"
    stop_after(started(long_film, target, vivid_style), 20, signal.SIGINT)
    (part,) = parts_folder(target).glob("*.mp4")
    assert 20 <= len(times_of(part)) < FRAMES_OF_PART


@pytest.fixture
def stopped(tmp_path: Path, long_film: Path, stylizer: Stylizer) -> Path:
    """A target whose first part is done."""
    target = tmp_path / "b.mp4"

    def stop(progress: FilmProgress) -> None:
        if progress.done == FRAMES_OF_PART + 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize_film(long_film, target, stylizer, progress=stop)
    return target


def test_parts_are_not_lost_without_resume(
    stopped: Path, long_film: Path, stylizer: Stylizer
) -> None:
    with pytest.raises(UserError, match=rf"holds {FRAMES_OF_PART} stylized frames.*--resume"):
        stylize_film(long_film, stopped, stylizer)


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        ("codec", FilmOptions(codec="hevc", resume=True)),
        ("size", FilmOptions(size=16, resume=True)),
    ],
)
def test_parts_of_other_options_are_refused(
    stopped: Path, long_film: Path, stylizer: Stylizer, changed: str, options: FilmOptions
) -> None:
    with pytest.raises(UserError, match=f"was made with another .*{changed}"):
        stylize_film(long_film, stopped, stylizer, options)


def test_parts_of_another_strength_or_film_are_refused(
    stopped: Path, tmp_path: Path, long_film: Path, stylizer: Stylizer, unchanged: Stylizer
) -> None:
    with pytest.raises(UserError, match="was made with another style or option for painting:"):
        stylize_film(long_film, stopped, unchanged, FilmOptions(resume=True))
    other = make_film(tmp_path / "other.mp4", size=(32, 32))
    with pytest.raises(UserError, match="was made with another source:"):
        stylize_film(other, stopped, stylizer, FilmOptions(resume=True))


def test_a_part_that_is_damaged_is_made_again(
    stopped: Path, long_film: Path, stylizer: Stylizer, tmp_path: Path
) -> None:
    (part, *_) = sorted(parts_folder(stopped).glob("*.mp4"))
    part.write_bytes(part.read_bytes()[:1000])
    assert stylize_film(long_film, stopped, stylizer, FilmOptions(resume=True)).frames == LONG
    assert times_of(stopped) == times_of(long_film)


def test_resume_of_a_whole_film_does_nothing(
    tmp_path: Path, stylizer: Stylizer, unchanged: Stylizer
) -> None:
    film, target = make_film(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    assert stylize_film(film, target, stylizer, FilmOptions(mark="abc")).frames == 12
    assert read_film_mark(target) == "abc"
    written = target.stat().st_mtime_ns
    assert stylize_film(film, target, stylizer, FilmOptions(mark="abc", resume=True)).frames == 12
    assert target.stat().st_mtime_ns == written
    stylize_film(film, target, unchanged, FilmOptions(mark="abc", resume=True))
    assert target.stat().st_mtime_ns != written


def test_a_full_disk_leaves_what_is_done(
    tmp_path: Path, long_film: Path, vivid_style: Path, stylizer: Stylizer
) -> None:
    target = tmp_path / "b.mp4"
    limit = 60_000  # bytes a file, which the operating system refuses to exceed
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    given = [str(long_film), str(target), str(vivid_style), "h264"]
    run = subprocess.run(
        [sys.executable, "-c", limited + RUN, *given], capture_output=True, text=True
    )
    assert "UserError" in run.stderr
    assert "b.mp4 cannot be written (File too large): make room" in run.stderr
    assert "--resume" in run.stderr
    assert not target.exists()
    assert stylize_film(long_film, target, stylizer, FilmOptions(resume=True)).frames == LONG


def test_an_error_in_a_stage_ends_all() -> None:
    def endless() -> Any:
        while True:
            yield 1

    def broken(_: int) -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_stages(endless(), broken, list)
    with pytest.raises(ValueError, match="broken"):
        run_stages(endless(), lambda item: item, lambda items: [broken(item) for item in items])
    with pytest.raises(ZeroDivisionError):
        run_stages((1 // 0 for _ in range(3)), lambda item: item, list)


def test_memory_does_not_grow_with_the_film() -> None:
    """A reader that is far ahead of the network waits."""
    read: list[int] = []
    ahead: list[int] = []

    def numbers() -> Any:
        for number in range(50):
            read.append(number)
            yield number

    def slow(number: int) -> int:
        time.sleep(0.002)
        ahead.append(len(read) - number)
        return number

    run_stages(numbers(), slow, list)
    assert max(ahead) <= 6


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path, vivid_style: Path) -> None:
    film = make_film(tmp_path / "a.mp4", frames=20)
    stylizer = Stylizer(vivid_style, "cuda", precision="float32")
    assert stylize_film(film, tmp_path / "b.mkv", stylizer, LOSSLESS).frames == 20
    on_cpu = Stylizer(vivid_style, "cpu", precision="float32")
    stylize_film(film, tmp_path / "c.mkv", on_cpu, LOSSLESS)
    assert mean_difference(pixels_of(tmp_path / "b.mkv"), pixels_of(tmp_path / "c.mkv")) < 1
