"""What is due: the tables of a lake, each with its schedule, its last run and its next."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from catalog.names import fold
from compaction.policy import Policy
from compaction.schedule import Schedule, next_due
from lakehouse import Lake, LakehouseError, NotFoundError, TableInfo

_LOOKS = 16  # at once


@dataclasses.dataclass(frozen=True, slots=True)
class Defaults:
    """Say when tables are due that do not say so themselves: by their layer, else all alike."""

    schedule: Schedule = Schedule()
    layers: Mapping[str, Schedule] = dataclasses.field(default_factory=dict)

    def of(self, layer: str) -> Schedule:
        """Return the schedule of a layer's tables."""
        return self.layers.get(fold(layer), self.schedule)


def parse_layers(texts: Mapping[str, str], schedule: Schedule) -> dict[str, Schedule]:
    """Return the schedules of layers: an interval or a cron expression each.

    >>> {layer: str(s) for layer, s in parse_layers({"gold": "0 3 * * *"}, Schedule()).items()}
    {'gold': '0 3 * * *'}
    """
    return {fold(layer): schedule.at(text) for layer, text in texts.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """Hold a table whose upkeep is due at a time, or was; None: it is switched off.

    ``table_id`` tells it from others: the id in its log. ``last`` is the record of the run before.
    ``problem`` says why the table's own schedule could not be had, and that of its layer stands in.
    """

    table: str
    table_id: str
    created: dt.datetime
    schedule: Schedule
    due: dt.datetime | None
    priority: int = 0
    last: Mapping[str, Any] | None = None
    problem: str | None = None

    def again(self, last: Mapping[str, Any] | None, now: dt.datetime) -> Task:
        """Return the task with another last run."""
        due = (
            None
            if self.due is None
            else _due(self.schedule, self.table_id, self.created, last, now)
        )
        return dataclasses.replace(self, last=last, due=due)

    def is_due(self, now: dt.datetime) -> bool:
        """Tell whether it is due."""
        return self.due is not None and self.due <= now


def tasks(
    lake: Lake,
    last: Mapping[str, Mapping[str, Any]],
    *,
    now: dt.datetime,
    defaults: Defaults,
    tables: Sequence[str] | None = None,
) -> list[Task]:
    """Return the tasks of a lake, or of the tables named: what matters most first.

    ``last`` is the record of the last run, by the tables' ids. It takes a look at each table's log.
    """
    infos = lake.tables()
    ids = Counter(info.id for info in infos)
    if tables is not None:
        wanted = {lake.catalog.table(name).name for name in tables}
        infos = [info for info in infos if info.name in wanted]

    def one(info: TableInfo) -> Task | None:
        # Of a table and its copy, each has a turn of its own.
        key = info.id if ids[info.id] == 1 else f"{info.id} {info.name}"
        return _task(lake, info, key, last.get(key), now=now, defaults=defaults)

    if lake.catalog.storage.is_local:
        found = [one(info) for info in infos]
    else:
        with ThreadPoolExecutor(_LOOKS) as pool:
            found = [*pool.map(one, infos)]
    return sorted((task for task in found if task is not None), key=_order)


def _task(
    lake: Lake,
    info: TableInfo,
    key: str,
    last: Mapping[str, Any] | None,
    *,
    now: dt.datetime,
    defaults: Defaults,
) -> Task | None:
    schedule, policy, problem = defaults.of(info.layer), Policy(), None
    try:
        properties = lake.table(info.name).snapshot().properties
        policy = Policy.of(properties, layer=info.layer)
        schedule = dataclasses.replace(schedule, windows=policy.windows).with_properties(properties)
    except NotFoundError as error:
        if not any(there.id == info.id for there in lake.tables()):
            return None  # dropped a moment ago
        problem = str(error)
    except LakehouseError as error:
        problem = str(error)
    due = _due(schedule, key, info.created, last, now) if policy.enabled else None
    return Task(info.name, key, info.created, schedule, due, policy.priority, last, problem)


def _due(
    schedule: Schedule,
    table_id: str,
    created: dt.datetime,
    last: Mapping[str, Any] | None,
    now: dt.datetime,
) -> dt.datetime:
    began = None if last is None else _moment(last)
    return next_due(schedule, last=began, since=created, now=now, seed=table_id)


def _moment(record: Mapping[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(record["at"])


def _order(task: Task) -> tuple[Any, ...]:
    never = dt.datetime.max.replace(tzinfo=dt.UTC)
    return (-task.priority, task.due or never, task.table)
