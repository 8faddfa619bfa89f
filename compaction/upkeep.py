"""One round of upkeep: each table is compacted, its leftovers and expired log entries deleted."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

from compaction.run import run
from lakehouse import Lake, LakehouseError, NotFoundError, UnsupportedError


@dataclasses.dataclass(frozen=True, slots=True)
class TableUpkeep:
    """Report the upkeep of one table; sizes in bytes, wall time in seconds.

    ``problems`` are steps that failed, ``skipped`` those that the table does not allow, each with
    its reason.
    """

    table: str
    files_before: int = 0
    files_after: int = 0
    bytes_rewritten: int = 0
    leftovers: int = 0
    leftover_bytes: int = 0
    log_entries: int = 0
    skipped: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0


def upkeep(
    lake: Lake,
    *,
    tables: Sequence[str] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[TableUpkeep]:
    """Look after the tables named (default: all of the lake), and yield a report on each.

    What goes wrong with one step or table does not keep the others waiting. ``stop`` is asked
    before each table. A table that is dropped in the meantime is passed over, unless it was named.
    """
    for name in [info.name for info in lake.tables()] if tables is None else tables:
        if stop():
            return
        report = _one(lake, name, named=tables is not None)
        if report is not None:
            yield report


def _one(lake: Lake, name: str, *, named: bool) -> TableUpkeep | None:
    started = time.perf_counter()
    report = TableUpkeep(name)
    for step in (_compact, _collect):
        try:
            report = step(lake, report)
        except UnsupportedError as error:
            report = dataclasses.replace(report, skipped=(*report.skipped, str(error)))
        except LakehouseError as error:
            if isinstance(error, NotFoundError) and not named and not _is_there(lake, name):
                return None
            report = dataclasses.replace(report, problems=(*report.problems, str(error)))
    return dataclasses.replace(report, seconds=time.perf_counter() - started)


def _compact(lake: Lake, report: TableUpkeep) -> TableUpkeep:
    (done,) = run(lake, tables=[report.table])
    return dataclasses.replace(
        report,
        files_before=done.files_before,
        files_after=done.files_after,
        bytes_rewritten=done.bytes_rewritten,
        log_entries=done.log_entries,
        problems=(*report.problems, *done.problems),
    )


def _collect(lake: Lake, report: TableUpkeep) -> TableUpkeep:
    done = lake.table(report.table).collect_leftovers()
    return dataclasses.replace(report, leftovers=done.files, leftover_bytes=done.bytes)


def _is_there(lake: Lake, name: str) -> bool:
    return any(info.name == name for info in lake.tables())
