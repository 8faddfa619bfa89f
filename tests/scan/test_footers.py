"""Files are read by their own columns where they have exactly the table's: rows stay the same."""

import json
import re
from pathlib import Path

import deltalake
import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.scan import footers
from lakehouse.scan.footers import MANY_ROWS, columns, fits, worthwhile
from lakehouse.scan.report import Kept
from tests.types.engines import comparable, effort, new_table

LEAVES = st.tuples(st.sampled_from("abAB"), st.just(0), st.sampled_from(["INTEGER", "DATE"]), st.booleans())  # fmt: skip
V2 = duckdb.__version__ >= "2"


@st.composite
def trees(draw, depth=2):
    """Draw a column as its nodes, depth first."""
    if depth == 0 or draw(st.booleans()):
        return [draw(LEAVES)]
    inner = [node for _ in range(draw(st.integers(1, 2))) for node in draw(trees(depth=depth - 1))]
    count = len(columns([("root", 0, "", False), *inner]))
    return [(draw(st.sampled_from("abAB")), count, "", draw(st.booleans())), *inner]


def schema(*parts):
    return [("root", len(parts), "", False), *(node for part in parts for node in part)]


@given(st.lists(trees(), unique_by=lambda tree: tree[0][0].lower(), max_size=2), st.data())
def test_a_file_fits_if_it_has_all_columns_as_they_are(wanted, data):
    assert columns(schema(*wanted)) == tuple(map(tuple, wanted))
    other = [("z", 0, "INTEGER", False)]
    assert fits(schema(*wanted), schema(*data.draw(st.permutations([*wanted, other]))))
    assert not fits(schema(*wanted, other), schema(*wanted))
    assert not fits(schema(*wanted), schema(*wanted, [("FILENAME", 0, "VARCHAR", False)]))
    if wanted:
        chosen = data.draw(st.sampled_from(wanted))
        again = [(chosen[0][0].swapcase(), *chosen[0][1:]), *chosen[1:]]
        assert not fits(schema(*wanted), schema(*wanted, again))
        changed = data.draw(trees())
        rest = [tree for tree in wanted if tree is not chosen]
        assert fits(schema(chosen), schema(*rest, changed)) == (changed == chosen)


def test_files_are_looked_at_where_that_may_change_a_plan():
    tiny, small, large, unknown = (
        Kept(3, 1, 10), Kept(1, 1, MANY_ROWS), Kept(3, 1, MANY_ROWS), Kept(3, 1, None),
    )  # fmt: skip
    none, many = Kept(0, 0, 0), Kept(10**6, 1, 10**9)
    assert worthwhile([tiny, small, large, none], joined=False) == (False, True, False, False)
    assert worthwhile([tiny, tiny, none], joined=True) == (False, False, False)
    assert worthwhile([tiny, large, none, many], joined=True) == (V2, V2, False, False)
    assert worthwhile([tiny, unknown], joined=True) == (V2, V2)


@pytest.fixture
def always():
    """Look at files however few rows they have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            footers, "worthwhile", lambda kept, *, joined: tuple(one.files > 0 for one in kept)
        )
        yield


def estimates(lake, sql):
    """Return how many rows DuckDB thinks that the steps of a query have."""
    plan = lake.explain(sql).plan
    return [int(text.replace(",", "")) for text in re.findall(r"~([\d,]+) rows?", plan)]


def is_plain(lake, table):
    """Tell whether a table is read by its files' own columns: its first one is not renamed."""
    sql = f"SELECT * FROM {table.name}"
    kept = [prepared for prepared in [lake.explain(sql).plan] if "READ_PARQUET" in prepared]
    return bool(kept) and not re.search(r"\bc0\b", kept[0])


def rows_of(lake, table):
    """Return all rows, read alone and through a join that keeps each of them."""
    alone = lake.sql(f"SELECT * FROM {table.name}").to_arrow_table()
    joined = lake.sql(
        f"SELECT t.* FROM {table.name} AS t JOIN (SELECT DISTINCT k FROM {table.name}) AS o "
        f"ON t.k = o.k"
    ).to_arrow_table()
    assert comparable(alone) == comparable(joined)
    return sorted(alone.to_pylist(), key=lambda row: row["k"])


def test_a_large_table_is_not_taken_for_a_small_one(lake):
    large = new_table(lake, {"k": "BIGINT", "v": "BIGINT"})
    for start, end in ((0, 10), (10, 60_000), (60_000, 120_000)):
        large.append(lake.sql(f"SELECT range AS k, range % 7 AS v FROM range({start}, {end})"))
    parted = new_table(
        lake,
        {"k": "BIGINT", "p": "BIGINT"},
        partition_by="p",
        properties={"delta.enableDeletionVectors": True},
    )
    parted.append(lake.sql("SELECT range AS k, least(range, 2) AS p FROM range(120000)"))
    parted.delete("k = 7")
    small = new_table(lake, {"v": "BIGINT", "n": "VARCHAR"})
    small.append([{"v": 1, "n": "one"}])
    for table, key in ((large, "v"), (parted, "k")):
        sql = f"SELECT n FROM {table.name} AS t JOIN {small.name} AS s ON t.{key} = s.v"
        assert 60_000 <= max(estimates(lake, sql)) <= 480_000
        assert len(lake.sql(sql).fetchall()) == (17_143 if table is large else 1)
    sql = f"SELECT p, sum(k) FROM {parted.name} SEMI JOIN {large.name} USING (k) GROUP BY p ORDER BY p"
    assert lake.sql(sql).fetchall() == [(0, 0), (1, 1), (2, sum(range(120_000)) - 8)]


@pytest.mark.usefixtures("always")
def test_files_of_older_schemas_keep_their_meaning(lake):
    mapped = {"delta.columnMapping.mode": "name"}
    table = new_table(lake, {"k": "BIGINT", "s": "STRUCT(x BIGINT)"})
    table.append([{"k": 1, "s": {"x": 1}}])
    assert is_plain(lake, table)
    table.append([{"k": 2, "s": {"x": 2, "y": 3}, "n": "new"}], schema_mode="add")
    assert not is_plain(lake, table)
    assert rows_of(lake, table) == [
        {"k": 1, "s": {"x": 1, "y": None}, "n": None},
        {"k": 2, "s": {"x": 2, "y": 3}, "n": "new"},
    ]
    new_only = f"SELECT k FROM {table.name} WHERE n IS NOT NULL"
    assert lake.sql(new_only).fetchall() == [(2,)]

    widened = new_table(lake, {"k": "INTEGER", "v": "SMALLINT"}, properties={"delta.enableTypeWidening": True})  # fmt: skip
    widened.append([{"k": 1, "v": 7}])
    widened.alter().change_type("v", "BIGINT")
    widened.append([{"k": 2, "v": 2**40}])
    assert not is_plain(lake, widened)
    assert rows_of(lake, widened) == [{"k": 1, "v": 7}, {"k": 2, "v": 2**40}]
    assert lake.sql(f"SELECT k FROM {widened.name} WHERE v = {2**16 + 7}").fetchall() == []

    renamed = new_table(lake, {"k": "BIGINT", "a": "BIGINT", "b": "BIGINT"}, properties=mapped)
    renamed.append([{"k": 1, "a": 10, "b": 20}])
    renamed.alter().rename_column("a", "c")
    renamed.alter().rename_column("b", "a")
    assert rows_of(lake, renamed) == [{"k": 1, "c": 10, "a": 20}]
    assert is_plain(lake, renamed)
    renamed.alter().drop_column("c")
    renamed.append([{"k": 2, "a": 5, "c": 6}], schema_mode="add")
    assert rows_of(lake, renamed) == [{"k": 1, "a": 20, "c": None}, {"k": 2, "a": 5, "c": 6}]
    past = lake.sql(f"SELECT * FROM {renamed.name} AT (VERSION => 1)").fetchall()
    assert past == [(1, 10, 20)]

    by_id = new_table(lake, {"k": "BIGINT"}, properties={"delta.columnMapping.mode": "id"})
    by_id.append([{"k": 1}])
    assert rows_of(lake, by_id) == [{"k": 1}]
    assert not is_plain(lake, by_id)


@pytest.mark.usefixtures("always")
def test_names_of_our_own_in_tables_are_theirs(lake):
    for names in (("k", "c1", "c0", "r", "f"), ("k", "file_index"), ("k", "FileName", "rowid")):
        types = {name: "STRUCT(c0 BIGINT)" if name in "rf" else "BIGINT" for name in names}
        table = new_table(lake, types)
        row = {name: {"c0": 9} if name in "rf" else n for n, name in enumerate(names)}
        table.append([row])
        assert rows_of(lake, table) == [row]


@pytest.mark.usefixtures("always")
def test_partitions_deleted_rows_and_other_writers(lake):
    table = new_table(
        lake,
        {"k": "BIGINT", "p": "VARCHAR", "v": "DOUBLE"},
        partition_by="p",
        properties={"delta.enableDeletionVectors": True},
    )
    table.append([{"k": n, "p": "ab"[n % 2], "v": n / 2} for n in range(50)])
    table.append([{"k": n, "p": None, "v": None} for n in range(50, 60)])
    table.delete("k % 10 = 3")
    assert is_plain(lake, table)
    expected = [
        {"k": n, "p": "ab"[n % 2] if n < 50 else None, "v": n / 2 if n < 50 else None}
        for n in range(60)
        if n % 10 != 3
    ]
    assert rows_of(lake, table) == expected

    theirs = new_table(lake, {"k": "BIGINT", "v": "VARCHAR"})
    unknown = {"delta.dataSkippingNumIndexedCols": "0"}
    for start in (0, 3):
        deltalake.write_deltalake(
            theirs.uri,
            pa.table({"k": range(start, start + 3), "v": ["x", None, ""]}),
            mode="append",
            configuration=unknown,
        )
    expected = [{"k": n, "v": ["x", None, ""][n % 3]} for n in range(6)]
    assert rows_of(lake, theirs) == expected
    assert is_plain(lake, theirs)


COLUMNS = {
    "k": ("BIGINT", "INTEGER", "SMALLINT"),
    "v": ("VARCHAR", "BIGINT", "DATE"),
    "s": ("STRUCT(x BIGINT, y DATE)", "STRUCT(x BIGINT)", "STRUCT(y DATE, x BIGINT)", "STRUCT(x INTEGER, y DATE)"),
    "l": ("BIGINT[]", "INTEGER[]"),
    "m": ("MAP(VARCHAR, BIGINT)", "MAP(VARCHAR, INTEGER)"),
}  # fmt: skip
VALUES = {"k": "{n}", "v": "NULL", "s": "NULL", "l": "[{n}]", "m": "MAP {{'a': {n}}}"}


@st.composite
def files(draw):
    """Draw what the columns of a file are called, and their types: mostly those of the table."""
    names = [name for name in COLUMNS if name == "k" or draw(st.integers(0, 9))]
    found = {}
    for name in draw(st.permutations([*names, "extra"])):
        types = COLUMNS.get(name, ("BIGINT",))
        type_ = types[0] if draw(st.integers(0, 9)) else draw(st.sampled_from(types))
        shown = name.upper() if name != "k" and not draw(st.integers(0, 19)) else name
        found[shown] = (type_, VALUES.get(name, "{n}"))
    return found


def put(table, number, made):
    """Add a file of one row, with statistics that claim all of the table's columns."""
    path = Path(table.uri, f"f{number}.parquet")
    shown = ", ".join(
        f'CAST({value.format(n=number)} AS {type_}) AS "{name}"'
        for name, (type_, value) in made.items()
    )
    duckdb.sql(f"COPY (SELECT {shown}) TO '{path}' (FORMAT parquet)")
    stats = {
        "numRecords": 1,
        "minValues": {"k": number},
        "maxValues": {"k": number},
        "nullCount": {"k": 0, "v": 1},
    }
    add = {
        "path": path.name,
        "partitionValues": {},
        "size": path.stat().st_size,
        "modificationTime": 1_700_000_000_000,
        "dataChange": True,
        "stats": json.dumps(stats),
    }
    commit = Path(table.uri, "_delta_log", f"{number:020d}.json")
    commit.write_text(json.dumps({"add": add}) + "\n")


def outcome(lake, sql):
    """Return a query's rows, or the error that it ends with."""
    try:
        return comparable(lake.sql(sql).to_arrow_table())
    except lakehouse.LakehouseError as error:
        return type(error)


@effort(0.3)
@given(st.lists(files(), min_size=1, max_size=3))
def test_any_files_are_read_as_they_would_be_by_a_schema(lake, made):
    table = new_table(lake, {name: types[0] for name, types in COLUMNS.items()})
    for number, one in enumerate(made, 1):
        put(table, number, one)
    queries = (
        f"SELECT * FROM {table.name}",
        f"SELECT t.* FROM {table.name} AS t JOIN {table.name} AS o ON t.k = o.k WHERE o.k > 1",
        f"SELECT k, s.x, l[1], m['a'] FROM {table.name} WHERE v IS NULL AND k IN (1, 3)",
    )
    by_schema = [outcome(lake, sql) for sql in queries]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            footers, "worthwhile", lambda kept, *, joined: tuple(one.files > 0 for one in kept)
        )
        assert [outcome(lake, sql) for sql in queries] == by_schema
        fit = all(
            name in one and one[name][0] == types[0]
            for one in made
            for name, types in COLUMNS.items()
        )
        assert is_plain(lake, table) == fit
