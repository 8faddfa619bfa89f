"""Many small files: footers are kept, and threads that wait for the disk rest where none waits."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.duck.engine import VERSION
from lakehouse.duck.fetching import Fetching
from lakehouse.scan import crumbs

FILES = 20


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False, keep_answers=False) as found:
        table = found.create_table("silver.t", {"n": "BIGINT", "text": "VARCHAR"})
        for n in range(FILES):
            table.append([{"n": n, "text": f"row {n}"}])
        yield found


def _ask(lake):
    return lake.sql("SELECT count(*), sum(n), max(text) FROM silver.t WHERE text <> ''").fetchall()


def _held(lake):
    with lake._engine.cursor() as cursor:
        ((size,),) = cursor.execute(
            "SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'OBJECT_CACHE'"
        ).fetchall()
    return size


def _threads(lake):
    with lake._engine.cursor() as cursor:
        found = cursor.execute("SELECT value FROM duckdb_settings() WHERE name = 'async_threads'")
        return [value for (value,) in found.fetchall()]


def test_footers_of_many_files_are_kept_for_the_next_query(lake):
    expected = [(FILES, sum(range(FILES)), "row 9")]
    one = lake.sql("SELECT * FROM silver.t WHERE n = 3").fetchall()
    before = _held(lake)
    assert one == [(3, "row 3")]
    assert [_ask(lake) for _ in range(4)] == [expected] * 4
    assert _held(lake) > before + FILES * 1000
    lake.table("silver.t").append([{"n": 100, "text": "row 99"}])
    assert _ask(lake) == [(FILES + 1, sum(range(FILES)) + 100, "row 99")]


def test_a_users_file_that_is_written_again_is_read_again(lake, tmp_path):
    path = tmp_path / "own.parquet"
    joined = f"SELECT count(*), sum(own.k) FROM silver.t JOIN '{path}' AS own USING (n)"
    for k in range(1, 30):
        duckdb.sql(
            f"COPY (SELECT range AS n, {k} AS k FROM range({FILES})) TO '{path}' (FORMAT parquet)"
        )
        assert lake.sql(joined).fetchall() == [(FILES, FILES * k)]


@pytest.mark.parametrize("partitioned", [False, True])
def test_threads_rest_for_small_files_in_memory_until_others_are_read(
    tmp_path, monkeypatch, partitioned
):
    monkeypatch.setattr(crumbs, "_MANY", 10)
    warm = False
    monkeypatch.setattr(crumbs, "is_in_memory", lambda path: Path(path).exists() and warm)
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        parts = ["n"] if partitioned else []
        table = lake.create_table(
            "silver.t", {"n": "BIGINT", "text": "VARCHAR"}, partition_by=parts
        )
        for n in range(FILES):
            table.append([{"n": n, "text": f"row {n}"}])
        usual, resting = _threads(lake), ["0"] if VERSION >= (2, 0) else []
        expected = [(FILES, sum(range(FILES)), "row 9")]
        assert (_ask(lake), _threads(lake)) == (expected, usual)
        warm = True
        assert (_ask(lake), _threads(lake)) == (expected, resting)
        # What is small in all says nothing.
        assert lake.sql("SELECT text FROM silver.t WHERE n = 3").fetchall() == [("row 3",)]
        assert _threads(lake) == resting
        monkeypatch.setattr(crumbs, "_MANY", 1000)
        monkeypatch.setattr(crumbs, "_LARGE", 1)
        assert lake.sql("SELECT sum(n) FROM silver.t").fetchall() == [(sum(range(FILES)),)]
        assert _threads(lake) == usual


@given(st.integers(1, 100_000))
def test_a_sample_is_of_what_there_is_and_spread(count):
    found = crumbs.sampled(count)
    assert found == sorted(set(found))
    assert 0 == found[0] <= found[-1] < count
    assert len(found) == min(count, 8)


def test_what_cannot_be_read_is_not_taken_to_be_in_memory(tmp_path):
    assert not crumbs.is_in_memory(str(tmp_path / "missing"))
    assert not crumbs.is_in_memory(str(tmp_path))


@given(st.lists(st.sampled_from(["enter", "leave", "prefer", "usual"]), max_size=20))
def test_threads_rest_while_it_is_preferred_or_somebody_asks(steps):
    ran: list[str] = []
    fetching = Fetching(ran.append, {}, has=True)
    inside, preferred = [], False
    for step in steps:
        if step == "enter":
            inside.append(fetching.inline())
            inside[-1].__enter__()
        elif step == "leave" and inside:
            inside.pop().__exit__(None, None, None)
        elif step in ("prefer", "usual"):
            preferred = step == "prefer"
            fetching.prefer(inline=preferred)
        assert (bool(ran) and ran[-1].startswith("SET")) == (bool(inside) or preferred)
    for one in inside:
        one.__exit__(None, None, None)
