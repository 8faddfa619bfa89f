"""Change how an instance plans, for a while: its settings are the same for all connections.

A connection that set and reset them by itself would change the plans of all others in between.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

_OFF, _MOST = "disabled_optimizers", "dynamic_or_filter_threshold"


class Planning:
    """Hold an instance's settings as long as somebody needs them; safe between threads.

    ``run`` runs a statement in the instance, ``config`` is what it was opened with.
    """

    def __init__(self, run: Callable[[str], object], config: Mapping[str, object]) -> None:
        self._run = run
        self._lock = threading.RLock()  # a signal's handler may interrupt whoever holds it
        self._own = frozenset(filter(None, str(config.get(_OFF, "")).split(",")))
        self._usual = (
            f"SET GLOBAL {_MOST} = {config[_MOST]}" if _MOST in config else f"RESET {_MOST}"
        )
        self._off: Counter[str] = Counter()
        self._most: Counter[int] = Counter()
        self._is = self._wanted

    @contextlib.contextmanager
    def changed(self, *, off: tuple[str, ...], most: int | None = None) -> Iterator[None]:
        """Let all connections plan without some optimizers meanwhile; without others, maybe.

        ``most`` is how many values of a join's keys may be listed in filters, at least.
        """
        listed = [] if most is None else [most]
        with self._lock:
            self._off.update(off)
            self._most.update(listed)
        try:
            self._apply()
            yield
        finally:
            with self._lock:
                self._off.subtract(off)
                self._most.subtract(listed)
            self._apply()

    def _apply(self) -> None:
        with self._lock:
            wanted = self._wanted
            for statement in set(wanted).difference(self._is):
                self._run(statement)
            self._is = wanted

    @property
    def _wanted(self) -> tuple[str, str]:
        off, most = self._own | set(+self._off), max(+self._most, default=None)
        return (
            f"SET GLOBAL {_OFF} = '{','.join(sorted(off))}'",
            self._usual if most is None else f"SET GLOBAL {_MOST} = {most}",
        )
