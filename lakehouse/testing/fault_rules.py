"""Faults on the wire by rule: which requests meet one, and what the client is told."""

from __future__ import annotations

import dataclasses
import fnmatch
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Literal
from xml.sax.saxutils import escape

from catalog.errors import InputError
from lakehouse.testing.faults import Fault, Faults, Injector
from lakehouse.testing.traffic import Request

WireFault = Fault | Literal["reset", "expired", "late", "slow"]

# What the server would say, by S3's code and by Azure's.
_TOLD: dict[WireFault, tuple[int, str, str]] = {
    "error_before": (500, "InternalError", "InternalError"),
    "error_after": (500, "InternalError", "InternalError"),
    "read_error": (500, "InternalError", "InternalError"),
    "unavailable": (503, "SlowDown", "ServerBusy"),
    "refused": (403, "AccessDenied", "AuthorizationFailure"),
    "expired": (400, "ExpiredToken", "AuthenticationFailed"),
}
TOLD_BEFORE: frozenset[WireFault] = frozenset(_TOLD) - {"error_after"}


@dataclasses.dataclass(frozen=True, slots=True)
class FaultRule:
    """Say what befalls the requests that fit, in the order in which they come.

    Beside the faults of `Faults`: ``reset`` (the connection breaks before the server hears of the
    request), ``expired`` (S3's ExpiredToken), ``late`` (by so many ``seconds``), ``slow`` (bodies
    pass at ``bytes_per_second``). A request may be late, slow, and meet one of the others.

    ``calls`` and ``paths`` are patterns; a call is one of `Call`, or an HTTP method. Of the
    requests that fit, the first ``after`` pass, then every ``every``-th meets the fault,
    ``times`` times at most. ``status`` is told instead of the usual one.

    >>> FaultRule("unavailable", calls="put*", paths="*/_delta_log/*.json", times=5).times
    5
    """

    fault: WireFault
    _: dataclasses.KW_ONLY
    calls: str = "*"
    paths: str = "*"
    every: int = 1
    after: int = 0
    times: int | None = None
    seconds: float = 0.03
    bytes_per_second: int = 1_000_000
    status: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or self.bytes_per_second < 1:
            raise InputError("every and bytes_per_second begin at 1")

    def fits(self, request: Request) -> bool:
        """Tell whether a request is one of those that count."""
        named = (request.call, request.method)
        return any(fnmatch.fnmatchcase(name, self.calls) for name in named) and (
            fnmatch.fnmatchcase(request.path, self.paths)
        )

    def hits(self, number: int) -> bool:
        """Tell whether the ``number``-th request that fits (from 1) meets the fault.

        >>> rule = FaultRule("reset", after=1, every=2, times=2)
        >>> [number for number in range(1, 10) if rule.hits(number)]
        [3, 5]
        """
        turn, rest = divmod(number - self.after, self.every)
        return rest == 0 and turn >= 1 and (self.times is None or turn <= self.times)


@dataclasses.dataclass(frozen=True, slots=True)
class Mishap:
    """Hold what befalls one request."""

    fault: WireFault | None = None
    seconds: float = 0.0
    bytes_per_second: int | None = None
    status: int | None = None


class FaultPlan:
    """Decide what befalls each request: by the rules, else by the seed; safe between threads."""

    def __init__(
        self, faults: Faults, rules: Sequence[FaultRule], *, sleep: Callable[[float], None]
    ) -> None:
        self._injector = Injector(faults, sleep=sleep)
        self._rules = tuple(rules)
        self._fitting = [0] * len(self._rules)
        self._lock = threading.Lock()

    def next(self, request: Request) -> Mishap:
        """Return what shall befall a request, having waited the delay and latency of `Faults`."""
        hit = self._hit(request)
        seconds = sum(rule.seconds for rule in hit if rule.fault == "late")
        rates = [rule.bytes_per_second for rule in hit if rule.fault == "slow"]
        drawn = self._injector.next(request.call, request.path)
        mishap = Mishap(drawn, seconds, min(rates, default=None))
        for rule in hit:
            if rule.fault not in ("late", "slow"):
                return dataclasses.replace(mishap, fault=rule.fault, status=rule.status)
        return mishap

    def _hit(self, request: Request) -> list[FaultRule]:
        hit = []
        with self._lock:
            for index, rule in enumerate(self._rules):
                if rule.fits(request):
                    self._fitting[index] += 1
                    if rule.hits(self._fitting[index]):
                        hit.append(rule)
        return hit


def told(
    fault: WireFault, request: Request, *, status: int | None, azure: bool
) -> tuple[int, bytes]:
    """Return the status and the whole answer of a server in trouble, as S3 or Azure words it."""
    usual, of_s3, of_azure = _TOLD[fault]
    status, code = status or usual, of_azure if azure else of_s3
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>injected: {fault}</Message><Resource>{escape(request.path)}</Resource>"
        f"<RequestId>{request.number}</RequestId></Error>"
    ).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/xml",
        f"Content-Length: {len(body)}",
        *([f"x-ms-error-code: {code}"] if azure else []),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return status, head if request.method == "HEAD" else head + body
