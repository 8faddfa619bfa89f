"""A write stores exactly the values given, or raises and leaves the table as it was."""

import datetime as dt
import decimal
import math

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.testing import data_types, values
from tests.types.engines import comparable, effort, new_table, ours
from tests.write.log import on_disk

few = effort(0.5)
NOON = dt.datetime.fromisoformat("2020-01-01T12:00")
NS = 1_600_000_000_123_456_789


def refused(table, rows, *, column, **options):
    """Assert that an append and an overwrite fail alike and change nothing; return the error."""
    before = (table.version, on_disk(table), comparable(ours(table)))
    with pytest.raises(lakehouse.DataError) as caught:
        table.append(rows(), **options)
    with pytest.raises(lakehouse.DataError):
        table.overwrite(rows(), **options)
    assert (table.version, on_disk(table), comparable(ours(table))) == before
    assert caught.value.column == column
    assert column in str(caught.value)
    assert caught.value.next_step
    return caught.value


@pytest.mark.parametrize(
    ("target", "values_", "bad"),
    [
        ("BIGINT", [1.0, 1.9, 2.5], 2),
        ("BIGINT", [1.0, math.nan], 1),
        ("BIGINT", [2.0**63], 1),
        ("TINYINT", [127, 128, -129], 2),
        ("FLOAT", [0.5, 0.1], 1),
        ("FLOAT", [1e300], 1),
        ("FLOAT", [2**24, 2**24 + 1], 1),
        ("DOUBLE", [2**53, 2**53 + 1], 1),
        ("DECIMAL(5,2)", [decimal.Decimal("1.25"), decimal.Decimal("1.255")], 1),
        ("DECIMAL(5,2)", [decimal.Decimal("999.99"), decimal.Decimal("1000.00")], 1),
        ("DECIMAL(5,2)", [1000], 1),
        ("DECIMAL(5,2)", [0.1, 0.125], 1),
        ("DECIMAL(5,2)", [math.inf], 1),
        ("TIMESTAMP", pa.array([NS, NS // 1000 * 1000], pa.timestamp("ns")), 1),
    ],
)
def test_values_that_would_change(lake, target, values_, bad):
    data = pa.table({"ok": range(len(values_)), "v": values_})
    table = new_table(lake, {"ok": "BIGINT", "v": target})
    error = refused(table, lambda: data, column="v")
    assert error.count == bad
    assert 1 <= len(error.samples) <= 5
    streamed = refused(table, data.to_reader, column="v")
    assert streamed.samples


def test_nanoseconds_with_a_zone(lake):
    table = new_table(lake, {"v": "TIMESTAMPTZ"})
    exact = NS // 1000 * 1000
    type_ = pa.timestamp("ns", tz="Asia/Tokyo")
    refused(table, lambda: pa.table({"v": pa.array([exact, NS], type_)}), column="v")
    table.append(pa.table({"v": pa.array([exact], type_)}))
    (row,) = ours(table).to_pylist()
    assert row["v"] == dt.datetime(2020, 9, 13, 12, 26, 40, 123456, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("BIGINT", ""),
        ("BIGINT", "1"),
        ("DOUBLE", "1.5"),
        ("DECIMAL(5,2)", "1.50"),
        ("DATE", "2020-01-01"),
        ("TIMESTAMP", "2020-01-01"),
        ("BOOLEAN", "true"),
        ("BLOB", "ab"),
        ("VARCHAR", 1),
        ("VARCHAR", b"ab"),
        ("BIGINT", True),
        ("BOOLEAN", 1),
        ("DATE", NOON),
        ("TIMESTAMP", dt.date(2020, 1, 1)),
        ("TIMESTAMP", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
        ("TIMESTAMPTZ", NOON),
        ("BIGINT", dt.date(2020, 1, 1)),
        ("BIGINT[]", 1),
        ("BIGINT", [1]),
        ("STRUCT(a BIGINT)", [{"a": 1}]),
        ("STRUCT(a BIGINT)", {"a": "1"}),
        ("STRUCT(a BIGINT)", {"a": 1, "b": 2}),
        ("STRUCT(a BIGINT)[]", [{"a": True}]),
    ],
)
def test_types_that_do_not_fit(lake, target, value):
    table = new_table(lake, {"v": target})
    before = on_disk(table)
    with pytest.raises(lakehouse.DataError, match="v"):
        table.append([{"v": value}])
    assert (table.version, on_disk(table)) == (0, before)


@pytest.mark.parametrize(
    ("values_", "path"),
    [
        ([1, 1.5], "v"),
        ([1, "a"], "v"),
        ([True, 1.5], "v"),
        (["a", b"b"], "v"),
        ([dt.date(2020, 1, 1), NOON], "v"),
        ([NOON, dt.datetime(2020, 1, 1, tzinfo=dt.UTC)], "v"),
        ([[dt.date(2020, 1, 1)], [NOON]], "v.element"),
        ([{"a": True}, {"a": 2}], "v.a"),
        (["\ud800"], "v"),
        ([2**200], "v"),
    ],
)
def test_python_values_of_no_one_type(lake, values_, path):
    rows = [{"v": value} for value in values_]
    for schema in ({"v": "VARCHAR"}, {"v": "BIGINT"}, {"v": "TIMESTAMP"}):
        table = new_table(lake, schema)
        error = refused(table, lambda: rows, column=path if values_ != [1, 1.5] else "v")
        assert error.next_step


@few
@given(data=st.data(), source=data_types(), target=data_types())
def test_any_type_into_any_other(lake, data, source, target):
    """Whatever is accepted reads back equal, as far as the two types can be compared."""
    found = data.draw(st.lists(st.none() | values(source), min_size=1, max_size=4))
    table = new_table(lake, pa.schema([("v", target)]))
    rows = pa.table({"v": pa.array(found, source)})
    before = on_disk(table)
    refusal = None
    try:
        table.append(rows)
    except lakehouse.DataError as error:
        refusal = error
    if refusal is not None:
        assert str(refusal.column).split(".")[0] == "v"
        assert (table.version, on_disk(table)) == (0, before)
        return
    got = ours(table)["v"].to_pylist()
    assert sorted(map(repr, map(loose, got))) == sorted(map(repr, map(loose, found)))


def loose(value):
    """Return a value in a form that is the same in all types that can hold it."""
    if isinstance(value, bool) or value is None or isinstance(value, str | bytes):
        return value
    if isinstance(value, int | float | decimal.Decimal):
        number = float(value)
        return "nan" if math.isnan(number) else value if math.isinf(number) else exact(value)
    if isinstance(value, dt.datetime) and value.tzinfo:
        return value.astimezone(dt.UTC).isoformat()
    if isinstance(value, dict):
        # Fields match by name, whatever their order and case; those that lack are NULL.
        items = {key.lower(): loose(child) for key, child in value.items() if child is not None}
        return tuple(sorted(items.items()))
    if isinstance(value, list):
        return [loose(item) for item in value]
    if isinstance(value, tuple):
        return tuple(loose(item) for item in value)
    return value


def exact(value):
    numerator, denominator = value.as_integer_ratio()
    # A decimal and the double nearest to it are taken as one: 0.1 fits both.
    return (numerator, denominator) if denominator == 1 else repr(float(value))


REQUIRED: dict[str, tuple[pa.Field, list[dict]]] = {
    "v": (pa.field("v", pa.int64(), nullable=False), [{"v": None}]),
    "s.a": (
        pa.field("s", pa.struct([pa.field("a", pa.int64(), nullable=False)])),
        [{"s": {"a": None}}],
    ),
    "l": (
        pa.field("l", pa.list_(pa.field("element", pa.int64(), nullable=False))),
        [{"l": [1, None]}],
    ),
    "m": (
        pa.field("m", pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False))),
        [{"m": [("k", None)]}],
    ),
    "deep": (
        pa.field(
            "deep",
            pa.list_(pa.struct([pa.field("a", pa.struct([pa.field("b", pa.int64(), False)]))])),
        ),
        [{"deep": [{"a": {"b": 1}}, {"a": {"b": None}}]}],
    ),
}


@pytest.mark.parametrize("case", REQUIRED)
def test_null_where_it_must_not_be(lake, case):
    field, rows = REQUIRED[case]
    loose_type = {
        "v": pa.int64(),
        "s.a": pa.struct([("a", pa.int64())]),
        "l": pa.list_(pa.int64()),
        "m": pa.map_(pa.string(), pa.int64()),
        "deep": pa.list_(pa.struct([("a", pa.struct([("b", pa.int64())]))])),
    }[case]
    table = new_table(lake, pa.schema([("id", pa.int64()), field]))
    filled = pa.Table.from_pylist(
        [{"id": 1, **rows[0]}], schema=pa.schema([("id", pa.int64()), (field.name, loose_type)])
    )
    error = refused(table, lambda: filled, column=field.name)
    assert "NULL" in str(error)
    if case != "v":
        table.append([{"id": 1, field.name: None}])  # the parent may be NULL
        assert ours(table).num_rows == 1


def test_columns(lake):
    table = new_table(lake, {"a": "BIGINT", "b": "BIGINT NOT NULL"})
    missing = refused(table, lambda: [{"a": 1}], column="b")
    assert "NOT NULL" in str(missing)
    table_ = new_table(lake, {"distance": "BIGINT"})
    extra = refused(table_, lambda: [{"distance": 1, "distence": 1}], column="distence")
    assert extra.near == ("distance",)
    twice = pa.table([pa.array([1])] * 3, names=["a", "b", "B"])
    for mode in ("strict", "add"):
        refused(table, lambda: twice, column="B", schema_mode=mode)
    refused(table, lambda: pd.DataFrame([[1, 2]], columns=["b", "b"]), column="b")
    table.append([{"B": 2, "A": 1}])
    assert ours(table).to_pylist() == [{"a": 1, "b": 2}]


def test_case_decides_between_no_two_columns(lake):
    with pytest.raises(lakehouse.InputError, match="case"):
        new_table(lake, {"x": "BIGINT", "X": "BIGINT"})


def test_rows_without_columns(lake):
    table = new_table(lake, {"a": "BIGINT NOT NULL"})
    assert table.append([]).rows == 0
    with pytest.raises(lakehouse.DataError, match="no columns"):
        table.append([{}, {}])
    table.append([{"a": 1}])
    assert table.overwrite([]).files_removed == 1
    assert ours(table).num_rows == 0


def test_what_is_no_rows(lake):
    table = new_table(lake, {"a": "BIGINT"})
    for wrong in (1, "a", None, [1], [("a", 1)], pl.LazyFrame({"a": [1]}), {"a": [1], "b": []}):
        with pytest.raises(lakehouse.InputError):
            table.append(wrong)
    assert table.version == 0


def test_a_stream_that_breaks_leaves_nothing(lake):
    table = new_table(lake, {"a": "BIGINT"})
    schema = pa.schema([("a", pa.int64())])

    def batches():
        yield pa.record_batch([list(range(200_000))], schema=schema)
        raise RuntimeError("the source broke")

    before = on_disk(table)
    with pytest.raises((lakehouse.LakehouseError, RuntimeError), match="the source broke"):
        table.append(pa.RecordBatchReader.from_batches(schema, batches()))
    assert (table.version, on_disk(table)) == (0, before)


@pytest.mark.parametrize("chunk", [1, 3])
def test_slices_of_structs_in_structs(lake, chunk):
    """DuckDB 1.5 reads other rows of such slices, and DuckDB 2 refuses them."""
    inner = pa.struct([("a", pa.struct([("b", pa.int64())])), ("l", pa.list_(pa.int64()))])
    data = pa.table(
        {
            "id": pa.chunked_array([[0, 1], [2, 3, 4, 5, 6, 7, 8, 9]]),
            "s": pa.array([{"a": {"b": i} if i % 3 else None, "l": [i]} for i in range(10)], inner),
        }
    )
    parts = data.to_batches(max_chunksize=chunk)
    table = new_table(lake, data.schema)
    table.append(data)
    table.append(data.slice(3, 5))
    table.append(pa.RecordBatchReader.from_batches(data.schema, parts))
    table.append(parts[2])
    expected = [data, data.slice(3, 5), data, pa.Table.from_batches([parts[2]])]
    assert comparable(ours(table)) == comparable(pa.concat_tables(expected))


def test_a_column_named_like_a_map_entry(lake):
    # DuckDB took x.key for the field of the column x.
    entry = pa.struct([("key", pa.string()), ("value", pa.int64())])
    given = pa.table(
        {
            "X": pa.array([{"key": "column", "value": 9}], entry),
            "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    table = new_table(
        lake, {"X": "STRUCT(key VARCHAR, value BIGINT)", "m": "MAP(VARCHAR, INTEGER)"}
    )
    table.append(given)
    assert table.read().fetchall() == [({"key": "column", "value": 9}, {"a": 1})]
    over = given.set_column(1, "m", pa.array([[("a", 2**40)]], given.schema.field("m").type))
    refused(table, lambda: over, column="m")
