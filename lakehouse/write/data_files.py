"""Write rows as data files of a table: convert, check and write in one pass."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from catalog.errors import CorruptionError, LakehouseError, StorageError
from catalog.storage import Storage
from lakehouse.delta.actions import AddFile
from lakehouse.delta.codec import encode_path
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.mapping import field_ids
from lakehouse.delta.schema.partition import to_log
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.parquet import WrittenFile, write_file, write_parquet
from lakehouse.duck.rows import Source
from lakehouse.write.gate import GatePlan
from lakehouse.write.inside import inside, outside
from lakehouse.write.query import Query, check_rules, rejected
from lakehouse.write.rules import NO_RULES, rules_of
from lakehouse.write.statistics import check_finite, statistics

TARGET_FILE_BYTES = 128 << 20


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
    within: str | None = None,
    enforce: bool = True,
    folder: str = "",
) -> NewFiles:
    """Write all rows of a source as data files, and make them durable.

    ``within`` is a predicate over the table's columns that must be true for every row. The table's
    constraints, invariants and generated columns hold for the rows, too, unless ``enforce`` is
    False: for rows of the table itself, unchanged. ``folder`` is one below the table's own. Raises DataError, with column or constraint,
    count and samples, for rows that are rejected, and UnsupportedError, before any work, for a
    rule that cannot be evaluated. After any error no file of this call is left behind.
    """
    layout = Layout(plan.schema, partition_columns)
    query = _query(cursor, source, plan, layout, properties, enforce=enforce)
    checked = query.checked()

    def explain(error: DuckError) -> LakehouseError:
        stray = outside(error, cursor, source, plan, within) if within else None
        return stray or rejected(error, cursor, source, query)

    return write_files(
        cursor,
        checked if within is None else inside(checked, plan, within),
        layout,
        storage=storage,
        properties=properties,
        explain=explain,
        folder=folder,
    )


def write_files(
    cursor: Connection,
    sql: str,
    layout: Layout,
    *,
    storage: Storage,
    properties: Mapping[str, str],
    explain: Callable[[DuckError], LakehouseError],
    folder: str = "",
) -> NewFiles:
    """Write the rows of a query as data files, and make them durable.

    The query gives the columns as data files hold them, and fails for a row that is no row of the
    table; ``explain`` says then what is wrong. After any error no file of this call is left behind.
    """
    if storage.local_path is not None:
        (storage.local_path / folder).mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:16]
    try:
        return _write(
            cursor, sql, layout, storage, token=token, properties=properties, folder=folder
        )
    except DuckError as error:
        discard(storage, token)
        raise explain(error) from error
    except BaseException:
        discard(storage, token)
        raise


def _query(
    cursor: Connection,
    source: Source,
    plan: GatePlan,
    layout: Layout,
    properties: Mapping[str, str],
    *,
    enforce: bool,
) -> Query:
    missing = {column.field.name for column in plan.columns if column.source is None}
    rules = NO_RULES
    if enforce:
        rules = rules_of(
            plan.schema,
            properties,
            missing=missing,
            partition_columns=layout.partition_columns,
        )
    query = Query(source.name, plan, rules)
    check_rules(cursor, query)
    return query


def _write(
    cursor: Connection,
    sql: str,
    layout: Layout,
    storage: Storage,
    *,
    token: str,
    properties: Mapping[str, str],
    folder: str,
) -> NewFiles:
    folders = tuple(field.physical_name for field in layout.partitions)
    written = write_parquet(
        cursor,
        sql,
        storage.url(folder),
        token=token,
        partition_by=folders,
        file_bytes=_target(properties),
        field_ids=field_ids(layout.schema, without=folders),
    )
    return _taken_in(written, layout, storage, properties, None)


def _taken_in(
    written: list[WrittenFile],
    layout: Layout,
    storage: Storage,
    properties: Mapping[str, str],
    values: Mapping[str, str | None] | None,
) -> NewFiles:
    """Check files that were written, make them durable, and return their actions.

    ``values`` are those of the partition that all of them are in, where that is known.
    """
    root = storage.url()
    _check_inside(storage, written, root)
    for file in written:
        check_finite(file, layout)
    kept = [file for file in written if file.rows]
    storage.delete([_relative(file, root) for file in written if not file.rows])
    storage.sync(_relative(file, root) for file in kept)
    adds = tuple(_add(file, layout, root, properties, values) for file in kept)
    return NewFiles(adds, sum(file.rows for file in kept), sum(file.size for file in kept))


def _check_inside(storage: Storage, written: list[WrittenFile], root: str) -> None:
    # DuckDB writes through a folder that is a link: what lies outside is taken back by its name.
    try:
        storage.require_inside(_relative(file, root) for file in written)
    except CorruptionError:
        for file in written:
            Path(file.name).unlink(missing_ok=True)
        raise


def write_part(
    cursor: Connection,
    queries: Iterable[str],
    layout: Layout,
    storage: Storage,
    *,
    folder: str,
    values: Mapping[str, str | None],
    properties: Mapping[str, str],
) -> NewFiles:
    """Write rows of the table itself, all of one partition, a file a query; make them durable.

    Queries select what data files hold, by physical names. ``values`` are the partition's, as the
    log has them, and ``folder`` is where its files stand, relative to the table. After any error no
    file of this call is left behind.
    """
    root = storage.url().rstrip("/")
    place = f"{root}/{folder}" if folder else root
    if storage.local_path is not None:
        storage.require_inside([folder] if folder else [])
        (storage.local_path / folder).mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:16]
    ids = field_ids(layout.schema, without=tuple(values))
    try:
        written = []
        for query in queries:
            path = f"{place}/part-{token}-{uuid.uuid4()}.parquet"
            written += write_file(cursor, query, path, field_ids=ids)
        return _taken_in(written, layout, storage, properties, values)
    except DuckError as error:
        discard(storage, token)
        raise translate(error, "write the rows anew") from error
    except BaseException:
        discard(storage, token)
        raise


def discard(storage: Storage, token: str) -> None:
    """Delete the data files that were written under a token and that no commit names."""
    marked = f"part-{token}-"
    # What cannot be deleted now is a leftover, found by its age; it must not hide the error.
    with contextlib.suppress(StorageError):
        storage.delete([item.path for item in storage.list() if marked in item.path])


def discard_files(storage: Storage, files: NewFiles) -> None:
    """Delete files that were written for a commit that will not be, as far as storage lets us."""
    with contextlib.suppress(StorageError):
        storage.delete([add.key[0] for add in files.adds])


def _add(
    file: WrittenFile,
    layout: Layout,
    root: str,
    properties: Mapping[str, str],
    values: Mapping[str, str | None] | None,
) -> AddFile:
    if values is None:
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
