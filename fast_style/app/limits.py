"""How much visitors may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of uploads, queues and times. A visitor is an address on the network.

    Args:
        upload_bytes: bytes of a photo or painting.
        pixels: pixels of a photo or painting.
        photos: photos that the server keeps for a visitor.
        photos_in_all: photos that it keeps for all of them.
        bytes_in_all: bytes of the files of these photos.
        previews: thumbnails and previews that wait, of all visitors.
        paintings: paintings at full size that wait, of a visitor.
        paintings_in_all: paintings at full size that wait, of all visitors.
        trainings: trainings of a visitor that wait or run.
        trainings_in_all: trainings of all visitors that wait or run.
        steps: steps of a training.
        upload_s: seconds that an upload may take.
        wait_s: seconds that a thumbnail or a preview may wait.
        keep_s: seconds without use after which pictures are deleted.
        decoded_at_once: photos that are decoded side by side; a large one takes 400 MB.
    """

    upload_bytes: int = 64 * 2**20
    pixels: int = 50_000_000
    photos: int = 20
    photos_in_all: int = 500
    bytes_in_all: int = 4 * 2**30
    previews: int = 2000
    paintings: int = 20
    paintings_in_all: int = 200
    trainings: int = 3
    trainings_in_all: int = 10
    steps: int = 10_000
    upload_s: float = 120.0
    wait_s: float = 120.0
    keep_s: float = 3600.0
    decoded_at_once: int = 2
