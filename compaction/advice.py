"""Propose columns to cluster and to partition by, from what was queried. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from lakehouse.lake.advice import PARTITION_BYTES
from lakehouse.scan.tally import Reads
from lakehouse.table.clustering import MOST_COLUMNS

_QUERIES = 10  # fewer tell nothing
_FILES = 8  # a query, on average: of fewer there is little to skip
_SHARE = 0.5  # of files that queries read, from which it is worth looking


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """Propose ``lakehouse.clusterBy`` for a table, or columns to partition a new one by.

    ``saving`` is about the share of the bytes that ``queries``, which filter by these columns and
    read ``bytes_read``, would no longer read, if each asks for one value.
    """

    table: str
    cluster_by: tuple[str, ...]
    queries: int
    bytes_read: int
    saving: float
    partition_by: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Divisible:
    """Describe a table that has no partitions: bytes, and how many ``values`` columns have at most.

    Columns of which that is not known are left out.
    """

    bytes: int
    values: Mapping[str, int]


def weights(reads: Iterable[Reads]) -> dict[str, float]:
    """Return how often each table was queried.

    >>> weights([Reads("silver.t", ("a",), 3, 9, 9, 9), Reads("silver.t", (), 1, 9, 9, 9)])
    {'silver.t': 4.0}
    """
    found: dict[str, float] = {}
    for read in reads:
        found[read.table] = found.get(read.table, 0.0) + read.queries
    return found


def advise(reads: Iterable[Reads], columns: Mapping[str, tuple[str, ...]]) -> tuple[Proposal, ...]:
    """Return proposals, those first that save the most bytes.

    ``columns`` are, for each table, those that it can be clustered by and is not yet; others are no
    part of a proposal.

    >>> read = Reads("silver.t", ("a", "b"), 20, 2000, 2000, 1 << 30)
    >>> advise([read], {"silver.t": ("a",)})[0].cluster_by
    ('a',)
    """
    found: dict[str, list[Reads]] = {}
    for read in filter(_is_wide, reads):
        useful = tuple(name for name in read.columns if name in columns.get(read.table, ()))
        if useful:
            usable = dataclasses.replace(read, columns=useful)
            found.setdefault(read.table, []).append(usable)
    return _ordered(_proposal(table) for table in found.values())


def advise_partitions(
    reads: Iterable[Reads], tables: Mapping[str, Divisible]
) -> tuple[Proposal, ...]:
    """Return for each table the column that it would pay most to partition it by, if any does.

    Its partitions are large enough then to fill files.

    >>> read = Reads("silver.t", ("day",), 20, 2000, 2000, 20 << 30)
    >>> (made,) = advise_partitions([read], {"silver.t": Divisible(10 << 30, {"day": 50})})
    >>> made.partition_by, made.saving
    (('day',), 0.98)
    """
    found: dict[tuple[str, str], list[Reads]] = {}
    for read in filter(_is_wide, reads):
        table = tables.get(read.table)
        for name in read.columns:
            values = 0 if table is None else table.values.get(name, 0)
            if table is not None and values > 1 and table.bytes >= values * PARTITION_BYTES:
                found.setdefault((read.table, name), []).append(read)
    best: dict[str, Proposal] = {}
    for (name, column), group in sorted(found.items()):
        queries, size = (sum(getattr(r, key) for r in group) for key in ("queries", "bytes_read"))
        saving = 1 - 1 / tables[name].values[column]
        made = Proposal(name, (), queries, size, saving, (column,))
        if queries >= _QUERIES and (name not in best or _saved(made) > _saved(best[name])):
            best[name] = made
    return _ordered(best.values())


def _is_wide(read: Reads) -> bool:
    """Tell whether queries read many files, and most of those that there are."""
    return read.files_total >= _FILES * read.queries and read.files_read > _SHARE * read.files_total


def _ordered(proposals: Iterable[Proposal | None]) -> tuple[Proposal, ...]:
    made = (one for one in proposals if one is not None)
    return tuple(sorted(made, key=_saved, reverse=True))


def _saved(proposal: Proposal) -> float:
    return proposal.saving * proposal.bytes_read


def _proposal(reads: list[Reads]) -> Proposal | None:
    if sum(read.queries for read in reads) < _QUERIES:
        return None
    asked: dict[str, int] = {}
    for read in reads:
        for name in read.columns:
            asked[name] = asked.get(name, 0) + read.bytes_read
    chosen = tuple(sorted(asked, key=lambda name: asked[name], reverse=True)[:MOST_COLUMNS])
    # A curve through n columns splits each of them into the n-th root of the number of files.
    total = saved = 0.0
    for read in reads:
        files = read.files_total / read.queries
        used = len(set(read.columns) & set(chosen))
        total += read.bytes_read
        saved += read.bytes_read * max(0.0, 1 - files ** (-used / len(chosen)))
    queries = sum(read.queries for read in reads)
    return Proposal(reads[0].table, chosen, queries, round(total), saved / total if total else 0.0)
