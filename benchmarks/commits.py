"""Commit small appends: the latency of one, and many writers on one table, beside delta-rs.

Ours is durable where it says so (every file and folder is on disk before the call returns);
delta-rs never is, so its fair peer is ours without fsync.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa

import lakehouse
from benchmarks.measure import Figure, turns

APPENDS = 200
WRITERS = 8
EACH = 25
ROW = pa.table({"id": pa.array([1], pa.int64()), "name": ["a name"], "value": [0.5]})
_table: Any = None
_barrier: Barrier | None = None


def run(folder: Path, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures; files live below ``folder``."""
    yield from _latency(folder / "latency")
    yield from _writers(folder / "writers", rounds=min(3, options.rounds))


def _latency(folder: Path) -> Iterator[Figure]:
    durable = _ours(folder / "durable", durable=True)
    quick = _ours(folder / "quick", durable=False)
    peer = _delta_rs(folder / "peer")
    contestants = {"ours": durable, "ours, no fsync": quick, "delta-rs": peer}
    seconds = turns(contestants, rounds=APPENDS, warm=5)
    for what, of in (("median", statistics.median), ("p95", _p95)):
        found = {name: of(times) for name, times in seconds.items()}
        yield Figure(f"1-row append, {what} of {APPENDS}", found)
        yield Figure(
            f"1-row append without fsync, {what}",
            {"ours": found["ours, no fsync"], "delta-rs": found["delta-rs"]},
        )


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def _ours(folder: Path, *, durable: bool) -> Callable[[], object]:
    lake = lakehouse.connect(folder, durable=durable)
    table = lake.create_table("bronze.t", ROW.schema)
    return lambda: table.append(ROW)


def _delta_rs(folder: Path) -> Callable[[], object]:
    deltalake.write_deltalake(folder, ROW.slice(0, 0))
    table = deltalake.DeltaTable(folder)
    return lambda: deltalake.write_deltalake(table, ROW, mode="append")


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    started: float
    ended: float
    failures: int


def _writers(folder: Path, *, rounds: int) -> Iterator[Figure]:
    walls: dict[str, list[float]] = {}
    failures: dict[str, int] = {}
    numbers = itertools.count()
    for _ in range(rounds):
        for name, (make, open_, count) in _CONTESTANTS.items():
            place = folder / str(next(numbers))
            make(place)
            outcomes = _race(open_, place)
            failed = sum(outcome.failures for outcome in outcomes)
            if (rows := count(place)) != WRITERS * EACH - failed:
                raise SystemExit(f"{name} has {rows} rows after {WRITERS * EACH - failed} appends")
            wall = max(o.ended for o in outcomes) - min(o.started for o in outcomes)
            walls.setdefault(name, []).append(wall)
            failures[name] = failures.get(name, 0) + failed
    medians = {name: statistics.median(times) for name, times in walls.items()}
    total = rounds * WRITERS * EACH
    remarks = tuple(
        f"{name}: {WRITERS * EACH / medians[name]:.0f} appends/s, "
        f"{failures[name]} of {total} appends failed"
        for name in medians
    )
    name = f"{WRITERS} processes, {EACH} appends each, wall"
    yield Figure(name, medians, remarks)


def _race(open_: Callable[[Path], Callable[[], object]], place: Path) -> list[_Outcome]:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(WRITERS)
    with ProcessPoolExecutor(
        WRITERS, mp_context=spawn, initializer=_prepare, initargs=(open_, place, barrier)
    ) as pool:
        return [done.result() for done in [pool.submit(_append_all) for _ in range(WRITERS)]]


def _prepare(open_: Callable[[Path], Callable[[], object]], place: Path, barrier: Barrier) -> None:
    global _table, _barrier  # what a process of the pool keeps between calls
    _table, _barrier = open_(place), barrier


def _append_all() -> _Outcome:
    assert _barrier is not None
    _barrier.wait(120)
    started, failures = time.monotonic(), 0
    for _ in range(EACH):
        try:
            _table()
        except (lakehouse.LakehouseError, deltalake.exceptions.DeltaError):
            failures += 1
    return _Outcome(started, time.monotonic(), failures)


def _make_ours(place: Path) -> None:
    with lakehouse.connect(place) as lake:
        lake.create_table("bronze.t", ROW.schema)


def _open_durable(place: Path) -> Callable[[], object]:
    return _open_ours(place, durable=True)


def _open_quick(place: Path) -> Callable[[], object]:
    return _open_ours(place, durable=False)


def _open_ours(place: Path, *, durable: bool) -> Callable[[], object]:
    table = lakehouse.connect(place, durable=durable).table("bronze.t")
    return lambda: table.append(ROW)


def _count_ours(place: Path) -> int:
    with lakehouse.connect(place) as lake:
        return len(lake.table("bronze.t").read().fetchall())


def _make_delta_rs(place: Path) -> None:
    deltalake.write_deltalake(place, ROW.slice(0, 0))


def _open_delta_rs(place: Path) -> Callable[[], object]:
    table = deltalake.DeltaTable(place)
    return lambda: deltalake.write_deltalake(table, ROW, mode="append")


def _count_delta_rs(place: Path) -> int:
    builder = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(place))
    return len(builder.execute("SELECT id FROM t").read_all())


_CONTESTANTS: Mapping[str, tuple[Any, Any, Any]] = {
    "ours": (_make_ours, _open_durable, _count_ours),
    "ours, no fsync": (_make_ours, _open_quick, _count_ours),
    "delta-rs": (_make_delta_rs, _open_delta_rs, _count_delta_rs),
}
