"""The styles to choose from, and the networks that are loaded."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from fast_style.app.refusal import UNKNOWN, Refusal
from fast_style.bundled import CHECKPOINTS
from fast_style.checkpoint import read_style, shipped_styles, style_name
from fast_style.errors import UserError
from fast_style.files import numbered
from fast_style.shell import readable
from fast_style.stylizing.stylizer import Stylizer

log = logging.getLogger(__name__)


@dataclass
class StyleShelf:
    """The shipped styles and those in a folder, which may come and go.

    Args:
        folder: folder of ``.safetensors`` files, which need not exist.
    """

    folder: Path
    _checked: dict[tuple[Path, int], bool] = field(default_factory=dict)

    def files(self) -> dict[str, Path]:
        """Return the file of each style by its name."""
        found = {name: CHECKPOINTS / f"{name}.safetensors" for name in shipped_styles()}
        for path in sorted(self.folder.glob("*.safetensors")):
            if self._is_style(path):
                own = readable(style_name(path))  # JSON holds no bytes that are not UTF-8
                found[next(name for name in numbered(own) if name not in found)] = path
        return found

    def file(self, name: str) -> Path:
        """Return the file of a style.

        Raises:
            Refusal: if there is no such style.
        """
        path = self.files().get(name)
        if path is None:
            raise Refusal(UNKNOWN, "there is no such style here: choose one of those on the page")
        return path.resolve()

    def _is_style(self, path: Path) -> bool:
        try:
            key = (path, path.stat().st_mtime_ns)
            if key not in self._checked:
                read_style(path)
                self._checked[key] = True
        except OSError:
            return False
        except UserError as error:
            log.warning("%s", error)
            self._checked[key] = False
        return self._checked[key]


class LoadedStyles:
    """Loads networks when they are needed, and keeps those that were used last.

    Args:
        device: where to compute, as for `Stylizer`.
        kept: number of networks to keep.
    """

    def __init__(self, device: str, kept: int) -> None:
        self.device = device
        self.kept = kept
        self._loaded: OrderedDict[tuple[Path, int, float], Stylizer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file: Path, strength: float = 1.0) -> Stylizer:
        """Return the network of a style at a strength in [0, 1].

        Raises:
            UserError: as `Stylizer`.
        """
        written = file.stat().st_mtime_ns if file.exists() else 0  # a style may be trained again
        key = (file, written, strength)
        with self._lock:
            stylizer = self._loaded.pop(key, None) or Stylizer(file, self.device, strength=strength)
            self._loaded[key] = stylizer
            while len(self._loaded) > self.kept:
                self._loaded.popitem(last=False)
            return stylizer
