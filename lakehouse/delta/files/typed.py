"""The typed columns of the file index, as SQL over statistics and partition values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from catalog import lazy
from catalog.errors import CorruptionError
from lakehouse.delta.files.layout import Layout, Leaf, statistics_shape
from lakehouse.delta.schema.fields import Field, Primitive
from lakehouse.delta.schema.partition import typed_sql
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError
from lakehouse.duck.sql import identifier, literal

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")

PLAIN = ("path", "file", "size", "modification_time", "deletion_vector", "rows")
_MOST_ROWS = 10**15  # what is beyond is no count, and would overflow in sums
_TRUNCATED = (Primitive("timestamp"), Primitive("timestamp_ntz"))

Statistic = Callable[[str, Leaf], str]
Partition = Callable[[Field], str]


def columns(layout: Layout, statistic: Statistic, partition: Partition) -> list[str]:
    """Return the typed columns of partitions and leaves.

    ``statistic("minValues", leaf)`` is SQL for a leaf's statistic, ``partition(field)`` for the
    typed value of a partition column. Beside ``max<j>``, widened where writers are known to
    truncate, stands ``top<j>`` as the log has it: Parquet's own statistics can prune by it.
    """
    found = [f"{partition(field)} AS p{i}" for i, field in enumerate(layout.partitions)]
    for leaf in layout.leaves:
        number = leaf.ordinal
        found.append(f"{statistic('nullCount', leaf)} AS nulls{number}")
        if leaf.has_bounds:
            low, high = statistic("minValues", leaf), statistic("maxValues", leaf)
            found.append(f"{low} AS min{number}")
            found.append(f"{_widened(high) if is_truncated(leaf) else high} AS max{number}")
            if is_truncated(leaf):
                found.append(f"{high} AS top{number}")
        if leaf.is_float:
            found.append(f"{statistic('nanCount', leaf)} AS nan{number}")
    return found


def names(layout: Layout) -> tuple[str, ...]:
    """Return the names of all columns of the typed index but ``position``."""
    typed = columns(layout, lambda _, __: "", lambda _: "")
    return (*PLAIN, *(column.rpartition(" ")[2] for column in typed))


def is_truncated(leaf: Leaf) -> bool:
    """Tell whether writers are known to store too low a maximum (Spark: milliseconds)."""
    return leaf.type in _TRUNCATED


def derive(raw: pa.Table, layout: Layout, engine: Engine) -> pa.Table:
    """Compute the typed index of rows of RAW from their JSON statistics."""
    with engine.work("read the statistics in the log") as cursor:
        cursor.register("raw_files", raw)
        try:
            table = cursor.sql(typed_rows(layout)).to_arrow_table()
        except DuckError:
            # Text that is no JSON says nothing; asking for that costs time, so only now.
            table = cursor.sql(typed_rows(layout, tolerant=True)).to_arrow_table()
    _check_partitions(raw, table, layout)
    check_deleted(table)
    return table


def typed_rows(layout: Layout, *, tolerant: bool = False) -> str:
    """Return SQL that makes the typed index of rows of RAW, named ``raw_files``.

    It fails on statistics that are no JSON, unless it is ``tolerant``.
    """
    typed = columns(layout, nested("s"), from_text("partition_values"))
    plain = [name for name in PLAIN if name != "rows"]
    selected = ", ".join([*plain, f"{counted('s.numRecords')} AS rows", *typed])
    read = parsed("stats", layout)
    made = f"TRY({read})" if tolerant else read
    return f"SELECT {selected} FROM (SELECT *, {made} AS s FROM raw_files)"


def counted(sql: str) -> str:
    """Return SQL for a number of rows; NULL for what cannot be one."""
    return f"CASE WHEN {sql} BETWEEN 0 AND {_MOST_ROWS} THEN {sql} END"


def check_deleted(typed: pa.Table) -> None:
    """Raise CorruptionError for a file of which more rows are deleted than it has."""
    deleted = pc.struct_field(typed["deletion_vector"], "cardinality")
    wrong = pc.greater(deleted, typed["rows"])  # null where there is nothing to compare
    if pc.any(wrong).as_py():
        row = typed.select(["file", "rows"]).filter(wrong).slice(0, 1).to_pylist()[0]
        raise CorruptionError(
            f"file {row['file']!r} has {row['rows']} rows, and its deletion vector more",
            next_step="Restore the table to an earlier version",
        )


def nested(statistics: str) -> Statistic:
    """Return the reader of a struct of statistics."""

    def read(kind: str, leaf: Leaf) -> str:
        return ".".join((statistics, kind, *(identifier(name) for name in leaf.physical_path)))

    return read


def from_text(values: str) -> Partition:
    """Return the reader of a map of partition values in the log's text."""

    def read(field: Field) -> str:
        return typed_sql(f"{values}[{literal(field.physical_name)}]", field.type)

    return read


def parsed(json_text: str, layout: Layout) -> str:
    """Return SQL that makes a struct of statistics of their JSON."""
    return f"from_json({json_text}, {literal(json.dumps(statistics_shape(layout)))})"


def bad_partition(path: str, text: str, field: Field) -> CorruptionError:
    """Return the error for a partition value that is none of its column's type."""
    return CorruptionError(
        f"file {path!r} has partition value {text!r} in column "
        f"{field.name!r}, which is not a {to_duckdb(field.type)}",
        next_step="Restore the table to an earlier version",
    )


def _widened(high: str) -> str:
    return (
        f"CASE WHEN epoch_us({high}) % 1000 = 0 "
        f"THEN {high} + INTERVAL 999 MICROSECOND ELSE {high} END"
    )


def _check_partitions(raw: pa.Table, typed: pa.Table, layout: Layout) -> None:
    for ordinal, field in enumerate(layout.partitions):
        column = typed[f"p{ordinal}"]
        if column.null_count == 0:
            continue
        values = raw.select(["path", "partition_values"]).filter(pc.is_null(column))
        for row in values.to_pylist():
            text = dict(row["partition_values"]).get(field.physical_name)
            if text:
                raise bad_partition(row["path"], text, field)
