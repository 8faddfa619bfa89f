"""Let something happen at the worst moment: right before the act that others can see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from catalog.storage.backend import Backend
from lakehouse.delta.log import LOG
from lakehouse.testing.watched import Watched

T = TypeVar("T")


class Ambush:
    """Call a function once, right before the first write into a transaction log.

    By then the writer has planned on what it knew, and written its data files. One who writes
    nothing there, and deletes data files instead, is met ``at`` the first of those.

    >>> from catalog.storage import open_storage
    >>> ambush = Ambush(lambda: print("first"))
    >>> storage = open_storage("memory://").wrapped(ambush.around)
    >>> storage.put_if_absent("part.parquet", b""), storage.put_if_absent("_delta_log/0.json", b"")
    first
    (True, True)
    """

    def __init__(
        self, attack: Callable[[], object], *, at: Literal["write", "delete"] = "write"
    ) -> None:
        self._attack: Callable[[], object] | None = attack
        self._at = at

    def around(self, backend: Backend) -> Backend:
        """Return a backend in which the ambush lies (for `Storage.wrapped`)."""
        return Watched(backend, self._meet)

    @property
    def sprung(self) -> bool:
        """Tell whether the function was called."""
        return self._attack is None

    def spring(self) -> None:
        """Call the function, unless it was called."""
        attack, self._attack = self._attack, None
        if attack is not None:
            attack()

    def _meet(self, call: str, path: str, make: Callable[[], T]) -> T:
        is_write = call in ("put", "put_if_absent") and LOG in path.split("/")
        is_delete = call == "delete" and path.endswith(".parquet")
        if is_write if self._at == "write" else is_delete:
            self.spring()
        return make()
