"""Look after tables, one at a time, beside other workers on the same lake."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from catalog import leases as leasing
from catalog.leases import Lease, Leases
from catalog.records import MAINTENANCE, Records
from compaction.reports import TableUpkeep, record_of
from compaction.run import run
from compaction.shape import Shape, measure
from compaction.tasks import Defaults, Task, tasks
from lakehouse import ConflictError, Lake, LakehouseError, NotFoundError, UnsupportedError
from lakehouse.table.fencing import token_of

Stop = Callable[[], bool]
_LEASE = "upkeep-"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Keeper:
    """Look after a lake's tables; of several keepers, one looks after a table at a time.

    ``name`` is what records and leases call this one. ``ttl`` is how long a table waits for one
    that died; ``skew`` how far the machines' clocks may be apart, the same for all.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        defaults: Defaults | None = None,
        name: str | None = None,
        ttl: dt.timedelta = leasing.TTL,
        skew: dt.timedelta = leasing.SKEW,
        clock: Callable[[], dt.datetime] = _now,
    ) -> None:
        root = lake.catalog.storage
        self.lake = lake
        self.name = leasing.this_process() if name is None else name
        self.records = Records(root.child(MAINTENANCE))
        self._defaults = defaults or Defaults()
        self._leases = Leases(root.child(leasing.FOLDER), skew=skew, clock=clock)
        self._ttl = ttl
        self._clock = clock

    def now(self) -> dt.datetime:
        """Return the time."""
        return self._clock()

    def tasks(self, tables: Sequence[str] | None = None) -> list[Task]:
        """Return what is due and when, of all tables or those named."""
        last = self.records.newest()
        return tasks(
            self.lake, last, now=self._clock(), defaults=self._defaults, tables=tables
        )  # fmt: skip

    def holder(self, task: Task) -> str | None:
        """Return the name of who looks after a table now, or died at it a moment ago."""
        newest = self._leases.newest(_lease_of(task))
        return newest.holder if newest is not None and newest.held else None

    def forget_leases(self) -> int:
        """Delete the leases of tables that the lake has no more, and that nobody holds.

        They do no harm: what cannot be deleted, as it may not be ours, stays.
        """
        with contextlib.suppress(LakehouseError):
            known = {f"{_LEASE}{info.id}" for info in self.lake.tables()}
            gone = (name for name in self._leases.names() if name.startswith(_LEASE))
            return sum(self._leases.forget(name) for name in gone if name not in known)
        return 0

    def attend(
        self, task: Task, *, due_only: bool = True, stop: Stop = lambda: False
    ) -> TableUpkeep:
        """Look after one table, if no other keeper does; record it, and return what was done.

        Whether it is due is asked again once the table's lease is held, so that of several who
        see it due one acts. Trouble is reported, not raised, but for that of leases and records.
        """
        idle = TableUpkeep(task.table, started=self._clock(), worker=self.name)
        with self._leases.holding(_lease_of(task), ttl=self._ttl, holder=self.name) as lease:
            if lease is None:
                return dataclasses.replace(idle, outcome="elsewhere")
            now = self._clock()
            if due_only and not task.again(self.records.newest().get(task.table_id), now).is_due(
                now
            ):
                return dataclasses.replace(idle, outcome="not due")
            begun = dataclasses.replace(idle, started=now)
            report = _Visit(self.lake, begun, lease, stop).report()
            if report.problems and not self._is_there(task.table_id):
                return dataclasses.replace(report, outcome="gone")
            if report.outcome != "lost":
                run_id = uuid.uuid4().hex
                self.records.add(record_of(report, run=run_id, table_id=task.table_id))
            return report

    def _is_there(self, table_id: str) -> bool:
        return any(table_id.startswith(info.id) for info in self.lake.tables())


def _lease_of(task: Task) -> str:
    return f"{_LEASE}{task.table_id}"


class _Visit:
    """Do the steps of one table's upkeep while its lease is held."""

    def __init__(self, lake: Lake, idle: TableUpkeep, lease: Lease, stop: Stop) -> None:
        self._lake = lake
        self._lease = lease
        self._stop = stop
        self._cut = False
        self._report = idle

    def report(self) -> TableUpkeep:
        """Do what is to be done."""
        began = time.perf_counter()
        try:
            self._begin()
            if not self._lease.kept and not self._stopped():
                self._try(self._bring_into_shape)
            self._try(self._end)
            if self._cut and self._report.outcome == "done":
                self._note(outcome="stopped")
        except _LostError as error:
            self._note(outcome="lost", problems=(*self._report.problems, str(error)))
        return dataclasses.replace(self._report, seconds=time.perf_counter() - began)

    def _begin(self) -> None:
        """Keep out a keeper that had the lease before and never gave it back."""
        self._try(self._look)
        if self._lease.taken_over:
            self._lease.kept = True
            self._try(self._fence)

    def _look(self) -> None:
        """See the table's shape, and be newer than whoever looked after it in another lake."""
        self._note(before=self._shape())
        seen = token_of(self._lake.table(self._report.table).snapshot())
        if seen is not None:
            self._lease.outgrow(seen)

    def _fence(self) -> None:
        with contextlib.suppress(UnsupportedError, NotFoundError):  # nobody can write to it
            self._lake.table(self._report.table).rewriter().fence(self._lease.token)
        self._lease.kept = False

    def _stopped(self) -> bool:
        self._cut = self._cut or self._stop()
        return self._cut

    def _held(self) -> int:
        """Return the fencing token; ConflictError where the lease is lost."""
        self._lease.check()
        return self._lease.token

    def _bring_into_shape(self) -> None:
        tables = [self._report.table]
        for done in run(self._lake, tables=tables, fence=lambda _: self._held, stop=self._stopped):
            self._note(
                bins=done.bins,
                bytes_rewritten=done.bytes_rewritten,
                log_entries=done.log_entries,
                files_deleted=done.files_deleted,
                bytes_deleted=done.bytes_deleted,
            )
            if done.problems:
                self._note(problems=(*self._report.problems, *done.problems), outcome="failed")
                self._lease.renew()  # who slept does not know yet that it is lost

    def _end(self) -> None:
        self._note(after=self._shape(), version=self._lake.table(self._report.table).version)

    def _shape(self) -> Shape:
        return measure(self._lake.table(self._report.table))

    def _try(self, step: Callable[[], None]) -> None:
        """Take a step; what goes wrong with it does not keep the others waiting."""
        try:
            step()
        except UnsupportedError as error:
            self._note(skipped=(*self._report.skipped, str(error)))
        except LakehouseError as error:
            if isinstance(error, ConflictError) and not self._lease.is_mine:
                raise _LostError(str(error)) from error
            problems = (*self._report.problems, str(error))
            self._note(problems=problems, outcome="failed")

    def _note(self, **found: Any) -> None:
        self._report = dataclasses.replace(self._report, **found)


class _LostError(Exception):
    """Say that another keeper took over."""
