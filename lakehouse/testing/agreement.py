"""Ask every reader that we have for a table's rows, and compare: no proof stands on one reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from catalog.errors import LakehouseError
from lakehouse.duck.engine import Engine
from lakehouse.duck.sql import identifier
from lakehouse.lint.log import lint
from lakehouse.table import second_opinion
from lakehouse.table.handle import Table

Rows = Counter[tuple[Any, ...]]


def disagreements(
    table: Table, expected: Sequence[Rows], *, columns: Sequence[str], engine: Engine
) -> list[str]:
    """Return what is wrong with a table; empty where its rows are one of those ``expected``.

    Our scan, DuckDB on the bare files that our snapshot lists, and deltalake each read the
    ``columns`` anew; the log is linted, and deltalake must see our files.
    """
    try:
        snapshot = table.snapshot()
        found = count_rows(table.read(columns=columns).to_arrow_table())
        problems = [str(finding) for finding in lint(snapshot.storage)]
        paths = table.files(version=snapshot.version)["path"].to_pylist()
        theirs = table.to_deltalake(version=snapshot.version)
        if not any(found == rows for rows in expected):
            problems.append(f"our rows are wrong: {_difference(found, expected[0])}")
        if not snapshot.files.has_deletion_vectors:
            engine.mount(snapshot.storage)
            bare = _bare(engine, [snapshot.storage.url(path) for path in paths], columns)
            if bare != found:
                problems.append(f"DuckDB reads other rows: {_difference(bare, found)}")
        if set(theirs.file_uris()) != {snapshot.storage.url(path) for path in paths}:
            problems.append("deltalake sees other files")
        rows = count_rows(second_opinion.read_rows(theirs).select(list(columns)))
        if rows != found:
            problems.append(f"deltalake reads other rows: {_difference(rows, found)}")
    except LakehouseError as error:
        return [f"the table cannot be read: {type(error).__name__}: {error}"]
    return problems


def count_rows(table: pa.Table) -> Rows:
    """Return how often each row stands in a table."""
    return Counter(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _bare(engine: Engine, urls: list[str], columns: Sequence[str]) -> Rows:
    if not urls:
        return Counter()
    names = ", ".join(identifier(name) for name in columns)
    with engine.work("read the files", reading=True) as cursor:
        # Not by `sql`, which waits for ever for files that Python fetches (DuckDB 1.5).
        found = cursor.execute(
            f"SELECT {names} FROM read_parquet($urls, union_by_name = true, "
            "hive_partitioning = false)",
            {"urls": urls},
        )
        return Counter(found.fetchall())


def _difference(found: Rows, expected: Rows) -> str:
    missing, extra = expected - found, found - expected
    parts = [
        f"{rows.total()} {what}, such as {next(iter(rows))}"
        for what, rows in (("missing", missing), ("too many", extra))
        if rows
    ]
    return "; ".join(parts) or "none"
