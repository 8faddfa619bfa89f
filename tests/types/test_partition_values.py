"""Partition values of every type are stored in the log as every engine reads them."""

import datetime as dt
import json
import math
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.testing import partition_types, partition_values, rows
from lakehouse.testing.rows import PARTITION_TEXTS
from lakehouse.testing.schemas import AWKWARD_NAMES
from tests.types.engines import PEERS, comparable, delta_rs, effort, new_table, ours, polars

few = effort(0.15)


@st.composite
def partitioned(draw):
    types = draw(st.lists(partition_types(), min_size=1, max_size=2))
    names = [f"p_{i}" for i in range(len(types))]
    schema = pa.schema([*zip(names, types, strict=True), ("v", pa.int64())])
    return draw(rows(schema, min_rows=1, max_rows=8, partition_by=tuple(names))), tuple(names)


@few
@given(drawn=partitioned())
def test_values_of_every_type(lake, drawn):
    data, names = drawn
    table = new_table(lake, data.schema, partition_by=names)
    table.append(data)
    assert table.partition_by == names
    assert comparable(ours(table)) == comparable(data)
    for name, read in PEERS.items():
        assert comparable(read(table).select(data.schema.names)) == comparable(data), name
    distinct = len(set(comparable(data.select(names))))
    assert len(table.files()) == distinct


@few
@given(data=st.data(), type_=partition_types())
def test_one_value_reads_one_file(lake, data, type_):
    found = data.draw(st.lists(partition_values(type_), min_size=2, max_size=6))
    rows_ = pa.table({"p": pa.array(found, type_), "v": range(len(found))})
    table = new_table(lake, rows_.schema, partition_by="p")
    table.append(rows_)
    for value in found:
        # As an Arrow scalar would be ambiguous for decimals, the constant comes from a row.
        sql = f"SELECT * FROM {table.name} WHERE p = ?"
        want = [row for row in rows_.to_pylist() if same(row["p"], value)]
        got = lake.sql(sql, [value]).to_arrow_table().to_pylist()
        assert sorted(row["v"] for row in got) == sorted(row["v"] for row in want)


@pytest.mark.parametrize("text", PARTITION_TEXTS, ids=lambda text: ascii(text)[:20])
def test_awkward_texts(lake, text):
    table = new_table(lake, {"p": "VARCHAR", "v": "BIGINT"}, partition_by="p")
    table.append([{"p": text, "v": 1}, {"p": None, "v": 2}, {"p": "other", "v": 3}])
    expected = [{"p": text, "v": 1}, {"p": None, "v": 2}, {"p": "other", "v": 3}]
    for read in (ours, *PEERS.values()):
        got = read(table).to_pylist()
        assert sorted(got, key=lambda row: row["v"]) == expected
    (seen,) = lake.explain(f"SELECT * FROM {table.name} WHERE p = ?", [text]).tables
    assert (seen.files_kept, seen.files_total) == (1, 3)


@pytest.mark.parametrize("name", AWKWARD_NAMES, ids=lambda name: ascii(name)[:20])
def test_awkward_columns(lake, name):
    schema = pa.schema([(name, pa.int64()), ("value", pa.int64())])
    if name == "*":
        with pytest.raises(lakehouse.InputError, match="cannot partition"):
            new_table(lake, schema, partition_by=name)
        return
    table = new_table(lake, schema, partition_by=name)
    if len(name) > 200:
        with pytest.raises(lakehouse.DataError, match="too long to name a folder"):
            table.append([{name: 1, "value": 1}])
        return
    expected = [{name: 1, "value": 1}, {name: 2, "value": 2}, {name: None, "value": 3}]
    table.append(expected)
    # Polars takes partition values from the folders' names, and does not decode the column's.
    plain = re.fullmatch(r"[\w.-]+", name, re.ASCII)
    for read in (ours, delta_rs, *((polars,) if plain else ())):
        got = sorted(read(table).to_pylist(), key=lambda row: row["value"])
        assert got == expected
    quoted = '"' + name.replace('"', '""') + '"'
    (seen,) = lake.explain(f"SELECT * FROM {table.name} WHERE {quoted} = 2").tables
    assert (seen.files_kept, seen.files_total) == (1, 3)


@pytest.mark.parametrize(
    ("type_", "value", "words"),
    [
        ("VARCHAR", "''", "empty string"),
        ("VARCHAR", "'__HIVE_DEFAULT_PARTITION__'", "stands for NULL"),
        ("DOUBLE", "'-0.0'::DOUBLE", "negative zero"),
        ("FLOAT", "'-0.0'::FLOAT", "negative zero"),
        ("DATE", "'infinity'::DATE", "infinite"),
        ("TIMESTAMP", "'-infinity'::TIMESTAMP", "infinite"),
        ("TIMESTAMPTZ", "'infinity'::TIMESTAMPTZ", "infinite"),
    ],
)
def test_refused_with_an_explanation(lake, type_, value, words):
    table = new_table(lake, {"p": type_, "v": "BIGINT"}, partition_by="p")
    before = files_on_disk(table)
    with pytest.raises(lakehouse.DataError, match=words) as caught:
        table.append(lake.sql(f"SELECT {value} AS p, 1::BIGINT AS v").to_arrow_table())
    assert (caught.value.column, caught.value.count) == ("p", 1)
    assert (table.version, files_on_disk(table)) == (0, before)
    table.append([{"p": None, "v": 1}])
    assert ours(table)["p"].to_pylist() == [None]


@pytest.mark.parametrize("text", ["x" * 300, "é" * 60, "列" * 40])
def test_too_long_for_a_folder(lake, text):
    table = new_table(lake, {"p": "VARCHAR", "v": "BIGINT"}, partition_by="p")
    before = files_on_disk(table)
    with pytest.raises(lakehouse.DataError, match="too long to name a folder"):
        table.append([{"p": "fits", "v": 0}, {"p": text, "v": 1}])
    assert table.version == 0
    assert [path for path in files_on_disk(table) if path.endswith(".parquet")] == []
    assert ours(table).num_rows == 0
    assert before == [path for path in files_on_disk(table) if "p=" not in path]


def test_the_log_says_numbers_and_instants_as_java_reads_them(lake):
    table = new_table(
        lake, {"f": "DOUBLE", "t": "TIMESTAMPTZ", "v": "BIGINT"}, partition_by=["f", "t"]
    )
    instant = dt.datetime(2020, 1, 1, 2, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    for value in (math.nan, math.inf, -math.inf, 1e300):
        table.append([{"f": value, "t": instant, "v": 1}])
    log = Path(table.uri, "_delta_log")
    found = [
        json.loads(line)["add"]["partitionValues"]
        for path in sorted(log.glob("*.json"))
        for line in path.read_text().splitlines()
        if line.startswith('{"add"')
    ]
    assert [values["f"] for values in found] == ["NaN", "Infinity", "-Infinity", "1e+300"]
    assert {values["t"] for values in found} == {"2020-01-01T00:30:00Z"}


def test_the_session_time_zone_changes_no_value(tmp_path):
    with lakehouse.connect(tmp_path, duckdb_config={"TimeZone": "Asia/Kathmandu"}) as lake:
        table = lake.create_table(
            "bronze.t", {"p": "TIMESTAMPTZ", "v": "TIMESTAMPTZ"}, partition_by="p"
        )
        instant = dt.datetime(2020, 7, 1, 12, 0, 0, 1, tzinfo=dt.UTC)
        table.append([{"p": instant, "v": instant}])
        for read in (ours, *PEERS.values()):
            (row,) = read(table).to_pylist()
            assert (row["p"], row["v"]) == (instant, instant)
        sql = "SELECT 1 FROM bronze.t WHERE p = ? AND v = ?"
        assert len(lake.sql(sql, [instant, instant]).fetchall()) == 1


def same(left, right):
    return left == right or (left != left and right != right)


def files_on_disk(table):
    return sorted(str(path) for path in Path(table.uri).rglob("*"))
