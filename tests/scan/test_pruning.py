"""What pruning leaves out cannot match: a query's result equals plain DuckDB's on the raw rows."""

import contextlib
import datetime as dt
import decimal
import math

import duckdb
import pyarrow as pa
import pytest
from hypothesis import assume, currently_in_test_context, given, note
from hypothesis import strategies as st

import lakehouse
from lakehouse.testing import partition_types, predicates, rows, schemas
from tests.types.engines import comparable, effort, new_table

few = effort(0.15)


@st.composite
def layouts(draw):
    """Draw a schema, partition columns, and the rows of several appends."""
    schema = draw(schemas(min_columns=2, max_columns=4))
    partition_by: tuple[str, ...] = ()
    if draw(st.booleans()):
        where = draw(st.integers(0, len(schema) - 1))
        assume(schema.names[where] != "*" and len(schema.names[where]) < 50)  # refused
        schema = schema.set(where, pa.field(schema.names[where], draw(partition_types())))
        partition_by = (schema.names[where],)
    appends = draw(
        st.lists(rows(schema, max_rows=3, partition_by=partition_by), min_size=1, max_size=4)
    )
    return schema, partition_by, appends


def written(lake, schema, partition_by, appends):
    table = new_table(lake, schema, partition_by=partition_by)
    for data in appends:
        table.append(data)
    return table


@contextlib.contextmanager
def plain(**tables):
    """Give a DuckDB that holds the same rows without files, statistics or pruning."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, data in tables.items():
            connection.register("arrow", data)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arrow")
            connection.unregister("arrow")
        yield connection


def same(lake, connection, query, *names, params=None):
    """Compare a query (with ``{0}``, ``{1}`` for tables) between ours and plain DuckDB's.

    One that comes again is run in another form.
    """
    ours, theirs = query, query
    for number, (our, their) in enumerate(names):
        ours = ours.replace(f"<{number}>", our)
        theirs = theirs.replace(f"<{number}>", their)
    if currently_in_test_context():
        note(ours)
    expected = comparable(connection.sql(theirs, params=params).to_arrow_table())
    for _ in range(2):
        assert comparable(lake.sql(ours, params).to_arrow_table()) == expected


@few
@given(data=st.data(), layout=layouts())
def test_where(lake, data, layout):
    schema, partition_by, appends = layout
    table = written(lake, schema, partition_by, appends)
    raw = pa.concat_tables(appends)
    with plain(raw=raw) as connection:
        for _ in range(3):
            where = data.draw(predicates(raw))
            same(lake, connection, f"SELECT * FROM <0> WHERE {where}", (table.name, "raw"))
            through = comparable(table.read(where=where).to_arrow_table())
            theirs = connection.sql(f"SELECT * FROM raw WHERE {where}").to_arrow_table()
            assert through == comparable(theirs)


# Aliases that no column is called: `a.x` may be a field of a column `a` as well.
SHAPES = (
    "SELECT * FROM <0> AS one_ WHERE {a}",
    "SELECT * FROM <0> AS one_ WHERE {a} UNION ALL SELECT * FROM <0> AS two_ WHERE {b}",
    "WITH one_ AS (SELECT * FROM <0>), two_ AS (SELECT * FROM one_ WHERE {a}) SELECT * FROM two_ WHERE {b}",
    "SELECT count(*) FILTER (WHERE {a}), count(*) FROM <0> AS one_",
    "SELECT (SELECT count(*) FROM <0> AS one_ WHERE {a}), (SELECT count(*) FROM <0> AS two_ WHERE {b})",
    "SELECT * FROM <0> AS one_ WHERE EXISTS (SELECT 1 FROM <0> AS two_ WHERE {b} AND {a})",
    "SELECT one_.*, two_.* FROM <0> AS one_ JOIN <0> AS two_ ON {a} AND {b}",
    "SELECT one_.*, two_.* FROM <0> AS one_ LEFT JOIN <0> AS two_ ON {a} AND {b}",
    "SELECT one_.*, two_.* FROM <0> AS one_ FULL JOIN (SELECT * FROM <1> AS two_ WHERE {b}) AS two_ ON {a}",
    "SELECT * FROM <0> AS one_ SEMI JOIN <1> AS two_ ON {a} AND {b}",
    "SELECT * FROM <0> AS one_ ANTI JOIN <1> AS two_ ON {a} AND {b}",
    "SELECT * FROM <0> AS one_, LATERAL (SELECT count(*) AS n FROM <1> AS two_ WHERE {a} AND {b}) AS c",
    "SELECT {a} AS yes, count(*) AS n FROM <0> AS one_ GROUP BY ALL HAVING {a}",
    "SELECT * FROM (SELECT *, row_number() OVER () * 0 AS zero FROM <0> AS one_) AS one_ WHERE {a}",
    "SELECT * FROM <0> AS one_ QUALIFY count(*) OVER () > 0 AND {a}",
)  # fmt: skip


@few
@given(data=st.data(), layout=layouts())
def test_shapes_of_queries(lake, data, layout):
    schema, partition_by, appends = layout
    raw, again = pa.concat_tables(appends), pa.concat_tables(appends[:1])
    first = written(lake, schema, partition_by, appends)
    second = written(lake, schema, partition_by, appends[:1])
    names = (first.name, "raw"), (second.name, "again")
    with plain(raw=raw, again=again) as connection:
        for _ in range(2):
            shape = data.draw(st.sampled_from(SHAPES))
            is_cte = shape.startswith("WITH")
            a = data.draw(predicates(raw, prefix="one_."))
            b = data.draw(predicates(raw, prefix="two_."))
            if is_cte:
                b = data.draw(predicates(raw))
            shape = shape.replace("{a}", f"({a})").replace("{b}", f"({b})")
            same(lake, connection, shape, *names)


@few
@given(data=st.data(), layout=layouts())
def test_parameters(lake, data, layout):
    schema, partition_by, appends = layout
    table = written(lake, schema, partition_by, appends)
    raw = pa.concat_tables(appends)
    flat = [field for field in schema if not pa.types.is_nested(field.type)]
    assume(flat and raw.num_rows)
    field = data.draw(st.sampled_from(flat))
    value = data.draw(st.sampled_from(raw[field.name].to_pylist()))
    quoted = '"' + field.name.replace('"', '""') + '"'
    with plain(raw=raw) as connection:
        for query, params in (
            (f"SELECT * FROM <0> WHERE {quoted} = $1 OR {quoted} > $2", [value, value]),
            (f"SELECT * FROM <0> WHERE {quoted} IS NOT DISTINCT FROM $v", {"v": value}),
        ):
            same(lake, connection, query, (table.name, "raw"), params=params)


ROWS = [
    {
        "i": i,
        "d": dt.date(2020, 1 + i, 1),
        "s": ["p9", "it's", "a\nb", "abc", "A", "é", "", "max12"][i],
        "f": [0.5, math.nan, math.inf, 0.25, -1.5, None, 3.25, 1.0][i],
        "n": decimal.Decimal("-1.50") * i,
        "ts": dt.datetime.fromisoformat(f"2020-{1 + i:02}-01T{i:02}:02:03.000004"),
        "tz": dt.datetime(2020, 1 + i, 1, i, 2, 3, 4, tzinfo=dt.UTC),
        "r": {"x": i, "y": {"z": f"z{i}"}},
    }
    for i in range(8)
]
SCHEMA = {
    "i": "BIGINT", "d": "DATE", "s": "VARCHAR", "f": "DOUBLE", "n": "DECIMAL(10,2)",
    "ts": "TIMESTAMP", "tz": "TIMESTAMPTZ", "r": "STRUCT(x BIGINT, y STRUCT(z VARCHAR))",
}  # fmt: skip
# DuckDB 2 shows these casts, and DuckDB 1.5 this function, in a form that does not prune.
UNDERSTOOD_BY_SOME = ["i = 3.0", "i > 2.5 AND i < 3.5", "n < -9.005", "year(ts) = 2021"]
# How many of eight files with one row each may be read at most.
SELECTIVE = [
    ("i = 3", 1), ("3 = i", 1), ("i > 5", 2), ("i <= 1", 2), ("i BETWEEN 2 AND 3", 2),
    ("i IN (1, 6)", 2), ("i = 1 OR i = 6", 2), ("NOT (i < 6)", 2), ("i = 3 AND s = 'abc'", 1),
 ("i + 1 = 4", 1), ("CAST(i AS DOUBLE) = 3", 1),
    ("s = 'p9'", 1), ("s = 'max12'", 1), ("s = 'it''s'", 1), ("s = 'a\nb'", 1), ("s = ''", 1),
    ("s LIKE 'ab%'", 1), ("s >= 'é'", 1),
    # The file with NaN is kept: NaN is greater than all numbers.
    ("f = 0.25", 4), ("f < 0", 3), ("f IS NULL", 1), ("n = -4.50", 1),
    ("d = '2020-04-01'", 1), ("d >= DATE '2020-07-01'", 2),
    ("ts = TIMESTAMP '2020-04-01 03:02:03.000004'", 1),
    ("date_trunc('month', ts) = DATE '2020-04-01'", 1), ("CAST(ts AS DATE) = '2020-04-01'", 1),
    ("ts < '2020-01-15'", 1),
    ("tz = TIMESTAMPTZ '2020-04-01 05:02:03.000004+02'", 1), ("tz > now()", 0),
    ("r.x = 3", 1), ("r.y.z = 'z3'", 1), ("i = 3 AND random() >= 0", 1),
    ("i = (SELECT 3)", 8), ("i % 2 = 0", 8), ("random() < 2", 8),
]  # fmt: skip


# What DuckDB leaves above the scan, under the table's own names: so many files may be read.
LEFT_ABOVE = [
    ("month(d) = 3", 8), ("year(ts) = 2020", 8), ("date_part('year', ts) = 2021", 0),
    ("i // 2 = 3", 2), ("d + 1 > '2020-08-01'", 1), ("ts - INTERVAL 1 DAY > '2020-07-15'", 1),
    ("ts + INTERVAL '1 month' < '2020-02-15'", 8), ("i::DOUBLE / 2 > 3", 8), ("-i < -6", 8),
    ("i IS NOT DISTINCT FROM 3", 1), ("CAST(tz AS DATE) = '2020-04-01'", 1), ("floor(n) < -8", 3),
    ("i % 2 = 1 AND i // 4 = 1", 4), ("date_trunc('year', d) > '2020-01-01'", 0),
    ("time_bucket(INTERVAL 1 DAY, ts) = '2020-02-01'", 8), ("i = 3.0", 1), ("i < 1.5", 2),
]  # fmt: skip


@pytest.mark.parametrize(("where", "most"), LEFT_ABOVE)
def test_functions_that_keep_the_order(lake, eight_files, where, most):
    query = f"SELECT i FROM {eight_files.name} WHERE {where}"
    assert lake.explain(query).tables[0].files_kept <= most
    with plain(raw=eight_files.read().to_arrow_table()) as connection:
        same(lake, connection, f"SELECT i FROM <0> WHERE {where}", (eight_files.name, "raw"))


def test_functions_on_partition_columns_are_exact(lake):
    table = new_table(lake, SCHEMA, partition_by="d")
    table.append(ROWS)
    for where in ("month(d) = 3", "CASE WHEN dayofmonth(d) = 1 THEN month(d) ELSE 0 END IN (2, 5)"):
        query = f"SELECT i FROM {table.name} WHERE {where}"
        seen = lake.explain(query).tables[0]
        assert seen.files_kept == len(lake.sql(query).fetchall()) < seen.files_total


def test_names_that_a_query_changes_are_not_believed(lake):
    table = new_table(lake, {"a": "BIGINT", "b": "BIGINT"}, partition_by="a")
    table.append([{"a": n, "b": 10 - n} for n in range(10)])
    with plain(raw=table.read().to_arrow_table()) as connection:
        for query in (
            "SELECT * FROM (SELECT a AS b, b AS a FROM <0>) WHERE a % 7 = 1",
            "SELECT * FROM <0> AS t(b, a) WHERE a % 7 = 1",
            "WITH t(b, a) AS (FROM <0>) SELECT * FROM t WHERE a % 7 = 1",
            "SELECT b AS a FROM <0> WHERE a % 7 = 1",
            "SELECT b AS a, count(*) FROM <0> GROUP BY 1 HAVING a % 7 = 1",
            "SELECT b + 0 AS c FROM <0> WHERE c % 7 = 1",
            "SELECT a FROM <0> UNION SELECT b FROM <0> WHERE a % 7 = 1",
        ):
            same(lake, connection, query, (table.name, "raw"))


@pytest.fixture(scope="module")
def eight_files(lake):
    table = new_table(lake, SCHEMA)
    for row in ROWS:
        table.append([row])
    return table


@pytest.mark.parametrize(("where", "most"), SELECTIVE, ids=lambda value: ascii(value)[:40])
def test_files_are_skipped(lake, eight_files, where, most):
    """Without this the properties above would hold for a pruner that keeps everything."""
    query = f"SELECT i FROM {eight_files.name} WHERE {where}"
    (seen,) = lake.explain(query).tables
    assert seen.files_total == 8
    assert seen.files_kept <= most
    assert (seen.files_kept == 8) == (most == 8)
    raw = eight_files.read().to_arrow_table()
    with plain(raw=raw) as connection:
        if "random" not in where:
            same(lake, connection, f"SELECT i FROM <0> WHERE {where}", (eight_files.name, "raw"))


@pytest.mark.parametrize("where", UNDERSTOOD_BY_SOME)
def test_files_are_skipped_by_some_versions(lake, eight_files, where):
    with plain(raw=eight_files.read().to_arrow_table()) as connection:
        same(lake, connection, f"SELECT i FROM <0> WHERE {where}", (eight_files.name, "raw"))


@pytest.mark.parametrize("column", ["i", "d", "s", "ts", "tz", "n"])
def test_partition_columns_skip_by_any_function(lake, column):
    table = new_table(lake, SCHEMA, partition_by=column)
    table.append([row for row in ROWS if row["s"]])
    for where in (
        f"{column} = (SELECT min({column}) FROM {table.name})",
        f"CAST({column} AS VARCHAR) = CAST(?::{SCHEMA[column]} AS VARCHAR)",
        f"coalesce({column}, ?::{SCHEMA[column]}) = ?::{SCHEMA[column]}",
        f"hash({column}) = hash(?::{SCHEMA[column]})",
    ):
        value = ROWS[3][column]
        params = [value] * where.count("?") or None
        query = f"SELECT i FROM {table.name} WHERE {where}"
        (seen, *_) = lake.explain(query, params).tables
        if "?" in where:
            assert lake.sql(query, params).fetchall() == [(3,)]
            assert (seen.files_kept, seen.files_total) == (1, 7)
        else:
            assert len(lake.sql(query).fetchall()) == 1


def test_two_tables_of_one_schema_and_two_versions_of_one_table(lake):
    one, two = new_table(lake, {"x": "BIGINT"}), new_table(lake, {"x": "BIGINT"})
    one.append([{"x": 1}])
    one.append([{"x": 2}])
    two.append([{"x": 3}])
    lists = ", ".join(
        f"(SELECT list(x ORDER BY x) FROM {name})"
        for name in (
            one.name,
            two.name,
            f"{one.name} AT (VERSION => 1)",
            f"{one.name} AT (VERSION => 0)",
            f"{one.name} AT (VERSION => CAST(1 AS INT))",
            f"{one.name} AT (VERSION => cast(1 AS int))",
        )
    )
    assert lake.sql(f"SELECT {lists}").fetchall() == [([1, 2], [3], [1], None, [1], [1])]
    joined = f"SELECT a.x, b.x FROM {one.name} a JOIN {two.name} b ON a.x < b.x WHERE a.x = 2"
    assert lake.sql(joined).fetchall() == [(2, 3)]
    kept = {t.name: t.files_kept for t in lake.explain(joined).tables}
    assert kept == {one.name: 1, two.name: 1}


def test_columns_that_look_like_the_machinery(lake):
    names = ["c0", "c1", "p0", "min0", "max1", "nulls0", "rows", "i", "url", "file", "size"]
    table = new_table(lake, dict.fromkeys(names, "VARCHAR"), partition_by="p0")
    for number in range(3):
        table.append([{name: f"{name}-{number}" for name in names}])
    for name in names:
        for alias in ("c0", "p0", "min1"):
            query = f"SELECT {name} AS {alias} FROM {table.name} AS i WHERE i.{name} = '{name}-1'"
            assert lake.sql(query).fetchall() == [(f"{name}-1",)]
            assert lake.explain(query).tables[0].files_kept == 1
        other = "c1 = min0" if name == "c0" else f"{name} = 'c0' OR {name} = 'p0' OR 'max1' < 'a'"
        assert lake.sql(f"SELECT 1 FROM {table.name} WHERE {other}").fetchall() == []


def test_null_parents_of_struct_fields(lake):
    table = new_table(lake, {"s": "STRUCT(a BIGINT, l BIGINT[])"})
    table.append([{"s": None}])
    table.append([{"s": {"a": 1, "l": [1]}}])
    for field in ("a", "l"):
        query = f"SELECT s.a FROM {table.name} WHERE s.{field} IS"
        assert lake.sql(f"{query} NULL").fetchall() == [(None,)]
        assert lake.sql(f"{query} NOT NULL").fetchall() == [(1,)]


def test_errors_in_queries_stay_errors(lake, eight_files):
    for query in ("SELECT nothing FROM <0>", "SELECT * FROM <0> WHERE", "SELECT 1; SELECT 2"):
        with pytest.raises(lakehouse.InputError):
            lake.sql(query.replace("<0>", eight_files.name))


@pytest.mark.parametrize("partition_by", [[], ["f"]])
@pytest.mark.parametrize("type_", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", ["3.4028235e+38", "1.1e-05", "0.82345678901234567", "-0.3"])
def test_floating_point_constants_are_those_of_the_column(lake, partition_by, type_, value):
    table = new_table(lake, {"f": type_, "z": "INTEGER"}, partition_by=partition_by)
    table.append(lake.sql(f"SELECT '{value}'::{type_} AS f, 1 AS z"))
    for operator in ("= {}", ">= {}", "<= {}", "IN ({}, 7)"):
        where = "f " + operator.format(f"'{value}'::{type_}")
        assert table.read(columns=["z"], where=where).fetchall() == [(1,)], where


@pytest.mark.parametrize("type_", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("held", "asked"), [("0.0", "-0.0"), ("-0.0", "0.0")])
def test_both_zeros_are_equal(lake, type_, held, asked):
    def rows():
        # Repeated, so that DuckDB writes a Bloom filter.
        return lake.sql(
            f"SELECT IF(i % 2 = 0, '{held}'::{type_}, NULL) AS f, {{'f': f}} AS s FROM range(10) t(i)"
        )

    table = new_table(lake, {"f": type_, "s": f"STRUCT(f {type_})"})
    table.append(rows())
    zero = f"'{asked}'::{type_}"
    for column in ("f", "s.f"):
        for where in (
            f"{column} = {zero}", f"{column} IN ({zero}, 7)", f"{column} BETWEEN {zero} AND {zero}",
            f"{column} IN (SELECT unnest([{zero}]))",
        ):  # fmt: skip
            count = lake.sql(f"SELECT count(*) FROM {table.name} WHERE {where}").fetchall()
            assert count == [(5,)], where
    keys = [{"f": float(asked), "s": {"f": 1.0}}]
    assert table.merge(keys, on="f").when_matched_update().run().rows_updated == 5
    assert table.update({"s": "NULL"}, where=f"f = {zero}").rows_updated == 5
    assert table.delete(where=f"f = {zero}").rows_deleted == 5


def test_rows_of_nulls_are_distinct_from_values(lake):
    table = new_table(lake, {"k": "VARCHAR", "n": "INTEGER"})
    table.append([{"k": None, "n": 1}, {"k": None, "n": 2}])
    table.append([{"k": "a", "n": 3}])
    where = "k IS DISTINCT FROM 'b' OR k IS DISTINCT FROM 'c'"
    query = f"SELECT n FROM {table.name} WHERE {where} ORDER BY n"
    assert lake.sql(query).fetchall() == [(1,), (2,), (3,)]
    assert len(lake.sql(f"FROM ({query}) JOIN {table.name} USING (n)").fetchall()) == 3
    assert table.update({"n": "n + 10"}, where=where).rows_updated == 3
    keys = [{"k": "x", "n": 11}]
    merged = table.merge(keys, on=f"t.n = s.n AND ({where.replace('k ', 't.k ')})")
    assert merged.when_matched_delete().run().rows_deleted == 1
    assert table.delete(where=where).rows_deleted == 2
