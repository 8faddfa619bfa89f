"""A backend that passes every call on, past somebody who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from catalog.storage.backend import Backend, StoredObject, Streams
from catalog.storage.location import join

T = TypeVar("T")


class Around(Protocol):
    """See a call: its name, its path below the storage that was wrapped, and how to make it."""

    def __call__(self, call: str, path: str, make: Callable[[], T], /) -> T:
        """Make the call, and return its result."""


class Watched:
    """Hand every call that reaches the storage to ``around``; see `Storage.wrapped`.

    >>> from catalog.storage import open_storage
    >>> def shout(call, path, make):
    ...     print(call, path)
    ...     return make()
    >>> storage = open_storage("memory://").wrapped(lambda inner: Watched(inner, shout))
    >>> storage.child("a").put_if_absent("1.json", b"{}")
    put_if_absent a/1.json
    True
    """

    def __init__(self, inner: Backend, around: Around, below: str = "") -> None:
        self._inner = inner
        self._around = around
        self._below = below

    def _call(self, name: str, path: str, make: Callable[[], T]) -> T:
        return self._around(name, join(self._below, path), make)

    def url(self, path: str) -> str:
        return self._inner.url(path)

    def read(self, path: str, at_most: int | None) -> bytes:
        return self._call("read", path, lambda: self._inner.read(path, at_most))

    def put(self, path: str, data: bytes) -> None:
        self._call("put", path, lambda: self._inner.put(path, data))

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self._call("put_if_absent", path, lambda: self._inner.put_if_absent(path, data))

    def upload(self, path: str, source: Path) -> None:
        self._call("upload", path, lambda: self._inner.upload(path, source))

    def copy(self, path: str, to: str) -> None:
        self._call("copy", path, lambda: self._inner.copy(path, to))

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        make = self._inner.list
        return self._call(
            "list", prefix, lambda: iter([*make(prefix, start_after, temporary=temporary)])
        )

    def list_at_once(self, prefix: str) -> Sequence[StoredObject] | None:
        return self._call("list", prefix, lambda: self._inner.list_at_once(prefix))

    def head(self, path: str) -> StoredObject | None:
        return self._call("head", path, lambda: self._inner.head(path))

    def delete(self, paths: Iterable[str]) -> None:
        listed = [*paths]
        self._call("delete", "".join(listed[:1]), lambda: self._inner.delete(listed))

    def sync(self, paths: Iterable[str]) -> None:
        listed = [*paths]
        self._call("sync", "".join(listed[:1]), lambda: self._inner.sync(listed))

    def require_inside(self, paths: Iterable[str]) -> None:
        self._inner.require_inside(paths)

    def streams(self) -> Streams | None:
        """Return access in pieces: DuckDB reads and writes data files past what watches."""
        return self._inner.streams()

    def child(self, relative: str) -> Backend:
        return Watched(self._inner.child(relative), self._around, join(self._below, relative))
