"""Parameters are written as literals: the same value, of the same type, as DuckDB binds."""

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.lake.statements.parameters import inlined, value_sql

CONNECTION = duckdb.connect()
CONNECTION.execute("SET TimeZone = 'UTC'")
MOMENTS = st.datetimes(datetime(1600, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**127) + 1, 2**127 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
    st.binary(max_size=8),
    st.decimals(min_value=-(10**15), max_value=10**15, places=4),
    st.dates(min_value=date(1600, 1, 1)),
    MOMENTS,
    MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    MOMENTS.map(lambda moment: moment.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    st.times(),
    st.timedeltas(timedelta(-999), timedelta(999)),
    st.uuids(),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(st.integers(-5, 5) | st.none(), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(("a", "it's", "b c")), st.text(max_size=3), min_size=1),
)


@given(VALUES)
def test_a_literal_is_what_the_parameter_is(value):
    text, bound = (
        CONNECTION.execute(f"SELECT x, typeof(x) FROM (SELECT {sql} AS x)", params).fetchone()
        for sql, params in ((value_sql(value), None), ("?", [value]))
    )
    assert text is not None
    assert bound is not None
    assert text[0] == bound[0]
    if not isinstance(value, int | Decimal):  # the narrowest type that holds it differs
        assert text[1] == bound[1]


@given(st.lists(SCALARS, min_size=1, max_size=4))
def test_each_value_goes_to_its_own_place(values):
    marks = ", ".join(f"(${number + 1})::VARCHAR" for number in range(len(values)))
    expected = ", ".join(f"({value_sql(value)})::VARCHAR" for value in values)
    sql = f"SELECT '?$1', {marks} -- ? $1"
    assert inlined(sql, values) == f"SELECT '?$1', {expected} -- ? $1"


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, {}, {"a"}, time(1, tzinfo=UTC), 2**127, Decimal(10) ** 40,
     np.datetime64("2024-01-01", "ns")],
)  # fmt: skip
def test_other_values_are_refused(value):
    with pytest.raises(lakehouse.InputError, match="a parameter cannot be"):
        value_sql(value)


@pytest.mark.parametrize("value", [pd.Timestamp("2024-01-01 00:00:00.000000001"), "\ud800"])
def test_values_that_would_change_are_refused(value):
    with pytest.raises(lakehouse.InputError, match=r"nanoseconds|not Unicode"):
        value_sql(value)


def test_subclasses_are_what_they_hold():
    class Colour(int, enum.Enum):
        RED = 3

    values = [Colour.RED, np.float64(0.1), np.int8(-3), np.bool_(True), pd.Timestamp("2024-01-31")]
    assert [value_sql(value) for value in values] == [
        "3",
        "CAST('0.1' AS DOUBLE)",
        "(-3)",
        "true",
        "CAST('2024-01-31 00:00:00' AS TIMESTAMP)",
    ]


def test_special_values():
    rows = CONNECTION.execute(
        f"SELECT isnan({value_sql(float('nan'))}), {value_sql(float('-inf'))}, "
        f"{value_sql(Decimal('1E+3'))}, {value_sql(uuid.UUID(int=1))}::VARCHAR"
    ).fetchall()
    assert rows == [(True, float("-inf"), Decimal(1000), str(uuid.UUID(int=1)))]
