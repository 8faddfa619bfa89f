"""A query that comes again is run by itself, without a plan: it gives what it gave, or what is new."""

import datetime as dt
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import deltalake
import pyarrow as pa
import pytest

import lakehouse
from lakehouse.scan.inline import constants, inlined
from tests.types.engines import new_table

BODY = {("s", "t"): "FROM 'a'"}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    place = tmp_path_factory.mktemp("lake")
    with lakehouse.connect(place, durable=False, keep_answers=False) as lake:
        yield lake


@pytest.mark.parametrize(
    ("sql", "scans", "expected"),
    [
        ('SELECT * FROM S."t" AS x', 1, "SELECT * FROM (FROM 'a') AS x"),
        ("FROM s.t ORDER BY 1", 1, "FROM (FROM 'a') AS \"t\" ORDER BY 1"),
        ("FROM s.t a JOIN s.t b USING (i)", 2, "FROM (FROM 'a') a JOIN (FROM 'a') b USING (i)"),
        ("FROM s.t -- of s.t\n", 1, "FROM (FROM 'a') AS \"t\" -- of s.t\n"),
        ("SELECT 's.t' FROM s.t", 1, "SELECT 's.t' FROM (FROM 'a') AS \"t\""),
        ("SELECT s.t.i FROM s.t", 1, None),
        ("SELECT i FROM s.t WHERE s.t.i = 1", 1, None),
        ("SELECT i FROM s.t, s.t AS b", 2, None),
        ("SELECT extract(year FROM s.t) FROM u.v AS s", 0, None),
        ("SELECT extract(year FROM s.t) FROM s.t", 1, None),
        ("SELECT i IS DISTINCT FROM s.t FROM s.t", 2, None),
        ("FROM s.t(3)", 1, None),
        ("DESCRIBE FROM s.t", 1, None),
        ("PIVOT s.t ON i", 1, None),
        ("FROM s.t", 0, None),
        ("s.t", 1, None),
    ],
)
def test_tables_are_found_in_the_text_for_certain(sql, scans, expected):
    assert inlined(sql, BODY, {("s", "t"): scans} if scans else {}) == expected


def test_values_that_text_may_change_are_no_constants():
    for type_, value in (
        ("DATE", dt.date.max), ("DOUBLE", float("inf")), ("DOUBLE", float("nan")),
        ("VARCHAR", "a\0"), ("TIMESTAMP", "2024-01-01"), ("JSON", "{}"), ("BLOB", b""),
    ):  # fmt: skip
        assert constants([("a", type_)], (value,)) is None


ROWS = [{"i": n, "name": f"n{n % 3}", "x": n / 2} for n in range(12)]
COLUMNS = {"i": "BIGINT", "name": "VARCHAR", "x": "DOUBLE"}
QUERIES = (
    "SELECT * FROM <t> WHERE i = 5",
    "SELECT <t>.i, t_.name FROM <t> JOIN <t> AS t_ USING (i) WHERE i IN (1, 8)",
    "SELECT a.i, b.x FROM <t> AS a JOIN <t> b ON a.i = b.i AND b.i > 3 AND a.i < 6",
    "WITH few AS (FROM <t> WHERE i < 3) SELECT f.i FROM few f WHERE f.i > 1",
    "SELECT (SELECT max(x) FROM <t> WHERE i < 4) AS m, i FROM <t> WHERE i > 10 ORDER BY i",
    "SELECT count(*) AS n, count(*), min(i), max(i) + 0.5 FROM <t>",
    "SELECT max(i), 'it''s', NULL, true, count(*) / 2 FROM <t> HAVING count(*) > 0",
    "SELECT i, extract(year FROM DATE '2024-01-01' + i::INTEGER) AS y FROM <t> WHERE i = 2",
    "SELECT name, count(*) AS n FROM <t> WHERE i > 7 GROUP BY name ORDER BY name",
    "SELECT i FROM <t> WHERE i > 100",
    "SELECT a.i FROM <t> AS a, <t> AS b WHERE a.i = b.i AND a.i = 7",
)


def told(relation):
    return relation.columns, list(map(str, relation.types)), sorted(relation.fetchall(), key=repr)


@pytest.mark.parametrize("query", QUERIES)
def test_it_gives_the_same_again_and_what_is_new(lake, query):
    table = new_table(lake, COLUMNS)
    for start in range(0, 12, 3):
        table.append(ROWS[start : start + 3])
    ours = query.replace("<t>", table.name)
    with lakehouse.connect(lake.uri) as other:
        for change in (
            lambda: table.append([{"i": 5, "name": "new", "x": 0.5}]),
            lambda: table.delete("i = 8"),
            lambda: table.alter().add_column("more", "INTEGER"),
            lambda: table.overwrite([{"i": 7, "name": None, "x": None, "more": 1}]),
            lambda: None,
        ):
            expected = told(other.sql(ours))
            for _ in range(3):
                assert told(lake.sql(ours)) == expected
            before = lake.snapshot()
            change()
            assert told(before.sql(ours)) == expected
            assert told(lake.sql(ours)) == told(other.sql(ours))


def test_files_that_lack_columns_or_have_them_otherwise(lake):
    table = new_table(lake, {"i": "INTEGER"})
    table.append([{"i": 1}])
    table.alter().set_properties({"delta.enableTypeWidening": "true"})
    table.alter().change_type("i", "BIGINT")
    table.alter().add_column("more", "VARCHAR")
    table.append([{"i": 2, "more": "m"}])
    for query, expected in (
        ("WHERE i = 1", [(1, None)]),
        ("WHERE i = 2", [(2, "m")]),
        ("WHERE i > 0 ORDER BY i", [(1, None), (2, "m")]),
    ):
        for _ in range(3):
            relation = lake.sql(f"FROM {table.name} {query}")
            assert list(map(str, relation.types)) == ["BIGINT", "VARCHAR"]
            assert relation.fetchall() == expected


def test_renamed_and_nested_columns(lake):
    kind = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])
    rows = pa.table({"s": pa.array([{"a": 1, "b": ["x"]}, None], kind), "k": [1, 2]})
    table = new_table(lake, rows.schema, properties={"delta.columnMapping.mode": "name"})
    table.append(rows)
    table.alter().rename_column("k", "key of it")
    for _ in range(3):
        found = lake.sql(f'SELECT * FROM {table.name} WHERE "key of it" = 1').fetchall()
        assert found == [({"a": 1, "b": ["x"]}, 1)]


def test_the_last_of_all_days(lake):
    table = new_table(lake, {"d": "DATE"})
    table.append([{"d": dt.date.max}, {"d": dt.date(2024, 1, 1)}])
    for _ in range(3):
        query = f"SELECT max(d), min(d) FROM {table.name}"
        assert lake.sql(query).fetchall() == [(dt.date.max, dt.date(2024, 1, 1))]


def test_a_statement_takes_its_rows(lake):
    table, target = new_table(lake, COLUMNS), new_table(lake, COLUMNS)
    table.append(ROWS)
    for _ in range(3):
        lake.sql(f"INSERT INTO {target.name} SELECT * FROM {table.name} WHERE i = 3")
        lake.sql(f"INSERT INTO {target.name} (i) SELECT count(*) FROM {table.name}")
    found = lake.sql(f"SELECT i, count(*) FROM {target.name} GROUP BY i ORDER BY i").fetchall()
    assert found == [(3, 3), (12, 3)]


def test_what_a_name_means_may_change(lake):
    lake.sql("CREATE OR REPLACE VIEW silver.seen AS SELECT 1 AS v")
    table = new_table(lake, COLUMNS)
    table.append(ROWS)
    query = f"SELECT v FROM {table.name} JOIN silver.seen ON i = v"
    assert [lake.sql(query).fetchall() for _ in range(3)] == [[(1,)]] * 3
    lake.sql("CREATE OR REPLACE VIEW silver.seen AS SELECT 2 AS v")
    assert [lake.sql(query).fetchall() for _ in range(3)] == [[(2,)]] * 3
    clock = f"SELECT now() > TIMESTAMPTZ '2024-01-01', random() FROM {table.name} WHERE i = 1"
    assert len({lake.sql(clock).fetchall()[0] for _ in range(4)}) == 4


def test_threads_share_what_is_known(lake):
    table = new_table(lake, COLUMNS)
    for row in ROWS:
        table.append([row])

    def ask(number):
        at = number % len(ROWS)
        sql = f"SELECT i, count(*) OVER () FROM {table.name} WHERE i = {at}"
        return lake.sql(sql).fetchall() == [(at, 1)]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(60)))


def test_what_is_known_keeps_no_version_alive(tmp_path):
    with lakehouse.connect(tmp_path) as lake:
        table = lake.create_table("bronze.t", COLUMNS)
        table.append(ROWS)
        for _ in range(3):
            assert lake.sql("SELECT count(*), max(i) FROM bronze.t").fetchall() == [(12, 11)]
            assert lake.sql("SELECT x FROM bronze.t WHERE i = 4").fetchall() == [(2.0,)]
        old = weakref.ref(table.snapshot())
        table.append(ROWS)
        assert lake.sql("SELECT count(*) FROM bronze.t").fetchall() == [(24,)]
        gc.collect()
        assert old() is None


def test_others_commits_are_seen_at_once(tmp_path):
    with lakehouse.connect(tmp_path) as lake:
        table = lake.create_table("bronze.t", COLUMNS)
        for number in range(1, 5):
            deltalake.write_deltalake(
                table.uri, pa.table({"i": [1], "name": ["a"], "x": [1.0]}), mode="append"
            )
            for _ in range(2):
                assert lake.sql("SELECT count(*) FROM bronze.t").fetchall() == [(number,)]
                found = lake.sql("SELECT x FROM bronze.t WHERE i = 1").fetchall()
                assert found == [(1.0,)] * number
            assert lake.explain("SELECT x FROM bronze.t WHERE i = 1").tables[0].files_kept == number
