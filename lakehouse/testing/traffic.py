"""Requests to an object store: which storage call each is, and what passed."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from lakehouse.testing.faults import Call
from lakehouse.testing.wire import Head


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """Note one request: what it asked, what became of it, and nothing of its signature.

    ``path`` is bucket and key, for a listing bucket and prefix; below the proxy's ``root`` it is
    told from there. ``query`` are the names of the parameters. ``status`` is what the client was
    told (None: nothing), ``sent`` and ``received`` are bytes of bodies that reached the server
    and the client, ``started`` is a Unix time, ``fault`` is what was injected.
    """

    number: int
    call: Call
    method: str
    path: str
    query: tuple[str, ...] = ()
    range: str | None = None
    started: float = 0.0
    status: int | None = None
    sent: int = 0
    received: int = 0
    fault: str | None = None


@dataclasses.dataclass(slots=True)
class Passing:
    """Follow a request while it passes; each figure is set before the bytes it tells of leave."""

    begun: Request
    status: int | None = None
    sent: int = 0
    received: int = 0
    fault: str | None = None

    def seen(self) -> Request:
        """Return what has passed until now."""
        return dataclasses.replace(
            self.begun, status=self.status, sent=self.sent, received=self.received, fault=self.fault
        )


class Traffic:
    """Keep the requests in the order in which they came; safe between threads."""

    def __init__(self, root: str = "") -> None:
        self._root = root.strip("/")
        self._lock = threading.Lock()
        self._passing: list[Passing] = []
        self._count = 0

    def begin(self, head: Head) -> Passing:
        """Note a request that has come."""
        method, target, _ = head.first
        path, _, query = target.partition("?")
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        call = call_of(method, parameters, head.headers)
        place = _place(unquote(path), parameters if call == "list" else {}, self._root)
        with self._lock:
            self._count += 1
            passing = Passing(
                Request(
                    self._count, call, method, place, tuple(parameters),
                    head.headers.get("range"), time.time(),
                )
            )  # fmt: skip
            self._passing.append(passing)
        return passing

    def seen(self) -> tuple[Request, ...]:
        """Return all requests since the last `forget`."""
        with self._lock:
            return tuple(passing.seen() for passing in self._passing)

    def forget(self) -> None:
        """Begin a new list."""
        with self._lock:
            self._passing = []


def call_of(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Call:
    """Return which storage call a request of S3, Azure or Google storage is.

    >>> call_of("GET", {"list-type": "2", "prefix": "t/_delta_log/"}, {})
    'list'
    >>> call_of("PUT", {}, {"if-none-match": "*"})
    'put_if_absent'
    """
    if method == "DELETE" or (method == "POST" and ("delete" in query or _of(query, "batch"))):
        return "delete"
    if method in ("PUT", "POST"):
        absent = headers.get("if-none-match") == "*"
        absent = absent or headers.get("x-goog-if-generation-match") == "0"
        return "put_if_absent" if absent else "put"
    if method == "HEAD":
        return "head"
    listed = "list-type" in query or "prefix" in query or _of(query, "list")
    return "list" if listed else "read"


def _of(query: Mapping[str, str], operation: str) -> bool:
    return query.get("comp") == operation


def _place(path: str, query: Mapping[str, str], root: str) -> str:
    place = "/".join(part for part in (path.strip("/"), query.get("prefix", "")) if part)
    return place.removeprefix(f"{root}/") if root else place
