"""The change feed tells the difference between versions, whatever the commits between them did."""

import dataclasses
import datetime as dt
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta.actions import OtherAction, RemoveFile
from lakehouse.delta.codec import to_lines
from lakehouse.delta.deletion_vector import Vectors
from lakehouse.delta.feed import is_readable_as, parts
from lakehouse.delta.log import commit_path
from lakehouse.delta.schema.fields import Array, Decimal, Field, Primitive, Struct
from tests.dml.test_delete import hide_rows
from tests.types.engines import effort, new_table

FEED = {"delta.enableChangeDataFeed": True}
WITH_VECTORS = {**FEED, "delta.enableDeletionVectors": True}
SCHEMA = {"k": "BIGINT", "p": "VARCHAR", "d": "DECIMAL(20,2)"}
WHERES = ["k % 2 = 0", "k < 4", "p = 'a'", "d > 3", "p IS NULL OR k = 5", "true", "k > 100"]

new_rows = st.lists(
    st.fixed_dictionaries(
        {"k": st.integers(0, 9), "p": st.sampled_from(["a", "b", None]), "d": st.integers(0, 9)}
    ),
    min_size=1,
    max_size=5,
).map(
    lambda rows: pa.Table.from_pylist(
        [{**row, "d": row["d"]} for row in rows],
        schema=pa.schema([("k", pa.int64()), ("p", pa.string()), ("d", pa.int64())]),
    )
)


def counted(rows) -> Counter:
    return Counter(tuple(row) for row in rows)


def applied(before: Counter, changes) -> Counter:
    """Return the rows of a version after changes: (k, p, d, _change_type) each."""
    after = Counter(before)
    for *row, kind in changes:
        after[tuple(row)] += 1 if kind in ("insert", "update_postimage") else -1
    assert min(after.values(), default=0) >= 0
    return +after


@effort(0.1)
@given(
    data=st.data(),
    properties=st.sampled_from([FEED, WITH_VECTORS]),
    partition_by=st.sampled_from([(), ("p",)]),
    mode=st.sampled_from(["none", "name", "id"]),
)
def test_the_feed_is_the_difference_of_the_versions(lake, data, properties, partition_by, mode):
    table = new_table(
        lake,
        SCHEMA,
        partition_by=partition_by,
        properties={**properties, "delta.columnMapping.mode": mode},
    )
    verbs = st.sampled_from(
        ["append", "delete", "delete", "replace", "overwrite", "restore", "rewrite"]
    )
    for _ in range(data.draw(st.integers(1, 5))):
        verb = data.draw(verbs)
        note(verb)
        match verb:
            case "append":
                table.append(data.draw(new_rows))
            case "overwrite":
                table.overwrite(data.draw(new_rows))
            case "delete":
                table.delete(data.draw(st.sampled_from(WHERES)))
            case "replace":
                where = data.draw(st.sampled_from(["k >= 0", "k < 10 AND d >= 0"]))
                table.overwrite(data.draw(new_rows), where=where)
            case "restore":
                table.restore(data.draw(st.integers(0, table.version)))
            case _:
                table.rewrite(table.files()["path"].to_pylist())
    versions = [
        counted(table.read(version=version).select("k, p, d").fetchall())
        for version in range(table.version + 1)
    ]
    columns = "k, p, d, _change_type"
    rows = Counter(versions[0])
    for version in range(1, table.version + 1):
        own = table.changes(since=version, until=version).select(columns).fetchall()
        rows = applied(rows, own)
        assert rows == versions[version]
        event(f"changes: {len(own) > 0}")
    first = data.draw(st.integers(1, table.version + 1))
    whole = table.changes(since=first).select(f"{columns}, _commit_version").fetchall()
    assert applied(versions[first - 1], [row[:-1] for row in whole]) == versions[-1]
    assert all(first <= row[-1] <= table.version for row in whole)
    sql = f"SELECT {columns}, _commit_version FROM table_changes('{table.name}', ?)"
    assert counted(lake.sql(sql, [first]).fetchall()) == counted(whole)
    if mode == "none" and "delta.enableDeletionVectors" not in properties:
        assert counted(by_delta_rs(table, first)) == counted(whole)


def by_delta_rs(table, first) -> list[tuple]:
    """Return the feed as delta-rs gives it."""
    if first > table.version:
        return []
    found = pa.table(table.to_deltalake().load_cdf(starting_version=first).read_all())
    columns = ["k", "p", "d", "_change_type", "_commit_version"]
    return [tuple(row[name] for name in columns) for row in found.to_pylist()]


@pytest.fixture
def table(lake):
    table = new_table(lake, SCHEMA, properties=WITH_VECTORS)
    table.append([{"k": k, "p": "a", "d": k} for k in range(6)])
    table.delete("k = 1")
    table.overwrite([{"k": 2, "p": "b", "d": 0}], where="k = 2")
    table.delete("k >= 0")
    return table


def kinds(relation) -> dict[tuple, int]:
    found = relation.aggregate("_commit_version, _change_type, count(*)").fetchall()
    return {(version, kind): count for version, kind, count in found}


EVERY = {
    (1, "insert"): 6, (2, "delete"): 1, (3, "delete"): 1, (3, "insert"): 1, (4, "delete"): 5,
}  # fmt: skip


def test_change_files_tell_all_of_their_commit_and_are_written_only_where_they_must(table):
    assert kinds(table.changes(since=0)) == EVERY
    storage = table.snapshot().storage
    named = [b'"cdc"' in storage.read(commit_path(version)) for version in range(5)]
    assert named == [False, False, True, True, True]  # the last one of files with vectors
    delta_rs = Counter((row[4], row[3]) for row in by_delta_rs(table, 0))
    assert delta_rs == EVERY


def test_a_range_by_versions_and_by_times(table):
    for first in range(6):
        for last in range(max(0, first - 1), 5):
            expected = {key: n for key, n in EVERY.items() if first <= key[0] <= last}
            assert kinds(table.changes(since=first, until=last)) == expected
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    for version in range(5):
        moment = (start + dt.timedelta(hours=version)).timestamp()
        os.utime(Path(table.uri, commit_path(version)), (moment, moment))

    def at(hours: float) -> str:
        return (start + dt.timedelta(hours=hours)).isoformat()

    for since, until, first, last in [
        (1, 3, 1, 3), (0.5, 2.5, 1, 2), (-1, 4, 0, 4), (2.5, 2.6, 3, 2), (4, 9, 4, 4), (0, 0, 0, 0),
    ]:  # fmt: skip
        expected = {key: n for key, n in EVERY.items() if first <= key[0] <= last}
        assert kinds(table.changes(since=at(since), until=at(until))) == expected
    (stamp,) = {
        row[0] for row in table.changes(since=2, until=2).select("_commit_timestamp").fetchall()
    }
    assert stamp == start + dt.timedelta(hours=2)


def test_times_are_those_that_commits_carry(lake):
    table = new_table(lake, SCHEMA, properties={**FEED, "delta.enableInCommitTimestamps": True})
    table.append([{"k": 1}])
    told = table.history()[0].timestamp
    os.utime(Path(table.uri, commit_path(1)), (1, 1))
    assert table.changes(since=1).select("_commit_timestamp").fetchall() == [(told,)]
    assert table.changes(since=told).select("k").fetchall() == [(1,)]


def test_columns_of_the_last_version(lake):
    table = new_table(
        lake,
        SCHEMA,
        properties={**FEED, "delta.enableTypeWidening": True, "delta.columnMapping.mode": "name"},
    )
    table.append([{"k": 1, "p": "a", "d": 1}])
    table.append([{"k": 2, "p": "b", "d": 1, "extra": 7}], schema_mode="add")
    table.delete("k = 1")
    table.alter().rename_column("p", "part")
    table.alter().drop_column("d")
    relation = table.changes(since=1)
    assert relation.columns == [
        "k",
        "part",
        "extra",
        "_change_type",
        "_commit_version",
        "_commit_timestamp",
    ]
    assert sorted(relation.select("k, part, extra, _change_type").fetchall(), key=repr) == [
        (1, "a", None, "delete"), (1, "a", None, "insert"), (2, "b", 7, "insert"),
    ]  # fmt: skip
    assert table.changes(since=1, until=1).columns[:3] == ["k", "p", "d"]


def test_columns_that_cannot_be_read_as_the_last_are_refused(lake):
    table = new_table(lake, {"k": "BIGINT", "v": "VARCHAR"}, properties=FEED)
    table.append([{"k": 1, "v": "x"}])
    table.overwrite([{"k": 1, "v": 5}], schema_mode="overwrite")
    with pytest.raises(
        lakehouse.InputError, match="version 1 cannot be read as those of version 2"
    ):
        table.changes(since=1)
    assert table.changes(since=1, until=1).select("v, _change_type").fetchall() == [("x", "insert")]


@given(
    old=st.sampled_from(["byte", "short", "integer", "long", "float", "double", "string", "date"]),
    new=st.sampled_from(["byte", "short", "integer", "long", "float", "double", "string", "date"]),
    wrap=st.sampled_from([lambda t: t, Array, lambda t: Struct((Field("x", t),))]),
)
def test_only_what_no_value_is_lost_by_is_readable(old, new, wrap):
    a, b = wrap(Primitive(old)), wrap(Primitive(new))
    found = is_readable_as(Struct((Field("c", a),)), Struct((Field("c", b), Field("d", a))))
    order = ["byte", "short", "integer", "long"]
    wider = old in order and new in order and order.index(old) <= order.index(new)
    to_double = new == "double" and old in ("byte", "short", "integer", "float")
    assert found == (old == new or wider or to_double)
    assert not is_readable_as(Struct((Field("c", a),)), Struct((Field("c", Decimal(3, 1)),))) or (
        wrap(Primitive("byte")) == a and old in order
    )


def test_ranges_without_a_feed_are_refused(lake):
    table = new_table(lake, SCHEMA)
    table.append([{"k": 1}])
    with pytest.raises(lakehouse.InputError, match="enableChangeDataFeed was not on"):
        table.changes(since=1)
    table.alter().set_properties(FEED)
    table.append([{"k": 2}])
    with pytest.raises(lakehouse.InputError, match="version 1 of the table recorded no changes"):
        table.changes(since=1)
    assert table.changes(since=2).select("k").fetchall() == [(2,)]
    table.alter().set_properties({"delta.enableChangeDataFeed": False})
    with pytest.raises(lakehouse.InputError, match="version 4"):
        table.changes(since=2)
    assert table.changes(since=2, until=3).select("k").fetchall() == [(2,)]
    for since, until in [(7, None), (1, 9), (-1, None)]:
        with pytest.raises(lakehouse.NotFoundError):
            table.changes(since=since, until=until)
    wrong: list[Any] = [True, 1.5, "soon"]
    for moment in wrong:
        with pytest.raises(lakehouse.InputError):
            table.changes(since=moment)


def test_names_of_the_feed_are_not_for_columns(lake):
    with pytest.raises(lakehouse.InputError, match="_change_type"):
        new_table(lake, {"k": "BIGINT", "_change_type": "VARCHAR"}, properties=FEED)
    table = new_table(lake, {"k": "BIGINT", "_Commit_Version": "BIGINT"})
    with pytest.raises(lakehouse.InputError, match="_Commit_Version"):
        table.alter().set_properties(FEED)


def test_what_the_log_or_the_folder_has_lost(lake, table):
    for path in Path(table.uri).glob("*.parquet"):
        path.unlink()
    with pytest.raises(lakehouse.NotFoundError, match="of their files are gone"):
        table.changes(since=1)
    assert kinds(table.changes(since=2, until=2)) == {(2, "delete"): 1}
    table.checkpoint()
    Path(table.uri, commit_path(2)).unlink()
    with lakehouse.connect(lake.uri) as fresh:
        again = fresh.table(table.name)
        with pytest.raises(lakehouse.NotFoundError, match="version 1 are not there any more"):
            again.changes(since=1)


def test_a_vector_that_others_wrote_without_change_files(lake, table):
    table.append([{"k": k, "p": "x", "d": k} for k in range(4)])
    (add,) = table.snapshot().files.adds()
    hide_rows(table, add, [1, 2])
    version = table.version
    (add,) = table.snapshot().files.adds()
    hide_rows(table, add, [2, 3])
    found = table.changes(since=version).select("_commit_version, k, _change_type").fetchall()
    assert sorted(found) == [
        (version, 1, "delete"), (version, 2, "delete"),
        (version + 1, 1, "insert"), (version + 1, 3, "delete"),
    ]  # fmt: skip
    bare = dataclasses.replace(add, stats=None)
    removed = bare.removed(deletion_timestamp=1)
    added = dataclasses.replace(bare, deletion_vector=None)
    unknown = list(
        parts([removed, added], where="x", rows_of=Vectors(table.snapshot().storage).rows)
    )
    assert sorted(str(part.kind) for part in unknown) == ["delete", "insert"]


def test_commits_that_cannot_be_told(lake, table):
    storage = table.snapshot().storage
    assert storage.put_if_absent(commit_path(5), to_lines([RemoveFile("a.parquet", 1)]))
    with pytest.raises(lakehouse.UnsupportedError, match="of which partition"):
        table.changes(since=5)
    outside = OtherAction("cdc", {"path": "../a.parquet", "partitionValues": {}, "size": 1})
    assert storage.put_if_absent(commit_path(6), to_lines([outside]))
    with pytest.raises(lakehouse.CorruptionError):
        table.changes(since=6)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM table_changes('bronze.nothing', 1)",
        "FROM table_changes('{t}')",
        "FROM table_changes({t}, 1)",
        "FROM table_changes('{t}', NULL)",
        "FROM table_changes('{t}', 1, 2, 3)",
    ],
)
def test_calls_of_table_changes_that_cannot_work(lake, table, sql):
    with pytest.raises(lakehouse.InputError):
        lake.sql(sql.format(t=table.name))


def test_table_changes_among_other_tables(lake, table):
    name = table.name
    both = f"SELECT a.k FROM table_changes('{name}', 1, 1) a JOIN table_changes('{name}', 2, 2) AS b USING (k)"
    assert lake.sql(both).fetchall() == [(1,)]
    since = "TIMESTAMP '2000-01-01'"
    sql = f"SELECT count(*), (SELECT count(*) FROM {name}) FROM table_changes('{name}', {since}) c WHERE c.k > 1"
    assert lake.sql(sql).fetchall() == [(10, 0)]
    filtered = f"SELECT k FROM table_changes('{name}', ?, ?) WHERE k > ?"
    assert sorted(lake.sql(filtered, [1, 2, 4]).fetchall()) == [(5,)]
