"""Change tables: every verb of alter, ALTER TABLE, and writes that evolve the schema."""

import datetime as dt
import decimal
import json
from datetime import date
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakehouse
from lakehouse.lake.statements.parse import parse
from tests.types.engines import PEERS, comparable, new_table, ours


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


def peers_agree(table):
    expected = comparable(ours(table))
    features = table.detail().features
    for name, read in PEERS.items():
        if name == "polars" and "columnMapping" in features and table.detail().min_reader > 1:
            continue  # Polars refuses column mapping
        assert comparable(read(table)) == expected, name


def fall_behind(monkeypatch, other, table):
    """Let a handle plan on the table as it is now, whatever is committed afterwards."""
    stale = table.snapshot()
    monkeypatch.setattr(other, "_refreshed", lambda: stale)


def dicts(table, **options):
    return table.read(**options).to_arrow_table().to_pylist()


def commits(table):
    return [commit.operation for commit in table.history()]


@pytest.mark.parametrize("partition_by", [[], ["p"]])
def test_columns_are_renamed_dropped_and_added_again_without_a_rewrite(lake, partition_by):
    table = new_table(
        lake, {"a": "BIGINT", "b": "VARCHAR", "p": "BIGINT"}, partition_by=partition_by
    )
    table.append([{"a": 1, "b": "x", "p": 1}, {"a": 2, "b": "y", "p": 2}])
    files = table.files()["path"].to_pylist()
    table.alter().rename_column("b", "c")
    table.alter().rename_column("p", "q")
    table.alter().drop_column("a")
    assert sorted(dicts(table), key=str) == [{"c": "x", "q": 1}, {"c": "y", "q": 2}]
    # A new column of an old name has none of the old values.
    table.alter().add_column("a", "BIGINT", first=True)
    table.alter().add_column("b", "INTEGER", after="a")
    assert table.schema.names == ["a", "b", "c", "q"]
    assert table.partition_by == tuple("q" for _ in partition_by)
    assert table.files()["path"].to_pylist() == files
    table.append([{"a": 3, "b": 4, "c": "z", "q": 3}])
    assert sorted(dicts(table), key=lambda row: row["q"]) == [
        {"a": None, "b": None, "c": "x", "q": 1},
        {"a": None, "b": None, "c": "y", "q": 2},
        {"a": 3, "b": 4, "c": "z", "q": 3},
    ]
    assert dicts(table, where="c = 'z' AND b = 4 AND q > 2") == [{"a": 3, "b": 4, "c": "z", "q": 3}]
    first = sorted(dicts(table, version=1), key=str)
    assert first == [{"a": 1, "b": "x", "p": 1}, {"a": 2, "b": "y", "p": 2}]
    peers_agree(table)
    table.checkpoint()
    peers_agree(table)


@pytest.mark.parametrize("mode", ["name", "id"])
def test_a_table_may_map_its_columns_from_the_start(lake, mode):
    schema = {
        "a": "BIGINT",
        "s": "STRUCT(x INTEGER, y VARCHAR[])",
        "m": "MAP(VARCHAR, STRUCT(z DATE))",
    }
    table = new_table(lake, schema, properties={"delta.columnMapping.mode": mode})
    row = {"a": 1, "s": {"x": 2, "y": ["z"]}, "m": [("k", {"z": None})]}
    rows = pa.Table.from_pylist([row], schema=table.schema)
    table.append(rows)
    table.alter().rename_column(("s", "x"), "w")
    table.alter().rename_column(("m", "value", "z"), "day")
    table.alter().add_column(("s", "v"), "BIGINT")
    table.alter().drop_column(("s", "y"))
    assert dicts(table) == [{"a": 1, "s": {"w": 2, "v": None}, "m": [("k", {"day": None})]}]
    table.append([{"a": 2, "s": {"w": 3, "v": 4}}])
    assert dicts(table, where="s.v = 4")[0]["s"] == {"w": 3, "v": 4}
    detail = table.detail()
    assert (detail.min_reader, detail.min_writer) == (2, 5)
    peers_agree(table)
    table.rewrite(table.files()["path"].to_pylist())
    assert len(table.files()) == 1
    peers_agree(table)


def test_files_of_mapped_tables_carry_field_ids(lake):
    table = new_table(lake, {"a": "BIGINT"}, properties={"delta.columnMapping.mode": "id"})
    table.append([{"a": 1}])
    file = f"{table.uri}/{table.files()['path'][0].as_py()}"
    field = pq.read_schema(file).field(0)
    assert field.metadata[b"PARQUET:field_id"] == b"1"
    assert field.name.startswith("col-")


@pytest.mark.parametrize("recorded", [False, True])
def test_types_widen_in_one_commit(lake, recorded):
    properties = {"delta.enableTypeWidening": recorded}
    schema = {"a": "INTEGER", "d": "DECIMAL(4,1)", "l": "FLOAT[]", "p": "SMALLINT"}
    table = new_table(lake, schema, partition_by="p", properties=properties)
    for number in range(3):
        table.append([{"a": number, "d": decimal.Decimal("1.5"), "l": [0.5], "p": number}])
    before = set(table.files()["path"].to_pylist())
    version = table.version
    table.alter().change_type("a", "BIGINT")
    table.alter().change_type("d", "DECIMAL(10,3)")
    table.alter().change_type(("p",), "INTEGER")
    assert table.version == version + 3
    assert (set(table.files()["path"].to_pylist()) == before) == recorded
    table.append([{"a": 2**40, "d": decimal.Decimal("123456.125"), "l": None, "p": 2**20}])
    found = sorted(dicts(table), key=lambda row: row["a"])
    assert [row["a"] for row in found] == [0, 1, 2, 2**40]
    assert found[3]["d"] == decimal.Decimal("123456.125")
    assert dicts(table, where=f"a > {2**33}", columns=["p"]) == [{"p": 2**20}]
    assert dicts(table, where="a = 1 AND p = 1", columns=["a"]) == [{"a": 1}]
    assert dicts(table, version=version)[0].keys() == {"a", "d", "l", "p"}
    if recorded:
        changes = json.loads(table.snapshot().metadata.schema_string)["fields"][0]["metadata"]
        assert changes == {"delta.typeChanges": [{"fromType": "integer", "toType": "long"}]}
    else:
        peers_agree(table)  # delta-rs and Polars refuse typeWidening


@pytest.mark.parametrize("partition_by", [[], ["x"]])
def test_bounds_that_were_written_for_floats_hide_no_double(lake, partition_by):
    properties = {"delta.enableTypeWidening": True}
    schema = {"id": "BIGINT", "x": "FLOAT"}
    table = new_table(lake, schema, partition_by=partition_by, properties=properties)
    rows = pa.table({"id": [1], "x": pa.array([1.1], pa.float32())})
    table.append(rows)
    (row,) = dicts(table)
    table.alter().change_type("x", "DOUBLE")
    assert dicts(table) == dicts(table, where="x > 1.1") == [row]
    assert dicts(table, where="x = 1.1") == []
    table.append([{"id": 2, "x": 1.1}])
    assert table.delete("x > 1.1").rows_deleted == 1
    assert dicts(table) == [{"id": 2, "x": 1.1}]


def test_filters_on_widened_columns_compare_with_what_they_say(lake):
    properties = {"delta.enableTypeWidening": True}
    columns = {"id": "BIGINT", "i": "INTEGER", "d": "DATE", "e": "DECIMAL(4,2)"}
    table = new_table(lake, columns, properties=properties)
    table.append([{"id": 1, "i": 2, "d": date(2020, 1, 1), "e": decimal.Decimal("1.25")}])
    for column, type_ in (("i", "DOUBLE"), ("d", "TIMESTAMP"), ("e", "DECIMAL(10,4)")):
        table.alter().change_type(column, type_)
    noon = "TIMESTAMP '2020-01-01 12:00'"
    for true in ("i > 1.5", "i < 2.4", f"d < {noon}", "e > 1.2450", "e < 1.2549"):
        assert len(dicts(table, where=true)) == 1, true
    for false in ("i = 1.5", f"d = {noon}", "e = 1.2510"):
        assert dicts(table, where=false) == [], false
        assert table.delete(false).rows_deleted == 0


def test_overwriting_the_columns_drops_none_that_a_constraint_names(lake):
    table = new_table(lake, {"id": "BIGINT", "x": "BIGINT"})
    table.alter().add_constraint("positive", "x > 0")
    with pytest.raises(lakehouse.InputError, match="'x' cannot be dropped: constraint 'positive'"):
        table.overwrite([{"id": 1}], schema_mode="overwrite")
    table.alter().drop_constraint("positive")
    table.overwrite([{"id": 1}], schema_mode="overwrite")
    assert dicts(table) == [{"id": 1}]


@pytest.mark.parametrize("recorded", [False, True])
def test_types_inside_of_lists_maps_and_structs_widen(lake, recorded):
    schema = {"l": "INTEGER[]", "m": "MAP(VARCHAR, FLOAT)", "s": "STRUCT(x SMALLINT, y VARCHAR)"}
    table = new_table(lake, schema, properties={"delta.enableTypeWidening": recorded})
    first = {"l": [1, None], "m": [("k", 0.5)], "s": {"x": 1, "y": "z"}}
    table.append(pa.Table.from_pylist([first], schema=table.schema))
    table.alter().change_type("l", "BIGINT[]")
    table.alter().change_type("m", "MAP(VARCHAR, DOUBLE)")
    table.alter().change_type("s", "STRUCT(x INTEGER, y VARCHAR)")
    second = {"l": [2**40], "m": [("k", 0.1)], "s": {"x": 2**20, "y": None}}
    table.append(pa.Table.from_pylist([second], schema=table.schema))
    assert dicts(table) == [first, second]
    assert dicts(table, where="l[1] > 1") == [second]
    for column, type_ in (("l", "VARCHAR[]"), ("s", "STRUCT(x INTEGER)"), ("l", "BIGINT")):
        with pytest.raises(lakehouse.InputError, match=f"{column!r} cannot become"):
            table.alter().change_type(column, type_)
    if not recorded:
        peers_agree(table)


def test_a_type_that_would_lose_values_is_refused(lake):
    table = new_table(lake, {"a": "BIGINT", "s": "VARCHAR"})
    for column, type_ in (("a", "INTEGER"), ("a", "DOUBLE"), ("s", "BIGINT"), ("a", "VARCHAR")):
        with pytest.raises(lakehouse.InputError, match=f"{column!r} cannot become {type_}"):
            table.alter().change_type(column, type_)
    assert table.version == 0


def test_writes_widen_as_far_as_their_values_need(lake):
    table = new_table(lake, {"a": "INTEGER", "b": "INTEGER NOT NULL", "c": "STRUCT(x SMALLINT)"})
    table.append([{"a": 1, "b": 1, "c": {"x": 1}}])
    small = table.append([{"a": 2, "b": 2, "c": {"x": 2}}], schema_mode="widen")
    assert (small.files_added, small.files_removed) == (1, 0)
    row = {"a": 2**40, "b": None, "c": {"x": 2**20, "y": "new"}}
    with pytest.raises(lakehouse.DataError, match="add"):
        table.append([row])
    with pytest.raises(lakehouse.DataError, match="'a' does not fit INTEGER in 1 row"):
        table.append([row | {"b": 1}], schema_mode="add")
    version = table.version
    report = table.append([row], schema_mode="widen")
    assert (report.version, report.rows, report.files_removed) == (version + 1, 1, 2)
    assert table.schema.field("b").nullable
    assert sorted(dicts(table), key=lambda found: found["a"]) == [
        {"a": 1, "b": 1, "c": {"x": 1, "y": None}},
        {"a": 2, "b": 2, "c": {"x": 2, "y": None}},
        row,
    ]
    peers_agree(table)
    with pytest.raises(lakehouse.DataError, match="no column 'd'"):
        table.append([{"a": 1, "d": 1}])


def test_a_stream_widens_by_its_types(lake):
    table = new_table(lake, {"a": "INTEGER"})
    table.append([{"a": 1}])
    rows = pa.table({"a": pa.array([2], pa.int64())})
    reader = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches())
    table.append(reader, schema_mode="widen")
    assert table.schema.field("a").type == pa.int64()
    assert dicts(table) == [{"a": 1}, {"a": 2}]


def test_the_table_may_say_how_it_evolves(lake):
    table = new_table(lake, {"a": "INTEGER"}, properties={"lakehouse.schemaMode": "add"})
    table.append([{"a": 1, "b": 2}])
    assert table.schema.names == ["a", "b"]
    with pytest.raises(lakehouse.DataError):
        table.append([{"a": 1, "c": 2}], schema_mode="strict")
    with pytest.raises(lakehouse.InputError, match=r"schemaMode' cannot be 'sometimes'"):
        table.alter().set_properties({"lakehouse.schemaMode": "sometimes"})
    table.alter().unset_properties("lakehouse.schemaMode")
    with pytest.raises(lakehouse.DataError):
        table.append([{"a": 1, "c": 2}])
    with pytest.raises(lakehouse.InputError, match="overwrite the table"):
        table.append([{"a": 1}], schema_mode=cast("Any", "overwrite"))


def test_an_overwrite_may_replace_the_columns_of_a_mapped_table(lake):
    table = new_table(lake, {"a": "BIGINT", "b": "VARCHAR"})
    table.append([{"a": 1, "b": "x"}])
    table.alter().comment_column("b", "a text")
    table.alter().rename_column("a", "z")
    table.overwrite([{"b": 1.5, "n": 1}], schema_mode="overwrite")
    assert dicts(table) == [{"b": 1.5, "n": 1}]
    assert table.schema.field("b").metadata == {b"comment": b"a text"}
    peers_agree(table)
    table.restore(1)
    assert dicts(table) == [{"a": 1, "b": "x"}]
    table.alter().drop_column("b")
    table.append([{"a": 2}])
    assert dicts(table) == [{"a": 1}, {"a": 2}]
    peers_agree(table)


def test_not_null_is_taken_and_given(lake):
    table = new_table(lake, {"a": "BIGINT NOT NULL", "s": "STRUCT(x BIGINT)"})
    table.alter().drop_not_null("a")
    table.append([{"a": None, "s": None}, {"a": 1, "s": {"x": None}}])
    with pytest.raises(lakehouse.DataError, match=r"'a' is NULL in 1 row\."):
        table.alter().set_not_null("a")
    with pytest.raises(lakehouse.DataError, match=r"'s\.x' is NULL in 1 row"):
        table.alter().set_not_null(("s", "x"))
    table.overwrite([{"a": 1, "s": None}])
    table.alter().set_not_null(("s", "x"))
    table.alter().set_not_null("a")
    with pytest.raises(lakehouse.DataError, match="NOT NULL"):
        table.append([{"s": {"x": 1}}])


def test_what_is_so_already_commits_nothing(lake):
    table = new_table(lake, {"a": "BIGINT"})
    reports = [
        table.alter().add_column("a", "BIGINT", if_not_exists=True),
        table.alter().drop_column("b", if_exists=True),
        table.alter().rename_column("a", "a"),
        table.alter().change_type("a", "BIGINT"),
        table.alter().drop_not_null("a"),
        table.alter().unset_properties(["x"], if_exists=True),
    ]
    assert [report.version for report in reports] == [0] * 6
    assert table.version == 0


def test_a_column_that_something_names_stays(lake):
    properties = {"delta.dataSkippingStatsColumns": "a"}
    table = new_table(lake, {"a": "BIGINT", "p": "BIGINT"}, partition_by="p", properties=properties)
    with pytest.raises(lakehouse.InputError, match="partitions the table"):
        table.alter().drop_column("p")
    with pytest.raises(lakehouse.InputError, match="dataSkippingStatsColumns names it"):
        table.alter().drop_column("a")
    with pytest.raises(lakehouse.NotFoundError, match="no column 'c'"):
        table.alter().rename_column("c", "d")
    with pytest.raises(lakehouse.InputError, match="cannot be NOT NULL"):
        table.alter().add_column("n", "BIGINT NOT NULL")
    assert table.version == 0


def test_alterations_and_appends_from_stale_handles_both_stand(lake, monkeypatch):
    table = new_table(lake, {"a": "INTEGER"})
    table.append([{"a": 1}])
    with lakehouse.connect(lake.uri, durable=False) as second:
        other = second.table(table.name)
        fall_behind(monkeypatch, other, table)
        table.alter().rename_column("a", "b")
        with pytest.raises(lakehouse.DataError, match="no column 'a'"):
            other.append([{"a": 2}])
        fall_behind(monkeypatch, other, table)
        table.append([{"b": 2}])
        other.alter().add_column("c", "VARCHAR")
        assert table.schema.names == ["b", "c"]
        fall_behind(monkeypatch, other, table)
        table.append([{"b": 3}])
        report = other.alter().change_type("b", "BIGINT")
        assert report.attempts > 1
    assert sorted(row["b"] for row in dicts(table)) == [1, 2, 3]
    peers_agree(table)


def test_an_alteration_with_a_key_happens_once(lake):
    table = new_table(lake, {"a": "BIGINT"})
    first = table.alter(idempotency_key=("migration", 1), metadata={"run": 7}).add_column(
        "b", "DATE"
    )
    again = table.alter(idempotency_key=("migration", 1)).add_column("b", "DATE")
    assert (first.version, again.version, again.replayed) == (1, 1, True)
    assert table.history()[0].metadata == {"run": 7}


def test_properties_grow_the_protocol(lake):
    table = new_table(lake, {"a": "BIGINT"})
    assert (table.detail().min_reader, table.detail().min_writer) == (1, 2)
    table.alter().set_properties({"delta.appendOnly": True, "owner": "ops"})
    assert table.properties == {"delta.appendOnly": "true", "owner": "ops"}
    with pytest.raises(lakehouse.InputError, match="append-only"):
        table.overwrite([{"a": 1}])
    table.alter().unset_properties("delta.appendOnly")
    table.overwrite([{"a": 1}])
    table.alter().set_properties({"delta.enableDeletionVectors": True})
    assert "deletionVectors" in table.detail().features
    with pytest.raises(lakehouse.NotFoundError, match=r"no property 'ownr'\. Did you mean 'owner'"):
        table.alter().unset_properties("ownr")
    table.alter().set_properties({"delta.columnMapping.mode": "name"})
    with pytest.raises(lakehouse.InputError, match="cannot change from name to id"):
        table.alter().set_properties({"delta.columnMapping.mode": "id"})
    table.alter().describe("numbers")
    assert table.detail().description == "numbers"
    assert dicts(table) == [{"a": 1}]
    assert commits(table)[:2] == ["SET TBLPROPERTIES", "SET TBLPROPERTIES"]


def test_alter_table_in_sql(lake):
    table = lake.create_table(
        "silver.t", {"id": "INTEGER", "v": "VARCHAR", "s": "STRUCT(a INTEGER)"}
    )
    table.append([{"id": 1, "v": "x", "s": {"a": 1}}])
    for statement in (
        "ALTER TABLE silver.t ADD COLUMN IF NOT EXISTS n DECIMAL(10, 2) COMMENT 'net' AFTER id",
        'alter table silver.t rename column v to "the value"',
        "/* why */ ALTER TABLE silver.t ALTER COLUMN id TYPE BIGINT;",
        "ALTER TABLE silver.t ADD COLUMN s.b STRUCT(x VARCHAR[])",
        "ALTER TABLE silver.t ALTER COLUMN s.a SET NOT NULL",
        "ALTER TABLE silver.t SET TBLPROPERTIES ('delta.appendOnly' = 'true', owner = ops)",
        "ALTER TABLE silver.t UNSET TBLPROPERTIES IF EXISTS ('owner', missing)",
        "ALTER TABLE silver.t ALTER n FIRST",
    ):
        report = lake.sql(statement).to_arrow_table().to_pylist()[0]
        assert report["operation"] == "alter"
    assert table.schema.names == ["n", "id", "the value", "s"]
    assert table.schema.field("n").metadata == {b"comment": b"net"}
    assert table.properties["delta.appendOnly"] == "true"
    assert dicts(table)[0]["the value"] == "x"
    lake.sql("ALTER TABLE silver.t RENAME TO u")
    assert lake.sql('SELECT "the value" FROM silver.u').fetchall() == [("x",)]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE silver.t", "ALTER TABLE silver.t FROB", "ALTER TABLE IF EXISTS silver.t ADD a INT",
        "ALTER TABLE silver.t ADD COLUMN a", "ALTER TABLE silver.t RENAME a b",
        "ALTER TABLE silver.t DROP COLUMN a b", "ALTER TABLE silver.t SET TBLPROPERTIES ('a')",
        "ALTER TABLE silver.t ADD CONSTRAINT c CHECK (a > 0", "ALTER VIEW v",
        "ALTER TABLE silver.t ALTER COLUMN a COMMENT b",
    ],
)  # fmt: skip
def test_alter_table_that_is_not_understood(statement):
    with pytest.raises(lakehouse.InputError, match="ALTER TABLE"):
        parse(statement)


def test_alter_table_on_what_is_not_there(lake):
    lake.create_table("silver.trips", {"a": "BIGINT"})
    with pytest.raises(lakehouse.NotFoundError, match=r"Did you mean silver\.trips"):
        lake.sql("ALTER TABLE silver.trip ADD COLUMN b INTEGER")
    with pytest.raises(lakehouse.InputError, match="has type 'NUMBR'"):
        lake.sql("ALTER TABLE silver.trips ADD COLUMN b NUMBR")
    assert parse("SELECT 'alter table'") is None


SINGLE = 0.10000000149011612  # what 0.1 is in single precision


@pytest.mark.parametrize(
    ("old", "new", "value", "predicates"),
    [
        ("FLOAT", "DOUBLE", "0.1", ["c > 0.1", "c <> 0.1", f"c = {SINGLE}", "NOT (c <= 0.1)"]),
        ("INTEGER", "DECIMAL(12,2)", "5", ["c = 5", "c > 4.5", "c < 5.5", "c <> 4.5"]),
        ("DECIMAL(5,2)", "DECIMAL(8,3)", "5.25", ["c = 5.25", "c > 5.249", "c < 5.251"]),
        (
            "DATE",
            "TIMESTAMP",
            "'2024-01-02'",
            ["c = DATE '2024-01-02'", "c < TIMESTAMP '2024-01-02 12:00'"],
        ),
    ],
)
@pytest.mark.parametrize("place", ["column", "field", "partition"])
def test_predicates_find_what_was_written_before_a_type_was_widened(
    lake, old, new, value, predicates, place
):
    inside = place == "field"
    table = new_table(
        lake,
        {"s": f"STRUCT(c {old})", "z": "INTEGER"} if inside else {"c": old, "z": "INTEGER"},
        partition_by=["c"] if place == "partition" else [],
        properties={"delta.enableTypeWidening": True},
    )
    column = f"{{'c': {value}::{old}}} AS s" if inside else f"{value}::{old} AS c"
    table.append(lake.sql(f"SELECT {column}, 1 AS z"))
    table.alter().change_type(("s", "c") if inside else "c", new)
    for step in (lambda: None, table.checkpoint):
        step()
        with lakehouse.connect(lake.uri, durable=False) as second:
            other = second.table(table.name)
            for where in predicates:
                where = where.replace("c ", "s.c ") if inside else where
                assert other.read(columns=["z"], where=where).fetchall() == [(1,)], where
    where = predicates[0].replace("c ", "s.c ") if inside else predicates[0]
    assert table.delete(where).rows_deleted == 1
    assert dicts(table) == []


def test_a_partition_value_of_single_precision_stays_the_same_number(lake):
    properties = {"delta.enableTypeWidening": True}
    table = new_table(
        lake, {"f": "FLOAT", "z": "INTEGER"}, partition_by=["f"], properties=properties
    )
    table.append([{"f": 0.5, "z": 1}])
    table.append(lake.sql("SELECT 0.1::FLOAT AS f, 2 AS z"))
    table.alter().change_type("f", "DOUBLE")
    assert sorted(table.read().fetchall()) == [(SINGLE, 2), (0.5, 1)]


@pytest.mark.parametrize("partition_by", [[], ["d"]])
def test_a_date_becomes_a_timestamp_by_a_rewrite(lake, partition_by):
    table = new_table(
        lake,
        {"d": "DATE", "s": "STRUCT(d DATE, l DATE[])", "m": "MAP(VARCHAR, DATE)"},
        partition_by=partition_by,
    )
    day = dt.date(2024, 1, 2)
    row = {"d": day, "s": {"d": day, "l": [day]}, "m": [("k", day)]}
    table.append(pa.Table.from_pylist([row], schema=table.schema))
    table.alter().change_type("d", "TIMESTAMP")
    table.alter().change_type(("s", "d"), "TIMESTAMP")
    noon = dt.datetime.combine(day, dt.time(12))
    wider = pa.table(
        {
            "s": pa.array([{"l": [noon]}]),
            "m": pa.array([[("k", noon)]], pa.map_(pa.string(), pa.timestamp("us"))),
        }
    )
    table.append(wider, schema_mode="widen")
    midnight = dt.datetime.combine(day, dt.time())
    assert dicts(table, where="d IS NOT NULL") == [
        {"d": midnight, "s": {"d": midnight, "l": [midnight]}, "m": [("k", midnight)]}
    ]
    assert dicts(table, where="d IS NULL") == [
        {"d": None, "s": {"d": None, "l": [noon]}, "m": [("k", noon)]}
    ]


def test_rows_on_their_way_are_checked_again_where_a_column_became_not_null(lake, monkeypatch):
    table = new_table(lake, {"a": "INTEGER", "b": "INTEGER"})
    with lakehouse.connect(lake.uri, durable=False) as second:
        other = second.table(table.name)
        stale = other.snapshot()
        monkeypatch.setattr(other, "_refreshed", lambda: stale)
        table.alter().set_not_null("a")
        with pytest.raises(lakehouse.DataError, match="NULL in a NOT NULL column"):
            other.append([{"a": None, "b": 1}])
        assert other.append([{"a": 1, "b": 1}]).attempts > 1
    assert dicts(table) == [{"a": 1, "b": 1}]
    assert table.leftovers(older_than=dt.timedelta(0)) == ()


@pytest.mark.parametrize(
    "type_",
    ["INTEGER DEFAULT 5", "INTEGER, d VARCHAR", "INTEGER CHECK (c > 0)", "INTEGER PRIMARY KEY"],
)
def test_what_follows_a_type_is_not_passed_over(lake, type_):
    table = new_table(lake, {"a": "INTEGER"})
    with pytest.raises(lakehouse.InputError, match="is no type"):
        lake.sql(f"ALTER TABLE {table.name} ADD COLUMN c {type_}")
    with pytest.raises(lakehouse.InputError, match="is no type"):
        new_table(lake, {"c": type_})
    with pytest.raises(lakehouse.InputError, match="a type is expected"):
        table.alter().change_type("a", "BIGINT NOT NULL")
    assert table.version == 0


def test_a_partial_overwrite_never_replaces_the_columns(lake):
    table = new_table(lake, {"a": "INTEGER", "b": "INTEGER"})
    table.append([{"a": 1, "b": 1}])
    log = Path(table.uri, "_delta_log")
    actions = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    (metadata,) = (action for action in actions if "metaData" in action)
    # Only another engine can write this.
    metadata["metaData"]["configuration"]["lakehouse.schemaMode"] = "overwrite"
    (log / f"{2:020}.json").write_text(json.dumps(metadata))
    with pytest.raises(lakehouse.InputError, match="with all rows only"):
        table.overwrite([{"a": 2}], where="a = 2")


def test_what_was_rewritten_for_nothing_is_deleted(lake, monkeypatch):
    table = new_table(lake, {"a": "INTEGER"})
    table.append([{"a": 1}])
    with lakehouse.connect(lake.uri, durable=False) as second:
        other = second.table(table.name)
        fall_behind(monkeypatch, other, table)
        table.alter().change_type("a", "BIGINT")
        assert other.append([{"a": 2**40}], schema_mode="widen").attempts > 1
        fall_behind(monkeypatch, other, table)
        table.alter(idempotency_key=("widen", 1)).change_type("a", "DECIMAL(22,2)")
        assert other.alter(idempotency_key=("widen", 1)).change_type("a", "DECIMAL(22,2)").replayed
    assert sorted(row["a"] for row in dicts(table)) == [1, 2**40]
    assert table.leftovers(older_than=dt.timedelta(0)) == ()
