"""The verbs that change single rows: update, merge, upsert, and removing duplicates."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Mapping
from typing import Any

from catalog.errors import InputError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, Committed, commit, otherwise
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.protocol import check_writable
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.clauses import Merge
from lakehouse.dml.merging import Merged, Merging
from lakehouse.dml.workspace import Given, Workspace, workspace
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import Rows, Source
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import Key, is_done, metrics_in, once, written_by
from lakehouse.table.redefining import Definition, redefine
from lakehouse.table.reports import ChangeReport, files_in
from lakehouse.table.sources import AS_GIVEN, Sourcing, prepared
from lakehouse.table.tombstones import check_removable, removes_of
from lakehouse.table.writing import AppendMode, check_version, mode_of
from lakehouse.write.evolution import evolved
from lakehouse.write.gate import gate
from lakehouse.write.misfits import find_misfits


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """Hold what every verb here takes beside its clauses.

    ``if_version`` is the table's version that the source was computed from, if it was.
    """

    operation: str
    metadata: Mapping[str, Any] | None = None
    key: Key | None = None
    schema_mode: AppendMode | None = None
    dry_run: bool = False
    if_version: int | None = None


def merge(
    snapshot: Snapshot,
    rows: Rows | None,
    spec: Merge,
    terms: Terms,
    *,
    engine: Engine,
    scanner: Scanner,
    sourcing: Sourcing = AS_GIVEN,
) -> tuple[Snapshot | None, ChangeReport]:
    """Change rows in one commit; where none changes there is none.

    The result is that of the same change after all commits before it: what others add or change
    in the meantime is looked at again where it may match, and only then.
    """
    started = time.perf_counter()
    if terms.key is not None and is_done(snapshot, terms.key):
        return snapshot, earlier_change(snapshot, terms.key, terms.operation)
    check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)
    with workspace(engine) as space:
        given = (
            None if rows is None else prepared(space, space.keep(rows), spec, sourcing, snapshot)
        )
        return merge_given(space, snapshot, given, spec, terms, scanner=scanner, started=started)


def merge_given(
    space: Workspace,
    snapshot: Snapshot,
    given: Given | None,
    spec: Merge,
    terms: Terms,
    *,
    scanner: Scanner,
    started: float,
) -> tuple[Snapshot | None, ChangeReport]:
    """Change rows by a source that was kept already, as `merge`."""
    merging = Merging(spec, given, space=space, scanner=scanner)
    seed = uuid.uuid4()

    def plan(current: Snapshot) -> Change | None:
        check_version(current, terms.if_version)
        if any(clause.verb != "insert" for clause in spec.clauses):
            check_removable(current)
        new = _definition(current, spec, given, terms, space, seed)
        merged = merging.plan(_defined(current, new))
        if merged.is_idle and not new.actions:
            return None
        return Change(
            _operation(spec),
            (*new.actions, *removes_of(merged.gone), *merged.actions),
            reads=dataclasses.replace(merged.reads, unchanged=terms.if_version is not None),
            parameters=_parameters(spec),
            metrics=merged.metrics(),
        )

    if terms.dry_run:
        new = _definition(snapshot, spec, given, terms, space, seed)
        merged = merging.foresee(_defined(snapshot, new))
        return snapshot, _dry(snapshot, merged, terms.operation, started)
    with otherwise(merging.discard):
        done = commit(snapshot, once(plan, terms.key), engine=space.engine, metadata=terms.metadata)
    if not done.names_files:
        merging.discard()
    return done.snapshot, change_report(done, terms, started)


def _definition(
    snapshot: Snapshot,
    spec: Merge,
    given: Given | None,
    terms: Terms,
    space: Workspace,
    seed: uuid.UUID,
) -> Definition:
    """Return the table as it must be to take the source's columns, as far as the mode allows."""
    mode = mode_of(terms.schema_mode, snapshot)
    if mode == "overwrite":
        raise InputError(
            f"{terms.operation} cannot replace the table's columns",
            next_step="Use schema_mode 'add' or 'widen'",
        )
    if given is None or mode == "strict":
        return Definition(snapshot.schema)
    new = redefine(snapshot, schema=_wanted(snapshot, spec, given, mode, space), seed=seed)
    if new.rewrites and len(snapshot.files):
        raise InputError(
            f"{terms.operation} would change a column's type in all files",
            next_step="Alter the table first, or set delta.enableTypeWidening to true",
        )
    return new


def _wanted(
    snapshot: Snapshot, spec: Merge, given: Given, mode: AppendMode, space: Workspace
) -> Struct:
    named = {
        name.lower()
        for clause in spec.clauses
        if clause.takes_source
        for name in (clause.values or [column.name for column in given.columns])
    }
    columns = tuple(column for column in given.columns if column.name.lower() in named)
    if not columns:
        return snapshot.schema
    wanted = evolved(snapshot.schema, columns, mode=mode)
    if mode == "widen":
        with space.engine.work("look at the rows") as cursor:
            source = Source(given.place, columns, rescannable=True)
            misfits = find_misfits(cursor, source, gate(columns, wanted))
        wanted = evolved(snapshot.schema, columns, mode=mode, misfits=misfits)
    if any(clause.verb == "insert" and clause.takes_source for clause in spec.clauses):
        return wanted
    # Updated rows keep what the source lacks, so that this need not be NULL.
    fields = []
    for field in wanted:
        known = snapshot.schema.field(field.name)
        kept = known is not None and field.name.lower() not in named
        fields.append(known if known is not None and kept else field)
    return Struct(tuple(fields))


def _defined(snapshot: Snapshot, new: Definition) -> Snapshot:
    """Return a snapshot as it is read under another definition."""
    metadata = next((a for a in new.actions if isinstance(a, act.Metadata)), None)
    if metadata is None:
        return snapshot
    layout = Layout(new.schema, snapshot.partition_columns)
    files = snapshot.files.with_layout(layout)
    return dataclasses.replace(snapshot, metadata=metadata, files=files)


def _operation(spec: Merge) -> str:
    if spec.repeated is not None:
        return "DEDUPLICATE"
    return "UPDATE" if spec.on is None else "MERGE"


def _parameters(spec: Merge) -> dict[str, Any]:
    if spec.repeated is not None:
        return {"key": list(spec.repeated.key)}
    if spec.on is None:
        condition = spec.clauses[0].condition
        return {} if condition is None else {"predicate": [condition]}
    names = {
        "matched": "matchedPredicates",
        "not matched": "notMatchedPredicates",
        "not matched by source": "notMatchedBySourcePredicates",
    }
    return {"predicate": spec.on if isinstance(spec.on, str) else list(spec.on)} | {
        name: [
            {"actionType": clause.verb}
            | ({} if clause.condition is None else {"predicate": clause.condition})
            for clause in spec.clauses
            if clause.kind == kind
        ]
        for kind, name in names.items()
    }


def change_report(done: Committed, terms: Terms, started: float) -> ChangeReport:
    """Return the report of a commit that began at ``started``, or of the earlier one of its key."""
    after, key = done.snapshot, terms.key
    if done.change is None and key is not None and after is not None and is_done(after, key):
        return earlier_change(after, key, terms.operation)
    actions = done.change.actions if done.change else ()
    metrics = done.change.metrics if done.change else {}
    return _of_commit(
        terms.operation,
        done.version,
        actions,
        metrics,
        attempts=done.attempts,
        seconds=time.perf_counter() - started,
    )


def earlier_change(snapshot: Snapshot, key: Key, operation: str) -> ChangeReport:
    """Return the report of the commit that wrote a key."""
    version, actions = written_by(snapshot, key)
    return _of_commit(operation, version, tuple(actions), metrics_in(actions), replayed=True)


def _of_commit(
    operation: str,
    version: int,
    actions: tuple[act.Action, ...],
    metrics: Mapping[str, Any],
    *,
    attempts: int = 0,
    seconds: float = 0.0,
    replayed: bool = False,
) -> ChangeReport:
    files = files_in(actions)
    rows = {
        name: int(metrics.get(f"numTargetRows{name.capitalize()}", 0))
        for name in ("updated", "inserted", "deleted", "copied")
    }
    return ChangeReport(
        operation=operation,
        version=version,
        rows_updated=rows["updated"],
        rows_inserted=rows["inserted"],
        rows_deleted=rows["deleted"],
        rows_copied=rows["copied"],
        files_added=files.added,
        files_removed=files.removed,
        files_marked=files.marked,
        bytes_added=files.bytes_added,
        bytes_removed=files.bytes_removed,
        attempts=attempts,
        seconds=seconds,
        replayed=replayed,
    )


def _dry(snapshot: Snapshot, merged: Merged, operation: str, started: float) -> ChangeReport:
    return ChangeReport(
        operation=operation,
        version=snapshot.version,
        rows_updated=merged.rows_updated,
        rows_inserted=merged.rows_inserted,
        rows_deleted=merged.rows_deleted,
        rows_copied=merged.rows_copied,
        files_added=0,
        files_removed=len(merged.gone) - len(merged.marked),
        files_marked=len(merged.marked),
        bytes_added=0,
        bytes_removed=sum(a.size for a in merged.gone) - sum(a.size for a in merged.marked),
        attempts=0,
        seconds=time.perf_counter() - started,
        dry_run=True,
    )
