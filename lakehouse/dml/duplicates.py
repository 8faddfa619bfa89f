"""Refuse a source of which several rows would update one row of the table."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import DataError
from lakehouse.dml.clauses import Merge
from lakehouse.dml.joining import Join
from lakehouse.dml.workspace import ROW, Given
from lakehouse.duck.engine import Connection
from lakehouse.duck.sql import identifier
from lakehouse.write.samples import SAMPLES, many


def check_duplicates(
    cursor: Connection, hits: str, merge: Merge, join: Join | None, given: Given | None
) -> None:
    """Raise DataError, with samples of keys, where what becomes of a row is not one thing.

    By the rule of the SQL standard, as in Spark: source rows count whose clause applies. Several
    that delete a row agree. ``hits`` names the table of hits.
    """
    updates = [str(number) for number, c in enumerate(merge.clauses, 1) if c.verb == "update"]
    if given is None or not updates:
        return
    several = (
        f"SELECT file, row FROM {hits} WHERE clause <> 0 GROUP BY file, row "
        f"HAVING count(*) > 1 AND bool_or(clause IN ({', '.join(updates)}))"
    )
    row = cursor.execute(f"SELECT count(*) FROM ({several})").fetchone()
    count = 0 if row is None else int(row[0])
    if not count:
        return
    pairs = join.pairs if join else ()
    names: Sequence[str] = [pair.column for pair in pairs] or [c.name for c in given.columns]
    values = [pair.source for pair in pairs] or [identifier(c.name) for c in given.columns]
    shown = ", ".join(f"left(CAST({value} AS VARCHAR), 100)" for value in values)
    source = identifier(merge.source)
    found = cursor.execute(
        f"SELECT DISTINCT {shown} FROM ({several}) AS twice JOIN {hits} AS h USING (file, row) "
        f"JOIN {given.place} AS {source} ON {source}.{identifier(ROW)} = h.source "
        f"WHERE h.clause <> 0 LIMIT {SAMPLES}"
    ).fetchall()
    samples = tuple(", ".join(str(value) for value in sample) for sample in found)
    raise DataError(
        f"several rows of the source would update the same row, {many(count)} of the table; for "
        f"example where {', '.join(names)} is {'; or '.join(samples[:3])}",
        next_step="Leave one of each in the source, for example with "
        "deduplicate='latest by <column>'; nothing was written",
        column=names[0],
        count=count,
        samples=samples,
    )
