"""Choose the files that a merge has to look into, by what its source and its conditions hold."""

from __future__ import annotations

from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml import covering
from lakehouse.dml.clauses import Merge
from lakehouse.dml.joining import Join, Pair, Scope, own_conditions
from lakehouse.dml.workspace import Given, Workspace
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import Connection
from lakehouse.duck.sql import identifier


def reached(
    merge: Merge,
    join: Join | None,
    scope: Scope,
    given: Given | None,
    snapshot: Snapshot,
    space: Workspace,
) -> str:
    """Return a predicate that is true for each row of the table that a merge may depend on.

    These are the rows that the source's keys can match, and those that the clauses for rows
    without a match can change.
    """
    terms: list[str] = []
    if join is not None:
        assert given is not None
        terms += join.own
        with space.engine.work("look at the keys") as cursor:
            terms += [_covered(cursor, pair, merge, given, snapshot) for pair in join.pairs]
    if not merge.of("not matched"):
        # No row without a change matters, then.
        changed = [
            covering.every(own_conditions(clause.condition, scope, space))
            for _, clause in merge.of("matched")
        ]
        terms.append(covering.some(changed))
    orphans = [
        covering.every(own_conditions(clause.condition, scope, space))
        for _, clause in merge.of("not matched by source")
    ]
    return covering.some([covering.every(terms), *orphans]) if orphans else covering.every(terms)


def _covered(cursor: Connection, pair: Pair, merge: Merge, given: Given, snapshot: Snapshot) -> str:
    """Return the predicate that a column is one that the source's keys can equal."""
    field = snapshot.schema.field(pair.column)
    assert field is not None
    keys = f"SELECT {pair.source} AS k FROM {given.place} AS {identifier(merge.source)}"
    (column,) = columns_of(cursor.sql(f"SELECT * FROM ({keys}) LIMIT 0"))
    (target,) = columns_of(cursor.sql(f"SELECT CAST(NULL AS {to_duckdb(field.type)}) AS k"))
    if not covering.is_ordered_alike(target.type, column.type):
        return "true"
    known = f"(SELECT k FROM ({keys}) WHERE k IS NOT NULL)"
    nulls = False
    if pair.null_safe:
        row = cursor.execute(f"SELECT bool_or(k IS NULL) FROM ({keys})").fetchone()
        nulls = row is not None and bool(row[0])
    some = cursor.execute(
        f"SELECT CAST(k AS VARCHAR) FROM (SELECT DISTINCT k FROM {known} "
        f"LIMIT {covering.MOST_VALUES + 1})"
    ).fetchall()
    if len(some) <= covering.MOST_VALUES:
        values = sorted(value for (value,) in some)
        return covering.one_of(pair.column, column.type, values, nulls=nulls)
    ranges = cursor.execute(covering.ranges(known, column.type)).fetchall()
    return covering.within(pair.column, column.type, ranges, nulls=nulls)
