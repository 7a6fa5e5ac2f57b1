"""`fast-style stylize`: outputs, styles and devices that cannot be used."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from command_line import files, noise, refused, run
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fast_style.checkpoint import TrainedStyle, save_style, shipped_styles
from fast_style.images import open_picture
from fast_style.networks.transformer import ImageTransformer


def stylize(*arguments: str | Path) -> Result:
    return run("stylize", *arguments)


# --- outputs ---


def test_a_file_in_place_of_a_folder(tmp_path: Path, style: Path, photo: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("mine")
    refused(stylize(photo, "--style", style, "-o", blocker / "out"), "blocker")
    refused(stylize(photo, "--style", style, "-o", blocker / "out.png"), "blocker")
    refused(stylize(photo, "--style", style, "-o", blocker), "blocker is a file")
    assert blocker.read_text() == "mine"
    assert files(tmp_path) == ["blocker", "photo.jpg"]


def test_several_pictures_to_one_file(tmp_path: Path, style: Path, photo: Path) -> None:
    noise(40, 40).save(tmp_path / "other.png")
    result = stylize(photo, tmp_path / "other.png", "--style", style, "-o", tmp_path / "all.jpg")
    refused(result, "all.jpg", "folder")
    assert files(tmp_path) == ["other.png", "photo.jpg"]


@pytest.mark.parametrize("name", ["x.txt", "x.PSD", "x.zip", "x.jpgg"])
def test_one_picture_to_a_format_that_is_not_written(
    tmp_path: Path, style: Path, photo: Path, name: str
) -> None:
    refused(stylize(photo, "--style", style, "-o", tmp_path / name), name, "let it end in")
    assert files(tmp_path) == ["photo.jpg"]


def test_one_film_to_a_format_that_is_not_written(tmp_path: Path, style: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a film")
    refused(stylize(tmp_path / "a.mp4", "--style", style, "-o", tmp_path / "x.txt"), ".mp4", ".mkv")
    assert files(tmp_path) == ["a.mp4"]


def test_folders_with_dots_in_their_names(tmp_path: Path, style: Path, photo: Path) -> None:
    (tmp_path / "x.txt").mkdir()
    for name in ("x.txt", "out-1.5", "1.11.2026", "my.pictures"):
        assert stylize(photo, "--style", style, "-o", tmp_path / name).exit_code == 0
        assert files(tmp_path / name) == ["photo.jpg"]
    # Where several files are written, it can only be a folder.
    assert stylize(tmp_path, "--style", style, "-o", tmp_path / "y.txt").exit_code == 0
    assert (tmp_path / "y.txt" / "photo.jpg").is_file()


def test_pictures_are_never_replaced_by_their_stylized_versions(
    tmp_path: Path, style: Path, photo: Path
) -> None:
    before = photo.read_bytes()
    noise(40, 40).save(tmp_path / "elsewhere.png")
    (tmp_path / "in").mkdir()
    other = tmp_path / "in" / "other.png"
    noise(40, 40).save(other)
    refused(stylize(photo, other, "--style", style, "-o", tmp_path), "photo.jpg")
    assert photo.read_bytes() == before
    assert (tmp_path / "other.png").exists()


@pytest.mark.parametrize("where", ["picture", "out", "style"])
def test_names_that_are_too_long(tmp_path: Path, style: Path, photo: Path, where: str) -> None:
    name = "a" * 300
    given: dict[str, str | Path] = {"picture": photo, "out": tmp_path / "out", "style": style}
    given[where] = tmp_path / f"{name}.jpg"
    result = stylize(given["picture"], "--style", given["style"], "-o", given["out"])
    refused(result, name)


def test_a_size_at_which_a_side_is_too_short(tmp_path: Path, style: Path, photo: Path) -> None:
    result = stylize(photo, "--style", style, "--size", "16", "-o", tmp_path / "out")
    refused(result, f"{photo}: a picture of 16 x 12 px is too small", "make it larger with --size")
    assert not (tmp_path / "out").exists()


def test_earlier_outputs_are_replaced_in_one_step(tmp_path: Path, style: Path, photo: Path) -> None:
    out, kept = tmp_path / "out" / "photo.jpg", tmp_path / "kept.jpg"
    assert stylize(photo, "--style", style, "-o", out.parent).exit_code == 0
    first = out.read_bytes()
    os.link(out, kept)  # writing into the old file would change this one too
    noise(90, 70).save(photo)
    assert stylize(photo, "--style", style, "-o", out.parent).exit_code == 0
    assert open_picture(out).size == (90, 70)
    assert kept.read_bytes() == first
    assert files(out.parent) == ["photo.jpg"]


def test_a_failure_keeps_the_earlier_output(tmp_path: Path, style: Path, photo: Path) -> None:
    out = tmp_path / "out"
    assert stylize(photo, "--style", style, "-o", out).exit_code == 0
    first = (out / "photo.jpg").read_bytes()
    photo.write_text("this is not a picture\n")
    refused(stylize(photo, "--style", style, "-o", out), "photo.jpg")
    assert (out / "photo.jpg").read_bytes() == first
    assert files(out) == ["photo.jpg"]


def test_a_second_run_does_not_stylize_the_results_of_the_first(
    tmp_path: Path, style: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert stylize(".", "--style", style).exit_code == 0
        assert files(tmp_path) == ["photo.jpg", "stylized/photo.jpg"]


# --- styles and devices ---


def refused_style(tmp_path: Path, photo: Path, style: str | Path, *names: str) -> str:
    result = stylize(photo, photo, "--style", style, "-o", tmp_path / "out")
    sentence = refused(result, str(style), *names)
    assert not (tmp_path / "out").exists()
    return sentence


def test_a_style_that_is_text(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "notes.safetensors").write_text("this is not a network\n" * 20)
    refused_style(tmp_path, photo, tmp_path / "notes.safetensors", "safetensors")


def test_a_style_that_is_empty(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "empty.safetensors").touch()
    refused_style(tmp_path, photo, tmp_path / "empty.safetensors", "safetensors")


@pytest.mark.parametrize("as_torch", [True, False])
def test_a_style_is_never_unpickled(
    tmp_path: Path, photo: Path, bomb: Callable[[Path, bool], Path], as_torch: bool
) -> None:
    path = tmp_path / "style.safetensors"
    executed = bomb(path, as_torch)
    refused_style(tmp_path, photo, path)
    assert not executed.exists()


def test_a_training_checkpoint_as_style(tmp_path: Path, photo: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": ImageTransformer((4, 8, 8), 1).state_dict()}, path)
    refused_style(tmp_path, photo, path, ".ckpt only resumes training")


def test_a_style_whose_tensors_have_other_shapes_than_it_says(
    tmp_path: Path, photo: Path, style: Path
) -> None:
    other = tmp_path / "other.safetensors"
    save_style(TrainedStyle(ImageTransformer((4, 8, 16), 1), "other"), other)
    with safe_open(style, "pt") as file:
        metadata = file.metadata()
    mixed = tmp_path / "mixed.safetensors"
    save_file(load_file(other), mixed, metadata)
    refused_style(tmp_path, photo, mixed, "does not hold the network")


def test_tensors_of_another_program_as_style(tmp_path: Path, photo: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    refused_style(tmp_path, photo, path, "not a fast_style checkpoint")


@pytest.mark.parametrize("name", ["starry-knight", "", ".", "nowhere/style.safetensors"])
def test_unknown_styles(tmp_path: Path, photo: Path, name: str) -> None:
    sentence = refused_style(tmp_path, photo, name, f"'{name}'", "neither a file nor a shipped")
    for shipped in shipped_styles():
        assert shipped in sentence


@pytest.mark.parametrize("device", ["nonsense", "meta", "hpu"])
def test_unknown_devices(tmp_path: Path, style: Path, photo: Path, device: str) -> None:
    result = stylize(photo, "--style", style, "-o", tmp_path / "out", "--device", device)
    refused(result, f"'{device}'", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu(tmp_path: Path, style: Path, photo: Path) -> None:
    result = stylize(photo, "--style", style, "-o", tmp_path / "out", "--device", "cuda")
    refused(result, "'cuda'", "cpu")
