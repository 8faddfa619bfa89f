"""Checkpoints behind commits: when they are due, and that nothing they do touches a commit."""

import json
import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog.errors import StorageError
from catalog.storage import StoredObject
from lakehouse import table as verbs
from lakehouse.delta.cadence import BYTES_PER_BYTE, INTERVAL, LONGEST, Lag, asks, is_due, lag_of
from lakehouse.delta.checkpoint import write_checkpoint


@given(
    commits=st.lists(st.integers(1, 5_000_000), min_size=1, max_size=400),
    checkpoint_bytes=st.integers(0, 100_000_000),
)
def test_replay_time_and_write_volume_are_bounded(commits, checkpoint_bytes):
    """Whatever the commits are: at most 100 to replay, and few bytes of checkpoints."""
    since, grown, written, logged, last = 0, 0, 0, 0, 0
    for version, size in enumerate(commits):
        since, grown, logged = since + 1, grown + size, logged + size
        if asks(version, {}) and is_due(Lag(since, grown, last)):
            assert since >= INTERVAL
            last = checkpoint_bytes
            written += last
            since, grown = 0, 0
        assert since < LONGEST + INTERVAL
    seldom = (len(commits) // LONGEST + 1) * checkpoint_bytes
    assert written <= BYTES_PER_BYTE * logged + seldom + checkpoint_bytes


@given(st.integers(1, 50), st.integers(1, 200), st.integers(0, 1 << 40))
def test_an_interval_that_is_set_is_kept_to(interval, commits, size):
    properties = {"delta.checkpointInterval": str(interval)}
    assert is_due(Lag(commits, 1, size), interval) == (commits >= interval)
    assert asks(commits, properties) == (commits % interval == 0)


def test_the_lag_is_measured_from_the_newest_whole_checkpoint():
    def item(name, size):
        return StoredObject(f"_delta_log/{name}", size, datetime.now(UTC))

    objects = [item(f"{v:020d}.json", 10 + v) for v in range(8)]
    assert lag_of(objects, 7) == Lag(8, sum(10 + v for v in range(8)), 0)
    objects += [item(f"{3:020d}.checkpoint.{n:010d}.{2:010d}.parquet", 500) for n in (1, 2)]
    objects += [item(f"{5:020d}.checkpoint.{1:010d}.{2:010d}.parquet", 900)]
    assert lag_of(objects, 6) == Lag(3, 14 + 15 + 16, 1000)
    assert not is_due(lag_of([*objects, item(f"{7:020d}.checkpoint.parquet", 5)], 6), 1)


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


def _create(lake, interval=2):
    properties = {"delta.checkpointInterval": interval}
    return lake.create_table("bronze.t", {"n": "BIGINT"}, properties=properties)


def _checkpoints(table):
    names = (path.name for path in Path(table.uri, "_delta_log").glob("*.checkpoint.parquet"))
    return sorted(int(name[:20]) for name in names)


def test_commits_do_not_wait_and_of_waiting_checkpoints_only_the_newest_is_written(
    lake, monkeypatch
):
    table = _create(lake)
    begun, go = threading.Event(), threading.Event()
    write = write_checkpoint

    def slow(snapshot, engine):
        begun.set()
        assert go.wait(60)
        return write(snapshot, engine)

    monkeypatch.setattr(verbs, "write_checkpoint", slow)
    for number in range(2):
        table.append([{"n": number}])
    assert begun.wait(60)
    for number in range(6):
        table.append([{"n": number}])
    assert (table.version, _checkpoints(table)) == (8, [])
    go.set()
    lake.settle()
    assert _checkpoints(table) == [2, 8]
    hint = Path(table.uri, "_delta_log", "_last_checkpoint")
    assert json.loads(hint.read_text())["version"] == 8
    assert not [t for t in threading.enumerate() if t.name == "lakehouse-background"]


@pytest.mark.parametrize("error", [StorageError, OSError])
def test_a_failure_is_logged_with_the_table_and_the_commit_stands(lake, monkeypatch, caplog, error):
    table = _create(lake)

    def fail(snapshot, engine):
        raise error("disk full")

    monkeypatch.setattr(verbs, "write_checkpoint", fail)
    with caplog.at_level(logging.WARNING, logger="lakehouse"):
        for number in range(2):
            assert table.append([{"n": number}]).version == number + 1
        lake.settle()
    (record,) = caplog.records
    assert "bronze.t" in record.getMessage()
    monkeypatch.undo()
    for number in range(2):
        table.append([{"n": number}])
    lake.settle()
    assert _checkpoints(table) == [4]


def test_closing_the_lake_finishes_what_was_begun(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = _create(lake)
        for number in range(2):
            table.append([{"n": number}])
    assert _checkpoints(table) == [2]


PROGRAM = """
import lakehouse, sys
lake = lakehouse.connect(sys.argv[1])
table = lake.table("bronze.t")
for number in range(2):
    table.append([{"n": number}])
"""


def test_a_program_that_ends_without_closing_leaves_a_whole_checkpoint(lake):
    table = _create(lake)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, lake.uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert _checkpoints(table) == [2]
    assert not list(Path(table.uri).rglob("*tmp*"))
    with lakehouse.connect(lake.uri) as fresh:
        assert fresh.table("bronze.t").snapshot().checkpoint_version == 2


def test_checkpoints_let_old_entries_go(lake):
    table = _create(lake)
    table.append([{"n": 0}])
    table.append([{"n": 1}])
    lake.settle()
    for path in Path(table.uri, "_delta_log").iterdir():
        age = int(path.name[:20]) if path.name[0] == "0" else 9
        os.utime(path, (age, age))
    with lakehouse.connect(lake.uri, durable=False) as fresh:
        again = fresh.table("bronze.t")
        again.append([{"n": 2}])
        again.append([{"n": 3}])
        fresh.settle()
        assert [commit.version for commit in again.history()] == [4, 3, 2]
        assert len(again.read().fetchall()) == 4
