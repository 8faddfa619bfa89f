"""INSERT, DELETE and TRUNCATE: rows go in as by the Python API, whole, once, and unchanged."""

import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

import lakehouse


def test_values_go_by_position_by_list_and_by_name(do, rows):
    do("CREATE TABLE silver.t (id BIGINT NOT NULL, name VARCHAR DEFAULT 'none', day DATE)")
    assert do("INSERT INTO silver.t VALUES (1, 'a', '2024-01-31'), (2, NULL, NULL)")["rows"] == 2
    assert do("INSERT INTO silver.t (day, ID) VALUES (DATE '2024-02-01', 3)")["version"] == 2
    do("INSERT INTO silver.t BY NAME SELECT 'x' AS NAME, 4 AS id")
    do("WITH more AS (SELECT 5 AS n) INSERT INTO silver.t (id) SELECT n FROM more")
    assert rows("SELECT * FROM silver.t ORDER BY id") == [
        (1, "a", date(2024, 1, 31)),
        (2, None, None),
        (3, "none", date(2024, 2, 1)),
        (4, "x", None),
        (5, "none", None),
    ]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO silver.t VALUES (1.5, 'a', NULL)", "'id' does not fit BIGINT in 1 row"),
        ("INSERT INTO silver.t VALUES (1, 'a', '2024-01-31 12:00')", "'2024-01-31 12:00' is no"),
        ("INSERT INTO silver.t SELECT 1, 'a', '2024-01-31'", "'day' is DATE and the rows have"),
        ("INSERT INTO silver.t VALUES ('1', 'a', NULL)", "'id' is BIGINT and the rows have"),
        ("INSERT INTO silver.t VALUES (NULL, 'a', NULL)", "'id' is NULL in a NOT NULL column"),
        ("INSERT INTO silver.t (name) VALUES ('a')", "'id' is NOT NULL and the rows do not"),
        ("INSERT INTO silver.t VALUES (1)", r"1 values are given for 3 columns"),
        ("INSERT INTO silver.t (id, nam) VALUES (1, 'a')", "no column 'nam'. Did you mean 'name'"),
        ("INSERT INTO silver.t BY NAME SELECT 1 AS idd", "no column 'idd'"),
        ("INSERT INTO silver.t (id, ID) VALUES (1, 2)", "have 2 columns"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(lake, do, rows, statement, error):
    do("CREATE TABLE silver.t (id BIGINT NOT NULL, name VARCHAR, day DATE)")
    with pytest.raises(lakehouse.DataError, match=error):
        do(statement)
    assert rows("SELECT count(*) FROM silver.t") == [(0,)]
    assert lake.table("silver.t").version == 0


def test_texts_of_times_in_values_keep_what_they_say(do, rows):
    do("CREATE TABLE silver.t (at TIMESTAMPTZ, wall TIMESTAMP)")
    do("INSERT INTO silver.t VALUES ('2024-01-31 12:00:00+02', '2024-01-31T12:00:00.000001')")
    do("INSERT INTO silver.t VALUES ('2024-01-31', NULL), (NULL, '2024-01-31 12:30')")
    assert rows("SELECT * FROM silver.t ORDER BY ALL") == [
        (datetime(2024, 1, 31, tzinfo=UTC), None),
        (datetime(2024, 1, 31, 10, tzinfo=UTC), datetime(2024, 1, 31, 12, 0, 0, 1)),  # noqa: DTZ001
        (None, datetime(2024, 1, 31, 12, 30)),  # noqa: DTZ001
    ]
    for wrong in ("(NULL, '2024-01-31 12:00:00+02')", "('2024-01-31 12:00:00.0000001', NULL)"):
        with pytest.raises(lakehouse.DataError, match="is no such text"):
            do(f"INSERT INTO silver.t VALUES {wrong}")
    with pytest.raises(lakehouse.InputError):
        do("INSERT INTO silver.t VALUES ('2024-02-31', NULL)")


def test_insert_reads_the_table_that_it_writes_as_it_was(do, rows):
    do("CREATE TABLE silver.t (n BIGINT)")
    do("INSERT INTO silver.t VALUES (1), (2)")
    for expected in (4, 8):
        do("INSERT INTO silver.t SELECT n + 10 FROM silver.t")
        assert rows("SELECT count(*) FROM silver.t") == [(expected,)]
    # Answered from the log, as a query and as rows to write.
    do("INSERT INTO silver.t SELECT count(*) FROM silver.t")
    do("INSERT INTO silver.t SELECT max(n) FROM silver.t AT (VERSION => 1)")
    assert rows("SELECT * FROM silver.t ORDER BY n LIMIT 4") == [(1,), (2,), (2,), (8,)]


def test_rows_computed_from_the_table_are_computed_anew_after_a_lost_race(lake, do, rows):
    """Eight threads take the next number each: none is taken twice, none is left out."""
    do("CREATE TABLE silver.t (n BIGINT)")
    do("INSERT INTO silver.t VALUES (0)")
    start = threading.Barrier(4)
    failed = []

    def work():
        start.wait()
        try:
            for _ in range(3):
                lake.sql("INSERT INTO silver.t SELECT max(n) + 1 FROM silver.t")
        except lakehouse.LakehouseError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert rows("SELECT n FROM silver.t ORDER BY n") == [(n,) for n in range(13)]


def test_a_replaced_table_loses_no_row_that_came_while_its_query_ran(lake, do, rows, monkeypatch):
    do("CREATE TABLE silver.t AS SELECT 1 AS n")
    table = lake.table("silver.t")
    other = lakehouse.connect(lake.uri).table("silver.t")
    overwrite = type(table).overwrite
    meanwhile = [[{"n": 2}]]

    def slowly(self, found, **options):
        if meanwhile:
            other.append(meanwhile.pop())
        return overwrite(self, found, **options)

    monkeypatch.setattr(type(table), "overwrite", slowly)
    do("CREATE OR REPLACE TABLE silver.t AS SELECT n, n * 10 AS m FROM silver.t")
    assert rows("SELECT * FROM silver.t ORDER BY n") == [(1, 10), (2, 20)]


def test_insert_overwrite_replaces_all_rows_in_one_commit(do, rows):
    do("CREATE TABLE silver.t AS SELECT range AS n FROM range(5)")
    report = do("INSERT OVERWRITE silver.t SELECT n * 2 FROM silver.t WHERE n > 2")
    assert (report["operation"], report["version"]) == ("overwrite", 2)
    assert rows("SELECT n FROM silver.t ORDER BY n") == [(6,), (8,)]
    assert rows("SELECT count(*) FROM silver.t AT (VERSION => 1)") == [(5,)]


def test_parameters(do, rows):
    do("CREATE TABLE silver.t (n BIGINT, d DECIMAL(10, 2), v VARCHAR, l INTEGER[])")
    do("INSERT INTO silver.t VALUES (?, ?, ?, ?)", [1, Decimal("1.50"), "it's; --", [1, None]])
    do("INSERT INTO silver.t (v, n) SELECT $name, n + $by FROM silver.t", {"name": "x", "by": 1})
    do("INSERT INTO silver.t (n, v) VALUES ($2, $1), ($2 + 1, $1)", ["y", 7])
    assert rows("SELECT * FROM silver.t ORDER BY n") == [
        (1, Decimal("1.50"), "it's; --", [1, None]),
        (2, None, "x", None),
        (7, None, "y", None),
        (8, None, "y", None),
    ]
    assert do("DELETE FROM silver.t WHERE v = ? OR n = ?", ["y", 2])["rows_deleted"] == 3
    do("COMMENT ON TABLE silver.t IS ?", ["what's left"])
    assert rows("SHOW TABLES") == [("silver.t", "table", "what's left", None)]
    with pytest.raises(lakehouse.InputError, match="parameter 2 has no value"):
        do("INSERT INTO silver.t (n, v) VALUES (?, ?)", [1])
    with pytest.raises(lakehouse.InputError, match="no parameter left"):
        do("DELETE FROM silver.t", {"left": 1})


def test_delete_and_truncate(do, rows):
    do("CREATE TABLE silver.t AS SELECT range AS n, {'n': range} AS s FROM range(10)")
    assert do("DELETE FROM silver.t WHERE n < 2")["rows_deleted"] == 2
    assert do("DELETE FROM silver.t AS x WHERE x.n = 2 OR x.s.n = 3")["rows_deleted"] == 2
    assert do("DELETE FROM Silver.T WHERE t.n = 4 AND silver.t.n = 4")["rows_deleted"] == 1
    with pytest.raises(lakehouse.InputError, match="subquer"):
        do("DELETE FROM silver.t WHERE n IN (SELECT 5)")
    assert rows("SELECT min(n), count(*) FROM silver.t") == [(5, 5)]
    assert do("TRUNCATE TABLE silver.t")["rows_deleted"] == 5
    do("INSERT INTO silver.t (n) VALUES (1)")
    assert do("DELETE FROM silver.t")["rows_deleted"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "PIVOT silver.c ON y USING sum(n)::INTEGER",
        "SELECT * FROM (PIVOT silver.c ON y USING sum(n)::INTEGER)",
    ],
)
def test_rows_of_a_pivot_are_written(lake, do, rows, query):
    do(
        "CREATE TABLE silver.c AS SELECT 2000 AS y, 'nl' AS cc, 5 AS n UNION ALL SELECT 2010, 'us', 7"
    )
    do(f"CREATE TABLE silver.p AS {query}")
    do(f"INSERT INTO silver.p {query}")
    do(f"CREATE TEMP TABLE p AS {query}")
    assert lake.table("silver.p").append(lake.sql(query)).rows == 2
    expected = [("nl", 5, None), ("us", None, 7)]
    assert rows("FROM p ORDER BY ALL") == expected
    assert rows("FROM silver.p ORDER BY ALL") == sorted(3 * expected, key=str)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO silver.t SELECT 1; DROP TABLE silver.t",
        "SELECT 1; INSERT INTO silver.t SELECT 1",
        "INSERT OR REPLACE INTO silver.t SELECT 1",
        "INSERT INTO silver.t SELECT 1 RETURNING n",
        "INSERT INTO silver.t SELECT 1) AS x, (SELECT 2",
        "INSERT INTO silver.t",
        "INSERT INTO silver.t DEFAULT VALUES",
        "INSERT INTO silver.t VALUES (1), (2, 3)",
        "INSERT silver.t SELECT 1",
        "INSERT INTO silver.t INSERT INTO silver.t SELECT 1",
        "DELETE silver.t",
        "DELETE FROM silver.t USING (SELECT 1) WHERE n = 1",
        "DELETE FROM silver.t WHERE n = 1) OR (1 = 1",
        "TRUNCATE silver.t RESTART",
        "WITH a AS (SELECT 1) DELETE FROM silver.t",
        "WITH a AS (SELECT 1) TRUNCATE silver.t",
        "INSERT INTO silver.t COPY (SELECT 1) TO '/nowhere/x.csv'",
        "CREATE OR REPLACE TABLE silver.t AS COPY (SELECT 1) TO '/nowhere/x.csv'",
        "CREATE TEMP TABLE x AS PRAGMA version",
        "INSERT INTO silver.t ATTACH ':memory:' AS x",
        "INSERT INTO silver.t VALUES ('unclosed",
    ],
)
def test_what_is_not_understood_changes_nothing(lake, do, rows, statement):
    do("CREATE TABLE silver.t AS SELECT 1 AS n")
    with pytest.raises(lakehouse.InputError):
        lake.sql(statement).fetchall()
    assert (rows("FROM silver.t"), lake.table("silver.t").version) == ([(1,)], 1)
