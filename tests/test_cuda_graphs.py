"""Recorded functions repeat their work on static buffers, and callers keep their results."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from emulated_graphs import EmulatedRecorder
from PIL import Image
from torch import Tensor

from fast_style import Stylizer
from fast_style.bundled import PHOTOS
from fast_style.checkpoint import TrainedStyle, load_style, save_style
from fast_style.images import find_pictures, open_picture, resize_picture, to_tensor
from fast_style.images.grain import with_grain
from fast_style.networks.cuda_graphs import CudaRecorder, GraphCache, Graphed
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.onepass import OnePass, TorchEngine

CPU = torch.device("cpu")


@pytest.fixture
def recorder() -> EmulatedRecorder:
    return EmulatedRecorder()


def test_a_function_warms_up_is_recorded_and_replayed(recorder: EmulatedRecorder) -> None:
    steps = torch.zeros(())

    def body(x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        steps.add_(1)
        return {"product": x * scale}

    graphed = Graphed(body, recorder, warmups=2)
    results = []
    for number in range(5):
        result = graphed(torch.full((3,), float(number)), torch.tensor(2.0))
        assert result["product"].tolist() == [2.0 * number] * 3
        assert steps == number + 1  # exactly once a call, also while it is recorded
        results.append(result["product"].data_ptr())
    assert (recorder.records, recorder.replays) == (1, 3)
    assert len(set(results[2:])) == 1


def test_inputs_may_be_written_in_place(recorder: EmulatedRecorder) -> None:
    graphed = Graphed(lambda x: x + 1, recorder, warmups=0)
    graphed(torch.zeros(2))
    graphed.inputs[0].fill_(4)
    assert graphed(*graphed.inputs).tolist() == [5, 5]


def test_what_a_function_reads_may_change_in_place(recorder: EmulatedRecorder) -> None:
    weight = torch.ones(2)
    graphed = Graphed(lambda x: x * weight, recorder, warmups=1)
    for value in (1.0, 2.0, 3.0):
        weight.fill_(value)
        assert graphed(torch.ones(2)).tolist() == [value, value]


@pytest.mark.parametrize("other", [torch.zeros(1), torch.zeros(2, dtype=torch.float64)])
def test_other_inputs_are_refused(recorder: EmulatedRecorder, other: Tensor) -> None:
    graphed = Graphed(lambda x: x + 1, recorder)
    graphed(torch.zeros(2))
    with pytest.raises(ValueError, match=r"expected torch.float32 \(2,\)"):
        graphed(other)


def test_a_failed_warm_up_does_not_count(recorder: EmulatedRecorder) -> None:
    def body(x: Tensor) -> Tensor:
        if fail:
            raise torch.OutOfMemoryError
        return x + 1

    fail = True
    graphed = Graphed(body, recorder, warmups=1)
    with pytest.raises(torch.OutOfMemoryError):
        graphed(torch.zeros(1))
    fail = False
    assert graphed(torch.zeros(1)).item() == 1
    assert recorder.records == 0


def test_a_shape_is_recorded_when_it_comes_again(recorder: EmulatedRecorder) -> None:
    cache = GraphCache(recorder)
    function = torch.neg
    for count, recorded in ((2, 0), (3, 0), (2, 1), (2, 1), (3, 2), (3, 2)):
        assert cache(function, torch.ones(count)).tolist() == [-1] * count
        assert recorder.records == recorded
    # Another dtype and another function each have their own graph.
    cache(function, torch.ones(2, dtype=torch.float64))
    cache(torch.abs, torch.ones(2))
    assert recorder.records == 2


def test_results_are_the_callers(recorder: EmulatedRecorder) -> None:
    cache = GraphCache(recorder)
    results = [cache(torch.neg, torch.full((2,), float(number))) for number in range(5)]
    assert [result[0].item() for result in results] == [0, -1, -2, -3, -4]
    results[-1].zero_()
    assert cache(torch.neg, torch.ones(2)).tolist() == [-1, -1]


def test_the_shape_used_longest_ago_goes(recorder: EmulatedRecorder) -> None:
    cache = GraphCache(recorder, max_graphs=2)

    def call(count: int) -> int:
        """The number of records so far."""
        assert cache(torch.neg, torch.ones(count)).tolist() == [-1] * count
        return recorder.records

    assert [call(count) for count in (1, 1, 2, 2)] == [0, 1, 1, 2]
    assert call(1) == 2
    assert call(3) == 2  # now 2 is gone
    assert call(1) == 2
    assert [call(2), call(2)] == [2, 3]
    cache.clear()
    assert [call(2), call(2)] == [3, 4]


@pytest.fixture
def style(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = ImageTransformer((4, 8, 8), residual_blocks=1)
    with torch.no_grad():
        network.to_rgb.weight.mul_(4)
    path = tmp_path / "tiny.safetensors"
    save_style(TrainedStyle(network, "tiny"), path)
    return path


def by_graphs(style: Path, recorder: EmulatedRecorder) -> Stylizer:
    """A stylizer that takes the GPU's way, on the CPU."""
    stylizer = Stylizer(style, "cpu", "float32")
    one_pass = OnePass(load_style(style).network, CPU, torch.float32)
    stylizer._one_pass = TorchEngine(one_pass, GraphCache(recorder))
    return stylizer


def pictures(*sizes: tuple[int, int]) -> list[Image.Image]:
    """Crops of photos, no two alike."""
    photos = [resize_picture(open_picture(path), 120) for path in find_pictures(PHOTOS)[:2]]
    return [
        photos[number % 2].crop((number, number, number + width, number + height))
        for number, (width, height) in enumerate(sizes)
    ]


SIZES = [(40, 32), (33, 41), (40, 32), (40, 32), (33, 41), (40, 32), (50, 20), (33, 41)]


def test_pictures_of_several_sizes_by_graphs(style: Path, recorder: EmulatedRecorder) -> None:
    stylizer, plainly = by_graphs(style, recorder), Stylizer(style, "cpu", "float32")
    given = pictures(*SIZES)
    stylized = [stylizer(picture) for picture in given]  # all, before the first is compared
    assert recorder.records == 2
    for picture, found in zip(given, stylized, strict=True):
        expected = np.asarray(plainly(picture), int)
        assert np.abs(np.asarray(found, int) - expected).max() <= 1  # where rounding is a tie
        assert expected.std() > 20


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_tensors_by_graphs(style: Path, recorder: EmulatedRecorder, dtype: torch.dtype) -> None:
    stylizer, plainly = by_graphs(style, recorder), Stylizer(style, "cpu", "float32")
    photos = torch.stack([to_tensor(picture) for picture in pictures(*[(40, 32)] * 12)])
    batches = list(photos.to(dtype).split(3))
    stylized = [stylizer(batch) for batch in batches]
    assert recorder.records == 1
    for batch, found in zip(batches, stylized, strict=True):
        assert found.dtype == dtype
        tolerance = max(1e-5, torch.finfo(dtype).eps)
        torch.testing.assert_close(found, plainly(batch), rtol=0, atol=tolerance)
    stylized[-1].zero_()  # the caller's own, even without a conversion
    torch.testing.assert_close(
        stylizer(batches[0]), plainly(batches[0]), rtol=0, atol=max(1e-5, torch.finfo(dtype).eps)
    )


def test_threads_share_graphs(style: Path, recorder: EmulatedRecorder) -> None:
    stylizer = by_graphs(style, recorder)
    given = pictures(*SIZES[:2] * 2)
    expected = [stylizer(picture).tobytes() for picture in given]
    with ThreadPoolExecutor(4) as pool:
        fetched = list(pool.map(lambda picture: stylizer.begin(picture)(), given * 4))
    assert [picture.tobytes() for picture in fetched] == expected * 4


class Failing(EmulatedRecorder):
    """A recorder that fails."""

    def __init__(self, error: RuntimeError) -> None:
        super().__init__()
        self.error = error

    def record(self, body: Callable[[], Any]) -> Callable[[], Any]:
        self.records += 1
        raise self.error


def test_where_memory_is_short_of_a_graph_there_is_none(
    style: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Failing(torch.OutOfMemoryError())
    stylizer = by_graphs(style, recorder)
    (picture,) = pictures((40, 32))
    stylized = [stylizer(picture).tobytes() for _ in range(3)]
    assert len(set(stylized)) == 1
    assert recorder.records == 1  # the size is forgotten, as if it never came
    assert not caplog.records  # in one pass nevertheless


def test_what_cannot_be_recorded_is_said_and_stylized(
    style: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Failing(RuntimeError("operation not permitted\nwhen a stream is capturing"))
    stylizer = by_graphs(style, recorder)
    (picture,) = pictures((40, 32))
    assert len({stylizer(picture).tobytes() for _ in range(4)}) == 1
    assert recorder.records == 1
    assert caplog.messages == [
        "stylizing goes on without CUDA graphs, slower: operation not permitted"
    ]


def test_large_pictures_have_no_graph(
    style: Path, recorder: EmulatedRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fast_style.stylizing.onepass.MAX_PIXELS_IN_GRAPH", 40 * 32)
    stylizer = by_graphs(style, recorder)
    smaller, larger = pictures((40, 32), (40, 33))
    for _ in range(3):
        stylizer(larger)
    assert recorder.records == 0
    for _ in range(3):
        stylizer(smaller)
    assert recorder.records == 1


def test_the_kernels_derived_once_paint_the_same(style: Path) -> None:
    network, derived = (load_style(style).network for _ in range(2))
    OnePass(derived, CPU, torch.float32)
    photo = to_tensor(pictures((37, 29))[0]).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(derived(photo), network(photo), rtol=0, atol=1e-5)


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * torch.log10((a.double().cpu() - b.double().cpu()).square().mean()).item()


@pytest.mark.gpu
def test_a_gpu_replays_sizes_in_turn() -> None:
    stylizer = Stylizer("starry-night", "cuda")
    network = load_style("starry-night").network
    photo = resize_picture(open_picture(find_pictures(PHOTOS)[0]), 400)
    sizes = [(256, 192), (200, 201), (128, 128), (99, 64), (160, 90)]
    crops = [
        photo.crop((turn, turn, turn + width, turn + height))
        for turn in range(4)
        for width, height in sizes[: 3 + turn % 3]
    ]
    fetches = [stylizer.begin(crop) for crop in crops]  # replays overlap downloads
    engine = stylizer._one_pass
    assert isinstance(engine, TorchEngine)
    assert engine.graphs is not None
    assert engine.graphs._kept
    for crop, fetch in zip(crops, fetches, strict=True):
        found = to_tensor(fetch())
        with torch.no_grad():
            grained = to_tensor(Image.fromarray(with_grain(np.asarray(crop))))
            assert psnr(found, network(grained[None])[0]) > 45
            levels = torch.from_numpy(np.array(crop)).cuda()
            eager = engine.one_pass.levels(levels).permute(2, 0, 1) / 255
        assert psnr(found, eager) > 50


@pytest.mark.gpu
def test_a_gpu_replays_batches() -> None:
    stylizer = Stylizer("starry-night", "cuda")
    exactly = Stylizer("starry-night", "cuda", "float32")
    photos = torch.stack([to_tensor(picture) for picture in pictures(*[(100, 60)] * 8)]).cuda()
    batches = list(photos.split(2))
    stylized = [stylizer(batch) for batch in batches]
    for batch, found in zip(batches, stylized, strict=True):
        assert psnr(found, exactly(batch)) > 45


@pytest.mark.gpu
def test_streams_and_threads_share_a_gpus_graphs() -> None:
    stylizer = Stylizer("starry-night", "cuda")
    photos = [to_tensor(picture)[None].cuda() for picture in pictures(*[(100, 60)] * 12)]
    expected = [stylizer(photo) for photo in photos]
    torch.cuda.synchronize()

    def on_a_stream(photo: Tensor) -> Tensor:
        with torch.cuda.stream(torch.cuda.Stream()):
            stylized = stylizer(photo)
            torch.cuda.current_stream().synchronize()
            return stylized

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(on_a_stream, photos * 4))
    for stylized, wanted in zip(found, expected * 4, strict=True):
        assert psnr(stylized, wanted) > 50


@pytest.mark.gpu
def test_a_gpu_takes_graphs_back_and_records_again() -> None:
    recorder = CudaRecorder(torch.device("cuda"))
    cache = GraphCache(recorder)
    for _ in range(2):
        for number in range(4):
            x = torch.full((1 << 20,), float(number), device="cuda")
            assert cache(torch.neg, x).mean().item() == -number
        cache.clear()
        torch.cuda.empty_cache()
    static = Graphed(torch.neg, recorder, warmups=1)
    first = [static(torch.ones(3, device="cuda")) for _ in range(3)]
    assert first[1].data_ptr() == first[2].data_ptr()
