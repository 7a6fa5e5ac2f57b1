"""The GPU check runs on any machine, and its table has what it found."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "gpu_check.sh"


def check(out: Path, *arguments: str) -> tuple[int, list[list[str]]]:
    """Run the check; return its exit code and the rows of its table."""
    done = subprocess.run(
        [SCRIPT, out, "--device", "cpu", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHON": sys.executable},
    )
    table = (out / "table.md").read_text()
    assert done.stdout.strip() == table.strip(), done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return done.returncode, rows[2:]


def test_pictures_on_a_cpu(tmp_path: Path) -> None:
    code, rows = check(tmp_path, "--only", "pictures")
    assert code == 0
    assert [(measured, verdict) for _, _, measured, verdict in rows[1:]] == [("equal", "met")] * 2
    assert rows[0][3] == "not measured"  # a goal for GPUs


def test_a_part_that_fails_is_in_the_table(tmp_path: Path) -> None:
    code, rows = check(tmp_path, "--only", "evaluation")
    assert code == 1
    assert rows == [["part 'evaluation'", "runs", "nothing was trained", "FAILED"]]
