"""Views: kept in the catalog, pruned through, and never left without what they read."""

import threading

import pytest

import lakehouse


@pytest.fixture
def days(lake):
    table = lake.create_table("silver.days", {"day": "DATE", "n": "BIGINT"}, partition_by="day")
    for number in range(1, 4):
        lake.sql(f"INSERT INTO silver.days VALUES ('2024-01-0{number}', {number})")
    return table


def test_views_are_kept_for_all_and_see_the_newest_rows(lake, days, rows):
    view = lake.create_view("gold.large", "SELECT n FROM silver.days WHERE n > 1;", description="d")
    assert (view.depends_on, view.sql) == (
        ("silver.days",),
        "SELECT n FROM silver.days WHERE n > 1",
    )
    days.append([{"n": 9}])
    with lakehouse.connect(lake.uri) as other:
        assert [(v.name, v.description) for v in other.views()] == [("gold.large", "d")]
        assert other.sql("SELECT sum(n) FROM gold.large").fetchall() == [(14,)]
    assert rows("SELECT gold.large.n FROM Gold.Large WHERE large.n > 5") == [(9,)]
    assert lake.views(layer="silver") == []
    lake.drop_view("gold.large")
    with pytest.raises(lakehouse.NotFoundError):
        rows("FROM gold.large")


def test_nested_views_prune_and_travel(lake, days, rows):
    lake.create_view("silver.some", "FROM silver.days WHERE n < 3")
    lake.create_view("gold.then", "SELECT * FROM silver.days AT (VERSION => 1)")
    lake.create_view(
        "gold.both",
        "SELECT a.n AS now, b.n AS then FROM silver.some AS a LEFT JOIN gold.then AS b USING (day)",
    )
    assert rows("FROM gold.both ORDER BY ALL") == [(1, 1), (2, None)]
    # The query's own time travel is another than the view's.
    query = "SELECT count(*) FROM gold.then, silver.days AT (VERSION => 2), silver.days"
    assert rows(query) == [(6,)]
    scan = lake.explain("FROM silver.some WHERE day = '2024-01-02'").tables[0]
    assert (scan.files_kept, scan.files_total) == (1, 3)
    with lake.snapshot() as pinned:
        days.append([{"n": 0}])
        assert pinned.sql("SELECT count(*) FROM silver.some").fetchall() == [(2,)]
    assert rows("SELECT count(*) FROM silver.some") == [(3,)]
    assert rows("SELECT count(*) FROM silver.days") == [(4,)]


def test_what_views_read_cannot_go_away_under_them(lake, days):
    lake.create_view("gold.a", "FROM silver.days")
    lake.create_view("gold.b", "FROM gold.a")
    for refused in (
        lambda: lake.drop_table("silver.days"),
        lambda: lake.rename_table("silver.days", "silver.other"),
        lambda: lake.sql("DROP TABLE silver.days"),
    ):
        with pytest.raises(lakehouse.InputError, match=r"read by views gold\.a, gold\.b") as caught:
            refused()
        assert vars(caught.value)["views"] == ("gold.a", "gold.b")
    with pytest.raises(lakehouse.InputError, match=r"read by view gold\.b"):
        lake.drop_view("gold.a")
    assert lake.drop_view("gold.a", cascade=True).views == ("gold.b",)
    lake.create_view("gold.a", "FROM silver.days")
    assert lake.drop_table("silver.days", cascade=True).views == ("gold.a",)
    assert (lake.views(), lake.tables()) == ([], [])


def test_views_never_read_themselves(lake, days, rows):
    lake.create_view("gold.a", "FROM silver.days")
    lake.create_view("gold.b", "FROM gold.a")
    with pytest.raises(lakehouse.InputError, match=r"gold\.a would read itself, through gold\.b"):
        lake.create_view("gold.a", "FROM gold.b", replace=True)
    with pytest.raises(lakehouse.InputError, match="would read itself"):
        lake.create_view("gold.a", "SELECT * FROM gold.a", replace=True)
    with pytest.raises(lakehouse.NotFoundError):
        lake.create_view("gold.c", "SELECT * FROM gold.c")
    assert rows("SELECT count(*) FROM gold.b") == [(3,)]


def test_a_view_that_no_longer_fits_says_so_by_name(lake, days, rows):
    lake.create_view("gold.a", "SELECT day, n FROM silver.days")
    lake.create_view("gold.all", "FROM silver.days")
    days.alter().rename_column("n", "number")
    with pytest.raises(lakehouse.InputError, match=r"cannot read view gold\.a"):
        rows("FROM gold.a")
    assert lake.sql("FROM gold.all").columns == ["day", "number"]
    lake.sql("CREATE OR REPLACE VIEW gold.a (d, n) AS SELECT day, number FROM silver.days")
    assert lake.sql("FROM gold.a").columns == ["d", "n"]
    assert rows("SELECT max(n) FROM gold.a") == [(3,)]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELECT nope FROM silver.days", "nope"),
        ("SELECT * FROM silver.day", r"Did you mean silver\.days"),
        ("SELECT ?", "parameters"),
        ("SELECT 1; SELECT 2", "cannot read view|one statement"),
        ("DROP TABLE silver.days", "cannot read view"),
        ("", "cannot read view"),
        ("SELECT 1) AS x, (SELECT 2", "cannot read view"),
    ],
)
def test_what_is_no_view_is_refused(lake, days, query, error):
    with pytest.raises(lakehouse.InputError, match=error):
        lake.create_view("gold.v", query)
    assert lake.views() == []
    assert len(days.read().fetchall()) == 3


def test_tables_and_views_share_their_names(lake, days, do):
    lake.create_view("gold.v", "FROM silver.days")
    for statement in ("CREATE TABLE gold.V (a INTEGER)", "CREATE VIEW silver.Days AS SELECT 1",
                      "CREATE OR REPLACE VIEW silver.days AS SELECT 1",
                      "CREATE TABLE IF NOT EXISTS gold.v (a INTEGER)",
                      "CREATE OR REPLACE TABLE gold.v AS SELECT 1 AS a"):  # fmt: skip
        with pytest.raises(lakehouse.AlreadyExistsError):
            do(statement)
    assert do("CREATE VIEW IF NOT EXISTS gold.v AS SELECT 1")["existed"]
    for statement in ("INSERT INTO gold.v VALUES (1)", "DROP TABLE gold.v", "DROP VIEW silver.days",
                      "DROP TABLE IF EXISTS gold.v", "ALTER TABLE gold.v ADD a INT"):  # fmt: skip
        with pytest.raises(lakehouse.NotFoundError, match=r"is a (view|table), not"):
            do(statement)
    with pytest.raises(lakehouse.InputError, match="no versions"):
        lake.sql("FROM gold.v AT (VERSION => 1)")
    do("COMMENT ON VIEW gold.v IS 'seen'")
    assert lake.view("gold.v").description == "seen"
    lake.create_view("gold.v", "FROM silver.days LIMIT 1", replace=True)
    assert lake.view("gold.v").description == "seen"


def test_a_view_and_the_drop_of_its_table_never_both_happen(lake, days):
    """They race on the catalog; whoever comes second is refused."""
    other = lakehouse.connect(lake.uri)
    for _ in range(5):
        table = lake.create_table("silver.t", {"a": "INTEGER"}, if_not_exists=True)
        start = threading.Barrier(2)
        failed: list[Exception] = []

        def do(work, start=start, failed=failed):
            start.wait()
            try:
                work()
            except lakehouse.InputError as error:
                failed.append(error)

        threads = [
            threading.Thread(
                target=do, args=(lambda: lake.create_view("gold.v", "FROM silver.t"),)
            ),
            threading.Thread(target=do, args=(lambda: other.drop_table("silver.t"),)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failed) == 1, (failed, table)
        if lake.views():
            lake.drop_view("gold.v")
    other.close()


def test_a_view_of_the_current_time_is_planned_and_run_at_the_same_moment(lake, rows):
    lake.sql("CREATE TABLE silver.t AS SELECT now() - INTERVAL 1 HOUR * range AS ts FROM range(4)")
    lake.create_view(
        "gold.recent", "FROM silver.t WHERE ts BETWEEN now() - INTERVAL 2 HOUR AND now()"
    )
    lake.create_view("gold.outer", "FROM gold.recent")
    assert rows("SELECT count(*) FROM gold.outer") == [(2,)]
    prepared = lake._queries.prepare("FROM gold.outer", None)
    assert prepared.at_once
    prepared.cursor.close()
