"""The add actions of a checkpoint, in an order in which the row groups of its Parquet prune.

Files are ordered by their partitions, and then by the minimum of the column whose ranges overlap
least: measured on a sample, as the number of files that hold another file's minimum. What nobody
uses (deletion vectors, tags) is left out of the schema.
"""

from __future__ import annotations

import json
from typing import Any

from catalog import lazy
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Leaf
from lakehouse.delta.files.typed import from_text, nested, parsed
from lakehouse.duck.engine import Connection
from lakehouse.duck.sql import identifier, literal

pa: Any = lazy.module("pyarrow")

VECTOR = {
    "storageType": "VARCHAR", "pathOrInlineDv": "VARCHAR", "offset": "INTEGER",
    "sizeInBytes": "INTEGER", "cardinality": "BIGINT",
}  # fmt: skip
_VECTOR_TYPE = "STRUCT(" + ", ".join(f'"{name}" {type_}' for name, type_ in VECTOR.items()) + ")"
_EXTRA = {
    "tags": "MAP(VARCHAR, VARCHAR)", "baseRowId": "BIGINT", "defaultRowCommitVersion": "BIGINT",
    "clusteringProvider": "VARCHAR",
}  # fmt: skip
_SAMPLE = 500
_CANDIDATES = 32


def sorted_adds(cursor: Connection, files: FileIndex, *, with_json: bool) -> str:
    """Return SQL for the live files as rows of a column ``add``, in order.

    ``with_json`` keeps their statistics as text.
    """
    best = _best_leaf(cursor, files)
    keys = [f"p{ordinal}" for ordinal in range(len(files.layout.partitions))]
    if best is not None:
        keys.append(nested("s")("minValues", best))
    order = f" ORDER BY {', '.join(keys)}" if keys else ""
    rows = _source(cursor, files)
    return f"(SELECT {_add(files, with_json=with_json)} AS add FROM {rows}{order})"


def _source(cursor: Connection, files: FileIndex, *, sample: int | None = None) -> str:
    """Return SQL for the files as rows of RAW with statistics ``s`` and partition values.

    ``sample`` is about how many of them to take.
    """
    layout, held = files.layout, files.held
    if sample is not None:
        step = max(1, held.num_rows // sample)
        # Not `take`, which makes one piece of all rows first.
        rows = [held.slice(row, 1) for row in range(0, held.num_rows, step)]
        held = pa.concat_tables(rows) if rows else held
    name = "held_files" if sample is None else "held_sample"
    cursor.register(name, held)
    typed = [f"TRY({parsed('stats', layout)}) AS s"]
    typed += [
        f"{from_text('partition_values')(f)} AS p{i}" for i, f in enumerate(layout.partitions)
    ]
    source = f"SELECT *, {', '.join(typed)} FROM {name}"
    if files.stored is not None:
        every = None if sample is None else max(1, files.stored.rows // sample)
        stored = files.stored.with_statistics(cursor, layout, files.gone, every=every)
        source = f"{stored} UNION ALL {source}"
    return f"({source})"


def _add(files: FileIndex, *, with_json: bool) -> str:
    """Return SQL that makes an ``add`` of a row."""
    layout = files.layout
    fields = {
        "path": "path",
        "partitionValues": "partition_values",
        "size": "size",
        "modificationTime": "modification_time",
        "dataChange": "false",
    }
    if with_json:
        fields["stats"] = "stats"
    if files.has_deletion_vectors:
        fields["deletionVector"] = f"CAST(deletion_vector AS {_VECTOR_TYPE})"
    if files.has_extra:
        extra = f"from_json(extra, {literal(json.dumps(_EXTRA))})"
        fields |= {name: f"{extra}.{identifier(name)}" for name in _EXTRA}
    fields["stats_parsed"] = "s"
    if layout.partitions:
        values = ", ".join(
            f"{identifier(field.physical_name)} := p{i}"
            for i, field in enumerate(layout.partitions)
        )
        fields["partitionValues_parsed"] = f"struct_pack({values})"
    return f"struct_pack({', '.join(f'{name} := {sql}' for name, sql in fields.items())})"


def _best_leaf(cursor: Connection, files: FileIndex) -> Leaf | None:
    """Return the column by which files are told apart best, or None where none will do."""
    candidates = [leaf for leaf in files.layout.leaves if leaf.has_bounds][:_CANDIDATES]
    if not candidates:
        return None
    value = nested("s")
    bounds = ", ".join(
        f"{value('minValues', x)} AS min{x.ordinal}, {value('maxValues', x)} AS max{x.ordinal}"
        for x in candidates
    )
    rows = _source(cursor, files, sample=_SAMPLE)
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE sampled AS SELECT {bounds} FROM {rows}")
    # Files whose bounds are unknown may hold anything.
    overlaps = ", ".join(
        f"count(*) FILTER (coalesce(a.min{n} <= b.min{n} AND a.max{n} >= b.min{n}, true))"
        for n in (leaf.ordinal for leaf in candidates)
    )
    found = cursor.execute(f"SELECT count(*), {overlaps} FROM sampled a, sampled b").fetchall()[0]
    cursor.execute("DROP TABLE sampled")
    pairs, *counts = found
    best = min(range(len(counts)), key=lambda number: counts[number])
    return candidates[best] if counts[best] < pairs or pairs == 1 else None
