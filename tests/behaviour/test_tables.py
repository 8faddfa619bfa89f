"""Rows go in and come out: every type, awkward names and values, deletes, checkpoints, upkeep."""

import datetime as dt
import decimal
import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import compaction
import lakehouse
from lakehouse.table import second_opinion
from lakehouse.testing import lint
from lakehouse.testing.agreement import count_rows
from lakehouse.testing.rows import PARTITION_TEXTS
from tests.behaviour.place import rows

EVERY_TYPE = pa.table(
    {
        "i": pa.array([1, None], pa.int64()),
        "small": pa.array([-128, None], pa.int8()),
        "x": pa.array([float("nan"), None], pa.float64()),
        "money": pa.array([decimal.Decimal("12345678901234567.89"), None], pa.decimal128(20, 2)),
        "ok": pa.array([True, None]),
        "text": pa.array(["häßlich\n\0'\"", None]),
        "raw": pa.array([b"\x00\xff", None]),
        "day": pa.array([dt.date(1600, 2, 29), None]),
        "at": pa.array(
            [dt.datetime(2024, 1, 1, 0, 0, 0, 1, dt.UTC), None], pa.timestamp("us", "UTC")
        ),
        "local": pa.array([1_704_067_200_000_000, None], pa.timestamp("us")),
        "words": pa.array([["a", None], None], pa.list_(pa.string())),
        "point": pa.array([{"x": 1, "y": [2]}, None]),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    }
)


def wrong(table, expected, place):
    """Return what the linter, we and another engine find wrong with a table's rows."""
    found = [str(finding) for finding in lint(table.snapshot().storage)]
    readers = {"ours": table.read().to_arrow_table()}
    if place.backend != "memory":  # that is in this process, where deltalake cannot look
        readers["deltalake"] = second_opinion.read_rows(table.to_deltalake())
    columns = expected.column_names
    return found + [
        f"{name}: {rows.to_pydict()}"
        for name, rows in readers.items()
        if count_rows(rows.select(columns)) != count_rows(expected)
    ]


def test_values_of_every_type(lake, other):
    table = lake.create_table("bronze.t", EVERY_TYPE.schema)
    assert table.append(EVERY_TYPE.to_reader()).rows == 2
    found = other.table("bronze.t").read().to_arrow_table()
    assert found.cast(EVERY_TYPE.schema).drop(["x"]).equals(EVERY_TYPE.drop(["x"]))
    assert str(found["x"].to_pylist()) == "[nan, None]"


def test_rows_that_do_not_fit_change_nothing(lake, other):
    table = lake.create_table("bronze.t", {"n": "TINYINT NOT NULL"})
    table.append([{"n": 1}])
    bad_rows: tuple[Any, ...] = ({"n": 1000}, {"n": None}, {"n": 1.5}, {"m": 1})
    for bad in bad_rows:
        with pytest.raises(lakehouse.DataError):
            table.append([{"n": 2}, bad])
    assert other.table("bronze.t").version == 1
    assert rows(other.sql("FROM bronze.t")) == [(1,)]


def test_a_file_larger_than_one_request(lake, other):
    """It goes up in several parts, and comes down in several ranges."""
    table = lake.create_table("bronze.t", {"n": "BIGINT", "noise": "VARCHAR"})
    query = "SELECT range AS n, md5(range::VARCHAR) || sha1(range::VARCHAR) AS noise FROM range({})"
    report = table.append(lake.sql(query.format(400_000)))
    assert report.bytes_added > 12 << 20
    there = other.table("bronze.t")
    whole = other.sql("SELECT count(*), sum(n), count(DISTINCT noise) FROM bronze.t").fetchall()
    assert whole == [(400_000, 399_999 * 200_000, 400_000)]
    assert len(there.read(where="n BETWEEN 250000 AND 250009").fetchall()) == 10


def test_deletes_copy_the_files_that_hold_a_match(place, lake, other):
    table = lake.create_table("silver.t", {"p": "VARCHAR", "n": "BIGINT"}, partition_by="p")
    for p in "abc":
        table.append([{"p": p, "n": n} for n in range(10)])
    stale = other.table("silver.t")
    assert stale.version == 3
    whole = table.delete("p = 'a'")
    assert (whole.rows_deleted, whole.files_added, whole.files_removed) == (10, 0, 1)
    some = stale.delete("p <= 'b' AND n % 2 = 0")
    assert (some.rows_deleted, some.files_added, some.files_removed) == (5, 1, 1)
    left = pa.table({"p": [*"b" * 5, *"c" * 10], "n": [1, 3, 5, 7, 9, *range(10)]})
    assert wrong(table, left, place) == []
    assert table.delete("n > 100").version == some.version


def test_partial_overwrites_replace_what_matches(place, lake, other):
    table = lake.create_table("silver.t", {"p": "VARCHAR", "n": "BIGINT"}, partition_by="p")
    for p in "ab":
        table.append([{"p": p, "n": n} for n in range(3)])
    with pytest.raises(lakehouse.DataError, match="is not true for"):
        table.overwrite([{"p": "b", "n": 9}], where="p = 'a'")
    report = other.table("silver.t").overwrite([{"p": "a", "n": 9}], where="p = 'a' AND n > 0")
    assert (report.rows, report.rows_deleted) == (1, 2)
    left = pa.table({"p": [*"aabbb"], "n": [0, 9, 0, 1, 2]})
    assert wrong(table, left, place) == []


def test_an_overwrite_keeps_earlier_versions(lake, other):
    table = lake.create_table("silver.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    table.overwrite([{"n": 2}, {"n": 3}])
    there = other.table("silver.t")
    assert rows(there.read()) == [(2,), (3,)]
    assert rows(there.read(version=1)) == [(1,)]


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
def test_partition_values_with_awkward_characters(place, lake, other, mapped):
    # A folder whose name is too long is refused, by disks and by MinIO.
    texts = [text for text in PARTITION_TEXTS if len(quote(text)) < 150]
    data = pa.table({"p": [*texts, None], "n": range(len(texts) + 1)})
    properties = {"delta.columnMapping.mode": "name"} if mapped else {}
    table = lake.create_table("silver.t", data.schema, partition_by="p", properties=properties)
    table.append(data)
    assert wrong(table, data, place) == []
    there = other.table("silver.t")
    for text in ("a/b", "%41", "..", "a#b?c&d", "😀", " a "):
        found = other.sql("SELECT n FROM silver.t WHERE p = ?", [text]).fetchall()
        assert found == [(texts.index(text),)]
    assert there.delete("p LIKE '%/%' OR p IS NULL").rows_deleted == 2
    assert (
        wrong(table, data.filter(pc.invert(pc.is_in(data["p"], pa.array(["a/b", None])))), place)
        == []
    )


def test_names_of_columns_with_awkward_characters(place, lake, other):
    names = ["a b", "ä/ö", "x.y", "100%", 'say "it"', "SELECT", "=;,{}()"]
    data = pa.table({name: pa.array([n, None]) for n, name in enumerate(names)})
    table = lake.create_table(
        "silver.t", data.schema, properties={"delta.columnMapping.mode": "name"}
    )
    table.append(data)
    assert other.table("silver.t").read().to_arrow_table().equals(data)
    assert other.sql('SELECT "ä/ö" + "x.y" FROM silver.t WHERE "100%" = 3').fetchall() == [(3,)]


def test_a_write_with_a_key_happens_once(lake, other):
    table = lake.create_table("silver.t", {"n": "BIGINT"})
    first = table.append([{"n": 1}], idempotency_key=("load", 7))
    again = other.table("silver.t").append([{"n": 1}], idempotency_key=("load", 7))
    assert (again.replayed, again.version, again.rows) == (True, first.version, 1)
    table.checkpoint()
    assert table.delete("n = 1", idempotency_key=("load", 6)).replayed
    assert other.table("silver.t").append([{"n": 2}], idempotency_key=("load", 8)).version == 2
    assert rows(table.read()) == [(1,), (2,)]


@pytest.mark.parametrize("policy", ["classic", "v2"])
def test_a_checkpoint_stands_for_the_commits_before_it(place, lake, other, policy):
    table = lake.create_table(
        "silver.t",
        {"p": "VARCHAR", "n": "BIGINT"},
        partition_by="p",
        properties={"delta.checkpointPolicy": policy, "delta.checkpointInterval": "1000"},
    )
    for n in range(4):
        table.append([{"p": f"ä {n}/", "n": n}])
    table.delete("n = 0")
    assert table.checkpoint() > 0
    storage = table.snapshot().storage
    storage.delete([f"_delta_log/{version:020d}.json" for version in range(5)])
    there = other.table("silver.t")
    assert rows(there.read(columns=["n"])) == [(1,), (2,), (3,)]
    assert rows(other.sql("SELECT n FROM silver.t WHERE p = 'ä 2/'")) == [(2,)]
    there.append([{"p": "x", "n": 9}])
    assert table.detail().rows == 4
    assert there.bounds("n") == (1, 9)
    if place.backend != "memory":
        assert there.to_deltalake().version() == 6


def test_checkpoints_are_written_behind_commits(lake, other):
    table = lake.create_table("silver.t", {"n": "BIGINT"})
    for n in range(12):
        table.append([{"n": n}])
    lake.settle()
    names = [item.path for item in table.snapshot().storage.list("_delta_log")]
    assert [name for name in names if "checkpoint.parquet" in name]
    assert "_delta_log/_last_checkpoint" in names
    assert other.sql("SELECT count(*), max(n) FROM silver.t").fetchall() == [(12, 11)]


def test_small_files_are_merged_beside_readers(place, lake, other):
    table = lake.create_table("silver.t", {"p": "VARCHAR", "n": "BIGINT"}, partition_by="p")
    for n in range(6):
        table.append([{"p": "ab"[n % 2], "n": n}])
    reading = other.sql("SELECT n FROM silver.t")
    (report,) = compaction.run(lake)
    assert (report.files_before, report.files_after) == (6, 2)
    assert rows(reading) == [(n,) for n in range(6)]
    expected = pa.table({"p": [*"ababab"], "n": range(6)})
    assert wrong(table, expected, place) == []


def test_leftovers_of_dead_writers_are_collected(lake, other):
    table = lake.create_table("silver.t", {"p": "VARCHAR", "n": "BIGINT"}, partition_by="p")
    table.append([{"p": "a b", "n": 1}])
    storage = table.snapshot().storage
    live = table.files()["path"].to_pylist()
    dead = live[0].replace("part-", "part-dead-") if "part-" in live[0] else f"{live[0]}.parquet"
    storage.put(dead, b"half a file")
    time.sleep(1.1)  # stores tell the time of a file to the second
    there = other.table("silver.t")
    assert [item.path for item in there.leftovers(older_than=timedelta(0))] == [dead]
    assert there.leftovers() == ()
    assert there.collect_leftovers(older_than=timedelta(0)).files == 1
    assert storage.head(dead) is None
    assert rows(table.read()) == [("a b", 1)]


def test_rules_are_kept_by_every_connection(lake, other):
    table = lake.create_table("silver.t", {"n": "BIGINT", "s": "VARCHAR"})
    table.alter().add_constraint("positive", "n > 0")
    there = other.table("silver.t")
    with pytest.raises(lakehouse.DataError, match="positive"):
        there.append([{"n": 1}, {"n": -1}])
    assert there.append([{"n": 1}]).rows == 1


def test_a_data_file_that_is_gone_is_an_error(lake, other):
    table = lake.create_table("silver.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    table.snapshot().storage.delete(table.files()["path"].to_pylist())
    target = other.create_table("silver.copy", {"n": "BIGINT"})
    with pytest.raises(lakehouse.StorageError, match=r"part-.*parquet"):
        target.append(other.sql("SELECT n FROM silver.t"))
    assert target.version == 0
    with pytest.raises(lakehouse.StorageError):
        other.table("silver.t").rewrite(table.files()["path"].to_pylist())
