"""Which typed columns a file index has: a pure function of schema and partition columns.

For partition column i there is ``p<i>``; for leaf column j ``min<j>``, ``max<j>``, ``nulls<j>``
and, for floating point, ``nan<j>``. Source: Delta protocol, "Per-file Statistics".
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

from catalog.errors import CorruptionError
from lakehouse.delta.schema.fields import FLOATS, Decimal, Field, Primitive, Struct, Type, leaves
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.schema.widening import has_been
from lakehouse.duck.engine import VERSION

_UNBOUNDED = ("binary", "boolean")
_DECIMAL_EXACT = 15


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """Hold one leaf column: its ordinal in the index, its path and its type."""

    ordinal: int
    path: tuple[Field, ...]
    type: Type

    @property
    def has_bounds(self) -> bool:
        """Tell whether the index holds a minimum and a maximum for this column.

        None for a DOUBLE that was FLOAT: the bounds of its older files are the shortest texts that
        make the same FLOAT again, and they make another DOUBLE.
        """
        return is_bounded(self.type) and not has_been(self.path[-1], "float")

    @property
    def is_float(self) -> bool:
        """Tell whether values may be NaN."""
        return self.type in FLOATS

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


def statistics_shape(layout: Layout) -> dict[str, Any]:
    """Return the structure of a table's statistics, in the form that DuckDB's from_json takes."""
    bounds: dict[str, Any] = {}
    nulls: dict[str, Any] = {}
    nans: dict[str, Any] = {}
    for leaf in layout.leaves:
        _nest(nulls, leaf.physical_path, "BIGINT")
        if leaf.has_bounds:
            _nest(bounds, leaf.physical_path, bound_type(leaf.type))
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


def is_bounded(type_: Type) -> bool:
    """Tell whether the statistics of a column of this type have a minimum and a maximum."""
    if isinstance(type_, Primitive):
        return type_.name not in _UNBOUNDED
    return isinstance(type_, Decimal)


def bound_type(type_: Type) -> str:
    """Return the DuckDB type of a minimum or maximum, as from_json takes it."""
    # DuckDB before 2.0 reads JSON numbers as doubles: no bound is better than a wrong one.
    if isinstance(type_, Decimal) and type_.precision > _DECIMAL_EXACT and VERSION < (2, 0):
        return '"NULL"'
    return to_duckdb(type_)


def _nest(tree: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
