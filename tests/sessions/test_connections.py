"""`lake.duckdb()`: a DuckDB of one's own, in which the lake's tables resolve."""

import datetime as dt
import gc
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import lakehouse
from lakehouse.lake import connections


@pytest.fixture(params=["disk", "remote"])
def lake(request, tmp_path):
    uri = tmp_path / "lake" if request.param == "disk" else f"memory://duckdb-{uuid.uuid4().hex}"
    with lakehouse.connect(uri, durable=False, memory_limit="500MB") as lake:
        yield lake


def _fill(lake):
    days = lake.create_table(
        "silver.days",
        {"n": "BIGINT", "day": "DATE", "at": "TIMESTAMPTZ", "price": "DECIMAL(9,2)"},
        partition_by=("day", "at", "price"),
        properties={"delta.enableDeletionVectors": True},
    )
    moment = dt.datetime(2026, 1, 1, 12, 30, 0, 1500, tzinfo=dt.UTC)
    for number in range(3):
        row = {"day": dt.date(2026, 1, 1 + number), "at": moment, "price": Decimal("1.50")}
        days.append([{"n": 10 * number + part, **row} for part in range(4)])
    days.append([{"n": 99, "day": None, "at": None, "price": None}])
    days.append([{"n": 98, "day": dt.date(2026, 1, 1), "at": moment, "price": Decimal("1.50")}])
    days.delete("n IN (1, 12, 98)")
    lake.create_table("gold.nothing", {"n": "BIGINT", "day": "DATE"}, partition_by="day")
    other = lake.create_table("gold.other", {"n": "BIGINT", "s": "STRUCT(a INTEGER, b VARCHAR)"})
    other.append([{"n": 1, "s": {"a": 1, "b": "x"}}])
    other.alter().rename_column(("s", "a"), "renamed")
    return days


TABLES = ("silver.days", "gold.nothing", "gold.other")


@pytest.mark.parametrize("most_scans", [256, 1])
def test_its_tables_are_the_lakes(lake, monkeypatch, most_scans):
    monkeypatch.setattr(connections, "_MOST_SCANS", most_scans)
    _fill(lake)
    with lake.duckdb() as connection:
        for name in TABLES:
            query = f"SELECT * FROM {name} ORDER BY ALL"
            ours, theirs = connection.sql(query), lake.sql(query)
            assert (ours.columns, ours.types) == (theirs.columns, theirs.types)
            assert ours.fetchall() == theirs.fetchall()
        joined = "FROM silver.days JOIN gold.other ON days.n - 9 = other.n SELECT count(*)"
        assert connection.sql(joined).fetchall() == lake.sql(joined).fetchall() == [(1,)]


def test_a_filter_on_a_partition_leaves_the_other_partitions_out(lake):
    _fill(lake)
    with lake.duckdb(tables=["silver.days"]) as connection:
        plan = connection.sql(
            "EXPLAIN SELECT n FROM silver.days WHERE day = DATE '2026-01-02'"
        ).fetchall()[0][1]
        assert plan.upper().count("READ_PARQUET") <= 2  # 2.0 shows a scan's name twice
        assert connection.sql("SHOW ALL TABLES").filter("schema = 'gold'").fetchall() == []


def test_it_is_frozen_until_it_is_refreshed(lake):
    days = _fill(lake)
    with lake.duckdb() as connection, connection.cursor() as cursor:
        count = "SELECT count(*) FROM silver.days"
        assert cursor.sql(count).fetchall() == [(11,)]
        days.append([{"n": 7}])
        lake.drop_table("gold.other")
        lake.create_table("gold.new", {"n": "BIGINT"}).append([{"n": 1}])
        assert cursor.sql(count).fetchall() == [(11,)]
        assert cursor.sql("SELECT count(*) FROM gold.other").fetchall() == [(1,)]
        assert lake.duckdb(refresh=connection) is connection
        assert cursor.sql(count).fetchall() == [(12,)]
        assert cursor.sql("FROM gold.new").fetchall() == [(1,)]
        names = cursor.sql(
            "SELECT DISTINCT table_name FROM duckdb_columns() WHERE schema_name = 'gold'"
        )
        assert sorted(names.fetchall()) == [("new",), ("nothing",)]
        with pytest.raises(lakehouse.InputError, match="not one of this lake's"):
            lake.duckdb(refresh=cursor)


def test_a_refresh_is_seen_as_a_whole_or_not_at_all(lake):
    table = lake.create_table("bronze.a", {"n": "BIGINT"})
    other = lake.create_table("bronze.b", {"n": "BIGINT"})
    with lake.duckdb() as connection, ThreadPoolExecutor(1) as pool:

        def change():
            for number in range(10):
                table.append([{"n": number}])
                other.append([{"n": number}])
                lake.duckdb(refresh=connection)

        changing = pool.submit(change)
        with connection.cursor() as cursor:
            while not changing.done():
                both = "SELECT (SELECT count(*) FROM bronze.a), (SELECT count(*) FROM bronze.b)"
                ((ours, theirs),) = cursor.sql(both).fetchall()
                assert ours == theirs
        changing.result()


def test_nothing_done_in_it_touches_the_lake_or_another(lake, tmp_path):
    _fill(lake)
    first, second = lake.duckdb(), lake.duckdb()
    first.execute("SET GLOBAL threads = 1; SET GLOBAL memory_limit = '100MB'")
    first.execute("CREATE TABLE mine AS SELECT * FROM silver.days; DROP VIEW silver.days")
    first.execute(f"ATTACH '{tmp_path / 'own.db'}' AS own; CREATE TABLE own.kept AS FROM mine")
    first.execute("CREATE OR REPLACE TABLE silver.own AS SELECT 1 AS x; USE own")
    first.execute("SET TimeZone = 'Asia/Tokyo'; SET lock_configuration = true")
    assert first.sql("SELECT count(*) FROM kept").fetchall() == [(11,)]
    for each in (second, lake):
        assert each.sql("SELECT count(*) FROM silver.days").fetchall() == [(11,)]
        assert each.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    lake.duckdb(refresh=first)
    assert first.sql("SELECT count(*) FROM memory.silver.days").fetchall() == [(11,)]
    assert first.sql("FROM memory.silver.own").fetchall() == [(1,)]
    first.close()
    assert second.sql("SELECT count(*) FROM silver.days").fetchall() == [(11,)]
    second.close()


def test_it_outlives_the_lake_and_leaves_nothing_behind(tmp_path):
    spill = tmp_path / "spill"
    with lakehouse.connect(tmp_path / "lake", spill_folder=spill, durable=False) as lake:
        _fill(lake)
        connection = lake.duckdb()
        assert len(list(spill.iterdir())) == 2
    assert len(connection.sql("FROM silver.days").fetchall()) == 11
    assert connection.sql("FROM gold.nothing").fetchall() == []
    connection.close()
    del connection
    gc.collect()
    assert list(spill.iterdir()) == []


def test_a_name_that_is_not_there_is_an_error_with_near_misses(lake):
    _fill(lake)
    with pytest.raises(lakehouse.NotFoundError) as caught:
        lake.duckdb(tables=["silver.day"])
    assert caught.value.near == ("silver.days",)


def test_where_sql_is_not_trusted_none_is_handed_out(tmp_path):
    with lakehouse.connect(tmp_path / "lake", untrusted_sql=True) as lake:
        with pytest.raises(lakehouse.InputError, match="untrusted_sql"):
            lake.duckdb()
