"""Read a table into a state of the model."""

from __future__ import annotations

import pyarrow as pa

from lakehouse.table.handle import Table
from lakehouse.testing.model import CONSTRAINT, Predicate, State


def observed(table: Table, *, version: int | None = None) -> State:
    """Return what our own reader says of a table, as a state of the model.

    The model of a constraint has a meaning in Python, which cannot be observed: here all rows
    pass.
    """
    snapshot = table.snapshot(version=version)
    rows = table.read(version=snapshot.version).to_arrow_table()
    nullable = {field.name: field.nullable for field in snapshot.schema}
    schema = pa.schema([field.with_nullable(nullable[field.name]) for field in rows.schema])
    properties = dict(snapshot.properties)
    return State(
        schema=schema,
        rows=tuple(rows.to_pylist()),
        partition_by=snapshot.partition_columns,
        properties=properties,
        constraints={
            name.removeprefix(CONSTRAINT): Predicate(sql, lambda _: True)
            for name, sql in properties.items()
            if name.startswith(CONSTRAINT)
        },
        transactions={name: seen.version for name, seen in snapshot.transactions.items()},
    )
