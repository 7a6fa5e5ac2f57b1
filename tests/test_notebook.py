"""The notebook runs from top to bottom, trains, and is committed without outputs."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "painting_to_picture.ipynb"
STEPS = "STEPS, BATCH, SIZE = 16, 2, 128"
FEWER = "STEPS, BATCH, SIZE = 6, 2, 128"  # enough to learn
CELLS = [
    cell
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "code"
]


def test_it_is_committed_without_outputs() -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in CELLS)


@pytest.mark.slow
def test_it_runs_and_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    sources = ["".join(cell["source"]) for cell in CELLS]
    assert sum(STEPS in source for source in sources) == 1
    for source in sources:
        exec(source.replace(STEPS, FEWER), names)
    first, last = names["history"][0], names["history"][-1]
    assert last["style"] < 0.8 * first["style"]
    assert last["total"] < first["total"]
    assert names["before"].size == names["after"].size == names["photo"].size
    assert names["before"].tobytes() != names["after"].tobytes()
    page = names["page"].read_text(encoding="utf-8")
    assert "half-a-minute" in page
    assert (names["page"].parent / "pictures" / "half-a-minute" / "chelsea.jpg").is_file()
