"""The writing verbs: append, overwrite, restore. Each plans changes and leaves the rest to commit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from catalog.errors import ConflictError, InputError, StorageError, UnsupportedError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, Committed, commit
from lakehouse.delta.conflict import Reads
from lakehouse.delta.protocol import check_writable, upgraded
from lakehouse.delta.schema import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.types import schema_from_duckdb
from lakehouse.dml.removal import Removal, everything
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.rows import Rows, Source, query_of, register
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import Key, earlier, is_done, once
from lakehouse.table.reports import WriteReport, write_report
from lakehouse.write.data_files import NewFiles, discard_files, write_rows
from lakehouse.write.gate import GatePlan, SchemaMode, gate, validate_schema

AppendMode = SchemaMode
OverwriteMode = Literal["strict", "add", "overwrite"]
_NOTHING = NewFiles((), 0, 0)


@dataclasses.dataclass(slots=True)
class _Pending:
    """Hold rows on their way: what was written, and under which plan."""

    cursor: Connection
    source: Source
    plan: GatePlan | None = None
    files: NewFiles = _NOTHING
    removal: Removal | None = None

    def discard(self, storage: Storage) -> None:
        """Delete all that was written, for no commit names it."""
        discard_files(storage, self.files)
        if self.removal is not None:
            self.removal.discard()

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
                within=None if self.removal is None else self.removal.rule(snapshot),
            )
        self.plan = plan
        return self.files


def append(
    snapshot: Snapshot,
    rows: Rows,
    *,
    engine: Engine,
    schema_mode: AppendMode,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
) -> tuple[Snapshot | None, WriteReport]:
    """Add rows. Never fails because of somebody else's rows."""

    def plan(current: Snapshot, pending: _Pending) -> Change | None:
        made = gate(
            pending.source.columns,
            current.schema,
            mode=schema_mode,
            partition_columns=current.partition_columns,
        )
        files = pending.write(made, current)
        new = _schema_change(current, made.schema)
        if not files.adds and not new:
            return None
        return Change(
            "WRITE",
            (*new, *files.adds),
            parameters={"mode": "Append", "partitionBy": list(current.partition_columns)},
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
    scanner: Scanner,
    where: str | None,
    schema_mode: OverwriteMode,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
) -> tuple[Snapshot | None, WriteReport]:
    """Replace all rows, or those that match, including what others add in the meantime."""
    removal = None if where is None else Removal(where, engine=engine, scanner=scanner)
    if removal is not None and schema_mode == "overwrite":
        raise InputError(
            "the columns can be replaced with all rows only",
            next_step="Leave out where, or use schema_mode='add'",
        )

    def plan(current: Snapshot, pending: _Pending) -> Change | None:
        check_removable(current)
        schema = current.schema
        if schema_mode == "overwrite" and pending.source.columns:
            schema = schema_from_duckdb(pending.source.columns)
            validate_schema(schema, current.partition_columns)
        made = gate(
            pending.source.columns,
            schema,
            mode="add" if schema_mode == "add" else "strict",
            partition_columns=current.partition_columns,
        )
        removed = everything(current) if removal is None else removal.plan(current)
        files = pending.write(made, current)
        new = _schema_change(current, made.schema)
        if not files.adds and not removed.gone and not new:
            return None
        return Change(
            "WRITE",
            (*new, *removes_of(removed.gone), *removed.kept, *files.adds),
            reads=removed.reads,
            parameters={
                "mode": "Overwrite",
                "partitionBy": list(current.partition_columns),
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


def restore(
    snapshot: Snapshot,
    target: Snapshot,
    *,
    engine: Engine,
    metadata: Mapping[str, Any] | None,
) -> tuple[Snapshot | None, WriteReport]:
    """Make an earlier version's rows and schema the newest version again."""
    started = time.perf_counter()

    def plan(current: Snapshot) -> Change | None:
        check_removable(current)
        now, then = current.files.adds(), target.files.adds()
        present = {add.key for add in now}
        wanted = {add.key for add in then}
        back = [
            dataclasses.replace(add, data_change=True) for add in then if add.key not in present
        ]
        gone = [add for add in now if add.key not in wanted]
        _check_present(target, back)
        changed = target.metadata != current.metadata
        if not back and not gone and not changed:
            return None
        return Change(
            "RESTORE",
            (*((target.metadata,) if changed else ()), *removes_of(gone), *back),
            reads=Reads(frozenset(present), everything=True),
            parameters={"version": target.version},
            metrics={
                "numRestoredFiles": len(back),
                "numRemovedFiles": len(gone),
                "restoredFilesSize": sum(add.size for add in back),
                "removedFilesSize": sum(add.size for add in gone),
            },
        )

    done = commit(snapshot, plan, engine=engine, metadata=metadata)
    return done.snapshot, report_of("restore", done, started)


def _write(
    snapshot: Snapshot,
    rows: Rows,
    plan: Any,
    *,
    engine: Engine,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
    operation: str,
    removal: Removal | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    started = time.perf_counter()
    if key is not None and is_done(snapshot, key):
        return snapshot, earlier(snapshot, key, operation)
    # Before any work: a table that we must not write is refused by name.
    check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)
    with engine.work(f"{operation} rows") as cursor:
        query = query_of(engine, rows)
        pending = _Pending(*query) if query else _Pending(cursor, register(cursor, rows))
        pending.removal = removal
        try:
            done = commit(
                snapshot,
                once(lambda current: plan(current, pending), key),
                engine=engine,
                metadata=metadata,
            )
        except (InputError, ConflictError, StorageError, UnsupportedError):
            # These say for certain that nothing was committed.
            pending.discard(snapshot.storage)
            raise
    if done.change is None:
        pending.discard(snapshot.storage)
        if key is not None and done.snapshot is not None and is_done(done.snapshot, key):
            return done.snapshot, earlier(done.snapshot, key, operation)
    return done.snapshot, report_of(operation, done, started)


def report_of(operation: str, done: Committed, started: float) -> WriteReport:
    """Return the report of a commit that began at ``started`` (`time.perf_counter`)."""
    change = done.change
    return write_report(
        operation,
        done.version,
        change.actions if change else (),
        rows=change.metrics.get("numOutputRows", 0) if change else 0,
        rows_deleted=change.metrics.get("numDeletedRows", 0) if change else 0,
        attempts=done.attempts,
        seconds=time.perf_counter() - started,
    )


def metrics_of(files: NewFiles) -> dict[str, int]:
    """Return what history shall say of new files, in Spark's words."""
    return {
        "numFiles": len(files.adds),
        "numOutputRows": files.rows,
        "numOutputBytes": files.bytes,
    }


def removes_of(adds: Iterable[act.AddFile], *, data_change: bool = True) -> list[act.RemoveFile]:
    """Return the actions that remove files now."""
    now = time.time_ns() // 1_000_000
    return [add.removed(deletion_timestamp=now, data_change=data_change) for add in adds]


def _schema_change(snapshot: Snapshot, schema: Struct) -> tuple[act.Action, ...]:
    """Return the actions that give the table another schema, and the protocol that it needs."""
    if schema == snapshot.schema:
        return ()
    protocol = upgraded(snapshot.protocol, schema)
    check_writable(protocol, snapshot.properties, schema)
    metadata = dataclasses.replace(snapshot.metadata, schema_string=schema.to_json())
    return (metadata,) if protocol == snapshot.protocol else (protocol, metadata)


def check_removable(snapshot: Snapshot) -> None:
    """Raise InputError for an append-only table."""
    if snapshot.properties.get("delta.appendOnly", "").lower() == "true":
        raise InputError(
            "the table is append-only (delta.appendOnly)",
            next_step="Append, or change the property first",
        )


def _check_present(target: Snapshot, adds: list[act.AddFile]) -> None:
    def is_missing(add: act.AddFile) -> bool:
        return target.storage.head(add.key[0]) is None

    with ThreadPoolExecutor(max_workers=16) as pool:
        missing = [add for add, gone in zip(adds, pool.map(is_missing, adds), strict=True) if gone]
    if missing:
        raise StorageError(
            f"version {target.version} cannot be restored: {len(missing)} of its data files are "
            f"gone, for example {missing[0].path}",
            next_step="Restore a later version",
        )


def _still_fits(written: Struct, wanted: Struct) -> bool:
    """Tell whether files of one schema may stand in a table of another."""
    for field in wanted:
        had = written.field(field.name)
        if had is None:
            if not field.nullable:
                return False
        elif (had.type, had.physical_name) != (field.type, field.physical_name):
            return False
    return all(wanted.field(field.name) is not None for field in written)
