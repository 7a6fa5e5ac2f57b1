"""Which file goes where, and that no picture of the user's is lost on the way."""

from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
from PIL import Image, ImageChops

from fast_style.batch import plan_files, stylize_files
from fast_style.errors import UserError
from fast_style.stylizer import Fetch


class Reported(list[UserError]):
    """Collects what is reported, and expects nothing more than was looked at."""

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


def inverting(photo: Image.Image) -> Fetch:
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
        "a-2.jpg",
        "a-3.jpg",
        "a.png",
        "a-2.png",
        "a-2-2.jpg",
    ]


def test_two_runs_plan_the_same(tmp_path: Path, reported: Reported) -> None:
    photos = [picture(tmp_path / name) for name in ("x/a.jpg", "y/a.jpg")]
    first = plan_files(photos, tmp_path / "out", reported.append)
    for _, target in first:
        picture(target)
    assert plan_files(photos, tmp_path / "out", reported.append) == first


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
    picture(out / "a.jpg")
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
    (error,) = stylize_files(inverting, pairs, size=None)
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

    def noting(picture: Image.Image) -> Fetch:
        seen.append(picture.size)
        return inverting(picture)

    assert list(stylize_files(noting, [(photo, tmp_path / "out" / "a.png")], size)) == [None]
    assert seen == [expected]
    with Image.open(tmp_path / "out" / "a.png") as written:
        assert written.size == expected
        assert written.getpixel((9, 9)) == (55, 155, 205)


def test_a_failure_names_the_picture_and_writes_nothing(tmp_path: Path) -> None:
    def refuse(picture: Image.Image) -> Fetch:
        raise UserError("too small")

    photo = picture(tmp_path / "a.png")
    (error,) = stylize_files(refuse, [(photo, tmp_path / "out" / "a.png")], None)
    assert str(error) == f"{photo}: too small"
    assert list(tmp_path.iterdir()) == [photo]


def test_each_file_has_its_outcome_in_order(tmp_path: Path) -> None:
    def refuse_the_wide(photo: Image.Image) -> Fetch:
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
    outcomes = list(stylize_files(refuse_the_wide, pairs, None))
    expected = [None, "missing.png does not exist", "wide.png: too wide", "folder.png is", None]
    for outcome, sentence in zip(outcomes, expected, strict=True):
        assert outcome is None if sentence is None else sentence in str(outcome)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize("at_once", [1, 3])
def test_few_pictures_are_read_ahead(tmp_path: Path, at_once: int) -> None:
    pairs = [(picture(tmp_path / f"{n}.png"), tmp_path / "out" / f"{n}.png") for n in range(9)]
    outcomes = stylize_files(inverting, pairs, None, at_once)
    assert next(outcomes) is None
    for source, _ in pairs[2 * at_once + 1 :]:  # the rest are to be written or read by now
        source.unlink()
    found = [error is None for error in outcomes]
    assert found == [True] * (2 * at_once) + [False] * (8 - 2 * at_once)


def test_several_pictures_are_fetched_and_written_at_once(tmp_path: Path) -> None:
    together = Barrier(3, timeout=60)

    def begin(photo: Image.Image) -> Fetch:
        def fetch() -> Image.Image:
            together.wait()  # fails unless three are here at the same time
            return ImageChops.invert(photo)

        return fetch

    pairs = [(picture(tmp_path / f"{n}.png"), tmp_path / "out" / f"{n}.png") for n in range(6)]
    assert list(stylize_files(begin, pairs, None, at_once=3)) == [None] * 6
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_an_interruption_leaves_whole_pictures_alone(tmp_path: Path) -> None:
    def interrupted(photo: Image.Image) -> Fetch:
        if photo.width == 30:
            raise KeyboardInterrupt
        return inverting(photo)

    pairs = [
        (picture(tmp_path / f"{n}.png", (28 + n, 20)), tmp_path / "out" / f"{n}.png")
        for n in range(5)
    ]
    with pytest.raises(KeyboardInterrupt):
        list(stylize_files(interrupted, pairs, None))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]
    for name in ("0.png", "1.png"):
        with Image.open(tmp_path / "out" / name) as written:
            written.load()
