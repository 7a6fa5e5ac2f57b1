"""Styles on a hub: addresses such as ``hf://owner/name``, and what they name as files.

Only ``.safetensors`` files are fetched, by huggingface_hub, into its cache. Nothing is executed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from fast_style.errors import UserError
from fast_style.extras import need

log = logging.getLogger(__name__)

SCHEME = "hf://"
SUFFIX = ".safetensors"
MAX_BYTES = 500_000_000  # a network of ours has a few million bytes

_ADDRESS = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/\w+/\w+|[^/@]+))?"
    r"(?:/(?P<file>[^@]+))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Address:
    """A place on a hub.

    Args:
        repository: owner and name, as ``owner/name``.
        revision: branch, tag or commit; None for the main branch.
        file: path of a file in the repository; None for its only style.
    """

    repository: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``hf://owner/name[@revision][/file]``.

        Raises:
            UserError: if it is none.

        >>> Address.parse("hf://anna/wave@v2/small/wave.safetensors")
        Address(repository='anna/wave', revision='v2', file='small/wave.safetensors')
        """
        found = _ADDRESS.fullmatch(text.rstrip("/"))
        if found is None or ".." in PurePosixPath(text).parts:
            raise UserError(
                f"'{text}' is no style on a hub: write hf://owner/name, hf://owner/name/FILE or "
                "hf://owner/name@REVISION/FILE"
            )
        repository, revision, file = found.group("repository", "revision", "file")
        if file is not None and not file.endswith(SUFFIX):
            raise UserError(f"{text} is no {SUFFIX}, and no other file is fetched: name one")
        return cls(repository, unquote(revision) if revision else None, file)

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a full commit, which never changes."""
        return bool(self.revision and _COMMIT.fullmatch(self.revision))

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{SCHEME}{self.repository}{revision}" + (f"/{self.file}" if self.file else "")


def is_on_hub(style: str | Path) -> bool:
    """Whether a style is named by an address on a hub.

    >>> is_on_hub("hf://anna/wave"), is_on_hub("wave")
    (True, False)
    """
    return str(style).startswith(SCHEME)


@cache  # for this process, an address stays what it was
def fetch_style(address: str) -> Path:
    """The file of a style on a hub, fetched where huggingface_hub's cache lacks it.

    What a branch or tag names is asked each time, and its commit is logged. A full commit with a
    file is not asked for again. Where the hub cannot be reached, the cache answers.

    Args:
        address: as `Address.parse` reads it.

    Raises:
        UserError: if there is no such style, or none that can be had.
    """
    place = Address.parse(address)
    need("hub", "styles on a hub", "huggingface_hub")
    from huggingface_hub import try_to_load_from_cache

    if place.file and place.is_pinned:
        cached = try_to_load_from_cache(place.repository, place.file, revision=place.revision)
        if isinstance(cached, str):
            return Path(cached)
    with as_user_errors(address):
        found = _fetch(place)
    if found is not None:
        if not place.is_pinned:
            log.warning("%s is now %s", address, found.address)
        return found.path
    kept = _from_cache(place)
    log.warning("the hub cannot be reached: %s is, from the cache, %s", address, kept.address)
    return kept.path


@dataclass(frozen=True)
class _Found:
    path: Path
    address: Address  # with its commit and file


def _fetch(place: Address) -> _Found | None:
    """Return the style's file, or None where the hub cannot be reached."""
    from huggingface_hub import HfApi, hf_hub_download

    try:
        info = HfApi().model_info(
            place.repository, revision=place.revision, files_metadata=True, timeout=20
        )
    except Exception as error:
        if not _is_unreachable(error):
            raise
        return None
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
    file = _choose(place, list(sizes))
    if sizes[file] > MAX_BYTES:
        raise UserError(
            f"{replace(place, file=file)} has {sizes[file] / 1e6:,.0f} MB, and no style has more "
            f"than {MAX_BYTES / 1e6:.0f} MB: name another file"
        )
    # By the branch's name and not its commit, so that the cache knows the branch when offline.
    path = Path(hf_hub_download(place.repository, file, revision=place.revision))
    commit = path.parents[len(PurePosixPath(file).parts) - 1].name
    return _Found(path, replace(place, revision=commit, file=file))


def _from_cache(place: Address) -> _Found:
    """Return what was fetched before.

    Raises:
        UserError: if nothing was.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        repositories = frozenset()
    for repository in repositories:
        if (repository.repo_type, repository.repo_id) != ("model", place.repository):
            continue
        for revision in repository.revisions:
            names = {revision.commit_hash, *revision.refs}
            if (place.revision or "main") not in names:
                continue
            files = {
                file.file_path.relative_to(revision.snapshot_path).as_posix(): file.file_path
                for file in revision.files
            }
            file = _choose(place, list(files))
            return _Found(files[file], replace(place, revision=revision.commit_hash, file=file))
    raise UserError(
        f"{place} was never fetched, and the hub cannot be reached: check the connection and "
        "HF_HUB_OFFLINE, or name a style that is on this machine"
    )


def _choose(place: Address, files: list[str]) -> str:
    styles = sorted(file for file in files if file.endswith(SUFFIX))
    if place.file in styles:
        return str(place.file)
    if place.file is None and len(styles) == 1:
        return styles[0]
    names = ", ".join(styles) or f"no {SUFFIX} file"
    if place.file is not None:
        raise UserError(f"{place} does not exist; the repository has: {names}")
    if not styles:
        raise UserError(f"{place} has no {SUFFIX} file, and so no style: name another repository")
    raise UserError(f"{place} has several files: name one, as {place}/{styles[0]}, of {names}")


def _is_unreachable(error: BaseException) -> bool:
    """Whether an error of huggingface_hub says that the hub does not answer, or is not asked."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code >= 500
    # HTTPError is of the client that huggingface_hub uses, for all that the network does.
    return isinstance(
        error, (ConnectionError, TimeoutError, errors.HTTPError, errors.LocalEntryNotFoundError)
    )


@contextmanager
def as_user_errors(place: str) -> Iterator[None]:
    """Say in one sentence why the hub refused something.

    Args:
        place: the address or repository that was asked for.

    Raises:
        UserError: for each error of the hub or the network.
    """
    need("hub", "styles on a hub", "huggingface_hub")
    from huggingface_hub import errors

    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(f"{place} asks for consent: give it on its page, then {log_in}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{place} is not on the hub, or is private: check its owner and name, or {log_in}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{place} has no such revision: name a branch, tag or commit") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = log_in if status in (401, 403) else "try again later"
        reason = str(error.server_message or f"status {status}").rstrip(".")
        raise UserError(f"the hub refused {place} ({reason}): {remedy}") from error
    except (OSError, errors.HTTPError) as error:
        if _is_unreachable(error):
            remedy = "check the connection and HF_HUB_OFFLINE"
            raise UserError(f"the hub cannot be reached for {place}: {remedy}") from error
        raise UserError(f"{place} cannot be had ({error}): make room, or try again") from error
