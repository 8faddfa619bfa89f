"""The file index: a snapshot's live files as one Arrow table that DuckDB prunes.

A row is a file. Beside the fields of its add action stand typed columns, computed once: ``rows``,
``pattern`` (the file's name for a reader of globs), ``position``, ``p<i>`` (value of partition column i), and for leaf column j ``min<j>``, ``max<j>``, ``nulls<j>``
and, for floating point, ``nan<j>``. NULL there means unknown. Bounds are widened where writers
are known to truncate (timestamps to milliseconds), so that a bound may be trusted as it stands.
Source: Delta protocol, "Per-file Statistics".
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import CorruptionError
from lakehouse.delta.actions import AddFile, DeletionVector
from lakehouse.delta.partition import typed_sql
from lakehouse.delta.schema import Decimal, Field, Primitive, Struct, Type, leaves
from lakehouse.delta.types import to_duckdb
from lakehouse.duck.engine import VERSION, Engine
from lakehouse.duck.errors import DuckError
from lakehouse.duck.sql import identifier, literal

_VECTOR = pa.struct(
    [
        ("storageType", pa.string()),
        ("pathOrInlineDv", pa.string()),
        ("offset", pa.int64()),
        ("sizeInBytes", pa.int64()),
        ("cardinality", pa.int64()),
    ]
)
RAW = pa.schema(
    [
        ("path", pa.string()),
        ("file", pa.string()),
        ("partition_values", pa.map_(pa.string(), pa.string())),
        ("size", pa.int64()),
        ("modification_time", pa.int64()),
        ("stats", pa.string()),
        ("deletion_vector", _VECTOR),
        ("extra", pa.string()),
    ]
)
_UNBOUNDED = ("binary", "boolean")
_DECIMAL_EXACT = 15
_MOST_ROWS = 10**15  # what is beyond is no count, and would overflow in sums


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """Hold one leaf column: its ordinal in the index, its path and its type."""

    ordinal: int
    path: tuple[Field, ...]
    type: Type

    @property
    def has_bounds(self) -> bool:
        """Tell whether the index holds a minimum and a maximum for this column."""
        return is_bounded(self.type)

    @property
    def is_float(self) -> bool:
        """Tell whether values may be NaN."""
        return self.type in (Primitive("float"), Primitive("double"))

    @property
    def physical_path(self) -> tuple[str, ...]:
        """Return the names in data files and statistics."""
        return tuple(field.physical_name for field in self.path)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Say which typed columns an index has, from a schema and its partition columns."""

    schema: Struct
    partition_columns: tuple[str, ...]

    @cached_property
    def partitions(self) -> tuple[Field, ...]:
        """Return the partition columns' fields, in partitioning order."""
        found = [self.schema.field(name) for name in self.partition_columns]
        for name, field in zip(self.partition_columns, found, strict=True):
            if field is None:
                raise CorruptionError(
                    f"partition column {name!r} is not in the table's schema",
                    next_step="Restore the table to an earlier version",
                )
            if not isinstance(field.type, Primitive | Decimal):
                raise CorruptionError(
                    f"partition column {name!r} has type {to_duckdb(field.type)}, which is no "
                    f"partition's",
                    next_step="Restore the table to an earlier version",
                )
        return tuple(field for field in found if field is not None)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """Return the leaf columns that are stored in data files."""
        partitions = set(self.partition_columns)
        return tuple(
            Leaf(ordinal, path, type_)
            for ordinal, (path, type_) in enumerate(leaves(self.schema))
            if path[0].name not in partitions
        )


@dataclasses.dataclass(frozen=True)
class FileIndex:
    """Hold a snapshot's live files.

    ``raw`` has the columns of RAW (``path`` as in the log, ``file`` decoded); ``typed(engine)``
    adds the typed columns, computed at the first use and carried over to newer versions.
    """

    raw: pa.Table
    layout: Layout
    _typed: list[pa.Table] = dataclasses.field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.raw.num_rows)

    @cached_property
    def bytes(self) -> int:
        """Return the size of all files together."""
        return int(pc.sum(self.raw["size"]).as_py() or 0)

    @cached_property
    def has_deletion_vectors(self) -> bool:
        """Tell whether a file has deleted rows."""
        return bool(self.raw["deletion_vector"].null_count < len(self))

    def rows(self, engine: Engine) -> int | None:
        """Return the number of live rows, or None where a file's statistics lack it."""
        rows = self._counted()
        if rows is None:
            rows = self.typed(engine)["rows"]
        if rows.null_count:
            return None
        deleted = pc.struct_field(self.raw["deletion_vector"], "cardinality")
        return int(pc.sum(rows).as_py() or 0) - int(pc.sum(deleted).as_py() or 0)

    def _counted(self) -> pa.ChunkedArray | None:
        """Return the files' row counts without parsing their statistics, where that is safe."""
        if self._typed or self.layout.schema.mentions("numRecords"):
            return None
        found = pc.extract_regex(self.raw["stats"], r'"numRecords":\s*(?P<rows>[0-9]{1,15})\s*[,}]')
        return pc.struct_field(found, "rows").cast(pa.int64())

    def typed(self, engine: Engine) -> pa.Table:
        """Return the index with its typed columns, and each file's ``position`` in it."""
        if not self._typed:
            self._typed.append(_numbered(_derive(self.raw, self.layout, engine)))
        return self._typed[0]

    def adds(self) -> list[AddFile]:
        """Return the live files as actions."""
        return [_to_action(row) for row in self.raw.to_pylist()]

    def keys(self) -> set[tuple[str, str]]:
        """Return what identifies the live files: decoded path and deletion vector."""
        return set(zip(self.raw["file"].to_pylist(), self._vectors(), strict=True))

    def _vectors(self) -> list[str]:
        if not self.has_deletion_vectors:
            return [""] * len(self)
        return [_vector_id(vector) for vector in self.raw["deletion_vector"].to_pylist()]

    def only(self, keys: Collection[tuple[str, str]]) -> FileIndex:
        """Return the index of the files with these keys."""
        wanted = pa.array(
            [
                key in keys
                for key in zip(self.raw["file"].to_pylist(), self._vectors(), strict=True)
            ],
            pa.bool_(),
        )
        part = FileIndex(self.raw.filter(wanted), self.layout)
        part._typed.extend(typed.filter(wanted) for typed in self._typed)
        return part

    def changed(
        self, *, adds: Iterable[AddFile], gone: Collection[tuple[str, str]], engine: Engine
    ) -> FileIndex:
        """Return the index after a commit: less the files ``gone`` (by key), with ``adds``."""
        raw, typed = self.raw, self._typed[0] if self._typed else None
        if gone:
            names = pa.array(sorted({file for file, _ in gone}), pa.string())
            maybe = pc.is_in(raw["file"], value_set=names)
            if pc.any(maybe).as_py():
                keep = self._keep(maybe, set(gone))
                raw = raw.filter(keep)
                typed = None if typed is None else typed.filter(keep)
        added = raw_table(adds)
        merged = FileIndex(pa.concat_tables([raw, added]), self.layout)
        if typed is not None:
            fresh = _derive(added, self.layout, engine)
            merged._typed.append(_numbered(pa.concat_tables([typed.drop(["position"]), fresh])))
        return merged

    def _keep(self, maybe: Any, gone: set[tuple[str, str]]) -> Any:
        if not self.has_deletion_vectors:
            plain = {file for file, vector in gone if vector == ""}
            dropped = pc.is_in(self.raw["file"], value_set=pa.array(sorted(plain), pa.string()))
            return pc.invert(dropped)
        keys = zip(self.raw["file"].to_pylist(), self._vectors(), strict=True)
        pairs = zip(maybe.to_pylist(), keys, strict=True)
        return pa.array([not hit or key not in gone for hit, key in pairs], pa.bool_())


def _numbered(typed: pa.Table) -> pa.Table:
    return typed.append_column("position", pa.array(range(typed.num_rows), pa.uint64()))


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
    return pa.Table.from_pylist(rows, schema=RAW)


def is_bounded(type_: Type) -> bool:
    """Tell whether the statistics of a column of this type have a minimum and a maximum."""
    if isinstance(type_, Primitive):
        return type_.name not in _UNBOUNDED
    return isinstance(type_, Decimal)


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


def _vector_id(row: dict[str, Any] | None) -> str:
    vector = vector_from_row(row)
    return "" if vector is None else vector.id


def _to_action(row: dict[str, Any]) -> AddFile:
    return AddFile(
        path=row["path"],
        partition_values=dict(row["partition_values"] or ()),
        size=row["size"],
        modification_time=row["modification_time"],
        stats=row["stats"],
        deletion_vector=vector_from_row(row["deletion_vector"]),
        extra=json.loads(row["extra"]) if row["extra"] else {},
    )


def _derive(raw: pa.Table, layout: Layout, engine: Engine) -> pa.Table:
    """Compute the typed columns of the index with DuckDB."""
    # A reader takes names as globs: what a file's name holds of one stands for itself.
    pattern = "regexp_replace(file, '([\\[*?])', '[\\1]', 'g') AS pattern"
    columns = [
        "raw.*",
        pattern,
        f"CASE WHEN s.numRecords BETWEEN 0 AND {_MOST_ROWS} THEN s.numRecords END AS rows",
    ]
    for ordinal, field in enumerate(layout.partitions):
        text = f"partition_values[{literal(field.physical_name)}]"
        columns.append(f"{typed_sql(text, field.type)} AS p{ordinal}")
    for leaf in layout.leaves:
        columns += _leaf_columns(leaf)
    shape = json.dumps(statistics_shape(layout))
    from_json = f"from_json(stats, {literal(shape)})"
    query = (
        f"SELECT {', '.join(columns)} FROM (SELECT *, {from_json} AS s FROM raw_files) AS raw"
    ).replace("raw.*", "raw.* EXCLUDE (s)")
    with engine.work("read the statistics in the log") as cursor:
        cursor.register("raw_files", raw)
        try:
            typed = cursor.sql(query).to_arrow_table()
        except DuckError:
            # Text that is no JSON says nothing; asking for that costs time, so only now.
            query = query.replace(from_json, f"TRY({from_json})")
            typed = cursor.sql(query).to_arrow_table()
    _check_partitions(typed, layout)
    _check_deleted(typed)
    return typed


def _check_deleted(typed: pa.Table) -> None:
    deleted = pc.struct_field(typed["deletion_vector"], "cardinality")
    wrong = pc.fill_null(pc.greater(deleted, typed["rows"]), False)
    if pc.any(wrong).as_py():
        row = typed.select(["path", "rows"]).filter(wrong).slice(0, 1).to_pylist()[0]
        raise CorruptionError(
            f"file {row['path']!r} has {row['rows']} rows, and its deletion vector more",
            next_step="Restore the table to an earlier version",
        )


def _leaf_columns(leaf: Leaf) -> list[str]:
    path = ".".join(identifier(name) for name in leaf.physical_path)
    columns = [f"s.nullCount.{path} AS nulls{leaf.ordinal}"]
    if leaf.has_bounds:
        low, high = f"s.minValues.{path}", f"s.maxValues.{path}"
        if leaf.type in (Primitive("timestamp"), Primitive("timestamp_ntz")):
            high = (
                f"CASE WHEN epoch_us({high}) % 1000 = 0 "
                f"THEN {high} + INTERVAL 999 MICROSECOND ELSE {high} END"
            )
        columns += [f"{low} AS min{leaf.ordinal}", f"{high} AS max{leaf.ordinal}"]
    if leaf.is_float:
        columns.append(f"s.nanCount.{path} AS nan{leaf.ordinal}")
    return columns


def statistics_shape(layout: Layout) -> dict[str, Any]:
    """Return the structure of a table's statistics, in the form that DuckDB's from_json takes."""
    bounds: dict[str, Any] = {}
    nulls: dict[str, Any] = {}
    nans: dict[str, Any] = {}
    for leaf in layout.leaves:
        _nest(nulls, leaf.physical_path, "BIGINT")
        if leaf.has_bounds:
            _nest(bounds, leaf.physical_path, _bound_type(leaf.type))
        if leaf.is_float:
            _nest(nans, leaf.physical_path, "BIGINT")
    shape: dict[str, Any] = {"numRecords": "BIGINT"}
    if bounds:
        shape |= {"minValues": bounds, "maxValues": bounds}
    if nulls:
        shape["nullCount"] = nulls
    if nans:
        shape["nanCount"] = nans
    return shape


def _bound_type(type_: Type) -> str:
    # DuckDB before 2.0 reads JSON numbers as doubles: no bound is better than a wrong one.
    if isinstance(type_, Decimal) and type_.precision > _DECIMAL_EXACT and VERSION < (2, 0):
        return '"NULL"'
    return to_duckdb(type_)


def _nest(tree: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _check_partitions(typed: pa.Table, layout: Layout) -> None:
    for ordinal, field in enumerate(layout.partitions):
        column = typed[f"p{ordinal}"]
        if column.null_count == 0:
            continue
        values = typed.select(["path", "partition_values"]).filter(pc.is_null(column))
        for row in values.to_pylist():
            text = dict(row["partition_values"]).get(field.physical_name)
            if text:
                raise CorruptionError(
                    f"file {row['path']!r} has partition value {text!r} in column "
                    f"{field.name!r}, which is not a {to_duckdb(field.type)}",
                    next_step="Restore the table to an earlier version",
                )
