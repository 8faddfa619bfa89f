"""CREATE, DROP, ALTER, COMMENT, DESCRIBE and SHOW: what a table is, by SQL."""

from pathlib import Path

import pytest

import lakehouse


def test_create_with_everything(lake, do, rows):
    report = do(
        """CREATE TABLE silver.orders (
            id BIGINT NOT NULL COMMENT 'as on the invoice',
            "unit price" DECIMAL(10, 2) DEFAULT 1.5,
            at TIMESTAMP, -- a wall clock
            year INTEGER GENERATED ALWAYS AS (year(at)),
            CONSTRAINT known CHECK (id > 0)
        ) USING delta PARTITIONED BY (year) COMMENT 'what was sold'
        TBLPROPERTIES ('owner' = 'ops', delta.appendOnly = true);"""
    )
    assert (report["name"], report["version"], report["existed"]) == ("silver.orders", 0, False)
    table = lake.table("silver.orders")
    assert table.partition_by == ("year",)
    assert (table.properties["owner"], table.properties["delta.appendOnly"]) == ("ops", "true")
    assert table.schema.field("id").metadata == {b"comment": b"as on the invoice"}
    do("INSERT INTO silver.orders (id, at) VALUES (1, '2024-05-01')")
    assert rows('SELECT id, "unit price"::VARCHAR, year FROM silver.orders') == [(1, "1.50", 2024)]
    with pytest.raises(lakehouse.DataError, match="'known'"):
        do("INSERT INTO silver.orders (id) VALUES (0)")
    assert rows("DESCRIBE silver.orders") == [
        ("id", "BIGINT", "NO", None, None, None, "as on the invoice"),
        ("unit price", "DECIMAL(10,2)", "YES", None, "1.5", None, None),
        ("at", "TIMESTAMP", "YES", None, None, None, None),
        ("year", "INTEGER", "YES", "PARTITION", None, "GENERATED ALWAYS AS (YEAR(at))", None),
    ]
    assert rows("SHOW TABLES FROM silver") == [("silver.orders", "table", "what was sold", None)]
    assert do("CREATE TABLE IF NOT EXISTS silver.orders (other DATE)")["existed"]
    with pytest.raises(lakehouse.AlreadyExistsError):
        do("CREATE TABLE silver.orders (id BIGINT)")


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ("(id BIGINT PRIMARY KEY)", "no PRIMARY KEY"),
        ("(id BIGINT UNIQUE)", "no UNIQUE"),
        ("(id BIGINT, FOREIGN KEY (id) REFERENCES x(id))", "no FOREIGN KEY"),
        ("(id NUMBR)", "has type 'NUMBR'"),
        ("(id BIGINT, v)", "column 'v' has no type"),
        ("()", "a name is expected"),
        ("(id BIGINT, id VARCHAR)", "'id' is defined twice"),
        ("(id BIGINT DEFAULT random())", "cannot"),
        ("(id BIGINT DEFAULT 'x')", "it makes a string of a integer"),
        ("(id BIGINT) PARTITIONED BY (no)", "partition column 'no'"),
        ("(a INT, b INT AS (a + 1), c INT AS (b + 1))", "generated too"),
        ("(id BIGINT, CHECK (nope > 1))", "no column 'nope'"),
        ("(id BIGINT) WITH ('delta.appendOnyl' = 'true')", "delta.appendOnly"),
        ("(id BIGINT) AS SELECT 1", "columns with types, or of a query"),
        ("(id BIGINT) LOCATION 's3://elsewhere'", "not understood"),
        ("", "no columns"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(lake, do, definition, error):
    with pytest.raises((lakehouse.InputError, lakehouse.UnsupportedError), match=error):
        do(f"CREATE TABLE silver.t {definition}")
    assert lake.tables() == []
    assert not Path(lake.uri, "silver").exists()


def test_create_as_takes_all_rows_or_makes_no_table(lake, do, rows):
    do("CREATE TABLE silver.t AS SELECT range AS n, range % 3 AS part FROM range(100)")
    report = do(
        "CREATE TABLE gold.sums PARTITIONED BY (part) COMMENT 'by part' "
        "AS SELECT part, sum(n) AS total, count(*) AS n FROM silver.t GROUP BY ALL"
    )
    assert (report["rows"], report["version"]) == (3, 1)
    assert lake.table("gold.sums").partition_by == ("part",)
    assert rows("SELECT part, total::BIGINT, n FROM gold.sums ORDER BY 1") == [
        (0, 1683, 34),
        (1, 1617, 33),
        (2, 1650, 33),
    ]
    do("CREATE TABLE gold.named (a, b) AS SELECT 1, 'x'")
    assert lake.table("gold.named").schema.names == ["a", "b"]
    for query in (
        "SELECT CASE WHEN n = 99 THEN error('late') ELSE n END AS n FROM silver.t",
        "SELECT 1 AS a, 2 AS a",
        "SELECT INTERVAL 1 DAY AS a",
        "SELECT * FROM silver.nothing",
    ):
        with pytest.raises(lakehouse.InputError):
            do(f"CREATE TABLE gold.broken AS {query}")
    assert "gold.broken" not in [info.name for info in lake.tables()]
    assert not list(Path(lake.uri, "gold").glob("broken*"))
    # It exists: the query is not even run.
    assert do("CREATE TABLE IF NOT EXISTS gold.sums AS SELECT error('no')")["existed"]


def test_create_or_replace_is_one_commit_on_the_same_table(lake, do, rows):
    assert do("CREATE OR REPLACE TABLE gold.t AS SELECT 1 AS n")["version"] == 1
    uri = lake.table("gold.t").uri
    report = do("CREATE OR REPLACE TABLE gold.t AS SELECT 'x' AS v, n FROM gold.t")
    assert (report["version"], report["uri"]) == (2, uri)
    assert rows("FROM gold.t") == [("x", 1)]
    assert rows("FROM gold.t AT (VERSION => 1)") == [(1,)]
    with pytest.raises(lakehouse.InputError, match="stays so"):
        do("CREATE OR REPLACE TABLE gold.t PARTITIONED BY (v) AS SELECT 'x' AS v, 1 AS n")
    with pytest.raises(lakehouse.InputError, match="are not replaced"):
        do("CREATE OR REPLACE TABLE gold.t COMMENT 'x' AS SELECT 1 AS n")
    with pytest.raises(lakehouse.InputError, match="of a query only"):
        do("CREATE OR REPLACE TABLE gold.t (n BIGINT)")
    assert lake.table("gold.t").version == 2


def test_drop(lake, do, rows):
    do("CREATE TABLE silver.t AS SELECT 1 AS n")
    uri = do("DROP TABLE silver.t")["uri"]
    assert not do("DROP TABLE IF EXISTS silver.t")["existed"]
    with pytest.raises(lakehouse.NotFoundError):
        do("DROP TABLE silver.t")
    lake.register_table("gold.t", uri)
    assert rows("FROM gold.t") == [(1,)]
    do("CREATE TABLE silver.t AS SELECT 1 AS n")
    uri = lake.table("silver.t").uri
    assert do("DROP TABLE silver.t PURGE")["files_deleted"] > 0
    assert not Path(uri).exists()


def test_comments(lake, do):
    do("CREATE TABLE silver.t (s STRUCT(a INTEGER))")
    do("COMMENT ON TABLE silver.t IS 'it''s new'")
    do("COMMENT ON COLUMN silver.t.s.a IS 'inner'")
    assert lake.table("silver.t").detail().description == "it's new"
    assert lake.tables()[0].description == "it's new"
    do("COMMENT ON TABLE silver.t IS NULL")
    assert lake.tables()[0].description is None
    with pytest.raises(lakehouse.NotFoundError):
        do("COMMENT ON COLUMN silver.t.b IS 'none'")
    with pytest.raises(lakehouse.InputError, match="layer, table and column"):
        do("COMMENT ON COLUMN silver.t IS 'none'")


def test_describe_and_show(do, rows):
    do("CREATE TABLE silver.b (a INTEGER, s STRUCT(x VARCHAR[]))")
    do("CREATE VIEW gold.a COMMENT 'all of b' AS SELECT a, s.x AS x FROM silver.b")
    assert rows("SHOW TABLES") == [
        ("gold.a", "view", "all of b", None),
        ("silver.b", "table", None, None),
    ]
    assert [row[4:] for row in rows("SHOW ALL TABLES")] == [
        (["a", "x"], ["INTEGER", "VARCHAR[]"]),
        (["a", "s"], ["INTEGER", "STRUCT(x VARCHAR[])"]),
    ]
    assert rows("SHOW TABLES IN bronze") == []
    assert [row[:3] for row in rows("DESC gold.a")] == [
        ("a", "INTEGER", "YES"),
        ("x", "VARCHAR[]", "YES"),
    ]
    assert [row[:2] for row in rows("DESCRIBE SELECT a + 1 AS n FROM gold.a")] == [("n", "INTEGER")]
    with pytest.raises(lakehouse.NotFoundError, match=r"Did you mean silver\.b"):
        rows("DESCRIBE silver.c")
    with pytest.raises(lakehouse.NotFoundError, match="no layer sliver"):
        rows("SHOW TABLES FROM sliver")


def test_temporary_tables_are_seen_by_every_query_and_stored_nowhere(lake, do, rows, tmp_path):
    do("CREATE TABLE silver.t AS SELECT range AS id FROM range(10)")
    file = tmp_path / "names.csv"
    file.write_text("id,name\n3,three\n4,four\n")
    do(f"CREATE TEMP TABLE names AS SELECT * FROM read_csv('{file}') WHERE id > ?", [3])
    do("INSERT INTO names VALUES (5, 'five')")
    joined = "SELECT id, name FROM silver.t JOIN names USING (id) ORDER BY id"
    assert rows(joined) == [(4, "four"), (5, "five")]
    assert lake.explain(joined).tables[0].files_total == 1
    assert do("DELETE FROM names WHERE names.id = 5")["rows_deleted"] == 1
    do("CREATE TABLE gold.named AS " + joined)
    do("CREATE OR REPLACE TEMPORARY TABLE names (a INTEGER DEFAULT 7, b INTEGER)")
    do("INSERT INTO names (b) SELECT max(id) FROM silver.t")
    assert rows("FROM names, gold.named") == [(7, 9, 4, "four")]
    assert ("names", "temporary") in [row[:2] for row in rows("SHOW TABLES")]
    with lakehouse.connect(lake.uri) as other, pytest.raises(lakehouse.InputError):
        other.sql("FROM names")
    with pytest.raises(lakehouse.InputError, match="no table of the lake is called names"):
        do("CREATE VIEW gold.v AS FROM names")
    do("DROP TABLE names")
    with pytest.raises(lakehouse.InputError):
        rows("FROM names")
    with pytest.raises(lakehouse.NotFoundError, match=r"Did you mean silver\.t"):
        do("INSERT INTO t VALUES (1)")
