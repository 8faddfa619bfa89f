"""Propose columns to cluster by, from what was queried. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from lakehouse.scan.tally import Reads
from lakehouse.table.clustering import MOST_COLUMNS

_QUERIES = 10  # fewer tell nothing
_FILES = 8  # a query, on average: of fewer there is little to skip
_SHARE = 0.5  # of files that queries read, from which it is worth looking


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """Propose ``lakehouse.clusterBy`` for a table.

    ``saving`` is about the share of the bytes that ``queries``, which filter by these columns and
    read ``bytes_read``, would no longer read.
    """

    table: str
    cluster_by: tuple[str, ...]
    queries: int
    bytes_read: int
    saving: float


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
    for read in reads:
        useful = tuple(name for name in read.columns if name in columns.get(read.table, ()))
        if (
            useful
            and read.files_total >= _FILES * read.queries
            and read.files_read > _SHARE * read.files_total
        ):
            usable = dataclasses.replace(read, columns=useful)
            found.setdefault(read.table, []).append(usable)
    proposals = [made for table in found.values() if (made := _proposal(table)) is not None]
    return tuple(sorted(proposals, key=lambda made: made.saving * made.bytes_read, reverse=True))


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
