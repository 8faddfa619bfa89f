"""The real program: exit codes, pipes, and JSON that nothing else is mixed into."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-W", "error", "-c", "from lakehouse.cli import main; main()"]


def test_exit_code_json_and_streams(lake: Path) -> None:
    script = Path(sys.executable).with_name("lakehouse")
    command = [str(script)] if script.exists() else PROGRAM
    finished = subprocess.run(
        [*command, "sql", "select count(*) as n from silver.flights", "--json"],
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads(finished.stdout) == {"n": 3}
    finished = subprocess.run(
        [*command, "show", "silver.flight", "--json"], capture_output=True, text=True
    )
    assert (finished.returncode, finished.stdout) == (3, "")
    assert json.loads(finished.stderr)["error"]["near"] == ["silver.flights"]


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")
def test_a_closed_pipe_is_no_traceback(lake: Path) -> None:
    query = "select * from range(2000000)"
    process = subprocess.Popen(
        [*PROGRAM, "sql", query, "--limit", "300000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")
def test_interrupt(lake: Path, folder: Path) -> None:
    query = "select count(*) from range(100000000000) where hash(range) = 7"
    code = """if True:
        import lakehouse
        from lakehouse.cli import main
        sql = lakehouse.Lake.sql
        lakehouse.Lake.sql = lambda *args: (print("ready", flush=True), sql(*args))[1]
        main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code, "sql", query],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(1.5)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "Interrupted.\n")
    # The query was stopped: a process that had to be left leaves its spill folder behind.
    assert list(folder.glob("lakehouse-*")) == []


def test_a_query_does_not_wait_for_the_shell(lake: Path) -> None:
    code = """if True:
        import contextlib, sys
        from lakehouse.cli import main
        with contextlib.suppress(SystemExit):
            main(["sql", "select 1"])
        print(*{name.partition(".")[0] for name in sys.modules})
    """
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    modules = finished.stdout.splitlines()[-1].split()
    assert "lakehouse" in modules
    assert not {"prompt_toolkit", "pygments"} & set(modules)
