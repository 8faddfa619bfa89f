"""Write Parquet with DuckDB, and hand back what it says of each file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lakehouse.duck.engine import Connection
from lakehouse.duck.sql import identifier, literal

# Values a dictionary may hold. DuckDB's own limit, a fifth of a row group, costs a sixth of the
# time on columns that have no use for one; files come out as large.
_DICTIONARY = 10_000
VECTOR = 2048  # rows that DuckDB works on at once, and writes at least
_PART = re.compile(r'"((?:[^"]|"")*)"(?:\.|$)')


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """Hold one leaf column's statistics in a file; minimum and maximum in DuckDB's text."""

    nulls: int | None
    minimum: str | None
    maximum: str | None
    has_nan: bool | None
    nans: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenFile:
    """Describe a file: name, rows, bytes, statistics by path, partition values in text."""

    name: str
    rows: int
    size: int
    columns: Mapping[tuple[str, ...], ColumnStatistics]
    partition: Mapping[str, str | None]


def write_parquet(
    cursor: Connection,
    query: str,
    folder: str,
    *,
    token: str,
    partition_by: tuple[str, ...] = (),
    file_bytes: int,
    field_ids: Mapping[str, Any] = MappingProxyType({}),
) -> list[WrittenFile]:
    """Write a query's rows below ``folder`` as files named ``part-<token>-<uuid>.parquet``.

    Partitioned files stand in folders named ``column=value``.
    Files are cut at about ``file_bytes``, unless partitioned. ``field_ids`` are numbers by column,
    or nested dicts with the own number as ``__duckdb_field_id``, that the files' schema carries.
    """
    options = [
        "FORMAT parquet",
        "RETURN_STATS",
        "APPEND true",
        f"DICTIONARY_SIZE_LIMIT {_DICTIONARY}",
        f"FILENAME_PATTERN {literal(f'part-{token}-{{uuidv7}}')}",
    ]
    if field_ids:
        options.append(f"FIELD_IDS {_ids_sql(field_ids)}")
    if partition_by:
        options.append(f"PARTITION_BY ({', '.join(identifier(c) for c in partition_by)})")
    else:
        options.append(f"FILE_SIZE_BYTES {file_bytes}")
    copy = f"COPY ({query}) TO {literal(folder)} ({', '.join(options)})"
    return [_written(row) for row in cursor.execute(copy).fetchall()]


def write_file(
    cursor: Connection,
    query: str,
    path: str,
    *,
    field_ids: Mapping[str, Any] = MappingProxyType({}),
    group_rows: int | None = None,
) -> list[WrittenFile]:
    """Write a query's rows, in their order, as one file; as `write_parquet`.

    Row groups have about ``group_rows``, and all rows stand in one where there are no more.
    """
    options = ["FORMAT parquet", "RETURN_STATS", f"DICTIONARY_SIZE_LIMIT {_DICTIONARY}"]
    if group_rows is not None:
        options.append(f"ROW_GROUP_SIZE {max(group_rows, VECTOR)}")
    if field_ids:
        options.append(f"FIELD_IDS {_ids_sql(field_ids)}")
    copy = f"COPY ({query}) TO {literal(path)} ({', '.join(options)})"
    return [_written(row) for row in cursor.execute(copy).fetchall()]


def _written(row: tuple[object, ...]) -> WrittenFile:
    name, rows, size, _, statistics, partition = row[:6]
    assert isinstance(statistics, Mapping | None)
    assert isinstance(partition, Mapping | None)
    return WrittenFile(
        name=str(name),
        rows=int(str(rows)),
        size=int(str(size)),
        columns={_path(key): _statistics(value) for key, value in (statistics or {}).items()},
        partition=dict(partition or {}),
    )


def _ids_sql(ids: Mapping[str, Any]) -> str:
    entries = (
        f"{identifier(name)}: {_ids_sql(value) if isinstance(value, Mapping) else int(value)}"
        for name, value in ids.items()
    )
    return f"{{{', '.join(entries)}}}"


def _path(text: str) -> tuple[str, ...]:
    return tuple(part.replace('""', '"') for part in _PART.findall(text))


def _statistics(value: Mapping[str, str]) -> ColumnStatistics:
    nulls, nans = value.get("null_count"), value.get("nan_count")
    has_nan = value.get("has_nan")
    return ColumnStatistics(
        nulls=None if nulls is None else int(nulls),
        minimum=value.get("min"),
        maximum=value.get("max"),
        has_nan=None if has_nan is None else has_nan == "true",
        nans=None if nans is None else int(nans),
    )
