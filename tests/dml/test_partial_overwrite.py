"""A partial overwrite replaces the rows that match, and takes no others."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import lakehouse
from lakehouse.testing import predicates, rows
from tests.dml.test_delete import SCHEMA, left, three_files
from tests.scan.test_pruning import layouts, plain, written
from tests.types.engines import comparable, effort, new_table, ours
from tests.write.log import on_disk


@effort(0.1)
@given(data=st.data(), layout=layouts())
def test_rows_after_partial_overwrites(lake, data, layout):
    schema, partition_by, appends = layout
    table = written(lake, schema, partition_by, appends)
    raw = pa.concat_tables(appends)
    new = data.draw(rows(schema, max_rows=4, partition_by=partition_by))
    where = data.draw(predicates(pa.concat_tables([raw, new])))
    note(where)
    with plain(new=new) as connection:
        inside = connection.sql(f"SELECT * FROM new WHERE {where}").to_arrow_table()
    if len(inside) < len(new):
        before = on_disk(table)
        with pytest.raises(lakehouse.DataError, match="is not true for") as caught:
            table.overwrite(new, where=where)
        assert caught.value.count == len(new) - len(inside)
        assert on_disk(table) == before
    report = table.overwrite(inside.cast(schema), where=where)
    rest = left(raw, where)
    assert comparable(ours(table)) == comparable(
        pa.concat_tables([rest.cast(schema), inside.cast(schema)])
    )
    assert (report.rows, report.rows_deleted) == (len(inside), len(raw) - len(rest))


NEW: list[dict[str, Any]] = [{"i": i, "p": "a", "d": None, "s": None, "v": "new"} for i in (3, 4)]


def test_a_partition_is_replaced(lake):
    table = three_files(lake, partition_by="p")
    report = table.overwrite(NEW, where="p = 'a'")
    assert (report.rows, report.rows_deleted, report.files_added) == (2, 10, 1)
    found = lake.sql(
        f"SELECT p, count(*), max(v) FILTER (v = 'new') FROM {table.name} GROUP BY p ORDER BY p"
    )
    assert found.fetchall() == [("a", 2, "new"), ("b", 10, None), ("c", 10, None)]
    commit = table.history()[0]
    assert commit.operation == "WRITE"
    assert commit.parameters["predicate"] == "p = 'a'"
    assert commit.metrics["numDeletedRows"] == "10"
    assert commit.metrics["numOutputRows"] == "2"


@pytest.mark.parametrize("stream", [False, True])
def test_rows_outside_are_refused(lake, stream):
    table = three_files(lake)
    before = on_disk(table)
    data = pa.Table.from_pylist([*NEW, {"i": 99, "p": None}], schema=pa.schema(
        [("i", pa.int64()), ("p", pa.string()), ("v", pa.string())]))  # fmt: skip
    given_ = data.to_reader() if stream else data
    with pytest.raises(lakehouse.DataError, match="99") as caught:
        table.overwrite(given_, where="p = 'a'")
    assert caught.value.count == (None if stream else 1)
    assert "99" in str(caught.value.samples[0])
    assert on_disk(table) == before


def test_no_rows_at_all_delete(lake):
    table = three_files(lake)
    report = table.overwrite([], where="i < 12")
    assert (report.rows, report.rows_deleted) == (0, 12)
    assert table.overwrite([], where="i < 12").version == report.version
    assert table.detail().rows == 18


def test_rows_that_do_not_fit_are_refused_as_ever(lake):
    table = three_files(lake)
    before = on_disk(table)
    bad: list[dict[str, Any]] = [{"i": 3.5}, {"i": 3, "other": 1}]
    for row in bad:
        with pytest.raises(lakehouse.DataError):
            table.overwrite([row], where="i < 5")
    with pytest.raises(lakehouse.InputError, match="all rows only"):
        table.overwrite(NEW, where="i < 5", schema_mode="overwrite")
    assert on_disk(table) == before


def test_columns_may_be_added_on_the_way(lake):
    table = three_files(lake)
    report = table.overwrite([{"i": 1, "w": 1.5}], where="i < 5", schema_mode="add")
    assert report.rows_deleted == 5
    assert table.schema.names == [*SCHEMA, "w"]
    assert table.read(columns=["i", "w"], where="i < 7").order("i").fetchall() == [
        (1, 1.5), (5, None), (6, None),
    ]  # fmt: skip


def test_columns_that_were_renamed(lake):
    table = three_files(lake, partition_by="p")
    table.alter().rename_column("p", "part")
    table.alter().rename_column("i", "v_")
    table.alter().rename_column(("s", "x"), "y")
    report = table.overwrite([{"v_": 5, "part": "a"}], where="part = 'a' AND v_ < 15")
    assert report.rows_deleted == 5
    with pytest.raises(lakehouse.DataError, match="is not true for 1 row"):
        table.overwrite([{"v_": 15, "part": "a"}], where="part = 'a' AND v_ < 15")
    assert table.detail().rows == 26
    with pytest.raises(lakehouse.UnsupportedError, match="'s'"):
        table.overwrite([{"v_": 5, "s": {"y": 1}}], where="s.y = 1")
    assert table.delete("s.y = 7").rows_deleted == 1


def test_values_are_compared_as_the_table_holds_them(lake):
    table = new_table(lake, {"n": "DECIMAL(10,2)", "d": "DATE"})
    table.append([{"n": 1}, {"n": 2}])
    table.overwrite(pa.table({"N": pa.array([2], pa.int8())}), where="n::VARCHAR = '2.00'")
    assert sorted(str(row[0]) for row in table.read().fetchall()) == ["1.00", "2.00"]
