"""Append 20 million rows, scan them, and ask for one hour: us, delta-rs and raw DuckDB."""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import deltalake
import duckdb
import pyarrow as pa

import lakehouse
from benchmarks.measure import Figure, compare

AGGREGATE = "SELECT count(*), sum(value), min(city), max(ts), sum(kind) FROM {}"
HOUR = "SELECT sum(value) FROM {} WHERE ts >= TIMESTAMP '{}' AND ts < TIMESTAMP '{}'"


def rows(count: int) -> pa.Table:
    """Return sensor-like rows, ordered by time."""
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.5)").fetchall()
        return connection.sql(
            "SELECT range AS id, TIMESTAMP '2024-01-01' + to_seconds(range) AS ts, "
            "(random() * 1000)::INTEGER AS kind, random() AS value, "
            f"'city ' || (range % 5000) AS city FROM range({count})"
        ).to_arrow_table()


def run(folder: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures; files live below ``folder``."""
    count, rounds = options.rows, options.rounds
    data = rows(count)
    lake = lakehouse.connect(folder / "lake", keep_answers=False)
    raw = duckdb.connect()
    names = itertools.count()

    def ours() -> lakehouse.WriteReport:
        return lake.create_table(f"bronze.t{next(names)}", data.schema).append(data)

    def delta_rs() -> None:
        target = folder / f"deltalake{next(names)}"
        deltalake.write_deltalake(target, data)
        shutil.rmtree(target)

    def raw_duckdb() -> None:
        target = folder / f"raw{next(names)}.parquet"
        raw.from_arrow(data).write_parquet(str(target), compression="snappy")
        target.unlink()

    yield compare(
        f"append {count:,} rows (durable, ours only)",
        {"ours": ours, "delta-rs": delta_rs, "raw DuckDB": raw_duckdb},
        rounds=rounds,
        warm=1,
    )

    table = lake.table(lake.tables()[0].name)
    files = [f"{table.uri}/{path}" for path in table.files()["path"].to_pylist()]
    source = f"read_parquet({files!r})"
    yield compare(
        "full aggregate",
        {
            "ours": lambda: lake.sql(AGGREGATE.format(table.name)).fetchall(),
            "raw DuckDB": lambda: raw.sql(AGGREGATE.format(source)).fetchall(),
            "delta-rs": lambda: _query_deltalake(table.uri, AGGREGATE.format("t")),
        },
        rounds=3 * rounds,
        warm=1,
    )

    hour = ("2024-03-01 10:00:00", "2024-03-01 11:00:00")

    def first_query() -> object:
        with lakehouse.connect(lake.uri) as fresh:
            return fresh.sql(HOUR.format(table.name, *hour)).fetchall()

    yield compare(
        "first query, one hour, tables opened afresh",
        {
            "ours": first_query,
            "delta-rs": lambda: _query_deltalake(table.uri, HOUR.format("t", *hour)),
            "raw DuckDB": lambda: duckdb.connect().sql(HOUR.format(source, *hour)).fetchall(),
        },
        rounds=3 * rounds,
        warm=1,
    )
    lake.close()


def _query_deltalake(uri: str, sql: str) -> object:
    builder = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(uri))
    return builder.execute(sql).read_all()
