"""Which files can hold the first rows by a column: those that reach as far as enough rows do.

A file whose smallest value is ``t`` has, for certain, as many rows of at least ``t`` as it has
rows that are not NULL and match the query's filters. Where files have enough such rows for
``ORDER BY c DESC LIMIT n`` together, no file whose largest value is below that ``t`` matters: not
even one whose value ties.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import literal
from lakehouse.scan.bounds import Bounds, bounds_of, compare
from lakehouse.scan.choice import Choice
from lakehouse.scan.may import May
from lakehouse.scan.plan import Order, Reach
from lakehouse.scan.report import TableRef

# So many rows are most of a table's: finding that out costs more than it saves.
MOST_ROWS = 100_000


def ordered(
    cursor: Connection,
    sql: str,
    ref: TableRef,
    scans: Sequence[Reach],
    choice: Choice,
    engine: Engine,
    every: Callable[[tuple[str, ...], Layout], str],
) -> Choice:
    """Return the choice of a table of which a query wants only the first rows, if it does.

    ``every`` returns SQL that is true for files of which every row passes filters.
    """
    order = scans[0].order if len(scans) == 1 else None
    layout = ref.snapshot.files.layout
    names = [field.name for field in layout.schema]
    if order is None or not is_certain(order, sql, names):
        return choice
    sure = every(scans[0].filters, layout)
    found = first(cursor, ref.snapshot, order, choice.where, sure, engine)
    if found is None:
        return choice
    way = "DESC" if order.descending else "ASC"
    shown = f"the first {order.rows} by {names[order.column]} {way}"
    return dataclasses.replace(choice, ordered=found, order=shown)


def first(
    cursor: Connection, snapshot: Snapshot, order: Order, where: May, every: str, engine: Engine
) -> May | None:
    """Return which files can hold the first rows of an order; None where all of them can.

    ``where`` is what the query's filters say of a file; ``every`` is SQL that is true for files of
    which every row passes them.
    """
    files = snapshot.files
    layout = files.layout
    bounds = _bounds(order, layout)
    if bounds is None or order.rows > MOST_ROWS or files.is_empty:
        return None
    type_ = to_duckdb(layout.schema.fields[order.column].type)
    end, way = (bounds.low, "DESC") if order.descending else (bounds.high, "ASC")
    condition = where.exact if files.stored is None else where.stored
    with files.on(cursor, engine) as index:
        found = cursor.execute(
            f"SELECT reach::VARCHAR FROM (SELECT reach, sum(sure) OVER (ORDER BY reach {way} "
            f"ROWS UNBOUNDED PRECEDING) AS total FROM (SELECT ({end})::{type_} AS reach, "
            f"({_sure(order, layout)}) AS sure FROM {index} WHERE {condition} AND {every}) "
            f"WHERE reach IS NOT NULL AND sure > 0) WHERE total >= {order.rows} "
            f"ORDER BY reach {way} LIMIT 1"
        ).fetchall()
    if not found:
        return None
    constant = f"CAST({literal(found[0][0])} AS {type_})"
    return compare(bounds, ">=" if order.descending else "<=", constant)


def is_certain(order: Order, sql: str, names: Sequence[str]) -> bool:
    """Tell whether a plan can be trusted to say which way the first column is sorted.

    It shows columns line by line, by names that may have more than one line.
    """
    quoted = '"' in sql and "\n" in sql
    return not order.mixed or not (quoted or any("\n" in name for name in names))


def _sure(order: Order, layout: Layout) -> str:
    """Return SQL for the least number of rows of a file that have a value."""
    field = layout.schema.fields[order.column]
    live = "rows - coalesce(deletion_vector.cardinality, 0)"
    if field.name in layout.partition_columns:
        return f"coalesce({live}, 0)"
    (leaf,) = (leaf for leaf in layout.leaves if leaf.path == (field,))
    # Rows that are deleted may be those that are not NULL.
    return (
        f"CASE WHEN nulls{leaf.ordinal} = 0 THEN coalesce({live}, 0) "
        f"WHEN deletion_vector IS NULL THEN coalesce(rows - nulls{leaf.ordinal}, 0) ELSE 0 END"
    )


def _bounds(order: Order, layout: Layout) -> Bounds | None:
    field = layout.schema.fields[order.column]
    if field.name in layout.partition_columns:
        column = f"p{layout.partition_columns.index(field.name)}"
        return Bounds(column, column, f"{column} IS NOT NULL")
    leaf = next((leaf for leaf in layout.leaves if leaf.path == (field,)), None)
    return None if leaf is None else bounds_of(leaf)
