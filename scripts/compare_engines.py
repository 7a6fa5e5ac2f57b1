"""Compare engines that can run the network of a shipped style on a CPU."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

STYLE = "starry-night"
PYTORCH, OURS = "PyTorch, float32", "OpenVINO, int8 in part, and bf16 (ours)"
ENGINES = [
    PYTORCH,
    "PyTorch, bf16",
    "Inductor, bf16",
    "AOTInductor, bf16",
    "ONNX Runtime, float32",
    "OpenVINO, float32",
    "OpenVINO, bf16",
    "OpenVINO, int8 by NNCF",
    OURS,
]
Engine = Callable[[np.ndarray], np.ndarray]
"""Stylizes one photo, (H, W, 3) uint8."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--width", type=click.IntRange(64), default=1920, show_default=True)
@click.option("--height", type=click.IntRange(64), default=1080, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--task", hidden=True)
def main(width: int, height: int, repeats: int, task: str | None) -> None:
    """Measure engines on a CPU: start, stylizing, memory, and agreement with float32.

    \b
    uv run --with onnx --with onnxscript --with onnxruntime --with nncf \\
        python scripts/compare_engines.py

    Each engine runs twice, each time in a process of its own. `start` is the second run, which
    finds what the first one compiled. `photo` and `drawing` are PSNR in dB against PyTorch in
    float32. Close other programs first.
    """
    if task is not None:
        click.echo(json.dumps(asdict(_run(**json.loads(task)))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for engine in tqdm(ENGINES, leave=False, disable=None):
            given = {"engine": engine, "size": [width, height], "repeats": repeats}
            command = [sys.executable, __file__, "--task", json.dumps({**given, "folder": folder})]
            results = []
            for _ in range(2):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    click.echo(f"{engine} left out: {done.stderr.strip().splitlines()[-1]}")
                    break
                results.append(Measured(**json.loads(done.stdout.splitlines()[-1])))
            else:
                first, second = results
                rows.append(
                    f"| {engine} | {first.start:.1f} | {second.start:.1f} "
                    f"| {second.seconds:.2f} | {second.peak / 1e9:.2f} "
                    f"| {second.photo:.0f} | {second.drawing:.0f} |"
                )
    click.echo(f"{STYLE} at {width} x {height} px")
    click.echo(
        "| engine | first start, s | start, s | picture, s | peak, GB | photo, dB | drawing, dB |"
    )
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    click.echo("\n".join(rows))


@dataclass(frozen=True)
class Measured:
    """One run of an engine.

    Args:
        start: seconds until the first picture, loading included.
        seconds: for a later picture.
        peak: bytes of memory of the process.
        photo: PSNR in dB of a photo against PyTorch in float32.
        drawing: PSNR in dB of a line drawing.
    """

    start: float
    seconds: float
    peak: int
    photo: float
    drawing: float


def _run(engine: str, size: list[int], repeats: int, folder: str) -> Measured:
    """Measure an engine. PyTorch in float32 must run first, as its pictures are the reference."""
    width, height = size
    pictures = {"photo": _photos(width, height)[0], "drawing": _drawing(width, height)}
    started = time.perf_counter()
    stylize = _engine(engine, width, height, Path(folder))
    stylized = {"photo": stylize(pictures["photo"])}
    start = time.perf_counter() - started
    stylized["drawing"] = stylize(pictures["drawing"])
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        stylize(pictures["photo"])
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    psnr = {}
    for name, picture in stylized.items():
        reference = Path(folder) / f"{name}.npy"
        if engine == PYTORCH:
            np.save(reference, picture)
        mse = np.square(picture.astype(np.float64) - np.load(reference)).mean() / 255**2
        psnr[name] = float(-10 * np.log10(max(mse, 1e-12)))
    return Measured(start, statistics.median(seconds), peak, psnr["photo"], psnr["drawing"])


def _photos(width: int, height: int) -> list[np.ndarray]:
    from fast_style.bundled import PHOTOS
    from fast_style.images import find_pictures, open_picture

    return [np.array(open_picture(path).resize((width, height))) for path in find_pictures(PHOTOS)]


def _drawing(width: int, height: int) -> np.ndarray:
    """A few lines on white, whose values lie near the mean with rare outliers: hard for int8."""
    drawing = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(drawing)
    pen.ellipse((width // 4, height // 4, width // 2, height // 2), outline="black", width=3)
    pen.line((0, height - 1, width - 1, height // 3), fill=(200, 30, 30), width=2)
    return np.array(drawing)


def _engine(engine: str, width: int, height: int, folder: Path) -> Engine:
    if engine.startswith("OpenVINO"):
        return _openvino(engine, width, height, folder)
    if engine.startswith("ONNX"):
        return _onnx_runtime(width, height, folder)
    return _pytorch(engine, width, height, folder)


def _openvino(engine: str, width: int, height: int, folder: Path) -> Engine:
    from fast_style.checkpoint import read_style
    from fast_style.stylizing.openvino import CompiledTransformer, build_graph

    weights = read_style(STYLE).at_strength(1.0).weights
    if engine in (OURS, "OpenVINO, float32"):
        return CompiledTransformer(weights, exactly=engine != OURS)
    import openvino

    core = openvino.Core()
    graph: Any = build_graph(weights, height, width, np.dtype(np.uint8))
    if engine.endswith("NNCF"):
        quantized = folder / "quantized.xml"
        if not quantized.exists():
            import nncf

            photos = nncf.Dataset([photo[np.newaxis] for photo in _photos(width, height)])
            openvino.save_model(nncf.quantize(graph, photos), quantized, compress_to_fp16=False)
        graph = quantized
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"}
    model = core.compile_model(graph, "CPU", hints)

    def stylize(photo: np.ndarray) -> np.ndarray:
        assert core  # must outlive the model
        return np.array(model([photo[np.newaxis]])[0][0])

    return stylize


def _onnx_runtime(width: int, height: int, folder: Path) -> Engine:
    import onnxruntime

    path = folder / "network.onnx"
    if not path.exists():
        import torch

        from fast_style.checkpoint import load_style

        network = load_style(STYLE).network.eval()
        torch.onnx.export(network, (torch.rand(1, 3, height, width),), path, input_names=["photo"])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def stylize(photo: np.ndarray) -> np.ndarray:
        given = np.ascontiguousarray(photo.transpose(2, 0, 1)[np.newaxis], np.float32) / 255
        [stylized] = session.run(None, {"photo": given})
        return (stylized[0] * 255).round().astype(np.uint8).transpose(1, 2, 0)

    return stylize


def _pytorch(engine: str, width: int, height: int, folder: Path) -> Engine:
    import os

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    import torch

    from fast_style.checkpoint import load_style

    bf16 = engine.endswith("bf16")
    dtype = torch.bfloat16 if bf16 else torch.float32
    layout = torch.channels_last if bf16 else torch.contiguous_format
    network: Any = load_style(STYLE).network.eval().requires_grad_(False)
    network = network.to(dtype, memory_format=layout)
    example = torch.rand(1, 3, height, width).to(dtype, memory_format=layout)
    if engine.startswith("Inductor"):
        network = torch.compile(network)
    elif engine.startswith("AOTInductor"):
        package = folder / "network.pt2"
        if not package.exists():
            exported = torch.export.export(network, (example,))
            torch._inductor.aoti_compile_and_package(exported, package_path=str(package))
        network = torch._inductor.aoti_load_package(str(package))

    @torch.no_grad()
    def stylize(photo: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(photo).permute(2, 0, 1)[None].to(dtype, memory_format=layout)
        stylized = network(given / 255)[0].float().mul(255).round().to(torch.uint8)
        return np.ascontiguousarray(stylized.permute(1, 2, 0).numpy())

    return stylize


if __name__ == "__main__":
    main()
