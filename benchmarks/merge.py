"""Merge, delete and update in large tables, each side in a fresh process, on a copy of its own.

Seconds are those of the operation, without imports; peak memory is the process's. After each run
the table is read, and must hold what the others' hold.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import lakehouse
from benchmarks.measure import Figure
from benchmarks.million import LOG, Run, fresh

FILES, MANY_FILES, MANY_ROWS, MANY_KEYS = 100, 20_000, 100, 1_000
KEYS = 0.00475  # a share of the rows: 95 k of 20 M
NEW = 0.05  # the share of the keys that the table does not have
COLUMNS = {"id": "BIGINT", "n": "INTEGER", "amount": "DOUBLE", "name": "VARCHAR"}
VALUES = "id, (id % 1000)::INTEGER AS n, id * 0.5 AS amount, 'name-' || (id % 5000) AS name"
# A wide table, of 50 columns and a tenth of the rows.
WIDE_FILES, WIDE = 10, {f"c{i}": f"(id * {7919 + 2 * i} % 1000003)::INTEGER" for i in range(47)}
WIDE_COLUMNS = {"id": "BIGINT", "n": "INTEGER", "amount": "DOUBLE"} | dict.fromkeys(WIDE, "INTEGER")
WIDE_VALUES = "id, (id % 1000)::INTEGER AS n, id * 0.5 AS amount, " + ", ".join(
    f"{sql} AS {name}" for name, sql in WIDE.items()
)
TIMED = "import time; started = time.perf_counter(); {verb}; print(time.perf_counter() - started)"
# Ours imports a verb's modules when it is first called, delta-rs's all at once.
OURS = (
    "import lakehouse, pyarrow.parquet as pq; from lakehouse.table import deleting, merging; rows = pq.read_table({rows!r}); "
    "t = lakehouse.connect({place!r}, durable=False{config}).table('silver.t'); t.version; "
) + TIMED
DELTA_RS = (
    "import deltalake, pyarrow.parquet as pq; rows = pq.read_table({rows!r}); "
    "t = deltalake.DeltaTable({place!r}); "
) + TIMED
DUCKDB = "import duckdb; " + TIMED
OUR_MERGE = "t.upsert(rows, key='id')"
OUR_UPDATE = "t.update({'n': 'n + 1'}, where='id % 100 = 7')"
OUR_DELETE = "t.delete('id % 100 = 7')"
THEIR_MERGE = (
    "(t.merge(rows, predicate='t.id = s.id', source_alias='s', target_alias='t')"
    ".when_matched_update_all().when_not_matched_insert_all().execute())"
)
THEIR_UPDATE = "t.update(updates={'n': 'n + 1'}, predicate='id % 100 = 7')"
THEIR_DELETE = "t.delete('id % 100 = 7')"
BARE_COPY = (
    "duckdb.sql(\"COPY (FROM read_parquet('{place}/*.parquet') WHERE id % 100 <> 7) "
    "TO '{place}/copy' (FORMAT parquet, FILE_SIZE_BYTES '128MB')\")"
)
LARGE = ", duckdb_config={'memory_limit': '1GB'}"
CHECK = "SELECT count(*), sum(id), sum(n), sum(amount) FROM {}"


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """Hold a contestant: its code, its settings, and whether rows are marked in its table."""

    code: str
    verb: str
    marks: bool = False
    config: str = ""


def run(folder: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures; ``--rows`` is the size of the table, small where it is a smoke test."""
    rows, rounds = options.rows, min(options.rounds, 3)
    scattered, narrow, few = folder / "scattered", folder / "narrow", folder / "few"
    keys = max(100, int(rows * KEYS))
    lake = _lake(folder / "plain", rows)
    _source(scattered, f"range * {rows} // {keys}", keys, rows)
    _source(narrow, f"{rows // 3} + range", keys, rows)
    merges = _sides(OUR_MERGE, THEIR_MERGE)
    yield _compare(f"merge {keys} keys, scattered", lake, scattered, merges, rounds)
    yield _compare(f"merge {keys} keys, a narrow range", lake, narrow, merges, rounds)
    updates = _sides(OUR_UPDATE, THEIR_UPDATE)
    yield _compare("update 1 %, scattered", lake, narrow, updates, rounds)
    wide = _lake(folder / "wide", rows // 10, WIDE_COLUMNS, WIDE_VALUES, WIDE_FILES)
    name = f"update 1 % of {rows // 10} rows, one of {len(WIDE_COLUMNS)} columns"
    yield _compare(name, wide, narrow, updates, rounds)
    shutil.rmtree(wide)
    deletes = {**_sides(OUR_DELETE, THEIR_DELETE), "DuckDB's copy": Side(DUCKDB, BARE_COPY)}
    yield _compare("delete 1 %, scattered", lake, narrow, deletes, rounds)
    files = min(MANY_FILES, max(200, rows // 1000))
    many = _many(folder / "many", files)
    _source(few, f"range * {files * MANY_ROWS} // {MANY_KEYS}", MANY_KEYS, files * MANY_ROWS)
    yield _compare(f"merge {MANY_KEYS} keys into {files} files", many, few, merges, rounds)
    large = _lake(folder / "large", rows * 5 // 2)
    _source(scattered, "range * 10", rows // 4, rows * 5 // 2)
    yield _compare(
        f"merge {rows // 4} into {rows * 5 // 2}, ours with memory_limit=1GB",
        large,
        scattered,
        {
            "ours": Side(OURS, OUR_MERGE, config=LARGE),
            "delta-rs": Side(DELTA_RS, THEIR_MERGE),
        },
        1,
    )


def _sides(ours: str, theirs: str) -> dict[str, Side]:
    return {
        "ours": Side(OURS, ours),
        "ours, marking": Side(OURS, ours, marks=True),
        "delta-rs": Side(DELTA_RS, theirs),
    }


def _compare(name: str, lake: Path, source: Path, sides: Mapping[str, Side], rounds: int) -> Figure:
    """Run each side in turns on a copy of the lake, and compare what they made of it."""
    runs: dict[str, list[Run]] = {who: [] for who in sides}
    found: dict[str, object] = {}
    for _ in range(rounds):
        for who, side in sides.items():
            copy = lake.with_name("copy")
            shutil.copytree(lake, copy, copy_function=_linked)
            (table,) = copy.glob("silver/*")
            if side.marks:
                with lakehouse.connect(copy, durable=False) as opened:
                    properties = {"delta.enableDeletionVectors": "true"}
                    opened.table("silver.t").alter().set_properties(properties)
            place = copy if "lakehouse" in side.code else table
            verb = side.verb.replace("{place}", str(place))
            code = side.code.format(
                rows=f"{source}.parquet", place=str(place), verb=verb, config=side.config
            )
            runs[who].append(fresh(code))
            if side.code is not DUCKDB:
                found[who] = _read(table)
            shutil.rmtree(copy)
    assert len(set(found.values())) == 1, found
    seconds = {who: statistics.median(_seconds(r) for r in rs) for who, rs in runs.items()}
    peaks = {who: max(r.megabytes for r in rs) for who, rs in runs.items()}
    memory = ", ".join(f"{who} {megabytes:.0f} MB" for who, megabytes in peaks.items())
    return Figure(name, seconds, (f"peak memory: {memory}",))


def _seconds(run: Run) -> float:
    return float(run.printed.split()[-1])  # DuckDB prints its progress before


def _read(table: Path) -> object:
    """Return sums of a table's rows."""
    with lakehouse.connect("memory://") as lake:
        opened = lake.register_table("silver.t", str(table))
        return lake.sql(CHECK.format(opened.name)).fetchall()[0]


def _linked(source: str, target: str) -> str:
    """Copy a file; data files are never written to, so that a link does."""
    if source.endswith(".parquet") and LOG not in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
    return target


def _lake(
    folder: Path,
    rows: int,
    columns: Mapping[str, str] = COLUMNS,
    values: str = VALUES,
    files: int = FILES,
) -> Path:
    """Write a lake with a table of so many rows in files that follow each other."""
    with lakehouse.connect(folder, durable=False) as lake, duckdb.connect() as source:
        table = lake.create_table("silver.t", columns)
        for file in range(files):
            first, last = rows * file // files, rows * (file + 1) // files
            table.append(
                source.sql(f"SELECT {values} FROM (SELECT range AS id FROM range({first}, {last}))")
            )
    return folder


def _source(path: Path, ids: str, keys: int, rows: int) -> None:
    """Write the rows to merge; the last of them are new to a table of ``rows`` rows."""
    old = int(keys * (1 - NEW))
    duckdb.sql(
        f"COPY (SELECT id, 1::INTEGER AS n, 0.5::DOUBLE AS amount, 'new' AS name FROM (SELECT "
        f"CASE WHEN range < {old} THEN {ids} ELSE {rows} + range END AS id FROM range({keys}))) "
        f"TO '{path}.parquet' (FORMAT parquet)"
    )


def _many(folder: Path, files: int) -> Path:
    """Write a lake with a table of many small files, one commit for a thousand."""
    with lakehouse.connect(folder, durable=False) as lake, duckdb.connect() as source:
        table = lake.create_table("silver.t", COLUMNS)
        home = Path(table.uri)
        for batch, start in enumerate(range(0, files, 1000), 1):
            lines = ['{"commitInfo":{"timestamp":1700000000000,"operation":"WRITE"}}']
            for file in range(start, min(start + 1000, files)):
                first = file * MANY_ROWS
                rows = source.sql(
                    f"SELECT {VALUES} FROM "
                    f"(SELECT range AS id FROM range({first}, {first + MANY_ROWS}))"
                ).to_arrow_table()
                lines.append(_add(home / f"part-{file}.parquet", rows, first))
            (home / LOG / f"{batch:020d}.json").write_text("\n".join(lines) + "\n")
        table.checkpoint()
    return folder


def _add(path: Path, rows: pa.Table, first: int) -> str:
    pq.write_table(rows, path)
    stats = (
        f'{{\\"numRecords\\":{MANY_ROWS},\\"minValues\\":{{\\"id\\":{first}}},'
        f'\\"maxValues\\":{{\\"id\\":{first + MANY_ROWS - 1}}},\\"nullCount\\":{{\\"id\\":0}}}}'
    )
    return (
        f'{{"add":{{"path":"{path.name}","partitionValues":{{}},"size":{path.stat().st_size},'
        f'"modificationTime":1700000000000,"dataChange":true,"stats":"{stats}"}}}}'
    )
