"""Replace the partitions that rows are of: which these are, as a predicate."""

from __future__ import annotations

from catalog.errors import DataError, InputError
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.covering import every, some
from lakehouse.dml.workspace import Given, Workspace
from lakehouse.duck.sql import identifier, literal


def partitions_of(given: Given, snapshot: Snapshot, space: Workspace) -> str:
    """Return the predicate that is true for all rows of the partitions that rows are of.

    Raises InputError for a table without partitions, DataError for rows that do not say theirs.
    """
    fields = snapshot.files.layout.partitions
    if not fields:
        raise InputError(
            "the table has no partitions to replace",
            next_step="Overwrite it whole, or say which rows by where=",
        )
    known = {column.name.lower(): column.name for column in given.columns}
    for field in fields:
        if field.name.lower() not in known:
            raise DataError(
                f"the rows lack the partition column {field.name!r}",
                next_step="Add it to the rows",
                column=field.name,
            )
    shown = ", ".join(f"CAST({identifier(known[f.name.lower()])} AS VARCHAR)" for f in fields)
    with space.engine.work("list the rows' partitions") as cursor:
        found = cursor.execute(f"SELECT DISTINCT {shown} FROM {given.place}").fetchall()
    return some(
        [
            every(
                [
                    f"{identifier(field.name)} IS NULL"
                    if text is None
                    else f"{identifier(field.name)} = "
                    f"CAST({literal(text)} AS {to_duckdb(field.type)})"
                    for field, text in zip(fields, row, strict=True)
                ]
            )
            for row in sorted(found, key=repr)
        ]
    )
