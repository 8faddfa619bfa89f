"""What is answered from the log equals what is read from the files, and what it cannot tell is read."""

import dataclasses
import json
import time
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta import actions as act
from lakehouse.delta import replay
from lakehouse.delta.codec import to_lines
from lakehouse.delta.log import commit_path
from lakehouse.testing import predicates, rows
from lakehouse.testing.tables import vector_of
from tests.scan.test_pruning import layouts, plain, same
from tests.types.engines import effort, new_table

few = effort(0.3)
KINDS = ("as it is", "no statistics", "wide", "no NULL counts", "vector", "wide vector")
FEATURES = frozenset(
    ("deletionVectors", "appendOnly", "invariants", "typeWidening", "timestampNtz")
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def changed(table, kinds):
    """Commit other statistics, and deletion vectors of the first row, as another engine may."""
    snapshot = table.snapshot()
    changes: list[act.Action] = [
        act.CommitInfo({"operation": "OTHER"}),
        act.Protocol(3, 7, frozenset(FEATURES - {"appendOnly", "invariants"}), FEATURES),
    ]
    for add, kind in zip(snapshot.files.adds(), kinds, strict=False):
        stats = json.loads(add.stats or "{}")
        after = add
        if "wide" in kind:
            lows = stats.get("minValues", {})
            stats["minValues"] = {k: v - 1 if type(v) is int else v for k, v in lows.items()}
            stats["tightBounds"] = False
        if kind == "no NULL counts":
            stats.pop("nullCount", None)
        if kind != "as it is":
            after = dataclasses.replace(after, stats=json.dumps(stats))
        if kind == "no statistics":
            after = dataclasses.replace(after, stats=None)
        if "vector" in kind:
            changes.append(add.removed(deletion_timestamp=add.modification_time))
            after = dataclasses.replace(after, deletion_vector=vector_of((0,)))
        changes.append(after)
    snapshot.storage.put_if_absent(commit_path(snapshot.version + 1), to_lines(tuple(changes)))


@st.composite
def queries(draw, schema, partition_by, raw):
    """Draw a query of a table ``<0>`` that the log may answer."""
    # Of 0.0 and -0.0 either may be the smallest.
    plain_ones = [
        f.name
        for f in schema
        if not pa.types.is_floating(f.type) and not pa.types.is_nested(f.type)
    ]
    one, two = (
        quoted(draw(st.sampled_from(plain_ones))) if plain_ones else "NULL" for _ in range(2)
    )
    asked = draw(
        st.lists(
            st.sampled_from(["count(*)", "COUNT ( )", f"min({one})", f"max({two})", f"MAX(x_.{one})".replace("x_.NULL", "NULL")]),
            min_size=1,
            max_size=4,
        )
    )  # fmt: skip
    selected, grouped, where = ", ".join(asked), "", ""
    if partition_by and draw(st.booleans()):
        part = quoted(partition_by[0])
        text = f"CAST({part} AS VARCHAR)"
        shape = draw(st.sampled_from(["group", "distinct", "count"]))
        if shape == "group":
            selected, grouped = f"{text} AS p_, {selected}", " GROUP BY 1"
        elif shape == "distinct":
            selected = f"DISTINCT {text}"
        else:
            selected = f"count(DISTINCT {part}), {selected}"
    if partition_by and draw(st.booleans()):
        where = f" WHERE {draw(predicates(raw.select(list(partition_by)), prefix='x_.'))}"
    return f"SELECT {selected} FROM <0> AS x_{where}{grouped}"


@few
@given(data=st.data(), layout=layouts())
def test_answers_from_the_log_are_those_of_the_files(lake, data, layout):
    schema, partition_by, appends = layout
    table = new_table(lake, schema, partition_by=partition_by)
    for given_rows in appends:
        table.append(given_rows)
    if data.draw(st.booleans()):
        table.alter().add_column("added_later", "INTEGER")
        schema = schema.append(pa.field("added_later", pa.int32()))
        table.append(data.draw(rows(schema, max_rows=3, partition_by=partition_by)))
    if data.draw(st.booleans()):
        changed(table, data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12)))
    raw = table.read().to_arrow_table()
    with plain(raw=raw) as connection:
        for _ in range(4):
            query = data.draw(queries(schema, partition_by, raw))
            same(lake, connection, query, (table.name, "raw"))


ROWS = [{"p": "ab"[n % 2], "i": n, "j": 100 - n, "s": f"s{n}", "f": n / 2} for n in range(8)]
COLUMNS = {"p": "VARCHAR", "i": "BIGINT", "j": "INTEGER", "s": "VARCHAR", "f": "DOUBLE"}


@pytest.fixture(scope="module")
def table(lake):
    made = new_table(lake, COLUMNS, partition_by="p")
    for start in range(0, 8, 2):
        made.append(ROWS[start : start + 2])
    return made


ANSWERED = (
    "SELECT count(*) FROM <0>",
    "SELECT count() AS n, count(*) + 2 > 3 AS big FROM <0>",
    "FROM <0> AS t SELECT min(i), max(i), min(t.j)",
    "SELECT p, count(*), max(i) FROM <0> GROUP BY p ORDER BY p DESC",
    "SELECT p AS q, count(*) AS n FROM <0> WHERE p <> 'b' GROUP BY ALL HAVING count(*) > 1;",
    "SELECT DISTINCT p FROM <0> -- as they are",
    "SELECT count(DISTINCT p) FROM <0>",
    "SELECT min(upper(p)), max(p) FROM <0>",
    "SELECT count(*), min(i) FROM <0> WHERE p = 'nothing'",
    "SELECT p, count(*) FROM <0> WHERE p = 'nothing' GROUP BY p",
    "SELECT min(i) FROM <0> WHERE p IN ('a', 'c') OR p IS NULL",
    "SELECT max(i) - min(i) + 1 = count(*) FROM <0>",
)
# Each says the same as one above to a reader who does not look closely.
READ = (
    "SELECT count(i), count(1), count(*) FROM <0>",
    "SELECT count(*) FROM <0> WHERE i > 2",
    "SELECT sum(1), count(*) FROM <0>",
    "SELECT min(s), max(f) FROM <0>",
    "SELECT min(-i) FROM <0>",
    "SELECT (-i).min() FROM <0>",
    "SELECT min(j), max(s) FROM <0> AS t(p, j, i, s, f)",
    "SELECT min(j) FROM <0> t(p, j, i, s, f)",
    "SELECT min(j) FROM (SELECT -i AS j FROM <0>)",
    "WITH t(p, j, i) AS (FROM <0>) SELECT min(j), max(i) FROM t",
    "SELECT count(*) FROM (SELECT p FROM <0> LIMIT 3)",
    "SELECT count(*) FROM <0>, range(3)",
    "SELECT count(*) FROM <0> CROSS JOIN range(3)",
    "SELECT count(*) FROM (SELECT DISTINCT p FROM <0>)",
    "SELECT count(*) FROM (SELECT * FROM <0> UNION ALL SELECT * FROM <0>)",
    "SELECT count(*) OVER (), p FROM <0>",
    "SELECT p, count(*) OVER () FROM <0> GROUP BY p",
    "SELECT count(*) FILTER (WHERE p = 'a') FROM <0>",
    "SELECT min(COLUMNS(*)) FROM <0>",
    "SELECT max(i, 2) FROM <0>",
    "SELECT min(i) FROM <0> GROUP BY s",
    "SELECT DISTINCT p, i FROM <0>",
    "SELECT count(DISTINCT t) FROM <0> AS t",
    "SELECT string_agg(p, '' ORDER BY p), min(i) FROM <0>",
    'SELECT "sum"(length(p)), count(*) FROM <0>',
    "SELECT avg(length(p)), min(i) FROM <0>",
    "SELECT p AS i, count(*) FROM <0> GROUP BY p ORDER BY max(i)",
    "SELECT DISTINCT p, random() < 2 FROM <0>",
    "SELECT count(*) FROM <0> WHERE random() < 2",
    "SELECT count(*) FROM <0> TABLESAMPLE 100 PERCENT",
    "SELECT count(*) FROM <0> TABLESAMPLE SYSTEM(100 PERCENT)",
    'SELECT "count"(*) FROM <0>',
)


@pytest.mark.parametrize("query", ANSWERED)
def test_answered(lake, table, query):
    (scan,) = lake.explain(query.replace("<0>", table.name)).tables
    assert (scan.answered_from_log, scan.files_kept, scan.bytes_kept) == (True, 0, 0)
    _agrees(lake, table, query)


@pytest.mark.parametrize("query", READ)
def test_read(lake, table, query):
    scans = lake.explain(query.replace("<0>", table.name)).tables
    assert not any(scan.answered_from_log for scan in scans)
    _agrees(lake, table, query)


def _agrees(lake, table, query):
    with plain(raw=pa.Table.from_pylist(ROWS, schema=table.schema)) as connection:
        same(lake, connection, query, (table.name, "raw"))
        ours = lake.sql(query.replace("<0>", table.name))
        theirs = connection.sql(query.replace("<0>", "raw"))
        assert (ours.columns, ours.types) == (theirs.columns, theirs.types)
        if "ORDER BY p DESC" in query:
            assert ours.fetchall() == theirs.fetchall()


def test_parameters_and_time_travel(lake, table):
    query = f"SELECT count(*) FROM {table.name} AT (VERSION => ?) WHERE p = ?"
    assert lake.sql(query, [2, "a"]).fetchall() == [(2,)]
    assert lake.explain(query, [2, "a"]).tables[0].answered_from_log
    named = f"SELECT count(*), max(i) FROM {table.name} WHERE p = $p"
    assert lake.sql(named, {"p": "b"}).fetchall() == [(4, 7)]
    assert lake.explain(named, {"p": "b"}).tables[0].answered_from_log


def test_one_statement_only(lake, table):
    for more in ("SET threads = 1", "DROP VIEW IF EXISTS x"):
        with pytest.raises(lakehouse.InputError, match="one statement"):
            lake.sql(f"SELECT count(*) FROM {table.name}; {more}")


def test_constants_are_taken_as_they_are(lake):
    made = new_table(lake, COLUMNS, partition_by="p")
    made.append([{**ROWS[0], "p": text} for text in ("<index>", "it's; ? * i", "held_index")])
    for text in ("<index>", "it's; ? * i", "held_index"):
        query = f"SELECT count(*) FROM {made.name} WHERE p = '{text.replace(chr(39), chr(39) * 2)}'"
        assert lake.sql(query).fetchall() == [(1,)]
        assert lake.explain(query).tables[0].answered_from_log


def test_small_decimals_are_answered_again_and_again(lake):
    made = new_table(lake, {"d": "DECIMAL(7,7)"})
    made.append([{"d": Decimal("-1E-7")}])
    query = f"SELECT min(d) FROM {made.name}"
    assert lake.explain(query).tables[0].answered_from_log
    for _ in range(3):
        assert lake.sql(query).fetchall() == [(Decimal("-1E-7"),)]


def test_the_time_of_a_query_is_its_own(lake):
    made = new_table(lake, {"moment": "TIMESTAMPTZ", "i": "BIGINT"}, partition_by="moment")
    for seconds in (-3600, 0.4):
        made.append(
            lake.sql(
                "SELECT now() + to_milliseconds($1::BIGINT) AS moment, 1 AS i",
                [int(seconds * 1000)],
            )
        )
    query = f"SELECT count(*) FROM {made.name} WHERE moment <= current_timestamp"
    assert lake.sql(query).fetchall()[0][0] in (1, 2)
    time.sleep(0.5)
    assert lake.sql(query).fetchall() == [(2,)]


def test_it_says_so(lake, table):
    explained = lake.explain(f"SELECT count(*) FROM {table.name} WHERE p = 'a'")
    assert "no file: answered from the log" in str(explained)
    assert "answered from the log" in explained._repr_html_()
    assert explained.to_dict()["tables"][0]["answered_from_log"]
    assert (explained.tables[0].rows_kept, explained.tables[0].columns) == (4, ("p",))


@pytest.mark.parametrize(
    ("kind", "counts", "bounds"),
    [
        ("as it is", True, True),
        ("no statistics", False, False),
        ("wide", True, False),
        ("no NULL counts", True, False),
        ("vector", True, False),
        ("wide vector", True, False),
    ],
)
def test_statistics_that_are_not_exact(lake, kind, counts, bounds):
    """One such file is enough, unless a filter rules it out."""
    table = new_table(lake, COLUMNS, partition_by="p")
    table.append(ROWS)
    changed(table, [kind])
    for selected, answered in (("count(*)", counts), ("min(i), max(i)", bounds)):
        query = f"SELECT {selected} FROM {table.name}"
        assert lake.explain(query).tables[0].answered_from_log == answered
        with plain(raw=table.read().to_arrow_table()) as connection:
            same(lake, connection, query.replace(table.name, "<0>"), (table.name, "raw"))


def test_a_table_that_stays_in_its_checkpoint(lake, monkeypatch):
    monkeypatch.setattr(replay, "STORED_FROM", 0)
    table = new_table(lake, COLUMNS, partition_by="p")
    table.append(ROWS)
    table.checkpoint()
    with lakehouse.connect(lake.uri, durable=False) as other:
        for query, answered in (
            (f"SELECT p, count(*) FROM {table.name} WHERE p < 'b' GROUP BY p", True),
            (f"SELECT count(*), min(i) FROM {table.name}", False),
        ):
            assert other.table(table.name).snapshot().files.stored is not None
            assert other.sql(query).fetchall() == [("a", 4) if answered else (8, 0)]
            assert other.explain(query).tables[0].answered_from_log == answered


def test_a_new_commit_is_seen(lake):
    table = new_table(lake, COLUMNS)
    query = f"SELECT count(*), max(i) FROM {table.name}"
    assert lake.sql(query).fetchall() == [(0, None)]
    for number, row in enumerate(ROWS, start=1):
        table.append([row])
        assert lake.sql(query).fetchall() == [(number, row["i"])]
    table.delete("i >= 3")
    assert lake.sql(query).fetchall() == [(3, 2)]
    assert lake.explain(query).tables[0].answered_from_log


def test_no_file_is_opened(lake):
    table = new_table(lake, COLUMNS, partition_by="p")
    table.append(ROWS)
    for path in table.files()["path"].to_pylist():
        table.snapshot().storage.delete([path])
    assert lake.sql(
        f"SELECT p, count(*), min(i) FROM {table.name} GROUP BY p ORDER BY p"
    ).fetchall() == [
        ("a", 4, 0),
        ("b", 4, 1),
    ]
    with pytest.raises(lakehouse.StorageError):
        lake.sql(f"SELECT sum(i) FROM {table.name}").fetchall()
