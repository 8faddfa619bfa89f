"""Show what a refused column holds."""

from __future__ import annotations

from catalog.errors import DataError
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import DuckError
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier

SAMPLES = 5


def many(count: int | None) -> str:
    """Return a number of rows in words; None where it was not counted.

    >>> many(1), many(2), many(None)
    ('1 row', '2 rows', 'at least 1 row')
    """
    return "at least 1 row" if count is None else f"{count} row{'s' if count != 1 else ''}"


def with_samples(error: DataError, cursor: Connection, source: Source) -> DataError:
    """Return an error that names a column of the rows, with the count and some of its values.

    A stream cannot be looked at without being used up; its error stays as it is.
    """
    column = (error.column or "").split(".")[0].lower()
    found = next((c for c in source.columns if c.name.lower() == column), None)
    if found is None or not source.rescannable or error.count is not None:
        return error
    shown = f"left(CAST({identifier(found.name)} AS VARCHAR), 100)"
    try:
        row = cursor.execute(
            f"SELECT count(shown), list(shown)[:{SAMPLES}] FROM "
            f"(SELECT {shown} AS shown FROM {source.name}) WHERE shown IS NOT NULL"
        ).fetchone()
    except DuckError:
        return error
    assert row is not None
    count, samples = int(row[0]), tuple(row[1] or ())
    if not count:
        return error
    values = ", ".join(map(str, samples[:3]))
    return error.amended(
        f"{error.message}, in {many(count)}; for example {values}",
        count=count,
        samples=samples,
    )
