"""Writes that happen once, however often they are tried.

Source: Delta protocol, "Transaction Identifiers". A key is an application's name and a number that
grows; it is written in the same commit as the rows. A write whose number the table has seen, or a
greater one, is not done again, and reports what was done then.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from catalog.errors import InputError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, Plan
from lakehouse.delta.entries import read_commit
from lakehouse.delta.log import read_listing
from lakehouse.delta.snapshot import Snapshot
from lakehouse.table.reports import WriteReport, write_report


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """Name a write: the application, and its number among the application's writes."""

    application: str
    number: int


def parse_key(key: tuple[str, int] | None) -> Key | None:
    """Return the key that a caller means; InputError for anything else.

    >>> parse_key(("load", 17))
    Key(application='load', number=17)
    """
    if key is None:
        return None
    match key:
        case (str() as application, int() as number) if application and number >= 0:
            return Key(application, int(number))
    raise InputError(
        f"an idempotency key is a name and a number that grows, not {key!r}",
        next_step="Pass for example idempotency_key=('daily-load', 17)",
    )


def is_done(snapshot: Snapshot, key: Key) -> bool:
    """Tell whether the write was committed before, or one with a greater number."""
    seen = snapshot.transactions.get(key.application)
    return seen is not None and seen.version >= key.number


def once(plan: Plan, key: Key | None) -> Plan:
    """Return a plan that does nothing where the key was written already, and writes it else."""
    if key is None:
        return plan

    def keyed(snapshot: Snapshot) -> Change | None:
        if is_done(snapshot, key):
            return None
        change = plan(snapshot)
        if change is None:
            return None
        mark = act.Transaction(key.application, key.number, time.time_ns() // 1_000_000)
        return dataclasses.replace(change, actions=(*change.actions, mark))

    return keyed


def earlier(snapshot: Snapshot, key: Key, operation: str) -> WriteReport:
    """Return the report of the commit that wrote a key.

    Where the log does not hold it any more, the report has the snapshot's version and no figures.
    """
    for commit in reversed(read_listing(snapshot.storage).commits):
        if commit.version > snapshot.version:
            continue
        actions = read_commit(snapshot.storage, commit.version)
        marks = [a for a in actions if isinstance(a, act.Transaction)]
        if any((m.app_id, m.version) == (key.application, key.number) for m in marks):
            return _report(commit.version, actions, operation)
    return write_report(operation, snapshot.version, (), rows=0, replayed=True)


def _report(version: int, actions: list[act.Action], operation: str) -> WriteReport:
    info = next((a.values for a in actions if isinstance(a, act.CommitInfo)), {})
    metrics: Any = info.get("operationMetrics") or {}
    rows = int(metrics.get("numOutputRows", 0))
    return write_report(
        operation,
        version,
        actions,
        rows=rows,
        rows_deleted=int(metrics.get("numDeletedRows", 0)),
        replayed=True,
    )
