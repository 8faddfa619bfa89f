"""Remote files in the process of a query, which cannot reach them: the lake reads them for it."""

from __future__ import annotations

import itertools
import json
import pickle
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, cast

from catalog import storage as storages
from catalog.errors import InputError
from catalog.storage import Storage, StoredObject
from catalog.storage.backend import Opened, Streams
from catalog.storage.location import join
from lakehouse.lake.untrusted import wire

_LARGEST = 1 << 62


class Requests:
    """Ask the lake for bytes of files; safe between threads."""

    def __init__(self, line: wire.Line) -> None:
        self._line = line
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}

    def ask(self, **request: Any) -> Any:
        """Return what the lake answers, or raise what it raised."""
        future: Future[Any] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
        self._line.send(wire.FETCH, json.dumps({"number": number, **request}).encode())
        return future.result()

    def answered(self, payload: bytes | bytearray) -> None:
        """Take an answer, for the thread that waits for it."""
        number, answer = pickle.loads(payload)
        with self._lock:
            future = self._waiting.pop(number)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


class Lent:
    """Stand for the storage of one table: files can be read, if they were planned."""

    def __init__(self, root: str, requests: Requests) -> None:
        self._root = root
        self._requests = requests

    @property
    def streams(self) -> Lent:
        """Return access to files in pieces."""
        return self

    def url(self) -> str:
        """Return where the table is."""
        return self._root

    def head(self, path: str) -> StoredObject | None:
        """Describe a file, or return None."""
        found: Opened = self.open_end(path, 1)
        return found.file

    def list(self, prefix: str = "") -> list[StoredObject]:
        """Return nothing: what can be read is named."""
        _ = prefix
        return []

    def open_end(self, path: str, length: int, *, size: int | None = None) -> Opened:
        """Return the last bytes of a file, as `Streams` does."""
        url = join(self._root, path)
        found = self._requests.ask(url=url, end=length, size=size)
        return cast(Opened, found)

    def read_range(self, path: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """Return bytes of a file, as `Streams` does."""
        url = join(self._root, path)
        return bytes(self._requests.ask(url=url, start=start, length=length, etag=etag))


def file_system(roots: Iterable[str], requests: Requests) -> storages.filesystem.StorageFileSystem:
    """Return a file system for DuckDB in which the tables at ``roots`` can be read."""
    files = storages.filesystem.StorageFileSystem(_nowhere)
    for root in roots:
        files.mount(cast(Storage, Lent(root, requests)))
    return files


def answer(request: dict[str, Any], places: Iterable[Storage], planned: frozenset[str]) -> Any:
    """Read what the process of a query asks for, if it is part of a planned file.

    It is not believed: InputError for anything else.
    """
    url = request.get("url")
    if url not in planned:
        raise InputError("a query's process asked for a file that was not planned")
    assert isinstance(url, str)
    place = next(p for p in places if url.startswith(p.url().rstrip("/") + "/"))
    path = url[len(place.url().rstrip("/")) + 1 :]
    streams: Streams | None = place.streams
    assert streams is not None
    if "end" in request:
        size = request["size"]
        length = _number(request["end"])
        return streams.open_end(path, length, size=None if size is None else _number(size))
    start, length = _number(request["start"]), _number(request["length"])
    return streams.read_range(path, start, length, etag=request["etag"])


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise InputError(f"a query's process asked for {value!r} bytes")
    return value


def _nowhere(uri: str) -> Storage:
    raise InputError(f"{uri} is no table of this query")
