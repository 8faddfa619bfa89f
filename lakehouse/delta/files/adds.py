"""Add actions as rows of an Arrow table, and back."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any

from catalog import lazy
from lakehouse.delta.actions import AddFile, DeletionVector, RemoveFile
from lakehouse.delta.files.arrays import maps, numbers, texts

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
    return pa.schema(
        [
            ("path", pa.string()),
            ("file", pa.string()),
            ("partition_values", pa.map_(pa.string(), pa.string())),
            ("size", pa.int64()),
            ("modification_time", pa.int64()),
            ("stats", pa.string()),
            ("deletion_vector", _vector_type()),
            ("extra", pa.string()),
        ]
    )


def _vector_type() -> pa.DataType:
    return pa.struct([(name, getattr(pa, type_)()) for name, type_ in VECTOR.items()])


@functools.cache
def no_rows() -> pa.Table:
    """Return a table of no add actions."""
    # Made without `pa.array`, which imports pandas where that is installed: a fifth of a second.
    return pa.Table.from_batches([], schema=raw_schema())


def raw_table(adds: Iterable[AddFile]) -> pa.Table:
    """Return add actions as rows of RAW."""
    found = tuple(adds)
    if not found:
        return no_rows()
    vectors = [_vector_row(add.deletion_vector) for add in found]
    columns = [
        texts([add.path for add in found]),
        texts([add.key[0] for add in found]),
        maps([tuple(add.partition_values.items()) for add in found]),
        numbers(add.size for add in found),
        numbers(add.modification_time for add in found),
        texts([add.stats for add in found]),
        pa.array(vectors, _vector_type()) if any(vectors) else pa.nulls(len(found), _vector_type()),
        texts([json.dumps(dict(add.extra)) if add.extra else None for add in found]),
    ]
    return pa.Table.from_arrays(columns, schema=raw_schema())


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


def removals(
    raw: pa.Table, *, deletion_timestamp: int, data_change: bool = True
) -> list[RemoveFile]:
    """Return the actions that remove the files in rows of RAW: those that their adds would give.

    Files that have nothing but a path, partition values and a size need no add for it.
    """
    count = raw.num_rows
    if raw["deletion_vector"].null_count < count or raw["extra"].null_count < count:
        return [
            to_action(row).removed(deletion_timestamp=deletion_timestamp, data_change=data_change)
            for row in raw.to_pylist()
        ]
    columns = (raw[name].to_pylist() for name in ("path", "partition_values", "size"))
    return [
        RemoveFile(path, deletion_timestamp, data_change, dict(values or ()), size)
        for path, values, size in zip(*columns, strict=True)
    ]


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
