"""A delete leaves just the rows for which its predicate is not true, whoever reads."""

import dataclasses
import datetime as dt
import struct
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st
from pyroaring import BitMap64

import lakehouse
from lakehouse.delta import protocol
from lakehouse.delta.actions import DeletionVector
from lakehouse.delta.codec import to_lines
from lakehouse.delta.deletion_vector import z85_encode
from lakehouse.delta.log import commit_path
from lakehouse.testing import predicates
from tests.scan.test_pruning import layouts, plain, written
from tests.types.engines import comparable, delta_rs, effort, new_table, ours
from tests.write.log import on_disk

few = effort(0.12)


def left(raw: pa.Table, where: str) -> pa.Table:
    with plain(raw=raw) as connection:
        return connection.sql(f"SELECT * FROM raw WHERE ({where}) IS NOT TRUE").to_arrow_table()


@few
@given(data=st.data(), layout=layouts())
def test_rows_after_deletes(lake, data, layout):
    schema, partition_by, appends = layout
    table = written(lake, schema, partition_by, appends)
    raw = pa.concat_tables(appends)
    for _ in range(2):
        where, before = data.draw(predicates(raw)), table.detail()
        note(where)
        report = table.delete(where)
        rest = left(raw, where)
        assert comparable(ours(table)) == comparable(rest)
        after = table.detail()
        assert report.rows_deleted == len(raw) - len(rest) == before.rows - after.rows
        assert report.files_removed - report.files_added == before.files - after.files
        changed = len(rest) != len(raw)
        event("some rows deleted" if changed and len(rest) else "all or none")
        assert report.version == after.version == before.version + changed
        assert len(deltalake.DeltaTable(table.uri).file_uris()) == after.files
        raw = rest if len(rest) else raw.slice(0, 0)


ROWS: list[dict[str, Any]] = [
    {"i": i, "p": "abc"[i % 3], "d": dt.date(2024, 1, 1 + i), "s": {"x": i}, "v": f"v{i}"}
    for i in range(30)
]
SCHEMA = {
    "i": "BIGINT", "p": "VARCHAR", "d": "DATE", "s": "STRUCT(x BIGINT)", "v": "VARCHAR",
}  # fmt: skip


def three_files(lake, **options):
    table = new_table(lake, SCHEMA, **options)
    for start in range(0, 30, 10):
        table.append(ROWS[start : start + 10])
    return table


def test_other_readers_see_what_is_left(lake):
    for partition_by in ((), ("p",)):
        table = three_files(lake, partition_by=partition_by)
        table.delete("i % 7 = 0 OR v IN ('v3', 'v4')")
        expected = comparable(
            pa.Table.from_pylist([r for r in ROWS if r["i"] % 7 and r["i"] not in (3, 4)])
        )
        order = list(SCHEMA)
        assert comparable(ours(table)) == expected
        assert comparable(delta_rs(table).select(order)) == expected


# What is removed, and what is written, of three files of ten rows each, one after the other.
SPARED = [
    ("i >= 20", 1, 0), ("i < 10", 1, 0), ("i BETWEEN 10 AND 19", 1, 0), ("i > 25", 1, 1),
    ("d >= '2024-01-21' AND i IS NOT NULL", 1, 0), ("i >= 10", 2, 0), ("i < 10 OR i = 25", 2, 1),
    ("NOT (i < 20)", 1, 0), ("true", 3, 0), ("now() > TIMESTAMPTZ '2020-01-01'", 3, 0),
    ("s.x = 4", 1, 1), ("i < 10 AND v LIKE 'v%'", 1, 0), ("i < 0", 0, 0), ("i IS NULL", 0, 0),
    ("NULL", 0, 0), ("i IN (3, 13, 23)", 3, 1),
]  # fmt: skip


@pytest.mark.parametrize(("where", "removed", "added"), SPARED)
def test_files_are_touched_where_a_row_matches_only(lake, where, removed, added):
    table = three_files(lake)
    report = table.delete(where)
    assert (report.files_removed, report.files_added) == (removed, added)
    with plain(raw=pa.Table.from_pylist(ROWS)) as connection:
        rest = connection.sql(f"SELECT i FROM raw WHERE ({where}) IS NOT TRUE").fetchall()
    assert sorted(table.read(columns=["i"]).fetchall()) == sorted(rest)


UNREAD = [
    ("p = 'a'", 3, 10), ("p IN ('a', 'b')", 6, 20), ("upper(p) || '!' = 'A!'", 3, 10),
    ("p = 'a' AND i < 10", 1, 4), ("i < 20", 6, 20), ("p IS NULL OR i >= 20", 3, 10), ("true", 9, 30),
]  # fmt: skip


@pytest.mark.parametrize(("where", "files", "rows"), UNREAD)
def test_files_in_which_all_rows_match_are_not_read(lake, where, files, rows):
    table = three_files(lake, partition_by="p")
    for path in Path(table.uri).rglob("*.parquet"):
        path.write_bytes(b"nobody reads this")
    report = table.delete(where)
    assert (report.files_removed, report.rows_deleted, report.files_added) == (files, rows, 0)


def test_rows_for_which_the_predicate_is_null_stay(lake):
    table = new_table(lake, {"i": "BIGINT", "b": "BOOLEAN"})
    table.append([{"i": 1, "b": True}, {"i": None, "b": None}, {"i": 3, "b": False}])
    assert table.delete("i < 5").rows_deleted == 2
    assert table.delete("b").rows_deleted == 0
    assert table.delete("NULL::BOOLEAN").rows_deleted == 0
    assert table.read().fetchall() == [(None, None)]
    assert table.delete("i IS NULL").rows_deleted == 1
    assert table.files().num_rows == 0


def test_history_and_reports_tell_what_was_done(lake):
    table = three_files(lake)
    report = table.delete("i >= 15", metadata={"ticket": 7}, idempotency_key=("gdpr", 1))
    assert (report.operation, report.rows, report.rows_deleted) == ("delete", 0, 15)
    assert (report.files_added, report.files_removed, report.attempts) == (1, 2, 1)
    commit = table.history()[0]
    assert commit.operation == "DELETE"
    assert dict(commit.parameters) == {"predicate": '["i >= 15"]'}
    metrics = {name: int(value) for name, value in commit.metrics.items()}
    assert metrics == {
        "numRemovedFiles": 2, "numRemovedBytes": report.bytes_removed, "numAddedFiles": 1,
        "numAddedBytes": report.bytes_added, "numDeletedRows": 15, "numCopiedRows": 5,
    }  # fmt: skip
    assert commit.metadata == {"ticket": 7}
    again = table.delete("i >= 0", idempotency_key=("gdpr", 1))
    assert (again.replayed, again.version, again.rows_deleted) == (True, report.version, 15)
    assert table.detail().rows == 15


REFUSED = [
    ("i IN (SELECT 1)", "subquery"), ("EXISTS (SELECT 1)", "subquery"), ("random() < 0.5", "random"),
    ("i < 3 AND uuid() IS NOT NULL", "uuid"), ("ago(INTERVAL 1 DAY) > d", "ago"),
    ("age(d) > INTERVAL 1 DAY", "age"), ("i = $1", "parameters"), ("i = ?", "parameters"),
    ("i = 1) OR (i = 2", "cannot be read"), ("i = 1, i = 2", "one expression"), ("", "expected"),
    ("i = 1; DROP TABLE t", "cannot be read"), ("x FOR x IN [true]", "one expression"),
    ("true] || [true", "one expression"), ("i", "true or false"), ("3", "true or false"),
    ("nothing = 1", "nothing"), ("file_index = 0", "file_index"), ("count(*) > 1", "aggregate"),
    ("sum(i) OVER () > 1", "window"), ("COLUMNS(*) = 1", "star"), ('"now"() > d', "quotes"),
    ("current_setting('threads') = 1", "current_setting"), ("NOT " * 2000 + "i = 1", "deep|depth"), ("i = 1 --", None),
]  # fmt: skip


@pytest.mark.parametrize(("where", "says"), REFUSED)
def test_predicates_that_cannot_say_which_rows_go(lake, where, says):
    table = three_files(lake)
    before = on_disk(table)
    if says is None:
        assert table.delete(where).rows_deleted == 1
        return
    with pytest.raises(lakehouse.InputError, match=f"(?i){says}"):
        table.delete(where)
    assert on_disk(table) == before


def test_long_predicates(lake):
    table = three_files(lake)
    assert table.delete(f"i IN ({', '.join(map(str, range(2, 3000)))})").rows_deleted == 28
    assert table.delete(" OR ".join(f"i = {n}" for n in range(1, 600))).rows_deleted == 1
    assert table.read(columns=["i"]).fetchall() == [(0,)]


def test_columns_that_were_renamed(lake):
    table = three_files(lake)
    table.alter().rename_column("v", "i2")
    table.alter().rename_column(("s", "x"), "y")
    table.delete("s.y IN (3, 4) OR i2 = 'v15'")
    table.append([{"i": 40, "p": "z", "s": {"y": 40}, "i2": "w"}])
    before = ours(table)
    for where in ("i2 LIKE 'v1%' AND s.y > 12", "s.y >= 40", "i2 > 'v5' OR s.y IS NULL"):
        rest = left(before, where)
        assert table.delete(where).rows_deleted == len(before) - len(rest)
        assert comparable(ours(table)) == comparable(rest)
        before = rest
    with pytest.raises(lakehouse.InputError, match="v"):
        table.delete("v = 'v1'")


def test_a_predicate_that_fails_for_a_row_changes_nothing(lake):
    table = three_files(lake)
    before = on_disk(table)
    with pytest.raises(lakehouse.InputError, match="Could not convert"):
        table.delete("CAST(v AS BIGINT) = 1")
    assert on_disk(table) == before


def test_the_current_time_is_that_of_the_call(lake):
    table = new_table(lake, {"moment": "TIMESTAMPTZ", "current_date": "VARCHAR"})
    now = dt.datetime.now(dt.UTC)
    table.append([{"moment": now + dt.timedelta(days=d), "current_date": str(d)} for d in (-2, 2)])
    assert table.delete("moment < NOW ( ) AND moment < current_timestamp").rows_deleted == 1
    assert (
        table.delete("current_date = '2' AND 'é' <> 'ü' AND moment::DATE > today()").rows_deleted
        == 1
    )


@pytest.mark.parametrize("where", ["i < 5", "p = 'a'", "true", "i < 0"])
def test_append_only_tables_are_refused(lake, where):
    table = three_files(lake, properties={"delta.appendOnly": "true"})
    before = on_disk(table)
    with pytest.raises(lakehouse.InputError, match="append-only"):
        table.delete(where)
    assert on_disk(table) == before


def commit_by_hand(table, *actions):
    snapshot = table.snapshot()
    path = commit_path(snapshot.version + 1)
    assert snapshot.storage.put_if_absent(path, to_lines(actions))


def hide_rows(table, add, positions):
    """Mark rows of a file as deleted, as other engines do, in a vector inside of the log."""
    body = struct.pack("<i", 1681511377) + BitMap64(positions).serialize()
    vector = DeletionVector("i", z85_encode(body), len(body), len(positions))
    commit_by_hand(
        table, add.removed(deletion_timestamp=1), dataclasses.replace(add, deletion_vector=vector)
    )


@pytest.mark.parametrize(
    ("where", "deleted", "added"),
    [("i IN (1, 2, 3)", 1, 1), ("i < 10", 8, 0), ("i IN (1, 2)", 0, 0), ("i >= 9", 21, 1)],
)
def test_rows_in_deletion_vectors_are_gone_already(lake, monkeypatch, where, deleted, added):
    features = protocol.WRITE_FEATURES | {"deletionVectors"}
    monkeypatch.setattr(protocol, "WRITE_FEATURES", features)
    table = three_files(lake)
    first = next(add for add in table.snapshot().files.adds() if '"i":0' in str(add.stats))
    hide_rows(table, first, [1, 2])
    before = ours(table)
    assert len(before) == 28
    report = table.delete(where)
    assert (report.rows_deleted, report.files_added) == (deleted, added)
    assert comparable(ours(table)) == comparable(left(before, where))
    assert comparable(delta_rs(table)) == comparable(ours(table))


@pytest.mark.parametrize("case", ["column_mapping", "stats_as_struct", "no_stats"])
def test_tables_of_others(lake, acceptance, monkeypatch, case):
    """Physical names, and statistics in other places or none."""
    features = frozenset(("columnMapping",))
    monkeypatch.setattr(protocol, "WRITE_FEATURES", protocol.WRITE_FEATURES | features)
    table = lake.register_table(f"bronze.dat_{case}", acceptance / case / "delta")
    before = ours(table)
    column = max(before.schema.names, key=lambda name: len(before[name].unique()))
    value = before[column][0].as_py()
    where = f"{column} = {value!r}"
    rest = left(before, where)
    assert 0 < len(rest) < len(before)
    assert table.delete(where).rows_deleted == len(before) - len(rest)
    assert comparable(ours(table)) == comparable(rest)
