"""The writing verbs append and overwrite. Each plans changes and leaves the rest to commit."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from catalog.errors import ConflictError, DataError, InputError, StorageError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, commit
from lakehouse.delta.conflict import Reads
from lakehouse.delta.protocol import check_writable
from lakehouse.delta.schema import Field, Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.types import schema_from_duckdb
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.rows import Rows, Source, query_of, register
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import Key, earlier, is_done, once
from lakehouse.table.redefining import Definition, redefine
from lakehouse.table.removal import check_removable, removes_of
from lakehouse.table.reports import WriteReport, metrics_of, report_of
from lakehouse.table.rewriting import write_anew
from lakehouse.write.data_files import NewFiles, discard_files, write_rows
from lakehouse.write.evolution import SchemaMode, evolved
from lakehouse.write.gate import GatePlan, gate, validate_schema
from lakehouse.write.misfits import find_misfits
from lakehouse.write.samples import with_samples

AppendMode = SchemaMode
OverwriteMode = Literal["strict", "add", "widen", "overwrite"]
MODE = "lakehouse.schemaMode"
_NOTHING = NewFiles((), 0, 0)
_KEPT = ("comment", "delta.columnMapping.id", "delta.columnMapping.physicalName")


@dataclasses.dataclass(slots=True)
class _Pending:
    """Hold rows on their way: what was written, and under which plan."""

    cursor: Connection
    source: Source
    plan: GatePlan | None = None
    files: NewFiles = _NOTHING
    rewritten: NewFiles = _NOTHING
    seed: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)

    def schema(
        self, schema: Struct, mode: SchemaMode, partition_columns: tuple[str, ...]
    ) -> Struct:
        """Return the schema that a table needs to take the rows, as far as the mode allows."""
        columns = self.source.columns
        if not columns:
            return schema
        wanted = evolved(schema, columns, mode=mode)
        if mode != "widen":
            return wanted
        plan = self.gated(wanted, partition_columns)
        misfits = find_misfits(self.cursor, self.source, plan)
        return evolved(schema, columns, mode=mode, misfits=misfits)

    def gated(self, schema: Struct, partition_columns: tuple[str, ...]) -> GatePlan:
        """Return the rows' way into a schema; DataError, with samples, where there is none."""
        try:
            return gate(self.source.columns, schema, partition_columns=partition_columns)
        except DataError as error:
            raise with_samples(error, self.cursor, self.source) from error

    def write(self, plan: GatePlan, snapshot: Snapshot) -> NewFiles:
        """Return data files that fit a plan, writing them unless earlier ones still fit."""
        if self.plan is not None:
            if _still_fits(self.plan.schema, plan.schema):
                return self.files
            if not self.source.rescannable:
                raise ConflictError(
                    "the table's columns changed while a stream was written",
                    next_step="Open the stream again and retry",
                )
            discard_files(snapshot.storage, self.files)
        if self.source.columns:
            self.files = write_rows(
                self.cursor,
                self.source,
                plan,
                storage=snapshot.storage,
                partition_columns=snapshot.partition_columns,
                properties=snapshot.properties,
            )
        self.plan = plan
        return self.files

    def discard(self, snapshot: Snapshot) -> None:
        """Delete what was written for a commit that will not be."""
        discard_files(snapshot.storage, self.files)
        discard_files(snapshot.storage, self.rewritten)


_Planner = Callable[[Snapshot, _Pending], Change | None]


def append(
    snapshot: Snapshot,
    rows: Rows,
    *,
    engine: Engine,
    scanner: Scanner,
    schema_mode: AppendMode | None,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
) -> tuple[Snapshot | None, WriteReport]:
    """Add rows. Never fails because of somebody else's rows."""

    def plan(current: Snapshot, pending: _Pending) -> Change | None:
        columns = current.partition_columns
        mode = _mode(schema_mode, current)
        if mode == "overwrite":
            raise InputError(
                "append cannot replace the table's columns",
                next_step="Use schema_mode 'add' or 'widen', or overwrite the table",
            )
        wanted = pending.schema(current.schema, mode, columns)
        new = redefine(current, schema=wanted, seed=pending.seed)
        files = pending.write(pending.gated(new.schema, columns), current)
        anew, reads = _anew(current, new, pending, engine, scanner)
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
        snapshot, rows, plan, engine=engine, metadata=metadata, key=key, operation="append"
    )


def overwrite(
    snapshot: Snapshot,
    rows: Rows,
    *,
    engine: Engine,
    schema_mode: OverwriteMode | None,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
) -> tuple[Snapshot | None, WriteReport]:
    """Replace all rows, those that others add in the meantime included."""

    def plan(current: Snapshot, pending: _Pending) -> Change | None:
        check_removable(current)
        columns = current.partition_columns
        mode = _mode(schema_mode, current)
        if mode == "overwrite":
            wanted = _replaced(current.schema, pending.source)
            validate_schema(wanted, columns)
        else:
            wanted = pending.schema(current.schema, mode, columns)
        new = redefine(current, schema=wanted, replaces_rows=True, seed=pending.seed)
        files = pending.write(pending.gated(new.schema, columns), current)
        removed = current.files.adds()
        if not files.adds and not removed and not new.actions:
            return None
        return Change(
            "WRITE",
            (*new.actions, *removes_of(removed), *files.adds),
            reads=Reads(frozenset(add.key for add in removed), everything=True),
            parameters={"mode": "Overwrite", "partitionBy": list(columns)},
            metrics={
                **metrics_of(files),
                "numRemovedFiles": len(removed),
                "numRemovedBytes": sum(add.size for add in removed),
            },
        )

    return _write(
        snapshot, rows, plan, engine=engine, metadata=metadata, key=key, operation="overwrite"
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
) -> tuple[Snapshot | None, WriteReport]:
    started = time.perf_counter()
    if key is not None and is_done(snapshot, key):
        return snapshot, earlier(snapshot, key, operation)
    # Before any work: a table that we must not write is refused by name.
    check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)
    with engine.work(f"{operation} rows") as cursor:
        query = query_of(engine, rows)
        pending = _Pending(*query) if query else _Pending(cursor, register(cursor, rows))
        try:
            done = commit(
                snapshot,
                once(lambda current: plan(current, pending), key),
                engine=engine,
                metadata=metadata,
            )
        except (InputError, ConflictError, StorageError):
            # These say for certain that nothing was committed.
            pending.discard(snapshot)
            raise
    if done.change is None:
        pending.discard(snapshot)
        if key is not None and done.snapshot is not None and is_done(done.snapshot, key):
            return done.snapshot, earlier(done.snapshot, key, operation)
    return done.snapshot, report_of(operation, done, started)


def _mode(asked: OverwriteMode | None, snapshot: Snapshot) -> OverwriteMode:
    """Return the mode that was asked for, or the table's own (``lakehouse.schemaMode``)."""
    match asked or snapshot.properties.get(MODE, "strict"):
        case ("strict" | "add" | "widen" | "overwrite") as mode:
            return mode
        case other:
            raise InputError(
                f"there is no schema mode {other!r}",
                next_step="Use 'strict', 'add', 'widen' or 'overwrite'",
            )


def _anew(
    current: Snapshot, new: Definition, pending: _Pending, engine: Engine, scanner: Scanner
) -> tuple[tuple[act.Action, ...], Reads]:
    """Write the table's present rows anew where its types change, and say what that reads."""
    discard_files(current.storage, pending.rewritten)
    pending.rewritten = _NOTHING
    if not new.rewrites:
        return (), Reads()
    old = current.files.adds()
    keys = frozenset(add.key for add in old)
    pending.rewritten = write_anew(current, keys, new.schema, engine, scanner)
    removes = removes_of(old, data_change=False)
    return (*removes, *pending.rewritten.adds), Reads(keys, everything=True)


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


def _still_fits(written: Struct, wanted: Struct) -> bool:
    """Tell whether files of one schema may stand in a table of another."""
    for field in wanted:
        had = written.field(field.name)
        if had is None:
            if not field.nullable:
                return False
        elif _stored(had) != _stored(field):
            return False
    return all(wanted.field(field.name) is not None for field in written)


def _stored(field: Field) -> tuple[object, ...]:
    return field.type, field.physical_name, field.field_id
