"""Parts of a film, in a folder beside the target, which outlive a stop of any kind.

Each part holds `FRAMES_OF_PART` frames and plays by itself. ``parts.json`` lists those that are
complete, and what they were made of: the same source, style and options may go on from there.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.errors import UserError
from fast_style.files import replace_file
from fast_style.images import open_picture, save_picture

LIST = "parts.json"


@dataclass
class Part:
    """A complete part of a film.

    Args:
        name: of its file.
        first: time of its first frame, in the film's ``time_base``.
        frames: how many it has.
        size: of its file in bytes.
    """

    name: str
    first: int
    frames: int
    size: int


@dataclass
class Parts:
    """The parts of one target.

    Args:
        folder: that they are in.
        made_of: what they were made of, by name: the source, the style and the options.
        done: the complete parts in order.
        whole: whether they are all that there are.
        missing: what the source lacks, once they are whole; see `Film`.
    """

    folder: Path
    made_of: dict[str, str]
    done: list[Part] = field(default_factory=list)
    whole: bool = False
    missing: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Number of frames in the complete parts."""
        return sum(part.frames for part in self.done)

    def next_path(self) -> Path:
        """The file of the part that comes next."""
        return self.folder / f"{len(self.done) + 1:05}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return Path(self.folder.stem).suffix  # "clip.mp4.parts" holds .mp4

    def add(
        self, path: Path, first: int, frames: int, last_frame: NDArray[np.uint8] | None = None
    ) -> None:
        """List a part as complete.

        Args:
            path: its file.
            first: time of its first frame.
            frames: how many it has.
            last_frame: ``(H, W, 3)`` RGB, kept without loss if the next part builds on it.
        """
        if last_frame is not None:
            save_picture(Image.fromarray(last_frame), path.with_suffix(".png"))
        self.done.append(Part(path.name, first, frames, path.stat().st_size))
        self.save()
        if len(self.done) > 1:
            (self.folder / self.done[-2].name).with_suffix(".png").unlink(missing_ok=True)

    def last_frame(self) -> NDArray[np.uint8] | None:
        """The last frame of the last part; None where it was not kept."""
        if not self.done:
            return None
        path = (self.folder / self.done[-1].name).with_suffix(".png")
        return np.asarray(open_picture(path)) if path.is_file() else None

    def finish(self, missing: list[str]) -> None:
        """Note that there is no further part, and what the source lacks."""
        self.whole, self.missing = True, missing
        self.save()

    def save(self) -> None:
        """Write the list.

        Raises:
            UserError: if it cannot be written.
        """
        content = {
            "made_of": self.made_of,
            "whole": self.whole,
            "missing": self.missing,
            "parts": [asdict(part) for part in self.done],
        }
        replace_file(self.folder / LIST, json.dumps(content, indent=1).encode())

    def remove_if_empty(self) -> None:
        """Delete the folder if no part is complete."""
        if not self.done:
            self.remove()

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def parts_folder(target: Path) -> Path:
    """Where the parts of a target are.

    >>> parts_folder(Path("films/out.mp4")).name
    'out.mp4.parts'
    """
    return target.with_name(f"{target.name}.parts")


def open_parts(target: Path, made_of: dict[str, str], resume: bool) -> Parts:
    """Begin the parts of a target, or go on with those that there are.

    Args:
        target: the film to write.
        made_of: what decides how the film looks, by name, such as "style".
        resume: go on from the parts that there are.

    Raises:
        UserError: if there are parts and ``resume`` is false, if they were made of something else,
            or if the folder cannot be made.
    """
    folder = parts_folder(target)
    found = _read(folder)
    if found is None or not found.done:
        found = None
    elif not resume:
        raise UserError(
            f"{folder} holds {found.frames} stylized frames of an earlier run: go on from there "
            "with --resume, or delete that folder"
        )
    elif found.made_of != made_of:
        changed = [name for name in made_of if made_of[name] != found.made_of.get(name)]
        raise UserError(
            f"{folder} was made with another {' and another '.join(changed) or 'program'}: run the "
            "command as before, or delete that folder to begin anew"
        )
    parts = found or Parts(folder, made_of)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}): choose another place for the film"
        ) from error
    parts.save()
    return parts


def _read(folder: Path) -> Parts | None:
    """Read the list and keep the parts that are there; None if there is no list."""
    try:
        content = json.loads((folder / LIST).read_bytes())
        parts = Parts(
            folder, content["made_of"], whole=content["whole"], missing=content["missing"]
        )
        listed = [Part(**part) for part in content["parts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for part in listed:
        path = folder / part.name
        if not path.is_file() or path.stat().st_size != part.size:
            # As after a power cut; what comes after it would leave a gap.
            parts.whole = False
            break
        parts.done.append(part)
    return parts
