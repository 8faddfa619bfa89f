"""Look for NULL in a column before it must not hold any."""

from __future__ import annotations

from catalog.errors import DataError, InputError
from lakehouse.delta.schema.edits import Path, find, shown
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.sql import identifier
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.write.samples import many


def check_no_nulls(snapshot: Snapshot, path: Path, scanner: Scanner) -> None:
    """Raise DataError, with the count, where a column or struct field holds NULL.

    A field of a struct that is NULL itself counts as there. Files that cannot hold NULL are not
    opened.
    """
    column, above = identifier(path[0]), []
    for depth, name in enumerate(path[1:], start=1):
        if not isinstance(find(snapshot.schema, path[:depth]).type, Struct):
            raise InputError(
                f"{shown(path)!r} stands in a list or map, and stays as it is",
                next_step="Set NOT NULL on columns and fields of structs",
            )
        above.append(column)
        column = f"{column}.{identifier(name)}"
    where = " AND ".join([*(f"{outer} IS NOT NULL" for outer in above), f"{column} IS NULL"])
    ref = TableRef("lakehouse", "rows", "rows", snapshot)
    query = f"SELECT count(*) FROM lakehouse.rows WHERE {where}"
    count = scanner.prepare(query, [ref]).relation().fetchall()[0][0]
    if count:
        raise DataError(
            f"column {shown(path)!r} is NULL in {many(count)}",
            next_step="Fill them first",
            column=shown(path),
            count=count,
        )
