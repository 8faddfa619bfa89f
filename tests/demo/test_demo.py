"""The demo end to end: its numbers, its tables in other readers, and what it must not touch."""

import datetime as dt
import io
import zipfile
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from rich.console import Console

import lakehouse
from lakehouse.demo import DemoReport, run
from lakehouse.demo.build import MARK
from lakehouse.demo.queries import TABLES
from lakehouse.demo.source import find_source

GROUPS = """
    SELECT {key}, count(*) AS flights, count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled,
        round(avg(arr_delay), 6) AS arr_delay
    FROM {table} GROUP BY ALL ORDER BY ALL"""


def quiet() -> Console:
    return Console(file=io.StringIO(), width=80)


def found(report: DemoReport) -> dict[tuple[str, str], str]:
    return {(check.table, check.what): check.found for check in report.checks}


@pytest.fixture
def raw(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """Return plain DuckDB over the raw flights."""
    folder = tmp_path / "raw"
    with zipfile.ZipFile(find_source().folder / "flights.csv.zip") as archive:
        path = archive.extract("flights.csv", folder)
    connection = duckdb.connect()
    connection.execute(
        f"CREATE TABLE flights AS SELECT *, make_date(year, month, day) AS date "
        f"FROM read_csv('{path}', nullstr = 'NA')"
    )
    return connection


def test_numbers_are_those_of_the_raw_files_in_every_reader(
    tmp_path: Path, raw: duckdb.DuckDBPyConnection
) -> None:
    console = quiet()
    report = run(tmp_path / "lake", console=console)

    rows, minutes, cancelled, first = raw.execute(
        "SELECT count(*), sum(arr_delay)::BIGINT, count(*) FILTER (WHERE dep_time IS NULL), "
        "count(*) FILTER (WHERE month <= 3) FROM flights"
    ).fetchall()[0]
    numbers = found(report)
    assert report.passed
    assert numbers["silver.flights", "each flight once"] == f"{rows:,}" == "336,776"
    assert numbers["silver.flights", "cancelled flights"] == f"{cancelled:,}"
    assert numbers["silver.flights", "minutes of delay at arrival"] == f"{minutes:,}"
    assert numbers["bronze.flights", "version 3: January to March"] == f"{first:,}"
    assert {step.name for step in report.steps} >= {"Bronze", "Silver", "Gold", "Checks"}
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{rows:,}" in shown
    assert max(map(len, shown.splitlines())) <= 80 + len(str(tmp_path))

    with lakehouse.connect(tmp_path / "lake", create=False) as lake:
        assert tuple(sorted(table.name for table in lake.tables())) == tuple(sorted(TABLES))
        for table, key, column in (
            ("gold.delays_by_carrier", "carrier", "carrier"),
            ("gold.delays_by_airport", "dest", "dest"),
            ("gold.delays_by_day", "day", "date"),
        ):
            ours = lake.sql(
                f"SELECT {key}, flights, cancelled, round(arr_delay, 6) FROM {table} ORDER BY ALL"
            ).fetchall()
            assert ours == raw.execute(GROUPS.format(key=column, table="flights")).fetchall()

        places = {name: lake.table(name).uri for name in TABLES}
        counts = {
            name: lake.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in TABLES
        }
    for name, place in places.items():
        delta = QueryBuilder().register("t", DeltaTable(place))
        counted = pa.table(delta.execute("SELECT count(*) AS n FROM t").read_all())
        assert counted["n"].to_pylist() == [counts[name]]
        assert pl.scan_delta(place).select(pl.len()).collect().item() == counts[name]

    silver = places["silver.flights"]
    delta = QueryBuilder().register("t", DeltaTable(silver))
    summed = pa.table(delta.execute("SELECT sum(arr_delay) AS n FROM t").read_all())
    assert summed["n"].to_pylist() == [minutes]
    assert pl.scan_delta(silver).select(pl.col("arr_delay").sum()).collect().item() == minutes


def test_a_run_replaces_its_own_tables_only_and_keep_tours_them(tmp_path: Path) -> None:
    place = tmp_path / "lake"
    with lakehouse.connect(place) as lake:
        # What a run left behind that was broken off.
        left = lake.create_table(
            "silver.flights",
            {"n": "BIGINT", "month": "DATE"},
            partition_by="month",
            properties=MARK,
        )
        left.append([{"n": 1, "month": dt.date(2013, 1, 1)}])
        lake.create_table("gold.mine", {"n": "BIGINT"}).append([{"n": 1}])

    with pytest.raises(lakehouse.InputError, match="--fresh"):
        run(place, console=quiet(), keep=True)
    assert run(place, console=quiet()).passed

    with lakehouse.connect(place) as lake:
        assert lake.sql("SELECT n FROM gold.mine").fetchall() == [(1,)]
        days = lake.table("gold.delays_by_day")
        days.overwrite(days.read(where="day <> '2013-07-04'"))

    kept = run(place, console=quiet(), keep=True)
    assert kept.kept
    (wrong,) = [check for check in kept.checks if not check.passed]
    assert wrong.table == "gold.delays_by_day"
    assert "2013-07-04" in wrong.expected
