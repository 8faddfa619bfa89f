"""The bar of what takes long: on a terminal, gone before the rows, and nowhere else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="terminals as POSIX has them")
# It takes long until the bar has been drawn twice, however fast or slow the machine is.
CODE = """if True:
    import sys, threading
    from lakehouse.cli import main, waiting
    import lakehouse

    drawn = threading.Semaphore(0)
    waiting._PATIENCE = 0.2
    sql, progress = lakehouse.Lake.sql, lakehouse.Lake.progress

    def asked(lake):
        drawn.release()
        return progress(lake)

    def slow(lake, text):
        if sys.stderr.isatty() and "--json" not in sys.argv:
            drawn.acquire()
            drawn.acquire()
        return sql(lake, text)

    lakehouse.Lake.sql, lakehouse.Lake.progress = slow, asked
    main()
"""
QUERY = "SELECT carrier, count(*) AS n FROM silver.flights GROUP BY ALL ORDER BY ALL"


def run(*args: str) -> tuple[str, str]:
    """Run the program with a terminal for standard error; return what it writes, and shows there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *args],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    with process:
        try:
            out, _ = process.communicate(timeout=60)
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # Linux tells so that nobody writes any more
                    break
                if not part:
                    break
                shown += part
        finally:
            process.kill()
            os.close(ours)
    assert process.returncode == 0, shown
    return out, shown.decode()


def test_a_bar_is_shown_and_gone_before_the_rows(lake: Path) -> None:
    out, shown = run("sql", QUERY, "--format", "csv")
    assert out == "carrier,n\nAA,2\nUA B,1\n"
    assert "━" in shown
    assert "0:00:0" in shown
    # Its line is erased and the cursor is back.
    assert shown.rstrip().endswith("\x1b[2K")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_there_is_none_with_json(lake: Path) -> None:
    out, shown = run("sql", QUERY, "--json")
    assert [json.loads(line)["n"] for line in out.splitlines()] == [2, 1]
    assert shown == ""


def test_there_is_none_in_a_pipe(lake: Path) -> None:
    command = [sys.executable, "-c", CODE, "sql", QUERY, "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("carrier,n\nAA,2\nUA B,1\n", "")
