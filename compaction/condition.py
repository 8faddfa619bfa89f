"""The condition of each table of a lake, and what upkeep has saved so far."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compaction.facts import TableFacts
from compaction.keeper import Keeper
from compaction.overlap import depth
from compaction.policy import Policy
from compaction.shape import LABELS, measure
from compaction.survey import survey
from compaction.tasks import Task
from lakehouse import LakehouseError


@dataclasses.dataclass(frozen=True, slots=True)
class TableCondition:
    """Describe a table; sizes in bytes.

    - ``small``: files below the size that its policy calls small; ``depth``: how many files hold
      the values of one, on average, where it is clustered (1 is perfect).
    - ``dead_bytes``: about how many bytes of live files are rows that were deleted.
    - ``histogram``: files by size, and ``histogram_before`` those of the last upkeep that changed
      any, before it.
    - ``last``, ``outcome``: when the last upkeep began, and what became of it.
    - ``due``: when the next is; None where it is switched off. ``overdue`` tells that it is due.
    - ``problem``: why the table, or its schedule, cannot be read.
    """

    table: str
    files: int = 0
    bytes: int = 0
    small: int = 0
    depth: float | None = None
    dead_bytes: int = 0
    histogram: tuple[int, ...] = (0,) * len(LABELS)
    histogram_before: tuple[int, ...] | None = None
    last: dt.datetime | None = None
    outcome: str | None = None
    schedule: str = ""
    due: dt.datetime | None = None
    overdue: bool = False
    problem: str | None = None

    @property
    def healthy(self) -> bool:
        """Tell whether the table can be read, and its last upkeep went well."""
        return self.problem is None and self.outcome != "failed"


@dataclasses.dataclass(frozen=True, slots=True)
class Savings:
    """Sum up the runs that are on record; sizes in bytes, wall time in seconds."""

    runs: int = 0
    files: int = 0
    bytes_rewritten: int = 0
    bytes_deleted: int = 0
    seconds: float = 0.0


def conditions(keeper: Keeper, tables: Sequence[str] | None = None) -> list[TableCondition]:
    """Return the condition of all tables, or of those named, ordered by name."""
    changed = _changed(keeper.records.all())
    now = keeper.now()
    found = [
        _condition(keeper, task, changed.get(task.table_id), now) for task in keeper.tasks(tables)
    ]
    return sorted(found, key=lambda condition: condition.table)


def savings(records: Iterable[Mapping[str, Any]]) -> Savings:
    """Return what runs have saved together.

    >>> savings([{"files_before": 9, "files_after": 2, "bytes_rewritten": 80, "seconds": 1.5}])
    Savings(runs=1, files=7, bytes_rewritten=80, bytes_deleted=0, seconds=1.5)
    """
    total = Savings()
    for record in records:
        total = Savings(
            runs=total.runs + 1,
            files=total.files + max(0, record["files_before"] - record["files_after"]),
            bytes_rewritten=total.bytes_rewritten + record["bytes_rewritten"],
            bytes_deleted=total.bytes_deleted + record.get("bytes_deleted", 0),
            seconds=total.seconds + record["seconds"],
        )
    return total


def _condition(
    keeper: Keeper, task: Task, changed: Mapping[str, Any] | None, now: dt.datetime
) -> TableCondition:
    last = task.last or {}
    plain = TableCondition(
        task.table,
        histogram_before=None if changed is None else tuple(changed["sizes_before"]),
        last=dt.datetime.fromisoformat(last["at"]) if last else None,
        outcome=last.get("outcome"),
        schedule=str(task.schedule),
        due=task.due,
        overdue=task.is_due(now),
        problem=task.problem,
    )
    try:
        table = keeper.lake.table(task.table)
        shape, surveyed = measure(table), survey(table)
    except LakehouseError as error:
        return dataclasses.replace(plain, problem=plain.problem or str(error))
    facts, policy = surveyed.facts, surveyed.policy
    small = policy.small(facts.all_bytes)
    return dataclasses.replace(
        plain,
        files=shape.files,
        bytes=shape.bytes,
        small=sum(file.size < small for file in facts.files),
        depth=_depth(facts, policy),
        dead_bytes=sum(file.size - file.live_bytes for file in facts.files),
        histogram=shape.histogram,
    )


def _depth(facts: TableFacts, policy: Policy) -> float | None:
    if policy.clustering is None:
        return None
    partitions: dict[Any, list[Any]] = {}
    for file in facts.files:
        partitions.setdefault(file.partition, []).append(file)
    total = sum(depth(files) * len(files) for files in partitions.values())
    return round(total / max(1, len(facts.files)), 2)


def _changed(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the last run of each table that changed its files."""
    return {r["table_id"]: r for r in records if r["sizes_before"] != r["sizes_after"]}
