"""What became of the upkeep of one table: a frozen value, and the record that is kept of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Literal

from compaction.shape import Shape

Outcome = Literal["done", "failed", "stopped", "lost", "elsewhere", "not due", "gone"]


@dataclasses.dataclass(frozen=True, slots=True)
class TableUpkeep:
    """Report the upkeep of one table; sizes in bytes, wall time in seconds.

    ``outcome`` is ``done``, or ``failed`` where a step was; ``stopped`` where it was asked to end
    early; ``lost`` where another worker took over; ``elsewhere`` where another is at it, ``not
    due`` where another was faster, and ``gone`` where the table was dropped. ``problems`` are steps that failed, ``skipped`` those that the
    table does not allow, each with its reason. ``before`` and ``after`` are the table's files; ``files_deleted`` are
    those that no version needs which is kept.
    """

    table: str
    outcome: Outcome = "done"
    version: int | None = None
    before: Shape = Shape()
    after: Shape = Shape()
    bins: int = 0
    bytes_rewritten: int = 0
    files_deleted: int = 0
    bytes_deleted: int = 0
    log_entries: int = 0
    skipped: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    started: dt.datetime | None = None
    seconds: float = 0.0
    worker: str = ""

    @property
    def ran(self) -> bool:
        """Tell whether anything was tried."""
        return self.outcome not in ("elsewhere", "not due", "gone")


def record_of(report: TableUpkeep, *, run: str, table_id: str) -> dict[str, Any]:
    """Return the record of a run, ready for `catalog.records`.

    Whole runs have the table's id as their key, those that ended early another: they do not count
    as the table's last.
    """
    assert report.started is not None
    at = report.started.isoformat()
    return {
        "id": run,
        "key": table_id if report.outcome in ("done", "failed") else f"{table_id} {report.outcome}",
        "at": at,
        "run": run,
        "table_name": report.table,
        "table_id": table_id,
        "started": at,
        "seconds": round(report.seconds, 3),
        "outcome": report.outcome,
        "worker": report.worker,
        "version": report.version,
        "files_before": report.before.files,
        "files_after": report.after.files,
        "bytes_before": report.before.bytes,
        "bytes_after": report.after.bytes,
        "sizes_before": list(report.before.histogram),
        "sizes_after": list(report.after.histogram),
        "bins": report.bins,
        "bytes_rewritten": report.bytes_rewritten,
        "files_deleted": report.files_deleted,
        "bytes_deleted": report.bytes_deleted,
        "log_entries": report.log_entries,
        "skipped": list(report.skipped),
        "problems": list(report.problems),
    }
