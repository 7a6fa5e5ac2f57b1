"""What each request passes first: the token, the same origin, a limit of its size."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse

from fast_style.app.refusal import TOO_LARGE, UNKNOWN, Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

FORBIDDEN = 403
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
SMALL_BODY = 64 * 2**10  # bytes: of a request that carries no file, and of what surrounds one

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Gate:
    """Lets requests of the page itself through to an app, and nobody else's.

    Args:
        app: what answers, with paths that begin behind the token.
        token: what each path begins with; "" for none.
        hosts: what the header Host may be, in lower case; empty for anything. Without a token this
            keeps out the pages of others whose name was made to lead here (DNS rebinding).
        most_bytes: size of the largest file that is accepted.
    """

    def __init__(self, app: App, token: str, hosts: frozenset[str], most_bytes: int) -> None:
        self.app = app
        self.token = token
        self.hosts = hosts
        self.most_bytes = most_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        sending = _with_headers(send, scope["path"])
        path = self._behind_token(scope["path"])
        if path is None:
            await _refuse(UNKNOWN, "there is nothing here", scope, receive, sending)
        elif path == "":
            await RedirectResponse(f"/{self.token}/")(scope, receive, sending)
        elif (sentence := self._foreign(scope["method"], path, headers)) is not None:
            await _refuse(FORBIDDEN, sentence, scope, receive, sending)
        elif _length(headers) > self._limit(headers):
            await _refuse(TOO_LARGE, self._too_large(), scope, receive, sending)
        else:
            inner = dict(scope) | {"path": path, "raw_path": path.encode(), "root_path": ""}
            await self.app(inner, self._counted(receive, self._limit(headers)), sending)

    def _behind_token(self, path: str) -> str | None:
        """The path behind the token; None if there is another one."""
        if not self.token:
            return path
        given, slash, rest = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return None
        return slash + rest

    def _foreign(self, method: str, path: str, headers: Headers) -> str | None:
        """Why a request does not come from this page, or None."""
        host = headers.get("host", "").lower()
        if self.hosts and host not in self.hosts:
            return f"this server is not called '{host}': open the address that it printed"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return "another site asked for this: open the address that the server printed"
        # A link on another site may lead to the page, but no other site may embed what is here.
        opens_page = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
        embeds = headers.get("sec-fetch-dest") not in (None, "document", "empty")
        site = headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") and (embeds or not opens_page):
            return "another site asked for this: open the address that the server printed"
        return None

    def _limit(self, headers: Headers) -> int:
        is_form = headers.get("content-type", "").startswith("multipart/form-data")
        return SMALL_BODY + (self.most_bytes if is_form else 0)

    def _too_large(self) -> str:
        return f"files of more than {self.most_bytes / 2**20:g} MB are not taken: shrink it first"

    def _counted(self, receive: Receive, limit: int) -> Receive:
        """Refuse a body once it is too large, whatever length it claimed."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise Refusal(TOO_LARGE, self._too_large())
            return message

        return counted


def _length(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def _with_headers(send: Send, path: str) -> Send:
    private = "/api/" in path

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers["cache-control"] = "no-store" if private else "no-cache"
        await send(message)

    return sending


async def _refuse(status: int, sentence: str, scope: Message, receive: Receive, send: Send) -> None:
    await JSONResponse({"error": sentence}, status)(scope, receive, send)
