"""A file is complete, or as it was before."""

import contextlib
from pathlib import Path

import pytest

from fast_style.errors import UserError
from fast_style.files import remove_unfinished, replace_file, replacing


def test_a_file_is_replaced_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    replace_file(path, b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_unfinished_files_are_removed_by_a_program_that_exits(tmp_path: Path) -> None:
    with contextlib.suppress(FileNotFoundError), replacing(tmp_path / "a.txt"):
        assert len(list(tmp_path.iterdir())) == 1
        remove_unfinished()
        assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/a\.txt cannot be written .*choose another place"):
        replace_file(tmp_path / "file" / "a.txt", b"")
