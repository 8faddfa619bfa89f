"""The reference model itself: it must refuse and compare as a table does."""

import pyarrow as pa
import pytest

from lakehouse.testing import meaning
from lakehouse.testing.model import Model, Predicate, Refused, State, difference

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), ("part", pa.string())])
EMPTY = State(SCHEMA, partition_by=("part",))
ONE = pa.table({"id": [1], "part": ["a"]})
IN_A = Predicate("part = 'a'", lambda row: row["part"] == "a", ("part",))


def test_a_state_equals_itself_in_any_order_of_rows_and_as_often():
    two = meaning.append(meaning.append(EMPTY, ONE), pa.table({"id": [2]}))
    turned = State(SCHEMA, tuple(reversed(two.rows)), ("part",))
    assert difference(two, turned) is None
    assert "too many" in str(difference(two, meaning.append(two, ONE)))
    assert "missing" in str(difference(meaning.append(two, ONE), two))


def test_a_state_differs_by_columns_properties_and_transactions():
    assert "columns" in str(difference(EMPTY, meaning.add_column(EMPTY, pa.field("x", pa.int8()))))
    assert "properties" in str(difference(EMPTY, meaning.set_property(EMPTY, "team", "red")))
    assert "transactions" in str(
        difference(EMPTY, State(SCHEMA, (), ("part",), transactions={"a": 1}))
    )
    assert difference(EMPTY, meaning.set_property(EMPTY, "delta.x", "1")) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda s: meaning.append(s, pa.table({"part": ["a"]})),
        lambda s: meaning.append(s, pa.table({"id": [1], "other": [1]})),
        lambda s: meaning.append(s, pa.table({"id": ["1"]})),
        lambda s: meaning.overwrite(s, pa.table({"id": [1], "part": ["b"]}), where=IN_A),
        lambda s: meaning.overwrite(s, pa.table({"id": [1]}), schema_mode="overwrite"),
        lambda s: meaning.rename_column(s, "id", "PART"),
        lambda s: meaning.rename_column(s, "part", "*"),
        lambda s: meaning.drop_column(s, "part"),
        lambda s: meaning.drop_column(s, "id"),
        lambda s: meaning.add_constraint(s, "one", Predicate("id = 1", lambda row: row["id"] == 1)),
        lambda s: meaning.drop_column(meaning.add_constraint(s, "all", IN_A), "part"),
    ],
)
def test_what_does_not_fit_is_refused(change):
    state = meaning.append(EMPTY, pa.table({"id": [2], "part": ["a"]}))
    with pytest.raises(Refused):
        change(state)


def test_a_key_is_used_once_and_survives_a_restore():
    once = meaning.append(EMPTY, ONE, key=("job", 3))
    assert meaning.append(once, ONE, key=("job", 2)) is once
    back = meaning.restore(Model((EMPTY, once)), 0)
    assert (back.rows, back.transactions) == ((), {"job": 3})


def test_rows_change_as_they_are_told():
    two = meaning.append(EMPTY, pa.table({"id": [1, 2], "part": ["a", "b"]}))
    assert meaning.delete(two, IN_A).rows == ({"id": 2, "part": "b"},)
    assert [row["id"] for row in meaning.update(two, {"id": 9}, IN_A).rows] == [9, 2]
    merged = meaning.merge(two, pa.table({"id": [2, 3], "part": ["c", "d"]}), on="id")
    assert [row["part"] for row in merged.rows] == ["a", "c", "d"]
    assert meaning.rename_column(two, "part", "p").partition_by == ("p",)
