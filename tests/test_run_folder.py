"""The folder of a run: never shared by accident, checked before the first step."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import TINY, Train, done, refused

from fast_style.cli import main
from fast_style.config.run_folder import forget_fresh_folders, fresh_folder


def test_a_folder_that_holds_a_run_is_refused(train: Train, finished_run: Path) -> None:
    shutil.copytree(finished_run, "run")
    before = Path("run/last.ckpt").read_bytes()
    refused(train(*TINY, "style=b.png", "output_dir=run"), "run", "overwrite=true", "ckpt_path")
    assert Path("run/last.ckpt").read_bytes() == before
    done(train(*TINY, "style=b.png", "output_dir=run", "overwrite=true", "trainer.max_steps=1"))
    events = EventAccumulator("run/tensorboard").Reload().Scalars("train/learning_rate")
    assert [event.step for event in events] == [0]


def test_the_demo_refuses_a_folder_that_holds_a_run(tmp_path: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "out")
    given = ["demo", "--steps", "1", "-o", str(tmp_path / "out")]
    refused(CliRunner().invoke(main, given), "holds a run", "--overwrite")


def test_runs_of_the_same_second_get_different_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    date = ("runs", "a", "2026-01-01_00-00-00")
    found = []
    for _ in range(3):
        forget_fresh_folders()  # as in another process
        found.append(fresh_folder(*date))
        assert fresh_folder(*date) == found[-1]
    assert len(set(found)) == 3
    assert all(Path("runs", folder).is_dir() for folder in found)


def test_a_full_disk_is_reported_before_the_first_step(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    refused(train(*TINY, "style=a.png", "output_dir=out"), "1 MB free", "output_dir")
    assert not list(Path("out").iterdir())


def test_a_folder_that_cannot_be_made(train: Train) -> None:
    Path("file").write_text("mine")
    refused(train(*TINY, "style=a.png", "output_dir=file/out"), "file/out")
    refused(train(*TINY, "style=a.png", "output_dir=file"), "file")
    assert Path("file").read_text() == "mine"


def test_a_refused_run_leaves_no_folder(train: Train, tmp_path: Path) -> None:
    refused(train(*TINY, "style=absent.png"), "absent.png")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}
