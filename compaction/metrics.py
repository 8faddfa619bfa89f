"""What a worker counts, in the text format of Prometheus."""

from __future__ import annotations

import datetime as dt

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from compaction.reports import TableUpkeep

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200)


class Metrics:
    """Count runs of upkeep; one for each worker, without any global state."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"lakehouse_{name}", what, labels, registry=registry)

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"lakehouse_{name}", what, labels, registry=registry)

        self._runs = counter("upkeep_runs", "Tables looked after, by outcome", "table", "outcome")
        self._rewritten = counter(
            "upkeep_rewritten_bytes", "Bytes of files that were rewritten", "table"
        )
        self._saved = counter(
            "upkeep_files_saved", "Files that tables have less by upkeep", "table"
        )
        self._files = gauge("table_files", "Files after the last upkeep", "table")
        self._bytes = gauge("table_bytes", "Bytes after the last upkeep", "table")
        self._last = gauge(
            "upkeep_last_success_timestamp_seconds", "Start of the last good run", "table"
        )
        self._due = gauge("upkeep_due_tables", "Tables that were due at the last look")
        self._looked = gauge("upkeep_look_timestamp_seconds", "When the lake was last looked over")
        self._failed = counter("upkeep_failed_looks", "Looks at the lake that failed")
        self._seconds = Histogram(
            "lakehouse_upkeep_seconds",
            "Wall time of one table's upkeep",
            buckets=_SECONDS,
            registry=registry,
        )

    def ran(self, report: TableUpkeep) -> None:
        """Count a run."""
        table = report.table
        self._runs.labels(table, report.outcome).inc()
        if not report.ran:
            return
        self._seconds.observe(report.seconds)
        self._rewritten.labels(table).inc(report.bytes_rewritten)
        self._saved.labels(table).inc(max(0, report.before.files - report.after.files))
        if report.outcome == "done":
            self._files.labels(table).set(report.after.files)
            self._bytes.labels(table).set(report.after.bytes)
            if report.started is not None:
                self._last.labels(table).set(report.started.timestamp())

    def looked(self, *, due: int, at: dt.datetime) -> None:
        """Note a look at the lake."""
        self._due.set(due)
        self._looked.set(at.timestamp())

    def look_failed(self) -> None:
        """Note a look at the lake that failed."""
        self._failed.inc()

    def text(self) -> bytes:
        """Return all of it for a scrape."""
        return generate_latest(self._registry)
