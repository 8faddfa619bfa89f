"""Look after tables behind their writers: checkpoints, and the log entries they make expire.

The commit stands before any of this begins, and nothing here can fail it. What is written is
put in place whole, so a process may end at any moment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from catalog.errors import UnsupportedError
from lakehouse import table as verbs
from lakehouse.delta.cadence import asks, interval_of, is_due, lag_of
from lakehouse.delta.expiry import DAY
from lakehouse.delta.log import list_from, read_hint
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine

Held = Callable[[], Collection[int]]
_log = logging.getLogger("lakehouse")


class Background:
    """Work for the tables of one lake, one piece at a time, in a thread that ends with its work.

    The thread is no daemon: a program that ends waits for the piece at hand, at most seconds.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[str, Snapshot, Held]] = {}
        self._worker: threading.Thread | None = None
        self._expired: dict[str, int] = {}

    def committed(self, name: str, snapshot: Snapshot, held: Held = tuple) -> None:
        """Hear of a commit, and return at once; ``name`` is for messages.

        ``held`` tells which versions must stay readable.
        """
        if not asks(snapshot.version, snapshot.properties):
            return
        with self._lock:
            # A newer state replaces one that still waits: only the newest checkpoint is read.
            self._waiting[snapshot.storage.uri] = (name, snapshot, held)
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._run, name="lakehouse-background")
                try:
                    self._worker.start()
                except RuntimeError:  # the interpreter is about to end: somebody else's turn
                    self._worker = None
                    self._waiting.clear()

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        while (worker := self._working()) is not None:
            worker.join()

    def _working(self) -> threading.Thread | None:
        with self._lock:
            # One that does not live was left behind by a fork.
            return self._worker if self._worker and self._worker.is_alive() else None

    def _run(self) -> None:
        try:
            while (piece := self._next()) is not None:
                self._look_after(*piece)
        except BaseException:
            self._worker = None  # so that the next commit starts another
            raise

    def _next(self) -> tuple[str, Snapshot, Held] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.pop(next(iter(self._waiting)))
            # Under the lock: a commit from now on must find that nobody works.
            self._worker = None
            return None

    def _look_after(self, name: str, snapshot: Snapshot, held: Held) -> None:
        try:
            if _is_due(snapshot):
                verbs.write_checkpoint(snapshot, self._engine)
                self._expire(snapshot, held)
        except UnsupportedError as error:
            _log.debug("the log of %s is kept whole: %s", name, error)
        except Exception as error:  # noqa: BLE001 - nobody called: it can only be told
            _log.warning("no checkpoint of %s version %d: %s", name, snapshot.version, error)

    def _expire(self, snapshot: Snapshot, held: Held) -> None:
        # The rule counts in days, and asking it means listing the whole log.
        today = time.time_ns() // 1_000_000 // DAY
        if self._expired.get(snapshot.storage.uri) != today:
            self._expired[snapshot.storage.uri] = today
            verbs.retention.expire_log(snapshot, engine=self._engine, keep_versions=held())


def _is_due(snapshot: Snapshot) -> bool:
    objects = list(list_from(snapshot.storage, read_hint(snapshot.storage) or 0))
    return is_due(lag_of(objects, snapshot.version), interval_of(snapshot.properties))
