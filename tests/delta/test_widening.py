"""Which types widen to which, and what the schema says of it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta.schema.fields import (
    Array,
    Decimal,
    Field,
    Map,
    Primitive,
    Struct,
    schema_from_json,
)
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.schema.widening import is_widening, joined, with_type_changes
from lakehouse.duck.describe import DuckType
from lakehouse.write.fit import always_exact

NUMBERS = [Primitive(n) for n in ("byte", "short", "integer", "long", "float", "double")]
OTHERS = [Primitive(n) for n in ("string", "boolean", "binary", "date", "timestamp")]


@st.composite
def decimals(draw):
    precision = draw(st.integers(1, 38))
    return Decimal(precision, draw(st.integers(0, precision)))


numbers = st.sampled_from(NUMBERS) | decimals()
leaves = numbers | st.sampled_from(OTHERS)


def holds(wide, narrow):
    """Tell whether every value of one type is one of the other's, by the gate's own rule."""
    text = to_duckdb(narrow)
    scale = (narrow.precision, narrow.scale) if isinstance(narrow, Decimal) else (0, 0)
    name = "decimal" if isinstance(narrow, Decimal) else text.lower()
    return wide == narrow or always_exact(DuckType(name, text, (), *scale), wide)


@given(numbers, numbers)
def test_a_joined_type_holds_both_and_is_one_that_the_protocol_lets_the_first_become(a, b):
    both = joined(a, b)
    if both is not None:
        assert both == a or is_widening(a, both)
        assert holds(both, a)
        assert holds(both, b)


@given(leaves, leaves)
def test_joining_again_changes_nothing(a, b):
    both = joined(a, b)
    if both is not None:
        assert joined(both, b) == both
        assert joined(both, both) == both


@given(leaves, leaves, leaves)
def test_widening_is_a_strict_order(a, b, c):
    assert not is_widening(a, a)
    assert not (is_widening(a, b) and is_widening(b, a))
    if is_widening(a, b) and is_widening(b, c):
        assert a != c


@given(numbers, numbers)
def test_a_widening_loses_no_value(a, b):
    if is_widening(a, b):
        assert holds(b, a)


def test_text_is_no_number_and_a_long_is_no_double():
    assert joined(Primitive("integer"), Primitive("string")) is None
    assert joined(Primitive("long"), Primitive("double")) is None
    assert joined(Primitive("string"), Primitive("integer")) is None
    assert joined(Decimal(38, 0), Decimal(10, 5)) is None


def test_changes_are_recorded_at_the_nearest_field():
    def schema(leaf):
        inner = Struct((Field("x", leaf),))
        return Struct(
            (
                Field("plain", leaf),
                Field("lists", Array(Array(leaf))),
                Field("maps", Map(leaf, inner)),
            )
        )

    new = with_type_changes(schema(Primitive("integer")), schema(Primitive("long")))
    change = {"fromType": "integer", "toType": "long"}
    found = {f["name"]: f for f in json.loads(new.to_json())["fields"]}
    assert found["plain"]["metadata"] == {"delta.typeChanges": [change]}
    nested = [{**change, "fieldPath": "element.element"}]
    assert found["lists"]["metadata"] == {"delta.typeChanges": nested}
    assert found["maps"]["metadata"] == {"delta.typeChanges": [{**change, "fieldPath": "key"}]}
    inner = found["maps"]["type"]["valueType"]["fields"][0]
    assert inner["metadata"] == {"delta.typeChanges": [change]}
    again = with_type_changes(new, schema_from_json(new.to_json()))
    assert again == new  # nothing changed, nothing recorded
