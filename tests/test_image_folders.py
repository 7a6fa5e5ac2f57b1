"""Which files in a folder count as pictures."""

from pathlib import Path

import pytest

from fast_style.errors import UserError
from fast_style.images import SUFFIXES, find_pictures


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
