"""Paths of any name pass through the command line, Hydra and back."""

import shutil
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from training_runs import ODD_NAMES, TINY, Train, done, pasted, picture, steps

from fast_style.checkpoint import load_style
from fast_style.config.paths import rewrite


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_hydra_gives_any_path_back(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Hydra's grammar, OmegaConf and YAML, whether the file exists or not."""
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
                # The configuration has this key, so it stays an interpolation.
                assert OmegaConf.to_container(cfg) == {"a": name, "b": "${a}"}
                continue
            for found in (cfg, again):
                assert found.a == found.b == (f"./{name}" if there and name[0] == "~" else name)


@pytest.mark.parametrize("name", [*ODD_NAMES[:2], *ODD_NAMES[3:5], ODD_NAMES[6]], ids=ascii)
def test_a_run_whose_files_have_odd_names(train: Train, tmp_path: Path, name: str) -> None:
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
    style.name.encode()  # is valid text
    assert not Path("runs").exists()

    # The printed commands work when pasted: to resume, and to stylize.
    resume, stylize = result.stdout.partition("to resume:")[2].split("try it:")
    words = pasted(resume.strip())
    assert words[-2] == "train"
    done(train(words[-1], "trainer.max_steps=3"))
    assert steps(Path(out) / "last.ckpt") == 3
    words = pasted(stylize.strip())
    assert Path(words[-1]).is_file()
    assert words[-2:-1] == ["--style"]

    # The configuration in .hydra/ can be run again.
    done(train("-cd", f"{out}/.hydra", "-cn", "config", "output_dir=again", "trainer.max_steps=1"))
    assert Path(f"again/{name}.safetensors").is_file()


def test_the_overrides_in_the_folder_can_be_given_again(train: Train, tmp_path: Path) -> None:
    picture(tmp_path / "a, ${x}.png")
    done(train(*TINY, "style=a, ${x}.png", "output_dir=one"))
    kept = list(OmegaConf.load("one/.hydra/overrides.yaml"))
    assert "style=a, ${x}.png" in kept
    done(train(*kept, "overwrite=true"))


def test_init_and_loss_weights_have_odd_names(
    train: Train, tmp_path: Path, vgg19_file: Path
) -> None:
    done(train(*TINY, "style=a.png", "output_dir=one"))
    shutil.copy("one/a.safetensors", "s, ${x}.safetensors")
    shutil.copy(vgg19_file, "w, ${x}.pth")
    done(
        train(
            *TINY, "style=b.png", "output_dir=two", "init=s, ${x}.safetensors",
            "loss.network=vgg19", "loss.weights=w, ${x}.pth",
        )
    )  # fmt: skip


def test_a_tilde_is_the_home_folder(
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
