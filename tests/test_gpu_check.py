"""What measures on a GPU runs on any machine, and its table tells what was found."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "gpu_check.sh"


def check(out: Path, *arguments: str) -> tuple[int, list[list[str]]]:
    """The exit code, and the table's rows: what, goal, measured, verdict."""
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


def test_pictures_and_bands_on_a_cpu(tmp_path: Path) -> None:
    code, rows = check(tmp_path, "--only", "pictures", "--only", "bands")
    assert code == 0
    verdicts = {what: verdict for what, _, _, verdict in rows}
    assert verdicts["2 sizes in turn, thrice, against a fresh Stylizer each"] == "met"
    assert verdicts["80 x 80 px in bands"] == "not measured"  # a CPU has other goals
    assert set(verdicts.values()) <= {"met", "not measured"}


def test_a_part_that_fails_is_in_the_table(tmp_path: Path) -> None:
    code, rows = check(tmp_path, "--only", "evaluation")
    assert code == 1
    assert rows == [["part 'evaluation'", "runs", "nothing was trained", "FAILED"]]
