"""Styles on a hub, by huggingface_hub itself against a server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml
from click.testing import CliRunner, Result
from command_line import refused, run
from hub_server import TOKEN, Hub, Repository, git_name, running_hub
from PIL import Image
from safetensors import safe_open

from fast_style import Stylizer
from fast_style.bundled import CHECKPOINTS, PAINTINGS, PHOTOS
from fast_style.checkpoint import TrainedStyle, find_style, read_style, save_style
from fast_style.cli import main
from fast_style.errors import UserError
from fast_style.hub import Address, fetch_style
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.blending import parse_blend, style_files

WAVE = CHECKPOINTS / "wave.safetensors"
SCREAM = CHECKPOINTS / "the-scream.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with anna/wave, that huggingface_hub asks, with an empty cache and no token."""
    # It reads its environment when it is imported.
    constants = huggingface_hub.constants
    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "no-tokens"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        repository = server.repositories["anna/wave"] = Repository()
        repository.commit({"wave.safetensors": WAVE.read_bytes(), "evil.py": b"raise SystemExit"})
        forget()
        yield server
    forget()


def forget() -> None:
    """Do as in a new process."""
    fetch_style.cache_clear()
    huggingface_hub.close_session()


def fetched(hub: Hub) -> list[str]:
    return [
        request for request in hub.requests if request.startswith("GET") and "/resolve/" in request
    ]


def refusal(style: str) -> str:
    forget()
    with pytest.raises(UserError) as caught:
        find_style(style)
    return str(caught.value)


# --- addresses ---


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://anna/wave", ("anna/wave", None, None)),
        ("hf://anna/wave/", ("anna/wave", None, None)),
        ("hf://anna/wave@v2", ("anna/wave", "v2", None)),
        ("hf://a.b/c-d@refs/pr/3/x.safetensors", ("a.b/c-d", "refs/pr/3", "x.safetensors")),
        ("hf://anna/wave@refs%2Fpr%2F3", ("anna/wave", "refs/pr/3", None)),
        ("hf://anna/wave/s/x.safetensors", ("anna/wave", None, "s/x.safetensors")),
    ],
)
def test_an_address_has_three_parts(text: str, parts: tuple[str | None, ...]) -> None:
    address = Address.parse(text)
    assert (address.repository, address.revision, address.file) == parts


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://anna", "hf:///wave", "hf://anna/wave@", "hf://a/b/../c.safetensors"],
)
def test_other_addresses_are_refused(text: str) -> None:
    assert "write hf://owner/name" in refusal(text)


# --- fetching ---


def test_a_style_paints_as_its_file_does(hub: Hub) -> None:
    photo = Image.open(PHOTOS / "chelsea.jpg").resize((96, 64))
    fetched_style = Stylizer("hf://anna/wave", device="cpu")
    assert fetched_style.name == "wave"
    assert fetched_style(photo).tobytes() == Stylizer("wave", device="cpu")(photo).tobytes()


def test_only_the_file_is_fetched_and_only_once(hub: Hub) -> None:
    path = find_style("hf://anna/wave")
    assert path.read_bytes() == WAVE.read_bytes()
    assert path.stem == "wave"
    forget()
    assert find_style("hf://anna/wave") == path
    assert fetched(hub) == ["GET /anna/wave/resolve/main/wave.safetensors"]


def test_a_branch_is_asked_again_and_its_commit_told(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    repository = hub.repositories["anna/wave"]
    first = find_style("hf://anna/wave")
    pinned = f"hf://anna/wave@{repository.names['main']}/wave.safetensors"
    assert caplog.messages == [f"hf://anna/wave is now {pinned}"]

    repository.commit({"wave.safetensors": SCREAM.read_bytes()})
    assert find_style("hf://anna/wave") == first, "within a process, it stays"
    forget()
    assert find_style("hf://anna/wave").read_bytes() == SCREAM.read_bytes()
    assert find_style(pinned).read_bytes() == WAVE.read_bytes()


def test_a_pinned_file_is_not_asked_for_again(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    pinned = f"hf://anna/wave@{hub.repositories['anna/wave'].names['main']}/wave.safetensors"
    find_style(pinned)
    forget()
    hub.requests.clear()
    find_style(pinned)
    assert (hub.requests, caplog.messages) == ([], [])


def test_a_tag_and_a_file_are_found(hub: Hub) -> None:
    styles = {"a.safetensors": WAVE.read_bytes(), "b/c.safetensors": SCREAM.read_bytes()}
    hub.repositories["anna/both"] = Repository()
    hub.repositories["anna/both"].commit(styles, "v2")
    found = find_style("hf://anna/both@v2/b/c.safetensors")
    assert found.read_bytes() == SCREAM.read_bytes()
    assert "name one, as hf://anna/both@v2/a.safetensors" in refusal("hf://anna/both@v2")
    assert "a.safetensors, b/c.safetensors" in refusal("hf://anna/both@v2/x.safetensors")


def test_blends_and_files_take_addresses(hub: Hub) -> None:
    blend = {"hf://anna/wave": 0.6, "the-scream": 1.0}
    assert parse_blend("hf://anna/wave:0.6,the-scream") == blend
    assert parse_blend("the-scream, hf://anna/wave") == {"the-scream": 1, "hf://anna/wave": 1}
    (file,) = style_files(("hf://anna/wave",), None)
    assert file.name == "wave.safetensors", "what names the pictures of several styles"


def test_a_private_style_needs_its_owners_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["anna/wave"].private = True
    assert "is private: check its owner and name, or log in" in refusal("hf://anna/wave")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    forget()
    assert find_style("hf://anna/wave").is_file()


def test_what_is_not_there_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["anna/empty"] = Repository()
    hub.repositories["anna/empty"].commit({"model.bin": b"pickle"})
    assert "hf://anna/none is not on the hub" in refusal("hf://anna/none")
    assert "no such revision" in refusal("hf://anna/wave@v9")
    assert "no .safetensors file" in refusal("hf://anna/empty")
    assert "is no .safetensors" in refusal("hf://anna/empty/model.bin")
    assert fetched(hub) == []


def test_a_huge_file_is_not_fetched(hub: Hub) -> None:
    hub.sizes["wave.safetensors"] = 3_000_000_000
    assert "wave.safetensors has 3,000 MB" in refusal("hf://anna/wave")
    assert fetched(hub) == []


def test_a_file_that_is_no_style_is_refused(hub: Hub) -> None:
    hub.repositories["anna/wave"].commit({"wave.safetensors": b"\x80\x04pickle"})
    with pytest.raises(UserError, match="not a safetensors file"):
        read_style("hf://anna/wave")


# --- offline ---


def test_where_the_hub_is_down_the_cache_answers(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    path = find_style("hf://anna/wave")
    forget()
    caplog.clear()
    hub.broken = True
    assert find_style("hf://anna/wave") == path
    (note,) = caplog.messages
    assert note.startswith("the hub cannot be reached: hf://anna/wave is, from the cache, hf://")
    assert hub.repositories["anna/wave"].names["main"] in note
    assert "was never fetched" in refusal("hf://anna/other")


def command(hub: Hub, home: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "fast_style.cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(home)} | environment,
    )
    return done.returncode, done.stderr


def test_the_command_line_paints_online_and_then_offline(hub: Hub, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    words = ["stylize", str(PHOTOS / "chelsea.jpg"), "--size", "64", "-o", str(out), "--style"]
    code, said = command(hub, home, *words, "hf://anna/wave", HF_HUB_OFFLINE="1")
    assert code == 2
    assert "was never fetched, and the hub cannot be reached" in said
    assert len(said.splitlines()) == 1
    code, said = command(hub, home, *words, "hf://anna/wave", "--style", "the-scream")
    assert (code, len(said.splitlines())) == (0, 1)
    assert sorted(path.name for path in out.iterdir()) == [
        "chelsea-the-scream.jpg",
        "chelsea-wave.jpg",
    ]
    hub.requests.clear()
    code, said = command(hub, home, *words, "hf://anna/wave", HF_HUB_OFFLINE="1")
    assert code == 0
    assert "from the cache" in said
    assert hub.requests == []


# --- pushing ---


@pytest.fixture
def anna(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, with anna logged in."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style of one's own, small and untrained, without a recipe."""
    path = tmp_path_factory.mktemp("runs") / "mine.safetensors"
    save_style(TrainedStyle(ImageTransformer((4, 8, 8), 1), "mine"), path)
    return path


def front_matter(card: bytes) -> dict[str, object]:
    read: dict[str, object] = yaml.safe_load(card.decode().split("---\n")[1])
    return read


def test_a_pushed_style_comes_back_the_same_with_a_card(anna: Hub, tmp_path: Path) -> None:
    result = run("push", "the-scream", "anna/scream", "--yes", "--license", "cc0-1.0")
    assert result.exit_code == 0, result.output
    repository = anna.repositories["anna/scream"]
    files = repository.commits[repository.names["main"]]
    assert set(files) == {
        ".gitattributes",
        "README.md",
        "the-scream.safetensors",
        "pictures/photos.jpg",
        "pictures/painting.jpg",
    }
    assert files["pictures/painting.jpg"] == (PAINTINGS / "the-scream.jpg").read_bytes()
    assert not repository.private
    address = result.stdout.splitlines()[-2]
    assert address == f"hf://anna/scream@{repository.names['main']}/the-scream.safetensors"
    assert find_style(address).read_bytes() == SCREAM.read_bytes()

    card = files["README.md"].decode()
    front = front_matter(files["README.md"])
    assert front["license"] == "cc0-1.0"
    assert front["pipeline_tag"] == "image-to-image"
    assert front["library_name"] == "fast-style"
    with safe_open(SCREAM, framework="numpy") as file:  # not by our reader
        losses = json.loads(file.metadata()["losses"])
    assert f"| {losses['step']:,.0f} |" in card
    assert f"{losses['val/style']:.3g}" in card
    assert "--style hf://anna/scream" in card
    for picture in ("pictures/photos.jpg", "pictures/painting.jpg"):
        assert f"]({picture})" in card
    (tmp_path / "photos.jpg").write_bytes(files["pictures/photos.jpg"])
    with Image.open(tmp_path / "photos.jpg") as shown:
        assert shown.width > 1000


def test_a_style_of_ones_own_shows_no_painting_and_no_licence(anna: Hub, mine: Path) -> None:
    result = run("push", mine, "anna/mine", "--private")
    assert result.exit_code == 0, result.output
    assert "names no licence" in result.stdout
    repository = anna.repositories["anna/mine"]
    files = repository.commits[repository.names["main"]]
    assert repository.private
    assert "pictures/painting.jpg" not in files
    assert "license" not in front_matter(files["README.md"])
    card = files["README.md"].decode()
    assert "## Training" not in card
    assert "Losses" not in card


def test_nothing_is_replaced_unasked(anna: Hub, mine: Path) -> None:
    repository = anna.repositories["anna/mine"] = Repository()
    theirs = {"README.md": b"mine", "mine.safetensors": mine.read_bytes(), "notes.txt": b"notes"}
    before = repository.commit(theirs)
    sentence = refused(run("push", mine, "anna/mine", "--yes"), "README.md", "--overwrite")
    assert "mine.safetensors" not in sentence, "its content is the same"
    assert repository.names["main"] == before
    assert run("push", mine, "anna/mine", "--yes", "--overwrite").exit_code == 0
    files = repository.commits[repository.names["main"]]
    assert front_matter(files["README.md"])["library_name"] == "fast-style"
    assert files["notes.txt"] == b"notes", "other files stay"
    now = repository.names["main"]
    assert run("push", mine, "anna/mine", "--yes").exit_code == 0
    assert repository.names["main"] == now, "the same again is no new commit"


def ask(answer: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["push", *map(str, arguments)], input=answer)


def test_a_public_push_is_asked_for(anna: Hub, mine: Path) -> None:
    for answer in ("n\n", ""):
        declined = ask(answer, mine, "anna/new")
        assert declined.exit_code == 2
        assert "nothing was pushed" in declined.stderr
        assert "anna/new" not in anna.repositories
    assert ask("y\n", mine, "anna/new").exit_code == 0
    assert not anna.repositories["anna/new"].private


def test_a_public_repository_does_not_become_private(anna: Hub) -> None:
    refused(run("push", "wave", "anna/wave", "--private"), "is public")


def test_a_small_style_is_pushed_by_its_name(anna: Hub) -> None:
    result = run("push", "small/wave", "anna/small", "--private")
    assert result.exit_code == 0, result.output
    repository = anna.repositories["anna/small"]
    files = repository.commits[repository.names["main"]]
    assert "small-wave.safetensors" in files
    assert files["pictures/painting.jpg"] == (PAINTINGS / "wave.jpg").read_bytes()
    assert b"\n# small-wave\n" in files["README.md"]


def test_a_style_is_looked_for_before_a_login(hub: Hub) -> None:
    sentence = refused(run("push", "no-such-style", "anna/new"), "no-such-style")
    assert "log" not in sentence
    assert hub.requests == []


def test_pushing_needs_a_login(hub: Hub, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run("push", mine, "anna/new", "--yes"), "hf auth login")
    monkeypatch.setenv("HF_TOKEN", "expired")
    push = run("push", mine, "anna/new", "--yes")
    assert push.exit_code == 2
    assert "hf auth login" in push.stderr
    assert "anna/new" not in hub.repositories


def test_what_the_hub_refuses_is_told(anna: Hub, mine: Path) -> None:
    refused(run("push", mine, "bert/wave", "--yes"), "rights")
    refused(run("push", mine, "anna", "--yes"), "owner/name")
    refused(run("push", "no-such-style", "anna/x", "--yes"), "no-such-style")
    refused(run("push", mine, "anna/x", "--yes", "--license", "a: b"), "licence")
    refused(run("push", mine, "anna/x", "--yes", "--license", "no-such-licence"), "license")
    assert set(anna.repositories) == {"anna/wave"}, "not even empty ones are left"
    anna.broken = True
    refused(run("push", mine, "anna/x", "--yes"), "anna/x", "try again")


def test_git_names_are_those_of_git(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    named = subprocess.check_output(["git", "hash-object", str(tmp_path / "file")], text=True)
    assert git_name(b"content") == named.strip()
