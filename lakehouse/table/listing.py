"""Show a snapshot's files, in the terms that other Delta tools use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from catalog import lazy
from catalog.errors import NotFoundError
from catalog.names import near_misses
from lakehouse.delta.protocol import reader_features, writer_features
from lakehouse.delta.schema.types import schema_to_arrow
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.duck.sql import identifier
from lakehouse.table.reports import TableDetail

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")


def files(snapshot: Snapshot, engine: Engine) -> pa.Table:
    """Return one row a live file.

    Columns: ``path``, ``size_bytes``, ``num_records``, ``modified`` (UTC), ``partition.<column>``,
    and ``null_count.<column>``, ``min.<column>``, ``max.<column>``. Bounds contain all values;
    they need not occur. NULL means unknown.
    """
    typed = snapshot.files.typed(engine)
    modified = typed["modification_time"].cast(pa.timestamp("ms")).cast(pa.timestamp("ms", "UTC"))
    columns = {
        "path": typed["file"],
        "size_bytes": typed["size"],
        "num_records": typed["rows"],
        "modified": modified,
    }
    if snapshot.files.has_deletion_vectors:
        columns["deleted_records"] = pc.struct_field(typed["deletion_vector"], "cardinality")
    layout = snapshot.files.layout
    for ordinal, field in enumerate(layout.partitions):
        columns[f"partition.{field.name}"] = typed[f"p{ordinal}"]
    for leaf in layout.leaves:
        name = ".".join(field.name for field in leaf.path)
        columns[f"null_count.{name}"] = typed[f"nulls{leaf.ordinal}"]
        if leaf.has_bounds:
            columns[f"min.{name}"] = typed[f"min{leaf.ordinal}"]
            columns[f"max.{name}"] = typed[f"max{leaf.ordinal}"]
    return pa.table(columns)


def bounds(snapshot: Snapshot, column: str, engine: Engine) -> tuple[Any, Any]:
    """Return the bounds of a column, by any case of its name."""
    layout = snapshot.files.layout
    for ordinal, field in enumerate(layout.partitions):
        if field.name.lower() == column.lower():
            found = pc.min_max(snapshot.files.typed(engine)[f"p{ordinal}"]).as_py()
            return found["min"], found["max"]
    for leaf in layout.leaves:
        if len(leaf.path) == 1 and leaf.path[0].name.lower() == column.lower() and leaf.has_bounds:
            return snapshot.files.bounds(leaf, engine)
    return None, None


def detail(name: str, snapshot: Snapshot, engine: Engine) -> TableDetail:
    """Describe a table at one version."""
    protocol, metadata = snapshot.protocol, snapshot.metadata
    created = metadata.created_time
    return TableDetail(
        name=name,
        uri=snapshot.storage.url(),
        id=metadata.id,
        version=snapshot.version,
        description=metadata.description,
        schema=schema_to_arrow(snapshot.schema),
        partition_by=snapshot.partition_columns,
        files=len(snapshot.files),
        bytes=snapshot.files.bytes,
        rows=snapshot.files.rows(engine),
        properties=dict(snapshot.properties),
        min_reader=protocol.min_reader,
        min_writer=protocol.min_writer,
        features=tuple(sorted(reader_features(protocol) | writer_features(protocol))),
        created=None if created is None else datetime.fromtimestamp(created / 1000, UTC),
        modified=snapshot.time,
    )


def select(columns: Sequence[str], snapshot: Snapshot, table: str) -> str:
    """Return columns as a SELECT list; NotFoundError for one that the table does not have."""
    wanted = [columns] if isinstance(columns, str) else columns
    names = {name.lower(): name for name in snapshot.schema.names()}
    for column in wanted:
        if column.lower() not in names:
            near = near_misses(column, names.values())
            step = f"Did you mean {near[0]}?" if near else "See the table's schema for its columns"
            raise NotFoundError(f"{table} has no column {column!r}", next_step=step, near=near)
    return ", ".join(identifier(names[column.lower()]) for column in wanted) or "NULL"
