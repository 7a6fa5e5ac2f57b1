"""Hydra's and OmegaConf's errors as one sentence for the user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from fast_style.config import settings
from fast_style.errors import UserError


@contextmanager
def as_user_error() -> Iterator[None]:
    """Turn Hydra's and OmegaConf's errors into a `UserError`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_sentence(error)) from error
    except ValueError as error:  # Hydra raises this for loss=null and style=3
        if not str(error).startswith("Config group override"):
            raise
        raise UserError(f"{error}: choose parts by name, as in loss=vgg16") from error


def _sentence(error: BaseException) -> str:
    """Our own sentence if the error has one among its causes, else Hydra's first lines."""
    for cause in _causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: add {error.full_key}=... (see train --help)"
    message = str(error)
    unknown = re.match(r"(?:Could not override|Could not delete|Key) '([^']*)'", message)
    if unknown:
        return _unknown_key(unknown[1])
    if isinstance(error, ConfigKeyError):
        return f"{error.full_key or error.key} is missing: keep its default"
    message = message.partition("Config search path")[0]
    return " ".join(message.replace("full_key:", "in").replace("object_type=dict", "").split())


def _unknown_key(key: str) -> str:
    near = settings.nearest(key)
    if near == key:
        return f"{key} does not exist here: the part that it belongs to was left out or exchanged"
    remedy = f"did you mean {near}?" if near else "see train --help for all keys"
    return f"{key} is not a key: {remedy}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
