"""Resuming a run: which settings it keeps, which may change, and which are refused."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import TINY, Train, done, refused, steps

from fast_style.checkpoint import load_style
from fast_style.config.classes import follow_moves, targets


def test_a_checkpoint_alone_resumes_its_run(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(train(*TINY, "style=a.png", "loss.style_weight=3", "seed=7", "output_dir=run"))
    straight = [*TINY, "style=a.png", "loss.style_weight=3", "seed=7", "trainer.max_steps=4"]
    done(train(*straight, "output_dir=straight", "callbacks.checkpoint.every_n_train_steps=100"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done(train(f"ckpt_path={tmp_path}/run/last.ckpt", "trainer.max_steps=4"))
    assert list(elsewhere.iterdir()) == []  # it writes to the folder of the run
    assert steps(tmp_path / "run" / "last.ckpt") == 4
    resumed, whole = (load_style(tmp_path / name / "a.safetensors") for name in ("run", "straight"))
    expected = whole.recipe
    expected["trainer"]["max_steps"] = 4
    assert resumed.recipe == expected


def test_overrides_change_the_resumed_run(train: Train, tmp_path: Path) -> None:
    done(train(*TINY, "style=a.png", "output_dir=run"))
    resumes = ["ckpt_path=run/last.ckpt", "trainer.max_steps=4"]
    done(train(*resumes, "style=a.png", "optimizer.lr=0.5", "callbacks.schedule.warmup=0"))
    recipe = load_style("run/a.safetensors").recipe
    assert recipe["style"]["size"] == 48  # naming the painting keeps the other keys of the style
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
def test_overrides_that_would_make_another_run_are_refused(
    train: Train, finished_run: Path, given: str, told: str, vgg19_file: Path
) -> None:
    shutil.copytree(finished_run, "run")
    before = Path("run/last.ckpt").read_bytes()
    length = [] if given.startswith("trainer") else ["trainer.max_steps=4"]
    weights = [f"loss.weights={vgg19_file}"] if "vgg19" in given else []
    refused(train("ckpt_path=run/last.ckpt", given, *length, *weights), "run/last.ckpt", told)
    assert Path("run/last.ckpt").read_bytes() == before


def test_a_finished_run_says_how_to_train_on(train: Train, finished_run: Path) -> None:
    shutil.copytree(finished_run, "run")
    result = train("ckpt_path=run/last.ckpt")
    sentence = refused(result, "finished", "2 steps")
    assert "to resume" not in result.output
    further = re.search(r"trainer\.max_steps=\d+", sentence)
    assert further
    done(train("ckpt_path=run/last.ckpt", further[0]))


def test_a_finished_run_by_the_clock(train: Train) -> None:
    clock = ["trainer.max_steps=-1", "callbacks.schedule.minutes=0.01"]
    done(train(*TINY, "style=a.png", "output_dir=run", *clock))
    sentence = refused(train("ckpt_path=run/last.ckpt"), "finished")
    assert "callbacks.schedule.minutes=0.02" in sentence


def test_a_checkpoint_of_an_older_version(train: Train, finished_run: Path) -> None:
    found = torch.load(finished_run / "last.ckpt", weights_only=True)
    del found["fast_style"]
    torch.save(found, "old.ckpt")
    refused(train("ckpt_path=old.ckpt"), "old.ckpt", "style=")
    given = [*TINY, f"style={finished_run.parent}/a.png", "trainer.max_steps=3", "output_dir=out"]
    done(train("ckpt_path=old.ckpt", *given))
    shutil.copytree(finished_run / ".hydra", ".hydra")  # an older version wrote it too
    done(train("ckpt_path=old.ckpt", "trainer.max_steps=3"))


def test_a_checkpoint_cannot_name_a_class_to_build(train: Train, finished_run: Path) -> None:
    found = torch.load(finished_run / "last.ckpt", weights_only=True)
    found["fast_style"]["config"]["callbacks"]["evil"] = {
        "_target_": "pathlib.Path.touch", "self": "owned",
    }  # fmt: skip
    torch.save(found, "last.ckpt")
    refused(train("ckpt_path=last.ckpt", "trainer.max_steps=3"), "pathlib.Path.touch")
    assert not Path("owned").exists()


def test_a_resumed_run_continues_its_curves(train: Train, finished_run: Path) -> None:
    """What a killed run logged after its checkpoint is replaced by what is trained again."""
    shutil.copytree(finished_run, "run")
    found = torch.load("run/last.ckpt", weights_only=True)
    found["fast_style"]["ended"] = False
    torch.save(found, "run/last.ckpt")
    done(train("ckpt_path=run/last.ckpt", "trainer.max_steps=6"))
    shutil.copy(finished_run / "last.ckpt", "run/last.ckpt")
    torch.save(found, "run/last.ckpt")  # as if the run had been killed here
    done(train("ckpt_path=run/last.ckpt", "trainer.max_steps=4"))
    events = EventAccumulator("run/tensorboard").Reload().Scalars("train/learning_rate")
    assert [event.step for event in events] == [0, 1, 2, 3]


def test_classes_that_have_moved_are_found() -> None:
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
