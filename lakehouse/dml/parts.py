"""Work on some of a snapshot's files: count their rows, copy them.

All of it is DuckDB's, from Parquet to Parquet, and spills where memory is short.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from catalog.errors import LakehouseError
from lakehouse.delta.actions import FileKey
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.schema.widening import with_timestamps
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError, translate, translated
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.scan.views import file_column
from lakehouse.write.data_files import NewFiles, write_rows
from lakehouse.write.gate import gate

_SCHEMA = "lakehouse"


def part(snapshot: Snapshot, keys: Collection[FileKey]) -> Snapshot:
    """Return the snapshot with these files only."""
    return dataclasses.replace(snapshot, files=snapshot.files.only(keys))


def reference(snapshot: Snapshot, *, numbered: bool = False) -> TableRef:
    """Return the name under which a snapshot's rows are read here: one a table."""
    name = f"{snapshot.metadata.id} by file" if numbered else snapshot.metadata.id
    return TableRef(_SCHEMA, name, "rows", snapshot, numbered)


def count_rows(snapshot: Snapshot, engine: Engine, scanner: Scanner) -> int:
    """Return the number of a snapshot's rows: from statistics, else from the files' footers."""
    known = snapshot.files.rows(engine)
    if known is not None:
        return known
    ref = reference(snapshot)
    ((rows,),) = _fetch(f"SELECT count(*) FROM {_place(ref)}", ref, scanner)
    return int(rows)


def count_matches(snapshot: Snapshot, predicate: str, scanner: Scanner) -> dict[int, int]:
    """Return, by position among the snapshot's files, in how many rows a predicate is true.

    Files without such a row are left out. The files must be just those that may match.
    """
    ref = reference(snapshot, numbered=True)
    number = identifier(file_column(snapshot.schema))
    sql = f"SELECT {number}, count(*) FROM {_place(ref)} WHERE ({predicate}\n) GROUP BY {number}"
    return dict(_fetch(sql, ref, scanner))


def copy_rows(
    snapshot: Snapshot, scanner: Scanner, *, where: str = "true", schema: Struct | None = None
) -> NewFiles:
    """Write the rows for which ``where`` is true anew, as few files.

    ``schema`` is one that takes the rows, where it is not to be the snapshot's.
    """
    ref = reference(snapshot)
    prepared = scanner.prepare(f"SELECT * FROM {_place(ref)}", [ref])
    try:
        rows = f"(SELECT {_columns(snapshot.schema, schema)} FROM {_place(ref)} WHERE {where})"
        with translated("copy rows", reading=True):
            columns = columns_of(prepared.cursor.sql(f"SELECT * FROM {rows} LIMIT 0"))
        source = Source(rows, columns, rescannable=True)
        return write_rows(
            prepared.cursor,
            source,
            gate(source.columns, schema or snapshot.schema),
            storage=snapshot.storage,
            partition_columns=snapshot.partition_columns,
            properties=snapshot.properties,
            enforce=False,
        )
    finally:
        prepared.cursor.close()


def _columns(present: Struct, wanted: Struct | None) -> str:
    """Return the columns to copy; a date that is to be a timestamp has to be told so."""
    if wanted is None:
        return "*"
    selected = []
    for field in present:
        name, known = identifier(field.name), wanted.field(field.name)
        type_ = field.type if known is None else with_timestamps(field.type, known.type)
        cast = f"CAST({name} AS {to_duckdb(type_)}) AS {name}"
        selected.append(name if type_ == field.type else cast)
    return ", ".join(selected)


def _place(ref: TableRef) -> str:
    return f"{identifier(ref.schema)}.{identifier(ref.name)}"


def _fetch(sql: str, ref: TableRef, scanner: Scanner) -> list[tuple[Any, ...]]:
    prepared = scanner.prepare(sql, [ref])
    try:
        if prepared.tables()[0].files_kept != len(ref.snapshot.files):
            raise LakehouseError("files were skipped that may match", next_step="Report this")
        return prepared.relation().fetchall()
    except DuckError as error:
        raise translate(error, "find the rows that match") from error
    finally:
        prepared.cursor.close()
