"""Upkeep against delta-rs: small files merged, rows z-ordered, what queries gain, what 1 % costs.

What the queries of `benchmarks.queries` gain is measured on that benchmark's table of small files.

Each run is a process of its own on a copy of its own, so that its CPU time and its peak memory are
its own. ``--files`` are the small files (at most 20,000), ``--rows`` those that are z-ordered.
``--gigabytes`` are those of a table that is clustered within ``--memory``, by us alone.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import compaction
import lakehouse
from benchmarks import queries
from benchmarks.append import rows as sensor_rows
from benchmarks.measure import Cost, Figure, alone
from compaction import Policy

MEMORY = "2GB"  # of ours; delta-rs has no such limit, and takes more
TARGET = 128 << 20
COLUMNS = ["kind", "city"]
QUERIES = {
    "one kind": "kind = 500",
    "one city": "city = 'city 77'",
    "one of both": "kind BETWEEN 500 AND 510 AND city = 'city 77'",
    "some ids": "id BETWEEN 1000 AND 2000",
}


def run(folder: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures; files live below ``folder``."""
    count = min(options.files, 20_000)
    small = folder / "small"
    many_files(small, count, rows_a_file=1000)
    target = _target(small)
    merging = {
        "ours": functools.partial(_merge, target=target),
        "delta-rs": functools.partial(_merge_delta_rs, target=target),
    }
    yield _compared(f"{count:,} small files", small, merging, options)
    large = folder / "large"
    unordered(large, options.rows)
    contestants = {"ours": _cluster, "delta-rs": _cluster_delta_rs}
    yield _compared(f"z-order of {options.rows:,} rows", large, contestants, options)
    yield from _effect(large, options)
    yield from small_files_queried(folder / "queried", options)
    if options.gigabytes:
        yield larger_than_memory(folder / "larger", options)


def small_files_queried(place: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield what queries of many small files gain by upkeep with the policy that tables have."""
    built = queries.built(place, options.query_files)
    with lakehouse.connect(built, durable=False, keep_answers=False) as lake:
        asked = {
            name: text.format(t="bronze.t", s="bronze.shops")
            for name, text in queries.questions(options.query_files).items()
        }
        before = {name: _timed(lake, text, options.rounds) for name, text in asked.items()}
        (report,) = compaction.run(lake, tables=["bronze.t"])
        after = {name: _timed(lake, text, options.rounds) for name, text in asked.items()}
    for name in asked:
        yield Figure(
            f"{name}, {report.files_before:,} files made {report.files_after}",
            {"after": after[name][0], "before": before[name][0]},
            (f"files read: {before[name][1]:,} before, {after[name][1]} after",),
        )


def larger_than_memory(place: Path, options: argparse.Namespace) -> Figure:
    """Cluster a table of so many gigabytes, in files of half a million rows, within some memory."""
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.create_table("bronze.t", _wide_part(0, 1).schema)
        while table.detail().bytes < options.gigabytes * 1e9:
            table.append(_wide_part(table.version, 500_000))
        size, rows = table.detail().bytes, table.detail().rows
        before = _asked(lake, "kind = 500", 1)[1]
    cost = alone(functools.partial(_cluster_within, memory=options.memory), place)
    with lakehouse.connect(place, durable=False) as lake:
        after, found = _asked(lake, "kind = 500", 1)[1], lake.table("bronze.t").detail()
        assert (found.rows, found.files > 0) == (rows, True)
    remarks = (
        f"{size / 1e9:.1f} GB, memory_limit={options.memory}: "
        f"{cost.memory >> 20:,} MiB at the peak, {cost.cpu:.0f} s of CPU",
        f"files read for one kind: {before} before, {after} of {found.files} after",
    )
    return Figure(f"clustering of {rows:,} rows", {"ours": cost.wall}, remarks)


def _cluster_within(place: Path, *, memory: str) -> None:
    config: dict[str, str | int | float | bool] = {"memory_limit": memory}
    with lakehouse.connect(place, durable=False, duckdb_config=config) as lake:
        (report,) = compaction.run(lake, policy=Policy(cluster_by=tuple(COLUMNS)))
    assert report.bins, report


def _wide_part(seed: int, count: int) -> pa.Table:
    with duckdb.connect() as connection:
        return connection.sql(
            f"SELECT range + {seed * count} AS id, (hash(range, {seed}) % 1000)::INTEGER AS kind, "
            f"'city ' || hash({seed}, range) % 5000 AS city, range / 7.0 AS value, "
            f"uuid()::VARCHAR || uuid()::VARCHAR AS note FROM range({count})"
        ).to_arrow_table()


def many_files(place: Path, count: int, *, rows_a_file: int) -> None:
    """Make a table of ``count`` small files, in one commit."""
    place.mkdir()
    data = sensor_rows(count * rows_a_file)
    for n in range(count):
        pq.write_table(data.slice(n * rows_a_file, rows_a_file), place / f"{n:05d}.parquet")
    deltalake.convert_to_deltalake(place)


def unordered(place: Path, count: int, *, files: int = 100) -> None:
    """Make a table of rows whose kinds and cities are all over the place."""
    with lakehouse.connect(place.parent / "making", durable=False) as lake:
        table = lake.create_table("bronze.t", sensor_rows(1).schema)
        for n in range(files):
            table.append(_part(n, count // files))
        lake.settle()  # a checkpoint in the making is not to be copied
        shutil.copytree(table.uri, place)


def _part(seed: int, count: int) -> pa.Table:
    with duckdb.connect() as connection:
        return connection.sql(
            f"SELECT range + {seed * count} AS id, TIMESTAMP '2024-01-01' + to_seconds(range) AS ts, "
            f"(hash(range, {seed}) % 1000)::INTEGER AS kind, range / 7.0 AS value, "
            f"'city ' || hash({seed}, range) % 5000 AS city FROM range({count})"
        ).to_arrow_table()


def _compared(
    name: str,
    place: Path,
    contestants: Mapping[str, Callable[[Path], None]],
    options: argparse.Namespace,
) -> Figure:
    costs: dict[str, list[Cost]] = {who: [] for who in contestants}
    for turn in range(options.rounds):
        for who, work in contestants.items():
            own = place.with_name(f"{place.name}-{who}-{turn}")
            # Files never change, so that links are copies.
            shutil.copytree(place, own, copy_function=os.link)
            _opened(own).close()  # a lake is there before upkeep is
            costs[who].append(alone(work, own))
            shutil.rmtree(own)
    remarks = [
        f"{who}: {statistics.median(c.cpu for c in found):.1f} s of CPU, "
        f"{max(c.memory for c in found) >> 20:,} MiB at the peak"
        for who, found in costs.items()
    ]
    walls = {who: statistics.median(c.wall for c in found) for who, found in costs.items()}
    ours, theirs = (statistics.median(c.cpu for c in found) for found in costs.values())
    return Figure(name, walls, (*remarks, f"our CPU is {ours / theirs:.2f} of theirs"))


def _opened(place: Path) -> lakehouse.Lake:
    lake = lakehouse.connect(
        place.with_name(f"{place.name}-lake"), durable=False, duckdb_config={"memory_limit": MEMORY}
    )
    if not lake.tables():
        lake.register_table("bronze.t", place)
    return lake


def _merge(place: Path, *, target: int) -> None:
    with _opened(place) as lake:
        compaction.run(lake, policy=Policy(target_bytes=target))


def _merge_delta_rs(place: Path, *, target: int) -> None:
    deltalake.DeltaTable(place).optimize.compact(target_size=target)


def _cluster(place: Path) -> None:
    with _opened(place) as lake:
        compaction.run(lake, policy=_policy(place))


def _policy(place: Path) -> Policy:
    return Policy(target_bytes=_target(place, files=16), cluster_by=tuple(COLUMNS))


def _target(place: Path, files: int = 100) -> int:
    """Return the size of files of which so many hold the table, if they are not too large then."""
    total = sum(path.stat().st_size for path in place.glob("*.parquet"))
    return min(TARGET, max(1 << 20, total // files))


def _cluster_delta_rs(place: Path) -> None:
    target = _policy(place).target(0)
    deltalake.DeltaTable(place).optimize.z_order(COLUMNS, target_size=target)


def _effect(place: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield what queries gain by clustering, and what it costs to keep it up with 1 % of new rows."""
    with _opened(place) as lake:
        table, policy = lake.table("bronze.t"), _policy(place)
        before = {name: _asked(lake, where, options.rounds) for name, where in QUERIES.items()}
        (first,) = compaction.run(lake, policy=policy)
        after = {name: _asked(lake, where, options.rounds) for name, where in QUERIES.items()}
        size = table.detail().bytes
        table.append(_part(1000, options.rows // 100))
        table.append(_part(1001, options.rows // 100))
        (again,) = compaction.run(lake, policy=policy)
    for name in QUERIES:
        files = f"files read: {before[name][1]} before, {after[name][1]} after"
        yield Figure(
            f"query: {name}", {"after": after[name][0], "before": before[name][0]}, (files,)
        )
    share = again.bytes_rewritten / size
    yield Figure(
        "clustering 2 % of new rows",
        {"with 2 % new": again.seconds, "at first": first.seconds},
        (f"{share:.1%} of the bytes rewritten",),
    )


def _asked(lake: lakehouse.Lake, where: str, rounds: int) -> tuple[float, int]:
    return _timed(lake, f"SELECT count(*), sum(value) FROM bronze.t WHERE {where}", rounds)


def _timed(lake: lakehouse.Lake, query: str, rounds: int) -> tuple[float, int]:
    """Return a query's median time, and how many files of the table it reads."""
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        lake.sql(query).fetchall()
        times.append(time.perf_counter() - started)
    scan = {table.name: table for table in lake.explain(query).tables}["bronze.t"]
    return statistics.median(times[1:]), scan.files_kept
