"""Look at the tables that were queried, and propose how to lay them out."""

from __future__ import annotations

from collections.abc import Sequence

from compaction.advice import Divisible, Proposal, advise, advise_partitions
from compaction.policy import Policy
from compaction.survey import tables_of
from lakehouse import Lake, Table
from lakehouse.lake.spread import most_values
from lakehouse.table.copying import leaves_of


def proposals(lake: Lake, *, tables: Sequence[str] | None = None) -> tuple[Proposal, ...]:
    """Return columns that it would pay to cluster or partition tables by, from what was queried.

    Of tables that are not clustered yet; see `Lake.reads` for what is known of queries.
    """
    reads = lake.reads()
    queried = {read.table for read in reads}
    columns, divisible = {}, {}
    for table in tables_of(lake, tables):
        if table.name not in queried:
            continue
        snapshot = table.snapshot()
        if Policy.of(snapshot.properties).cluster_by:
            continue
        columns[table.name] = tuple(leaf.path[0].name for leaf in leaves_of(snapshot))
        if not snapshot.partition_columns and not snapshot.files.is_empty:
            divisible[table.name] = _divisible(table)
    return (*advise(reads, columns), *advise_partitions(reads, divisible))


def _divisible(table: Table) -> Divisible:
    snapshot, engine = table.snapshot(), table.rewriter().engine
    leaves = leaves_of(snapshot)
    counts = ", ".join(
        # Where a file does not tell its bounds, it may hold anything.
        f"CASE WHEN count(min{leaf.ordinal}) = count(*) THEN {most_values(leaf)} END"
        for leaf in leaves
    )
    with engine.work("look at the table's files", reading=True) as cursor:
        with snapshot.files.on(cursor, engine) as index:
            sql = f"SELECT sum(size)::BIGINT, [{counts}]::HUGEINT[] FROM {index}"
            size, found = cursor.execute(sql).fetchall()[0]
    known = zip((leaf.path[0].name for leaf in leaves), found, strict=True)
    return Divisible(size, {name: int(count) for name, count in known if count is not None})
