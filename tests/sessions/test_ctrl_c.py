"""Ctrl-C in plain Python: whatever runs ends at once, and the lake goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
LIMIT = 60  # seconds; what is stopped at once takes one or two
STOPPED = """if True:
    import os, signal, sys, threading, time
    import lakehouse

    lake = lakehouse.connect(sys.argv[1])
    table = lake.create_table("bronze.n", {"n": "BIGINT"})
    table.append(lake.sql("select range as n from range(1000000)"))
    into = lake.create_table("bronze.o", {"n": "BIGINT"})
    pairs = "bronze.n a, bronze.n b"
    # One computes before its first row, the other looks for it: DuckDB does these differently.
    queries = [
        f"select sum(hash(a.n + 3 * b.n) % 7)::bigint as n from {pairs}",
        f"select a.n from {pairs} where hash(a.n + 3 * b.n) = 7",
    ]
    by_duckdb = [
        lambda sql: lake.sql(sql).fetchall(),
        lambda sql: lake.sql(sql).to_arrow_table(),
        lambda sql: lake.sql(sql).to_arrow_reader().read_next_batch(),
    ]
    ours = [
        lambda sql: into.append(lake.sql(sql)),
        lambda sql: lake.sql(f"insert into bronze.o {sql}"),
        lambda sql: lake.explain(sql, analyze=True),
    ]

    def press(begun, over):
        while time.process_time() - begun < 0.3 and not over.wait(0.01):
            pass
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    sql = queries[int(sys.argv[2])]
    for work in by_duckdb + ours:
        over = threading.Event()
        key = threading.Thread(target=press, args=(time.process_time(), over))
        try:
            key.start()
            work(sql)
        except KeyboardInterrupt:
            pass
        except Exception as error:
            assert work in by_duckdb and "interrupted" in str(error).lower(), repr(error)
        else:
            raise AssertionError("it ended by itself")
        over.set()
        key.join()
        print(lake.sql("select count(*) from bronze.n").fetchall(), into.version, flush=True)
    lake.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
# What a shell runs in the background is told to ignore Ctrl-C.
HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
HANDLERS = """if True:
    import os, signal, sys, threading
    import lakehouse

    def handler():
        return signal.getsignal(signal.SIGINT)

    python = signal.default_int_handler
    assert handler() is python
    thread = threading.Thread(target=lambda: lakehouse.connect(sys.argv[1]).close())
    thread.start()
    thread.join()
    assert handler() is python
    one = lakehouse.connect(sys.argv[1])
    ours = handler()
    assert ours is not python
    two = lakehouse.connect(sys.argv[1])
    one.close()
    assert handler() is ours

    child = os.fork()
    if not child:
        os._exit(0 if handler() is python else 1)
    assert os.waitpid(child, 0)[1] == 0

    # A notebook ignores the key between cells, and puts Python's handler in place for each.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    two.sql("select 1").fetchall()
    assert handler() is signal.SIG_IGN
    signal.signal(signal.SIGINT, python)
    two.sql("select 1").fetchall()
    assert handler() is ours
    two.close()
    assert handler() is python

    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    theirs = handler()
    with lakehouse.connect(sys.argv[1]) as lake:
        rows = lake.sql("select count(*) from range(20000000) t(n) where hash(n) = 7")
        os.kill(os.getpid(), signal.SIGINT)
        rows.fetchall()
    assert heard == [1]
    assert handler() is theirs
    print("well")
"""


def run(code: str, folder: Path, *args: str) -> str:
    process = subprocess.Popen(
        [sys.executable, "-c", f"{HEARD}\n{code}", str(folder / "lake"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    # Python tells of an exception in a callback of its own, which it ignores.
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("query", ["0", "1"])
def test_ctrl_c_stops_whatever_runs(tmp_path: Path, query: str) -> None:
    assert run(STOPPED, tmp_path, query).splitlines() == ["[(1000000,)] 0"] * 6


def test_a_handler_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    assert run(HANDLERS, tmp_path) == "well\n"
