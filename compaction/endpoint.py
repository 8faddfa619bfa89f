"""Answer ``/healthz`` and ``/metrics`` over HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from catalog.errors import InputError

Health = Callable[[], tuple[bool, Mapping[str, Any]]]
PORT = 9464
_TIMEOUT = 10.0  # seconds for a request to arrive


def parse_address(text: str) -> tuple[str, int]:
    """Return the host and port of an address; the host is this machine unless it is named.

    >>> parse_address("0.0.0.0:9464"), parse_address(":0"), parse_address("[::1]:80")
    (('0.0.0.0', 9464), ('127.0.0.1', 0), ('::1', 80))
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InputError(f"{text!r} is no address", next_step="Write HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextlib.contextmanager
def serve(
    address: tuple[str, int], *, health: Health, metrics: Callable[[], tuple[str, bytes]]
) -> Iterator[tuple[str, int]]:
    """Answer for a block, and yield the address: port 0 takes one that is free.

    ``health`` returns whether all is well (200, else 503) and what to say; ``metrics`` the content
    type and the text. Raises InputError where the address cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT
        server_version = "lakehouse"
        sys_version = ""

        def do_GET(self) -> None:
            """Answer a request."""
            match self.path.partition("?")[0]:
                case "/healthz":
                    well, told = health()
                    body = json.dumps({"healthy": well, **told}).encode() + b"\n"
                    self._answer(200 if well else 503, "application/json", body)
                case "/metrics":
                    self._answer(200, *metrics())
                case _:
                    self._answer(404, "text/plain", b"/healthz and /metrics are here\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: each probe would be a line."""

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET

        def handle_error(self, request: object, client_address: object) -> None:
            """Leave it: who asked went away."""

    try:
        server = Server(address, Handler)
    except OSError as error:
        raise InputError(
            f"cannot listen on {address[0]}:{address[1]}: {error.strerror or error}",
            next_step="Name another address with --listen HOST:PORT",
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield address[0], server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
