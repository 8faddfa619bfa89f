"""Choose the files that a merge has to look into, by what its source and its conditions hold."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml import covering
from lakehouse.dml.clauses import Merge
from lakehouse.dml.joining import Join, Pair, Scope, own_conditions
from lakehouse.dml.parts import reference
from lakehouse.dml.workspace import Given, Workspace
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import Connection
from lakehouse.duck.sql import identifier
from lakehouse.scan.bounds import Bounds, bounds_of, is_null
from lakehouse.scan.matching import Question, asked_of
from lakehouse.scan.may import EVERY, NONE, May, all_of, any_of
from lakehouse.scan.read import Scanner


def reached(
    merge: Merge,
    join: Join | None,
    scope: Scope,
    given: Given | None,
    snapshot: Snapshot,
    *,
    space: Workspace,
    scanner: Scanner,
) -> Question:
    """Return what to ask about files to find those that a merge may depend on.

    They hold rows that the source's keys can match, or that the clauses for rows without a match
    can change.
    """

    def told(texts: Sequence[str]) -> May:
        return scanner.may_match(reference(snapshot), covering.every(texts)) if texts else EVERY

    def changed(clauses: Sequence[str | None]) -> May:
        return any_of([told(own_conditions(text, scope, space)) for text in clauses])

    terms: list[May] = []
    if join is not None:
        assert given is not None
        terms.append(told(join.own))
        rows = f"{given.place} AS {identifier(merge.source)}"
        with space.engine.work("look at the keys") as cursor:
            terms += [
                _met(cursor, pair, f"search{number}", rows, snapshot, space)
                for number, pair in enumerate(join.pairs)
            ]
    if not merge.of("not matched"):
        # No row without a change matters, then.
        terms.append(changed([clause.condition for _, clause in merge.of("matched")]))
    orphans = [clause.condition for _, clause in merge.of("not matched by source")]
    may = any_of([all_of(terms), changed(orphans)])
    return asked_of(may, snapshot.files.layout)


def _met(
    cursor: Connection, pair: Pair, name: str, rows: str, snapshot: Snapshot, space: Workspace
) -> May:
    """Return which files may hold a row that equals one of the keys in SQL ``rows``."""
    field = snapshot.schema.field(pair.column)
    assert field is not None
    keys = f"(SELECT {pair.source} AS k FROM {rows})"
    column, target = (
        c.type
        for c in columns_of(
            cursor.sql(f"SELECT k, CAST(NULL AS {to_duckdb(field.type)}) AS t FROM {keys} LIMIT 0")
        )
    )
    found = _bounds(pair.column, snapshot.files.layout)
    if found is None or not covering.is_ordered_alike(target, column):
        return EVERY
    bounds, null = found
    known = f"(SELECT k FROM {keys} WHERE k IS NOT NULL)"
    place = space.new_place("keys")
    cursor.execute(
        f"CREATE TABLE {place} AS SELECT DISTINCT k AS value FROM {known} "
        f"LIMIT {covering.MOST_VALUES + 1}"
    )
    ends = "CAST(min(value) AS VARCHAR), CAST(max(value) AS VARCHAR)"
    ((count, least, most),) = cursor.execute(f"SELECT count(*), {ends} FROM {place}").fetchall()
    if not count:
        met = NONE
    elif count <= covering.MOST_VALUES:
        met = covering.one_of(bounds, column, place, (least, most), name=name)
    else:
        cursor.execute(f"DROP TABLE {place}")
        ranges = cursor.execute(covering.ranges(known, column)).fetchall()
        met = covering.within(bounds, column, ranges)
    if pair.null_safe:
        ((nulls,),) = cursor.execute(f"SELECT count(*) FROM {keys} WHERE k IS NULL").fetchall()
        return any_of([met, May(null)]) if nulls else met
    return met


def _bounds(name: str, layout: Layout) -> tuple[Bounds, str] | None:
    """Return a column's bounds in the index, and SQL of whether it may be NULL in a file."""
    if name in layout.partition_columns:
        value = f"p{layout.partition_columns.index(name)}"
        return Bounds(value, value, f"{value} IS NOT NULL"), f"({value} IS NULL)"
    for leaf in layout.leaves:
        if tuple(field.name for field in leaf.path) == (name,):
            bounds = bounds_of(leaf)
            return None if bounds is None else (bounds, is_null(leaf, want=True).exact)
    return None
