"""The work for each kind of device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bands:
    """Pictures in bands.

    Args:
        rows: rows of a band.
        small: side in px of a picture that one pass can do.
        huge: side in px of a picture that it cannot.
    """

    rows: int
    small: int
    huge: int


@dataclass(frozen=True)
class Load:
    """The work for a device.

    Args:
        step: size, batch and steps of the benchmark's training steps.
        rounds: how often ours is measured; the others are measured once.
        loop: minutes of a whole training loop; None for as many steps as above.
        trainings: minutes of trainings, by name.
        training: overrides of those.
        evaluated_size: side of photos in px that networks are evaluated on.
        evaluated_count: number of those photos.
        width: of the benchmark's picture in px.
        height: of the benchmark's picture in px.
        repeats: how often that is stylized.
        sizes: widths and heights of pictures that are stylized in turn.
        bands: pictures in bands.
        repeated: overrides of short runs that are compared with each other.
        links: size of the folder of photos that the bundled ones are linked to.
    """

    step: dict[str, int]
    rounds: int
    loop: float | None
    trainings: dict[str, float]
    training: tuple[str, ...]
    evaluated_size: int
    evaluated_count: int
    width: int
    height: int
    repeats: int
    sizes: tuple[tuple[int, int], ...]
    bands: Bands
    repeated: tuple[str, ...]
    links: int


TINY_DATA = (
    *("trainer=cpu", "data.size=32", "data.batch_size=1", "data.workers=0"),
    *("data.val_size=32", "data.val_count=1"),
)

LOADS = {
    "cuda": Load(
        step={"size": 256, "batch": 16, "steps": 60},
        rounds=2,
        loop=0.25,
        trainings={"15 s": 0.25, "a minute": 1.0},
        training=("experiment=gpu",),
        evaluated_size=256,
        evaluated_count=4,
        width=1920,
        height=1080,
        repeats=20,
        sizes=((1280, 720), (1000, 667), (333, 500)),
        bands=Bands(rows=256, small=2000, huge=10_000),
        repeated=("experiment=coco", "loss=vgg16"),
        links=400,
    ),
    "cpu": Load(
        step={"size": 32, "batch": 1, "steps": 1},
        rounds=1,
        loop=None,
        trainings={"15 s": 0.02, "a minute": 0.03},
        training=("experiment=gpu", *TINY_DATA, "trainer.log_every_n_steps=1"),
        evaluated_size=96,
        evaluated_count=1,
        width=64,
        height=48,
        repeats=1,
        sizes=((40, 32), (33, 41)),
        bands=Bands(rows=16, small=64, huge=80),
        repeated=("experiment=coco", "loss=vgg16", *TINY_DATA, "style.size=64"),
        links=8,
    ),
}
