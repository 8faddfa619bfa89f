"""Show a snapshot's files, in the terms that other Delta tools use."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import NotFoundError
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine


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


def no_column(name: str, near: tuple[str, ...], table: str) -> NotFoundError:
    """Return the error for a column that a table does not have."""
    step = f"Did you mean {near[0]}?" if near else "See the table's schema for its columns"
    return NotFoundError(f"{table} has no column {name!r}", next_step=step, near=near)
