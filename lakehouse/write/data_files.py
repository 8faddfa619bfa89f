"""Write rows as data files of a table: convert, check and write in one pass."""

from __future__ import annotations

import dataclasses
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from catalog.errors import DataError, LakehouseError
from catalog.storage import Storage
from lakehouse.delta.actions import AddFile
from lakehouse.delta.codec import encode_path
from lakehouse.delta.layout import Layout
from lakehouse.delta.partition import to_log
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.parquet import WrittenFile, write_parquet
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier, literal
from lakehouse.write.gate import Check, ColumnPlan, GatePlan
from lakehouse.write.statistics import check_finite, statistics

TARGET_FILE_BYTES = 128 << 20
_FAILED = re.compile(r"lakehouse-check:(\d+):(\d+):(.*)", re.DOTALL)
_SAMPLES = 5


@dataclasses.dataclass(frozen=True, slots=True)
class NewFiles:
    """Hold files that were written and that no commit names yet."""

    adds: tuple[AddFile, ...]
    rows: int
    bytes: int


def write_rows(
    cursor: Connection,
    source: Source,
    plan: GatePlan,
    *,
    storage: Storage,
    partition_columns: tuple[str, ...],
    properties: Mapping[str, str],
) -> NewFiles:
    """Write all rows of a source as data files, and make them durable.

    Raises DataError, with column, count and samples, for rows that a check rejects. After any
    error no file of this call is left behind.
    """
    layout = Layout(plan.schema, partition_columns)
    if storage.local_path is not None:
        storage.local_path.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:16]
    try:
        return _write(cursor, source, plan, layout, storage, token=token, properties=properties)
    except DuckError as error:
        discard(storage, token)
        raise _rejected(error, cursor, source, plan) from error
    except BaseException:
        discard(storage, token)
        raise


def _write(
    cursor: Connection,
    source: Source,
    plan: GatePlan,
    layout: Layout,
    storage: Storage,
    *,
    token: str,
    properties: Mapping[str, str],
) -> NewFiles:
    root = storage.url()
    written = write_parquet(
        cursor,
        f"SELECT {', '.join(_select(plan))} FROM {source.name}",
        root,
        token=token,
        partition_by=tuple(field.physical_name for field in layout.partitions),
        file_bytes=_target(properties),
    )
    for file in written:
        check_finite(file, layout)
    kept = [file for file in written if file.rows]
    storage.delete([_relative(file, root) for file in written if not file.rows])
    storage.sync(_relative(file, root) for file in kept)
    adds = tuple(_add(file, layout, root, properties) for file in kept)
    return NewFiles(adds, sum(file.rows for file in kept), sum(file.size for file in kept))


def discard(storage: Storage, token: str) -> None:
    """Delete the data files that were written under a token and that no commit names."""
    marked = f"part-{token}-"
    storage.delete([item.path for item in storage.list() if marked in item.path])


def discard_files(storage: Storage, files: NewFiles) -> None:
    """Delete files that were written for a commit that will not be."""
    storage.delete([add.key[0] for add in files.adds])


def _select(plan: GatePlan) -> list[str]:
    columns = []
    for number, column in enumerate(plan.columns):
        sql = column.sql
        if column.checks:
            cases = " ".join(
                f"WHEN {check.sql} THEN error({_message(number, index, column)})"
                for index, check in enumerate(column.checks)
            )
            sql = f"CASE {cases} ELSE {sql} END"
        columns.append(f"{sql} AS {identifier(column.field.physical_name)}")
    return columns


def _message(number: int, index: int, column: ColumnPlan) -> str:
    marker = literal(f"lakehouse-check:{number}:{index}:")
    return f"{marker} || coalesce({_shown(column)}, 'NULL')"


def _shown(column: ColumnPlan) -> str:
    assert column.source is not None
    return f"left(CAST({identifier(column.source)} AS VARCHAR), 100)"


def _rejected(
    error: DuckError, cursor: Connection, source: Source, plan: GatePlan
) -> LakehouseError:
    match = _FAILED.search(str(error))
    if match is None and "name too long" in str(error).lower():
        # Files could stand outside of such a folder, but Polars takes the values from the path.
        return DataError(
            "a partition value is too long to name a folder (255 bytes, percent-encoded)",
            next_step="Partition by a shorter column, such as a code; nothing was written",
        )
    if match is None:
        return translate(error, "write the rows")
    column = plan.columns[int(match[1])]
    check = column.checks[int(match[2])]
    count: int | None = None
    samples: tuple[Any, ...] = (match[3],)
    if source.rescannable:
        count, found = _diagnose(cursor, source, column, check)
        samples = tuple(found) or samples
    many = "at least 1 row" if count is None else f"{count} row{'s' if count != 1 else ''}"
    return DataError(
        f"column {column.field.name!r} {check.reason} in {many}; "
        f"for example {', '.join(map(str, samples[:3]))}",
        next_step="Correct these rows, or convert the column yourself; nothing was written",
        column=column.field.name,
        count=count,
        samples=samples,
    )


def _diagnose(
    cursor: Connection, source: Source, column: ColumnPlan, check: Check
) -> tuple[int, list[Any]]:
    row = cursor.execute(
        f"SELECT count(*), list(shown)[:{_SAMPLES}] FROM "
        f"(SELECT coalesce({_shown(column)}, 'NULL') AS shown FROM {source.name} WHERE {check.sql})"
    ).fetchone()
    assert row is not None
    return int(row[0]), list(row[1] or ())


def _add(file: WrittenFile, layout: Layout, root: str, properties: Mapping[str, str]) -> AddFile:
    values = {
        field.physical_name: to_log(file.partition.get(field.physical_name), field.type)
        for field in layout.partitions
    }
    return AddFile(
        path=encode_path(_relative(file, root)),
        partition_values=values,
        size=file.size,
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=statistics(file, layout, properties),
    )


def _relative(file: WrittenFile, root: str) -> str:
    return file.name.removeprefix(root).lstrip("/")


def _target(properties: Mapping[str, str]) -> int:
    try:
        return max(1 << 20, int(properties.get("delta.targetFileSize", TARGET_FILE_BYTES)))
    except ValueError:
        return TARGET_FILE_BYTES
