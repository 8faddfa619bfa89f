"""The writing verbs append and overwrite. Each plans changes and leaves the rest to commit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from catalog.errors import ConflictError, InputError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, commit, otherwise
from lakehouse.delta.conflict import EVERYTHING, Reads
from lakehouse.delta.protocol import check_writable
from lakehouse.delta.schema.fields import FIELD_ID, PHYSICAL_NAME, Field, Struct
from lakehouse.delta.schema.types import schema_from_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.removal import Removal, everything
from lakehouse.dml.workspace import workspace
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import Rows, Source, query_of, register
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import Key, answer, earlier, is_done, once
from lakehouse.table.incoming import Incoming
from lakehouse.table.partitions import partitions_of
from lakehouse.table.redefining import redefine
from lakehouse.table.references import check_unreferenced
from lakehouse.table.reports import WriteReport, metrics_of
from lakehouse.table.tombstones import check_removable, removes_of
from lakehouse.write.evolution import SchemaMode
from lakehouse.write.gate import validate_schema

AppendMode = SchemaMode
OverwriteMode = Literal["strict", "add", "widen", "overwrite"]
MODE = "lakehouse.schemaMode"
_KEPT = ("comment", FIELD_ID, PHYSICAL_NAME)


_Planner = Callable[[Snapshot, Incoming], Change | None]


def append(
    snapshot: Snapshot,
    rows: Rows,
    *,
    engine: Engine,
    scanner: Scanner,
    schema_mode: AppendMode | None,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
    if_version: int | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Add rows. Never fails because of somebody else's rows, unless the version is to be known."""

    def plan(current: Snapshot, pending: Incoming) -> Change | None:
        check_version(current, if_version)
        columns = current.partition_columns
        mode = mode_of(schema_mode, current)
        if mode == "overwrite":
            raise InputError(
                "append cannot replace the table's columns",
                next_step="Use schema_mode 'add' or 'widen', or overwrite the table",
            )
        wanted = pending.schema(current.schema, mode, columns)
        new = redefine(current, schema=wanted, seed=pending.seed)
        files = pending.write(pending.gated(new.schema, columns), current)
        pending.discard_rewritten(current)
        anew: tuple[act.Action, ...] = ()
        reads = Reads()
        if new.rewrites:
            anew, reads = pending.anew(current, new.schema, engine, scanner)
        if if_version is not None:
            reads = dataclasses.replace(reads, unchanged=True)
        if not files.adds and not new.actions:
            return None
        return Change(
            "WRITE",
            (*new.actions, *anew, *files.adds),
            reads=reads,
            parameters={"mode": "Append", "partitionBy": list(columns)},
            metrics=metrics_of(files),
        )

    return _write(
        snapshot,
        rows,
        plan,
        engine=engine,
        metadata=metadata,
        key=key,
        operation="append",
        idle=Reads(),
    )


def overwrite(
    snapshot: Snapshot,
    rows: Rows,
    *,
    engine: Engine,
    scanner: Scanner,
    where: str | None,
    partitions: Literal["all", "dynamic"],
    schema_mode: OverwriteMode | None,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
    if_version: int | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Replace all rows, or those that match, including what others add in the meantime."""
    if partitions == "dynamic":
        if where is not None:
            raise InputError(
                "where and partitions='dynamic' both say what is replaced",
                next_step="Leave one of them out",
            )
        if key is not None and is_done(snapshot, key):
            return snapshot, earlier(snapshot, key, "overwrite")
        with workspace(engine) as space:
            given = space.keep(rows)
            return overwrite(
                snapshot,
                space.relation(given),
                engine=engine,
                scanner=scanner,
                where=partitions_of(given, snapshot, space),
                partitions="all",
                schema_mode=schema_mode,
                metadata=metadata,
                key=key,
            )
    removal = None if where is None else Removal(where, engine=engine, scanner=scanner)
    if removal is not None and schema_mode == "overwrite":
        raise _only_whole()

    def plan(current: Snapshot, pending: Incoming) -> Change | None:
        check_version(current, if_version)
        check_removable(current)
        columns = current.partition_columns
        mode = mode_of(schema_mode, current)
        if mode == "overwrite":
            if removal is not None:
                raise _only_whole()
            wanted = _replaced(current.schema, pending.source)
            validate_schema(wanted, columns)
            for field in current.schema:
                if wanted.field(field.name) is None:
                    check_unreferenced(current, (field.name,), "dropped")
        else:
            wanted = pending.schema(current.schema, mode, columns)
        new = redefine(current, schema=wanted, replaces_rows=removal is None, seed=pending.seed)
        if removal is not None and new.rewrites and len(current.files):
            raise _only_whole()
        if removal is None or new.rewrites:
            removed = everything(current)
        else:
            removed = removal.plan(current)
        files = pending.write(pending.gated(new.schema, columns), current)
        if not files.adds and not removed.gone and not new.actions:
            return None
        inserted = pending.record(current, new.schema, scanner, wanted=removed.recorded)
        changes = (*removed.changes.actions, *inserted.actions)
        return Change(
            "WRITE",
            (*new.actions, *removes_of(removed.gone), *removed.kept, *files.adds, *changes),
            reads=dataclasses.replace(removed.reads, unchanged=if_version is not None),
            parameters={
                "mode": "Overwrite",
                "partitionBy": list(columns),
                **({} if where is None else {"predicate": where}),
            },
            metrics={**removed.metrics(), **metrics_of(files)},
        )

    return _write(
        snapshot,
        rows,
        plan,
        engine=engine,
        metadata=metadata,
        key=key,
        operation="overwrite",
        removal=removal,
    )


def _write(
    snapshot: Snapshot,
    rows: Rows,
    plan: _Planner,
    *,
    engine: Engine,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
    operation: str,
    removal: Removal | None = None,
    idle: Reads = EVERYTHING,
) -> tuple[Snapshot | None, WriteReport]:
    started = time.perf_counter()
    if key is not None and is_done(snapshot, key):
        return snapshot, earlier(snapshot, key, operation)
    # Before any work: a table that we must not write is refused by name.
    check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)
    with engine.work(f"{operation} rows") as cursor:
        query = query_of(engine, rows)
        pending = Incoming(*query) if query else Incoming(cursor, register(cursor, rows))
        pending.removal = removal
        with otherwise(lambda: pending.discard(snapshot)):
            done = commit(
                snapshot,
                once(lambda current: plan(current, pending), key, idle=idle),
                engine=engine,
                metadata=metadata,
            )
    if not done.names_files:
        pending.discard(snapshot)
    return done.snapshot, answer(done, key, operation, started)


def check_version(snapshot: Snapshot, wanted: int | None) -> None:
    """Raise ConflictError where a table is not at the version that rows were computed from."""
    if wanted is not None and snapshot.version != wanted:
        raise ConflictError(
            f"the table has version {snapshot.version}, and the rows were computed from {wanted}",
            next_step="Compute the rows again",
            stale=True,
        )


def mode_of(asked: OverwriteMode | None, snapshot: Snapshot) -> OverwriteMode:
    """Return the mode that was asked for, or the table's own (``lakehouse.schemaMode``)."""
    match asked or snapshot.properties.get(MODE, "strict"):
        case ("strict" | "add" | "widen" | "overwrite") as mode:
            return mode
        case other:
            raise InputError(
                f"there is no schema mode {other!r}",
                next_step="Use 'strict', 'add', 'widen' or 'overwrite'",
            )


def _only_whole() -> InputError:
    return InputError(
        "columns can be replaced, or change their type, with all rows only",
        next_step="Leave out where, or alter the table first",
    )


def _replaced(schema: Struct, source: Source) -> Struct:
    """Return the rows' own schema; columns of a known name keep their comment and their id."""
    if not source.columns:
        return schema
    fields = []
    for field in schema_from_duckdb(source.columns):
        known = schema.field(field.name)
        kept = {} if known is None else {k: v for k, v in known.metadata.items() if k in _KEPT}
        fields.append(Field(field.name, field.type, metadata=MappingProxyType(kept)))
    return Struct(tuple(fields))
