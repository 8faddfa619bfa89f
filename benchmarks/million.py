"""A table of a million files: open, prune, count, append and checkpoint, each in a fresh process.

The log is synthetic: of all files only the one that the queries read exists. Wall time includes
the interpreter and all imports, but for appends, which are timed once the rows and the library
are there: ours imports the better part of itself when a lake is opened. Each contestant has its
own copy of the log, and its own checkpoint in it. Alone, ours gets a checkpoint after each tenth
of the files: ten million are too many for the peers' memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

import lakehouse
from benchmarks.measure import Figure

ROWS = 1000  # in each file
BATCHES = 10
LOG = "_delta_log"

OPEN = "import lakehouse; lake = lakehouse.connect({lake!r}); "
OURS = OPEN + "print(lake.sql('SELECT sum(value) FROM bronze.t WHERE id = {id}').fetchall()[0][0])"
DELTA_RS = (
    "import deltalake, pyarrow; t = deltalake.DeltaTable({peer!r}); "
    "q = deltalake.QueryBuilder().register('t', t); "
    "print(pyarrow.table(q.execute('SELECT sum(value) AS s FROM t WHERE id = {id}').read_all())"
    "['s'][0])"
)
POLARS = (
    "import polars as pl; print(pl.scan_delta({peer!r}).filter(pl.col('id') == {id})"
    ".select(pl.col('value').sum()).collect().item())"
)
OUR_BOUNDS = OPEN + ("t = lake.table('bronze.t'); print(t.detail().rows, t.bounds('id')[1])")
DELTA_RS_BOUNDS = (
    "import deltalake, pyarrow, pyarrow.compute as pc; t = deltalake.DeltaTable({peer!r}); "
    "a = pyarrow.table(t.get_add_actions(flatten=True)); "
    "print(pc.sum(a['num_records']), pc.max(a['max.id']))"
)
ROW = "import pyarrow as pa, time; rows = pa.table({{'id': [-1], 'ts': pa.array([0], pa.timestamp('us', 'UTC')), 'value': [1]}}); "
TIMED = "started = time.perf_counter(); {verb}; print(time.perf_counter() - started)"
OUR_APPEND = ROW + OPEN + TIMED.format(verb="lake.table('bronze.t').append(rows)")
DELTA_RS_APPEND = ROW + "import deltalake; " + TIMED.format(
    verb="deltalake.write_deltalake({peer!r}, rows, mode='append')"
)  # fmt: skip
OUR_FIRST = OPEN + "import time; lake.sql('SELECT 1').fetchall(); " + TIMED.format(
    verb="lake.sql('SELECT sum(value) FROM bronze.t WHERE id = {id}').fetchall()"
)  # fmt: skip
RAW_FIRST = "import duckdb, time; duckdb.sql('SELECT 1').fetchall(); " + TIMED.format(
    verb="duckdb.sql('SELECT sum(value) FROM \"{file}\" WHERE id = {id}').fetchall()"
)  # fmt: skip
OUR_CHECKPOINT = OPEN + "lake.table('bronze.t').checkpoint()"
DELTA_RS_CHECKPOINT = "import deltalake; deltalake.DeltaTable({peer!r}).create_checkpoint()"
# Not ru_maxrss, which a process inherits from the one that started it.
PEAK = "import re, time; print(time.process_time()); print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Hold a process that ended: seconds of wall and CPU, peak megabytes, what it printed."""

    seconds: float
    cpu: float
    megabytes: float
    printed: str


def run(folder: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures; ``--files`` is how many files the table has, ``--keep`` where it stays."""
    lake, peer = built(options.keep or folder, options.files, alone=options.alone)
    # The one file that exists holds these rows.
    values: dict[str, object] = {
        "lake": str(lake), "peer": str(peer), "id": options.files // 2 * ROWS + ROWS // 2,
    }  # fmt: skip
    rounds = min(options.rounds, 3)

    def texts(ours: str, **peers: str) -> dict[str, str]:
        found = {"ours": ours} | ({} if options.alone else peers)
        return {who.replace("_", "-"): text.format(**values) for who, text in found.items()}

    checkpoint = texts(OUR_CHECKPOINT, delta_rs=DELTA_RS_CHECKPOINT)
    if not options.alone:
        yield compare("checkpoint of JSON commits", checkpoint, rounds=1)
    (table,) = (lake / "bronze").iterdir()
    homes = {"ours": table} | ({} if options.alone else {"delta-rs": peer})
    sizes = {who: checkpoint_bytes(home) for who, home in homes.items()}
    yield Figure("bytes of the checkpoint (not seconds)", sizes)
    query = texts(OURS, delta_rs=DELTA_RS, Polars=POLARS)
    yield compare("query of one file", query, rounds=rounds)
    # The others were appended by an earlier run on a table that was kept.
    file = min(table.glob("*.parquet"), key=lambda found: found.stat().st_mtime)
    told = {"ours": OUR_FIRST, "raw DuckDB, told the file": RAW_FIRST}
    firsts = {who: text.format(**values, file=str(file)) for who, text in told.items()}
    first = compare("first query of an open lake", firsts, rounds=rounds, printed=True)
    ours, raw = first.medians.values()
    adds = f"opening the table and planning add {(ours - raw) * 1000:.0f} ms"
    yield Figure(first.name, first.medians, (adds, *first.remarks))
    bounds = texts(OUR_BOUNDS, delta_rs=DELTA_RS_BOUNDS)
    yield compare("rows and a column's maximum", bounds, rounds=rounds)
    appends = texts(OUR_APPEND, delta_rs=DELTA_RS_APPEND)
    yield compare("append of a row, opening the table", appends, rounds=rounds, printed=True)
    yield compare("checkpoint after these", checkpoint, rounds=1)


def compare(name: str, codes: Mapping[str, str], *, rounds: int, printed: bool = False) -> Figure:
    """Run code in fresh processes, in turns; remarks compare memory, and results must agree.

    ``printed`` takes the seconds that the code prints instead of the process's.
    """
    runs: dict[str, list[Run]] = {who: [] for who in codes}
    for _ in range(rounds):
        for who, code in codes.items():
            runs[who].append(fresh(code))
    if not printed:
        said = {who: {_number(r.printed) for r in found} for who, found in runs.items()}
        assert len(set().union(*said.values())) == 1, said
    seconds = {
        who: statistics.median(float(r.printed) if printed else r.seconds for r in found)
        for who, found in runs.items()
    }
    peaks = {who: max(r.megabytes for r in found) for who, found in runs.items()}
    memory = ", ".join(f"{who} {megabytes:.0f} MB" for who, megabytes in peaks.items())
    used = {who: statistics.median(r.cpu for r in found) for who, found in runs.items()}
    cpu = ", ".join(f"{who} {value:.2f}" for who, value in used.items())
    return Figure(name, seconds, (f"CPU seconds: {cpu}", f"peak memory: {memory}"))


def fresh(code: str) -> Run:
    """Run code in a new interpreter."""
    # Packages are installed with their byte code; ours is run from its sources.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", f"{code}\n{PEAK}"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"exit {done.returncode}: {code}\n{done.stderr}")
    *printed, cpu, peak = done.stdout.split("\n")[:-1]
    return Run(seconds, float(cpu), int(peak) / 1024, " ".join(printed))


def built(folder: Path, files: int, *, alone: bool) -> tuple[Path, Path]:
    """Return a table of so many files, as `build` does; one that is there already is taken."""
    home = folder / f"files-{files}{'-alone' * alone}"
    if not home.exists():
        unfinished = home.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        build(unfinished, files, alone=alone)
        unfinished.rename(home)
    return home / "lake", home / "peer"


def build(folder: Path, files: int, *, alone: bool) -> None:
    """Write a lake with a table of so many files, and a copy of the table for the peers, if any."""
    lake = folder / "lake"
    columns = {"id": "BIGINT", "ts": "TIMESTAMPTZ", "value": "BIGINT"}
    with lakehouse.connect(lake, durable=False) as opened, duckdb.connect() as source:
        properties = {"delta.dataSkippingNumIndexedCols": "2"}
        table = opened.create_table("bronze.t", columns, properties=properties)
        source.execute("SET TimeZone = 'UTC'")
        first = files // 2
        rows = source.sql(
            f"SELECT {first * ROWS} + range AS id, TIMESTAMPTZ '2024-01-01' + "
            f"to_seconds({first * 10}) + to_milliseconds(range * 10) AS ts, range AS value "
            f"FROM range({ROWS})"
        ).to_arrow_table()
        table.append(pa.table(rows))
        log = Path(table.uri, LOG)
        for batch in range(BATCHES):
            start, end = batch * files // BATCHES, (batch + 1) * files // BATCHES
            lines = source.execute(_adds(start, end, leave_out=first)).fetchall()[0][0]
            info = '{"commitInfo":{"timestamp":1700000000000,"operation":"WRITE"}}'
            (log / f"{batch + 2:020d}.json").write_text(f"{info}\n{lines}\n")
            if alone:
                del lines
                fresh(OUR_CHECKPOINT.format(lake=str(lake)))
    if not alone:
        shutil.copytree(table.uri, folder / "peer")


def checkpoint_bytes(table: Path) -> int:
    """Return the size of a table's newest checkpoint."""
    return max(table.glob(f"{LOG}/*.checkpoint.parquet")).stat().st_size


def _adds(start: int, end: int, *, leave_out: int) -> str:
    time_ = "strftime(TIMESTAMP '2024-01-01' + to_milliseconds({}), '%Y-%m-%dT%H:%M:%S.%gZ')"
    low, high = time_.format("i * 10000"), time_.format("i * 10000 + 9990")
    parts = [
        '{"add":{"path":"part-00000-', "uuid()", '-c000.snappy.parquet","partitionValues":{},"size":',
        "8000 + i % 500", ',"modificationTime":', "1700000000000 + i",
        f',"dataChange":true,"stats":"{{\\"numRecords\\":{ROWS},\\"minValues\\":{{\\"id\\":',
        f"i * {ROWS}", ',\\"ts\\":\\"', low, '\\"},\\"maxValues\\":{\\"id\\":',
        f"i * {ROWS} + {ROWS - 1}", ',\\"ts\\":\\"', high,
        '\\"},\\"nullCount\\":{\\"id\\":0,\\"ts\\":0}}"}}',
    ]  # fmt: skip
    line = " || ".join(f"'{part}'" if n % 2 == 0 else f"({part})" for n, part in enumerate(parts))
    return (
        f"SELECT string_agg({line}, chr(10) ORDER BY i) "
        f"FROM (SELECT range AS i FROM range({start}, {end})) WHERE i <> {leave_out}"
    )


def _number(printed: str) -> tuple[float, ...]:
    return tuple(float(word) for word in printed.split())
