"""Runs from the command line: paths of any name, going on, folders, sweeps, loggers, hints."""

import contextlib
import csv
import logging
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fast_style import shell
from fast_style.bundled import CONF
from fast_style.checkpoint import load_style
from fast_style.cli import main
from fast_style.config.classes import follow_moves, targets
from fast_style.config.paths import rewrite
from fast_style.config.run_folder import forget_fresh_folders, fresh_folder

REPOSITORY = Path(__file__).parent.parent

TINY = [
    "experiment=quickstart",
    "model.widths=[4,8,8]",
    "model.residual_blocks=1",
    "loss.style_layers=[relu1_1]",
    "loss.content_layers=[relu2_1]",
    "data.size=32",
    "data.batch_size=1",
    "data.workers=0",
    "data.val_size=32",
    "data.val_count=1",
    "style.size=48",
    "trainer.accelerator=cpu",
    "trainer.max_steps=2",
    "trainer.val_check_interval=1",
    "trainer.log_every_n_steps=1",
]

ODD = [
    "Nuit étoilée (1889)",
    "${x}",
    "${style.name}",
    "caf\udce9",
    "1e5",
    "back\\slash\\'",
    'a, b=c & "d" #1 100%',
    "~x",
    "日本 [1] {a: b}",
    "new\nline",
]

Train = Callable[..., Result]


def picture(path: Path, width: int = 60, height: int = 40) -> Path:
    with path.open("wb") as file:  # Pillow itself wants names that are text
        Image.effect_noise((width, height), 80).convert("RGB").save(file, "PNG")
    return path


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Train]:
    """Runs `fast-style train` here and now, in a folder of its own that holds a.png and b.png."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # put back what it was, afterwards
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level  # Hydra sets up logging of its own
    yield lambda *given: CliRunner().invoke(main, ["train", *given])
    root.handlers[:] = handlers
    root.setLevel(level)


def done(result: Result) -> Result:
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(result: Result, *words: str) -> str:
    assert result.exit_code == 2, (result.output, result.exception)
    (sentence,) = result.stderr.splitlines()[-1:]
    assert sentence.startswith("fast-style: ")
    for word in words:
        assert word in sentence
    return sentence


def pasted(printed: str) -> list[str]:
    """The words that a shell makes of a command line."""
    found = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {printed}"], capture_output=True, check=True
    )
    return [os.fsdecode(word) for word in found.stdout.split(b"\0")[:-1]]


def after(result: Result, label: str, end: str) -> str:
    start = result.stdout.index(label) + len(label)
    return result.stdout[start : result.stdout.index(end, start)].strip()


def steps(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


# ----------------------------------------------------------------------- paths, as people have them


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_hydra_gives_any_path_back(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Hydra's grammar, OmegaConf and YAML: whether the file is there or not."""
    monkeypatch.chdir(tmp_path)
    for there in (False, True):
        if there:
            Path(name).write_text("")
        for key in ("data.dir", "ckpt_path", "loss.weights"):
            (given,) = rewrite([f"{key}={name}"])
            value = OverridesParser.create().parse_override(given).value()
            cfg = OmegaConf.create({"a": value, "b": "${a}"})
            again = OmegaConf.create(OmegaConf.to_yaml(cfg))
            if name == "${style.name}" and not there:
                assert OmegaConf.to_container(cfg) == {
                    "a": name,
                    "b": "${a}",
                }  # a key of the configuration
                continue
            for found in (cfg, again):
                assert found.a == found.b == (f"./{name}" if there and name[0] == "~" else name)


@pytest.mark.parametrize("name", [*ODD[:2], *ODD[3:5], ODD[6]], ids=ascii)
def test_a_run_with_names_of_any_kind(train: Train, tmp_path: Path, name: str) -> None:
    try:
        painting = picture(tmp_path / f"{name}.png")
    except OSError:
        pytest.skip("this file system does not hold such a name")
    photos, out = f"{name} photos", f"{name} out"
    Path(photos).mkdir()
    picture(Path(photos) / "x.png", 90, 70)
    began = [*TINY, "data=photos", "data.size=32", f"data.dir={photos}", f"data.val_dir={photos}"]
    result = done(train(*began, f"style={painting.name}", f"output_dir={out}"))
    assert {path.name for path in Path(out).iterdir()} == {
        f"{name}.safetensors", "last.ckpt", "tensorboard", ".hydra", "train.log",
    }  # fmt: skip
    style = load_style(f"{out}/{name}.safetensors")
    style.name.encode()  # is text
    assert not Path("runs").exists()

    # What is printed works pasted: to go on, and to stylize with.
    words = pasted(after(result, "to resume:", "try it:"))
    assert words[-2] == "train"
    done(train(words[-1], "trainer.max_steps=3"))
    assert steps(Path(out) / "last.ckpt") == 3
    words = pasted(result.stdout[result.stdout.index("try it:") + 7 :].strip())
    assert Path(words[-1]).is_file()
    assert words[-2:-1] == ["--style"]

    # What .hydra/ holds can be run again.
    done(train("-cd", f"{out}/.hydra", "-cn", "config", "output_dir=again", "trainer.max_steps=1"))
    assert Path(f"again/{name}.safetensors").is_file()


def test_overrides_that_were_kept_can_be_given_again(train: Train, tmp_path: Path) -> None:
    picture(tmp_path / "a, ${x}.png")
    done(train(*TINY, "style=a, ${x}.png", "output_dir=one"))
    kept = list(OmegaConf.load("one/.hydra/overrides.yaml"))
    assert "style=a, ${x}.png" in kept
    done(train(*kept, "overwrite=true"))


def test_init_and_loss_weights_of_any_name(train: Train, tmp_path: Path, vgg19_file: Path) -> None:
    done(train(*TINY, "style=a.png", "output_dir=one"))
    shutil.copy("one/a.safetensors", "s, ${x}.safetensors")
    shutil.copy(vgg19_file, "w, ${x}.pth")
    done(
        train(
            *TINY, "style=b.png", "output_dir=two", "init=s, ${x}.safetensors",
            "loss.network=vgg19", "loss.weights=w, ${x}.pth",
        )
    )  # fmt: skip


def test_home_is_the_home_folder_unless_a_folder_has_this_name(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    picture(home / "mine.png")
    done(train(*TINY, "style=~/mine.png", "output_dir=~/out"))
    assert (home / "out" / "mine.safetensors").is_file()


def test_interpolations_still_work(train: Train, tmp_path: Path) -> None:
    done(train(*TINY, "style=a.png", "output_dir=of/${style.name}"))
    assert (tmp_path / "of" / "a" / "a.safetensors").is_file()


# ----------------------------------------------------------------------------------------- sweeps


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


def test_several_paintings_need_a_sweep(train: Train) -> None:
    refused(train(*TINY, "style=a.png,b.png"), "-m")


# ---------------------------------------------------------------------------------- going on


def test_a_checkpoint_alone_goes_on_with_its_run(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(train(*TINY, "style=a.png", "loss.style_weight=3", "seed=7", "output_dir=run"))
    straight = [*TINY, "style=a.png", "loss.style_weight=3", "seed=7", "trainer.max_steps=4"]
    done(train(*straight, "output_dir=straight", "callbacks.checkpoint.every_n_train_steps=100"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done(train(f"ckpt_path={tmp_path}/run/last.ckpt", "trainer.max_steps=4"))
    assert list(elsewhere.iterdir()) == []  # it goes on where it was
    assert steps(tmp_path / "run" / "last.ckpt") == 4
    resumed, whole = (load_style(tmp_path / name / "a.safetensors") for name in ("run", "straight"))
    expected = whole.recipe
    expected["trainer"]["max_steps"] = 4
    assert resumed.recipe == expected


def test_overrides_are_applied_over_the_run(train: Train, tmp_path: Path) -> None:
    done(train(*TINY, "style=a.png", "output_dir=run"))
    goes_on = ["ckpt_path=run/last.ckpt", "trainer.max_steps=4"]
    done(train(*goes_on, "style=a.png", "optimizer.lr=0.5", "callbacks.schedule.warmup=0"))
    recipe = load_style("run/a.safetensors").recipe
    assert recipe["style"]["size"] == 48  # naming the painting again leaves the rest of the style
    found = EventAccumulator("run/tensorboard").Reload().Scalars("train/learning_rate")
    rates = {event.step: event.value for event in found}
    assert rates[2] == pytest.approx(0.5 * 0.5)  # half of the cosine


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("style=b.png", "painting"),
        ("style=stained-glass", "painting"),
        ("style.image=b.png", "painting"),
        ("model.widths=[8,8,8]", "network"),
        ("model=small", "network"),
        ("optimizer=adam", "optimizer"),
        ("loss.network=vgg19", "loss"),
        ("loss.style_layers=[relu1_1,relu2_1]", "loss"),
        ("trainer.max_steps=2", "belongs to a finished run (2 steps)"),
    ],
)
def test_what_would_be_another_run(
    train: Train, finished: Path, given: str, told: str, vgg19_file: Path
) -> None:
    shutil.copytree(finished, "run")
    before = Path("run/last.ckpt").read_bytes()
    length = [] if given.startswith("trainer") else ["trainer.max_steps=4"]
    weights = [f"loss.weights={vgg19_file}"] if "vgg19" in given else []
    refused(train("ckpt_path=run/last.ckpt", given, *length, *weights), "run/last.ckpt", told)
    assert Path("run/last.ckpt").read_bytes() == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps towards a.png."""
    folder = tmp_path_factory.mktemp("finished")
    picture(folder / "a.png")
    given = [*TINY, f"style={folder}/a.png", f"output_dir={folder}/run"]
    done(CliRunner().invoke(main, ["train", *given]))
    return folder / "run"


def test_a_run_that_is_done_says_how_to_go_further(train: Train, finished: Path) -> None:
    shutil.copytree(finished, "run")
    result = train("ckpt_path=run/last.ckpt")
    sentence = refused(result, "finished", "2 steps")
    assert "to resume" not in result.output
    further = re.search(r"trainer\.max_steps=\d+", sentence)
    assert further
    done(train("ckpt_path=run/last.ckpt", further[0]))


def test_a_run_by_the_clock_that_is_done(train: Train) -> None:
    clock = ["trainer.max_steps=-1", "callbacks.schedule.minutes=0.01"]
    done(train(*TINY, "style=a.png", "output_dir=run", *clock))
    sentence = refused(train("ckpt_path=run/last.ckpt"), "finished")
    assert "callbacks.schedule.minutes=0.02" in sentence


def test_a_checkpoint_of_an_older_version(train: Train, finished: Path) -> None:
    found = torch.load(finished / "last.ckpt", weights_only=True)
    del found["fast_style"]
    torch.save(found, "old.ckpt")
    refused(train("ckpt_path=old.ckpt"), "old.ckpt", "style=")
    given = [*TINY, f"style={finished.parent}/a.png", "trainer.max_steps=3", "output_dir=out"]
    done(train("ckpt_path=old.ckpt", *given))
    shutil.copytree(finished / ".hydra", ".hydra")  # what it wrote beside its checkpoint
    done(train("ckpt_path=old.ckpt", "trainer.max_steps=3"))


def test_a_checkpoint_does_not_choose_what_is_run(train: Train, finished: Path) -> None:
    found = torch.load(finished / "last.ckpt", weights_only=True)
    found["fast_style"]["config"]["callbacks"]["evil"] = {
        "_target_": "pathlib.Path.touch", "self": "owned",
    }  # fmt: skip
    torch.save(found, "last.ckpt")
    refused(train("ckpt_path=last.ckpt", "trainer.max_steps=3"), "pathlib.Path.touch")
    assert not Path("owned").exists()


def test_curves_of_a_run_that_was_gone_on_with_are_one(train: Train, finished: Path) -> None:
    """What a killed run had logged behind its checkpoint gives way to what is trained anew."""
    shutil.copytree(finished, "run")
    found = torch.load("run/last.ckpt", weights_only=True)
    found["fast_style"]["ended"] = False
    torch.save(found, "run/last.ckpt")
    done(train("ckpt_path=run/last.ckpt", "trainer.max_steps=6"))
    shutil.copy(finished / "last.ckpt", "run/last.ckpt")
    torch.save(found, "run/last.ckpt")  # as if it had been killed then
    done(train("ckpt_path=run/last.ckpt", "trainer.max_steps=4"))
    events = EventAccumulator("run/tensorboard").Reload().Scalars("train/learning_rate")
    assert [event.step for event in events] == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------ the folder


def test_a_folder_with_a_run_is_not_written_over(train: Train, finished: Path) -> None:
    shutil.copytree(finished, "run")
    before = Path("run/last.ckpt").read_bytes()
    refused(train(*TINY, "style=b.png", "output_dir=run"), "run", "overwrite=true", "ckpt_path")
    assert Path("run/last.ckpt").read_bytes() == before
    done(train(*TINY, "style=b.png", "output_dir=run", "overwrite=true", "trainer.max_steps=1"))
    events = EventAccumulator("run/tensorboard").Reload().Scalars("train/learning_rate")
    assert [event.step for event in events] == [0]


def test_demo_does_not_write_over_a_run(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    given = ["demo", "--steps", "1", "-o", str(tmp_path / "out")]
    refused(CliRunner().invoke(main, given), "holds a run", "--overwrite")


def test_two_runs_of_one_second_have_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    date = ("runs", "a", "2026-01-01_00-00-00")
    found = []
    for _ in range(3):
        forget_fresh_folders()  # as another process
        found.append(fresh_folder(*date))
        assert fresh_folder(*date) == found[-1]
    assert len(set(found)) == 3
    assert all(Path("runs", folder).is_dir() for folder in found)


def test_a_full_disk_is_told_before_the_first_step(
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


def test_what_is_refused_leaves_no_folder(train: Train, tmp_path: Path) -> None:
    refused(train(*TINY, "style=absent.png"), "absent.png")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


# ------------------------------------------------------------------ photos, loggers, signals


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
        assert list(csv.DictReader(file)) == rows  # nothing was lost
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
    deadline = time.monotonic() + 120
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


# ------------------------------------------------------------------------------- hints and examples


@pytest.mark.parametrize("text", [*ODD, "", "'", "it's \\ $HOME `ls` !x", "tab\there"], ids=ascii)
def test_quoted_for_a_shell(text: str) -> None:
    assert pasted(f"{shell.quote(text)} end") == [text, "end"]
    shell.quote(text).encode()


def test_programs_are_named_as_the_users_shell_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "project" / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    (scripts / "fast-style").touch(0o755)
    monkeypatch.setattr(sys, "prefix", str(scripts.parent))
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("PATH", f"{scripts}:/usr/bin:/bin")
    assert shell.program() == "fast-style"  # an environment that was activated
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert shell.program() == "uv run fast-style"
    monkeypatch.setenv("PATH", f"{scripts}:{scripts}:/usr/bin:/bin")
    assert shell.program() == "fast-style"  # both
    monkeypatch.setenv("PATH", f"{scripts}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    assert pasted(shell.program())[:4] == ["uv", "run", "--project", str(tmp_path / "project")]
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert shell.program() == str(scripts / "fast-style")  # it was started by its path
    (scripts / "fast-style").unlink()
    assert shell.program().endswith("-m fast_style.cli")


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
    train: Train, line: str, finished: Path, vgg19_file: Path, tmp_path: Path
) -> None:
    given = pasted(line)
    for folder in ("photos", "PHOTOS", "train2017"):
        Path(folder).mkdir()
        picture(Path(folder) / "x.png", 90, 70)
    for name in ("mine.jpg", "a.jpg", "b.jpg", "PAINTING.jpg"):
        picture(Path(name))
    for checkpoint in (word.partition("=")[2] for word in given if word.startswith("ckpt_path")):
        shutil.copytree(finished, Path(checkpoint).parent)
        given += ["trainer.max_steps=3"]
    said = {word.partition("=")[0] for word in given}
    quick = [word for word in TINY[1:] if word.partition("=")[0] not in said]
    if "callbacks.schedule.minutes" in said:
        given[given.index("callbacks.schedule.minutes=60")] = "callbacks.schedule.minutes=0.005"
    from_the_base = not {"experiment=cpu", "experiment=gpu"}.isdisjoint(given)
    if "init" in said or from_the_base or "model" in said:  # a network of its own size
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


def test_a_run_of_before_its_classes_moved_goes_on() -> None:
    config = {
        "optimizer": {"_target_": "fast_style.muon.Muon", "lr": 0.01},
        "callbacks": {
            name: {"_target_": f"fast_style.{name}"}
            for name in (
                "callbacks.Schedule",
                "callbacks.Throughput",
                "callbacks.RunProgressBar",
                "callbacks.StopCleanly",
                "divergence.StopWhereDiverged",
            )
        },
    }
    before = [target.rpartition(".")[2] for _, target in targets(config)]
    follow_moves(config)
    assert [get_class(target).__name__ for _, target in targets(config)] == before
