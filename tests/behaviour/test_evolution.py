"""Tables change their columns; files written before stay readable."""

import pytest

import lakehouse
from tests.behaviour.place import rows


@pytest.fixture
def table(lake):
    table = lake.create_table("silver.t", {"id": "INTEGER", "s": "STRUCT(a INTEGER)"})
    table.append([{"id": 1, "s": {"a": 1}}])
    return table


def test_new_columns_and_fields_are_null_in_older_files(table, other):
    with pytest.raises(lakehouse.DataError):
        table.append([{"id": 2, "extra": 1.5}])
    table.append([{"id": 2, "extra": 1.5, "s": {"a": 2, "b": "new"}}], schema_mode="add")
    assert rows(other.sql("SELECT id, extra, s.b FROM silver.t")) == [
        (1, None, None),
        (2, 1.5, "new"),
    ]
    assert rows(other.sql("SELECT id FROM silver.t WHERE s.b = 'new'")) == [(2,)]


def test_types_widen(table, other):
    table.append([{"id": 1 << 40, "s": None}], schema_mode="widen")
    there = other.table("silver.t")
    assert str(there.schema.field("id").type) == "int64"
    assert rows(there.read(columns=["id"])) == [(1,), (1 << 40,)]
    assert rows(there.read(columns=["id"], where="id > 5")) == [(1 << 40,)]
    there.alter().change_type(("s", "a"), "BIGINT")
    assert rows(table.read(columns=["s"], where="s.a < 5")) == [({"a": 1},)]


def test_columns_are_renamed_and_dropped_without_a_rewrite(table, other):
    files = table.files()["path"].to_pylist()
    table.alter().rename_column("id", "key / of it")
    other.table("silver.t").alter().rename_column(("s", "a"), "z")
    assert other.table("silver.t").files()["path"].to_pylist() == files
    table.append([{"key / of it": 2, "s": {"z": 5}}])
    found = other.sql('SELECT "key / of it", s.z FROM silver.t WHERE "key / of it" < 9')
    assert rows(found) == [(1, 1), (2, 5)]
    table.alter().drop_column("s")
    table.checkpoint()
    assert other.table("silver.t").delete('"key / of it" = 1').rows_deleted == 1
    assert rows(other.sql("FROM silver.t")) == [(2,)]
    assert rows(other.table("silver.t").read(version=1, columns=["id"])) == [(1,)]


def test_an_overwrite_replaces_the_columns_and_a_restore_brings_them_back(table, other):
    table.overwrite([{"other": "x"}], schema_mode="overwrite")
    there = other.table("silver.t")
    assert there.schema.names == ["other"]
    there.restore(1)
    assert table.schema.names == ["id", "s"]
    assert rows(table.read()) == [(1, {"a": 1})]


def test_not_null_is_taken_and_given(table, other):
    there = other.table("silver.t")
    table.alter().set_not_null("id")
    with pytest.raises(lakehouse.DataError, match="id"):
        there.append([{"s": {"a": 1}}])
    there.alter().drop_not_null("id")
    assert table.append([{"s": {"a": 1}}]).rows == 1
