"""Lose the answer to every third commit, and look whether each write happened once all the same.

The answers are lost after the put, by a broken connection, a 500, or a client library that repeats
the put by itself and is told that the file exists: on the wire where a server is named, by a proxy,
and else at the storage backend.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from catalog.errors import LakehouseError
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.table.handle import Table
from lakehouse.testing.agreement import Rows, disagreements
from lakehouse.testing.faults import Faults, Injector, connect_faulty
from lakehouse.testing.places import Place, given_or_new
from lakehouse.testing.proxy import FaultProxy
from lakehouse.testing.report import Report, counted, tallied
from lakehouse.testing.script import COLUMNS, SCHEMA, Step, data_of, perform, rows_after, step

TABLE = "bronze.lost"
_RIVALS = 3
_BACK = 7


@dataclasses.dataclass(slots=True)
class LostReport(Report):
    """Report writes whose answers were lost, by kind of write and by kind of loss."""

    steps: int = counted("writes")
    verbs: Counter[str] = tallied("of those, {}")
    commits: int = counted("commits")
    attempts: int = counted("puts into the log")
    answers: int = counted("answers lost")
    lost: Counter[str] = tallied("lost: {}")


def lost_answers(steps: int = 300, *, seed: int = 0, place: Place | None = None) -> LostReport:
    """Write ``steps`` times by one writer alone, then as often by several beside each other.

    Every call must return, as if nothing had happened; findings are empty where that is so.
    ``place`` is empty; the default is a temporary folder.
    """
    report = LostReport()
    with report.timed(), given_or_new(place) as place:
        _alone(place.child("alone"), steps, seed, report)
        _beside(place.child("beside"), steps, seed, report)
    report.answers = report.lost.total()
    return report


def _alone(place: Place, steps: int, seed: int, report: LostReport) -> None:
    """Do the script; each step is one commit at most, and no key helps."""
    rows: Rows = Counter()
    known: dict[int, Rows] = {}
    with _losing(place, seed, report) as lake:
        table = lake.create_table(TABLE, SCHEMA)
        for number in range(steps):
            before = table.version
            known[before] = rows
            # Now and then an earlier version is restored instead of the step.
            back = before - 1 if number % _BACK == _BACK - 1 else None
            todo = step(seed, number)
            try:
                done = perform(table, todo, keyed=False) if back is None else table.restore(back)
            except LakehouseError as error:
                report.findings.append(f"{todo}: {type(error).__name__}: {error}")
                break
            report.verbs["restore" if back is not None else todo.kind] += 1
            report.attempts += done.attempts if done else 0
            rows = rows_after(rows, todo) if back is None else known[back]
            if done is not None and (done.replayed or table.version - before > 1):
                report.findings.append(f"{todo} was not done once: {done}")
        report.steps += steps
        report.commits += table.version
    _look(place, rows, report)


def _beside(place: Place, steps: int, seed: int, report: LostReport) -> None:
    """Append from several threads, each by a store of its own that loses answers."""
    with place.connect() as lake:
        lake.create_table(TABLE, SCHEMA)

    def write(rival: int) -> tuple[Rows, LostReport]:
        mine, rows = LostReport(), Rows()
        with _losing(place, seed + rival + 1, mine) as lake:
            table = lake.table(TABLE)
            for number in range(rival * steps, rival * steps + steps // _RIVALS):
                todo = Step(number, "append", rows=3, residue=0)
                rows = _append(table, todo, rows, mine)
        return rows, mine

    expected: Rows = Counter()
    with ThreadPoolExecutor(_RIVALS) as pool:
        for rows, mine in pool.map(write, range(_RIVALS)):
            expected += rows
            report.lost += mine.lost
            report.attempts += mine.attempts
            report.findings += mine.findings
    report.verbs["append beside others"] += steps // _RIVALS * _RIVALS
    report.steps += steps // _RIVALS * _RIVALS
    with place.connect(create=False) as lake:
        report.commits += lake.table(TABLE).version
    _look(place, expected, report)


def _append(table: Table, todo: Step, rows: Rows, report: LostReport) -> Rows:
    try:
        done = table.append(data_of(todo))
    except LakehouseError as error:
        report.findings.append(f"{todo}: {type(error).__name__}: {error}")
        return rows
    report.attempts += done.attempts
    return rows_after(rows, todo)


@contextlib.contextmanager
def _losing(place: Place, seed: int, report: LostReport) -> Iterator[Lake]:
    faults = Faults.lost_answers(seed=seed)
    if place.endpoint is None:
        injector = Injector(faults)
        with connect_faulty(place.uri, injector, **place.options) as lake:
            yield lake
        report.lost += Counter(item.fault for item in injector.log)
    else:
        with FaultProxy(place.endpoint, faults=faults) as proxy:
            with place.through(proxy.url).connect() as lake:
                yield lake
            report.lost += Counter(one.fault for one in proxy.requests if one.fault is not None)


def _look(place: Place, rows: Rows, report: LostReport) -> None:
    with Engine() as engine, place.connect(create=False) as lake:
        problems = disagreements(lake.table(TABLE), [rows], columns=COLUMNS, engine=engine)
    report.findings += [f"in {place.uri}: {problem}" for problem in problems]
