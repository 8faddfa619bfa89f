"""One round of upkeep: all that is due, or all, table by table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

from compaction.keeper import Keeper
from compaction.reports import TableUpkeep
from compaction.tasks import Task
from lakehouse import Lake, LakehouseError


def upkeep(
    lake: Lake,
    *,
    tables: Sequence[str] | None = None,
    due_only: bool = False,
    stop: Callable[[], bool] = lambda: False,
    keeper: Keeper | None = None,
) -> Iterator[TableUpkeep]:
    """Look after all tables, or those named, and yield a report on each.

    What goes wrong with one table does not keep the others waiting. ``due_only`` leaves out what
    is not due by its schedule. ``stop`` is asked before each table, and before each step.
    """
    keeper = keeper or Keeper(lake)
    now = keeper.now()
    for task in keeper.tasks(tables):
        if stop():
            return
        if task.due is not None and (task.is_due(now) or not due_only):
            report = attended(keeper, task, due_only=due_only, stop=stop)
            if report.outcome not in ("not due", "gone"):
                yield report
    if tables is None:
        keeper.forget_leases()


def attended(
    keeper: Keeper, task: Task, *, due_only: bool, stop: Callable[[], bool]
) -> TableUpkeep:
    """Return a report also where leases or records could not be reached."""
    try:
        return keeper.attend(task, due_only=due_only, stop=stop)
    except LakehouseError as error:
        return TableUpkeep(
            task.table,
            outcome="failed",
            problems=(str(error),),
            started=dt.datetime.now(dt.UTC),
            worker=keeper.name,
        )
