"""Show what a query reads: files and bytes kept and skipped of each table."""

from __future__ import annotations

import dataclasses
import html
from typing import Any, Protocol

from lakehouse.scan.report import TableScan


class Planned(Protocol):
    """Be a query that was planned, and tell how."""

    def plan(self) -> str:
        """Return DuckDB's plan as text."""

    def tables(self) -> tuple[TableScan, ...]:
        """Return what is read of each table."""


@dataclasses.dataclass(frozen=True, slots=True)
class Explain:
    """Hold what a query reads of each table, and DuckDB's physical plan as text."""

    tables: tuple[TableScan, ...]
    plan: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"tables": [dataclasses.asdict(table) for table in self.tables], "plan": self.plan}

    def __str__(self) -> str:
        return "\n".join((*(_lines(table) for table in self.tables), self.plan))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(t.name)}</td><td>{t.version}</td>"
            f"<td>{_files(t)}</td>"
            f"<td>{size(t.bytes_kept)} of {size(t.bytes_total)}</td>"
            f"<td><code>{html.escape(' AND '.join(t.filters))}</code></td></tr>"
            for t in self.tables
        )
        head = "<tr><th>table</th><th>version</th><th>files</th><th>bytes</th><th>filters</th></tr>"
        return f"<table>{head}{rows}</table><pre>{html.escape(self.plan)}</pre>"


def explain(prepared: Planned) -> Explain:
    """Return the explanation of a planned query."""
    plan = prepared.plan()
    return Explain(prepared.tables(), plan)


def size(count: int) -> str:
    """Return bytes for people.

    >>> size(1_500_000)
    '1.5 MB'
    """
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _files(table: TableScan) -> str:
    kept = f"{table.files_kept} of {table.files_total}"
    return f"{kept}, answered from the log" if table.answered_from_log else kept


def _lines(table: TableScan) -> str:
    if table.answered_from_log:
        lines = [f"{table.name} (version {table.version}): answered from the log, no file is read"]
        return "\n".join((*lines, *_filters(table)))
    skipped = table.files_total - table.files_kept
    lines = [
        f"{table.name} (version {table.version}): {table.files_kept} of {table.files_total} files, "
        f"{size(table.bytes_kept)} of {size(table.bytes_total)}; {skipped} files skipped",
        f"  columns: {', '.join(table.columns)}",
    ]
    return "\n".join((*lines, *_filters(table)))


def _filters(table: TableScan) -> list[str]:
    lines = [f"  filters: {' AND '.join(table.filters)}"] if table.filters else []
    if table.predicate:
        lines.append(f"  files kept where: {table.predicate}")
    return lines
