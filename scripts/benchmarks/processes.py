"""Workers: functions that run in a process of their own."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from tqdm import tqdm

BENCHMARK = Path(__file__).parents[1] / "benchmark.py"
Result = TypeVar("Result")


def run(worker: Callable[..., Result], **task: Any) -> Result:
    """Call a worker in a fresh process; if it fails, exit as it did.

    Args:
        worker: a function of a module of this package.
        task: its arguments, of types that JSON has.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "result"
        done = subprocess.run([sys.executable, *worker_command(worker, task, answer)])
        if done.returncode < 0:
            name = f"{worker.__name__} {task.get('contender', '')}".strip()
            click.echo(f"benchmark: {name} was killed by signal {-done.returncode}", err=True)
            sys.exit(1)
        if done.returncode:
            sys.exit(done.returncode)  # the worker has printed the reason
        return read_result(worker, answer)


def worker_command(
    worker: Callable[..., Any], task: Mapping[str, Any], answer: Path
) -> list[str | Path]:
    """Arguments for Python that call a worker and write its result to a file, see `answer`."""
    return [BENCHMARK, "worker", worker.__module__, worker.__name__, json.dumps(task), answer]


def read_result(worker: Callable[..., Result], answer: Path) -> Result:
    """What a worker returned."""
    result: Result = pickle.loads(answer.read_bytes())
    return result


@click.command("worker", hidden=True)
@click.argument("module")
@click.argument("name")
@click.argument("task", type=json.loads)
@click.argument("answer", type=click.Path(path_type=Path))
def worker(module: str, name: str, task: dict[str, Any], answer: Path) -> None:
    """Call a worker in this process, and write its result to a file."""
    from fast_style.errors import UserError

    try:
        result = getattr(importlib.import_module(module), name)(**task)
    except UserError as error:
        click.echo(f"benchmark: {error}", err=True)
        sys.exit(2)
    answer.write_bytes(pickle.dumps(result))


def take_turns(
    contenders: Mapping[str, Callable[[], Result]], rounds: int
) -> dict[str, list[Result]]:
    """Call each contender ``rounds`` times, in turn."""
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    turns = [name for _ in range(rounds) for name in contenders]
    for name in tqdm(turns, leave=False, disable=None):
        results[name].append(contenders[name]())
    return results


@dataclass(frozen=True)
class CommandCost:
    """What a whole command took: seconds, and the peak of its memory in bytes."""

    seconds: float
    peak: int


def run_command(command: Sequence[str], **environment: str) -> CommandCost:
    """Measure a command line; if it fails, print its errors and exit."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | environment
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        click.echo(said, err=True)
        sys.exit(1)
    return CommandCost(time.perf_counter() - started, usage.ru_maxrss * 1024)
