"""The worker: looks after a lake's tables when they are due, until it is told to stop.

APScheduler wakes it up and runs what is due, so many tables side by side; when something is due,
`compaction.schedule` says, the same for all workers of a lake.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from compaction.keeper import Keeper
from compaction.metrics import Metrics
from compaction.reports import TableUpkeep
from compaction.tasks import Task
from compaction.upkeep import attended
from lakehouse import LakehouseError

Tell = Callable[[str, Mapping[str, Any]], None]
_TIDY_EVERY = dt.timedelta(days=1)
_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)
_STALE = 3  # looks that may fail, or not take place, before the worker is not healthy


class Worker:
    """Look after a lake's tables as they become due.

    ``look_every`` seconds apart it learns which tables there are and when each is due;
    ``side_by_side`` tables have their turn at once. ``tell`` is told of each event.
    """

    def __init__(
        self,
        keeper: Keeper,
        *,
        tables: Sequence[str] | None = None,
        look_every: float = 60.0,
        side_by_side: int = 1,
        tell: Tell = lambda event, more: None,  # noqa: ARG005
    ) -> None:
        self.metrics = Metrics()
        self._keeper = keeper
        self._tables = tables
        self._look_every = look_every
        self._tell = tell
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._planned: dict[str, dt.datetime] = {}
        self._looked = keeper.now()
        self._tidy = self._looked
        self._problem: str | None = None
        self._scheduler = BackgroundScheduler(
            timezone=dt.UTC,
            executors={
                "default": ThreadPoolExecutor(side_by_side),
                "look": ThreadPoolExecutor(1),
            },
            # A late job runs all the same; and one whose successor is planned while it ends must
            # not keep that from running: that a table is not visited twice, is seen to below.
            job_defaults={"misfire_grace_time": None, "max_instances": 1 << 20},
        )

    def run(self, stop: threading.Event) -> None:
        """Work until the event is set, and then to the end of the step at hand."""
        self._look_at(self._keeper.now())
        self._scheduler.start()
        self._tell("started", {})
        try:
            stop.wait()
        finally:
            self._stop.set()
            self._tell("stopping", {"running": sorted(self._running)})
            self._scheduler.shutdown(wait=True)
        self._tell("stopped", {})

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Return whether the lake was seen of late, and what goes on."""
        with self._lock:
            age = (self._keeper.now() - self._looked).total_seconds()
            told = {
                "worker": self._keeper.name,
                "looked": self._looked.isoformat(),
                "running": sorted(self._running),
                "problem": self._problem,
            }
        return age < _STALE * self._look_every + 30, told

    def _look_at(self, when: dt.datetime) -> None:
        if not self._stop.is_set():
            self._scheduler.add_job(self._look, "date", run_date=when, id="look", executor="look")

    def _look(self) -> None:
        try:
            self._look_over()
        finally:
            self._look_at(self._keeper.now() + dt.timedelta(seconds=self._look_every))

    def _look_over(self) -> None:
        try:
            found = self._keeper.tasks(self._tables)
        except LakehouseError as error:
            self._problem = str(error)
            self.metrics.look_failed()
            self._tell("look failed", {"level": "error", "problem": str(error)})
            return
        now = self._keeper.now()
        if self._tables is None and now >= self._tidy:
            self._tidy = now + _TIDY_EVERY
            self._keeper.forget_leases()
        with self._lock:
            self._looked, self._problem = now, None
        self.metrics.looked(due=sum(task.is_due(now) for task in found), at=now)
        known = {task.table_id for task in found}
        with self._lock:
            for table_id in self._planned.keys() - known:
                self._forget(table_id)
        for number, task in enumerate(found):
            # Those that are due now begin in this order.
            self._plan(task, not_before=now + dt.timedelta(microseconds=number))

    def _plan(self, task: Task, *, not_before: dt.datetime) -> None:
        with self._lock:
            if self._stop.is_set() or task.table_id in self._running:
                return
            if self._planned.get(task.table_id, _NEVER) <= self._keeper.now():
                return  # it waits for its turn
            if task.due is None:
                self._forget(task.table_id)
                return
            when = max(task.due, not_before)
            self._planned[task.table_id] = when
            self._scheduler.add_job(
                self._attend,
                "date",
                run_date=when,
                args=[task],
                id=task.table_id,
                replace_existing=True,
            )

    def _forget(self, table_id: str) -> None:
        self._planned.pop(table_id, None)
        with contextlib.suppress(JobLookupError):  # there is none, or it begins right now
            self._scheduler.remove_job(table_id)

    def _attend(self, task: Task) -> None:
        with self._lock:
            self._planned.pop(task.table_id, None)
            if self._stop.is_set() or task.table_id in self._running:
                return
            self._running.add(task.table_id)
        try:
            report = attended(self._keeper, task, due_only=True, stop=self._stop.is_set)
        finally:
            with self._lock:
                self._running.discard(task.table_id)
        self.metrics.ran(report)
        self._tell("upkeep", {"level": "error" if report.problems else "info", "report": report})
        if report.outcome in ("done", "failed"):
            self._plan_next(task, report)

    def _plan_next(self, task: Task, report: TableUpkeep) -> None:
        now = self._keeper.now()
        began = report.started or now
        self._plan(task.again({"at": began.isoformat()}, now), not_before=now)
