"""Let an instance's working threads read local files themselves, and plainly, where that is less.

DuckDB 2 hands what it reads to threads of their own, which hides the waiting of a disk, and through
its cache of files in storage, which holds no local ones. For files of a few kilobytes each, both
take longer than reading.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

_MEANWHILE = {"async_threads": "0", "enable_external_file_cache": "false"}


class Fetching:
    """Do without all that as long as somebody asks for it; safe between threads.

    ``run`` runs a statement in the instance, ``config`` is what it was opened with: what was chosen
    there stays. Only DuckDB 2 ``has`` it.
    """

    def __init__(
        self, run: Callable[[str], object], config: Mapping[str, object], *, has: bool
    ) -> None:
        self._run = run
        self._settings = {k: v for k, v in _MEANWHILE.items() if has and k not in config}
        self._lock = threading.RLock()  # a signal's handler may interrupt whoever holds it
        self._count = 0
        self._preferred = False
        self._is_inline = False

    def prefer(self, *, inline: bool) -> None:
        """Read by the working threads, or not, also when nobody asks: until the next word."""
        with self._lock:
            self._preferred = inline
            self._settle()

    @contextlib.contextmanager
    def inline(self) -> Iterator[None]:
        """Read by the working threads meanwhile; all of the instance's queries do."""
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
        wanted = self._preferred or self._count > 0
        if wanted != self._is_inline:
            for name, value in self._settings.items():
                self._run(f"SET GLOBAL {name} = {value}" if wanted else f"RESET GLOBAL {name}")
            self._is_inline = wanted
