"""The app's server for tests: within the process, or as a program of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient

from fast_style.app.limits import Limits
from fast_style.app.serve import Settings, gated

PORT = 8000
ADDRESS = f"http://127.0.0.1:{PORT}"

# Settings of trainings whose steps take milliseconds, and steps that no test waits for.
SMALLEST = (
    "init=null",
    "model.widths=[4,8,8]",
    "model.residual_blocks=1",
    "loss.style_layers=[relu1_1]",
    "loss.content_layers=[relu2_1]",
    "loss.style_scales=[1]",
    "data.size=32",
    "data.workers=0",
    "data.val_size=64",
    "data.val_count=1",
)
ENDLESS = 10_000


@contextmanager
def serving(
    styles: Path,
    token: str = "",
    photo_folders: tuple[Path, ...] = (),
    training: tuple[str, ...] = (),
    **limits: Any,
) -> Iterator[TestClient]:
    """A client of a server with these folders; see `Limits`."""
    host = "0.0.0.0" if token else "127.0.0.1"
    settings = Settings(host, PORT, "cpu", styles, photo_folders, training, Limits(**limits))
    with TestClient(gated(settings, token, PORT), base_url=ADDRESS) as client:
        yield client


def give(client: TestClient | httpx.Client, photo: Path, name: str | None = None) -> dict[str, Any]:
    """Give a photo to the server; return what it says of it."""
    with photo.open("rb") as file:
        answer = client.post("/api/photos", files={"file": (name or photo.name, file)})
    assert answer.status_code == 201, answer.text
    said: dict[str, Any] = answer.json()
    return said


def refusal(answer: Any, status: int, *words: str) -> str:
    """Assert that a request is refused with a sentence that holds these words, and return it."""
    assert answer.status_code == status, answer.text
    sentence = str(answer.json()["error"])
    for word in words:
        assert word in sentence
    return sentence


def painted(client: TestClient | httpx.Client, photo: str, **options: Any) -> Any:
    """Paint a photo at full size; return the answer that holds the file."""
    begun = client.post(f"/api/photos/{photo}/paintings", json=options)
    assert begun.status_code == 202, begun.text
    id = begun.json()["id"]
    for _ in range(600):
        state = client.get(f"/api/paintings/{id}").json()
        if state["state"] in ("done", "failed"):
            break
        time.sleep(0.05)
    assert state["state"] == "done", state
    assert state["done"] == 1
    return client.get(f"/api/paintings/{id}/file")
