"""Queries of a table of 20,000 small files, a star join, a large aggregate, and TPC-H.

Peers open the table afresh for each query, as ours looks for new commits at each; "frozen" ones
keep what they opened. Ours keeps no answers, so that tables are read each time, but in the lines
that say so. DuckDB's delta extension takes part where its wheel is installed (on DuckDB
1.5: `.venv-duckdb15/bin/python -m benchmarks queries`). Results must agree.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import lakehouse
from benchmarks.measure import Figure, compare
from benchmarks.remote import extension
from benchmarks.tpch import QUERIES, TABLES

ROWS = 250  # in each file
LOG = "_delta_log"
SCHEMA = {"id": "BIGINT", "ts": "TIMESTAMP", "shop": "INTEGER", "value": "DOUBLE"}
FILES_A_SHOP = 10
_TURN = 0.05  # seconds in which a query is asked again and again

Contestants = Mapping[str, Callable[[], object]]


def run(folder: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures; ``--query-files``, ``--query-rows`` and ``--scale`` are the sizes."""
    home = options.keep or folder
    place = built(home / f"small-{options.query_files}", options.query_files)
    # First: in a process that has read 20,000 footers memory is in pieces, and DuckDB, any of it,
    # takes 0.2 ms longer for a query of nothing.
    with lakehouse.connect(place) as lake:
        yield from answered(lake, options)
    with lakehouse.connect(place, keep_answers=False) as lake:
        yield from small_files(lake, options)
    large = built_large(home / f"large-{options.query_rows}", options.query_rows)
    with lakehouse.connect(large, keep_answers=False) as lake:
        yield from aggregates(lake, options)
    tpch = built_tpch(home / f"tpch-{options.scale:g}", options.scale)
    with lakehouse.connect(tpch, keep_answers=False) as lake:
        yield from power(lake, tpch / "raw", options)


def small_files(lake: lakehouse.Lake, options: argparse.Namespace) -> Iterator[Figure]:
    """Compare queries of a table of many small files."""
    table = lake.table("bronze.t")
    queries = questions(options.query_files)
    places = {"t": table.uri, "s": lake.table("bronze.shops").uri}
    with lake.snapshot() as view:
        for name, query in queries.items():
            ours = query.format(t="bronze.t", s="bronze.shops")
            rounds = min(options.rounds, 3) if "all rows" in name else options.rounds
            figure = agreed(name, {"ours": _ours(lake, ours), **peers(places, query)}, rounds)
            kept = {t.name: t for t in lake.explain(ours).tables}["bronze.t"]
            remark = f"{kept.files_kept} of {kept.files_total} files read by ours"
            yield Figure(figure.name, figure.medians, (remark,))
            if name in ("an hour of a timestamp", "a row by its id"):
                frame = pl.scan_delta(table.uri)
                frozen = {"ours": _ours(view, ours), "frozen Polars": _polars({"t": frame}, query)}
                yield agreed(f"{name}, in a snapshot", frozen, rounds)
        middle = options.query_files // 2 * ROWS
        yield agreed(
            "rows by ids not asked for before", _fresh(lake, places, middle), options.rounds
        )
        row = queries["a row by its id"]
        needed = row.format(t=f"'{table.uri}/part-{options.query_files // 2:06d}.parquet'")
        connection = duckdb.connect()
        told: Contestants = {
            "ours": _ours(view, row.format(t="bronze.t")),
            "raw DuckDB, told the file": lambda: connection.sql(needed).fetchall(),
        }
        figure = agreed("what planning adds to a row by its id", told, options.rounds * 10)
        whole, reading = figure.medians.values()
        yield Figure(figure.name, figure.medians, (f"{(whole - reading) * 1000:.1f} ms",))


def answered(lake: lakehouse.Lake, options: argparse.Namespace) -> Iterator[Figure]:
    """Compare queries that come again, whose answers ours keeps, with peers that read the table."""
    uri = lake.table("bronze.t").uri
    queries = questions(options.query_files)
    hour, row, every = "an hour of a timestamp", "a row by its id", "an aggregate of all rows"
    said = "asked again, its answer kept"
    with lake.snapshot() as view:
        for name in (hour, row):
            query, frame = queries[name], pl.scan_delta(uri)
            frozen = {
                "ours": _kept(view, query.format(t="bronze.t")),
                "frozen Polars": _polars({"t": frame}, query),
            }
            yield agreed(f"{name}, {said}, in a snapshot", frozen, options.rounds)
    for name in (hour, row, every):
        query = queries[name]
        ours = _kept(lake, query.format(t="bronze.t"))
        rounds = min(options.rounds, 3) if name == every else options.rounds
        yield agreed(f"{name}, {said}", {"ours": ours, **peers({"t": uri}, query)}, rounds)


def questions(files: int) -> dict[str, str]:
    """Return what is asked of a table of so many small files, ``{t}``, and of shops, ``{s}``."""
    middle = files // 2 * ROWS
    hour, day, shop = "2024-07-01 05:00:00", "2024-07-01", files // FILES_A_SHOP // 2
    return {
        "an hour of a timestamp": (
            "SELECT count(*), sum(value) FROM {t} WHERE ts >= TIMESTAMP "
            f"'{hour}' AND ts < TIMESTAMP '{hour.replace('05:', '06:')}'"
        ),
        "a row by its id": f"SELECT count(*), sum(value) FROM {{t}} WHERE id = {middle}",
        "three rows by their ids": (
            f"SELECT count(*), sum(value) FROM {{t}} WHERE id IN (7, {middle}, {middle * 2 - 7})"
        ),
        "a day by date_trunc": (
            "SELECT count(*), sum(value) FROM {t} "
            f"WHERE date_trunc('day', ts) = TIMESTAMP '{day} 00:00:00'"
        ),
        "count(*)": "SELECT count(*) FROM {t}",
        "the ten newest rows": (
            "SELECT sum(id), min(ts) FROM (SELECT id, ts FROM {t} ORDER BY ts DESC LIMIT 10) AS n"
        ),
        "a star join": (
            "SELECT count(*), sum(value) FROM {t} AS t JOIN {s} AS s ON t.shop = s.shop "
            f"WHERE s.name = 'shop {shop}'"
        ),
        "an aggregate of all rows": (
            "SELECT shop % 10, count(*), sum(value) FROM {t} GROUP BY 1 ORDER BY 1"
        ),
    }


def _fresh(lake: lakehouse.Lake, places: Mapping[str, str], first: int) -> Contestants:
    """Return contestants each call of which asks for another id, from ``first`` on."""
    query = "SELECT count(*), sum(value) FROM {t} WHERE id = "

    def asking(ask: Callable[[str], object]) -> Callable[[], object]:
        ids = itertools.count(first)
        return lambda: ask(f"{query}{next(ids)}")

    ours = asking(lambda text: _ours(lake, text.format(t="bronze.t"))())
    return {"ours": ours, **{who: asking(ask) for who, ask in _askers(places).items()}}


def aggregates(lake: lakehouse.Lake, options: argparse.Namespace) -> Iterator[Figure]:
    """Compare aggregates of a large table with DuckDB's over the same Parquet files."""
    uri = lake.table("bronze.t").uri
    query = "SELECT shop, count(*), sum(value), max(ts) FROM {t} GROUP BY shop ORDER BY shop"
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    contestants = {
        "ours": _ours(lake, query.format(t="bronze.t")),
        "raw DuckDB": lambda: connection.sql(
            query.format(t=f"read_parquet('{uri}/*.parquet')")
        ).fetchall(),
        **peers({"t": uri}, query),
    }
    yield agreed(
        f"an aggregate of {options.query_rows:,} rows in 100 files", contestants, options.rounds
    )


def power(lake: lakehouse.Lake, raw: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Compare TPC-H's queries, each and in total, with raw DuckDB on the same Parquet files."""
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    connection.execute("CREATE SCHEMA gold")
    for name in TABLES:
        connection.execute(
            f"CREATE VIEW gold.{name} AS FROM read_parquet('{raw}/{name}/*.parquet')"
        )
    totals = {"ours": 0.0, "raw DuckDB": 0.0}
    for number, query in QUERIES.items():
        contestants: Contestants = {
            "ours": _ours(lake, query),
            "raw DuckDB": lambda query=query: connection.sql(query).fetchall(),  # type: ignore[misc]
        }
        figure = agreed(f"TPC-H {number}", contestants, min(options.rounds, 3))
        for who, seconds in figure.medians.items():
            totals[who] += seconds
        yield figure
    yield Figure(f"TPC-H at scale {options.scale:g}, all 22 queries", totals)


def agreed(name: str, contestants: Contestants, rounds: int) -> Figure:
    """Compare contestants whose results are the same."""
    found = {who: _rounded(ask()) for who, ask in contestants.items()}
    assert len({repr(rows) for rows in found.values()}) == 1, (name, found)
    return compare(name, contestants, rounds=rounds, warm=1, turn=_TURN)


def peers(places: Mapping[str, str], query: str) -> dict[str, Callable[[], object]]:
    """Return the peers that open tables afresh, asking one query."""
    return {who: functools.partial(ask, query) for who, ask in _askers(places).items()}


def _askers(places: Mapping[str, str]) -> dict[str, Callable[[str], object]]:
    """Return what asks delta-rs, Polars, and DuckDB's delta extension, each opening tables afresh."""

    def delta_rs(query: str) -> object:
        builder = deltalake.QueryBuilder()
        for name, uri in places.items():
            builder = builder.register(name, deltalake.DeltaTable(uri))
        text = query.format(**{name: name for name in places})
        return [
            tuple(row.values()) for row in pa.table(builder.execute(text).read_all()).to_pylist()
        ]

    def polars(query: str) -> object:
        return _polars({name: pl.scan_delta(uri) for name, uri in places.items()}, query)()

    found: dict[str, Callable[[str], object]] = {"delta-rs": delta_rs, "Polars": polars}
    path = extension("delta")
    if path is not None:
        connection = duckdb.connect(config={"allow_unsigned_extensions": True})
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"LOAD '{path}'")
        scans = {name: f"delta_scan('{uri}')" for name, uri in places.items()}
        found["DuckDB's delta extension"] = lambda query: connection.sql(
            query.format(**scans)
        ).fetchall()
    return found


def _ours(lake: Any, query: str) -> Callable[[], object]:
    return lambda: lake.sql(query).fetchall()


def _kept(lake: Any, query: str) -> Callable[[], object]:
    """Return a query that is answered by what was kept from now on."""
    for _ in range(3):
        lake.sql(query).fetchall()
    assert lake.explain(query).kept
    return _ours(lake, query)


def _polars(frames: Mapping[str, pl.LazyFrame], query: str) -> Callable[[], object]:
    text = query.format(**{name: name for name in frames})

    def ask() -> object:
        with pl.SQLContext(frames) as context:
            return context.execute(text).collect().rows()

    return ask


def _rounded(rows: Any) -> list[tuple[Any, ...]]:
    """Return rows of which floating point sums in any order are the same."""
    return [
        tuple(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row)
        for row in rows
    ]


def built(place: Path, files: int) -> Path:
    """Return a lake with a table of so many files, and one of shops; one that is there is taken."""
    if place.exists():
        return place
    unfinished = place.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    with lakehouse.connect(unfinished, durable=False) as lake, duckdb.connect() as source:
        table = lake.create_table("bronze.t", SCHEMA)
        shops = lake.create_table("bronze.shops", {"shop": "INTEGER", "name": "VARCHAR"})
        count = -(-files // FILES_A_SHOP)
        shops.append(
            lake.sql(f"SELECT range::INTEGER AS shop, 'shop ' || range AS name FROM range({count})")
        )
        # The year has as many files as the table; a file is as long as they leave it.
        step = 366 * 86_400_000_000 // (files * ROWS)
        actions = ['{"commitInfo":{"timestamp":1700000000000,"operation":"WRITE"}}']
        for start in range(0, files, 1000):
            rows = source.sql(
                f"SELECT range AS id, TIMESTAMP '2024-01-01' + to_microseconds(range * {step}) AS ts, "
                f"(range // {ROWS * FILES_A_SHOP})::INTEGER AS shop, (range % 1000) / 10 AS value "
                f"FROM range({start * ROWS}, {min(start + 1000, files) * ROWS})"
            ).to_arrow_table()
            starts = range(0, rows.num_rows, ROWS)
            actions += [_file(Path(table.uri), rows.slice(n, ROWS)) for n in starts]
        Path(table.uri, LOG, f"{1:020d}.json").write_text("\n".join(actions) + "\n")
        table.checkpoint()
    unfinished.rename(place)
    return place


def built_large(place: Path, rows: int) -> Path:
    """Return a lake with a table of so many rows in 100 files; one that is there is taken."""
    if place.exists():
        return place
    unfinished = place.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    with lakehouse.connect(unfinished, durable=False) as lake:
        table = lake.create_table("bronze.t", SCHEMA)
        each = rows // 100
        for start in range(0, each * 100, each):
            table.append(
                lake.sql(
                    f"SELECT range AS id, TIMESTAMP '2024-01-01' + to_seconds(range) AS ts, "
                    f"(hash(range) % 100)::INTEGER AS shop, (range % 1000) / 10 AS value "
                    f"FROM range({start}, {start + each})"
                )
            )
    unfinished.rename(place)
    return place


def built_tpch(place: Path, scale: float, *, files: int = 1) -> Path:
    """Return a lake with TPC-H's tables in its gold layer, and the same files below ``raw``.

    ``files`` is how many the two largest tables have.
    """
    if place.exists():
        return place
    unfinished = place.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    made = unfinished / "made"
    made.mkdir(parents=True)
    generator = Path(sysconfig.get_path("scripts"), "tpchgen-cli")
    subprocess.run(
        [generator, "parquet", "-s", f"{scale:g}", f"--output-dir={made}"],
        check=True,
        capture_output=True,
    )
    with lakehouse.connect(unfinished, durable=False) as lake:
        for name in TABLES:
            source = f"FROM read_parquet('{made}/{name}.parquet')"
            (rows,) = lake.sql(f"SELECT count(*) {source}").fetchall()[0]
            table = lake.create_table(
                f"gold.{name}", lake.sql(f"{source} LIMIT 0").to_arrow_table()
            )
            each = -(-rows // files) if name in ("lineitem", "orders") else rows
            for start in range(0, rows, each):
                table.append(lake.sql(f"{source} LIMIT {each} OFFSET {start}"))
            # The peer reads the very files that we wrote.
            target = unfinished / "raw" / name
            target.mkdir(parents=True)
            for file in Path(table.uri).glob("*.parquet"):
                (target / file.name).hardlink_to(file)
    shutil.rmtree(made)
    unfinished.rename(place)
    return place


def _file(home: Path, rows: pa.Table) -> str:
    """Write a data file, and return its add action."""
    first, last = (rows.slice(n, 1).to_pylist()[0] for n in (0, rows.num_rows - 1))
    name = f"part-{first['id'] // ROWS:06d}.parquet"
    pq.write_table(rows, home / name)

    def shown(row: dict[str, Any], value: float) -> dict[str, Any]:
        return {**row, "ts": f"{row['ts'].isoformat(timespec='milliseconds')}", "value": value}

    values = rows["value"].to_pylist()
    stats = {
        "numRecords": rows.num_rows,
        "minValues": shown(first, min(values)),
        "maxValues": shown(last, max(values)),
        "nullCount": dict.fromkeys(rows.column_names, 0),
    }
    add = {
        "path": name,
        "partitionValues": {},
        "size": (home / name).stat().st_size,
        "modificationTime": 1_700_000_000_000,
        "dataChange": True,
        "stats": json.dumps(stats),
    }
    return json.dumps({"add": add})
