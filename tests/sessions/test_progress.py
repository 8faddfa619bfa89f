"""`Lake.progress` tells how far a query is, to another thread."""

import threading

import duckdb
import pytest

import lakehouse


def test_a_query_that_runs_has_progress(tmp_path):
    with lakehouse.connect(tmp_path, progress=True) as lake:
        table = lake.create_table("bronze.n", {"n": "BIGINT"})
        table.append(lake.sql("SELECT range AS n FROM range(300000)"))
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
            # Minutes, unless it is stopped at the first progress that is seen.
            query = "SELECT sum(hash(a.n + 3 * b.n) % 7) FROM bronze.n a, bronze.n b"
            with pytest.raises((duckdb.Error, RuntimeError), match=r"(?i)interrupt"):
                lake.sql(query).fetchall()
        finally:
            ended.set()
            watcher.join()
        assert 0 < seen[0] <= 1
        assert lake.progress() is None
        assert lake.sql("SELECT count(*) FROM bronze.n").fetchall() == [(300000,)]


def test_without_asking_for_it_there_is_none(tmp_path):
    with lakehouse.connect(tmp_path) as lake:
        rows = lake.sql("SELECT current_setting('enable_progress_bar') AS it")
        assert rows.fetchall() == [(False,)]
        assert lake.progress() is None
