"""Each file goes to the right place, and no picture of the user's is lost."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
from PIL import Image, ImageChops

from fast_style.errors import UserError
from fast_style.images import PendingPicture
from fast_style.stylizing.files import stylize_files
from fast_style.stylizing.planning import Job
from fast_style.stylizing.planning import plan_files as plan_of_styles


class Reported(list[UserError]):
    """Collects what is reported."""

    def sentence(self) -> str:
        assert len(self) == 1
        return str(self[0])


@pytest.fixture
def reported() -> Reported:
    return Reported()


def picture(path: Path, size: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 100, 50)).save(path)
    return path


def plan_files(
    sources: list[Path], out: Path, report: Callable[[UserError], None], style: str = "wave"
) -> list[tuple[Path, Path]]:
    """Plan for one style, and return sources with their targets."""
    (jobs,) = plan_of_styles(sources, out, [Path(f"{style}.safetensors")], report)
    return [(job.source, job.target) for job in jobs]


def jobs(pairs: Sequence[tuple[Path, Path]]) -> list[Job]:
    return [Job(source, target, "a mark") for source, target in pairs]


def inverting(photo: Image.Image) -> PendingPicture:
    return partial(ImageChops.invert, photo)


def test_a_picture_goes_to_a_file(tmp_path: Path, reported: Reported) -> None:
    photo, out = picture(tmp_path / "a.jpg"), tmp_path / "new" / "b.png"
    assert plan_files([photo], out, reported.append) == [(photo, out)]
    assert not reported


def test_a_picture_goes_to_a_file_that_exists(tmp_path: Path, reported: Reported) -> None:
    photo, out = picture(tmp_path / "a.jpg"), picture(tmp_path / "b.PNG")
    assert plan_files([photo], out, reported.append) == [(photo, out)]
    assert not reported


@pytest.mark.parametrize("exists", [True, False])
def test_a_picture_goes_into_a_folder(tmp_path: Path, reported: Reported, exists: bool) -> None:
    photo, out = picture(tmp_path / "a.jpg"), tmp_path / "out"
    if exists:
        out.mkdir()
    assert plan_files([photo], out, reported.append) == [(photo, out / "a.jpg")]
    assert not reported


def test_a_picture_that_is_named_twice_is_planned_once(
    tmp_path: Path, reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, out = picture(tmp_path / "in" / "a.jpg"), tmp_path / "out"
    link = tmp_path / "in" / "b.jpg"
    link.symlink_to(photo)  # another name is another picture to the user
    monkeypatch.chdir(tmp_path)
    both = [(photo, out / "a.jpg"), (link, out / "b.jpg")]
    assert plan_files([photo, Path("in/../in/a.jpg")], out, reported.append) == both[:1]
    assert plan_files([photo, Path("in"), photo], out, reported.append) == [
        both[0],
        (Path("in/b.jpg"), out / "b.jpg"),
    ]
    single = tmp_path / "b.png"
    assert plan_files([photo, photo], single, reported.append) == [(photo, single)]
    assert not reported


def test_a_folder_may_be_named_like_a_picture(tmp_path: Path, reported: Reported) -> None:
    photo, out = picture(tmp_path / "a.jpg"), tmp_path / "holiday.jpg"
    out.mkdir()
    assert plan_files([photo], out, reported.append) == [(photo, out / "a.jpg")]


def test_pictures_keep_their_names_and_order(tmp_path: Path, reported: Reported) -> None:
    photos = [picture(tmp_path / name) for name in ("b.jpg", "a.png", "c d.webp")]
    out = tmp_path / "out"
    assert plan_files(photos, out, reported.append) == [(p, out / p.name) for p in photos]


def test_several_pictures_to_one_file_are_refused(tmp_path: Path, reported: Reported) -> None:
    photos = [picture(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    with pytest.raises(UserError, match=r"all\.jpg .*name a folder"):
        plan_files(photos, tmp_path / "all.jpg", reported.append)
    with pytest.raises(UserError, match=r"all\.jpg .*name a folder"):
        plan_files([tmp_path], tmp_path / "all.jpg", reported.append)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, reported: Reported) -> None:
    photo, out = picture(tmp_path / "a.jpg"), tmp_path / "notes"
    out.write_text("mine")
    with pytest.raises(UserError, match="notes is a file"):
        plan_files([photo], out, reported.append)
    assert out.read_text() == "mine"


def test_a_format_that_is_not_written_is_no_folder_name(tmp_path: Path, reported: Reported) -> None:
    photo = picture(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"b\.gif .*\.png"):
        plan_files([photo], tmp_path / "b.gif", reported.append)


def test_a_dot_does_not_make_a_folder_a_file(tmp_path: Path, reported: Reported) -> None:
    photo = picture(tmp_path / "a.jpg")
    out = tmp_path / "trip.2024"
    assert plan_files([photo], out, reported.append) == [(photo, out / "a.jpg")]


def test_folders_keep_their_tree(tmp_path: Path, reported: Reported) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    names = ("a.jpg", "sub/a.jpg", "sub/deep/b.png")
    photos = [picture(folder / name) for name in names]
    (folder / "notes.txt").write_text("no picture")
    pairs = plan_files([folder], out, reported.append)
    assert sorted(pairs) == sorted((p, out / name) for p, name in zip(photos, names, strict=True))
    assert not reported


def test_hidden_files_and_folders_are_left_out(tmp_path: Path, reported: Reported) -> None:
    folder = tmp_path / "photos"
    seen = picture(folder / "a.jpg")
    picture(folder / ".b.jpg")
    picture(folder / ".trash" / "c.jpg")
    assert plan_files([folder], tmp_path / "out", reported.append) == [
        (seen, tmp_path / "out" / "a.jpg")
    ]


@pytest.mark.parametrize("suffix", [".gif", ".jp2", ".ppm"])
def test_formats_that_are_not_written_become_png(
    tmp_path: Path, reported: Reported, suffix: str
) -> None:
    photo = picture(tmp_path / f"a{suffix}")
    assert plan_files([photo], tmp_path / "out", reported.append) == [
        (photo, tmp_path / "out" / "a.png")
    ]


def test_names_that_meet_are_numbered(tmp_path: Path, reported: Reported) -> None:
    names = ("x/a.jpg", "y/a.jpg", "z/a.jpg", "z/a.png", "z/a.gif", "z/a-2.jpg")
    photos = [picture(tmp_path / name) for name in names]
    pairs = plan_files(photos, tmp_path / "out", reported.append)
    assert [source for source, _ in pairs] == photos
    assert [target.name for _, target in pairs] == [
        "a.jpg",
        "a-wave.jpg",
        "a-wave-2.jpg",
        "a.png",
        "a-wave.png",
        "a-2.jpg",
    ]


def run(
    sources: list[Path],
    out: Path,
    *styles: str,
    settings: str = "",
    report: Callable[[UserError], object] = lambda error: pytest.fail(str(error)),
) -> list[Path]:
    """Plan and write, and return the files that were written."""
    files = [Path(f"{style}.safetensors") for style in styles or ("wave",)]
    (*all_jobs,) = plan_of_styles(sources, out, files, report, settings)
    for own in all_jobs:
        assert list(stylize_files(inverting, own, None)) == [None] * len(own)
    return [job.target for own in all_jobs for job in own]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_the_same_run_replaces_its_own(tmp_path: Path, suffix: str) -> None:
    photos = [picture(tmp_path / folder / f"a{suffix}") for folder in "xy"]
    first = run(photos, tmp_path / "out")
    assert [path.name for path in first] == [f"a{suffix}", f"a-wave{suffix}"]
    picture(photos[1], (50, 40))
    assert run(photos, tmp_path / "out") == first
    assert Image.open(first[1]).size == (50, 40)
    assert len(names(tmp_path / "out")) == 2


def test_another_style_replaces_nothing(tmp_path: Path) -> None:
    photo, out = picture(tmp_path / "a.jpg"), tmp_path / "out"
    assert run([photo], out, "wave") == [out / "a.jpg"]
    before = (out / "a.jpg").read_bytes()
    assert run([photo], out, "night") == [out / "a-night.jpg"]
    assert run([photo], out, "night") == [out / "a-night.jpg"]
    assert run([photo], out, "night", settings="0.5") == [out / "a-night-2.jpg"]
    assert run([photo], out, "wave") == [out / "a.jpg"]
    assert names(out) == ["a-night-2.jpg", "a-night.jpg", "a.jpg"]
    assert (out / "a.jpg").read_bytes() == before


def test_a_second_picture_of_the_same_stem_replaces_nothing(tmp_path: Path) -> None:
    gif, png, out = picture(tmp_path / "a.gif"), picture(tmp_path / "a.png"), tmp_path / "out"
    assert run([gif, png], out) == [out / "a.png", out / "a-wave.png"]
    other = tmp_path / "other"
    assert run([png], other) + run([gif], other) == [other / "a.png", other / "a-wave.png"]


def test_a_picture_of_the_users_is_not_replaced(tmp_path: Path) -> None:
    photo, mine = picture(tmp_path / "a.jpg"), picture(tmp_path / "out" / "a.jpg", (70, 50))
    before = mine.read_bytes()
    assert run([photo], mine.parent) == [mine.parent / "a-wave.jpg"]
    assert mine.read_bytes() == before


def test_a_file_that_is_named_is_replaced(tmp_path: Path) -> None:
    photo, mine = picture(tmp_path / "a.jpg"), picture(tmp_path / "b.jpg")
    (first,) = first_run = plan_of_styles([photo], mine, [Path("wave.safetensors")], print)[0]
    assert (first.target, first.replaces) == (mine, True)
    assert list(stylize_files(inverting, first_run, None)) == [None]
    (second,) = plan_of_styles([photo], mine, [Path("wave.safetensors")], print)[0]
    assert (second.target, second.replaces) == (mine, False)  # the first run wrote it


def test_several_styles_are_in_the_names(tmp_path: Path, reported: Reported) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.jpg", "deep/a.png"):
        picture(folder / name)
    run([folder], out, "wave", "my/night", "your/night")
    expected = ["a-night-2.jpg", "a-night.jpg", "a-wave.jpg", "deep"]
    assert names(out) == expected
    assert names(out / "deep") == ["a-night-2.png", "a-night.png", "a-wave.png"]
    with pytest.raises(UserError, match=r"b\.jpg is a file name, and there are several styles"):
        run([folder / "a.jpg"], tmp_path / "b.jpg", "wave", "night")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("out.jpgg", ".jpg"), ("out.JPGE", ".jpg"), ("out.pgn", ".png"), ("out.heic", ".png")],
)
def test_a_slip_in_a_suffix_makes_no_folder(
    tmp_path: Path, reported: Reported, name: str, meant: str
) -> None:
    photos = [picture(tmp_path / "a.jpg"), picture(tmp_path / "b.jpg")]
    for sources in (photos, photos[:1]):
        with pytest.raises(UserError, match=rf"{name} cannot be written .*end in \{meant}$"):
            plan_files(sources, tmp_path / name, reported.append)


def test_files_that_are_taken_for_pictures_are_named(tmp_path: Path, reported: Reported) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photo = picture(folder / "ok.jpg")
    unreadable = ["IMG_1.JXL", "b/IMG_2.CR2", "draft.psd", "sketch.svg"]
    for name in [*unreadable, "notes.txt", ".hidden.jxl", "IMG_1.AAE"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"whatever")
    assert plan_files([folder], out, reported.append) == [(photo, out / "ok.jpg")]
    kinds = ["a JPEG XL picture", "a camera's raw file", "an editor's project", "a vector drawing"]
    for name, kind, error in zip(unreadable, kinds, reported, strict=True):
        assert str(error).startswith(f"{folder / name} is {kind}, which cannot be read: ")


def test_memory_that_does_not_suffice_ends_no_batch(tmp_path: Path) -> None:
    def begin(photo: Image.Image) -> PendingPicture:
        if photo.width == 90:
            raise MemoryError
        if photo.width == 80:
            return lambda: Image.frombytes("RGB", (1, 1), bytearray(2**62))
        return inverting(photo)

    pairs = [
        (picture(tmp_path / name, (width, 20)), tmp_path / "out" / name)
        for name, width in (("a.png", 90), ("b.png", 80), ("c.png", 30))
    ]
    *failures, last = stylize_files(begin, jobs(pairs), None)
    assert last is None
    for (source, _), failure in zip(pairs, failures, strict=False):
        assert str(failure).startswith(f"{source} needs more memory than there is")
    assert names(tmp_path / "out") == ["c.png"]


def test_a_picture_never_replaces_itself(tmp_path: Path, reported: Reported) -> None:
    photo, other = picture(tmp_path / "a.jpg"), picture(tmp_path / "elsewhere" / "b.jpg")
    assert plan_files([photo, other], tmp_path, reported.append) == [(other, tmp_path / "b.jpg")]
    assert "a.jpg stylized would replace" in reported.sentence()


def test_a_picture_never_replaces_itself_by_another_name(
    tmp_path: Path, reported: Reported
) -> None:
    photo = picture(tmp_path / "photos" / "a.jpg")
    (tmp_path / "link").symlink_to(photo.parent)
    assert plan_files([photo], tmp_path / "link", reported.append) == []
    assert "a.jpg stylized would replace" in reported.sentence()


def test_a_single_picture_never_replaces_itself(tmp_path: Path, reported: Reported) -> None:
    photo = picture(tmp_path / "a.jpg")
    assert plan_files([photo], photo, reported.append) == []
    assert "a.jpg stylized would replace" in reported.sentence()


def test_a_picture_never_replaces_another_one_of_the_batch(
    tmp_path: Path, reported: Reported
) -> None:
    mine, other = picture(tmp_path / "mine" / "a.jpg"), picture(tmp_path / "other" / "a.jpg")
    for order in ([mine, other], [other, mine]):
        reported.clear()
        assert plan_files(order, mine.parent, reported.append) == []
        assert [str(error).split()[0] for error in reported] == [str(path) for path in order]


def test_a_converted_picture_never_replaces_its_neighbour(
    tmp_path: Path, reported: Reported
) -> None:
    gif, png = picture(tmp_path / "a.gif"), picture(tmp_path / "a.png")
    assert plan_files([gif, png], tmp_path, reported.append) == []
    assert [str(error).split()[0] for error in reported] == [str(gif), str(png)]


def test_results_in_the_folder_itself_are_not_taken_again(
    tmp_path: Path, reported: Reported
) -> None:
    photo = picture(tmp_path / "a.jpg")
    out = tmp_path / "stylized"
    first = plan_files([tmp_path], out, reported.append)
    assert first == [(photo, out / "a.jpg")]
    assert run([tmp_path], out) == [out / "a.jpg"]
    assert plan_files([tmp_path], out, reported.append) == first
    assert not reported


def test_a_folder_of_nothing_but_results_is_reported(tmp_path: Path, reported: Reported) -> None:
    picture(tmp_path / "stylized" / "a.jpg")
    assert plan_files([tmp_path], tmp_path / "stylized", reported.append) == []
    assert str(tmp_path) in reported.sentence()


def test_an_empty_folder_is_reported_and_the_rest_goes_on(
    tmp_path: Path, reported: Reported
) -> None:
    empty, photo = tmp_path / "empty", picture(tmp_path / "a.jpg")
    empty.mkdir()
    out = tmp_path / "out"
    assert plan_files([empty, photo], out, reported.append) == [(photo, out / "a.jpg")]
    assert "empty holds no picture" in reported.sentence()


def test_a_missing_picture_is_left_to_be_reported_when_opened(
    tmp_path: Path, reported: Reported
) -> None:
    missing = tmp_path / "nowhere.jpg"
    pairs = plan_files([missing], tmp_path / "out", reported.append)
    assert pairs == [(missing, tmp_path / "out" / "nowhere.jpg")]
    assert not reported
    (error,) = stylize_files(inverting, jobs(pairs), size=None)
    assert "nowhere.jpg does not exist" in str(error)


def test_planning_writes_nothing(tmp_path: Path, reported: Reported) -> None:
    photo = picture(tmp_path / "a.jpg")
    plan_files([photo], tmp_path / "out" / "deep", reported.append)
    assert list(tmp_path.iterdir()) == [photo]


@pytest.mark.parametrize(("size", "expected"), [(None, (24, 20)), (48, (48, 40)), (18, (18, 15))])
def test_a_file_is_scaled_and_then_stylized(
    tmp_path: Path, size: int | None, expected: tuple[int, int]
) -> None:
    photo, seen = picture(tmp_path / "a.png"), []

    def noting(picture: Image.Image) -> PendingPicture:
        seen.append(picture.size)
        return inverting(picture)

    assert list(stylize_files(noting, jobs([(photo, tmp_path / "out" / "a.png")]), size)) == [None]
    assert seen == [expected]
    with Image.open(tmp_path / "out" / "a.png") as written:
        assert written.size == expected
        assert written.getpixel((9, 9)) == (55, 155, 205)


def test_a_failure_names_the_picture_and_writes_nothing(tmp_path: Path) -> None:
    def refuse(picture: Image.Image) -> PendingPicture:
        raise UserError("too small")

    photo = picture(tmp_path / "a.png")
    (error,) = stylize_files(refuse, jobs([(photo, tmp_path / "out" / "a.png")]), None)
    assert str(error) == f"{photo}: too small"
    assert list(tmp_path.iterdir()) == [photo]


def test_each_file_has_its_outcome_in_order(tmp_path: Path) -> None:
    def refuse_the_wide(photo: Image.Image) -> PendingPicture:
        if photo.width == 90:
            raise UserError("too wide")
        return inverting(photo)

    (tmp_path / "folder.png").mkdir()
    pairs = [
        (picture(tmp_path / "a.png"), tmp_path / "out" / "a.png"),
        (tmp_path / "missing.png", tmp_path / "out" / "missing.png"),
        (picture(tmp_path / "wide.png", (90, 20)), tmp_path / "out" / "wide.png"),
        (picture(tmp_path / "b.png"), tmp_path / "folder.png"),
        (picture(tmp_path / "c.png"), tmp_path / "out" / "c.png"),
    ]
    outcomes = list(stylize_files(refuse_the_wide, jobs(pairs), None))
    expected = [None, "missing.png does not exist", "wide.png: too wide", "folder.png is", None]
    for outcome, sentence in zip(outcomes, expected, strict=True):
        assert outcome is None if sentence is None else sentence in str(outcome)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize("at_once", [1, 3])
def test_few_pictures_are_read_ahead(tmp_path: Path, at_once: int) -> None:
    pairs = [(picture(tmp_path / f"{n}.png"), tmp_path / "out" / f"{n}.png") for n in range(9)]
    outcomes = stylize_files(inverting, jobs(pairs), None, at_once)
    assert next(outcomes) is None
    for source, _ in pairs[2 * at_once + 1 :]:  # the others are written or read by now
        source.unlink()
    found = [error is None for error in outcomes]
    assert found == [True] * (2 * at_once) + [False] * (8 - 2 * at_once)


def test_several_pictures_are_fetched_and_written_at_once(tmp_path: Path) -> None:
    together = Barrier(3, timeout=60)

    def begin(photo: Image.Image) -> PendingPicture:
        def fetch() -> Image.Image:
            together.wait()  # fails unless three threads wait at the same time
            return ImageChops.invert(photo)

        return fetch

    pairs = [(picture(tmp_path / f"{n}.png"), tmp_path / "out" / f"{n}.png") for n in range(6)]
    assert list(stylize_files(begin, jobs(pairs), None, at_once=3)) == [None] * 6
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_an_interruption_leaves_whole_pictures_alone(tmp_path: Path) -> None:
    def interrupted(photo: Image.Image) -> PendingPicture:
        if photo.width == 30:
            raise KeyboardInterrupt
        return inverting(photo)

    pairs = [
        (picture(tmp_path / f"{n}.png", (28 + n, 20)), tmp_path / "out" / f"{n}.png")
        for n in range(5)
    ]
    with pytest.raises(KeyboardInterrupt):
        list(stylize_files(interrupted, jobs(pairs), None))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]
    for name in ("0.png", "1.png"):
        with Image.open(tmp_path / "out" / name) as written:
            written.load()
