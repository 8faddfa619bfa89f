"""Let something happen at the worst moment: right before a writer's first write into the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from catalog.backend import Backend
from catalog.location import join
from lakehouse.delta.log import LOG


class Ambush:
    """Call a function once, right before the first write into a transaction log.

    By then the writer has planned on what it knew, and written its data files.

    >>> from catalog.storage import open_storage
    >>> ambush = Ambush(lambda: print("first"))
    >>> storage = open_storage("memory://").wrapped(ambush.around)
    >>> storage.put_if_absent("part.parquet", b""), storage.put_if_absent("_delta_log/0.json", b"")
    first
    (True, True)
    """

    def __init__(self, attack: Callable[[], None]) -> None:
        self._attack: Callable[[], None] | None = attack

    def around(self, backend: Backend) -> Backend:
        """Return a backend in which the ambush lies (for `Storage.wrapped`)."""
        return cast(Backend, _Watched(backend, self, ""))

    def spring(self) -> None:
        """Call the function, unless it was called."""
        attack, self._attack = self._attack, None
        if attack is not None:
            attack()

    def meet(self, path: str) -> None:
        """Call the function if a file of a log is about to be written."""
        if LOG in path.split("/"):
            self.spring()


class _Watched:
    """Look at writes, and pass every call on; ``below`` is the folder below the wrapped storage."""

    def __init__(self, inner: Backend, ambush: Ambush, below: str) -> None:
        self._inner = inner
        self._ambush = ambush
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, path: str, data: bytes) -> None:
        self._ambush.meet(join(self._below, path))
        self._inner.put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self._ambush.meet(join(self._below, path))
        return self._inner.put_if_absent(path, data)

    def child(self, relative: str) -> Backend:
        below = join(self._below, relative)
        return cast(Backend, _Watched(self._inner.child(relative), self._ambush, below))
