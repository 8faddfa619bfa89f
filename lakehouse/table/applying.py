"""Apply a feed of changes, such as Debezium's, to a table: the newest event of a key holds.

The table keeps the sequence of the event that made each row, and of each deleted key a tombstone:
so that events may come in any order, in any batches, and again.
"""

from __future__ import annotations

import dataclasses
import time

from catalog.errors import DataError, InputError
from catalog.names import near_misses
from lakehouse.delta.features import GENERATED
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.clauses import Clause, Merge
from lakehouse.dml.workspace import ROW, Given, Workspace, workspace
from lakehouse.duck.describe import Column, DuckType
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import Rows
from lakehouse.duck.sql import identifier
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import is_done
from lakehouse.table.merging import Terms, earlier_change, merge_given
from lakehouse.table.reports import ChangeReport
from lakehouse.table.sources import Sourcing, prepared
from lakehouse.write.samples import many

_GONE = "lakehouse gone"


@dataclasses.dataclass(frozen=True, slots=True)
class Applying:
    """Say how events are read: their key, their order, which of them delete, and what stays then.

    ``tombstone`` is the column of the table that is true for deleted keys; None keeps none.
    """

    key: tuple[str, ...]
    sequence: str
    deletes: str | None
    tombstone: str | None


def apply_changes(
    snapshot: Snapshot,
    rows: Rows,
    how: Applying,
    terms: Terms,
    *,
    engine: Engine,
    scanner: Scanner,
) -> tuple[Snapshot | None, ChangeReport]:
    """Apply events in one commit; those that are older than what the table has change nothing."""
    started = time.perf_counter()
    if terms.key is not None and is_done(snapshot, terms.key):
        return snapshot, earlier_change(snapshot, terms.key, terms.operation)
    for name in (*how.key, how.sequence):
        _of_table(snapshot, name)
    with workspace(engine) as space:
        given, stored = _events(space, space.keep(rows), how, snapshot)
        spec = Merge(_clauses(snapshot, how, stored), how.key)
        sourcing = Sourcing(f"latest by {how.sequence}", is_keyed=True)
        given = prepared(space, given, spec, sourcing, snapshot)
        return merge_given(space, snapshot, given, spec, terms, scanner=scanner, started=started)


def _events(
    space: Workspace, given: Given, how: Applying, snapshot: Snapshot
) -> tuple[Given, list[str]]:
    """Return the events with a column that says which delete, and those that the table stores.

    What only says what an event does, and the table does not have, is left out.
    """
    names = [column.name for column in given.columns]
    known = {name.lower() for name in names}
    for name in (*how.key, how.sequence):
        if name.lower() not in known:
            near = near_misses(name, names)
            raise DataError(
                f"the rows have no column {name!r}",
                next_step=f"Did you mean {near[0]!r}?" if near else "Add it to the rows",
                column=name,
            )
    deletes, used = "false", frozenset[str]()
    if how.deletes is not None:
        found = space.expression(how.deletes, columns=tuple(names), what="a condition")
        deletes = f"({found.sql}\n) IS TRUE"
        used = frozenset(parts[0] for parts in found.references)
    columns = {field.name.lower() for field in snapshot.schema}
    stored = [name for name in names if name.lower() in columns or name.lower() not in used]
    flag = identifier(how.tombstone or _GONE)
    if (how.tombstone or _GONE).lower() in known:
        raise InputError(
            f"the rows have a column {how.tombstone!r}, which keeps the tombstones of the table",
            next_step="Leave it out, or choose another name by tombstone=",
        )
    selected = ", ".join([identifier(ROW), *map(identifier, names)])
    sql = f"SELECT {selected}, {deletes} AS {flag} FROM {given.place}"
    with space.engine.work("read the events") as cursor:
        sequence = identifier(how.sequence)
        row = cursor.execute(
            f"SELECT count(*) FROM {given.place} WHERE {sequence} IS NULL"
        ).fetchone()
    if row is not None and row[0]:
        raise DataError(
            f"column {how.sequence!r} is NULL in {many(row[0])} of the rows: their place in the "
            "order is not known",
            next_step="Correct these rows; nothing was written",
            column=how.sequence,
            count=row[0],
        )
    flagged = Column(how.tombstone or _GONE, DuckType("boolean", "BOOLEAN"))
    return space.select(sql, (*given.columns, flagged)), stored


def _clauses(snapshot: Snapshot, how: Applying, stored: list[str]) -> tuple[Clause, ...]:
    sequence = identifier(how.sequence)
    newer = f"(t.{sequence} IS NULL OR s.{sequence} > t.{sequence})"
    gone = f"s.{identifier(how.tombstone or _GONE)}"
    if how.tombstone is None:
        return (
            Clause("matched", "delete", f"{newer} AND {gone}"),
            Clause("matched", "update", newer, stored),
            Clause("not matched", "insert", f"NOT {gone}", stored),
        )
    names = {name.lower() for name in stored}
    keeps = {name.lower() for name in (*how.key, how.sequence)}
    # Of a deleted row nothing stays but what must: its key, its place in the order.
    emptied = {
        field.name: "NULL"
        for field in snapshot.schema
        if field.nullable and field.name.lower() not in keeps and GENERATED not in field.metadata
    }
    required = {
        field.name: f"s.{identifier(field.name)}"
        for field in snapshot.schema
        if field.name.lower() in keeps or (not field.nullable and field.name.lower() in names)
    }
    mark = {how.tombstone: gone}
    at = {how.sequence: f"s.{sequence}"}
    every = [*stored, how.tombstone]
    return (
        Clause("matched", "update", f"{newer} AND {gone}", {**emptied, **at, **mark}),
        Clause("matched", "update", newer, every),
        Clause("not matched", "insert", gone, {**required, **mark}),
        Clause("not matched", "insert", None, every),
    )


def _of_table(snapshot: Snapshot, name: str) -> None:
    if not any(field.name.lower() == name.lower() for field in snapshot.schema):
        near = near_misses(name, snapshot.schema.names())
        raise InputError(
            f"the table has no column {name!r}, which it needs to put events in order",
            next_step=f"Did you mean {near[0]!r}?" if near else "Add it with alter().add_column",
            column=name,
        )
