"""Advise on the layout of a table that a query reads far more of than it needs.

Pure: from counts and a sample of the files' statistics to a suggestion with its expected saving.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

from lakehouse.duck.sql import identifier, literal, whole_name
from lakehouse.scan.report import TableScan

_FACTOR = 4  # less than this is within what a sample can be wrong by
_BYTES = 8_000_000  # worth a rewrite: less is read in a moment,
_FILES = 100  # unless each costs a request
PARTITION_BYTES = 64_000_000  # a partition should fill a file of this size
_CLUSTERED = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """Say how a column with a filter lies over the files of a table, by a sample of its values.

    ``depth`` is how many files' bounds hold a value, on average: 1 is clustered. ``matching`` is
    the share of values that the filters let pass, which lie in ``places``. ``values`` is how many
    different ones there are at most, or None where that is not known.
    """

    column: str
    depth: float
    matching: float
    values: int | None = None
    places: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Advice:
    """Suggest to cluster or to partition a table by a column, for the sake of one query.

    ``files`` and ``bytes`` are what the query reads now, ``files_then`` and ``bytes_then`` about
    what it would read.
    """

    table: str
    action: Literal["cluster", "partition"]
    column: str
    files: int
    bytes: int
    files_then: int
    bytes_then: int

    @property
    def sql(self) -> str:
        """Return a statement that follows the advice: at once, or when upkeep next runs.

        >>> print(Advice("a.b", "cluster", "ts", 16, 47, 1, 3).sql)
        ALTER TABLE "a"."b" SET TBLPROPERTIES ('lakehouse.clusterBy' = 'ts')
        """
        if self.action == "cluster":
            properties = f"'lakehouse.clusterBy' = {literal(self.column)}"
            return f"ALTER TABLE {whole_name(self.table)} SET TBLPROPERTIES ({properties})"
        columns, copy = identifier(self.column), whole_name(f"{self.table}_partitioned")
        return f"CREATE TABLE {copy} PARTITIONED BY ({columns}) AS FROM {whole_name(self.table)}"


def is_worth_a_look(scan: TableScan) -> bool:
    """Tell whether a query reads so much of a table that advice may come of it.

    >>> is_worth_a_look(TableScan("a.b", 3, 9, 2, 900, 200, None, None, None, (), ()))
    False
    """
    much = scan.bytes_kept >= _BYTES or scan.files_kept >= _FILES
    return not scan.answered_from_log and scan.files_kept >= 2 * _FACTOR and much


def advise(scan: TableScan, spreads: Sequence[Spread]) -> Advice | None:
    """Return the layout that would save this query the most, or None where nothing is worth it.

    >>> scan = TableScan("silver.flights", 3, 100, 100, 10**9, 10**9, None, None, None, (), ())
    >>> advise(scan, [Spread("ts", depth=100.0, matching=0.01)])
    Advice(table='silver.flights', action='cluster', column='ts', files=100, bytes=1000000000,
    files_then=2, bytes_then=20000000)
    >>> advise(scan, [Spread("ts", depth=1.0, matching=0.01)])  # it is clustered
    """
    if not is_worth_a_look(scan):
        return None
    found = [(_files_then(scan, spread), spread) for spread in spreads if _is_spread(spread)]
    if not found:
        return None
    files, spread = min(found, key=lambda pair: (pair[0], pair[1].column))
    size = round(scan.bytes_kept * files / scan.files_kept)
    saves = scan.bytes_kept - size >= _BYTES or scan.files_kept - files >= _FILES
    if not saves or files * _FACTOR > scan.files_kept:
        return None
    fills = spread.values is not None and scan.bytes_total >= spread.values * PARTITION_BYTES
    return Advice(
        table=scan.name,
        action="partition" if fills else "cluster",
        column=spread.column,
        files=scan.files_kept,
        bytes=scan.bytes_kept,
        files_then=files,
        bytes_then=size,
    )


def _is_spread(spread: Spread) -> bool:
    return spread.depth >= _CLUSTERED


def _files_then(scan: TableScan, spread: Spread) -> int:
    """Return about how many files hold matching rows where they lie side by side."""
    matching = max(math.ceil(spread.matching * scan.files_total), spread.places)
    # A sample misses what is rare: no better than if each value were in one file of its own.
    alone = math.ceil(scan.files_kept / spread.depth)
    # One more, because what matches begins and ends within files.
    return min(max(matching, alone) + 1, scan.files_kept)
