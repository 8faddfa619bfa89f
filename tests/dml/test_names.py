"""Awkward names of columns: letters beyond ASCII, which DuckDB does not fold, spaces, and quotes."""

import pyarrow as pa
import pytest

from tests.types.engines import new_table


@pytest.fixture
def table(lake):
    found = new_table(lake, {"ÐUØ": "BIGINT", "Äpfel": "VARCHAR"})
    found.append(pa.table({"ÐUØ": [1, 2], "Äpfel": ["a", "b"]}))
    return found


def rows_of(table):
    return sorted(table.read().fetchall())


@pytest.mark.parametrize("names", [("ÐUØ", "Äpfel"), ("ðuø", "äpfel")])
def test_keys_are_found_by_either_case(table, names):
    key, value = names
    table.upsert(pa.table({key: [2, 3], value: ["c", "d"]}), key=key)
    assert rows_of(table) == [(1, "a"), (2, "c"), (3, "d")]


def test_conditions_name_them(table):
    rows = pa.table({"ÐUØ": [2], "Äpfel": ["c"]})
    table.merge(rows, on="t.ÐUØ = s.ÐUØ").when_matched_update({"Äpfel": "s.Äpfel || t.Äpfel"}).run()
    assert rows_of(table) == [(1, "a"), (2, "cb")]


def test_a_name_may_be_a_space(lake):
    found = new_table(lake, {" ": "BIGINT", "v": "VARCHAR"})
    found.append(pa.table({" ": [1], "v": ["a"]}))
    for key in (" ", [" "]):
        found.upsert(pa.table({" ": [1], "v": ["b"]}), key=key)
    assert rows_of(found) == [(1, "b")]


def test_fields_may_have_quotes_in_their_names(lake):
    rows = pa.table({"s": [{"it's": 1, 'a "b"': 2}], "v": [1]})
    found = new_table(lake, rows.schema)
    found.append(rows)
    for number, field in enumerate(('"it\'s"', '"a ""b"""'), 1):
        found.update({"v": "v + 1"}, where=f"(s).{field} = {number}")
        found.delete(where=f"(s).{field} <> {number}")
    assert found.read(columns=["v"]).fetchall() == [(3,)]
