"""A store that fails on purpose, by seed: late, lost, refused, torn and stale answers.

It stands between the lake and any storage, so what the lake believes after a fault can be
compared with what the storage really holds. DuckDB reads and writes data files by URL, past it;
`FaultProxy` does the same on the wire, where nothing passes by.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from catalog.catalog import Catalog
from catalog.errors import OutcomeUnknownError, StorageError
from catalog.storage import open_storage
from catalog.storage.backend import Backend, StoredObject, Streams
from catalog.storage.location import join
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake

Fault = Literal[
    "dropped", "error_after", "repeated", "error_before", "torn", "unavailable", "refused",
    "read_error", "stale",
]  # fmt: skip
Call = Literal["put_if_absent", "put", "copy", "read", "head", "list", "delete", "sync"]
T = TypeVar("T")

# What may befall a call, in the order in which probabilities are laid out.
_POSSIBLE: Mapping[Call, tuple[Fault, ...]] = {
    "put_if_absent": (
        "dropped", "error_after", "repeated", "error_before", "torn", "unavailable", "refused",
    ),
    "put": ("dropped", "error_after", "error_before", "torn", "unavailable", "refused"),
    "copy": ("dropped", "error_before", "unavailable", "refused"),
    "read": ("read_error", "torn", "unavailable"),
    "head": ("read_error", "unavailable"),
    "list": ("read_error", "torn", "stale", "unavailable"),
    "delete": ("dropped", "error_before", "unavailable", "refused"),
    "sync": ("refused",),
}  # fmt: skip
_ARRIVES = frozenset(("dropped", "error_after", "repeated"))


@dataclasses.dataclass(frozen=True, slots=True)
class Faults:
    """Say how often a store fails, and how; probabilities of a call, drawn by ``seed``.

    After the write has happened: ``dropped`` (the connection breaks), ``error_after`` (500),
    ``repeated`` (the client library tries again by itself, and is told that the file exists).
    Before it: ``error_before`` (500), ``torn`` (the connection breaks on the way), ``refused``
    (an answer that proves that nothing was written). ``unavailable`` starts a storm of 503s that
    lasts ``storm`` calls. ``read_error`` and ``torn`` befall reads and listings too.

    ``stale`` listings leave out the newest file: no storage that we support does that, so it
    breaks the contract. Listings in ``pages`` of so many files keep it: what others write
    meanwhile may be in or not. ``delay`` is what every call takes longer, in seconds, and
    ``latency`` the longest that is drawn on top.

    Only calls whose path fits the pattern ``paths`` fail, and of those every ``every``-th.
    """

    seed: int = 0
    dropped: float = 0.0
    error_after: float = 0.0
    repeated: float = 0.0
    error_before: float = 0.0
    torn: float = 0.0
    unavailable: float = 0.0
    refused: float = 0.0
    read_error: float = 0.0
    stale: float = 0.0
    storm: int = 5
    pages: int = 0
    latency: float = 0.0
    paths: str = "*"
    every: int = 1
    delay: float = 0.0

    @classmethod
    def lost_answers(cls, *, seed: int = 0, every: int = 3) -> Faults:
        """Return the faults that lose the answer to every so-manyth commit of a table."""
        return cls(
            seed, dropped=0.34, error_after=0.33, repeated=0.33,
            paths="*_delta_log/????????????????????.json", every=every,
        )  # fmt: skip

    @classmethod
    def bad_day(cls, *, seed: int = 0) -> Faults:
        """Return a bit of everything that honest storage may do.

        Reads fail seldom: what arrives here has been through the client library's own retries.
        """
        return cls(
            seed, dropped=0.02, error_after=0.02, repeated=0.02, error_before=0.02, torn=0.002,
            unavailable=0.001, refused=0.01, read_error=0.002, pages=7, latency=0.002,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Injected:
    """Note one fault: the number of the call among all, the call, its path, and the fault."""

    number: int
    call: Call
    path: str
    fault: Fault


class Injector:
    """Inject faults into storage, and note them in ``log``; safe between threads.

    The same calls in the same order meet the same faults. ``replay`` takes the log of an earlier
    run, and injects just that.

    >>> injector = Injector(Faults(seed=1, dropped=1.0))
    >>> storage = open_storage("memory://").wrapped(injector.over)
    >>> storage.put_if_absent("a.json", b"{}")
    Traceback (most recent call last):
    catalog.errors.OutcomeUnknownError: no answer to put_if_absent a.json (injected: dropped)
    >>> storage.read("a.json"), injector.log[0].fault
    (b'{}', 'dropped')
    """

    def __init__(
        self,
        faults: Faults,
        *,
        replay: Iterable[Injected] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.faults = faults
        self.log: list[Injected] = []
        self._script = None if replay is None else {item.number: item.fault for item in replay}
        self._sleep = sleep
        self._lock = threading.Lock()
        self._calls = 0
        self._fitting = 0
        self._storm_ends = 0

    def over(self, backend: Backend) -> Backend:
        """Return a backend that fails where this one would not (for `Storage.wrapped`)."""
        return _FaultyBackend(backend, self)

    def next(self, call: Call, path: str) -> Fault | None:
        """Return what shall befall a call that begins now, having waited the latency."""
        with self._lock:
            self._calls += 1
            number = self._calls
            draw = random.Random(f"{self.faults.seed}/{number}")
            fault = self._choose(call, path, number, draw)
            if fault is not None:
                self.log.append(Injected(number, call, path, fault))
        if wait := self.faults.delay + draw.random() * self.faults.latency:
            self._sleep(wait)
        return fault

    def _choose(self, call: Call, path: str, number: int, draw: random.Random) -> Fault | None:
        if self._script is not None:
            return self._script.get(number)
        possible = _POSSIBLE[call]
        if number < self._storm_ends and "unavailable" in possible:
            return "unavailable"
        if not fnmatch.fnmatchcase(path, self.faults.paths):
            return None
        if not any(getattr(self.faults, fault) for fault in possible):
            return None
        self._fitting += 1
        if self._fitting % self.faults.every:
            return None
        point = draw.random()
        for fault in possible:
            point -= getattr(self.faults, fault)
            if point < 0:
                if fault == "unavailable":
                    self._storm_ends = number + self.faults.storm
                return fault
        return None


def connect_faulty(
    uri: str | os.PathLike[str],
    injector: Injector,
    *,
    create: bool = True,
    durable: bool = False,
    **storage_options: Any,
) -> Lake:
    """Open a lake whose storage fails as the injector says; see `lakehouse.connect`."""
    storage = open_storage(uri, durable=durable, **storage_options).wrapped(injector.over)
    # The probe's writers race: no seed would repeat what they meet.
    return Lake(storage, Catalog.open(storage, create=create, probe="never"), Engine())


@dataclasses.dataclass(frozen=True, slots=True)
class _FaultyBackend:
    """Pass calls on, or not; ``below`` is the folder below the storage that was wrapped."""

    inner: Backend
    injector: Injector
    below: str = ""

    def url(self, path: str) -> str:
        """Return what DuckDB opens: past the faults."""
        return self.inner.url(path)

    def read(self, path: str, at_most: int | None) -> bytes:
        """Read a file, or fail."""
        return self._reading("read", path, lambda: self.inner.read(path, at_most))

    def head(self, path: str) -> StoredObject | None:
        """Describe a file, or fail."""
        return self._reading("head", path, lambda: self.inner.head(path))

    def put(self, path: str, data: bytes) -> None:
        """Write a file, or fail before or after."""
        fault = self._next("put", path)
        if fault is None or fault in _ARRIVES:
            self.inner.put(path, data)
        if fault is not None:
            raise self._unanswered("put", path, fault)

    def upload(self, path: str, source: Path) -> None:
        """Write a file that stands on local disk, or fail before or after, as `put` does."""
        fault = self._next("put", path)
        if fault is None or fault in _ARRIVES:
            self.inner.upload(path, source)
        if fault is not None:
            raise self._unanswered("put", path, fault)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a file unless it exists, or fail before or after."""
        fault = self._next("put_if_absent", path)
        if fault is None:
            return self.inner.put_if_absent(path, data)
        if fault in _ARRIVES:
            self.inner.put_if_absent(path, data)
            if fault == "repeated":
                return False
        raise self._unanswered("put_if_absent", path, fault)

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        """List files; fail at once, halfway, or by leaving out the newest."""
        fault = self._next("list", prefix)
        if fault in ("read_error", "unavailable"):
            raise self._failed("list", prefix, fault)
        if fault is None:
            return self._paged(prefix, start_after, temporary=temporary)
        found = [*self.inner.list(prefix, start_after, temporary=temporary)]
        if fault == "torn":
            return self._torn(found, prefix)
        newest = max(found, key=lambda item: (item.modified, item.path), default=None)
        return (item for item in found if item is not newest)

    def list_at_once(self, prefix: str) -> Sequence[StoredObject] | None:  # noqa: ARG002
        """Tell nothing: `list` does, with its faults."""
        return None

    def copy(self, path: str, to: str) -> None:
        """Copy a file, or fail before or after."""
        fault = self._next("copy", path)
        if fault is None or fault in _ARRIVES:
            self.inner.copy(path, to)
        if fault is not None:
            raise self._failed("copy", path, fault)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files, or fail before or after."""
        listed = [*paths]
        fault = self._next("delete", listed[0] if listed else "")
        if fault is None or fault in _ARRIVES:
            self.inner.delete(listed)
        if fault is not None:
            raise self._failed("delete", listed[0] if listed else "", fault)

    def sync(self, paths: Iterable[str]) -> None:
        """Make files durable, or fail."""
        listed = [*paths]
        fault = self._next("sync", listed[0] if listed else "")
        if fault is not None:
            raise self._failed("sync", listed[0] if listed else "", fault)
        self.inner.sync(listed)

    def require_inside(self, paths: Iterable[str]) -> None:
        """Look at links, which asks nothing of the network."""
        self.inner.require_inside(paths)

    def streams(self) -> Streams | None:
        """Return access in pieces: DuckDB reads and writes data files past the faults."""
        return self.inner.streams()

    def child(self, relative: str) -> Backend:
        """Return the backend of a folder, which fails by the same injector."""
        return _FaultyBackend(self.inner.child(relative), self.injector, join(self.below, relative))

    def _next(self, call: Call, path: str) -> Fault | None:
        return self.injector.next(call, join(self.below, path))

    def _reading(self, call: Call, path: str, read: Callable[[], T]) -> T:
        fault = self._next(call, path)
        if fault is not None:
            raise self._failed(call, path, fault)
        return read()

    def _paged(
        self, prefix: str, start_after: str | None, *, temporary: bool
    ) -> Iterator[StoredObject]:
        size, after = self.injector.faults.pages, start_after
        if not size:
            yield from self.inner.list(prefix, after, temporary=temporary)
            return
        while page := [
            *itertools.islice(self.inner.list(prefix, after, temporary=temporary), size)
        ]:
            yield from page
            after = page[-1].path

    def _torn(self, found: Sequence[StoredObject], prefix: str) -> Iterator[StoredObject]:
        yield from found[: len(found) // 2]
        raise self._failed("list", prefix, "torn")

    def _unanswered(
        self, call: Call, path: str, fault: Fault
    ) -> StorageError | OutcomeUnknownError:
        if fault == "refused":
            return self._failed(call, path, fault)
        where = join(self.below, path)
        return OutcomeUnknownError(f"no answer to {call} {where} (injected: {fault})", path=where)

    def _failed(self, call: Call, path: str, fault: Fault) -> StorageError:
        where = join(self.below, path)
        return StorageError(f"cannot {call} {where} (injected: {fault})", path=where)
