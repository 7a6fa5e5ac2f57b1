"""The demo: everything from the package alone, and mistakes found before minutes are spent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command_line import refused, run
from omegaconf import DictConfig
from PIL import Image

from fast_style.bundled import PAINTINGS, PHOTOS
from fast_style.checkpoint import TrainedStyle, load_style
from fast_style.demo import configure, default_minutes, recipe, train_demo
from fast_style.images import find_pictures, open_picture, resize_picture
from fast_style.stylizing.stylizer import Stylizer

BUNDLED = find_pictures(PHOTOS)
STYLE = "The Scream, 1893"


def noise(path: Path, width: int = 200, height: int = 100) -> Path:
    Image.effect_noise((width, height), 80).convert("RGB").save(path)
    return path


@dataclass
class Demo:
    """A demo of two steps, run from the command line."""

    painting: Path
    photo: Path
    """The user's own photo. It has the name of a bundled one."""
    out: Path
    printed: str

    @property
    def network(self) -> Path:
        return self.out / f"{STYLE}.safetensors"

    @property
    def pictures(self) -> dict[Path, Path]:
        """The stylized version of each photo."""
        bundled = {path: self.out / f"{path.stem}-{STYLE}.jpg" for path in BUNDLED}
        first = BUNDLED[0]
        return bundled | {
            self.photo: self.out / f"{first.stem}-{STYLE}.jpg",
            first: self.out / f"{first.stem}-2-{STYLE}.jpg",
        }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    painting = noise(folder / f"{STYLE}.png")
    photo = noise(folder / f"{BUNDLED[0].stem}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run("demo", photo.name, "--style", painting.name, "--steps", "2", "-o", "new")
    assert result.exit_code == 0, result.output
    return Demo(painting, photo, folder / "new", result.stdout)


@pytest.fixture(scope="module")
def trained(demo: Demo) -> TrainedStyle:
    return load_style(demo.network)


@pytest.mark.slow
def test_every_photo_is_stylized(demo: Demo) -> None:
    assert set(demo.pictures.values()) == set(demo.out.glob(f"*-{STYLE}.jpg"))
    for path, picture in demo.pictures.items():
        assert open_picture(picture).size == resize_picture(open_picture(path), 640).size


@pytest.mark.slow
def test_the_sheet_shows_them_all(demo: Demo) -> None:
    sizes = [open_picture(path).size for path in (demo.painting, *demo.pictures)]
    pictures = sum(320 * width / height for width, height in sizes)
    sheet = open_picture(demo.out / "sheet.jpg")
    assert 2 * 320 < sheet.height < 3 * 320
    assert pictures < sheet.width < pictures + 320


@pytest.mark.slow
def test_the_pictures_are_what_the_network_makes(demo: Demo, trained: TrainedStyle) -> None:
    assert trained.name == STYLE
    assert trained.losses["step"] == 2
    stylize = Stylizer(demo.network)
    for path in BUNDLED:
        expected = np.asarray(stylize(resize_picture(open_picture(path), 640)), dtype=float)
        found = np.asarray(open_picture(demo.pictures[path]), dtype=float)
        assert np.abs(found - expected).mean() < 3  # JPEG changes a little
        assert expected.std() > 10


@pytest.mark.slow
def test_what_is_printed_tells_what_to_do_next(demo: Demo) -> None:
    assert str(Path("new") / "sheet.jpg") in demo.printed
    last = [line.strip() for line in demo.printed.splitlines()[-3:]]
    for line, command in zip(last, ("stylize", "demo", "train"), strict=True):
        assert f"fast-style {command} " in line
    assert str(demo.network) in last[0]


@pytest.mark.slow
def test_equal_runs_make_equal_networks(demo: Demo, tmp_path: Path) -> None:
    # The network's file records the last part of its folder's path.
    again = train_demo(configure(tmp_path / "new", str(demo.painting), steps=2))
    assert again.network.read_bytes() == demo.network.read_bytes()


@pytest.mark.slow
def test_content_is_what_it_trains_on(
    demo: Demo, trained: TrainedStyle, photos: Path, tmp_path: Path
) -> None:
    folder = photos.rename(
        tmp_path / 'it\'s "mine", 100% {a=b} [1]'
    )  # every sign is one of Hydra's
    cfg = configure(tmp_path / "out, too", str(demo.painting), folder, steps=2)
    cfg.data.val_count = 1  # validation changes no weights
    result = train_demo(cfg)
    assert result.steps == 2
    on_leaves = trained.network.state_dict()
    on_photos = load_style(result.network).network.state_dict()
    assert any(not on_photos[name].equal(on_leaves[name]) for name in on_leaves)


def test_without_options_it_paints_stained_glass(tmp_path: Path) -> None:
    cfg = configure(tmp_path)
    assert Path(cfg.style.image) == PAINTINGS / "stained-glass.jpg"
    assert cfg.trainer.max_steps == -1
    assert cfg.callbacks.schedule.minutes > 0


def test_on_a_cpu_the_quickstart_trains(compose: Callable[..., DictConfig]) -> None:
    assert compose(*recipe(False, None)) == compose("experiment=quickstart")
    cfg = compose(*recipe(False, Path("my photos")))
    assert cfg.data == compose("data.dir='my photos'", "data.size=128").data
    assert cfg.loss == compose("experiment=quickstart").loss


def test_on_a_gpu_its_experiment_trains(compose: Callable[..., DictConfig]) -> None:
    gpu = compose("experiment=gpu", "data.dir='my photos'")
    assert compose(*recipe(True, Path("my photos"))) == gpu
    leaves = compose(*recipe(True, None))
    assert leaves.data == compose("experiment=quickstart").data
    for part in ("style", "init", "loss", "optimizer", "trainer"):
        assert leaves[part] == gpu[part]


def test_help_tells_how_long_it_trains() -> None:
    told = " ".join(run("demo", "--help").stdout.split())
    on_cuda, elsewhere = (f"{default_minutes(cuda):g}" for cuda in (True, False))
    assert f"default: ({on_cuda} on an NVIDIA GPU, {elsewhere} without)" in told


def nothing_was_made(out: Path) -> bool:
    return not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ("nowhere.jpg", "nowhere.jpg does not exist"),
        ("sub/nowhere.jpg", "sub/nowhere.jpg does not exist"),
        ("text.jpg", "text.jpg is not a picture"),
        ("./", "is a folder"),
        ("starry-knight", "starry-knight"),
        ("~nobody-of-this-name/x.jpg", "~nobody-of-this-name/x.jpg does not exist"),
    ],
)
def test_a_painting_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    refused(run("demo", "--style", style, "--steps", "1", "-o", "out"), said)
    assert nothing_was_made(tmp_path / "out")


def test_a_photo_that_cannot_be_used(tmp_path: Path) -> None:
    out = tmp_path / "out"
    good, text, thin = tmp_path / "good.png", tmp_path / "text.jpg", tmp_path / "thin.png"
    noise(good)
    noise(thin, 1000, 20)  # 640 x 13 px as the demo resizes it
    text.write_text("no picture")
    for bad in (tmp_path / "nowhere.jpg", text, thin):
        refused(run("demo", good, bad, "--steps", "1", "-o", out), bad.name)
        assert nothing_was_made(out)


def test_a_folder_of_content_that_cannot_be_used(tmp_path: Path) -> None:
    out, empty, useless = tmp_path / "out", tmp_path / "empty", tmp_path / "useless"
    empty.mkdir()
    useless.mkdir()
    (useless / "text.jpg").write_text("no picture")
    for folder, said in (
        (empty, "holds no picture"),
        (tmp_path / "nowhere", "does not exist"),
        (useless, "text.jpg"),
    ):
        refused(run("demo", "--content", folder, "--steps", "1", "-o", out), folder.name, said)
        assert nothing_was_made(out)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("mine")
    refused(run("demo", "--steps", "1", "-o", blocker), "blocker")
    refused(run("demo", "--steps", "1", "-o", blocker / "out"), "blocker")
    assert blocker.read_text() == "mine"
