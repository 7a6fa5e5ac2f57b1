"""Files that are complete, or as they were before."""

import secrets
from pathlib import Path

from fast_style.errors import UserError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it; missing folders are made.

    Raises:
        UserError: if it cannot be written; then the file is as it was.
    """
    # Opened by name, unlike tempfile's files, it has the permissions that the umask asks for.
    beside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): choose another place, or make room"
        ) from error
