"""Queries that differ in constants alone are planned once: they give what each by itself would."""

import datetime as dt
import itertools

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.scan.beginnings import beginning, begins_with
from lakehouse.scan.plans import Plans
from lakehouse.scan.shapes import shape_of
from tests.scan.test_from_log import changed
from tests.types.engines import effort, new_table

HAVE_SHAPES = (
    "SELECT * FROM s.t WHERE i = 1",
    "select i from S.\"t\" as x where x.\"i\" <> -1 and i<=-2 and s != 'it''s';",
    "FROM s.t WHERE i BETWEEN 1 AND 2 AND d > DATE '2024-01-01' AND z < '2024-01-01'::TIMESTAMPTZ",
    "SELECT count(*) FROM s.t WHERE i IN (1, 2) GROUP BY s HAVING count(*) > 1 ORDER BY 1 LIMIT 3",
)
HAVE_NONE = (
    "SELECT * FROM s.t",
    "SELECT * FROM s.t WHERE i = 1 OR i = 2",
    "SELECT * FROM s.t WHERE NOT i = 1",
    "SELECT * FROM s.t WHERE (i = 1)",
    "SELECT * FROM s.t WHERE i = 1 + 1",
    "SELECT * FROM s.t WHERE i = 1 IS NULL",
    "SELECT * FROM s.t WHERE i + 1 = 1",
    "SELECT * FROM s.t WHERE 1 = i",
    "SELECT * FROM s.t WHERE i = 1.5",
    "SELECT * FROM s.t WHERE i = 1e3",
    "SELECT * FROM s.t WHERE i = NULL",
    "SELECT * FROM s.t WHERE i = '1'::INTEGER",
    "SELECT * FROM s.t WHERE i = 1::INTEGER",
    "SELECT * FROM s.t WHERE i = 1 x",
    "SELECT * FROM s.t WHERE i > = 1",
    "SELECT * FROM s.t WHERE i NOT IN (1)",
    "SELECT * FROM s.t WHERE i IN (SELECT 1)",
    "SELECT * FROM s.t WHERE i IN (1, i)",
    "SELECT * FROM s.t WHERE i BETWEEN 1 AND i",
    "SELECT * FROM s.t WHERE s LIKE 'a%'",
    "SELECT * FROM s.t WHERE s = 'a' 'b'",
    "SELECT * FROM s.t WHERE s = 'a' || 'b'",
    "SELECT * FROM s.t WHERE s = 'a' COLLATE NOCASE",
    "SELECT * FROM s.t WHERE s = E'a'",
    "SELECT * FROM s.t WHERE s = $$a$$",
    "SELECT * FROM s.t WHERE z = TIMESTAMP '2024-01-01' AT TIME ZONE 'UTC'",
    "SELECT * FROM s.t WHERE i = ?",
    "SELECT ? FROM s.t WHERE i = 1",
    "SELECT * FROM s.t, s.t AS o WHERE i = 1",
    "SELECT * FROM s.t JOIN s.t AS o USING (i) WHERE i = 1",
    "SELECT * FROM s.t WHERE i = 1 UNION ALL TABLE s.t",
    "SELECT * FROM s.t WHERE i = 1 UNION ALL FROM s.t",
    "SELECT (TABLE s.t), i FROM s.t WHERE i = 1",
    "SELECT count(*) FILTER (WHERE i = 1) FROM s.t",
    "WITH a AS (FROM s.t) SELECT * FROM s.t WHERE i = 1",
    "SELECT * FROM s.t AS a(i, s) WHERE i = 1",
    "SELECT * FROM s.u WHERE i = 1",
    "SELECT * FROM (SELECT * FROM s.t) WHERE i = 1",
    "SELECT * FROM s.t TABLESAMPLE 1% WHERE i = 1",
    "EXPLAIN SELECT * FROM s.t WHERE i = 1",
    "",
)  # fmt: skip


@pytest.mark.parametrize("sql", HAVE_SHAPES)
def test_what_a_row_must_be_is_read_off_the_text(sql):
    shape = shape_of(sql, ("s", "t"))
    assert shape is not None
    assert shape == shape_of(sql, ("s", "t"), [5])
    other = shape_of(sql.replace("1", "3").replace("-2", "40"), ("s", "t"))
    assert other is None or other.key != shape.key or other.terms != shape.terms


@pytest.mark.parametrize("sql", HAVE_NONE)
def test_where_in_doubt_there_is_no_shape(sql):
    assert shape_of(sql, ("s", "t")) is None


MOMENT = dt.datetime.fromisoformat("2024-01-01 00:00:00")
COLUMNS = {
    "b": "TINYINT", "i": "INTEGER", "l": "BIGINT", "s": "VARCHAR", "d": "DATE", "t": "TIMESTAMP",
    "z": "TIMESTAMPTZ", "f": "DOUBLE", "n": "DECIMAL(10,2)",
}  # fmt: skip
ROWS = [
    {
        "b": n - 12,
        "i": None if n % 4 == 0 else n,
        "l": n * 10**9 - 5 * 10**9,
        "s": ["", "a", "it's", "é", "a\nb", "z" * 40][n % 6],
        "d": None if n > 20 else (MOMENT + dt.timedelta(n)).date(),
        "t": MOMENT + dt.timedelta(hours=n, microseconds=n * 100_000),
        "z": (MOMENT + dt.timedelta(hours=n, microseconds=n)).replace(tzinfo=dt.UTC),
        "f": n / 2,
        "n": n,
    }
    for n in range(24)
]
WHEN = st.integers(-3, 30).map(lambda n: MOMENT + dt.timedelta(hours=n, microseconds=n * 100_000))
FAR = st.sampled_from(["0001-01-01", "9999-12-31", "9999-12-31 23:59:59.999999"])
WHOLE = (
    st.integers(-15, 30)
    | st.integers(-6, 25).map(lambda n: n * 10**9)
    | st.sampled_from([s * 2**n + o for n in (7, 15, 31, 63, 64) for s in (-1, 1) for o in (-1, 0)])
)
TEXTS = st.sampled_from(["", "a", "it's", "é", "a\nb", "z" * 40, "z" * 39, "zz", "''", "A", "b\0"])
ZONES = st.sampled_from(["+00", "+00:00", "+05:30", "-02", "+14", ""])


def moments(draw):
    """Draw a point in time as text, in one of several forms."""
    when = draw(WHEN)
    form = draw(st.sampled_from(["day", "T", "minutes", "whole", "far"]))
    if form == "day":
        return str(when.date())
    if form == "far":
        return draw(FAR)
    return {"T": when.isoformat(), "minutes": f"{when:%Y-%m-%d %H:%M}", "whole": str(when)}[form]


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


# How a constant is written: SQL, and the value of a parameter, drawn anew for each query.
STYLES = {
    "number": lambda draw: (str(draw(WHOLE)), None),
    "text": lambda draw: (quoted(draw(TEXTS.filter(lambda t: "\0" not in t))), None),
    "moment": lambda draw: (quoted(moments(draw)), None),
    "zoned": lambda draw: (quoted(moments(draw) + draw(ZONES)), None),
    "day": lambda draw: (f"DATE {quoted(str(draw(WHEN).date()))}", None),
    "timestamp": lambda draw: (f"TIMESTAMP {quoted(moments(draw))}", None),
    "cast": lambda draw: (f"{quoted(moments(draw))}::TIMESTAMP", None),
    "zoned timestamp": lambda draw: (f"TIMESTAMPTZ {quoted(moments(draw) + draw(ZONES))}", None),
    "NULL": lambda draw: ("NULL", None),
    "malformed": lambda draw: (draw(st.sampled_from(["'2024-02-30'", "'1'", "'x'", "'infinity'", "'2024-1-2'", "2.5", "1e1", "CAST(3 AS TINYINT)"])), None),
    "a whole number": lambda draw: ("?", draw(WHOLE)),
    "a text": lambda draw: ("?", draw(TEXTS)),
    "a text of a moment": lambda draw: ("?", moments(draw)),
    "a day": lambda draw: ("?", draw(WHEN).date()),
    "a moment": lambda draw: ("?", draw(WHEN)),
    "a moment and zone": lambda draw: ("?", draw(WHEN).replace(tzinfo=dt.timezone(dt.timedelta(hours=draw(st.integers(-3, 3)))))),
}  # fmt: skip
USUAL = {
    **dict.fromkeys("bil", ("number", "a whole number")), "s": ("text", "a text"),
    "d": ("moment", "day", "a day", "a text of a moment"),
    "t": ("moment", "day", "timestamp", "cast", "a moment", "a day"),
    "z": ("zoned", "zoned timestamp", "moment", "timestamp", "a moment and zone", "a moment"),
    "f": ("number",), "n": ("number",),
}  # fmt: skip
SELECTS = (
    "SELECT count(*), sum(l), min(s) FROM <t> AS a WHERE {}",
    "SELECT *, 5 AS five FROM <t> WHERE {} ORDER BY b LIMIT 40",
    "SELECT s, count(*), max(t) FROM <t> WHERE {} GROUP BY s ORDER BY s",
    "SELECT i AS l, l AS i FROM <t> WHERE {}",
)


@st.composite
def shapes(draw):
    """Draw a query with gaps, and how to draw what fills them."""
    terms, styles = [], []
    for _ in range(draw(st.integers(1, 2))):
        column = draw(st.sampled_from(list(COLUMNS)))
        unusual = draw(st.integers(0, 5)) == 0
        style = draw(st.sampled_from(list(STYLES) if unusual else USUAL[column]))
        operator = draw(st.sampled_from(["=", "=", "<", "<=", ">", ">=", "<>", "IN", "BETWEEN"]))
        count = {"IN": draw(st.integers(1, 4)), "BETWEEN": 2}.get(operator, 1)
        gaps = ["<>"] * count
        right = {"IN": f"({', '.join(gaps)})", "BETWEEN": " AND ".join(gaps)}.get(operator, "<>")
        terms.append(f"{column} {operator} {right}".replace(" <> ", " != ", operator == "<>"))
        styles += [STYLES[style]] * count
    return draw(st.sampled_from(SELECTS)).format(" AND ".join(terms)), styles


def filled(draw, query, styles):
    """Return the SQL of a query and its parameters, with constants of its own."""
    sql, values = query, []
    for style in styles:
        text, value = style(draw)
        sql = sql.replace("<>", text.replace("<>", ""), 1)
        values += [value] if text == "?" else []
    return sql, values or None


def outcome(lake, sql, params):
    """Return what a query gives, or how it fails."""
    try:
        relation = lake.sql(sql, params)
        return (
            relation.columns,
            list(map(str, relation.types)),
            sorted(relation.fetchall(), key=repr),
        )
    except (lakehouse.LakehouseError, duckdb.Error) as error:
        return type(error)


@pytest.fixture(scope="module")
def tables(lake):
    """Give tables with statistics as ours are, and as others may be, and one that was changed."""
    vectors = {"delta.enableDeletionVectors": True}
    made = [new_table(lake, COLUMNS) for _ in range(3)]
    made.append(new_table(lake, COLUMNS, partition_by="s"))
    made.append(new_table(lake, COLUMNS, partition_by=("d", "b")))
    made.append(new_table(lake, COLUMNS, properties=vectors))
    for table in made:
        for start in range(0, len(ROWS), 3):
            rows = ROWS[start : start + 3]
            if table is made[3]:  # '' is no value of a partition
                rows = [{**row, "s": row["s"] or None} for row in rows]
            table.append(rows)
    changed(made[1], ("no statistics", "wide", "no NULL counts", "as it is"))
    made[2].alter().add_column("more", "INTEGER")
    made[2].append([{"b": 3, "i": 3, "l": 5, "more": 1}])
    made[5].delete("i IN (1, 2, 14)")
    return made


numbers = itertools.count()


@effort(0.3)
@given(data=st.data(), query=shapes(), which=st.integers(0, 5))
def test_constants_of_their_own_give_what_a_plan_of_its_own_gives(lake, tables, data, query, which):
    sql, styles = query
    sql = f"/* {next(numbers)} */ {sql.replace('<t>', tables[which].name)}"
    for asked, params in [filled(data.draw, sql, styles) for _ in range(6)]:
        alone = f"/* {next(numbers)} */ {asked}"
        assert outcome(lake, asked, params) == outcome(lake, alone, params)
        try:
            planned = lake.explain(f"/* {next(numbers)} */ {asked}", params).tables[0]
        except (lakehouse.LakehouseError, duckdb.Error):
            continue
        found = lake.explain(asked, params).tables[0]
        if planned.predicate is None:  # nothing can match, or anything
            assert found.files_kept <= planned.files_kept
        else:
            assert found.files_kept == planned.files_kept
        if len(styles) == 1:
            assert found == planned


@pytest.fixture
def plans(monkeypatch):
    """List the queries that DuckDB was asked a plan of."""
    asked, usual = [], Plans.plan

    def plan(self, cursor, query, generation):
        asked.append(query.sql)
        return usual(self, cursor, query, generation)

    monkeypatch.setattr(Plans, "plan", plan)
    return asked


def test_one_plan_is_enough_and_commits_are_seen(lake, plans):
    table = new_table(lake, {"i": "BIGINT", "s": "VARCHAR"})
    for start in range(0, 30, 3):
        table.append([{"i": n, "s": f"s{n}"} for n in range(start, start + 3)])
    for n in range(30):
        assert lake.sql(f"SELECT s FROM {table.name} WHERE i = {n}").fetchall() == [(f"s{n}",)]
        found = lake.sql(f"SELECT i FROM {table.name} WHERE s = ?", [f"s{n}"]).fetchall()
        assert found == [(n,)]
        assert lake.explain(f"SELECT s FROM {table.name} WHERE i = {n}").tables[0].files_kept == 1
    assert len(plans) == 2
    table.append([{"i": 7, "s": "new"}])
    query = f"SELECT s FROM {table.name} WHERE i ="
    assert sorted(lake.sql(f"{query} 7").fetchall()) == [("new",), ("s7",)]
    assert lake.sql(f"{query} 31").fetchall() == []
    assert len(plans) == 2
    table.alter().add_column("more", "INTEGER")
    table.append([{"i": 31, "s": "s31", "more": 1}])
    for n in (5, 31, 6, 7):
        rows = lake.sql(f"SELECT * FROM {table.name} WHERE i = {n} AND s <> 'new'").fetchall()
        assert rows == [(n, f"s{n}", 1 if n == 31 else None)]


def test_names_that_mean_something_else(lake):
    table = new_table(lake, {"i": "BIGINT", "r": "STRUCT(i BIGINT)", "of it": "VARCHAR"})
    for n in range(6):
        table.append([{"i": n, "r": {"i": n + 100}, "of it": f"n{n}"}])
    for n in range(6):
        for query, expected in (
            (f"SELECT r.i AS i FROM <t> WHERE r.i = {n + 100}", n + 100),
            (f"SELECT r.i FROM <t> WHERE r.i = {n}", None),
            (f"SELECT r.i AS i FROM <t> AS r WHERE r.i = {n}", n),
            (f"SELECT r.i.i FROM <t> AS r WHERE r.i.i = {n + 100}", None),
            (f"SELECT i + 100 AS j FROM <t> WHERE j = {n + 100} AND i = {n}", n + 100),
            (f"SELECT i FROM <t> AS a WHERE a.I = {n} AND \"of it\" = 'n{n}'", n),
            (f"SELECT -i AS i FROM <t> WHERE i = {n} ORDER BY i", -n),
        ):
            sql = query.replace("<t>", table.name)
            try:
                rows = lake.sql(sql).fetchall()
            except lakehouse.InputError:
                assert "r.i.i" in sql
            else:
                assert rows == ([] if expected is None else [(expected,)])


def test_partitions_and_deleted_rows(lake, plans):
    parted = new_table(lake, {"i": "BIGINT", "p": "DATE"}, partition_by="p")
    marked = new_table(lake, {"i": "BIGINT"}, properties={"delta.enableDeletionVectors": True})
    days = [dt.date(2024, 1, 1 + n % 3) for n in range(12)]
    parted.append([{"i": n, "p": day} for n, day in enumerate(days)])
    marked.append([{"i": n} for n in range(12)])
    marked.delete("i % 2 = 0")
    for n, day in enumerate(days):
        where = f"p = '{day}' AND i = {n}"
        assert lake.sql(f"SELECT i FROM {parted.name} WHERE {where}").fetchall() == [(n,)]
        (scan,) = lake.explain(f"SELECT i FROM {parted.name} WHERE {where}").tables
        assert (scan.files_kept, scan.files_total) == (1, 3)
        count = lake.sql(f"SELECT count(*) FROM {parted.name} WHERE p = '{day}'").fetchall()
        assert count == [(4,)]
        found = lake.sql(f"SELECT i FROM {marked.name} WHERE i = {n}").fetchall()
        assert found == ([(n,)] if n % 2 else [])
    assert len([sql for sql in plans if "AND i" in sql or marked.name in sql]) == 2


def test_times_without_a_zone_are_those_of_the_session(tmp_path):
    with lakehouse.connect(tmp_path, duckdb_config={"TimeZone": "Europe/London"}) as lake:
        table = lake.create_table("bronze.t", {"z": "TIMESTAMPTZ"})
        for month in range(1, 13):
            table.append([{"z": dt.datetime(2024, month, 1, 12, tzinfo=dt.UTC)}])
        for month in range(1, 13):
            local = 13 if 4 <= month <= 10 else 12
            for text in (f"2024-{month:02}-01 {local}:00:00", f"2024-{month:02}-01 12:00:00+00"):
                for typed in ("", "TIMESTAMPTZ "):
                    query = f"SELECT count(*) FROM bronze.t WHERE z = {typed}'{text}'"
                    assert lake.sql(query).fetchall() == [(1,)]


def test_files_are_alike_if_their_schemas_are(tmp_path):
    def written(name, table, **options):
        pq.write_table(table, tmp_path / name, **options)
        return str(tmp_path / name)

    rows = pa.table({"i": pa.array([1, 2], pa.int64()), "s": ["a", "b"]})
    one = written("one.parquet", rows)
    known = beginning(one)
    assert known is not None
    assert begins_with(
        written("more.parquet", pa.concat_tables([rows] * 9), compression="zstd"), [known]
    )
    for name, other in (
        ("type", rows.set_column(0, "i", pa.array([1, 2], pa.int32()))),
        ("name", rows.rename_columns(["i", "S"])),
        ("order", rows.select(["s", "i"])),
        ("fewer", rows.select(["i"])),
        ("columns", rows.append_column("z", rows["i"])),
        ("kind", rows.set_column(1, "s", pa.array([b"a", b"b"]))),
        ("required", rows.cast(pa.schema([pa.field("i", pa.int64(), nullable=False), ("s", pa.string())]))),
    ):  # fmt: skip
        assert not begins_with(written(f"{name}.parquet", other), [known]), name
    data = (tmp_path / "one.parquet").read_bytes()
    for number, broken in enumerate((b"", b"PAR1", data[:-1], data[:-8] + b"\xff" * 4 + b"PAR1", data[:-4] + b"PARE")):  # fmt: skip
        path = tmp_path / f"broken{number}.parquet"
        path.write_bytes(broken)
        assert beginning(str(path)) is None
        assert not begins_with(str(path), [known])
    assert not begins_with(str(tmp_path / "none.parquet"), [known])
    assert not begins_with("s3://bucket/one.parquet", [known])
