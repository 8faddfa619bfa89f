"""Run compaction: plan each table's bins and rewrite them, a commit a bin."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from compaction.plan import Bin, FileSize, plan_bins
from compaction.policy import Policy
from lakehouse import Lake, Table


@dataclasses.dataclass(frozen=True, slots=True)
class CompactionReport:
    """Report what became of one table; sizes in bytes, wall time in seconds."""

    table: str
    version: int
    bins: int
    files_before: int
    files_after: int
    bytes_rewritten: int
    seconds: float


def plan(
    lake: Lake, *, tables: Sequence[str] | None = None, policy: Policy | None = None
) -> dict[str, tuple[Bin, ...]]:
    """Return the bins that `run` would rewrite, by table, without touching anything."""
    return {table.name: _bins(table, policy) for table in _tables(lake, tables)}


def run(
    lake: Lake, *, tables: Sequence[str] | None = None, policy: Policy | None = None
) -> list[CompactionReport]:
    """Merge small files of the tables named (default: all of the lake).

    Each bin is a commit of its own that changes no row, so that a stop loses one bin at most. A
    bin whose files others removed in the meantime is left out; writers never fail because of it.
    """
    return [_run(table, policy) for table in _tables(lake, tables)]


def _run(table: Table, policy: Policy | None) -> CompactionReport:
    started = time.perf_counter()
    before = len(table.snapshot().files)
    bins = _bins(table, policy)
    done = [table.rewrite([file.path for file in bin_.files]) for bin_ in bins]
    rewritten = [report for report in done if report.files_removed]
    return CompactionReport(
        table=table.name,
        version=table.version,
        bins=len(rewritten),
        files_before=before,
        files_after=before + sum(r.files_added - r.files_removed for r in rewritten),
        bytes_rewritten=sum(report.bytes_removed for report in rewritten),
        seconds=time.perf_counter() - started,
    )


def _bins(table: Table, policy: Policy | None) -> tuple[Bin, ...]:
    snapshot = table.snapshot()
    names = [field.physical_name for field in snapshot.files.layout.partitions]
    files = [
        FileSize(
            path=add.key[0],
            size=add.size,
            partition=tuple(add.partition_values.get(name) for name in names),
        )
        for add in snapshot.files.adds()
    ]
    return plan_bins(files, policy or Policy.of(snapshot.properties))


def _tables(lake: Lake, names: Sequence[str] | None) -> list[Table]:
    wanted = [info.name for info in lake.tables()] if names is None else names
    return [lake.table(name) for name in wanted]
