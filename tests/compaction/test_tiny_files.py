"""Tiny files: threads that read ahead rest meanwhile, and names are passed as they are."""

from __future__ import annotations

import contextlib
import itertools

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import compaction
import lakehouse
from catalog.storage import open_storage
from lakehouse.duck.engine import VERSION, Engine
from lakehouse.duck.fetching import Fetching
from lakehouse.table.written import cut


@given(st.lists(st.booleans(), max_size=20))
def test_threads_rest_exactly_while_somebody_asks(steps):
    ran: list[str] = []
    fetching = Fetching(ran.append, {}, has=True)
    inside: list[contextlib.ExitStack] = []
    for enters in steps:
        if enters:
            inside.append(contextlib.ExitStack())
            inside[-1].enter_context(fetching.inline())
        elif inside:
            inside.pop(0).close()
        assert (bool(ran) and ran[-1].startswith("SET")) == bool(inside)
    words = [word for word, _ in itertools.groupby(statement.split()[0] for statement in ran)]
    assert all(one != other for one, other in itertools.pairwise(words))
    assert len(ran) == 2 * len(words)
    for stack in inside:
        stack.close()


def test_an_error_ends_it():
    ran: list[str] = []
    with pytest.raises(ZeroDivisionError), Fetching(ran.append, {}, has=True).inline():
        raise ZeroDivisionError
    assert ran == [
        "SET GLOBAL async_threads = 0",
        "SET GLOBAL enable_external_file_cache = false",
        "RESET GLOBAL async_threads",
        "RESET GLOBAL enable_external_file_cache",
    ]


def test_what_was_chosen_stays_and_old_versions_have_none_of_it():
    ran: list[str] = []
    with Fetching(ran.append, {"async_threads": 3}, has=True).inline():
        assert ran == ["SET GLOBAL enable_external_file_cache = false"]
    ran.clear()
    with Fetching(ran.append, {}, has=False).inline():
        assert ran == []


def test_an_engine_reads_local_files_itself_and_as_before_afterwards(tmp_path):
    with Engine() as engine:
        usual = _settings(engine)
        with engine.reading_tiny_files(open_storage(tmp_path)):
            assert _settings(engine) == (["0", "false"] if VERSION >= (2, 0) else ["true"])
        assert _settings(engine) == usual


def test_threads_go_on_where_some_storage_is_remote(tmp_path):
    with Engine() as engine:
        usual, remote = _settings(engine), open_storage("memory://tiny")
        engine.mount(remote)
        for storage in (remote, open_storage(tmp_path)):
            with engine.reading_tiny_files(storage):
                assert _settings(engine) == usual


def test_a_list_of_all_files_is_what_the_index_says(tmp_path):
    with lakehouse.connect(tmp_path) as lake:
        table = lake.create_table("silver.t", {"n": "BIGINT", "text": "VARCHAR"})
        for n in range(5):
            table.append([{"n": n, "text": f'"numRecords": {n}'}] * (n + 1))
        files = table.snapshot().files
        listed, typed = files.listed(), table.snapshot().files.typed(lake._engine)
        assert listed is not None
        assert listed.to_pylist() == typed.select(["file", "size", "rows"]).to_pylist()
        before = lake.sql("SELECT n, count(*) FROM silver.t GROUP BY n ORDER BY n").fetchall()
        (report,) = compaction.run(lake)
        assert (report.bins, report.problems) == (1, ())
        assert before == [(n, n + 1) for n in range(5)]
        after = lake.sql("SELECT n, count(*) FROM silver.t GROUP BY n ORDER BY n").fetchall()
        assert after == before


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 12))
def test_a_cut_takes_each_file_once_and_in_order(lengths, pieces):
    counts = [(3 * n, rows) for n, rows in enumerate(lengths)]
    found = cut(counts, pieces)
    assert 1 <= len(found) <= pieces
    of_each = [[n for n, _ in counts if first <= n <= last] for first, last in found]
    assert [n for piece in of_each for n in piece] == [n for n, _ in counts]
    assert all(of_each)
    longest = max(lengths)
    for piece in of_each:
        assert sum(dict(counts)[n] for n in piece) < sum(lengths) / pieces + longest


@pytest.mark.parametrize("pieces", [1, 3])
def test_rows_stay_in_their_files_order_whichever_thread_read_them(tmp_path, pieces):
    with lakehouse.connect(tmp_path, durable=False, duckdb_config={"threads": 4}) as lake:
        table = lake.create_table("silver.t", {"n": "BIGINT", "text": "VARCHAR"})
        rows = "SELECT range AS n, 'row ' || range AS text FROM range({}, {})"
        for n in range(120):
            table.append(lake.sql(rows.format(n * 1000, (n + 1) * 1000)))
        size = table.detail().bytes
        table.rewrite(table.files()["path"].to_pylist(), file_bytes=size // pieces)
        written = sorted(table.files().to_pylist(), key=lambda file: file["min.n"])
        assert len(written) == pieces
        with duckdb.connect() as connection:
            found = [
                n
                for file in written
                for (n,) in connection.execute(
                    "SELECT n FROM read_parquet(?)", [f"{table.uri}/{file['path']}"]
                ).fetchall()
            ]
        assert sorted(found) == list(range(120_000))
        of_files = [n // 1000 for n in found]
        assert of_files == sorted(of_files)


def test_no_list_where_files_have_more_than_names(tmp_path):
    with lakehouse.connect(tmp_path) as lake:
        parted = lake.create_table("silver.p", {"n": "BIGINT", "d": "INT"}, partition_by=["d"])
        parted.append([{"n": 1, "d": 1}])
        assert parted.snapshot().files.listed() is None
        named = lake.create_table("silver.q", {"numRecords": "BIGINT"})
        named.append([{"numRecords": 1}])
        assert named.snapshot().files.listed() is None


def _settings(engine: Engine) -> list[str]:
    with engine.work("look") as cursor:
        found = cursor.execute(
            "SELECT value FROM duckdb_settings() "
            "WHERE name IN ('async_threads', 'enable_external_file_cache') ORDER BY name"
        ).fetchall()
    return [value for (value,) in found]
