"""Trained networks come back from files as they were, and a stranger's file can do no harm."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fast_style.checkpoint import (
    TrainedStyle,
    find_style,
    load_style,
    read_style,
    save_style,
    shipped_styles,
    small_styles,
    style_name,
)
from fast_style.errors import UserError
from fast_style.networks.transformer import ImageTransformer


@pytest.fixture
def style() -> TrainedStyle:
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=1)
    recipe = {"seed": 3, "style": {"name": "wave", "image": "wäve.jpg"}, "data": {"dir": None}}
    return TrainedStyle(network, "wave", recipe, {"val/total": 1.25, "step": 100})


@pytest.fixture
def saved(style: TrainedStyle, tmp_path: Path) -> Path:
    path = tmp_path / "wave.safetensors"
    save_style(style, path)
    return path


def rewrite(path: Path, drop: str | None = None, **metadata: str) -> None:
    """Change a saved style's metadata."""
    with safe_open(path, framework="pt") as file:
        changed = {**file.metadata(), **metadata}
    changed.pop(drop or "", None)
    save_file(load_file(path), path, changed)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let files grow no further than ``limit`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_round_trip(style: TrainedStyle, saved: Path) -> None:
    loaded = load_style(saved)
    assert loaded.name == "wave"
    assert loaded.recipe == style.recipe
    assert loaded.losses == style.losses
    assert loaded.network.config == style.network.config
    expected = style.network.state_dict()
    found = loaded.network.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, expected[name], rtol=2**-11, atol=1e-7)


def test_the_loaded_network_stylizes_as_the_saved_one(style: TrainedStyle, saved: Path) -> None:
    photos = torch.rand(2, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    loaded = load_style(str(saved)).network
    assert not loaded.training
    with torch.no_grad():
        difference = (loaded(photos) - style.network(photos)).abs().max()
    assert difference < 0.5 / 255  # no pixel moves by a visible amount


def test_loading_and_saving_again_gives_the_same_file(saved: Path, tmp_path: Path) -> None:
    save_style(load_style(saved), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_the_file_is_plain_safetensors_in_half_precision(saved: Path) -> None:
    assert {tensor.dtype for tensor in load_file(saved).values()} == {torch.float16}
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "fast_style/1"
    assert metadata["name"] == "wave"
    assert json.loads(metadata["network"]) == {
        "widths": [4, 8, 8], "residual_blocks": 1, "adjustable": False,
    }  # fmt: skip
    assert json.loads(metadata["recipe"])["style"]["image"] == "wäve.jpg"


def test_loaded_networks_can_be_trained_on(saved: Path) -> None:
    network = load_style(saved).network
    network(torch.rand(1, 3, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


# --- writing ---


def transposed(x: Tensor) -> Tensor:
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def sliced(x: Tensor) -> Tensor:
    wide = x.new_zeros(2 * len(x), *x.shape[1:])
    wide[::2] = x
    return wide[::2]


def part_of_a_larger_one(x: Tensor) -> Tensor:
    larger = x.new_ones(*(side + 2 for side in x.shape))
    inside = (slice(1, -1),) * x.ndim
    larger[inside] = x
    return larger[inside]


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


@pytest.mark.parametrize("layout", [channels_last, transposed, sliced, part_of_a_larger_one])
def test_a_network_of_any_memory_layout_is_saved_as_it_is(
    style: TrainedStyle, saved: Path, tmp_path: Path, layout: Callable[[Tensor], Tensor]
) -> None:
    for parameter in style.network.parameters():
        parameter.data = layout(parameter.data)
    assert not style.network.get_parameter("encoder.0.0.weight").is_contiguous()
    save_style(style, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_folders_are_made_and_nothing_else_is_left(style: TrainedStyle, tmp_path: Path) -> None:
    save_style(style, tmp_path / "a" / "b" / "wave.safetensors")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["wave.safetensors"]


def test_a_failed_write_leaves_the_old_file(style: TrainedStyle, saved: Path) -> None:
    before = saved.read_bytes()
    style.name = "another"
    with full_disk(len(before) // 2), pytest.raises(UserError, match="cannot be written") as caught:
        save_style(style, saved)
    assert str(saved) in str(caught.value)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("value", [1e5, float("nan")])  # half precision ends at 65,504
def test_a_network_that_diverged_replaces_nothing(
    style: TrainedStyle, saved: Path, value: float
) -> None:
    before = saved.read_bytes()
    with torch.no_grad():
        dict(style.network.named_parameters())["encoder.0.0.weight"][0, 0, 0, 0] = value
    with pytest.raises(UserError, match=r"diverged.*encoder.0.0.weight.*optimizer\.lr"):
        save_style(style, saved)
    assert saved.read_bytes() == before


def test_a_file_of_no_numbers_is_refused(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(saved)
    tensors["to_rgb.bias"][1] = float("inf")
    save_file(tensors, saved, metadata)
    with pytest.raises(UserError, match=r"wave.*to_rgb\.bias.*train it again"):
        load_style(saved)


def test_a_write_replaces_the_old_file_in_one_go(style: TrainedStyle, saved: Path) -> None:
    before = saved.read_bytes()
    with saved.open("rb") as reader:  # a reader has it open
        style.name = "another"
        save_style(style, saved)
        assert reader.read() == before
    assert load_style(saved).name == "another"


def test_a_folder_is_in_the_way(style: TrainedStyle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        save_style(style, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_where_the_folder_should_be(style: TrainedStyle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "wave.safetensors", tmp_path / "file" / "a" / "b.safetensors"):
        with pytest.raises(UserError, match="cannot be written"):
            save_style(style, path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_may_be_read_by_whom_the_umask_allows(style: TrainedStyle, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_style(style, tmp_path / "wave.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "wave.safetensors").stat().st_mode & 0o777 == 0o644


# --- finding ---


def test_an_unknown_name_lists_the_shipped_styles() -> None:
    with pytest.raises(UserError, match="style 'no-such-style' is neither") as caught:
        load_style("no-such-style")
    for name in [*shipped_styles(), *small_styles()]:
        assert name in str(caught.value)


def test_shipped_styles_are_found_and_load() -> None:
    for name in shipped_styles():
        assert find_style(name).name == f"{name}.safetensors"
        loaded = load_style(name)
        assert loaded.name == name
        with torch.no_grad():
            stylized = loaded.network(torch.rand(1, 3, 32, 32))
        assert stylized.isfinite().all()


def test_small_styles_are_found_beside_the_others_and_half_as_wide() -> None:
    assert len(small_styles()) >= 2
    for name in small_styles():
        folder, full = name.split("/")
        assert folder == "small"
        assert full in shipped_styles()
        assert find_style(name) == find_style(full).parent / "small" / f"{full}.safetensors"
        small, wide = read_style(name), read_style(full)
        assert small.config == wide.config | {"widths": [w // 2 for w in wide.config["widths"]]}
        assert small.recipe["style"] == wide.recipe["style"]
        assert find_style(name).stat().st_size < 1_000_000


def test_a_small_style_has_a_name_of_its_own(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_style("wave").name == "wave"
    for style in ("small/wave", "small-wave", find_style("small/wave")):
        assert read_style(style).name == load_style(style).name == "small-wave"
        assert style_name(find_style(style)) == "small-wave"
    monkeypatch.chdir(find_style("wave").parent / "small")
    assert style_name(Path("wave.safetensors")) == "small-wave"
    (tmp_path / "small").mkdir()
    own = saved.rename(tmp_path / "small" / saved.name)
    assert style_name(own) == read_style(own).name == "wave"


def test_a_file_is_found_by_its_path(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (saved, str(saved), "wave.safetensors", "~/wave.safetensors"):
        assert find_style(name).resolve() == saved.resolve()


@pytest.mark.parametrize("name", ["", ".", "absent.safetensors", "..", "a\0b"])
def test_names_that_are_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="neither a file nor a shipped style"):
        load_style(name)


# --- files that are no styles ---


@pytest.mark.parametrize(
    "content",
    [b"", b"these are no weights\n", b"<!DOCTYPE html>", bytes(4096), b"\xff" * 64,
     b"\x08\0\0\0\0\0\0\0notjson!", b"\x02\0\0\0\0\0\0\0[]", b"PK\x03\x04" + bytes(60)],
)  # fmt: skip
def test_files_that_are_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wave.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a safetensors file") as caught:
        load_style(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_off_file(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(UserError, match="is not a safetensors file"):
        load_style(saved)


@pytest.mark.parametrize("as_torch", [True, False])
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pth"])
def test_nothing_is_executed(
    tmp_path: Path, bomb: Callable[[Path, bool], Path], suffix: str, as_torch: bool
) -> None:
    path = tmp_path / f"style{suffix}"
    target = bomb(path, as_torch)
    with pytest.raises(UserError, match="is not a safetensors file"):
        load_style(path)
    assert not target.exists()


def test_a_flipped_byte_is_noticed(saved: Path) -> None:
    """A change in a weight, in the recipe or in the checksum is noticed. Only the checksum's key is
    not covered: a file without it counts as an old one."""
    content = saved.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    name = content.index(b'"sha256"')
    rng = np.random.default_rng(0)
    places = [*rng.integers(0, header, 150), *rng.integers(header, len(content), 150)]
    for place in map(int, places):
        if name <= place < name + len(b'"sha256"'):
            continue
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(UserError, match=str(saved)):
            load_style(saved)
    saved.write_bytes(content)
    assert load_style(saved).name == "wave"


def test_a_weight_that_changed_is_told(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(UserError, match=r"was damaged after it was written.*copy it again"):
        load_style(saved)


def test_a_file_without_a_checksum_loads(style: TrainedStyle, saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        assert len(file.metadata()["sha256"]) == 64
    rewrite(saved, drop="sha256")
    assert load_style(saved).recipe == style.recipe


@pytest.mark.parametrize("name", ["painting.jpg", "painting"])
def test_a_painting_is_no_style(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / name, format="JPEG")
    with pytest.raises(UserError, match=r"is a picture.*fast-style train style=.*fast-style optim"):
        load_style(tmp_path / name)


def test_an_address_is_no_style() -> None:
    with pytest.raises(UserError, match=r"'https://a\.org/b\.safetensors' is an address.*download"):
        load_style("https://a.org/b.safetensors")


def test_a_lightning_checkpoint_is_told_apart(tmp_path: Path) -> None:
    torch.save({"state_dict": ImageTransformer((4, 8, 8), 1).state_dict()}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt is not a safetensors.*only resumes training"):
        load_style(tmp_path / "last.ckpt")


def test_safetensors_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"other\.safetensors is not a fast_style checkpoint"):
        load_style(path)
    save_file({"weight": torch.zeros(3)}, path, {"format": "fast_style/99"})
    with pytest.raises(UserError, match="of format fast_style/1"):
        load_style(path)


@pytest.mark.parametrize("widths", [[4, 8, 16], [8, 8, 8], [4, 4, 8]])
def test_metadata_that_contradicts_the_tensors(saved: Path, widths: list[int]) -> None:
    rewrite(saved, network=json.dumps({"widths": widths, "residual_blocks": 1}))
    with pytest.raises(UserError, match=r"does not hold the network that it names: tensor '"):
        load_style(saved)


def test_a_missing_tensor(saved: Path) -> None:
    rewrite(saved, network=json.dumps({"widths": [4, 8, 8], "residual_blocks": 2}))
    with pytest.raises(UserError, match=r"tensor 'residuals\.1\..* is missing"):
        load_style(saved)


@pytest.mark.parametrize(
    "network",
    [
        {"widths": [10**9, 10**9, 10**9], "residual_blocks": 5},
        {"widths": [4096, 4096, 4097], "residual_blocks": 1},
        {"widths": [4, 8, 8], "residual_blocks": 10**7},
        {"widths": [4, 8, 8], "residual_blocks": -1},
        {"widths": [4, 8, -8], "residual_blocks": 1},
        {"widths": [4, 8, 0], "residual_blocks": 1},
        {"widths": [4, 8], "residual_blocks": 1},
        {"widths": [4] * 10_000, "residual_blocks": 1},
        {"widths": [4, 8, float("inf")], "residual_blocks": 1},
        {"widths": [4, 8, float("nan")], "residual_blocks": 1},
        {"widths": [4, 8, 8], "residual_blocks": float("inf")},
        {"widths": "488", "residual_blocks": [1]},
        {"widths": None, "residual_blocks": 1},
        {"widths": [4, 8, [8]], "residual_blocks": 1},
        {"widths": [4, 8, 8]},
        {},
        [],
        None,
        3,
        "johnson",
    ],
)
def test_metadata_naming_an_impossible_network(saved: Path, network: Any) -> None:
    rewrite(saved, network=json.dumps(network))
    with pytest.raises(UserError, match="names an impossible network") as caught:
        load_style(saved)
    assert len(str(caught.value)) < 1000


def test_a_large_network_is_refused_without_being_built(saved: Path) -> None:
    # 256 blocks of 4096 channels take 309 GB in float32.
    rewrite(saved, network=json.dumps({"widths": [4096] * 3, "residual_blocks": 256}))
    with pytest.raises(UserError, match="does not hold the network"):
        load_style(saved)


@pytest.mark.parametrize("key", ["network", "recipe", "losses"])
@pytest.mark.parametrize(
    "value",
    ["", "{", "not json", "{'widths': 1}", "\ud7ff", "[" * 50_000],
    ids=["empty", "brace", "text", "quotes", "odd", "deep"],
)
def test_damaged_metadata(saved: Path, key: str, value: str) -> None:
    rewrite(saved, **{key: value})
    with pytest.raises(UserError, match="damaged metadata") as caught:
        load_style(saved)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", ["network", "recipe", "losses"])
def test_missing_metadata(saved: Path, key: str) -> None:
    rewrite(saved, drop=key)
    with pytest.raises(UserError, match=f"damaged metadata .*{key}"):
        load_style(saved)


@pytest.mark.parametrize("key", ["recipe", "losses"])
@pytest.mark.parametrize("value", ["[]", "null", "3", '"text"'])
def test_metadata_of_another_kind(saved: Path, key: str, value: str) -> None:
    rewrite(saved, **{key: value})
    with pytest.raises(UserError, match="damaged metadata"):
        load_style(saved)
