"""UPDATE, DELETE USING, MERGE INTO and INSERT ... ON CONFLICT: the verbs of Table, by SQL."""

import threading
from datetime import date

import pytest

import lakehouse


@pytest.fixture
def stock(lake):
    table = lake.create_table("silver.stock", {"id": "BIGINT", "n": "INTEGER", "day": "DATE"})
    table.append([{"id": n, "n": 10 * n} for n in range(1, 5)])
    lake.sql("CREATE TABLE bronze.news AS SELECT 2 AS id, 5 AS n UNION ALL SELECT 9, 7")
    return table


def test_update(stock, do, rows):
    report = do(
        "UPDATE silver.stock SET n = stock.n + ?, day = '2024-01-31' WHERE stock.id IN (2, ?)",
        [1, 3],
    )
    assert (report["operation"], report["rows_updated"], report["version"]) == ("update", 2, 2)
    do("UPDATE silver.stock AS s SET s.n = CASE WHEN s.day IS DISTINCT FROM NULL THEN 0 ELSE n END")
    assert rows("FROM silver.stock ORDER BY id") == [
        (1, 10, None),
        (2, 0, date(2024, 1, 31)),
        (3, 0, date(2024, 1, 31)),
        (4, 40, None),
    ]
    assert (
        do("UPDATE silver.stock SET n = s.n FROM bronze.news AS s WHERE s.id = stock.id")[
            "rows_updated"
        ]
        == 1
    )
    assert rows("SELECT n FROM silver.stock WHERE id = 2") == [(5,)]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE silver.stock SET n = 1.5", "does not fit INTEGER in 4 rows"),
        ("UPDATE silver.stock SET day = '2024-01-31 12:00'", "is no such text"),
        ("UPDATE silver.stock SET day = 'yesterday'", "is no such text"),
        ("UPDATE silver.stock SET n = 1, n = 2", "set twice"),
        ("UPDATE silver.stock SET m = 1", "no column 'm'"),
        ("UPDATE silver.stock SET s.x = 1", "set the whole column"),
        ("UPDATE silver.stock SET n = 1 RETURNING n", "returns its report"),
        ("UPDATE silver.stock SET n = (SELECT 1)", "subquery"),
        ("UPDATE silver.stock SET n = 1 FROM bronze.news, bronze.news AS b", "takes one source"),
        ("UPDATE silver.stock SET n = 1 FROM (SELECT 1)", "needs a name for its source"),
        ("WITH a AS (SELECT 1) UPDATE silver.stock SET n = 1", "it has none"),
        ("UPDATE silver.stock SET n = x.n FROM (SELECT 1 AS n UNION ALL SELECT 2) AS x", "rows"),
        ("MERGE INTO silver.stock USING bronze.news USING (id)", "nothing to do"),
        ("MERGE INTO silver.stock USING silver.stock USING (id) WHEN MATCHED THEN DELETE", "alias"),
        ("MERGE INTO silver.stock USING bronze.news USING (id) WHEN MATCHED THEN DO NOTHING "
         "WHEN MATCHED THEN DELETE", "stands last"),
        ("MERGE INTO silver.stock USING bronze.news USING (id) WHEN NOT MATCHED BY SOURCE "
         "THEN UPDATE SET *", "cannot be updated from it"),
        ("MERGE INTO silver.stock USING bronze.news USING (id) WHEN NOT MATCHED THEN "
         "INSERT (id, n) VALUES (1)", "2 columns and has 1 values"),
        ("MERGE INTO silver.stock USING bronze.news USING (id) WHEN NOT MATCHED THEN "
         "INSERT VALUES (1)", "1 values are given for 3 columns"),
        ("INSERT INTO silver.stock (id) VALUES (7), (7) ON CONFLICT (id) DO NOTHING", "several"),
        ("INSERT INTO silver.stock (id) VALUES (NULL) ON CONFLICT (id) DO NOTHING", "is NULL"),
        ("INSERT INTO silver.stock (id) VALUES (7) ON CONFLICT DO NOTHING", "names the key"),
        ("INSERT INTO silver.stock (id) VALUES (7) ON CONFLICT (nope) DO NOTHING", "nope"),
    ],
)  # fmt: skip
def test_what_cannot_be_changes_nothing(lake, stock, statement, error):
    with pytest.raises(lakehouse.InputError, match=error):
        lake.sql(statement)
    assert stock.version == 1


def test_merge_with_every_clause(stock, do, rows):
    report = do(
        """MERGE INTO silver.stock AS t
        USING (SELECT id, n FROM bronze.news UNION ALL SELECT ?, 0) AS s ON t.id = s.id
        WHEN MATCHED AND s.n = 0 THEN DELETE
        WHEN MATCHED THEN UPDATE SET n = t.n + s.n, day = '2024-02-01'
        WHEN NOT MATCHED BY TARGET AND s.n > 100 THEN INSERT (id) VALUES (s.id)
        WHEN NOT MATCHED THEN INSERT (n, id, day) VALUES (s.n, s.id, '2024-02-02')
        WHEN NOT MATCHED BY SOURCE AND t.id > 3 THEN DELETE
        WHEN NOT MATCHED BY SOURCE THEN UPDATE SET n = -t.n""",
        [3],
    )
    counts = [report[f"rows_{name}"] for name in ("updated", "inserted", "deleted")]
    assert (counts, report["version"]) == ([2, 1, 2], 2)
    assert rows("FROM silver.stock ORDER BY id") == [
        (1, -10, None),
        (2, 25, date(2024, 2, 1)),
        (9, 7, date(2024, 2, 2)),
    ]


def test_merge_by_names_with_stars_and_a_query_before_it(stock, do, rows):
    do(
        "WITH new AS (SELECT id, n * 2 AS n FROM bronze.news) MERGE INTO silver.stock USING new "
        "USING (id) WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    assert rows("FROM silver.stock ORDER BY id") == [
        (1, 10, None), (2, 10, None), (3, 30, None), (4, 40, None), (9, 14, None)
    ]  # fmt: skip
    report = do("DELETE FROM silver.stock AS t USING bronze.news WHERE t.id = news.id")
    assert report["rows_deleted"] == 2


def test_insert_on_conflict(stock, do, rows):
    do("INSERT INTO silver.stock (id, n) VALUES (1, 99), (7, 70) ON CONFLICT (id) DO NOTHING")
    do(
        "INSERT INTO silver.stock BY NAME SELECT * FROM bronze.news ON CONFLICT (id) "
        "DO UPDATE SET n = stock.n + excluded.n, day = '2024-01-01' WHERE excluded.n < 6"
    )
    assert rows("FROM silver.stock ORDER BY id") == [
        (1, 10, None),
        (2, 25, date(2024, 1, 1)),
        (3, 30, None),
        (4, 40, None),
        (7, 70, None),
        (9, 7, None),
    ]


def test_a_merge_from_the_table_itself_is_computed_anew_after_a_lost_race(lake, do, rows):
    do("CREATE TABLE silver.t AS SELECT 0::BIGINT AS n")
    start = threading.Barrier(3)
    failed = []

    def work():
        start.wait()
        try:
            for _ in range(2):
                lake.sql(
                    "MERGE INTO silver.t USING (SELECT max(n) + 1 AS n FROM silver.t) AS next "
                    "USING (n) WHEN NOT MATCHED THEN INSERT *"
                )
        except lakehouse.LakehouseError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert rows("SELECT n FROM silver.t ORDER BY n") == [(n,) for n in range(7)]


def test_a_condition_that_is_a_name_alone_is_a_condition(do, rows):
    do("CREATE TABLE silver.t AS SELECT 1 AS id, true AS live UNION ALL SELECT 2, false")
    do("CREATE TABLE silver.u AS SELECT 7 AS n, false AS gone, NULL::BOOLEAN AS live")
    assert (
        do("UPDATE silver.t SET id = u.n FROM (SELECT n FROM silver.u) AS u WHERE live")[
            "rows_updated"
        ]
        == 1
    )
    assert rows("SELECT id FROM silver.t ORDER BY id") == [(2,), (7,)]
    assert (
        do("DELETE FROM silver.t USING (SELECT n FROM silver.u) AS u WHERE live -- all")[
            "rows_deleted"
        ]
        == 1
    )
