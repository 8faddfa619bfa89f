"""Add actions as rows of an Arrow table, and back."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from catalog import lazy
from lakehouse.delta.actions import AddFile, DeletionVector

pa: Any = lazy.module("pyarrow")

VECTOR = {
    "storageType": "string",
    "pathOrInlineDv": "string",
    "offset": "int64",
    "sizeInBytes": "int64",
    "cardinality": "int64",
}
VECTOR_TYPE = (
    'STRUCT("storageType" VARCHAR, "pathOrInlineDv" VARCHAR, "offset" BIGINT, '
    '"sizeInBytes" BIGINT, "cardinality" BIGINT)'
)


@functools.cache
def raw_schema() -> pa.Schema:
    """Return the columns of a table of add actions: RAW, as it is called elsewhere."""
    vector = pa.struct([(name, getattr(pa, type_)()) for name, type_ in VECTOR.items()])
    return pa.schema(
        [
            ("path", pa.string()),
            ("file", pa.string()),
            ("partition_values", pa.map_(pa.string(), pa.string())),
            ("size", pa.int64()),
            ("modification_time", pa.int64()),
            ("stats", pa.string()),
            ("deletion_vector", vector),
            ("extra", pa.string()),
        ]
    )


@functools.cache
def no_rows() -> pa.Table:
    """Return a table of no add actions."""
    # Made without `pa.array`, which imports pandas where that is installed: a fifth of a second.
    return pa.Table.from_batches([], schema=raw_schema())


def raw_table(adds: Iterable[AddFile]) -> pa.Table:
    """Return add actions as rows of RAW."""
    rows = [
        {
            "path": add.path,
            "file": unquote(add.path),
            "partition_values": list(add.partition_values.items()),
            "size": add.size,
            "modification_time": add.modification_time,
            "stats": add.stats,
            "deletion_vector": _vector_row(add.deletion_vector),
            "extra": json.dumps(dict(add.extra)) if add.extra else None,
        }
        for add in adds
    ]
    return pa.Table.from_pylist(rows, schema=raw_schema()) if rows else no_rows()


def to_action(row: dict[str, Any]) -> AddFile:
    """Return the action in a row of RAW."""
    return AddFile(
        path=row["path"],
        partition_values=dict(row["partition_values"] or ()),
        size=row["size"],
        modification_time=row["modification_time"],
        stats=row["stats"],
        deletion_vector=vector_from_row(row["deletion_vector"]),
        extra=_extra(row["extra"]) if row["extra"] else {},
    )


def _extra(text: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(text).items() if value is not None}


def records(add: AddFile) -> int | None:
    """Return the number of a file's rows, deleted ones included; None where it is not stated."""
    try:
        found = json.loads(add.stats or "{}")["numRecords"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _vector_row(vector: DeletionVector | None) -> dict[str, Any] | None:
    if vector is None:
        return None
    return {
        "storageType": vector.storage_type,
        "pathOrInlineDv": vector.path_or_inline,
        "offset": vector.offset,
        "sizeInBytes": vector.size_in_bytes,
        "cardinality": vector.cardinality,
    }


def vector_from_row(row: dict[str, Any] | None) -> DeletionVector | None:
    """Return the deletion vector in a row of RAW."""
    if row is None:
        return None
    return DeletionVector(
        row["storageType"], row["pathOrInlineDv"], row["sizeInBytes"], row["cardinality"],
        row["offset"],
    )  # fmt: skip


def vector_id(row: dict[str, Any] | None) -> str:
    """Return the identity of the deletion vector in a row of RAW; the empty text for none."""
    vector = vector_from_row(row)
    return "" if vector is None else vector.id
