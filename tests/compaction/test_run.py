"""Runs of upkeep, end to end: rows stay what they are, beside writers, and whoever reads them."""

import multiprocessing
import os
import random
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import compaction
import lakehouse
from compaction import Policy
from compaction.executors import Inline, Processes, Threads
from compaction.on_ray import OnRay
from lakehouse.delta.log import commit_path
from lakehouse.duck.engine import VERSION, Engine
from lakehouse.lint.log import lint
from lakehouse.scan.read import Scanner
from lakehouse.table import second_opinion
from lakehouse.table.background import Background
from lakehouse.table.copying import copies_of
from lakehouse.testing.tables import Opener, with_deletion_vectors
from lakehouse.write import data_files

SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "at": pa.timestamp("us", "UTC"),
        "city": pa.string(),
        "price": pa.decimal128(12, 2),
        "x": pa.float64(),
        "part": pa.string(),
        "deep": pa.struct({"a": pa.int32(), "b": pa.list_(pa.string())}),
    }
)
PARTS = (None, "a b/c", "é%")
START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(first: int, count: int) -> pa.Table:
    draw = random.Random(first)
    made = [
        {
            "id": draw.randrange(1_000_000),
            "at": START + timedelta(microseconds=draw.randrange(10**13)),
            "city": draw.choice([None, "", "Ulm", "köln", "x" * 40 + str(n)]),
            "price": Decimal(draw.randrange(10**6)) / 100,
            "x": draw.choice([None, float("nan"), float("inf"), -0.0, draw.random()]),
            "part": PARTS[n % len(PARTS)],
            "deep": draw.choice([None, {"a": None, "b": ["p", None]}, {"a": n, "b": []}]),
        }
        for n in range(first, first + count)
    ]
    return pa.Table.from_pylist(made, schema=SCHEMA)


@pytest.fixture
def lake(tmp_path: Path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


def filled(lake, *, commits: int = 4, count: int = 30, **more) -> lakehouse.Table:
    table = lake.create_table("silver.t", SCHEMA, **more)
    for n in range(commits):
        table.append(rows(n * count, count))
    return table


def content(table: lakehouse.Table) -> list[str]:
    return sorted(map(repr, table.read().fetchall()))  # NaN equals nothing but its text


def kept(lake, where: str) -> int:
    (scan,) = lake.explain(f"SELECT sum(x) FROM silver.t WHERE {where}").tables
    return scan.files_kept


FLAVOURS: dict[str, dict[str, Any]] = {
    "plain": {},
    "partitioned": {"partition_by": ["part"]},
    "mapped": {"properties": {"delta.columnMapping.mode": "name"}, "partition_by": ["part"]},
    "clustered": {"properties": {"lakehouse.clusterBy": "id,city"}},
    "hilbert": {
        "properties": {"lakehouse.clusterBy": "at,price,x", "lakehouse.clusterCurve": "hilbert"},
        "partition_by": ["part"],
    },
}


def test_files_with_either_zero_are_merged(lake):
    table = lake.create_table("silver.t", {"x": "DOUBLE"})
    for zero in (-0.0, 0.0, -0.0):
        table.append([{"x": zero}] * 9)
    (report,) = compaction.run(lake)
    assert (report.problems, report.files_after) == ((), 1)
    negative = "count(*) FILTER (x = 0), count(*) FILTER (signbit(x))"
    # A dictionary of DuckDB 1.5's has that zero which came first.
    assert table.read().aggregate(negative).fetchall() == [(27, 18 if VERSION >= (2, 0) else 27)]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_rows_stay_and_files_become_few(lake, flavour: str) -> None:
    table = filled(lake, **FLAVOURS[flavour])
    if flavour == "mapped":
        table.alter().rename_column("deep", "depth")
        table.alter().rename_column("part", "piece")
    table.alter().add_column("later", "INTEGER")
    before, files, version = content(table), table.detail().files, table.version
    (report,) = compaction.run(lake)
    assert report.problems == ()
    assert content(table) == before
    assert table.detail().files == len(PARTS) if table.partition_by else 1
    assert (report.files_before, report.files_after) == (files, table.detail().files)
    assert report.rows_rewritten == len(before)
    assert version < table.version <= version + report.bins
    assert not compaction.plan(lake)["silver.t"].steps
    assert list(lint(table.snapshot().storage)) == []
    theirs = second_opinion.read_rows(table.to_deltalake())
    assert theirs.num_rows == len(before)
    if flavour != "mapped":  # Polars does not read those
        ids = sorted(id_ for (id_,) in table.read(columns=["id"]).fetchall())
        assert sorted(pl.read_delta(table.uri)["id"]) == ids
    newest = table.history(1)[0]
    assert newest.operation == "OPTIMIZE"
    commits = (commit_path(n) for n in range(version + 1, table.version + 1))
    assert not any(b'"dataChange":true' in table.snapshot().storage.read(c) for c in commits)


def test_deleted_rows_are_purged(tmp_path: Path, lake) -> None:
    with Engine() as engine:
        opener = Opener(engine, Scanner(engine), Background(engine))
        with_deletion_vectors(tmp_path / "marked", opener)
    table = lake.register_table("silver.marked", tmp_path / "marked")
    before = content(table)
    assert table.snapshot().files.has_deletion_vectors
    (report,) = compaction.run(lake, tables=["silver.marked"])
    assert (report.problems, report.files_after) == ((), 1)
    assert not table.snapshot().files.has_deletion_vectors
    assert content(table) == before
    assert second_opinion.read_rows(table.to_deltalake()).num_rows == len(before)


def test_rows_that_were_all_deleted_leave_no_file(tmp_path: Path, lake) -> None:
    with Engine() as engine:
        opener = Opener(engine, Scanner(engine), Background(engine))
        with_deletion_vectors(tmp_path / "marked", opener)
    table = lake.register_table("silver.marked", tmp_path / "marked")
    paths = table.files()["path"].to_pylist()
    before = content(table)
    report = table.rewrite(paths[:1])
    assert report.rows in (1, 2)
    assert content(table) == before


def clustered(lake, columns: str, curve: str, **more) -> lakehouse.Table:
    properties = {
        "lakehouse.clusterBy": columns,
        "lakehouse.clusterCurve": curve,
        "delta.targetFileSize": "256kb",
    }
    table = lake.create_table(
        "silver.t", {"a": "BIGINT", "b": "VARCHAR", "x": "DOUBLE"}, properties=properties, **more
    )
    spread(lake, table, 300_000)
    return table


def spread(lake, table, count: int, seed: int = 1) -> None:
    """Append rows whose values are all over the place."""
    query = (
        f"SELECT (hash(range, {seed}) % 1000000)::BIGINT AS a, "
        f"CASE WHEN range % 50 > 0 THEN format('{{:06d}}', hash({seed}, range) % 1000000) END AS b, "
        f"range / 7 AS x FROM range({count})"
    )
    table.append(lake.sql(query))


@pytest.mark.parametrize("curve", ["zorder", "hilbert"])
def test_sorted_files_are_skipped_in_each_column(lake, curve: str) -> None:
    table = clustered(lake, "a, b", curve)
    spread(lake, table, 300_000, seed=2)
    sums = "SELECT count(*), sum(hash(a, b, x)) FROM silver.t"
    before = lake.sql(sums).fetchall()
    queries = ["a BETWEEN 300000 AND 301000", "b BETWEEN '700000' AND '701000'"]
    assert [kept(lake, where) for where in queries] == [table.detail().files] * 2
    (report,) = compaction.run(lake)
    assert report.problems == ()
    assert lake.sql(sums).fetchall() == before
    files = table.detail().files
    assert files >= 24
    assert all(kept(lake, where) <= files // 2 for where in queries)
    assert kept(lake, " AND ".join(queries)) <= max(2, files // 4)
    assert not compaction.plan(lake)["silver.t"].steps


def test_one_percent_of_new_rows_costs_little(lake) -> None:
    table = clustered(lake, "a", "linear")
    compaction.run(lake)
    size, files = table.detail().bytes, set(table.files()["path"].to_pylist())
    assert kept(lake, "a BETWEEN 500000 AND 501000") == 1
    for seed in (5, 6):
        spread(lake, table, 1_500, seed=seed)
    (report,) = compaction.run(lake)
    assert 0 < report.bytes_rewritten < 0.05 * size
    assert files < set(table.files()["path"].to_pylist())
    assert kept(lake, "a BETWEEN 500000 AND 501000") == 2


@pytest.mark.parametrize(
    "executor", [Inline(), Threads(3), Processes(2, {"threads": 1})], ids=lambda e: type(e).__name__
)
def test_every_executor_writes_the_same(lake, executor) -> None:
    table = filled(lake, partition_by=["part"], properties={"lakehouse.clusterBy": "id,city"})
    before = content(table)
    (report,) = compaction.run(lake, executor=executor)
    assert (report.problems, report.bins) == ((), len(PARTS))
    assert content(table) == before
    ordered = table.read(columns=["id", "part"]).fetchall()
    found = {part: [i for i, p in ordered if p == part] for part in PARTS}
    assert sum(map(len, found.values())) == len(before)


def test_without_ray_it_says_what_to_install(lake, monkeypatch) -> None:
    filled(lake, count=3)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(lakehouse.UnsupportedError, match=r"lakehouse-storage\[ray\]"):
        compaction.run(lake, executor=OnRay())


def test_beside_writers_no_row_is_lost_and_nobody_fails(lake) -> None:
    table = lake.create_table("silver.t", {"id": "BIGINT", "x": "DOUBLE"})
    failures, appended = [], []

    def append(writer: int) -> None:
        try:
            for n in range(15):
                ids = [writer * 10_000 + n * 10 + i for i in range(10)]
                table.append([{"id": i, "x": float(i)} for i in ids])
                appended.extend(ids)
        except lakehouse.LakehouseError as error:
            failures.append(error)

    def delete() -> None:
        try:
            for digit in range(3):
                table.delete(f"id % 10 = {digit} AND id < 10000")
        except lakehouse.LakehouseError as error:
            failures.append(error)

    threads = [threading.Thread(target=append, args=(n,)) for n in range(2)]
    threads.append(threading.Thread(target=delete))
    for thread in threads:
        thread.start()
    reports = []
    while any(thread.is_alive() for thread in threads):
        reports += compaction.run(lake)
    for thread in threads:
        thread.join()
    reports += compaction.run(lake)
    assert failures == []
    assert [report.problems for report in reports if report.problems] == []
    for digit in range(3):
        table.delete(f"id % 10 = {digit} AND id < 10000")
    wanted = sorted(i for i in appended if i >= 10_000 or i % 10 > 2)
    assert sorted(table.read(columns=["id"]).fetchall()) == [(i,) for i in wanted]
    assert list(lint(table.snapshot().storage)) == []


def test_a_bin_that_a_writer_changed_is_planned_again(lake) -> None:
    table = lake.create_table("silver.t", {"id": "BIGINT"})
    for n in range(6):
        table.append([{"id": n}, {"id": n + 100}])

    class Late:
        """Let a writer go first, once the files are written."""

        def __init__(self) -> None:
            self.deleted = False

        def run(self, copies, write):
            for number, outcome in Inline().run(copies, write):
                if not self.deleted:
                    self.deleted = True
                    table.delete("id = 3")
                yield number, outcome

    (report,) = compaction.run(lake, executor=Late())
    assert (report.problems, report.left) == ((), 0)
    assert (report.redone, report.bins) == (1, 1)
    assert sorted(table.files()["num_records"].to_pylist()) == [1, 10]
    assert compaction.run(lake)[0].files_after == 1


class TestFence:
    def test_a_lease_that_is_over_commits_nothing(self, lake) -> None:
        table = filled(lake, count=3)
        (first,) = compaction.run(lake, fence=lambda name: lambda: 8)
        assert first.problems == ()
        assert table.snapshot().transactions["lakehouse.upkeep"].version == 8
        for _ in range(2):
            table.append(table.read().to_arrow_table())
        version, files = table.version, _stored(table)
        (late,) = compaction.run(lake, fence=lambda name: lambda: 7)
        assert "lease 8 has committed" in late.problems[0]
        assert table.version == version
        assert _stored(table) == files

    def test_a_newer_lease_wins_in_the_last_moment(self, lake) -> None:
        table = filled(lake, count=3)
        copies = copies_of(table.snapshot(), table.files()["path"].to_pylist())
        paused = table.rewriter()
        held: list[bool] = []

        def fence() -> int:
            # It answers, and another takes the lease and commits before this commit is put.
            if not held:
                held.append(True)
                table.append(rows(0, 1), idempotency_key=("lakehouse.upkeep", 9))
            return 8

        written = [paused.write(copy) for copy in copies]
        with pytest.raises(lakehouse.ConflictError, match="lease 9 has committed"):
            paused.commit(copies, written, fence=fence)

    def test_what_others_changed_is_left_and_the_rest_committed(self, lake) -> None:
        table = filled(lake, partition_by=["part"])
        before, files = content(table), table.detail().files
        copies = copies_of(table.snapshot(), table.files()["path"].to_pylist())
        rewriter = table.rewriter()
        written = [rewriter.write(copy) for copy in copies]
        lake.table("silver.t").rewrite([copies[1].snapshot.files.adds()[0].key[0]])
        done = rewriter.commit(copies, written)
        assert done.left == (copies[1],)
        assert done.report.files_removed == files - len(copies[1].files)
        assert (content(table), len(table.history())) == (before, table.version + 1)
        assert _stored(table) >= {add.key[0] for copied in written[::2] for add in copied.adds}
        assert not _stored(table) & {add.key[0] for add in written[1].adds}

    def test_a_lost_lease_stops_the_run(self, lake) -> None:
        table = filled(lake, count=3)
        version = table.version

        def lost() -> int:
            raise lakehouse.ConflictError("the lease is gone")

        (report,) = compaction.run(lake, fence=lambda name: lost)
        assert report.problems == ("the lease is gone",)
        assert table.version == version


def _stored(table) -> set[str]:
    return {item.path for item in table.snapshot().storage.list() if "_delta_log" not in item.path}


def test_a_file_that_lost_a_row_is_never_committed(lake, monkeypatch) -> None:
    table = filled(lake, count=5)
    before, version, files = content(table), table.version, _stored(table)
    written = data_files.write_part

    def shortened(cursor, queries, *args, **kwargs):
        return written(cursor, [f"{query} LIMIT 19" for query in queries], *args, **kwargs)

    def forged(cursor, queries, *args, **kwargs):
        changed = [f"SELECT * REPLACE (id + 1 AS id) FROM ({query})" for query in queries]
        return written(cursor, changed, *args, **kwargs)

    for broken, message in ((shortened, "19 rows"), (forged, "another content")):
        monkeypatch.setattr("lakehouse.table.written.write_part", broken)
        (report,) = compaction.run(lake)
        assert message in report.problems[0]
        assert (content(table), table.version, _stored(table)) == (before, version, files)


def test_the_budget_and_the_hours_are_kept(lake) -> None:
    table = filled(lake, count=5)
    size = table.detail().bytes
    (report,) = compaction.run(lake, policy=Policy(most_bytes=size))
    assert report.bins == 0
    assert compaction.plan(lake, policy=Policy(most_bytes=size))["silver.t"].postponed
    table.alter().set_properties({"lakehouse.upkeep": "false"})
    assert compaction.plan(lake)["silver.t"].quiet == "upkeep is switched off"


def test_tables_that_are_read_more_come_first(lake) -> None:
    for name in ("silver.a", "silver.b", "gold.c"):
        table = lake.create_table(name, {"n": "INTEGER"})
        for n in range(3):
            table.append([{"n": n}])
    assert list(compaction.plan(lake, reads={"silver.b": 50.0})) == [
        "gold.c",
        "silver.b",
        "silver.a",
    ]


def _compact(place: str) -> None:
    with lakehouse.connect(place, durable=False) as lake:

        class Dying:
            def run(self, copies, write):
                for number, (_, outcome) in enumerate(Inline().run(copies, write)):
                    if number == 2:
                        os.kill(os.getpid(), signal.SIGKILL)
                    yield number, outcome

        vars(sys.modules["compaction.run"])["MOMENT"] = 0.0  # each rewrite is a commit
        compaction.run(lake, executor=Dying())


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_kill_loses_the_bin_at_hand_only(tmp_path: Path) -> None:
    place = tmp_path / "lake"
    with lakehouse.connect(place, durable=False) as lake:
        table = filled(lake, partition_by=["part"])
        before = content(table)
    runner = multiprocessing.get_context("spawn").Process(target=_compact, args=(str(place),))
    runner.start()
    runner.join(120)
    assert runner.exitcode == -signal.SIGKILL
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.table("silver.t")
        assert content(table) == before
        assert table.detail().files == 4 + 2  # two partitions of three are done
        compaction.run(lake)
        assert (content(table), table.detail().files) == (before, 3)
