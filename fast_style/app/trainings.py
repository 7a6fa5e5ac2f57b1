"""Train styles for visitors: one training at a time, as a program of its own."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import psutil

from fast_style.app.limits import Limits
from fast_style.app.photos import decoded, plain_name, store
from fast_style.app.progress import Progress
from fast_style.app.refusal import BUSY, NOT_NOW, TOO_MANY, UNKNOWN, WRONG, Refusal
from fast_style.app.work import Kind, Task, WorkQueue
from fast_style.checkpoint import shipped_styles
from fast_style.devices import is_cpu
from fast_style.errors import UserError
from fast_style.files import numbered, replacing

log = logging.getLogger(__name__)

STEPS = {"cpu": 600, "gpu": 2000}  # of the experiments, see conf/experiment
PICTURES_IN_A_RUN = 8
POINTS = 300  # of a curve of losses, at most
NICENESS = 10  # a training lets pictures go first
LAST_STEP_S = 60.0  # how long the end waits for a network to be written


@dataclass
class Training:
    """A training of a visitor.

    Args:
        id: unguessable name.
        visitor: who asked for it.
        name: name of the style.
        painting: the visitor's name of the painting's file.
        folder: folder of the server that holds the painting and the run.
        file: file of the painting.
        photos: folder of photos; None to train without.
        steps: length.
        task: its place in the queue; None until it has one.
        process: the program, while it runs.
        cancelled: whether the visitor stopped it.
        style: name of the finished style; None before.
        error: what went wrong, in a sentence.
        ended: when it was over, on the monotonic clock; None before.
    """

    id: str
    visitor: str
    name: str
    painting: str
    folder: Path
    file: Path
    photos: Path | None
    steps: int
    task: Task | None = None
    process: subprocess.Popen[bytes] | None = None
    cancelled: bool = False
    style: str | None = None
    error: str | None = None
    ended: float | None = None
    _progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._progress = Progress(self.run / "progress.jsonl")

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return self.folder / "run"

    @property
    def picture(self) -> Path:
        """File of the latest pictures, which may not be there yet."""
        return self.run / "pictures.jpg"

    def described(self, ahead: int) -> dict[str, Any]:
        """Return what its visitor sees of it.

        Args:
            ahead: number of trainings that come first.
        """
        known = self._progress.read()
        picture = None
        if self.picture.exists():
            changed = self.picture.stat().st_mtime_ns
            picture = f"api/trainings/{self.id}/picture?{changed}"
        return {
            "id": self.id,
            "name": self.name,
            "state": self._state(known.done),
            "ahead": ahead,
            "step": known.step,
            "steps": self.steps,
            "secondsLeft": known.seconds_left,
            "losses": known.losses[:: len(known.losses) // POINTS + 1],
            "picture": picture,
            "style": self.style,
            "error": self.error,
        }

    def _state(self, done: float) -> str:
        if self.ended is not None:
            if self.cancelled:
                return "cancelled"
            return "done" if self.error is None else "failed"
        if self.process is None:
            return "waiting"
        return "saving" if self.cancelled or done >= 1 else "running"


class Trainings:
    """Runs `fast-style train` for visitors, one after the other.

    Args:
        folder: folder for paintings and runs.
        styles: folder that finished styles are written to; it is made when it is needed.
        roots: folders whose photos may be used; None for all.
        settings: of all trainings, as for ``fast-style train``.
        device: where to train, as for `Stylizer`.
        limits: how many.
    """

    def __init__(
        self,
        folder: Path,
        styles: Path,
        roots: Sequence[Path] | None,
        settings: Sequence[str],
        device: str,
        limits: Limits,
    ) -> None:
        self.folder = folder
        self.styles = styles
        self.roots = None if roots is None else [root.resolve() for root in roots]
        self.settings = settings
        self.experiment = "cpu" if is_cpu(device) else "gpu"
        self.limits = limits
        self.queue = WorkQueue([{Kind.TRAINING}])
        self._trainings: dict[str, Training] = {}
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700)

    def check_room(self, visitor: str) -> None:
        """Refuse a training before its painting is received.

        Raises:
            Refusal: if the visitor, or all together, have as many as may wait.
        """
        going = [t for t in self._all() if t.ended is None]
        if sum(training.visitor == visitor for training in going) >= self.limits.trainings:
            raise Refusal(
                TOO_MANY,
                f"{self.limits.trainings} of your trainings wait or run: let one end, or stop it",
            )
        if len(going) >= self.limits.trainings_in_all:
            raise Refusal(BUSY, "as many trainings wait as may: try again later")

    def start(
        self,
        upload: IO[bytes],
        painting: str | None,
        visitor: str,
        photos: str = "",
        steps: str = "",
        name: str = "",
    ) -> Training:
        """Queue a training.

        Args:
            upload: file of the painting.
            painting: the visitor's name of it.
            visitor: who asks.
            photos: folder on the server; empty to train without photos.
            steps: a number; empty for as many as the experiment has.
            name: name of the style; empty for the painting's.

        Raises:
            Refusal: if something of it cannot be used.
        """
        self.check_room(visitor)  # again: others were received meanwhile
        source, count = self.photo_folder(photos), self._steps(steps)
        painting, id = plain_name(painting), secrets.token_urlsafe(16)
        style = style_name(name) or style_name(PurePosixPath(painting).stem) or "style"
        folder = self.folder / id
        folder.mkdir(mode=0o700)
        try:
            file = store(upload, folder, painting)
            decoded(file, painting, self.limits)
            file = file.rename(file.with_stem(style))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        training = Training(id, visitor, style, painting, folder, file, source, count)
        with self._lock:
            self._trainings[id] = training
            training.task = self.queue.add(Kind.TRAINING, visitor, lambda: self._run(training))
        return training

    def get(self, id: str) -> Training:
        """Return a training.

        Raises:
            Refusal: if it is not there, or not any more.
        """
        training = self._trainings.get(id)
        if training is None:
            raise Refusal(UNKNOWN, "that training is not here any more")
        return training

    def report(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the numbers of all trainings, and the trainings with these ids."""
        going = [training for training in self._all() if training.ended is None]
        running = sum(training.process is not None for training in going)
        mine = filter(None, map(self._trainings.get, ids))
        described = [
            t.described(self.queue.ahead(t.task) if t.task and t.ended is None else 0) for t in mine
        ]
        return {"running": running, "waiting": len(going) - running, "mine": described}

    def picture(self, training: Training) -> Path:
        """Return the file of a training's latest pictures.

        Raises:
            Refusal: if there are none yet.
        """
        if not training.picture.exists():
            raise Refusal(NOT_NOW, "there are no pictures yet: wait for the first ones")
        return training.picture

    def cancel(self, training: Training) -> None:
        """Stop a training after its current step. Its network so far is kept."""
        with self._lock:
            if training.ended is not None or training.cancelled:
                return
            training.cancelled = True
            assert training.task is not None
            if training.task.future.cancel():
                training.ended = time.monotonic()
            elif training.process is not None:
                training.process.send_signal(signal.SIGINT)

    def forget_old(self) -> None:
        """Delete what is left of trainings that ended long ago; their styles stay."""
        oldest = time.monotonic() - self.limits.keep_s
        for training in self._all():
            if training.ended is not None and training.ended < oldest:
                self._trainings.pop(training.id, None)
                shutil.rmtree(training.folder, ignore_errors=True)

    def stop(self) -> None:
        """End all trainings, and wait until the network of the one that runs is written."""
        for training in self._all():
            self.cancel(training)
            if training.process is not None and training.ended is None:
                log.warning("waiting for the network of a training to be written")
        if not self.queue.stop(LAST_STEP_S):
            for training in self._all():
                if training.process is not None:
                    training.process.kill()
            self.queue.stop(1.0)

    def photo_folder(self, photos: str) -> Path | None:
        """Return the folder on the server that a visitor named, None for none.

        Raises:
            Refusal: if it is not there, or may not be used.
        """
        if not photos.strip():
            return None
        try:
            folder = Path(photos.strip()).expanduser().resolve()
            inside = self.roots is None or any(map(folder.is_relative_to, self.roots))
            usable = inside and folder.is_dir()
        except (OSError, ValueError, RuntimeError):
            usable = False
        if not usable:
            roots = ", ".join(map(str, self.roots or ()))
            remedy = f"name {roots} or a folder in it" if roots else "check its name"
            raise Refusal(
                WRONG,
                "there is no folder on the server with that name that may be used: "
                f"{remedy}, or leave it empty to train without photos",
            )
        return folder

    def _steps(self, given: str) -> int:
        if not given.strip():
            return STEPS[self.experiment]
        if re.fullmatch(r"\d{1,9}", given.strip(), re.ASCII):
            steps = int(given)
            if 1 <= steps <= self.limits.steps:
                return steps
        raise Refusal(WRONG, f"steps is a whole number from 1 to {self.limits.steps:,}")

    def _all(self) -> list[Training]:
        return list(self._trainings.values())

    def _run(self, training: Training) -> None:
        try:
            process = self._begun(training)
            if process is not None:
                with process:
                    psutil.Process(process.pid).nice(NICENESS)
                    status = process.wait()
                self._finish(training, status)
        except Exception as error:
            log.error("a training failed", exc_info=error)
            training.error = "the server made a mistake: try again"
        finally:
            training.ended = time.monotonic()

    def _begun(self, training: Training) -> subprocess.Popen[bytes] | None:
        """Start the program of a training; None where it was stopped before."""
        with self._lock, (training.folder / "messages.txt").open("wb") as messages:
            if training.cancelled:
                return None
            training.process = subprocess.Popen(
                self._command(training),
                cwd=training.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                start_new_session=True,  # Ctrl-C is for the server, which stops trainings itself
            )
            return training.process

    def _command(self, training: Training) -> list[str]:
        steps = training.steps
        return [
            *(sys.executable, "-m", "fast_style.cli", "train"),
            f"experiment={self.experiment}",
            *(["data=dead_leaves"] if training.photos is None else [f"data.dir={training.photos}"]),
            *self.settings,
            f"style={training.file}",
            f"output_dir={training.run}",
            f"trainer.max_steps={steps}",
            f"trainer.val_check_interval={max(10, steps // PICTURES_IN_A_RUN)}",
            f"trainer.log_every_n_steps={10 if steps > 100 else 2}",
            *("callbacks=live", "callbacks.progress_bar=null", "logger=none"),
        ]

    def _finish(self, training: Training, status: int) -> None:
        network = training.run / f"{training.name}.safetensors"
        if network.exists() and (status == 0 or training.cancelled):
            training.style = self._keep(network)
        elif not training.cancelled:
            training.error = self._complaint(training)
            log.warning("a training failed: %s", training.error)

    def _keep(self, network: Path) -> str:
        """Copy a network to the styles under a name that is free; return the name."""
        taken = {*shipped_styles(), *(path.stem for path in self.styles.glob("*.safetensors"))}
        name = next(name for name in numbered(network.stem) if name not in taken)
        with network.open("rb") as source, replacing(self.styles / f"{name}.safetensors") as target:
            shutil.copyfileobj(source, target)
        return name

    def _complaint(self, training: Training) -> str:
        """The sentence that a program ended with, in the visitor's words."""
        text = (training.folder / "messages.txt").read_text("utf-8", "replace")
        found = re.findall(r"^fast-style: (.+)$", text, re.MULTILINE)
        if not found:
            log.warning("%s", text[-2000:])
            return "the training ended unexpectedly: whoever runs the server sees why"
        sentence = str(found[-1]).replace(str(training.file), training.painting)
        return sentence.replace(f"{training.folder}/", "")


def check_settings(settings: Sequence[str]) -> None:
    """Check settings of trainings before any begins.

    Args:
        settings: as for ``fast-style train``.

    Raises:
        UserError: for the first that is wrong.
    """
    from fast_style.config.compose import compose_config
    from fast_style.config.settings import check

    if wrong := [setting for setting in settings if "=" not in setting]:
        raise UserError(f"'{wrong[0]}' is no setting: give NAME=VALUE, as data.size=256")
    given = ["experiment=cpu", "data=dead_leaves", *settings, "style=wave", "output_dir=."]
    check(compose_config(given))


def style_name(name: str) -> str:
    """Return a name of a style as it can be a file's: letters, digits, hyphens and underscores.

    >>> style_name("The Scream, 1893"), style_name("../x"), style_name("Étoile")
    ('the-scream-1893', 'x', 'étoile')
    """
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-_")[:40].strip("-_")
