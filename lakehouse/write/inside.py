"""Refuse rows that are not inside of what a partial overwrite replaces."""

from __future__ import annotations

import re

from catalog.errors import DataError
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import DuckError
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier
from lakehouse.write.gate import GatePlan
from lakehouse.write.samples import SAMPLES, many

_MARK = "lakehouse-outside:"
_FOUND = re.compile(rf"{_MARK}(.*)", re.DOTALL)
_ROW = '"lakehouse row"'
_SHOWN = f"left(CAST({_ROW} AS VARCHAR), 200)"


def inside(query: str, plan: GatePlan, predicate: str) -> str:
    """Return a query of converted rows that fails where a predicate is not true.

    The query gives columns the names that they have in data files, the predicate theirs in SQL.
    """
    logical, physical = [], []
    for column in plan.columns:
        name, stored = identifier(column.field.name), identifier(column.field.physical_name)
        logical.append(f"{stored} AS {name}")
        physical.append(f"{name} AS {stored}")
    rows = f"(SELECT {', '.join(logical)} FROM ({query})) AS {_ROW}"
    check = f"CASE WHEN ({predicate}\n) THEN true ELSE error('{_MARK}' || {_SHOWN}) END"
    return f"SELECT {', '.join(physical)} FROM {rows} WHERE {check}"


def outside(
    error: DuckError, cursor: Connection, source: Source, plan: GatePlan, predicate: str
) -> DataError | None:
    """Return the error for rows for which the predicate is not true, or None for another error."""
    match = _FOUND.search(str(error))
    if match is None:
        return None
    count, samples = _diagnose(cursor, source, plan, predicate) or (None, (match[1],))
    return DataError(
        f"{predicate} is not true for {many(count)}; for example {', '.join(samples[:3])}",
        next_step="Leave these rows out, or widen the predicate; nothing was written",
        count=count,
        samples=samples,
    )


def _diagnose(
    cursor: Connection, source: Source, plan: GatePlan, predicate: str
) -> tuple[int, tuple[str, ...]] | None:
    if not source.rescannable:
        return None
    columns = ", ".join(f"{c.sql} AS {identifier(c.field.name)}" for c in plan.columns)
    rows = f"(SELECT {columns} FROM {source.name}) AS {_ROW}"
    try:
        row = cursor.execute(
            f"SELECT count(*), list({_SHOWN})[:{SAMPLES}] FROM {rows} "
            f"WHERE ({predicate}\n) IS NOT TRUE"
        ).fetchone()
    except DuckError:  # another row cannot be converted at all
        return None
    assert row is not None
    return int(row[0]), tuple(row[1])
