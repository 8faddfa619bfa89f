"""Object storage where each request takes 30 ms: latency, requests, and memory of large writes.

A proxy stands before a real MinIO, delays each request, and counts it. Contestants run in fresh
processes, timed once their libraries are there; each opens the table anew, to see its newest
version. DuckDB's delta extension takes part where its wheel is installed (`make bench-remote` runs
on DuckDB 1.5 for its sake).
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

import lakehouse
from benchmarks.measure import Figure
from benchmarks.million import fresh
from lakehouse.testing import FaultProxy, Faults, Request
from lakehouse.testing.servers import minio

DELAY = 0.03
COMMITS = 43
ROWS = 20_000  # in each commit
IDS = (17 * ROWS + 100, 18 * ROWS + 100)  # in two files

PRUNED = f" WHERE id BETWEEN {IDS[0]} AND {IDS[1]}"
# Each contestant defines how it opens a table and asks; the first table warms its process up.
TIMED = """
import time
ask({warm!r})
started = time.perf_counter()
found = ask({table!r})
seconds = time.perf_counter() - started
print(seconds, round(found))
"""
OURS = """
import lakehouse
def ask(name):
    lake = lakehouse.connect({lake!r}, **{options!r})
    return lake.sql("SELECT sum(value) FROM bronze." + name + "{where}").fetchall()[0][0]
"""
OURS_OPEN = """
import lakehouse
lake = lakehouse.connect({lake!r}, **{options!r})
def ask(name):
    return lake.sql("SELECT sum(value) FROM bronze.{table}{where}").fetchall()[0][0]
"""
POLARS = """
import polars as pl
def ask(name):
    frame = pl.scan_delta({places!r}[name], storage_options={storage_options!r})
    with pl.SQLContext(t=frame) as context:
        return context.execute("SELECT sum(value) FROM t{where}").collect().item()
"""
DELTA_RS = """
import deltalake, pyarrow
def ask(name):
    table = deltalake.DeltaTable({places!r}[name], storage_options={storage_options!r})
    query = deltalake.QueryBuilder().register("t", table)
    rows = query.execute("SELECT sum(value) AS s FROM t{where}").read_all()
    return pyarrow.table(rows)["s"][0].as_py()
"""
EXTENSION = """
import duckdb
connection = duckdb.connect(config={{"allow_unsigned_extensions": True}})
connection.execute("SET enable_progress_bar = false")
for statement in {load!r}:
    connection.execute(statement)
def ask(name):
    place = {places!r}[name]
    return connection.sql(f"SELECT sum(value) FROM delta_scan('{{place}}'){where}").fetchall()[0][0]
"""
BIG = """
import lakehouse, time
lake = lakehouse.connect({lake!r}, **{options!r})
table = lake.create_table("bronze.big", {{"id": "BIGINT", "noise": "VARCHAR"}})
noise = "md5(range::VARCHAR) || md5((range + 1)::VARCHAR)"
rows = lake.sql(f"SELECT range AS id, {{noise}} AS noise FROM range({rows})")
started = time.perf_counter()
written = table.append(rows).bytes_added
print(time.perf_counter() - started, written)
"""


def run(_: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures; ``--gigabytes`` is how much the large append writes."""
    with minio() as server, FaultProxy(server.endpoint) as proxy:
        values = built(f"{server.bucket()}/lake", {**server.options(), "endpoint_url": proxy.url})
        proxy.set_faults(Faults(delay=DELAY))
        rounds = min(options.rounds, 5)
        contestants = {"ours": OURS, "Polars": POLARS, "delta-rs": DELTA_RS}
        if "load" in values:
            contestants["DuckDB's delta extension"] = EXTENSION
        pruned, whole = {**values, "where": PRUNED}, {**values, "where": ""}
        yield compare("open, and a query of two files", contestants, pruned, proxy, rounds)
        again = {**contestants, "ours": OURS_OPEN}
        yield compare("that query again, ours in an open lake", again, pruned, proxy, rounds)
        yield compare("open, and a query of all files", contestants, whole, proxy, rounds)
        proxy.set_faults(Faults())
        if options.gigabytes:
            # A row takes about 40 bytes, which do not compress.
            rows = int(options.gigabytes * (1 << 30) / 40)
            done = fresh(BIG.format(**values, rows=rows))
            seconds, written = map(float, done.printed.split())
            memory = f"peak memory: {done.megabytes:.0f} MB"
            yield Figure(f"append of {written / (1 << 30):.1f} GiB", {"ours": seconds}, (memory,))


def built(uri: str, storage: dict[str, Any]) -> dict[str, Any]:
    """Write two tables, and return what the contestants' code is filled in with."""
    places = {}
    with lakehouse.connect(uri, **storage) as lake:
        for name, commits in (("warm", 1), ("t", COMMITS)):
            table = lake.create_table(f"bronze.{name}", {"id": "BIGINT", "value": "BIGINT"})
            places[name] = table.uri
            first = IDS[0] if commits == 1 else 0
            for start in range(first, first + commits * ROWS, ROWS):
                select = f"SELECT {start} + range AS id, range AS value FROM range({ROWS})"
                table.append(lake.sql(select))
                lake.settle()
    values: dict[str, Any] = {
        "options": storage,
        "lake": uri,
        "places": places,
        "warm": "warm",
        "table": "t",
        "storage_options": {
            "aws_endpoint_url": storage["endpoint_url"],
            "aws_access_key_id": storage["access_key_id"],
            "aws_secret_access_key": storage["secret_access_key"],
            "aws_region": storage["region"],
            "aws_allow_http": "true",
        },
    }
    extensions = [extension(name) for name in ("httpfs", "delta")]
    if all(extensions):
        secret = (
            f"CREATE SECRET (TYPE s3, KEY_ID '{storage['access_key_id']}', "
            f"SECRET '{storage['secret_access_key']}', REGION '{storage['region']}', "
            f"ENDPOINT '{storage['endpoint_url'].partition('://')[2]}', USE_SSL false, "
            "URL_STYLE 'path')"
        )
        values["load"] = [*(f"LOAD '{path}'" for path in extensions), secret]
    return values


def extension(name: str) -> Path | None:
    """Return an extension of this very DuckDB, where its wheel is installed."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    places = (spec and spec.submodule_search_locations) or []
    found = [p for place in places for p in Path(place).rglob(f"{name}.duckdb_extension")]
    return next((path for path in found if f"v{duckdb.__version__}" in path.parts), None)


def compare(
    name: str, codes: dict[str, str], values: dict[str, Any], proxy: FaultProxy, rounds: int
) -> Figure:
    """Run code in fresh processes, in turns; results must agree."""
    seconds: dict[str, list[float]] = {who: [] for who in codes}
    requests: dict[str, list[int]] = {who: [] for who in codes}
    results = set()
    for _ in range(rounds):
        for who, code in codes.items():
            proxy.forget()
            spent, result = map(float, fresh((code + TIMED).format(**values)).printed.split())
            seconds[who].append(spent)
            requests[who].append(sum(_is_of(request, values) for request in proxy.requests))
            results.add(result)
    assert len(results) == 1, results
    counts = ", ".join(f"{who} {statistics.median(n):.0f}" for who, n in requests.items())
    medians = {who: statistics.median(spent) for who, spent in seconds.items()}
    return Figure(name, medians, (f"requests: {counts}",))


def _is_of(request: Request, values: dict[str, Any]) -> bool:
    """Tell whether a request is about the table, or about the lake as a whole."""
    warm = values["places"]["warm"].partition("://")[2]
    return warm not in request.path
