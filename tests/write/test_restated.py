"""Statistics of a file of which some columns were written anew."""

import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Decimal as DecimalType
from lakehouse.delta.schema.fields import Field, Primitive, Struct
from lakehouse.duck.engine import Engine
from lakehouse.duck.parquet import write_file
from lakehouse.write.restated import restated, together
from lakehouse.write.statistics import statistics

EARLY = dt.datetime.fromisoformat("1900-01-01")
TYPES = {
    "b": ("byte", pa.int8(), st.integers(-128, 127)),
    "i": ("integer", pa.int32(), st.integers(-1000, 1000)),
    "l": ("long", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "f": ("float", pa.float32(), st.floats(width=32)),
    "d": ("double", pa.float64(), st.floats()),
    "s": ("string", pa.string(), st.text(max_size=40)),
    "day": ("date", pa.date32(), st.dates(dt.date(1, 1, 1))),
    "at": (
        "timestamp",
        pa.timestamp("us", "UTC"),
        st.datetimes(EARLY, timezones=st.just(dt.UTC)),
    ),
    "ntz": ("timestamp_ntz", pa.timestamp("us"), st.datetimes(EARLY)),
    "flag": ("boolean", pa.bool_(), st.booleans()),
    "bytes": ("binary", pa.binary(), st.binary(max_size=3)),
    "price": (
        None,
        pa.decimal128(9, 2),
        st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: Decimal(n).scaleb(-2)),
    ),
}
SCHEMA = Struct(
    tuple(
        Field(name, DecimalType(9, 2) if type_ is None else Primitive(type_))
        for name, (type_, _, _) in TYPES.items()
    )
)
ARROW = pa.schema([(name, type_) for name, (_, type_, _) in TYPES.items()])
LAYOUT = Layout(SCHEMA, ())
ROWS = st.lists(
    st.fixed_dictionaries({n: st.none() | values for n, (_, _, values) in TYPES.items()}),
    min_size=1,
    max_size=4,
)
few = settings(max_examples=settings().max_examples // 6)


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


@few
@given(groups=st.lists(ROWS, min_size=1, max_size=4))
def test_parts_together_are_a_whole(engine, groups):
    def written(name, rows, columns="*"):
        with engine.scratch() as folder, engine.work("write") as cursor:
            cursor.register("given_rows", pa.Table.from_pylist(rows, ARROW))
            (file,) = write_file(cursor, f"SELECT {columns} FROM given_rows", str(folder / name))
        return file

    parts = [written(f"{i}", rows) for i, rows in enumerate(groups)]
    whole = written("whole", [row for rows in groups for row in rows])
    found = json.loads(statistics(together(parts, LAYOUT), LAYOUT, {}))
    assert found == json.loads(statistics(whole, LAYOUT, {}))

    old = written("old", [{"l": 7, "f": 0.5, "price": Decimal("0.1")}] * whole.rows)
    new = written("new", [row for rows in groups for row in rows], "l, s")
    had = json.loads(statistics(old, LAYOUT, {}))
    made = json.loads(restated(statistics(old, LAYOUT, {}), new, {"l", "s"}, LAYOUT, {}))
    assert made.pop("numRecords") == whole.rows
    for section, values in made.items():
        kept = {name: v for name, v in had.get(section, {}).items() if name not in ("l", "s")}
        fresh = {name: v for name, v in found.get(section, {}).items() if name in ("l", "s")}
        assert values == kept | fresh, section


@pytest.mark.parametrize(
    "stats",
    [
        None, "", "[]", "7", "{}", '{"numRecords":2}', '{"numRecords":1,"minValues":3}',
        '{"numRecords":1,"minValues":{"d":NaN}}', '{"numRecords":1,"more":[0.5]}',
    ],
)  # fmt: skip
def test_statistics_that_cannot_be_read(engine, stats):
    with engine.scratch() as folder, engine.work("write") as cursor:
        (file,) = write_file(cursor, "SELECT 1::BIGINT AS l", str(folder / "one"))
    with pytest.raises(ValueError, match=r"of rows|form|number|value"):
        restated(stats, file, {"l"}, LAYOUT, {})


def test_what_stays_is_not_rounded(engine):
    with engine.scratch() as folder, engine.work("write") as cursor:
        (file,) = write_file(cursor, "SELECT 1::BIGINT AS l", str(folder / "one"))
    old = (
        '{"numRecords":1,"minValues":{"price":1234567890123456789.12,"d":-0.0},'
        '"maxValues":{"l":5},"nullCount":{"l":0},"tightBounds":true,"new":"é"}'
    )
    assert restated(old, file, {"l"}, LAYOUT, {}) == (
        '{"numRecords":1,"minValues":{"price":1234567890123456789.12,"d":-0.0,"l":1},'
        '"maxValues":{"l":1},"nullCount":{"l":0},"tightBounds":true,"new":"é"}'
    )
