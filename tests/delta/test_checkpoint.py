"""Checkpoints: whole without the commits before them, for us and for other readers."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import deltalake
import polars as pl
import pytest

import lakehouse

TYPES = {
    "id": "BIGINT NOT NULL",
    "part": "VARCHAR",
    "at": "TIMESTAMPTZ",
    "amount": "DECIMAL(30,4)",
    "inner": "STRUCT(a INTEGER, b VARCHAR)",
    "list": "INTEGER[]",
}


def _row(number):
    return {
        "id": number,
        "part": None if number % 5 == 0 else f"p/{number % 3}",
        "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number, microseconds=number),
        "amount": Decimal(number) / 10000,
        "inner": {"a": number, "b": "x" * (number % 50)},
        "list": [number],
    }


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


@pytest.fixture
def table(lake):
    table = lake.create_table(
        "bronze.t", TYPES, partition_by="part", properties={"delta.checkpointInterval": 5}
    )
    for number in range(12):
        table.append([_row(number)])
        lake.settle()
    table.overwrite([_row(number) for number in range(8)])
    table.append([_row(20)])
    return table


def _log(table):
    return Path(table.uri, "_delta_log")


def _forget_commits_before(table, version):
    for number in range(version):
        (_log(table) / f"{number:020d}.json").unlink(missing_ok=True)


def test_commits_write_checkpoints_at_the_interval(table):
    names = sorted(path.name[:20] for path in _log(table).glob("*.checkpoint.parquet"))
    assert [int(name) for name in names] == [5, 10]
    assert json.loads((_log(table) / "_last_checkpoint").read_text())["version"] == 10


def test_a_checkpoint_replaces_all_commits_before_it(lake, table):
    expected = sorted(table.read().fetchall())
    version = table.version
    table.checkpoint()
    _forget_commits_before(table, version)
    with lakehouse.connect(lake.uri) as fresh:
        again = fresh.table("bronze.t")
        assert again.snapshot().checkpoint_version == version
        assert sorted(again.read().fetchall()) == expected
        assert [row[0] for row in again.read(where="id = 20").fetchall()] == [20]
        again.append([_row(30)])
        assert again.version == version + 1
    peers = (
        deltalake.QueryBuilder()
        .register("t", deltalake.DeltaTable(table.uri))
        .execute("SELECT id FROM t ORDER BY id")
        .read_all()
    )
    wanted = [*range(8), 20, 30]
    assert peers["id"].to_pylist() == wanted
    assert pl.read_delta(table.uri)["id"].sort().to_list() == wanted


def test_an_empty_table_has_a_checkpoint(lake):
    table = lake.create_table("bronze.empty", {"n": "BIGINT"})
    assert table.checkpoint() > 0
    table.append([{"n": 1}])
    table.delete("n = 1")
    assert table.checkpoint() > 0
    with lakehouse.connect(lake.uri) as fresh:
        assert fresh.table("bronze.empty").read().fetchall() == []
    assert deltalake.DeltaTable(table.uri).file_uris() == []


def test_tombstones_stay_until_they_expire(table):
    table.checkpoint()
    removed = deltalake.DeltaTable(table.uri)
    state = pl.read_parquet(_log(table) / f"{table.version:020d}.checkpoint.parquet")
    kept = state["remove"].struct.field("path").drop_nulls()
    assert len(kept) == 12
    assert removed.version() == table.version


@pytest.mark.parametrize("damage", ["truncate", "garbage", "hint", "hint to nowhere"])
def test_a_damaged_checkpoint_is_passed_over_while_the_log_is_whole(lake, table, damage):
    expected = sorted(table.read().fetchall())
    newest = _log(table) / f"{10:020d}.checkpoint.parquet"
    hint = _log(table) / "_last_checkpoint"
    match damage:
        case "truncate":
            newest.write_bytes(newest.read_bytes()[:-20])
        case "garbage":
            newest.write_bytes(b"PAR1 nonsense PAR1")
        case "hint":
            hint.write_text("{")
        case _:
            hint.write_text('{"version": 9999}')
    with lakehouse.connect(lake.uri) as fresh:
        assert sorted(fresh.table("bronze.t").read().fetchall()) == expected


def test_a_damaged_checkpoint_without_its_log_is_a_typed_error(lake, table):
    version = table.version
    table.checkpoint()
    _forget_commits_before(table, version)
    for file in _log(table).glob("*.checkpoint.parquet"):
        file.write_bytes(b"PAR1 nonsense PAR1")
    with (
        lakehouse.connect(lake.uri) as fresh,
        pytest.raises(lakehouse.CorruptionError, match="checkpoint"),
    ):
        fresh.table("bronze.t").read()


def test_a_checkpoint_of_a_table_without_files_and_one_after_another(lake):
    empty = lake.create_table("silver.t", {"a": "INTEGER"})
    empty.checkpoint()
    empty.append([{"a": 1}])
    empty.checkpoint()
    with lakehouse.connect(lake.uri, durable=False) as second:
        other = second.table("silver.t")
        other.alter().describe("no file since the checkpoint")
        other.checkpoint()
        assert other.read().fetchall() == [(1,)]
    _forget_commits_before(empty, 3)
    with lakehouse.connect(lake.uri, durable=False) as third:
        assert third.table("silver.t").read().fetchall() == [(1,)]


def test_a_checkpoint_has_columns_for_the_actions_that_the_table_has(lake):
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}, {"n": 2}])
    found = []
    for number in range(2):
        table.checkpoint()
        (path,) = _log(table).glob(f"{table.version:020d}.checkpoint.parquet")
        found.append(set(pl.read_parquet_schema(path)) - {"add", "metaData", "protocol"})
        _forget_commits_before(table, table.version)
        assert len(deltalake.DeltaTable(table.uri).file_uris()) == 1
        assert pl.scan_delta(table.uri).collect().height == 2 - number
        if not number:
            table.delete("n = 1", idempotency_key=("once", 1))
    assert found == [set(), {"remove", "txn"}]
