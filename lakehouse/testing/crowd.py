"""The processes of a stress run: what each does, and what it notes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import ConflictError, LakehouseError, OutcomeUnknownError, StorageError
from lakehouse.table.handle import Table
from lakehouse.table.reports import ChangeReport, WriteReport
from lakehouse.testing.faults import Faults, Injector, connect_faulty
from lakehouse.testing.places import Place

T = TypeVar("T")
Report = WriteReport | ChangeReport
R = TypeVar("R", bound=Report)
TABLE = "bronze.stressed"
SCHEMA = {"writer": "BIGINT", "n": "BIGINT"}
ROWS = 5
MERGED = -1  # who writes the rows that several merge
_RESIDUES = 7
_TRIES = 60
_FILES = (4, 40)
_SHORT = 50
_END = 1 << 40


@dataclasses.dataclass(frozen=True, slots=True)
class Appended:
    """Note an acknowledged append: ``ROWS`` rows of a writer from ``first`` on."""

    version: int
    writer: int
    first: int


@dataclasses.dataclass(frozen=True, slots=True)
class Deleted:
    """Note an acknowledged delete of a writer's rows from ``low`` to ``high``, by residue."""

    version: int
    writer: int
    residue: int
    low: int
    high: int

    def took(self, append: Appended, n: int) -> bool:
        """Tell whether this delete came after an appended row and matched it."""
        matches = append.writer == self.writer and n % _RESIDUES == self.residue
        return matches and self.low <= n <= self.high and append.version <= self.version


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """Say when a process stops: at a time (seconds since the epoch), or after so many turns."""

    until: float
    turns: int | None = None

    def allow(self, turn: int) -> bool:
        """Tell whether another turn may begin."""
        return time.time() < self.until if self.turns is None else turn < self.turns


@dataclasses.dataclass(slots=True)
class Work:
    """Hold what one process has done."""

    appended: list[Appended] = dataclasses.field(default_factory=list)
    deleted: list[Deleted] = dataclasses.field(default_factory=list)
    merged: list[int] = dataclasses.field(default_factory=list)
    rewritten: int = 0
    outrun: int = 0
    gave_up: int = 0
    commits: int = 0
    attempts: int = 0
    tries: int = 0
    faults: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[str] = dataclasses.field(default_factory=list)

    def count(self, report: Report) -> None:
        """Take in a call that returned."""
        self.commits += report.attempts > 0
        self.attempts += report.attempts


@dataclasses.dataclass(slots=True)
class Job:
    """Hold what a process needs to do its part."""

    table: Table
    writer: int
    draw: random.Random
    bounds: Bounds
    persistent: bool
    work: Work

    def turns(self) -> Iterator[int]:
        """Count the turns until the time is over, or a call has failed for good."""
        number = 0
        while self.bounds.allow(number) and not self.work.failures:
            yield number
            number += 1

    def call(self, verb: Callable[[], R], *, may_give_up: bool = False) -> R | None:
        """Call until it returns where faults are injected, else once; None where it failed.

        Who reads before it writes may lose against others so often that it gives up, having
        changed nothing; a blind append may not.
        """
        for _ in range(_TRIES if self.persistent else 1):
            try:
                report = verb()
            except ConflictError as error:
                problem: LakehouseError = error
                if not may_give_up:
                    break
                self.work.gave_up += 1
                return None
            except (OutcomeUnknownError, StorageError) as error:
                problem = error
                self.work.tries += 1
            except LakehouseError as error:
                problem = error
                break
            else:
                self.work.count(report)
                return report
        self.work.failures.append(f"writer {self.writer}: {type(problem).__name__}: {problem}")
        return None


def run(
    role: Callable[[Job], None],
    place: Place,
    writer: int,
    bounds: Bounds,
    seed: str,
    faults: Faults | None,
) -> Work:
    """Open the table, play a role in it, and return what was done."""
    work, draw = Work(), random.Random(seed)
    with contextlib.ExitStack() as stack:
        if faults is None:
            lake = stack.enter_context(place.connect(duckdb_config={"threads": 1}))
        else:
            injector = Injector(dataclasses.replace(faults, seed=draw.randrange(1 << 30)))
            lake = stack.enter_context(
                _insist(lambda: connect_faulty(place.uri, injector, create=False, **place.options))
            )
            # That checkpoints fail now and then is what was asked for.
            logging.getLogger("lakehouse").addHandler(logging.NullHandler())
            stack.callback(lambda: work.faults.update(item.fault for item in injector.log))
        table = _insist(lambda: lake.table(TABLE))
        role(Job(table, writer, draw, bounds, faults is not None, work))
    return work


def _insist(call: Callable[[], T]) -> T:
    for _ in range(_TRIES):
        with contextlib.suppress(StorageError):
            return call()
    return call()


def append(job: Job) -> None:
    """Append ``ROWS`` rows a turn."""
    for number in job.turns():
        first = number * ROWS
        rows = pa.table({"writer": [job.writer] * ROWS, "n": range(first, first + ROWS)})
        # Half of the writers use keys even where nothing fails.
        keyed = job.persistent or job.writer % 2
        key = (f"writer-{job.writer}", number) if keyed else None
        report = job.call(lambda: job.table.append(rows, idempotency_key=key))  # noqa: B023
        if report is not None:
            job.work.appended.append(Appended(report.version, job.writer, first))


def merge(job: Job) -> None:
    """Upsert the rows of the turn before again, and ``ROWS`` new ones; all mergers the same."""
    for number in job.turns():
        first = number * ROWS
        least = max(0, first - ROWS)
        numbers = range(least, first + ROWS)
        rows = pa.table({"writer": [MERGED] * len(numbers), "n": numbers})
        key = (f"merger-{job.writer}", number) if job.persistent else None
        report = job.call(
            lambda: job.table.upsert(rows, key=["writer", "n"], idempotency_key=key),  # noqa: B023
            may_give_up=True,
        )
        if report is not None:
            job.work.merged.append(number)


def rewrite(job: Job) -> None:
    """Rewrite some of the files into few."""
    for _ in job.turns():
        with contextlib.suppress(*((StorageError,) if job.persistent else ())):
            paths = job.table.files()["path"].to_pylist()
            if len(paths) < _FILES[0]:
                continue
            chosen = job.draw.sample(paths, min(len(paths), job.draw.randint(*_FILES)))
            report = job.call(lambda: job.table.rewrite(chosen), may_give_up=True)  # noqa: B023
            if report is not None:
                job.work.rewritten += report.files_removed > 0
                job.work.outrun += report.files_removed == 0


def delete(job: Job) -> None:
    """Delete a seventh of one writer's rows.

    Mostly of a short range; else of all that are there by now; else of all, so that it has to
    begin anew when that writer was faster.
    """
    for number in job.turns():
        with contextlib.suppress(*((StorageError,) if job.persistent else ())):
            writer, residue = job.draw.randrange(4), job.draw.randrange(_RESIDUES)
            there = job.table.read(columns=["n"], where=f"writer = {writer}").to_arrow_table()
            newest = pc.max(there["n"]).as_py() or 0
            low, high = job.draw.choice(
                [*[(newest // (1 + part), newest // (1 + part) + _SHORT) for part in range(8)],
                 (0, newest), (0, _END)]
            )  # fmt: skip
            where = (
                f"writer = {writer} AND n % {_RESIDUES} = {residue} AND n BETWEEN {low} AND {high}"
            )
            key = (f"deleter-{job.writer}", number)
            report = job.call(
                lambda: job.table.delete(where, idempotency_key=key),  # noqa: B023
                may_give_up=True,
            )
            if report is not None:
                job.work.deleted.append(Deleted(report.version, writer, residue, low, high))
