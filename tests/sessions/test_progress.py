"""`Lake.progress` tells how far a query is, to another thread."""

import threading

import duckdb
import pytest

import lakehouse


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path, progress=True) as lake:
        table = lake.create_table("bronze.n", {"n": "BIGINT"})
        table.append(lake.sql("SELECT range AS n FROM range(300000)"))
        yield lake


# Minutes, unless it is stopped at the first progress that is seen.
LONG = {
    "query": lambda lake: lake.sql(
        "SELECT sum(hash(a.n + 3 * b.n) % 7) FROM bronze.n a, bronze.n b"
    ).fetchall(),
    "merge": lambda lake: (
        lake.table("bronze.n")
        .merge(lake.sql("SELECT n FROM bronze.n"), on="hash(t.n, s.n) = 1001")
        .when_matched_delete()
        .run()
    ),
}


@pytest.mark.parametrize("work", LONG)
def test_what_runs_has_progress(lake, work):
    assert lake.progress() is None
    ended = threading.Event()
    seen = []

    def look():
        while not ended.wait(0.01):
            done = lake.progress()
            if done:
                seen.append(done)
                lake.interrupt()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with pytest.raises(
            (duckdb.Error, RuntimeError, lakehouse.LakehouseError), match=r"(?i)interrupt"
        ):
            LONG[work](lake)
    finally:
        ended.set()
        watcher.join()
    assert 0 < seen[0] <= 1
    assert lake.progress() is None
    assert lake.sql("SELECT count(*) FROM bronze.n").fetchall() == [(300000,)]
    assert lake.table("bronze.n").version == 1


def test_without_asking_for_it_there_is_none(tmp_path):
    with lakehouse.connect(tmp_path) as lake:
        rows = lake.sql("SELECT current_setting('enable_progress_bar') AS it")
        assert rows.fetchall() == [(False,)]
        assert lake.progress() is None
