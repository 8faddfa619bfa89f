"""The answer of a query that comes again is kept, and is always the one that reading would give."""

import datetime as dt
import gc
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.scan import answers

COLUMNS = {"i": "BIGINT", "name": "VARCHAR", "x": "DOUBLE", "ts": "TIMESTAMP"}
NAMES = (f"silver.t{n}" for n in itertools.count())
SUM = "SELECT count(*) AS n, sum(i) AS s, max(x) AS x FROM <t> WHERE i < 100"


def rows(first: int, count: int) -> list[dict[str, object]]:
    day = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - the column has none
    return [
        {"i": n, "name": f"n{n % 3}", "x": n / 4, "ts": day + dt.timedelta(hours=n)}
        for n in range(first, first + count)
    ]


@pytest.fixture
def table(lake) -> lakehouse.Table:
    table = lake.create_table(next(NAMES), COLUMNS)
    table.append(rows(0, 6))
    table.append(rows(6, 6))
    return table


def asked(lake, table, query: str, times: int = 3) -> tuple[Any, Any, Any]:
    """Return what the last of several runs gives: names, types and rows."""
    for _ in range(times):
        relation = lake.sql(query.replace("<t>", table.name))
        found = relation.columns, [str(type_) for type_ in relation.types], relation.fetchall()
    return found


def is_kept(lake, table, query: str) -> bool:
    return lake.explain(query.replace("<t>", table.name)).kept


def held(lake) -> int:
    """Return how many answers are in memory, whoever reads them."""
    query = "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lakehouse_answers'"
    return lake.sql(query).fetchall()[0][0]


@pytest.mark.parametrize(
    "query",
    [
        SUM,
        f"{SUM};",
        f"{SUM} -- nightly",
        "SELECT count(*) FROM <t>",
        "SELECT name, count(*), sum(x) / nullif(count(*), 0) FROM <t> GROUP BY 1 ORDER BY 2 DESC, 1",
        "SELECT i AS a, l.name AS A, i FROM <t> AS l JOIN <t> AS r USING (i) ORDER BY i DESC LIMIT 4",
        "SELECT * FROM <t> WHERE i > 1000",
        "SELECT sum(i)::UHUGEINT AS u, sum(i) AS h, INTERVAL 3 DAY AS v, [i, NULL] AS l, "
        "{'a': 1.25, 'b': name} AS s, MAP {'k': i} AS m, uuid_extract_version(NULL::UUID) AS e, "
        "x / 0 AS inf, '-0.0'::DOUBLE AS z, 'a'::BLOB AS b, '12:00'::TIMETZ AS tz, "
        "'x'::ENUM ('x', 'y') AS en FROM <t> WHERE i = 3 GROUP BY i, x, name",
        "SELECT 'infinity'::DATE AS d, chr(0) || name AS c, 'NaN'::FLOAT AS f FROM <t> ORDER BY i",
        "SELECT count(*) FROM <t> AT (VERSION => 2)",
        "FROM <t> SELECT list(i ORDER BY i DESC) HAVING count(*) > 1",
    ],
)  # fmt: skip
def test_a_third_run_keeps_its_answer_and_gives_what_reading_gives(lake, table, query):
    with lakehouse.connect(lake.uri, keep_answers=False) as reading:
        expected = asked(reading, table, query)
        assert not is_kept(reading, table, query)
    assert repr(asked(lake, table, query, 1)) == repr(expected)
    assert repr(asked(lake, table, query, 1)) == repr(expected)
    assert not is_kept(lake, table, query)
    assert repr(asked(lake, table, query, 1)) == repr(expected)
    assert is_kept(lake, table, query)
    assert repr(asked(lake, table, query, 2)) == repr(expected)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT now(), count(*) FROM <t>",
        "SELECT count(*) FROM <t> WHERE ts < current_date - 7",
        "SELECT age(ts) FROM <t>",
        'SELECT "age" /* of */ (ts) FROM <t>',
        "SELECT i, random() FROM <t>",
        "SELECT i, uuid() FROM <t>",
        "SELECT current_setting('TimeZone'), i FROM <t>",
        "SELECT getvariable('i'), i FROM <t>",
        "SELECT i FROM query('SELECT random() AS r'), <t>",
        "FROM <t> USING SAMPLE 3 ROWS",
        "SELECT i FROM <t> TABLESAMPLE 50%",
        "SELECT t.i FROM <t> AS t, range(2)",
        "SELECT name, (SELECT count(*) FROM duckdb_settings()) FROM <t>",
        "SELECT i FROM <t>, system.tables",
        "SELECT i, d.column_name FROM <t>, (DESCRIBE FROM <t>) AS d",
        "SELECT 1 AS one",
        "WITH seen AS (SELECT count(*) AS n FROM system.maintenance) FROM <t>, seen",
    ],
)
def test_no_answer_is_kept_that_something_else_decides(lake, table, query):
    asked(lake, table, query, 4)
    assert not is_kept(lake, table, query)


def test_what_is_drawn_or_read_elsewhere_differs(lake, table, tmp_path):
    many = "SELECT random() FROM <t> LIMIT 1"
    assert len({asked(lake, table, many, 1)[2][0] for _ in range(5)}) == 5
    pivoted = "PIVOT (SELECT name, 1 AS one FROM <t>) ON name USING count(*)"
    assert asked(lake, table, pivoted, 4)[2] == [(1, 4, 4, 4)]
    table.append(rows(12, 2))
    assert asked(lake, table, pivoted, 1)[2] == [(1, 5, 5, 4)]
    file = tmp_path / "other.parquet"
    view = f"silver.of_a_file_{table.name[7:]}"
    pq.write_table(pa.table({"i": [1, 2]}), file)
    lake.create_view(view, f"SELECT i FROM '{file}'")
    for query in (
        f"SELECT count(*) FROM <t> JOIN '{file}' USING (i)",
        f"SELECT count(*) FROM {view}",
    ):
        pq.write_table(pa.table({"i": [1, 2]}), file)
        assert asked(lake, table, query, 4)[2] == [(2,)]
        assert not is_kept(lake, table, query)
        pq.write_table(pa.table({"i": [1, 2, 3]}), file)
        assert asked(lake, table, query, 1)[2] == [(3,)]


def test_nothing_can_be_set_between_two_runs(lake, table):
    for statement in (
        "SET TimeZone = 'Asia/Tokyo'", "RESET TimeZone", "SET VARIABLE a = 1",
        "SET default_null_order = 'nulls_first'", "PRAGMA default_null_order = 'nulls_first'",
        "CREATE MACRO twice(a) AS a * 2",
    ):  # fmt: skip
        with pytest.raises(lakehouse.LakehouseError):
            lake.sql(statement)


def test_parameters_and_temporary_tables_keep_nothing(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("silver.t", COLUMNS)
        table.append(rows(0, 3))
        for n in (0, 1, 2, 2, 1):
            found = lake.sql("SELECT i FROM silver.t WHERE i = ?", [n]).fetchall()
            assert found == [(n,)]
        assert asked(lake, table, SUM)[2] == [(3, 3, 0.5)]
        assert held(lake) == 1
        lake.sql("CREATE TEMP TABLE mine AS SELECT 1 AS i")
        query = "SELECT count(*) FROM <t> JOIN mine USING (i)"
        assert asked(lake, table, query, 4)[2] == [(1,)]
        lake.sql("INSERT INTO mine VALUES (2)")
        assert asked(lake, table, query, 1)[2] == [(2,)]
        assert not is_kept(lake, table, SUM)


def test_what_others_commit_is_seen_at_once(lake, table):
    assert asked(lake, table, SUM, 5)[2] == [(12, 66, 2.75)]
    with lake.snapshot() as view:
        assert view.sql(SUM.replace("<t>", table.name)).fetchall() == [(12, 66, 2.75)]
        deltalake.write_deltalake(table.uri, pa.Table.from_pylist(rows(12, 1)), mode="append")
        assert asked(lake, table, SUM, 1)[2] == [(13, 78, 3.0)]
        assert asked(lake, table, SUM, 4)[2] == [(13, 78, 3.0)]
        # The snapshot has its own answer still, beside the new one.
        assert view.explain(SUM.replace("<t>", table.name)).kept
        assert asked(view, table, SUM, 2)[2] == [(12, 66, 2.75)]
    assert is_kept(lake, table, SUM)
    table.restore(2)
    assert asked(lake, table, SUM, 4)[2] == [(12, 66, 2.75)]


def test_a_view_that_is_defined_anew_has_another_answer(lake, table):
    view = f"gold.{table.name[7:]}"
    outer = f"{view}_outer"
    lake.create_view(view, f"SELECT i FROM {table.name} WHERE i < 5")
    lake.create_view(outer, f"SELECT count(*) AS n FROM {view}")
    query = f"FROM {outer}"
    assert asked(lake, table, query, 4)[2] == [(5,)]
    assert is_kept(lake, table, query)
    with lakehouse.connect(lake.uri) as other:
        other.sql(f"CREATE OR REPLACE VIEW {view} AS SELECT i FROM {table.name} WHERE i < 7")
    assert asked(lake, table, query, 4)[2] == [(7,)]
    lake.create_view(view, f"SELECT i, now() AS at FROM {table.name}", replace=True)
    assert asked(lake, table, query, 4)[2] == [(12,)]
    assert not is_kept(lake, table, query)
    lake.drop_view(outer)
    with pytest.raises(lakehouse.NotFoundError):
        lake.sql(query)


def test_a_table_in_place_of_another_has_another_answer(lake, table):
    query = SUM.replace("<t>", f"{table.name}_new")
    for first in (0, 50):
        new = lake.create_table(f"{table.name}_new", COLUMNS)
        new.append(rows(first, 2))
        assert asked(lake, new, query, 4)[2][0][1] == 2 * first + 1
        lake.rename_table(new.name, f"{table.name}_old{first}")


def test_large_answers_are_not_kept_nor_made_again(lake, table, monkeypatch):
    table.append(rows(1000, 1200))
    made = Mock(wraps=answers._made)
    monkeypatch.setattr(answers, "_made", made)
    text = "SELECT rpad('', 300_000, 'x') || i AS a FROM <t> ORDER BY i LIMIT 4"
    for query in ("SELECT i FROM <t> ORDER BY i", text):
        made.reset_mock()
        expected = asked(lake, table, query, 2)
        for _ in range(2):
            assert asked(lake, table, query, 4) == expected
            assert not is_kept(lake, table, query)
            table.append(rows(5000, 1))  # at another version it is known to be large
            expected = asked(lake, table, query, 1)
        assert made.call_count == 1
    assert asked(lake, table, "SELECT i FROM <t> ORDER BY i LIMIT 1000", 3)
    assert is_kept(lake, table, "SELECT i FROM <t> ORDER BY i LIMIT 1000")


def test_memory_is_bounded_and_freed_when_a_table_moves_on(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "_MOST", 6)
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("silver.t", COLUMNS)
        table.append(rows(0, 20))
        for n in range(12):
            assert (
                asked(lake, table, f"SELECT count(*), sum(x) FROM <t> WHERE i < {n}")[2][0][0] == n
            )
            assert held(lake) <= 6 + 1
        counted = "SELECT memory_usage_bytes > 0 FROM duckdb_memory() WHERE tag = 'IN_MEMORY_TABLE'"
        assert lake.sql(counted).fetchall() == [(True,)]  # which the memory limit bounds
        assert is_kept(lake, table, "SELECT count(*), sum(x) FROM <t> WHERE i < 11")
        assert not is_kept(lake, table, "SELECT count(*), sum(x) FROM <t> WHERE i < 1")
        monkeypatch.setattr(answers, "_MOST_BYTES", 100_000)  # two of two columns
        asked(lake, table, "SELECT count(*), sum(x) FROM <t> WHERE i < 0")
        for _ in range(3):
            asked(lake, table, "SELECT min(i) FROM <t>", 1)
        gc.collect()
        asked(lake, table, "SELECT name FROM <t>", 1)
        assert held(lake) <= 3
        table.append(rows(20, 1))
        asked(lake, table, "SELECT max(i) FROM <t>", 1)
        gc.collect()
        asked(lake, table, "SELECT name FROM <t>", 2)
        assert held(lake) == 0


def test_a_relation_is_lazy_and_its_rows_stay(lake, table):
    query = SUM.replace("<t>", table.name)
    asked(lake, table, query)
    direct, derived = lake.sql(query), lake.sql(query).filter("n > 0").project("s + 1 AS s")
    reader = lake.sql(query).to_arrow_reader()
    table.overwrite(rows(50, 1))
    for n in range(20):  # the table's answers are dropped, but for those that are read
        asked(lake, table, f"SELECT {n} AS n, min(x) FROM <t>", 3)
    gc.collect()
    asked(lake, table, "SELECT 20 AS n, min(x) FROM <t>", 1)
    assert direct.fetchall() == direct.fetchall() == [(12, 66, 2.75)]
    assert derived.fetchall() == [(67,)]
    assert reader.read_all().to_pylist() == [{"n": 12, "s": 66, "x": 2.75}]
    assert asked(lake, table, query, 1)[2] == [(1, 50, 12.5)]


def test_runs_are_counted_as_reads(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("silver.t", COLUMNS)
        for first in (0, 10, 20):
            table.append(rows(first, 5))
        query = "SELECT sum(x) FROM <t> WHERE i < 12"
        asked(lake, table, query, 6)
        assert is_kept(lake, table, query)
        (reads,) = lake.reads()
        assert (reads.columns, reads.queries) == (("i",), 6)
        assert (reads.files_total, reads.files_read) == (18, 12)


def test_explain_says_so(lake, table):
    query = SUM.replace("<t>", table.name)
    asked(lake, table, query)
    found = lake.explain(query, analyze=True)
    assert found.kept
    assert found.analysis.rows == 1
    assert str(found).startswith("The answer is kept from an earlier run: nothing is read now.")
    assert "The answer is kept" in found._repr_html_()
    assert (found.tables[0].files_kept, found.tables[0].columns) == (2, ("i", "x"))
    assert found.to_dict()["kept"] is True


def test_object_storage():
    with lakehouse.connect("memory://") as lake:
        table = lake.create_table("silver.t", COLUMNS)
        table.append(rows(0, 4))
        assert asked(lake, table, SUM)[2] == [(4, 6, 0.75)]
        assert is_kept(lake, table, SUM)
        table.append(rows(4, 1))
        assert asked(lake, table, SUM, 4)[2] == [(5, 10, 1.0)]


def test_untrusted_sql_keeps_nothing(lake, table):
    with lakehouse.connect(lake.uri, untrusted_sql=True) as other:
        assert asked(other, table, SUM, 4)[2] == [(12, 66, 2.75)]
        assert not is_kept(other, table, SUM)


def test_many_threads_see_each_commit(lake, table):
    query = f"SELECT count(*), sum(i) FROM {table.name} WHERE i >= 0"
    total = {2: (12, 66)}
    for n in range(6):
        total[3 + n] = (13 + n, 66 + sum(range(12, 13 + n)))

    def ask(_: int) -> None:
        before = table.version
        found = lake.sql(query).fetchall()[0]
        after = table.version
        assert found in [total[version] for version in range(before, after + 1)]

    with ThreadPoolExecutor(6) as pool:
        for n in range(6):
            asking = pool.map(ask, range(40))
            table.append(rows(12 + n, 1))
            list(asking)
    assert asked(lake, table, query, 1)[2] == [total[8]]


STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 40), st.integers(1, 3)),
    st.tuples(st.just("other"), st.integers(0, 40), st.integers(1, 3)),
    st.tuples(st.just("delete"), st.integers(0, 40), st.integers(0, 40)),
    st.tuples(st.just("column"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("view"), st.integers(0, 40), st.just(0)),
    st.tuples(st.just("restore"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("pin"), st.just(0), st.just(0)),
)
QUERIES = (
    SUM,
    "SELECT count(*) FROM <t>",
    "SELECT * FROM <t> WHERE i % 2 = 0 ORDER BY ALL",
    "SELECT name, sum(i) AS s, min(ts) FROM <t> GROUP BY name ORDER BY 1",
    "SELECT a.i, count(*) FROM <t> AS a JOIN <t> AS b ON a.i = b.i GROUP BY a.i ORDER BY a.i",
    "SELECT * FROM <view> ORDER BY ALL",
    "SELECT v.n, t.i FROM <view> AS v, <t> AS t WHERE t.i < 9 ORDER BY ALL",
    "SELECT count(*), max(i) FROM <t> AT (VERSION => 1)",
)


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(STEPS, st.lists(st.sampled_from(QUERIES), min_size=1, max_size=3)),
        min_size=2,
        max_size=6,
    )
)
def test_with_answers_kept_as_without(lake, steps):
    table = lake.create_table(next(NAMES), COLUMNS)
    table.append(rows(0, 8))
    view = f"gold.v{table.name[7:]}"
    lake.create_view(view, f"SELECT count(*) AS n FROM {table.name} WHERE i < 5")
    pinned, past = lake.snapshot(), lake.snapshot()
    with lakehouse.connect(lake.uri, keep_answers=False) as reading:
        past = reading.snapshot()
        for (step, one, two), queries in steps:
            match step:
                case "append":
                    table.append(rows(one, two))
                case "other":
                    new = pa.Table.from_pylist(rows(one, two))
                    new = new.set_column(0, "i", new["i"].cast(pa.int64()))
                    deltalake.write_deltalake(table.uri, new, mode="append", schema_mode="merge")
                case "delete":
                    table.delete(f"i BETWEEN {one} AND {two}")
                case "column":
                    known = {field.name for field in table.snapshot().schema}
                    if f"c{one}" not in known:
                        table.alter().add_column(f"c{one}", "INTEGER")
                case "view":
                    query = f"SELECT count(*) AS n FROM {table.name} WHERE i < {one}"
                    lake.create_view(view, query, replace=True)
                case "restore":
                    table.restore(one % (table.version + 1))
                case "pin":
                    pinned, past = lake.snapshot(), reading.snapshot()
            for query in queries:
                text = query.replace("<view>", view)
                for on, off in ((lake, reading), (pinned, past)):
                    expected = asked(off, table, text, 1)
                    for _ in range(4):
                        assert asked(on, table, text, 1) == expected
                    assert is_kept(on, table, text) or "AT (" in text
