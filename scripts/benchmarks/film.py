"""How many frames a second go from film to film, and which stage takes the time?"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import click

from benchmarks.meters import describe_machine
from benchmarks.options import device_option, rounds_option
from benchmarks.ours import OURS, bundled_photo, our_stylizer
from benchmarks.processes import run, take_turns
from benchmarks.tables import print_table


@dataclass(frozen=True)
class FilmCost:
    """A stylized film.

    Args:
        frames: number of frames.
        seconds: from file to file, with the first frame's.
        steady_seconds: without the first frame, for which the network is compiled.
        reading: seconds a frame to decode and convert, alone.
        network: likewise to stylize.
        writing: likewise to convert and encode.
    """

    frames: int
    seconds: float
    steady_seconds: float
    reading: float
    network: float
    writing: float


@click.command()
@click.option("--width", type=click.IntRange(16), default=640, show_default=True)
@click.option("--height", type=click.IntRange(16), default=360, show_default=True)
@click.option("--frames", type=click.IntRange(2), default=250, show_default=True)
@click.option("--smooth", is_flag=True, help="Let strokes move with the scene.")
@rounds_option
@device_option
@click.option(
    "--model",
    type=click.Choice(["johnson", "small"]),
    default="small",
    show_default=True,
    help="The network, from conf/model. It is untrained, which takes the same time.",
)
def film(
    width: int, height: int, frames: int, smooth: bool, rounds: int, device: str, model: str
) -> None:
    """Measure stylizing a film from file to file: a pan over a bundled photo, H.264 in MP4.

    The stages alone, one after the other, are measured on the same frames. On two cores, one stage
    waits for the others.
    """
    task = {"width": width, "height": height, "frames": frames, "smooth": smooth}
    measured = take_turns(
        {model: partial(run, measure_film, model=model, device=device, **task)}, rounds
    )[model]
    click.echo(f"{run(describe_machine, device=device)}; rounds: {rounds}")
    click.echo(f"{frames} frames of {width} x {height} px, model={model}")

    def milliseconds(stage: str) -> str:
        return f"{1000 * statistics.median(getattr(cost, stage) for cost in measured):.1f}"

    rates = [cost.frames / cost.seconds for cost in measured]
    steady = [(cost.frames - 1) / cost.steady_seconds for cost in measured]
    print_table(
        [
            {
                "": "file to file",
                "frames/s": f"{statistics.median(rates):.2f}",
                "slowest to fastest": f"{min(rates):.2f} to {max(rates):.2f}",
                "behind the first frame": f"{statistics.median(steady):.2f}",
                "ms to read": milliseconds("reading"),
                "to stylize": milliseconds("network"),
                "to write": milliseconds("writing"),
            }
        ]
    )


def measure_film(
    model: str, device: str, width: int, height: int, frames: int, smooth: bool
) -> FilmCost:
    """A worker: make a film, stylize it, and then run each stage alone."""
    from fast_style.film import FilmOptions, FilmProgress, stylize_film
    from fast_style.film.encoding import PartWriter, plan_encoding
    from fast_style.film.reading import probe, read_frames

    stylizer = our_stylizer(OURS, model, device)
    arrived: list[float] = []

    def told(progress: FilmProgress) -> None:
        arrived.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "a.mp4", Path(name) / "b.mp4"
        _make_pan(source, width, height, frames)
        started = time.perf_counter()
        stylize_film(source, target, stylizer, FilmOptions(smooth=smooth), told)
        seconds = time.perf_counter() - started

        few = min(frames, 50)
        film = probe(source)
        decoded = list(islice(read_frames(film, film.size), few))
        reading = _seconds_each(lambda: list(read_frames(film, film.size)), frames)
        painted = [stylizer(frame.picture) for frame in decoded]
        network = _seconds_each(lambda: [stylizer(frame.picture) for frame in decoded], few)
        encoding = plan_encoding(film, target, None, None, film.size)
        writer = PartWriter(Path(name) / "c.mp4", encoding)

        def write() -> None:
            import numpy as np

            for frame, picture in zip(decoded, painted, strict=True):
                writer.write(np.asarray(picture), frame.time, frame.duration)
            writer.close()

        writing = _seconds_each(write, few)
    return FilmCost(frames, seconds, arrived[-1] - arrived[0], reading, network, writing)


def _seconds_each(work: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / count


def _make_pan(path: Path, width: int, height: int, frames: int) -> None:
    """A view that moves over a photo and back, one pixel a frame."""
    import av

    margin = 64
    photo = bundled_photo().resize((width + margin, height + margin))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            step = abs(number % (2 * margin) - margin)
            view = photo.crop((step, step // 2, step + width, step // 2 + height))
            container.mux(stream.encode(av.VideoFrame.from_image(view)))
        container.mux(stream.encode(None))
