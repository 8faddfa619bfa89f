"""Let an instance's working threads read local files themselves, for a while.

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

    @contextlib.contextmanager
    def inline(self) -> Iterator[None]:
        """Read without these threads meanwhile; all of the instance's queries do."""
        if not self._applies:
            yield
            return
        with self._lock:
            if self._count == 0:
                self._run(f"SET GLOBAL {_NAME} = 0")
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if self._count == 0:
                    self._run(f"RESET GLOBAL {_NAME}")
