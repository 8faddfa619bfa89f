"""Write the change data files of a commit: rows as they were and as they are, and what happened.

Source: Delta protocol, "Change Data Files".
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Literal

from catalog.errors import StorageError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.change_data import CHANGE_TYPE, FOLDER, change_action
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Field, Primitive, Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import translate
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier, literal
from lakehouse.write.data_files import NewFiles, write_files, write_rows
from lakehouse.write.gate import gate

ChangeType = Literal["insert", "delete", "update_preimage", "update_postimage"]


@dataclasses.dataclass(frozen=True, slots=True)
class NewChanges:
    """Hold change data files that no commit names yet, as the actions that will name them."""

    actions: tuple[act.Action, ...] = ()
    paths: tuple[str, ...] = ()
    rows: int = 0
    bytes: int = 0


NO_CHANGES = NewChanges()


def write_changes(cursor: Connection, rows: str, snapshot: Snapshot) -> NewChanges:
    """Write rows as change data files, partitioned and named as the table's data files are.

    ``rows`` is a SELECT of the snapshot's columns, by their names, and of ``_change_type``. Once
    a commit has such files, they must tell all that it changes: readers then look at nothing else.
    """
    schema = Struct((*snapshot.schema.fields, Field(CHANGE_TYPE, Primitive("string"))))
    found = columns_of(cursor.sql(f"SELECT * FROM ({rows}\n) LIMIT 0"))
    files = write_rows(
        cursor,
        Source(f"({rows}\n)", found, rescannable=True),
        gate(found, schema),
        storage=snapshot.storage,
        partition_columns=snapshot.partition_columns,
        properties=snapshot.properties,
        enforce=False,
        folder=FOLDER,
    )
    return _changes(files)


def write_stored_changes(cursor: Connection, rows: str, snapshot: Snapshot) -> NewChanges:
    """Write rows as `write_changes` does; ``rows`` gives them as data files hold them."""
    schema = Struct((*snapshot.schema.fields, Field(CHANGE_TYPE, Primitive("string"))))
    files = write_files(
        cursor,
        rows,
        Layout(schema, snapshot.partition_columns),
        storage=snapshot.storage,
        properties=snapshot.properties,
        explain=lambda error: translate(error, "record the change"),
        folder=FOLDER,
    )
    return _changes(files)


def as_changes(place: str, snapshot: Snapshot, kind: ChangeType, where: str = "true") -> str:
    """Return the SELECT of rows of ``place`` that all are one kind of change."""
    columns = ", ".join(identifier(field.name) for field in snapshot.schema)
    return f"SELECT {columns}, {literal(kind)} AS {CHANGE_TYPE} FROM {place} WHERE ({where}\n)"


def discard_changes(storage: Storage, changes: NewChanges) -> None:
    """Delete files that were written for a commit that will not be, as far as storage lets us."""
    with contextlib.suppress(StorageError):
        storage.delete(changes.paths)


def together(changes: Iterator[NewChanges]) -> NewChanges:
    """Return several writes' change files as one value."""
    every = tuple(changes)
    return NewChanges(
        tuple(action for each in every for action in each.actions),
        tuple(path for each in every for path in each.paths),
        sum(each.rows for each in every),
        sum(each.bytes for each in every),
    )


def _changes(files: NewFiles) -> NewChanges:
    return NewChanges(
        actions=tuple(change_action(add) for add in files.adds),
        paths=tuple(add.key[0] for add in files.adds),
        rows=files.rows,
        bytes=files.bytes,
    )
