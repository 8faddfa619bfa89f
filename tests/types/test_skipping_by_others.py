"""Polars and DuckDB's delta extension skip files by the statistics that we write.

A file that must be skipped is damaged: whoever opens it fails. That such a query fails without
the filter shows that the damage would be seen.
"""

import datetime as dt
import decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from tests.types.engines import delta_extension, new_table, with_delta_extension

LOW = {
    "i": 1,
    "s": "a",
    "long": "a" * 50,
    "d": dt.date(2020, 1, 1),
    "ts": dt.datetime(2020, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC),
    "f": 0.5,
    "n": decimal.Decimal("-1.50"),
}
HIGH = {
    "i": 9,
    "s": "z",
    "long": "z" * 50,
    "d": dt.date(2024, 1, 1),
    "ts": dt.datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC),
    "f": 8.5,
    "n": decimal.Decimal("9.50"),
}
# Between the two; bounds of long texts are cut, so that the last of them proves nothing.
BETWEEN = HIGH | {"long": "m"}
SCHEMA = {
    "i": "BIGINT", "s": "VARCHAR", "long": "VARCHAR", "d": "DATE", "ts": "TIMESTAMPTZ",
    "f": "DOUBLE", "n": "DECIMAL(10,2)",
}  # fmt: skip


@pytest.fixture(scope="module")
def damaged(lake):
    """Return a table of two files, of which the second is no Parquet."""
    table = new_table(lake, SCHEMA)
    table.append([LOW])
    table.append([HIGH])
    files = table.files().to_pylist()
    path = next(file["path"] for file in files if file["min.i"] == 9)
    place = Path(table.uri, path)
    place.write_bytes(b"x" * place.stat().st_size)
    return table


@pytest.mark.parametrize("column", SCHEMA)
def test_polars(damaged, column):
    low, high = pl.lit(LOW[column]), pl.lit(BETWEEN[column])
    frame = pl.scan_delta(damaged.uri)
    for predicate in (pl.col(column) == low, pl.col(column) < high):
        assert frame.filter(predicate).collect()["i"].to_list() == [1]
    with pytest.raises(pl.exceptions.PolarsError):
        frame.collect()


@pytest.mark.parametrize("column", SCHEMA)
def test_ours(lake, damaged, column):
    for operator in ("= ?", "< ?"):
        value = LOW[column] if operator == "= ?" else BETWEEN[column]
        found = lake.sql(f"SELECT i FROM {damaged.name} WHERE {column} {operator}", [value])
        assert found.fetchall() == [(1,)]


@pytest.mark.skipif(delta_extension() is None, reason="duckdb-extension-delta is not installed")
@pytest.mark.parametrize("column", ["i", "s", "long", "d", "f", "n"])
def test_the_delta_extension_of_duckdb(damaged, column):
    # It skips no files by timestamps, whoever wrote them.
    with with_delta_extension() as connection:
        scan = f"SELECT i FROM delta_scan('{damaged.uri}')"
        for operator, value in (("=", LOW[column]), ("<", BETWEEN[column])):
            found = connection.execute(f"{scan} WHERE {column} {operator} ?", [value])
            assert found.fetchall() == [(1,)]
        with pytest.raises(duckdb.Error):
            connection.execute(scan).fetchall()


@pytest.mark.skipif(delta_extension() is None, reason="duckdb-extension-delta is not installed")
def test_the_delta_extension_reads_the_same_rows(lake):
    table = new_table(lake, {**SCHEMA, "p": "VARCHAR"}, partition_by="p")
    rows = [LOW | {"p": "a b/é%"}, HIGH | {"p": None}]
    table.append(rows)
    with with_delta_extension() as connection:
        found = connection.sql(f"SELECT * FROM delta_scan('{table.uri}')").to_arrow_table()
    schema = table.schema
    got = found.select(schema.names).cast(schema).to_pylist()
    assert sorted(got, key=lambda row: row["i"]) == pa.Table.from_pylist(rows, schema).to_pylist()
