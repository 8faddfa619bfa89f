"""One lake, many threads: reads, writes, snapshots, explanations and the end of it all."""

import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

import lakehouse

ROWS = 500
THREADS = 8


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table("bronze.events", {"n": "BIGINT", "part": "BIGINT"})
        for part in range(4):
            table.append([{"n": n, "part": part} for n in range(ROWS)])
        lake.create_table("bronze.log", {"thread": "BIGINT", "step": "BIGINT"})
        yield lake


def test_reads_writes_snapshots_and_explanations_go_on_at_once(lake):
    start = threading.Barrier(THREADS)

    def work(number):
        start.wait()
        log = lake.table("bronze.log")
        for step in range(5):
            query = f"SELECT count(*), sum(n) FROM bronze.events WHERE part = {number % 4}"
            assert lake.sql(query).fetchall() == [(ROWS, ROWS * (ROWS - 1) // 2)]
            log.append([{"thread": number, "step": step}])
            mine = "SELECT count(*) FROM bronze.log WHERE thread = ?"
            assert lake.sql(mine, [number]).fetchall() == [(step + 1,)]
            with lake.snapshot() as view:
                first = view.sql(mine, [number]).fetchall()
                log.append([{"thread": number + THREADS, "step": step}])
                assert view.sql(mine, [number]).fetchall() == first == [(step + 1,)]
            (scan,) = lake.explain(query).tables
            assert (scan.files_kept, scan.files_total) == (1, 4)
            rows = lake.sql("SELECT n FROM bronze.events ORDER BY n").to_arrow_reader(100)
            assert sum(batch.num_rows for batch in rows) == 4 * ROWS
        return number

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == list(range(THREADS))
    totals = lake.sql("SELECT thread, count(*) FROM bronze.log GROUP BY ALL ORDER BY ALL")
    assert totals.fetchall() == [(number, 5) for number in range(2 * THREADS)]


def test_queries_of_several_threads_run_at_the_same_time(lake):
    """Each holds a result half read, and waits for all others: nothing is done one by one."""
    together = threading.Barrier(THREADS)

    def work(_):
        rows = lake.sql("SELECT a.n FROM bronze.events a, bronze.events b").to_arrow_reader(1_000)
        count = rows.read_next_batch().num_rows
        together.wait()
        return count + sum(batch.num_rows for batch in rows)

    with ThreadPoolExecutor(THREADS) as pool:
        assert set(pool.map(work, range(THREADS))) == {(4 * ROWS) ** 2}


def test_closing_a_lake_at_work_ends_all_threads(lake):
    running = threading.Barrier(THREADS + 1)

    def work(number):
        running.wait()
        try:
            while True:
                if number % 2:
                    lake.sql("SELECT sum(hash(n)) FROM bronze.events").fetchall()
                else:
                    lake.table("bronze.log").append([{"thread": number, "step": 0}])
        except (lakehouse.LakehouseError, duckdb.Error, RuntimeError) as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        ends = [pool.submit(work, number) for number in range(THREADS)]
        running.wait()
        lake.close()
        assert all(isinstance(end.result(), Exception) for end in ends)
    with lakehouse.connect(lake.uri, create=False) as again:
        assert again.sql("SELECT count(*) FROM bronze.events").fetchall() == [(4 * ROWS,)]
