"""Training runs from the command line: sweeps, loggers, signals, and the examples in the guides."""

import contextlib
import csv
import os
import pty
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from training_runs import TINY, Train, done, pasted, picture, refused, steps

from fast_style.bundled import CONF
from fast_style.checkpoint import load_style

REPOSITORY = Path(__file__).parent.parent


def test_a_sweep_over_paintings_with_commas_shows_their_names(train: Train, tmp_path: Path) -> None:
    picture(tmp_path / "The Scream, 1893 ${x}.png")
    result = done(train(*TINY, "-m", "style=a.png,The Scream, 1893 ${x}.png,stained-glass"))
    found = sorted(path.stem for path in tmp_path.glob("runs/*/*/*.safetensors"))
    assert found == ["The Scream, 1893 ${x}", "a", "stained-glass"]
    shown = re.findall(r"^run \d+: .*$", result.stdout, re.MULTILINE)
    assert len(shown) == 3
    assert "style=The Scream, 1893 ${x}.png" in pasted(shown[1])
    for file in tmp_path.rglob("*.yaml"):
        assert b"a.png".hex() not in file.read_text()
    (kept,) = tmp_path.glob("runs/The*/*/.hydra/overrides.yaml")
    assert r"style=The Scream, 1893 \${x}.png" in yaml.safe_load(kept.read_text())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["style=a.png,absent.png"], "absent.png does not exist"),
        (["style=a.png,b.png", "seed=0,-1"], "seed=-1"),
        (
            ["style=a.png,b.png", "output_dir=out"],
            "output_dir=out would be the folder of every run",
        ),
    ],
)
def test_a_sweep_is_checked_before_its_first_run(
    train: Train, tmp_path: Path, given: list[str], told: str
) -> None:
    refused(train(*TINY, "-m", *given), told)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_several_paintings_need_the_sweep_flag(train: Train) -> None:
    refused(train(*TINY, "style=a.png,b.png"), "-m")


def test_a_broken_validation_photo_is_skipped_and_named(train: Train) -> None:
    Path("val").mkdir()
    Path("val/a.jpg").write_text("no photo")
    picture(Path("val/b.png"))
    result = done(train(*TINY, "style=a.png", "data.val_dir=val", "output_dir=out"))
    assert result.output.count("val/a.jpg") == 1
    Path("val/b.png").write_bytes(Path("val/b.png").read_bytes()[:200])
    refused(train(*TINY, "style=a.png", "data.val_dir=val"), "none of the 2 pictures", "a.jpg")


def test_logger_csv(train: Train) -> None:
    done(train(*TINY, "style=a.png", "logger=csv", "output_dir=out"))
    with Path("out/csv/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {float(row["train/learning_rate"]) > 0 for row in rows if row["train/learning_rate"]}
    assert [float(row["val/total"]) for row in rows if row["val/total"]]
    done(train("ckpt_path=out/last.ckpt", "trainer.max_steps=3"))
    with Path("out/csv/metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == rows  # the earlier rows are still there
    assert Path("out/csv-from-2/metrics.csv").is_file()


def test_logger_none(train: Train) -> None:
    done(train(*TINY, "style=a.png", "logger=none", "output_dir=out"))
    assert {path.name for path in Path("out").iterdir()} == {
        "a.safetensors", "last.ckpt", ".hydra", "train.log",
    }  # fmt: skip
    done(train("ckpt_path=out/last.ckpt", "trainer.max_steps=3"))
    assert not list(Path("out").glob("tensorboard"))


@pytest.mark.slow
def test_a_closed_terminal_ends_a_run_cleanly(tmp_path: Path) -> None:
    given = [*TINY, "output_dir=out", "trainer.max_steps=1000000"]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "fast_style.cli", "train", *given])
    network = tmp_path / "out" / "stained-glass.safetensors"
    deadline = time.monotonic() + 300  # PyTorch alone takes half a minute on a busy machine
    os.set_blocking(terminal, False)
    try:
        while not network.is_file() and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                os.read(terminal, 65536)
            time.sleep(0.05)
        os.close(terminal)
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.1)
        assert ended
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
    assert steps(tmp_path / "out" / "last.ckpt") == load_style(network).losses["step"]


def examples() -> list[str]:
    """Arguments of the training commands in the guides, their table, and ``train --help``."""
    guide = (REPOSITORY / "docs/training.md").read_text()
    pages = (REPOSITORY / "README.md").read_text() + guide
    lines = re.findall(r"^(?:uv run )?fast-style train (.*)$", pages, re.MULTILINE)
    header = OmegaConf.load(CONF / "train.yaml").hydra.help._get_node("header")._value()
    lines += re.findall(r"^ *\$\{fast_style:\} train (.*)$", header, re.MULTILINE)
    table = guide[guide.index("| to | say |") :].partition("\n\n")[0]
    for row in table.splitlines()[2:]:
        first = re.findall(r"`([^`]+)`", row.split("|")[2])
        lines += [first[0]]
    return list(dict.fromkeys(lines))


@pytest.mark.slow
@pytest.mark.parametrize("line", examples())
def test_examples_run_as_they_stand(
    train: Train, line: str, finished_run: Path, vgg19_file: Path, tmp_path: Path
) -> None:
    given = pasted(line)
    for folder in ("photos", "PHOTOS", "train2017"):
        Path(folder).mkdir()
        picture(Path(folder) / "x.png", 90, 70)
    for name in ("mine.jpg", "a.jpg", "b.jpg", "PAINTING.jpg"):
        picture(Path(name))
    for checkpoint in (word.partition("=")[2] for word in given if word.startswith("ckpt_path")):
        shutil.copytree(finished_run, Path(checkpoint).parent)
        given += ["trainer.max_steps=3"]
    said = {word.partition("=")[0] for word in given}
    quick = [word for word in TINY[1:] if word.partition("=")[0] not in said]
    if "callbacks.schedule.minutes" in said:
        given[given.index("callbacks.schedule.minutes=60")] = "callbacks.schedule.minutes=0.005"
    from_the_base = not {"experiment=cpu", "experiment=gpu"}.isdisjoint(given)
    if "init" in said or from_the_base or "model" in said:  # these choose the size of the network
        quick = [word for word in quick if not word.startswith("model.")]
    if not said & {"ckpt_path", "data", "data.dir"} and "experiment=quickstart" not in given:
        quick += ["data=dead_leaves"]
    if "trainer" in said:
        given[given.index("trainer.devices=4")] = "trainer.devices=1"
    bundled = from_the_base or "experiment=quickstart" in given
    if not said & {"loss", "ckpt_path"} and not bundled:
        quick += [f"loss.weights={vgg19_file}"]
    if "ckpt_path" in said:
        quick = []
    done(train(*given, *quick))
    assert list(tmp_path.rglob("*.safetensors"))
