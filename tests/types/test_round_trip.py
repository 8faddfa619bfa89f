"""Every type, however the rows arrive, comes back with the same values in every engine."""

import datetime as dt
import decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.testing import rows, schemas, values
from lakehouse.testing.schemas import AWKWARD_NAMES, PRIMITIVES
from tests.types.engines import PEERS, comparable, effort, new_table, ours

few = effort(0.1)
wall = dt.datetime.fromisoformat
WIDE = (*PRIMITIVES, pa.decimal128(1, 1), pa.decimal128(18, 3), pa.decimal128(38, 0),
        pa.decimal128(38, 38))  # fmt: skip


def drawn(**options) -> st.SearchStrategy[pa.Table]:
    return schemas(**options).flatmap(rows)


def check(lake, table, expected):
    wanted = comparable(expected)
    assert comparable(ours(table)) == wanted
    assert comparable(lake.sql(f"SELECT * FROM {table.name}").to_arrow_table()) == wanted
    for name, read in PEERS.items():
        assert comparable(read(table)) == wanted, name


@few
@given(data=drawn())
def test_arrow(lake, data):
    table = new_table(lake, data.schema)
    report = table.append(data)
    assert report.rows == data.num_rows
    assert table.schema.types == [as_delta(type_) for type_ in data.schema.types]
    check(lake, table, data)


@pytest.mark.parametrize("type_", WIDE, ids=str)
@effort(0.05)
@given(data=st.data())
def test_each_primitive_in_one_file(lake, type_, data):
    column = data.draw(st.lists(st.none() | values(type_), min_size=5, max_size=30))
    inner = pa.struct([("l", pa.list_(type_)), ("m", pa.map_(pa.string(), type_)), ("v", type_)])
    nested = [{"l": [value], "m": [("k", value)], "v": value} for value in column]
    table = pa.table({"flat": pa.array(column, type_), "nested": pa.array(nested, inner)})
    stored = new_table(lake, table.schema)
    stored.append(table)
    check(lake, stored, table)


@few
@given(data=drawn())
def test_readers_and_batches(lake, data):
    table = new_table(lake, data.schema)
    table.append(pa.RecordBatchReader.from_batches(data.schema, data.to_batches(max_chunksize=1)))
    for batch in data.to_batches(max_chunksize=2):
        table.append(batch)
    check(lake, table, pa.concat_tables([data, data]))


@few
@given(data=drawn())
def test_a_relation_of_the_lake(lake, data):
    first, second = new_table(lake, data.schema), new_table(lake, data.schema)
    first.append(data)
    second.append(first.read())
    third = new_table(lake, second.read())
    third.append(lake.sql(f"SELECT * FROM {second.name}"))
    check(lake, third, data)


@few
@given(data=drawn(nested=False))
def test_polars(lake, data):
    frame = pl.from_arrow(data)
    table = new_table(lake, data.schema)
    table.append(frame)
    check(lake, table, data)


@few
@given(data=drawn(nested=False))
def test_pandas_with_arrow_types(lake, data):
    frame = data.to_pandas(types_mapper=pd.ArrowDtype)
    table = new_table(lake, data.schema)
    table.append(frame)
    check(lake, table, data)


def test_pandas_as_pandas_means_it(lake):
    """Pandas has NaN for missing numbers: they become NULL."""
    frame = pd.DataFrame(
        {
            "n": [1.5, float("nan")],
            "t": pd.to_datetime(["2024-02-29 12:00:00.000001", None]),
            "s": ["a", None],
            "o": pd.Series([True, float("nan")], dtype=object),
            "c": pd.Categorical(["x", "x"]),
        }
    )
    table = new_table(lake, frame)
    table.append(frame)
    assert ours(table).to_pylist() == [
        {"n": 1.5, "t": wall("2024-02-29T12:00:00.000001"), "s": "a", "o": True, "c": "x"},
        {"n": None, "t": None, "s": None, "o": None, "c": "x"},
    ]


@few
@given(data=drawn(nested=False, min_columns=2))
def test_dicts(lake, data):
    dicts = [
        # A key may be missing where the value is NULL.
        {name: value for name, value in row.items() if value is not None or index % 2}
        for index, row in enumerate(data.to_pylist())
    ]
    table = new_table(lake, data.schema)
    # A Python float is a double; only those that a FLOAT column holds exactly are drawn.
    table.append([row for row in dicts if row])
    kept = [row for row, short in zip(data.to_pylist(), dicts, strict=True) if short]
    check(lake, table, pa.Table.from_pylist(kept, schema=data.schema))


def test_dicts_with_nested_values(lake):
    schema = pa.schema(
        [("l", pa.list_(pa.struct([("a", pa.int64()), ("b", pa.string())]))), ("n", pa.string())]
    )
    rows_ = [{"l": [{"a": 1}, {"b": "x"}, None], "n": None}, {"l": []}, {"l": None, "n": "y"}]
    table = new_table(lake, schema)
    table.append(rows_)
    check(lake, table, pa.Table.from_pylist(rows_, schema=schema))


@pytest.mark.parametrize("name", AWKWARD_NAMES, ids=lambda name: ascii(name)[:20])
def test_awkward_names_at_the_top_and_inside(lake, name):
    inner = pa.struct([(name, pa.int64()), ("other", pa.int64())])
    schema = pa.schema([(name, pa.int64()), ("nested", inner), ("many", pa.list_(inner))])
    row = {name: 7, "nested": {name: 3, "other": None}, "many": [{name: 1, "other": 2}]}
    data = pa.Table.from_pylist([row, dict.fromkeys(row)], schema=schema)
    table = new_table(lake, schema)
    table.append(data)
    check(lake, table, data)
    quoted = '"' + name.replace('"', '""') + '"'
    for column, value in ((quoted, 7), (f"nested.{quoted}", 3)):
        assert len(table.read(where=f"{column} = {value}").fetchall()) == 1
        assert table.read(where=f"{column} = 99").fetchall() == []
    assert table.read(columns=[name]).to_arrow_table().to_pylist() == [{name: 7}, {name: None}]
    (seen,) = lake.explain(f"SELECT * FROM {table.name} WHERE {quoted} = 99").tables
    # A plan does not tell such names of nested fields from its own text: nothing is pruned then.
    assert seen.files_kept == 0 or name.isspace() or "\n" in name


def test_empty_tables(lake):
    schema = pa.schema([(f"c{i}", type_) for i, type_ in enumerate(WIDE)])
    table = new_table(lake, schema)
    nothings: list = [[], schema.empty_table(), pl.DataFrame(schema.empty_table())]
    for nothing in nothings:
        assert table.append(nothing).rows == 0
    assert table.version == 0
    check(lake, table, schema.empty_table())


def test_types_that_delta_lacks_become_the_smallest_that_holds_them(lake):
    data = pa.table(
        {
            "u8": pa.array([255], pa.uint8()),
            "u16": pa.array([65535], pa.uint16()),
            "u32": pa.array([2**32 - 1], pa.uint32()),
            "u64": pa.array([2**64 - 1], pa.uint64()),
            "half": pa.array([1.5], pa.float16()),
            "ls": pa.array(["x"], pa.large_string()),
            "view": pa.array(["x"], pa.string_view()),
            "dict": pa.array(["x"]).dictionary_encode(),
            "fixed": pa.array([[1, 2]], pa.list_(pa.int64(), 2)),
            "seconds": pa.array([1], pa.timestamp("s")),
            "d64": pa.array([dt.date(2024, 2, 29)], pa.date64()),
            "d256": pa.array([decimal.Decimal("1.5")], pa.decimal256(10, 2)),
        }
    )
    made = [
        new_table(lake, data.schema.remove(11)),  # decimal256 has no Delta type of its own
        new_table(lake, data),
    ]
    for table in made:
        table.append(data.select(table.schema.names))
        (row,) = ours(table).to_pylist()
        assert (row["u8"], row["u16"], row["u32"]) == (255, 65535, 2**32 - 1)
        assert row["u64"] == decimal.Decimal(2**64 - 1)
        assert (row["half"], row["ls"], row["view"], row["dict"]) == (1.5, "x", "x", "x")
        assert row["fixed"] == [1, 2]
        assert row["seconds"] == wall("1970-01-01T00:00:01")
        assert row["d64"] == dt.date(2024, 2, 29)


def as_delta(type_: pa.DataType) -> pa.DataType:
    """Return a type with the names that Delta gives to the parts of lists and maps."""
    if pa.types.is_list(type_):
        return pa.list_(pa.field("element", as_delta(type_.value_type)))
    if pa.types.is_map(type_):
        return pa.map_(as_delta(type_.key_type), as_delta(type_.item_type))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, as_delta(field.type)) for field in type_.fields])
    return type_
