"""Let several processes append to, rewrite and delete from one table for a while, and count rows.

Every acknowledged row must be there once, every deleted row must be gone, and nothing else may be
there. What should be there follows from the versions that the calls reported: a delete at version
v took the rows that match it from all commits before v, and from none after.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa

from catalog.errors import ConflictError, LakehouseError, OutcomeUnknownError, StorageError
from lakehouse.delta.log import read_listing
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake, connect
from lakehouse.table.handle import Table
from lakehouse.table.reports import WriteReport
from lakehouse.testing.agreement import Rows, disagreements
from lakehouse.testing.faults import Faults, Injector, connect_faulty

TABLE = "bronze.stressed"
SCHEMA = {"writer": "BIGINT", "n": "BIGINT"}
ROWS = 5
_RESIDUES = 7
_TRIES = 60
_FILES = (4, 40)


@dataclasses.dataclass(frozen=True, slots=True)
class Appended:
    """Note an acknowledged append: ``ROWS`` rows of a writer from ``first`` on."""

    version: int
    writer: int
    first: int


@dataclasses.dataclass(frozen=True, slots=True)
class Deleted:
    """Note an acknowledged delete of a writer's rows whose number has this residue."""

    version: int
    writer: int
    residue: int

    def took(self, append: Appended, n: int) -> bool:
        """Tell whether this delete came after an appended row and matched it."""
        matches = append.writer == self.writer and n % _RESIDUES == self.residue
        return matches and append.version <= self.version


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
    rewritten: int = 0
    outrun: int = 0
    commits: int = 0
    attempts: int = 0
    tries: int = 0
    faults: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[str] = dataclasses.field(default_factory=list)

    def count(self, report: WriteReport) -> None:
        """Take in a call that returned."""
        self.commits += report.attempts > 0
        self.attempts += report.attempts


@dataclasses.dataclass(slots=True)
class StressReport:
    """Report a stress run; ``findings`` are empty where every row was as it should be."""

    seconds: float
    work: Work
    version: int
    rows: int
    checkpoints: int
    findings: list[str]

    def figures(self) -> dict[str, object]:
        """Return what to print."""
        work = self.work
        return {
            "appends": len(work.appended),
            "appends a second": round(len(work.appended) / self.seconds, 1),
            "deletes": len(work.deleted),
            "rewrites": work.rewritten,
            "rewrites outrun by a delete": work.outrun,
            "commits": self.version,
            "puts into the log": work.attempts,
            "puts a commit": round(work.attempts / max(1, work.commits), 2),
            "checkpoints": self.checkpoints,
            "rows at the end": self.rows,
            "calls tried again after an error": work.tries,
            "faults injected": work.faults.total(),
            "failures": len(work.failures),
            "seconds": round(self.seconds, 1),
        }


def stress(
    seconds: float = 60.0,
    *,
    seed: int = 0,
    turns: int | None = None,
    appenders: int = 4,
    rewriters: int = 1,
    deleters: int = 1,
    faults: Faults | None = None,
    folder: Path | None = None,
) -> StressReport:
    """Let processes work on one table for a while, or for so many turns each, then count.

    Without ``faults`` no call may fail. With them each process has a faulty store of its own
    (seeded anew), and tries again, with the same idempotency key, until a call returns.
    """
    roles = [*[_append] * appenders, *[_rewrite] * rewriters, *[_delete] * deleters]
    with tempfile.TemporaryDirectory(prefix="lakehouse-stress-", dir=folder) as place:
        with connect(place, durable=False) as lake:
            lake.create_table(TABLE, SCHEMA)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        with ProcessPoolExecutor(len(roles), mp_context=context) as pool:
            list(pool.map(abs, range(len(roles))))  # the processes are started
            started = time.time()
            bounds = Bounds(started + seconds, turns)
            jobs = [
                pool.submit(_run, role, place, number, bounds, f"{seed}/{number}", faults)
                for number, role in enumerate(roles)
            ]
            work = _together([job.result() for job in jobs])
            elapsed = time.time() - started
        return _judge(place, work, elapsed)


def expected_rows(work: Work) -> Rows:
    """Return the rows that must be in the table, by what was acknowledged at which version.

    >>> work = Work([Appended(1, writer=0, first=0)], [Deleted(2, writer=0, residue=3)])
    >>> sorted(expected_rows(work))
    [(0, 0), (0, 1), (0, 2), (0, 4)]
    """
    return Counter(
        (append.writer, n)
        for append in work.appended
        for n in range(append.first, append.first + ROWS)
        if not any(delete.took(append, n) for delete in work.deleted)
    )


def _judge(place: str, work: Work, seconds: float) -> StressReport:
    with Engine() as engine, connect(place, durable=False, create=False) as lake:
        table = lake.table(TABLE)
        rows = expected_rows(work)
        findings = disagreements(table, [rows], columns=tuple(SCHEMA), engine=engine)
        versions = Counter(append.version for append in work.appended)
        findings += [f"two appends report version {v}" for v, c in versions.items() if c > 1]
        listing = read_listing(table.snapshot().storage)
        return StressReport(
            seconds=seconds,
            work=work,
            version=table.version,
            rows=rows.total(),
            checkpoints=len(listing.checkpoints),
            findings=[*work.failures, *findings],
        )


def _together(parts: list[Work]) -> Work:
    whole = Work()
    for part in parts:
        for field in dataclasses.fields(Work):
            setattr(whole, field.name, getattr(whole, field.name) + getattr(part, field.name))
    return whole


# In the processes -------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class _Job:
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

    def call(self, verb: Callable[[], WriteReport]) -> WriteReport | None:
        """Call until it returns where faults are injected, else once; None where it failed."""
        for _ in range(_TRIES if self.persistent else 1):
            try:
                report = verb()
            except (OutcomeUnknownError, StorageError, ConflictError) as error:
                problem: LakehouseError = error
                self.work.tries += 1
            except LakehouseError as error:
                problem = error
                break
            else:
                self.work.count(report)
                return report
        self.work.failures.append(f"writer {self.writer}: {type(problem).__name__}: {problem}")
        return None


def _run(
    role: Callable[[_Job], None],
    place: str,
    writer: int,
    bounds: Bounds,
    seed: str,
    faults: Faults | None,
) -> Work:
    work, draw = Work(), random.Random(seed)
    with contextlib.ExitStack() as stack:
        if faults is None:
            lake = stack.enter_context(connect(place, durable=False, duckdb_config={"threads": 1}))
        else:
            injector = Injector(dataclasses.replace(faults, seed=draw.randrange(1 << 30)))
            lake = stack.enter_context(_opened(place, injector))
            stack.callback(lambda: work.faults.update(item.fault for item in injector.log))
        role(_Job(lake.table(TABLE), writer, draw, bounds, faults is not None, work))
    return work


def _opened(place: str, injector: Injector) -> Lake:
    for _ in range(_TRIES):
        with contextlib.suppress(StorageError):
            return connect_faulty(place, injector, create=False)
    raise StorageError(f"the lake could not be opened in {_TRIES} tries")


def _append(job: _Job) -> None:
    for number in job.turns():
        first = number * ROWS
        rows = pa.table({"writer": [job.writer] * ROWS, "n": range(first, first + ROWS)})
        # Half of the writers use keys even where nothing fails.
        keyed = job.persistent or job.writer % 2
        key = (f"writer-{job.writer}", number) if keyed else None
        report = job.call(lambda: job.table.append(rows, idempotency_key=key))  # noqa: B023
        if report is not None:
            job.work.appended.append(Appended(report.version, job.writer, first))


def _rewrite(job: _Job) -> None:
    for _ in job.turns():
        with contextlib.suppress(*((StorageError,) if job.persistent else ())):
            paths = job.table.files()["path"].to_pylist()
            if len(paths) < _FILES[0]:
                continue
            chosen = job.draw.sample(paths, min(len(paths), job.draw.randint(*_FILES)))
            report = job.call(lambda: job.table.rewrite(chosen))  # noqa: B023
            if report is not None:
                job.work.rewritten += report.files_removed > 0
                job.work.outrun += report.files_removed == 0


def _delete(job: _Job) -> None:
    for number in job.turns():
        writer, residue = job.draw.randrange(4), job.draw.randrange(_RESIDUES)
        where = f"writer = {writer} AND n % {_RESIDUES} = {residue}"
        key = (f"deleter-{job.writer}", number)
        report = job.call(lambda: job.table.delete(where, idempotency_key=key))  # noqa: B023
        if report is not None:
            job.work.deleted.append(Deleted(report.version, writer, residue))
