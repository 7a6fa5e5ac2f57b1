"""A hub on this machine that speaks as much of the protocol as huggingface_hub uses here."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "token-of-anna"  # who has it may read anna's private repositories, and write to hers


@dataclass
class Repository:
    """A repository of models: the files at each commit, and the commits that names stand for."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], name: str = "main") -> str:
        """Add or replace files, and return the new commit."""
        whole = self.commits.get(self.names.get(name, ""), {}) | files
        commit = hashlib.sha1(repr((len(self.commits), sorted(whole.items()))).encode()).hexdigest()
        self.commits[commit] = whole
        self.names[name] = commit
        return commit

    def find(self, revision: str) -> str | None:
        found = self.names.get(revision, revision)
        return found if found in self.commits else None


class Hub(ThreadingHTTPServer):
    """The server; `requests` has the method and path of all requests so far."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.broken = False  # answers 503 to everything
        self.sizes: dict[str, int] = {}  # sizes to claim for files, whatever they have

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        if self.server.broken:
            self._json({"error": "down for maintenance"}, 503)
            return
        for pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found:
                answer(self, body, *map(unquote, found.groups()))
                return
        self._json({"error": f"no route {path}"}, 404)

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _send(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: Any, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._send(
            json.dumps(content).encode(), {"Content-Type": "application/json"} | named, status
        )

    @property
    def _is_anna(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repository(self, name: str) -> Repository | None:
        """The repository, or None after an answer that it is not there for the one who asks."""
        found = self.server.repositories.get(name)
        if found is None or (found.private and not self._is_anna):
            status = 404 if self._is_anna else 401
            self._json({"error": "Repository not found"}, status, X_Error_Code="RepoNotFound")
            return None
        return found

    def _at(self, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self._repository(name)
        commit = repository and repository.find(revision)
        if repository is not None and commit is None:
            self._json({"error": "no revision"}, 404, X_Error_Code="RevisionNotFound")
        return (repository, commit) if repository and commit else None

    # --- reading ---

    def info(self, body: bytes, name: str, revision: str = "main") -> None:
        if (found := self._at(name, revision)) is None:
            return
        repository, commit = found
        files = [
            {
                "rfilename": file,
                "size": self.server.sizes.get(file, len(content)),
                "blobId": git_name(content),
                "lfs": _large(content) if is_large(file) else None,
            }
            for file, content in repository.commits[commit].items()
        ]
        answer = {"id": name, "sha": commit, "private": repository.private, "siblings": files}
        self._json(answer)

    def resolve(self, body: bytes, name: str, revision: str, file: str) -> None:
        if (found := self._at(name, revision)) is None:
            return
        repository, commit = found
        content = repository.commits[commit].get(file)
        if content is None:
            self._json({"error": "no file"}, 404, X_Error_Code="EntryNotFound")
            return
        etag = hashlib.sha256(content).hexdigest() if is_large(file) else git_name(content)
        self._send(content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

    # --- writing ---

    def create(self, body: bytes) -> None:
        wanted = json.loads(body)
        if not self._is_anna:
            self._json({"error": "Invalid username or password."}, 401)
            return
        if wanted["organization"] != "anna":
            self._json({"error": "You don't have the rights to create a model there."}, 403)
            return
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.server.repositories:
            self._json({"error": "You already created this model repo."}, 409)
            return
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        repository = self.server.repositories[name] = Repository(private)
        repository.commit({".gitattributes": b""})
        self._json({"url": f"{self.server.address}/{name}", "name": name})

    def validate(self, body: bytes) -> None:
        card = json.loads(body)["content"]
        front = yaml.safe_load(card.split("---\n")[1])
        wrong = front.get("license") == "no-such-licence"
        errors = [{"message": '"license" must be one of [mit, ...]'}] if wrong else []
        self._json({"errors": errors, "warnings": []}, 400 if wrong else 200)

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        if (found := self._at(name, revision)) is None:
            return
        there = found[0].commits[found[1]]
        files = []
        for asked in json.loads(body)["files"]:
            content, large = there.get(asked["path"]), is_large(asked["path"])
            files.append(
                {
                    "path": asked["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": None
                    if content is None
                    else hashlib.sha256(content).hexdigest()
                    if large
                    else git_name(content),
                }
            )
        self._json({"files": files})

    def batch(self, body: bytes, name: str) -> None:
        objects = []
        for wanted in json.loads(body)["objects"]:
            upload = {"href": f"{self.server.address}/large/{wanted['oid']}"}
            known = wanted["oid"] in self.server.large_files
            objects.append(wanted if known else wanted | {"actions": {"upload": upload}})
        self._json({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, name: str) -> None:
        assert hashlib.sha256(body).hexdigest() == name
        self.server.large_files[name] = body
        self._send(b"", {})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        if (found := self._at(name, revision)) is None:
            return
        repository, parent = found
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit", parent) != parent:
                self._json({"error": "A commit has happened since. Please refresh."}, 412)
                return
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                files[value["path"]] = self.server.large_files[value["oid"]]
        commit = repository.commit(files)
        url = f"{self.server.address}/{name}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    ("/api/repos/create", _Handler.create),
    ("/api/validate-yaml", _Handler.validate),
    (f"/api/models/{_NAME}/preupload/([^/]+)", _Handler.preupload),
    (f"/api/models/{_NAME}/commit/([^/]+)", _Handler.commit),
    (f"/api/models/{_NAME}/revision/([^/]+)", _Handler.info),
    (f"/api/models/{_NAME}", _Handler.info),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    ("/large/([0-9a-f]+)", _Handler.put),
    (f"/{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
)


def is_large(file: str) -> bool:
    return file.endswith((".safetensors", ".jpg"))


def _large(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 1}


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
