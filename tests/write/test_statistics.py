"""Statistics in add actions agree with the data, whoever reads them."""

import datetime as dt
import decimal
import math

import pyarrow as pa
import pytest
from hypothesis import given

from lakehouse.testing import rows, schemas
from tests.types.engines import effort, new_table
from tests.write.log import adds

few = effort(0.25)


@few
@given(data=schemas(max_columns=6).flatmap(lambda schema: rows(schema, min_rows=1, max_rows=8)))
def test_agree_with_the_data(lake, data):
    table = new_table(lake, data.schema)
    table.append(data)
    (add,) = adds(table)
    stats = add["stats"]
    assert stats["numRecords"] == data.num_rows
    found = dict(leaves(data))
    for path, (type_, column) in found.items():
        low, high = lookup(stats["minValues"], path), lookup(stats["maxValues"], path)
        nulls = lookup(stats["nullCount"], path)
        if nulls is not None:
            assert nulls == sum(value is None for value in column), path
        assert (low is None) == (high is None), path
        values = [value for value in column if value is not None]
        if not values or pa.types.is_nested(type_):
            assert low is None, path
            continue
        assert nulls is not None
        if pa.types.is_floating(type_) and any(not math.isfinite(value) for value in values):
            assert low is None, path
            continue
        if pa.types.is_binary(type_) or pa.types.is_boolean(type_):
            assert low is None, path
        elif low is None:
            # Only a text has no bound of 32 characters above it.
            assert max(values) > "\U0010ffff" * 32, path
        else:
            check(type_, low, high, values)
    named = {*paths(stats["minValues"]), *paths(stats["nullCount"])}
    assert named <= found.keys()


def check(type_, low, high, values):
    least, most = min(values), max(values)
    if pa.types.is_string(type_):
        assert len(low) <= 32
        assert len(high) <= 32
        assert low.encode() <= least.encode()
        assert most.encode() <= high.encode()
        assert low == least[:32]
        assert high == most or len(most) > 32
    elif pa.types.is_timestamp(type_):
        assert moment(low) == naive(least)
        assert moment(high) == naive(most)
        assert low.endswith("Z") == high.endswith("Z") == (type_.tz is not None)
    elif pa.types.is_date(type_):
        assert (low, high) == (least.isoformat(), most.isoformat())
    elif pa.types.is_floating(type_):
        assert (narrow(type_, low), narrow(type_, high)) == (least, most)
    else:
        assert (decimal.Decimal(low), decimal.Decimal(high)) == (least, most)


def test_forty_columns_index_the_first_32(lake):
    schema = {f"c{i}": "BIGINT" for i in range(40)}
    rows_ = [{f"c{i}": i for i in range(40)}]
    for properties, count in (
        ({}, 32),
        ({"delta.dataSkippingNumIndexedCols": 3}, 3),
        ({"delta.dataSkippingNumIndexedCols": 0}, 0),
        ({"delta.dataSkippingNumIndexedCols": -1}, 40),
    ):
        table = new_table(lake, schema, properties=properties)
        table.append(rows_)
        (add,) = adds(table)
        wanted = [f"c{i}" for i in range(count)]
        for kind in ("minValues", "maxValues", "nullCount"):
            assert list(add["stats"][kind]) == wanted, properties
        assert add["stats"]["numRecords"] == 1
        assert len(table.read(where="c39 = 39 AND c2 = 2 AND c0 = 0").fetchall()) == 1


def test_partition_columns_have_none(lake):
    table = new_table(lake, {"p": "BIGINT", "v": "BIGINT"}, partition_by="p")
    table.append([{"p": 1, "v": 2}, {"p": 2, "v": 3}])
    for add in adds(table):
        assert list(add["stats"]["minValues"]) == ["v"]
        assert list(add["stats"]["nullCount"]) == ["v"]


def test_negative_and_wide_decimals_are_exact_numbers(lake):
    top = decimal.Decimal(10**38 - 1).scaleb(-10, decimal.Context(prec=40))
    table = new_table(lake, {"d": "DECIMAL(38,10)"})
    table.append(pa.table({"d": pa.array([top.copy_negate(), top], pa.decimal128(38, 10))}))
    (add,) = adds(table)
    # Kept as text by parse_float: JSON numbers with all of their digits.
    assert (add["stats"]["minValues"]["d"], add["stats"]["maxValues"]["d"]) == (
        f"-{top:f}",
        f"{top:f}",
    )


@pytest.mark.parametrize("long", ["z" * 20_000, "\U0010ffff" * 5_000])
def test_several_row_groups_of_which_one_has_long_texts(lake, long):
    values = ["a"] * 130_000 + [long] + ["b"] * 130_000
    table = new_table(lake, {"s": "VARCHAR"})
    table.append(pa.table({"s": values}))
    (add,) = adds(table)
    assert add["stats"]["numRecords"] == len(values)
    high = add["stats"]["maxValues"].get("s")
    assert high is None or high.encode() >= long.encode()
    assert len(table.read(where="s >= 'y'").fetchall()) == 1


def test_infinite_times_are_refused_at_any_depth(lake):
    for sql in (
        "'infinity'::DATE",
        "'-infinity'::TIMESTAMP",
        "{'a': {'b': 'infinity'::TIMESTAMPTZ}}",
    ):
        data = lake.sql(f"SELECT {sql} AS v")
        table = new_table(lake, data)
        with pytest.raises(ValueError, match="infinite"):
            table.append(lake.sql(f"SELECT {sql} AS v"))
        assert (table.version, adds(table)) == (0, [])


def leaves(data):
    for field, column in zip(data.schema, data.columns, strict=True):
        yield from leaf((field.name,), field.type, column.to_pylist())


def leaf(path, type_, column):
    if not pa.types.is_struct(type_):
        yield path, (type_, column)
        return
    for field in type_.fields:
        inner = [None if value is None else value[field.name] for value in column]
        yield from leaf((*path, field.name), field.type, inner)


def lookup(tree, path):
    for name in path:
        if not isinstance(tree, dict) or name not in tree:
            return None
        tree = tree[name]
    return tree


def paths(tree, above=()):
    for name, child in tree.items():
        if isinstance(child, dict):
            yield from paths(child, (*above, name))
        else:
            yield (*above, name)


def moment(text):
    return dt.datetime.fromisoformat(text.removesuffix("Z"))


def naive(value):
    return value.replace(tzinfo=None)


def narrow(type_, number):
    return pa.scalar(float(number), pa.float64()).cast(type_).as_py()
