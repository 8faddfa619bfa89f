"""Let several processes append to, merge into, rewrite and delete from one table for a while.

Every acknowledged row must be there once, every deleted row must be gone, and nothing else may be
there. What should be there follows from the versions that the calls reported: a delete at version
v took the rows that match it from all commits before v, and from none after.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from lakehouse.delta.log import read_listing
from lakehouse.duck.engine import Engine
from lakehouse.testing.agreement import Rows, disagreements
from lakehouse.testing.crowd import (
    MERGED,
    ROWS,
    SCHEMA,
    TABLE,
    Bounds,
    Work,
    append,
    delete,
    merge,
    rewrite,
    run,
)
from lakehouse.testing.faults import Faults
from lakehouse.testing.places import Place, given_or_new

Beside = Callable[[Place, int, Bounds, str], Work]
"""A process beside: given the place, its number, when it stops, and its seed."""


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
            "merges": len(work.merged),
            "rewrites": work.rewritten,
            "rewrites outrun by a delete": work.outrun,
            "deletes, merges and rewrites that gave up": work.gave_up,
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
    mergers: int = 2,
    beside: Sequence[Beside] = (),
    faults: Faults | None = None,
    place: Place | None = None,
) -> StressReport:
    """Let processes work on one table for a while, or for so many turns each, then count.

    Without ``faults`` no call may fail. With them each process has a faulty store of its own
    (seeded anew), and tries again, with the same idempotency key, until a call returns.
    ``beside`` are further processes, which must change no row; the table is `crowd.TABLE`.
    ``place`` is empty; the default is a temporary folder.
    """
    roles = [
        *[append] * appenders,
        *[rewrite] * rewriters,
        *[delete] * deleters,
        *[merge] * mergers,
    ]
    with given_or_new(place) as place:
        with place.connect() as lake:
            lake.create_table(TABLE, SCHEMA)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([run.__module__])
        count = len(roles) + len(beside)
        with ProcessPoolExecutor(count, mp_context=context) as pool:
            list(pool.map(abs, range(count)))  # the processes are started
            started = time.time()
            bounds = Bounds(started + seconds, turns)
            jobs = [
                pool.submit(run, role, place, number, bounds, f"{seed}/{number}", faults)
                for number, role in enumerate(roles)
            ]
            jobs += [
                pool.submit(other, place, number, bounds, f"{seed}/{number}")
                for number, other in enumerate(beside, len(roles))
            ]
            work = _together([job.result() for job in jobs])
            elapsed = time.time() - started
        return _judge(place, work, elapsed)


def expected_rows(work: Work) -> Rows:
    """Return the rows that must be in the table, by what was acknowledged at which version.

    >>> from lakehouse.testing.crowd import Appended, Deleted
    >>> work = Work(
    ...     [Appended(1, writer=0, first=0)], [Deleted(2, writer=0, residue=3, low=0, high=9)]
    ... )
    >>> sorted(expected_rows(work))
    [(0, 0), (0, 1), (0, 2), (0, 4)]
    """
    appended: Rows = Counter(
        (rows.writer, n)
        for rows in work.appended
        for n in range(rows.first, rows.first + ROWS)
        if not any(deleted.took(rows, n) for deleted in work.deleted)
    )
    # Each turn of a merger stands for itself and the one before, whoever does it.
    turns = {turn for done in work.merged for turn in (done, max(0, done - 1))}
    merged = ((MERGED, n) for turn in turns for n in range(turn * ROWS, (turn + 1) * ROWS))
    return appended + Counter(merged)


def _judge(place: Place, work: Work, seconds: float) -> StressReport:
    with Engine() as engine, place.connect(create=False) as lake:
        table = lake.table(TABLE)
        rows = expected_rows(work)
        findings = disagreements(table, [rows], columns=tuple(SCHEMA), engine=engine)
        versions = Counter(appended.version for appended in work.appended)
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
