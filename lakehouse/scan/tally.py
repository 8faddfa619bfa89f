"""Count what queries ask for, in memory: by which columns they filter, and which files they read.

It tells where sorting a table by other columns would pay. A scan adds to a few numbers; nothing is
written, and nothing of a query but the names of columns is kept.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterable, Sequence

from lakehouse.scan.plan import Reach
from lakehouse.scan.report import Kept, TableRef

_COLUMN = re.compile(r"\bc(\d+)_[0-9a-f]{20}\b")
_MOST = 1000  # tables with their columns


@dataclasses.dataclass(frozen=True, slots=True)
class Reads:
    """Hold how often a table was read with filters on some columns, and how much of it.

    ``files_total`` and ``files_read`` are sums over the queries, ``bytes_read`` are the files'.
    """

    table: str
    columns: tuple[str, ...]
    queries: int
    files_total: int
    files_read: int
    bytes_read: int

    def plus(self, other: Reads) -> Reads:
        """Return both together."""
        return dataclasses.replace(
            self,
            queries=self.queries + other.queries,
            files_total=self.files_total + other.files_total,
            files_read=self.files_read + other.files_read,
            bytes_read=self.bytes_read + other.bytes_read,
        )


def read_of(ref: TableRef, scans: Sequence[Reach], kept: Kept) -> Reads | None:
    """Return one query's reading of one table; None where the log answers it."""
    if kept.from_log:
        return None
    fields = ref.snapshot.schema.fields
    numbers = {int(m[1]) for s in scans for f in s.filters for m in _COLUMN.finditer(f)}
    columns = tuple(fields[number].name for number in sorted(numbers))
    return Reads(ref.shown, columns, 1, ref.snapshot.files.about, kept.files, kept.bytes)


class Tally:
    """Count reads; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reads: dict[tuple[str, tuple[str, ...]], Reads] = {}

    def add(self, read: Reads) -> None:
        """Count one query's reading of one table."""
        key = read.table, read.columns
        with self._lock:
            known = self._reads.get(key)
            if known is not None:
                self._reads[key] = known.plus(read)
            elif len(self._reads) < _MOST:
                self._reads[key] = read

    def counted(self) -> tuple[Reads, ...]:
        """Return all counts."""
        with self._lock:
            return tuple(self._reads.values())


def merged(reads: Iterable[Reads]) -> tuple[Reads, ...]:
    """Return counts with those of one table and the same columns added up.

    >>> one = Reads("silver.t", ("a",), 1, 10, 5, 100)
    >>> [(read.queries, read.files_read) for read in merged([one, one])]
    [(2, 10)]
    """
    found: dict[tuple[str, tuple[str, ...]], Reads] = {}
    for read in reads:
        key = (read.table, read.columns)
        found[key] = found[key].plus(read) if key in found else read
    return tuple(found.values())
