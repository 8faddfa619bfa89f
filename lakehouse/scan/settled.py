"""Remember how queries were planned, for those that come again while their tables are the same."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence

from lakehouse.delta.snapshot import Snapshot
from lakehouse.scan.asked import LONG, Asked
from lakehouse.scan.may import May
from lakehouse.scan.plan import Reach
from lakehouse.scan.report import Kept, TableRef

_REMEMBERED = 256

Key = tuple[object, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """Hold a query that can be run as it stands, after the statements ``before`` it.

    ``reads`` is what it reads of each table, ``off`` are optimizers that would give other rows.
    ``tried`` says that a form in which it runs faster was looked for.
    """

    sql: str
    before: tuple[str, ...]
    reads: tuple[tuple[May, tuple[Reach, ...], Kept], ...]
    off: tuple[str, ...] = ()
    tried: bool = False


def key_of(asked: Asked) -> Key:
    """Return what tells a query from others, as long as its snapshots live."""
    tables = tuple((ref.place, ref.shown, ref.numbered, id(ref.snapshot)) for ref in asked.refs)
    return asked.sql, tables, asked.queries, asked.others


class Remembered:
    """Hold what is settled for one engine; safe between threads.

    Only the query's text and the tables' snapshots may decide what it means and reads. Snapshots
    are told by identity, and not kept alive.
    """

    def __init__(self) -> None:
        self._known: dict[Key, tuple[tuple[weakref.ref[Snapshot], ...], Settled]] = {}

    def find(self, key: Key, refs: Sequence[TableRef]) -> Settled | None:
        """Return what is known of a query."""
        snapshots, found = self._known.get(key, ((), None))
        if all(known() is ref.snapshot for known, ref in zip(snapshots, refs, strict=False)):
            return found
        return None

    def keep(self, key: Key, refs: Sequence[TableRef], settled: Settled) -> None:
        """Remember a query."""
        if len(settled.sql) + sum(map(len, settled.before)) > LONG:
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = tuple(weakref.ref(ref.snapshot) for ref in refs), settled
