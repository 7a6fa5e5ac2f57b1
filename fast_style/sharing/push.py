"""Push a style to a hub, with a card, in one commit that replaces nothing unasked."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fast_style.checkpoint import read_style
from fast_style.errors import UserError
from fast_style.extras import need
from fast_style.hub import SUFFIX, Address, as_user_errors
from fast_style.sharing.card import CARD, make_card


@dataclass(frozen=True)
class Push:
    """What would be pushed.

    Args:
        repository: owner and name.
        files: content of each file, by its path in the repository.
        private: whether the repository is private, or will be.
        parent: commit that the repository is at; None where it does not exist yet.
        replaced: files that the repository has with other content.
    """

    repository: str
    files: dict[str, bytes]
    private: bool
    parent: str | None
    replaced: list[str]

    def send(self) -> Address:
        """Push all files in one commit, and return the style's address at that commit.

        Raises:
            UserError: if the hub refuses, or the repository has changed since it was looked at.
        """
        from huggingface_hub import CommitOperationAdd, HfApi, ModelCard

        hub = HfApi()
        file = next(name for name in self.files if name.endswith(SUFFIX))
        try:
            with as_user_errors(self.repository):
                # Before a repository is made, which would stay empty.
                ModelCard(self.files[CARD].decode()).validate()
                if self.parent is None:
                    hub.create_repo(self.repository, private=self.private)
                done = hub.create_commit(
                    self.repository,
                    [CommitOperationAdd(name, content) for name, content in self.files.items()],
                    commit_message=f"Add {file}",
                    parent_commit=self.parent,
                )
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"the hub refused the files for {self.repository}: {reason}") from error
        return Address(self.repository, done.oid, file)


def prepare_push(
    style: str | Path, repository: str, license: str | None = None, private: bool = False
) -> Push:
    """Make a style's card and look at the repository. Nothing is changed.

    Args:
        style: as for `read_style`.
        repository: owner and name, as ``owner/name``.
        license: the hub's name of a licence, as ``mit``.
        private: whether nobody else is to see the repository.

    Raises:
        UserError: if the style cannot be read, nobody is logged in, or the hub refuses.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository):
        raise UserError(f"'{repository}' names no repository: write owner/name")
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise UserError(f"'{license}' is no licence's name: write one such as mit or cc-by-4.0")
    read_style(style)  # what can be checked here comes before what the hub asks for
    need("hub", "styles on a hub", "huggingface_hub")
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if get_token() is None:
        raise UserError("nobody is logged in to the hub: run `hf auth login`, or set HF_TOKEN")
    try:
        with as_user_errors(repository):
            info = HfApi().model_info(repository, files_metadata=True)
    except UserError as error:
        if type(error.__cause__) is RepositoryNotFoundError:
            return Push(repository, make_card(style, repository, license), private, None, [])
        raise
    if private and not info.private:
        raise UserError(
            f"{repository} exists and is public: make it private on its page, or name another"
        )
    files = make_card(style, repository, license)
    there = {
        each.rfilename: each.lfs.sha256 if each.lfs else each.blob_id
        for each in info.siblings or ()
    }
    replaced = [
        name
        for name, content in files.items()
        if name in there and there[name] not in (_sha256(content), _git_name(content))
    ]
    return Push(repository, files, bool(info.private), info.sha, replaced)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_name(content: bytes) -> str:
    """The name that Git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
