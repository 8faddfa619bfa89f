"""Rows on their way into a table: fit them to a schema, and write them as data files once."""

from __future__ import annotations

import dataclasses
import uuid

from catalog.errors import ConflictError, DataError
from lakehouse.delta import actions as act
from lakehouse.delta.conflict import Reads
from lakehouse.delta.files.adds import raw_table
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Field, Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.parts import opened
from lakehouse.dml.removal import Removal
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.rows import Source
from lakehouse.scan.read import Scanner
from lakehouse.table.rewriting import all_anew
from lakehouse.write.change_files import (
    NO_CHANGES,
    NewChanges,
    as_changes,
    discard_changes,
    write_changes,
)
from lakehouse.write.data_files import NewFiles, discard_files, write_rows
from lakehouse.write.evolution import SchemaMode, evolved
from lakehouse.write.gate import GatePlan, gate
from lakehouse.write.misfits import find_misfits
from lakehouse.write.rules import NO_RULES, Rules, rules_of
from lakehouse.write.samples import with_samples

_NOTHING = NewFiles((), 0, 0)


@dataclasses.dataclass(slots=True)
class Incoming:
    """Hold rows on their way into a table: what was written of them, and under which plan.

    ``removal`` is what the same commit takes out, ``rewritten`` what it writes anew, and
    ``recorded`` are the change data files of what was written.
    """

    cursor: Connection
    source: Source
    plan: GatePlan | None = None
    partition_columns: tuple[str, ...] = ()
    rules: Rules = NO_RULES
    files: NewFiles = _NOTHING
    rewritten: NewFiles = _NOTHING
    recorded: tuple[NewFiles, NewChanges] = (_NOTHING, NO_CHANGES)
    removal: Removal | None = None
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
        rules = rules_of(plan.schema, snapshot.properties)
        if self.plan is not None:
            if (self.partition_columns, self.rules) == (snapshot.partition_columns, rules) and (
                _still_fits(self.plan.schema, plan.schema)
            ):
                return self.files
            if not self.source.rescannable:
                raise ConflictError(
                    "the table's columns or constraints changed while a stream was written",
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
        self.plan, self.rules = plan, rules
        self.partition_columns = snapshot.partition_columns
        return self.files

    def anew(
        self, snapshot: Snapshot, schema: Struct, engine: Engine, scanner: Scanner
    ) -> tuple[tuple[act.Action, ...], Reads]:
        """Write the table's present rows anew for another schema, and say what that reads."""
        made = all_anew(snapshot, schema, engine, scanner)
        self.rewritten = made.files
        return made.actions, made.reads

    def record(
        self, snapshot: Snapshot, schema: Struct, scanner: Scanner, *, wanted: bool
    ) -> NewChanges:
        """Return change data files with the rows that were written, read from their files.

        Where they are not ``wanted`` there are none, and those of an earlier plan are deleted.
        """
        files = self.files if wanted else _NOTHING
        if self.recorded[0] is not files:
            discard_changes(snapshot.storage, self.recorded[1])
            self.recorded = (files, NO_CHANGES)
            if files.adds:
                layout = Layout(schema, snapshot.partition_columns)
                index = FileIndex(raw_table(files.adds), layout)
                written = dataclasses.replace(snapshot, files=index)
                with opened(written, scanner, "record the change") as there:
                    rows = as_changes(there.place, written, "insert")
                    self.recorded = (files, write_changes(there.cursor, rows, written))
        return self.recorded[1]

    def discard_rewritten(self, snapshot: Snapshot) -> None:
        """Delete what was written anew for a plan that did not come to be."""
        discard_files(snapshot.storage, self.rewritten)
        self.rewritten = _NOTHING

    def discard(self, snapshot: Snapshot) -> None:
        """Delete what was written for a commit that will not be."""
        discard_files(snapshot.storage, self.files)
        discard_changes(snapshot.storage, self.recorded[1])
        self.discard_rewritten(snapshot)
        if self.removal is not None:
            self.removal.discard()


def _still_fits(written: Struct, wanted: Struct) -> bool:
    """Tell whether files of one schema may stand in a table of another."""
    for field in wanted:
        had = written.field(field.name)
        if had is None:
            if not field.nullable:
                return False
        elif _stored(had) != _stored(field) or (had.nullable and not field.nullable):
            return False
    return all(wanted.field(field.name) is not None for field in written)


def _stored(field: Field) -> tuple[object, ...]:
    return field.type, field.physical_name, field.field_id
