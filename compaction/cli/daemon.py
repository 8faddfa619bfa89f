"""Stay and work: ``lakehouse maintain --daemon``, with a line of JSON for each event."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from compaction.endpoint import serve
from compaction.keeper import Keeper
from compaction.reports import TableUpkeep
from lakehouse import UnsupportedError
from lakehouse.cli.output import plain


def stay(
    keeper: Keeper,
    tables: Sequence[str] | None,
    *,
    address: tuple[str, int],
    look_every: float,
    side_by_side: int,
    stop: threading.Event,
) -> None:
    """Work until the event is set."""
    try:
        # They need the extra `worker`.
        working = importlib.import_module("compaction.worker")
        metrics = importlib.import_module("compaction.metrics")
    except ImportError as error:
        raise UnsupportedError(
            f"a daemon needs a library that is missing: {error.name}",
            next_step="pip install 'lakehouse-storage[worker]'",
        ) from error
    log = Log(keeper.name)
    worker = working.Worker(
        keeper, tables=tables, look_every=look_every, side_by_side=side_by_side, tell=log
    )

    def scrape() -> tuple[str, bytes]:
        return metrics.CONTENT_TYPE, worker.metrics.text()

    with _logged(log), serve(address, health=worker.health, metrics=scrape) as (host, port):
        log("listening", {"address": f"{host}:{port}"})
        worker.run(stop)


class Log(logging.Handler):
    """Write events, and what libraries log, as lines of JSON to standard output."""

    def __init__(self, worker: str) -> None:
        super().__init__(logging.WARNING)
        self._worker = worker

    def __call__(self, event: str, more: Mapping[str, Any]) -> None:
        """Write an event; a report in it stands for its fields."""
        report = more.get("report")
        if isinstance(report, TableUpkeep):
            more = {"level": more["level"], **plain(report)}
        time = dt.datetime.now(dt.UTC).isoformat()
        line = {"time": time, "level": "info", "event": event, "worker": self._worker, **more}
        with self.lock or contextlib.nullcontext():
            typer.echo(json.dumps(line, ensure_ascii=False))

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a library has to say."""
        said = {"level": record.levelname.lower(), "logger": record.name}
        trouble = record.exc_info[1] if record.exc_info else None
        if trouble is not None:
            said["problem"] = f"{type(trouble).__name__}: {trouble}"
        self("log", {**said, "message": record.getMessage()})


@contextlib.contextmanager
def _logged(log: Log) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("lakehouse", "apscheduler")]
    for logger in loggers:
        logger.addHandler(log)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(log)
