"""`fast-style export` and the files that it writes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from command_line import complaints, files, refused, run
from PIL import Image

from fast_style import Stylizer
from fast_style.checkpoint import TrainedStyle, save_style
from fast_style.networks.transformer import ImageTransformer


@pytest.fixture(scope="module")
def adjustable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), 0, adjustable=True)
    for parameter in network.parameters():
        if parameter.ndim == 1:  # norms that change nothing would hide a mistake
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    path = tmp_path_factory.mktemp("style") / "adjustable.safetensors"
    save_style(TrainedStyle(network, "adjustable"), path)
    return path


def documented(words: str) -> dict[str, Any]:
    """Run the example of docs/export.md that holds these words, and return its variables."""
    page = (Path(__file__).parent.parent / "docs" / "export.md").read_text()
    (example,) = (
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if words in block
    )
    variables: dict[str, Any] = {}
    exec(example, variables)
    return variables


def test_the_documented_lines_paint_our_picture(
    adjustable: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("export", adjustable, "--onnx", tmp_path / "wave.onnx")
    monkeypatch.chdir(tmp_path)
    documented("onnxruntime")
    ours = Stylizer(adjustable, "cpu", "float32")(Image.open(photo))
    difference = np.abs(np.asarray(Image.open("wave.png"), int) - np.asarray(ours, int))
    assert difference.max() <= 1


def test_an_onnx_file(style: Path, tmp_path: Path) -> None:
    result = run("export", style, "--onnx", tmp_path / "new" / "it.onnx")
    assert result.output.strip() == str(tmp_path / "new" / "it.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "new" / "it.onnx")
    assert [(given.name, given.shape) for given in session.get_inputs()] == [
        ("photo", ["N", 3, "H", "W"]),
        ("strength", []),
    ]


def test_several_styles_go_to_a_folder_in_several_precisions(
    style: Path, adjustable: Path, tmp_path: Path
) -> None:
    sizes = []
    for options in ([], ["--half"], ["--int8"]):
        result = run("export", style, adjustable, "--onnx", tmp_path / "out", *options)
        assert result.exit_code == 0
        assert files(tmp_path / "out") == ["adjustable.onnx", "tiny.onnx"]
        sizes.append((tmp_path / "out" / "tiny.onnx").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.slow
def test_a_program_of_torch_export(
    adjustable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("export", adjustable, "--pt2", tmp_path / "it.pt2")
    assert result.exit_code == 0
    (tmp_path / "it.pt2").rename(tmp_path / "wave.pt2")
    monkeypatch.chdir(tmp_path)
    assert documented("torch.export.load")["picture"].shape == (1, 3, 301, 433)
    program = torch.export.load("wave.pt2").module()
    generator = torch.Generator().manual_seed(0)
    for count, height, width, strength in [
        (1, 16, 16, 1.0),
        (1, 17, 18, 0.4),
        (3, 251, 37, 1.0),  # the sides of a tile of the grain
        (2, 30, 257, 0.0),
        (1, 270, 33, 0.7),
    ]:
        photos = torch.rand((count, 3, height, width), generator=generator)
        expected = Stylizer(adjustable, "cpu", "float32", strength=strength)(photos)
        picture = program(photos, torch.tensor(strength))
        torch.testing.assert_close(picture, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_program_of_a_network_that_is_not_adjustable(style: Path, tmp_path: Path) -> None:
    run("export", style, "--pt2", tmp_path)
    program = torch.export.load(tmp_path / "tiny.pt2").module()
    photos = torch.rand(1, 3, 21, 34)
    painted = Stylizer(style, "cpu", "float32")(photos)
    half = program(photos, torch.tensor(0.5))
    torch.testing.assert_close(half, (photos + painted) / 2, rtol=0, atol=1e-5)


def test_wrong_usage_is_refused(style: Path, tmp_path: Path) -> None:
    out = tmp_path / "it.onnx"
    usages: list[tuple[list[str | Path], str]] = [
        ([style], "--onnx"),
        ([style, "--onnx", out, "--pt2", out], "one of"),
        ([style, "--onnx", out, "--half", "--int8"], "--int8"),
        ([style, "--pt2", out, "--half"], "--half"),
    ]
    for given, words in usages:
        result = run("export", *given)
        assert result.exit_code == 2
        assert words in complaints(result)[-1]
    (tmp_path / "it.txt").write_text("kept")
    refused(run("export", style, "--onnx", tmp_path / "it.txt"), "it.txt", ".onnx")
    refused(run("export", style, "wave", "--onnx", out), "it.onnx", "folder")
    refused(run("export", style, style, "--onnx", tmp_path / "out"), "tiny.onnx")
    refused(run("export", "no-such-style", "--onnx", out), "no-such-style")
    assert files(tmp_path) == ["it.txt"]
    assert (tmp_path / "it.txt").read_text() == "kept"


def test_a_small_style_is_written_beside_the_wide_one(tmp_path: Path) -> None:
    result = run("export", "wave", "small/wave", "--onnx", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == ["small-wave.onnx", "wave.onnx"]
    said = onnxruntime.InferenceSession(tmp_path / "out/small-wave.onnx").get_modelmeta()
    assert said.custom_metadata_map["style"] == "small-wave"
    assert "MIT" in said.custom_metadata_map["licence"]


def test_what_is_written_does_not_depend_on_the_run(style: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run("export", style, "--onnx", tmp_path / f"{name}.onnx")
    first, second = (np.fromfile(tmp_path / f"{name}.onnx", np.uint8) for name in ("a", "b"))
    np.testing.assert_array_equal(first, second)
