"""Let an instance's working threads read local files themselves, for a while or until told.

DuckDB 2 hands what it reads to threads of their own, which hides the waiting of a disk. For files
of a few kilobytes each, handing over takes longer than reading.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

_NAME = "async_threads"


class Fetching:
    """Do without threads for reading as long as somebody asks for that; safe between threads.

    ``run`` runs a statement in the instance, ``config`` is what it was opened with: a number that
    was chosen there stays. Only DuckDB 2 ``has`` these threads.
    """

    def __init__(
        self, run: Callable[[str], object], config: Mapping[str, object], *, has: bool
    ) -> None:
        self._run = run
        self._applies = has and _NAME not in config
        self._lock = threading.RLock()  # a signal's handler may interrupt whoever holds it
        self._count = 0
        self._preferred = False
        self._is_inline = False

    def prefer(self, *, inline: bool) -> None:
        """Read without these threads, or with them, also when nobody asks: until the next word."""
        with self._lock:
            self._preferred = inline
            self._settle()

    @contextlib.contextmanager
    def inline(self) -> Iterator[None]:
        """Read without these threads meanwhile; all of the instance's queries do."""
        with self._lock:
            self._count += 1
            self._settle()
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                self._settle()

    def _settle(self) -> None:
        wanted = self._applies and (self._preferred or self._count > 0)
        if wanted != self._is_inline:
            self._run(f"SET GLOBAL {_NAME} = 0" if wanted else f"RESET GLOBAL {_NAME}")
            self._is_inline = wanted
