"""Check the lake's numbers: against the raw files, and against deltalake as a second reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse import Lake
from lakehouse.demo.queries import TABLES
from lakehouse.demo.raw import Group, RawNumbers
from lakehouse.demo.report import Check
from lakehouse.demo.source import NEW_IN, RESENT_DAYS, RESENT_IN


def checks(lake: Lake, raw: RawNumbers) -> Iterator[Check]:
    """Yield one check after the other."""
    yield from _bronze(lake, raw)
    yield from _silver(lake, raw)
    for table, key, groups in (
        ("gold.delays_by_carrier", "carrier", raw.carriers),
        ("gold.delays_by_airport", "dest", raw.airports),
        ("gold.delays_by_day", "day", raw.days),
    ):
        yield _gold(lake, table, key, groups)
    yield from _second_opinion(lake)


def _bronze(lake: Lake, raw: RawNumbers) -> Iterator[Check]:
    resent = {date(2013, RESENT_IN - 1, int(day)) for day in RESENT_DAYS}
    twice = sum(group.flights for day, group in raw.days.items() if day in resent)
    first = sum(group.flights for day, group in raw.days.items() if day.month < NEW_IN)
    count = "SELECT count(*) FROM bronze.flights"
    name = "bronze.flights"
    yield _number(
        name,
        f"lines of the file, {twice:,} sent twice",
        raw.total("flights") + twice,
        _one(lake, count),
    )
    then = _one(lake, f"{count} AT (VERSION => {NEW_IN - 1})")
    yield _number(name, f"version {NEW_IN - 1}: January to March", first, then)
    for reference, lines in raw.references.items():
        found = _one(lake, f"SELECT count(*) FROM bronze.{reference}")
        yield _number(f"bronze.{reference}", "lines of the file", lines, found)


def _silver(lake: Lake, raw: RawNumbers) -> Iterator[Check]:
    found = lake.sql(
        "SELECT count(*), count(*) FILTER (WHERE dep_delay IS NULL), sum(arr_delay)::BIGINT, "
        "count(airport), count(maker), count(wind) FROM silver.flights"
    ).fetchall()[0]
    expected = {
        "each flight once": raw.total("flights"),
        "cancelled flights": raw.total("cancelled"),
        "minutes of delay at arrival": raw.total("minutes"),
        "joined: flights to a known airport": raw.joined["airport"],
        "joined: flights of a known plane": raw.joined["maker"],
        "joined: flights with known wind": raw.joined["wind"],
    }
    for (what, number), ours in zip(expected.items(), found, strict=True):
        yield _number("silver.flights", what, number, ours)
    hours = lake.sql(
        "SELECT strftime(date_trunc('hour', scheduled), '%Y-%m-%dT%H:%M:%SZ'), count(*) "
        "FROM silver.flights GROUP BY ALL"
    ).fetchall()
    yield _groups("silver.flights", "hours, also where computed", raw.hours, dict(hours), "hours")


def _gold(lake: Lake, table: str, key: str, groups: Mapping[Any, Group]) -> Check:
    expected = {name: group.figures() for name, group in groups.items()}
    rows = lake.sql(f"SELECT {key}, flights, cancelled, arr_delay FROM {table}").fetchall()
    found = {
        name: (flights, cancelled, "None" if mean is None else f"{mean:.6f}")
        for name, flights, cancelled, mean in rows
    }
    return _groups(table, "flights, cancelled, mean delay", expected, found, "rows")


def _second_opinion(lake: Lake) -> Iterator[Check]:
    """Let deltalake read: its own implementation of the log, and another engine."""
    ours = {name: _one(lake, f"SELECT count(*) FROM {name}") for name in TABLES}
    theirs = {name: _scan(lake, name, lake.table(name).schema.names[0]).num_rows for name in TABLES}
    yield _groups("each table", "rows, as deltalake reads it", ours, theirs, "tables")
    delays = _scan(lake, "silver.flights", "arr_delay")["arr_delay"]
    minutes = _one(lake, "SELECT sum(arr_delay)::BIGINT FROM silver.flights")
    yield _number(
        "silver.flights", "minutes of delay, by deltalake", pc.sum(delays).as_py(), minutes
    )


def _scan(lake: Lake, name: str, column: str) -> pa.Table:
    # Not to_pyarrow_dataset(): its threads can abort the process when Python ends.
    return pa.table(lake.table(name).to_deltalake().scan(columns=[column]))


def _number(table: str, what: str, expected: int, found: int) -> Check:
    return Check(table, what, f"{expected:,}", f"{found:,}")


def _groups(
    table: str, what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any], unit: str
) -> Check:
    text = f"{len(expected):,} {unit}"
    wrong = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
    if not wrong:
        return Check(table, what, text, text)
    key = wrong[0]
    return Check(
        table, what, f"{text}; {key}: {expected.get(key)}",
        f"{len(wrong):,} {unit} differ; {key}: {found.get(key)}",
    )  # fmt: skip


def _one(lake: Lake, query: str) -> int:
    return int(lake.sql(query).fetchall()[0][0])
