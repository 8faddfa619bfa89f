"""Write to a table of a lake for some seconds, in a process of its own, beside Spark.

Run as ``python -m tests.spark.writers append|rewrite LAKE TABLE NAME``. It says ``ready``, waits
for a line with the seconds, and at the end prints what was acknowledged, as JSON.
"""

import json
import sys
import threading
from collections.abc import Callable

import lakehouse

# Seconds between commits. Spark takes long to look at each commit that was faster than its own: at
# full speed ours would be ahead of it for ever.
PACE = 0.25


def append(table: lakehouse.Table, name: str, busy: Callable[[], bool]) -> list[int]:
    """Append one row a commit; return the numbers of the rows."""
    done: list[int] = []
    while busy():
        table.append([{"writer": name, "n": len(done)}])
        done.append(len(done))
    return done


def rewrite(table: lakehouse.Table, name: str, busy: Callable[[], bool]) -> list[int]:
    """Merge the small files of one partition after another; return the versions that did it."""
    done: list[int] = []
    while busy():
        files = table.files().to_pylist()
        for writer in sorted({file["partition.writer"] for file in files}):
            paths = [f["path"] for f in files if f["partition.writer"] == writer]
            report = table.rewrite(paths) if len(paths) > 3 else None
            if report is not None and report.files_removed:
                done.append(report.version)
    return done


def main(kind: str, place: str, table: str, name: str) -> None:
    with lakehouse.connect(place, durable=False) as lake:
        handle = lake.table(table)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        over = threading.Event()
        threading.Timer(float(sys.stdin.readline()), over.set).start()
        write = {"append": append, "rewrite": rewrite}[kind]
        done = write(handle, name, lambda: not over.wait(PACE))
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
