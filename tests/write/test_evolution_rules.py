"""How a schema changes to take rows, by mode: the pure rules."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta.schema.fields import Array, Decimal, Field, Primitive, Struct
from lakehouse.delta.schema.types import schema_from_arrow
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import register
from lakehouse.testing import schemas
from lakehouse.write.evolution import Misfits, evolved
from lakehouse.write.gate import gate
from tests.types.engines import effort

LONG, INTEGER = Primitive("long"), Primitive("integer")


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


def columns(engine, schema):
    with engine.work("look at columns") as cursor:
        return register(cursor, schema.empty_table()).columns


@st.composite
def pairs(draw):
    """Draw a table's schema, and rows' schema with the same columns and others, in any order."""
    schema, other = draw(schemas(max_columns=3)), draw(schemas(max_columns=3))
    names = {name.lower() for name in schema.names}
    fields = [*schema, *(field for field in other if field.name.lower() not in names)]
    return schema, pa.schema(draw(st.permutations(fields)))


@effort(0.5)
@given(pair=pairs(), mode=st.sampled_from(["add", "widen"]))
def test_columns_are_added_and_none_is_touched(engine, pair, mode):
    schema, source = schema_from_arrow(pair[0]), columns(engine, pair[1])
    after = evolved(schema, source, mode=mode)
    assert after.fields[: len(schema.fields)] == schema.fields
    assert {name.lower() for name in after.names()} == {name.lower() for name in pair[1].names}
    assert gate(source, after).schema == after  # the rows fit now
    assert evolved(after, source, mode=mode) == after
    assert evolved(schema, source, mode="strict") == schema


def one(engine, type_, arrow, mode="widen", **misfits):
    source = columns(engine, pa.schema([("a", arrow)]))
    found = Misfits(**{kind: frozenset(names) for kind, names in misfits.items()})
    return evolved(Struct((Field("a", type_, nullable=False),)), source, mode=mode, misfits=found)


def test_a_type_widens_where_values_do_not_fit_and_not_before(engine):
    assert one(engine, INTEGER, pa.int64()).fields[0].type == INTEGER
    assert one(engine, INTEGER, pa.int64(), values={"a"}).fields[0].type == LONG
    assert one(engine, INTEGER, pa.int64(), mode="add", values={"a"}).fields[0].type == INTEGER
    decimal = one(engine, Decimal(5, 2), pa.decimal128(6, 4), values={"a"})
    assert decimal.fields[0].type == Decimal(7, 4)
    # No type holds both: the gate refuses the rows.
    assert one(engine, LONG, pa.float64(), values={"a"}).fields[0].type == LONG
    assert one(engine, LONG, pa.string()).fields[0].type == LONG


def test_a_date_becomes_a_timestamp_where_rows_have_times(engine):
    after = one(engine, Primitive("date"), pa.timestamp("us"))
    assert after.fields[0].type == Primitive("timestamp_ntz")


def test_not_null_gives_way_in_mode_widen_only(engine):
    assert one(engine, INTEGER, pa.int32(), nulls={"a"}).fields[0].nullable
    assert not one(engine, INTEGER, pa.int32()).fields[0].nullable
    required = Struct((Field("a", LONG), Field("b", LONG, nullable=False)))
    source = columns(engine, pa.schema([("a", pa.int64())]))
    assert not evolved(required, source, mode="add").fields[1].nullable
    assert evolved(required, source, mode="widen").fields[1].nullable


def test_fields_are_added_and_widened_at_any_depth(engine):
    schema = Struct((Field("a", Array(Struct((Field("x", INTEGER),)))),))
    rows = pa.struct([("y", pa.string()), ("X", pa.int64())])
    source = columns(engine, pa.schema([("a", pa.list_(rows))]))
    added = evolved(schema, source, mode="add").fields[0].type
    assert added == Array(Struct((Field("x", INTEGER), Field("y", Primitive("string")))))
    found = Misfits(values=frozenset("a"))
    widened = evolved(schema, source, mode="widen", misfits=found).fields[0].type
    assert widened == Array(Struct((Field("x", LONG), Field("y", Primitive("string")))))
