"""Choose the files that a view reads: prune the file index, and set the view's variable."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from lakehouse.delta.deletion_vector import deleted_rows
from lakehouse.delta.files import vector_from_row
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.types import to_duckdb
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import escaped, literal
from lakehouse.scan.prune import KEEP
from lakehouse.scan.report import Kept, TableRef
from lakehouse.scan.views import TableView

_REMEMBERED = 1000  # texts of predicates; they may be long


def bind(cursor: Connection, ref: TableRef, view: TableView, where: str, engine: Engine) -> Kept:
    """Set the variable that a view reads to the files that may match."""
    empty = engine.empty_parquet
    snapshot = ref.snapshot
    if not len(snapshot.files):
        bind_nothing(cursor, ref, view, empty)
        return Kept(0, 0, 0)
    root = literal(escaped(snapshot.storage.url().rstrip("/") + "/"))
    kept = {
        "files": f"coalesce(list({root} || pattern ORDER BY position), [{literal(empty)}])",
        "count": "count(*)",
        "bytes": "coalesce(sum(size), 0)::BIGINT",
        "known": "count(rows)",
        "rows": "coalesce(sum(rows - coalesce(deletion_vector.cardinality, 0)), 0)::BIGINT",
    }
    if snapshot.files.layout.partitions:
        values = [f"p{i}" for i in range(len(snapshot.files.layout.partitions))]
        kept["parts"] = f"coalesce(list({_struct(values)} ORDER BY position), [])"
    if snapshot.files.has_deletion_vectors:
        kept["vectors"] = "list(deletion_vector ORDER BY position)"
    fields = ", ".join(f"'{field}': {sql}" for field, sql in kept.items())
    cursor.register("file_index", snapshot.files.typed(engine))
    cursor.execute(
        f"SET VARIABLE kept_{view.key} = (SELECT {{{fields}}} FROM file_index WHERE {where})"
    )
    _check_links(cursor, snapshot, where)
    cursor.unregister("file_index")
    if snapshot.files.has_deletion_vectors:
        _load_vectors(cursor, snapshot, view.key)
    row = cursor.execute(
        f"SELECT kept.count, kept.bytes, kept.known, kept.rows "
        f"FROM (SELECT getvariable('kept_{view.key}') AS kept)"
    ).fetchall()[0]
    return Kept(row[0], row[1], row[3] if row[2] == row[0] else None)


def _check_links(cursor: Connection, snapshot: Snapshot, where: str) -> None:
    """Refuse files that a symbolic link leads out of the table; once a snapshot and choice."""
    if not snapshot.storage.is_local or not snapshot.contained.isdisjoint((where, KEEP)):
        return
    found = cursor.execute(f"SELECT file FROM file_index WHERE {where}").fetchall()
    snapshot.storage.require_inside(name for (name,) in found)
    if len(snapshot.contained) >= _REMEMBERED:
        snapshot.contained.clear()
    snapshot.contained.add(where)


def bind_nothing(cursor: Connection, ref: TableRef, view: TableView, empty: str) -> None:
    """Set what a view reads to no file: enough to define it."""
    files = ref.snapshot.files
    fields = f"'files': [{literal(empty)}]"
    if files.layout.partitions:
        types = (f"p{i} {to_duckdb(f.type)}" for i, f in enumerate(files.layout.partitions))
        fields += f", 'parts': []::STRUCT({', '.join(types)})[]"
    cursor.execute(f"SET VARIABLE kept_{view.key} = {{{fields}}}")
    if files.has_deletion_vectors:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE dv_{view.key} (i UBIGINT, n BIGINT)")


def _load_vectors(cursor: Connection, snapshot: Snapshot, key: str) -> None:
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE dv_{key} (i UBIGINT, n BIGINT)")
    vectors = f"getvariable('kept_{key}').vectors"
    rows = cursor.execute(
        f"SELECT generate_subscripts({vectors}, 1) - 1, unnest({vectors})"
    ).fetchall()
    for position, descriptor in rows:
        vector = vector_from_row(descriptor)
        if vector is None:
            continue
        deleted = deleted_rows(snapshot.storage, vector)
        cursor.register("deleted", pa.table({"n": deleted}))
        cursor.execute(f"INSERT INTO dv_{key} SELECT {position}, n FROM deleted")
        cursor.unregister("deleted")


def _struct(columns: Sequence[str]) -> str:
    return "{" + ", ".join(f"'{column}': {column}" for column in columns) + "}"
