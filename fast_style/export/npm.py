"""ONNX Runtime Web, which runs networks in browsers: fetched by npm, and checked."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from fast_style.errors import UserError

NAME = "onnxruntime-web"
VERSION = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
PACK = f"npm pack {NAME}@{VERSION}"

FILES = (
    # WASM, with threads where the page may have them
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    # WebGPU
    "ort.jspi.min.mjs",
    "ort-wasm-simd-threaded.jspi.mjs",
    "ort-wasm-simd-threaded.jspi.wasm",
)
"""The files of a page, 31 MB. A browser loads either half of them."""


def runtime_files(package: Path | None = None) -> dict[str, bytes]:
    """The `FILES` of ONNX Runtime Web, by name.

    Args:
        package: the file that ``npm pack`` writes. By default npm fetches it, from its cache where
            it has been fetched before.

    Raises:
        UserError: if there is no npm, it fails, or the package is not the expected one to the byte.
    """
    if package is None:
        with tempfile.TemporaryDirectory() as folder:
            return _unpacked(_fetched(Path(folder)))
    return _unpacked(package)


def _fetched(folder: Path) -> Path:
    remedy = f"run `{PACK}` where there is npm, and name the file that it writes by --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"the page needs {NAME}, which npm fetches: install Node.js, or {remedy}")
    command = [npm, "pack", f"{NAME}@{VERSION}", "--prefer-offline"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if result.returncode:
        reasons = re.findall(r"^npm (?:error|ERR!) (.+)$", result.stderr, re.MULTILINE)
        reason = next((line for line in reasons if not line.startswith("code ")), "no reason given")
        raise UserError(f"npm cannot fetch {NAME} ({reason}): {remedy}")
    return folder / f"{NAME}-{VERSION}.tgz"


def _unpacked(package: Path) -> dict[str, bytes]:
    content = package.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise UserError(f"{package} is not {NAME} {VERSION}: fetch it by `{PACK}`")
    with tarfile.open(fileobj=BytesIO(content)) as tar:
        return {name: _member(tar, f"package/dist/{name}") for name in FILES}


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None  # the checksum says what is in there
    return file.read()
