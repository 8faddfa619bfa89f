"""Upkeep on a Ray cluster: the same plan gives the same content."""

import os
import signal
from pathlib import Path

import pytest

import compaction
import lakehouse
from compaction.executors import Inline
from compaction.on_ray import OnRay
from lakehouse.lint.log import lint

# Ray leaves sockets and files to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def filled(lake: lakehouse.Lake, name: str) -> lakehouse.Table:
    table = lake.create_table(
        name,
        {"a": "BIGINT", "b": "VARCHAR", "part": "VARCHAR"},
        partition_by=["part"],
        properties={"lakehouse.clusterBy": "a,b", "delta.targetFileSize": "64kb"},
    )
    for n in range(3):
        table.append(
            lake.sql(
                f"SELECT (hash(range, {n}) % 100000)::BIGINT AS a, format('{{:05d}}', range) AS b, "
                "'p' || range % 3 AS part FROM range(20000)"
            )
        )
    return table


def shape(table: lakehouse.Table) -> list[tuple]:
    columns = ("num_records", "partition.part", "min.a", "max.a", "min.b", "max.b")
    files = table.files()
    return sorted(zip(*(files[name].to_pylist() for name in columns), strict=True))


def test_the_same_plan_gives_the_same_files(cluster: str, tmp_path: Path) -> None:
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        here, there = filled(lake, "silver.here"), filled(lake, "silver.there")
        before = sorted(there.read().fetchall())
        (inline,) = compaction.run(lake, tables=["silver.here"], executor=Inline())
        on_ray = OnRay(cluster, count=2, duckdb_config={"threads": 1, "memory_limit": "300MB"})
        (report,) = compaction.run(lake, tables=["silver.there"], executor=on_ray)
        assert (report.problems, report.bins) == ((), 3)
        assert (report.rows_rewritten, report.files_after) == (60_000, inline.files_after)
        assert sorted(there.read().fetchall()) == before
        assert shape(there) == shape(here)
        assert list(lint(there.snapshot().storage)) == []


def test_a_worker_that_dies_is_told_and_nothing_is_committed(
    cluster: str, tmp_path, monkeypatch
) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = filled(lake, "silver.t")
        version, before = table.version, sorted(table.read().fetchall())
        monkeypatch.setattr("compaction.on_ray.write_elsewhere", die)
        (report,) = compaction.run(lake, executor=OnRay(cluster, count=1))
        assert "a worker died" in report.problems[0]
        assert (table.version, sorted(table.read().fetchall())) == (version, before)
        monkeypatch.undo()
        (report,) = compaction.run(lake, executor=OnRay(cluster, count=1))
        assert report.problems == ()
