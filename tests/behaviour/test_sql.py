"""SQL over the lake's tables, and over any file in the same storage."""

from datetime import date

import pytest

import lakehouse
from tests.behaviour.place import rows


@pytest.fixture
def flights(lake):
    table = lake.create_table(
        "silver.flights",
        {"carrier": "VARCHAR", "day": "DATE", "delay": "INTEGER"},
        partition_by="carrier",
    )
    for number, carrier in enumerate(["AA", "UA", "DL"]):
        table.append(
            [{"carrier": carrier, "day": date(2013, 1, day), "delay": day * number}
             for day in range(1, 5)]
        )  # fmt: skip
    lake.create_table("gold.names", {"carrier": "VARCHAR", "name": "VARCHAR"}).append(
        [{"carrier": "AA", "name": "American"}, {"carrier": "UA", "name": "United"}]
    )
    return table


def test_joins_ctes_windows_and_parameters(other, flights):
    found = other.sql(
        """
        WITH late AS (SELECT * FROM silver.flights WHERE delay >= $least)
        SELECT name, delay, sum(delay) OVER (ORDER BY delay) FROM late JOIN gold.names USING (carrier)
        WHERE carrier NOT IN (SELECT carrier FROM silver.flights WHERE delay > 7)
        """,
        {"least": 3},
    )
    assert found.fetchall() == [("United", 3, 3), ("United", 4, 7)]


def test_only_files_that_may_match_are_read(other, flights):
    scan = other.explain("SELECT max(delay + 0) FROM silver.flights WHERE carrier = 'UA'").tables[0]
    assert (scan.files_total, scan.files_kept) == (3, 1)
    # What is skipped may even be gone.
    storage = flights.snapshot().storage
    gone = [
        file["path"] for file in flights.files().to_pylist() if file["partition.carrier"] == "DL"
    ]
    storage.delete(gone)
    assert other.sql(
        "SELECT max(delay + 0) FROM silver.flights WHERE carrier = 'UA'"
    ).fetchall() == [(4,)]
    assert rows(other.sql("SELECT max(day)::VARCHAR FROM silver.flights WHERE delay = 0")) == [
        ("2013-01-04",)
    ]


def test_results_become_tables(lake, other, flights):
    query = "SELECT carrier, avg(delay) AS delay FROM silver.flights GROUP BY carrier"
    target = other.create_table("gold.means", other.sql(query))
    assert target.append(other.sql(query)).rows == 3
    target.append(other.sql("FROM gold.means WHERE carrier = 'AA'"))
    assert rows(lake.sql("FROM gold.means")) == [("AA", 0), ("AA", 0), ("DL", 5), ("UA", 2.5)]


def test_a_result_is_read_while_others_write(lake, other, flights):
    relation = lake.sql("SELECT count(*) AS n FROM silver.flights")
    other.table("silver.flights").overwrite([{"carrier": "XX", "delay": 1}])
    assert relation.fetchall() == [(12,)]
    assert lake.sql("SELECT count(*) AS n FROM silver.flights").fetchall() == [(1,)]


def test_an_empty_table(lake, other):
    lake.create_table("bronze.empty", {"n": "BIGINT"})
    assert other.sql("SELECT count(*), max(n) FROM bronze.empty").fetchall() == [(0, None)]
    assert rows(other.sql("SELECT * FROM bronze.empty")) == []


def test_alter_table_in_sql(lake, other, flights):
    other.sql("ALTER TABLE silver.flights ADD COLUMN tail VARCHAR")
    lake.sql("ALTER TABLE silver.flights RENAME COLUMN delay TO minutes")
    assert flights.schema.names == ["carrier", "day", "minutes", "tail"]
    assert other.sql("SELECT sum(minutes), count(tail) FROM silver.flights").fetchall() == [(30, 0)]


@pytest.fixture
def raw(place):
    """Give the URI of a folder beside the lake that holds files, and no table."""
    storage = place.storage("raw files")
    storage.put("2024/a b.csv", b"id,name\n1,one\n2,two\n")
    storage.put("2025/c.csv", b"id,name\n3,three\n")
    storage.put("lines.json", b'{"id": 4, "tags": ["x"]}\n{"id": 5, "tags": []}\n')
    return storage.url()


def test_raw_files_are_read_by_sql(lake, raw):
    assert rows(lake.sql(f"SELECT * FROM read_csv('{raw}/*/*.csv')")) == [
        (1, "one"), (2, "two"), (3, "three"),
    ]  # fmt: skip
    assert rows(lake.sql(f"SELECT id, len(tags) FROM read_json('{raw}/lines.json')")) == [
        (4, 1), (5, 0),
    ]  # fmt: skip
    assert rows(lake.sql(f"SELECT name FROM '{raw}/2024/a b.csv'")) == [("one",), ("two",)]
    table = lake.create_table("bronze.raw", {"id": "BIGINT", "name": "VARCHAR"})
    table.append(lake.sql(f"SELECT * FROM read_csv('{raw}/2024/*.csv')"))
    joined = lake.sql(
        f"SELECT sum(id) FROM read_csv('{raw}/2024/*.csv') JOIN bronze.raw USING (id)"
    )
    assert joined.fetchall() == [(3,)]
    with pytest.raises(lakehouse.LakehouseError):
        rows(lake.sql(f"SELECT * FROM read_csv('{raw}/nothing/*.csv')"))


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_raw_files_are_written_by_sql(lake, raw, flights, form):
    query = f"COPY (SELECT * FROM silver.flights) TO '{raw}/copy.{form}' (FORMAT {form})"
    lake.sql(query)
    found = lake.sql(f"SELECT carrier, sum(delay) FROM '{raw}/copy.{form}' GROUP BY carrier")
    assert rows(found) == [("AA", 0), ("DL", 20), ("UA", 10)]


def test_partitioned_files_are_written_and_read_by_sql(lake, raw, flights):
    copy = (
        "COPY (SELECT * FROM silver.flights) TO '{}/parts' (FORMAT parquet, PARTITION_BY carrier)"
    )
    lake.sql(copy.format(raw))
    found = lake.sql(
        f"SELECT carrier, count(*) FROM read_parquet('{raw}/parts/*/*.parquet', "
        "hive_partitioning = true) WHERE carrier <> 'AA' GROUP BY carrier"
    )
    assert rows(found) == [("DL", 4), ("UA", 4)]
