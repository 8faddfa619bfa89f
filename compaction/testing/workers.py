"""Let several workers share a lake for a while, kill one, and look what was done when.

Every time that a table was due it must have been looked after once, by one worker; what the one
that was killed was at must have been done by another.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from compaction.keeper import Keeper
from compaction.schedule import Schedule
from compaction.tasks import Defaults
from compaction.worker import Worker
from lakehouse.lake.lake import Lake
from lakehouse.lint.log import lint
from lakehouse.testing.places import Place, given_or_new
from lakehouse.testing.report import Report, counted, tallied

TABLES = ("bronze.a", "silver.b", "gold.c")
_TTL = dt.timedelta(seconds=3)
_SKEW = dt.timedelta(seconds=1)
_PATIENCE = 120.0
_SLACK = 30.0  # seconds that a busy machine may take longer


@dataclasses.dataclass(slots=True)
class WorkersReport(Report):
    """Report a run of several workers."""

    runs: int = counted("runs on record")
    by_worker: Counter[str] = tallied("by {}")
    longest_gap: float = counted("longest seconds between two runs")
    rows: int = counted("rows at the end")
    files: int = counted("files at the end")


def workers(
    seconds: float = 600.0, *, every: float = 2.0, seed: int = 0, place: Place | None = None
) -> WorkersReport:
    """Let two workers look after three tables, every so many seconds; kill one in the middle.

    A third takes its place. ``place`` is empty; the default is a temporary folder.
    """
    report, began = WorkersReport(), time.monotonic()
    with report.timed(), given_or_new(place) as place:
        with place.connect() as lake:
            for name in TABLES:
                lake.create_table(name, {"n": "BIGINT"})
            team = [_started(place, f"worker {number}", every) for number in range(2)]
            written: Counter[str] = Counter()
            _write(lake, written, seed, until=began + seconds / 2)
            _kill(lake, team[0], "worker 0", report)
            team.append(_started(place, "worker 2", every))
            killed_at = dt.datetime.now(dt.UTC)
            _write(lake, written, seed + 1, until=began + seconds)
            _wait_for(lake, killed_at)
            for process in team[1:]:
                assert process.pid is not None
                os.kill(process.pid, signal.SIGTERM)
            for process in team[1:]:
                process.join(_PATIENCE)
                if process.exitcode != 0:
                    report.findings.append(f"a worker ended with {process.exitcode} on SIGTERM")
                    process.kill()
            _judge(lake, written, every, report)
    return report


def work(place: Place, name: str, every: float) -> None:
    """Be a worker until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with place.connect(create=False, duckdb_config={"threads": 1}) as lake:
        defaults = Defaults(Schedule(every=dt.timedelta(seconds=every)))
        keeper = Keeper(lake, defaults=defaults, name=name, ttl=_TTL, skew=_SKEW)
        Worker(keeper, look_every=max(0.2, every / 2), side_by_side=2).run(stop)


def _started(place: Place, name: str, every: float) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    process = context.Process(target=work, args=(place, name, every), daemon=True)
    process.start()
    return process


def _write(lake: Lake, written: Counter[str], seed: int, *, until: float) -> None:
    draw = random.Random(seed)
    while time.monotonic() < until:
        name = draw.choice(TABLES)
        lake.table(name).append([{"n": written[name]}])
        written[name] += 1
        time.sleep(0.05 * draw.random())


def _kill(lake: Lake, process: BaseProcess, name: str, report: WorkersReport) -> None:
    """Kill a worker while it holds a table, where it does within reason."""
    keeper = Keeper(lake, name="onlooker", ttl=_TTL, skew=_SKEW)
    tasks = keeper.tasks()
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.is_alive():
        if any(keeper.holder(task) == name for task in tasks):
            process.kill()
            process.join()
            return
    report.findings.append(f"{name} never held a table, or ended with {process.exitcode}")
    process.kill()


def _wait_for(lake: Lake, moment: dt.datetime) -> None:
    """Wait until each table was looked after since a moment."""
    keeper = Keeper(lake)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        done = {record["table_name"] for record in keeper.records.all() if _start(record) > moment}
        if done >= {*TABLES}:
            return
        time.sleep(0.2)


def _judge(lake: Lake, written: Mapping[str, int], every: float, report: WorkersReport) -> None:
    records = [r for r in Keeper(lake).records.all() if r["outcome"] in ("done", "failed")]
    report.runs = len(records)
    report.by_worker = Counter(record["worker"] for record in records)
    for name in TABLES:
        of_table = [record for record in records if record["table_name"] == name]
        report.findings += [f"{name}: {problem}" for problem in _out_of_turn(of_table, every)]
        report.findings += [f"{name}: {p}" for r in of_table for p in r["problems"]]
        gaps = [(_start(b) - _start(a)).total_seconds() for a, b in itertools.pairwise(of_table)]
        report.longest_gap = round(max([report.longest_gap, *gaps]), 1)
        table = lake.table(name)
        found = sorted(table.read().fetchall())
        if found != [(n,) for n in range(written[name])]:
            report.findings.append(f"{name}: {len(found)} rows, and {written[name]} were written")
        report.findings += [f"{name}: {f}" for f in lint(table.snapshot().storage) if not f.note]
        report.rows += len(found)
        report.files += table.detail().files
    allowed = every + (_TTL + _SKEW).total_seconds() + _SLACK
    if report.longest_gap > allowed:
        report.findings.append(f"a table was left alone for {report.longest_gap:.0f} s")


def _out_of_turn(records: Sequence[Mapping[str, Any]], every: float) -> list[str]:
    """Return where a table was looked after before it was due, or by two at once."""
    found = []
    for first, second in itertools.pairwise(records):
        gap = (_start(second) - _start(first)).total_seconds()
        if gap < every:
            found.append(f"due every {every} s, and looked after again after {gap:.3f} s")
        if gap < first["seconds"]:
            found.append(f"{second['worker']} began while {first['worker']} was at it")
    return found


def _start(record: Mapping[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(record["at"])
