"""Run the server until Ctrl-C."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from fast_style.app.gate import LOOPBACK_NAMES, App, Gate
from fast_style.app.limits import Limits
from fast_style.app.web import make_app
from fast_style.devices import find_device, is_cpu
from fast_style.errors import UserError

LAST_ANSWERS_S = 3  # how long the end waits for answers that are being sent


@dataclass(frozen=True)
class Settings:
    """How the app is served.

    Args:
        host: address to listen at.
        port: port to listen at; 0 for any free one.
        device: where to paint and train, as for `Stylizer`.
        styles: folder of further styles, to which trained ones are added.
        photos: folders of photos that trainings may use. Without any, they may use every folder if
            this machine alone can reach the server, and else none.
        training: settings of all trainings, as for ``fast-style train``.
        limits: what visitors may ask for.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "auto"
    styles: Path = Path("styles")
    photos: tuple[Path, ...] = ()
    training: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def is_private(self) -> bool:
        """Whether this machine alone can reach the server."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def roots(self) -> list[Path] | None:
        """Folders whose photos trainings may use; None for all."""
        return None if self.is_private and not self.photos else list(self.photos)


def serve(settings: Settings, ready: Callable[[str], object]) -> None:
    """Serve the app until SIGINT or SIGTERM.

    Args:
        settings: see there.
        ready: called with the address to open, once the server listens.

    Raises:
        UserError: if it cannot listen there, or this machine does not have the device.
    """
    if not is_cpu(settings.device):
        find_device(settings.device)  # refused now, rather than with each photo
    with _listening(settings) as listener:
        port = listener.getsockname()[1]
        token = "" if settings.is_private else secrets.token_urlsafe(32)
        config = uvicorn.Config(
            gated(settings, token, port),
            log_level="warning",
            access_log=False,  # addresses are secrets
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_ANSWERS_S,
        )
        ready(f"http://{_shown_host(settings)}:{port}/{token}{'/' if token else ''}")
        uvicorn.Server(config).run(sockets=[listener])


def gated(settings: Settings, token: str, port: int) -> App:
    """Return the app behind its gate.

    Args:
        settings: see there.
        token: what paths begin with; "" for none.
        port: the port that the header Host names.
    """
    hosts = frozenset[str]()
    if not token:
        names = {*LOOPBACK_NAMES, _shown_host(settings).lower()}
        hosts = frozenset({f"{name}:{port}" for name in names} | (names if port == 80 else set()))
    app = make_app(
        settings.styles, settings.roots, settings.training, settings.device, settings.limits
    )
    return Gate(app, token, hosts, settings.limits.upload_bytes)


def _listening(settings: Settings) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while ")[0]  # Python adds the address
        raise UserError(
            f"the server cannot listen at {settings.host}, port {settings.port} "
            f"({reason}): choose another --port or --host"
        ) from error


def _shown_host(settings: Settings) -> str:
    """The name in the address to open; one that listens everywhere is called by its own."""
    if settings.host in ("0.0.0.0", "::"):
        return _own_address()
    return f"[{settings.host}]" if ":" in settings.host else settings.host


def _own_address() -> str:
    """This machine's address in its network, as far as it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation; nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
