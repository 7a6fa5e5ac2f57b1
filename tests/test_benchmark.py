"""The benchmark measures the networks that conf/ describes."""

import runpy
from pathlib import Path

import pytest

OUR_NETWORK = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "benchmark.py"))[
    "_our_network"
]


@pytest.mark.parametrize(("model", "widths"), [("johnson", [32, 64, 128]), ("small", [16, 32, 64])])
def test_each_model_is_built(model: str, widths: list[int]) -> None:
    assert OUR_NETWORK(model).widths == widths
