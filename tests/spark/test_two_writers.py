"""A Spark writer and ours on one table: nothing is lost, nothing is there twice.

``SPARK_STRESS_SECONDS`` says how long they write: 60 unless told.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from tests.spark.judge import by_spark, named, ours

SECONDS = float(os.environ.get("SPARK_STRESS_SECONDS", "60"))
OURS = {"a": "append", "b": "append", "compactor": "rewrite"}


@pytest.mark.timeout(300 + 4 * SECONDS)
def test_nothing_is_lost_or_doubled(spark, lake, capsys):
    table = lake.create_table(
        "silver.t", {"writer": "VARCHAR", "n": "BIGINT"}, partition_by="writer"
    )
    name = named(table)
    # What Spark does for the first time takes it long: not while the others write.
    rows, tried = by_turns(spark, name, set(), rounds=3)
    processes = {writer: start(kind, lake.uri, writer) for writer, kind in OURS.items()}
    for process in processes.values():
        assert process.stdout.readline() == "ready\n"
        process.stdin.write(f"{SECONDS}\n")
        process.stdin.flush()
    rows, more = by_turns(spark, name, rows, rounds=3, seconds=SECONDS)
    done = {writer: finish(process) for writer, process in processes.items()}

    expected = {("spark", n) for n in rows}
    expected |= {(w, n) for w, kind in OURS.items() if kind == "append" for n in done[w]}
    engines = Counter("Spark" if (c.engine or "").startswith("Apache-Spark") else "ours" for c in table.history())  # fmt: skip
    with capsys.disabled():
        print(f"\n{SECONDS:.0f} s: {dict(engines)} commits, rows {len(expected)}, by Spark {dict(tried + more)}, rewrites {len(done['compactor'])}")  # noqa: T201  # fmt: skip
    for found in (ours(table), by_spark(spark, table)):
        pairs = list(zip(found["writer"].to_pylist(), found["n"].to_pylist(), strict=True))
        assert len(pairs) == len(set(pairs)), "rows are there twice"
        assert set(pairs) == expected
    assert min(len(done["a"]), len(done["b"]), more["INSERT"]) > 0


def by_turns(spark, name, rows, *, rounds, seconds=0.0) -> tuple[set[int], Counter[str]]:
    """Let Spark insert, update, delete its own rows and optimize all; return the rows it has."""
    tried = Counter[str]()
    number = first = max(rows, default=-1) // 10 + 1
    end = time.monotonic() + seconds
    while time.monotonic() < end or number < first + rounds:
        new = {10 * number, 10 * number + 1, 10 * number + 2}
        values = ", ".join(f"('spark', {n})" for n in sorted(new))
        tried["INSERT"] += 1
        spark.sql(f"INSERT INTO {name} VALUES {values}")
        rows |= new
        if attempt(
            spark, f"DELETE FROM {name} WHERE writer = 'spark' AND n = {10 * number}", tried
        ):
            rows -= {10 * number}
        where = f"WHERE writer = 'spark' AND n = {10 * number + 1}"
        if attempt(spark, f"UPDATE {name} SET n = n + 4 {where}", tried):
            rows = rows - {10 * number + 1} | {10 * number + 5}
        if number % 3 == 2:
            attempt(spark, f"OPTIMIZE {name}", tried)
        number += 1
    return rows, tried


def attempt(spark, statement, tried) -> bool:
    """Say whether Spark carried it out; it may say that our commit was in its way."""
    verb = statement.split()[0]
    try:
        spark.sql(statement)
    except Exception as error:
        if "DELTA_CONCURRENT" not in str(error):
            raise
        tried[f"{verb}, conflict"] += 1
        return False
    tried[verb] += 1
    return True


def start(kind, place, writer) -> Any:
    command = [sys.executable, "-m", "tests.spark.writers", kind, place, "silver.t", writer]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def finish(process) -> list[int]:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return json.loads(said)
