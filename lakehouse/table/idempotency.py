"""Writes that happen once, however often they are tried.

Source: Delta protocol, "Transaction Identifiers". A key is an application's name and a number that
grows; it is written in the same commit as the rows. A write whose number the table has seen, or a
greater one, is not done again, and reports what was done then.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

from catalog.errors import ConflictError, InputError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, Committed, Plan, commit, milliseconds
from lakehouse.delta.conflict import EVERYTHING, Reads
from lakehouse.delta.entries import read_commit
from lakehouse.delta.log import read_listing
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.transactions import unexpired
from lakehouse.duck.engine import Engine
from lakehouse.table.reports import WriteReport, report_of, write_report


class Following(tuple[str, int]):
    """Be an idempotency key whose write must follow a certain one of the application's.

    ``after`` is the number that the table must have seen last, None for none at all.
    """

    after: int | None

    def __new__(cls, application: str, number: int, *, after: int | None) -> Following:
        """Return the key: a tuple of application and number, as any other."""
        made = super().__new__(cls, (application, number))
        made.after = after
        return made


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """Name a write: the application, and its number among the application's writes.

    Where it is ``following``, the number before must be ``after``, or None for no other.
    """

    application: str
    number: int
    following: bool = False
    after: int | None = None


def parse_key(key: tuple[str, int] | None) -> Key | None:
    """Return the key that a caller means; InputError for anything else.

    >>> parse_key(("load", 17)).number
    17
    """
    if key is None:
        return None
    match key:
        case (str() as application, int() as number) if application and number >= 0:
            if isinstance(key, Following):
                return Key(application, number, following=True, after=key.after)
            return Key(application, int(number))
    raise InputError(
        f"an idempotency key is a name and a number that grows, not {key!r}",
        next_step="Pass for example idempotency_key=('daily-load', 17)",
    )


def is_done(snapshot: Snapshot, key: Key) -> bool:
    """Tell whether the write was committed before, or one with a greater number.

    What is older than the table's ``delta.setTransactionRetentionDuration`` is forgotten.
    """
    seen = unexpired(snapshot.transactions, snapshot.properties, now=milliseconds())
    mark = seen.get(key.application)
    return mark is not None and mark.version >= key.number


def written_once(
    snapshot: Snapshot,
    plan: Plan,
    *,
    key: Key | None,
    operation: str,
    engine: Engine,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Commit what a plan makes, unless the key was written already; report either.

    All that a verb needs which leaves no files behind when its plan comes to nothing.
    """
    started = time.perf_counter()
    if key is not None and is_done(snapshot, key):
        return snapshot, earlier(snapshot, key, operation)
    done = commit(snapshot, once(plan, key), engine=engine, metadata=metadata)
    return done.snapshot, answer(done, key, operation, started)


def answer(done: Committed, key: Key | None, operation: str, started: float) -> WriteReport:
    """Return the report of a commit, or of the earlier one where another call wrote the key."""
    after = done.snapshot
    if done.change is None and key is not None and after is not None and is_done(after, key):
        return earlier(after, key, operation)
    return report_of(operation, done, started)


def once(plan: Plan, key: Key | None, *, idle: Reads = EVERYTHING) -> Plan:
    """Return a plan that does nothing where the key was written already, and writes it else.

    A plan that comes to nothing writes the key alone: had it come later, there might have been
    something to do. ``idle`` says what it has read to see that.
    """
    if key is None:
        return plan

    def keyed(snapshot: Snapshot) -> Change | None:
        if is_done(snapshot, key):
            return None
        _check_following(snapshot, key)
        mark = act.Transaction(key.application, key.number, milliseconds())
        change = plan(snapshot)
        if change is None:
            return Change("SET TRANSACTION", (mark,), reads=idle)
        return dataclasses.replace(change, actions=(*change.actions, mark))

    return keyed


def _check_following(snapshot: Snapshot, key: Key) -> None:
    """Raise ConflictError where another write stands between a key and the one it follows."""
    mark = snapshot.transactions.get(key.application)
    if key.following and (None if mark is None else mark.version) != key.after:
        raise ConflictError(
            f"another process has written for {key.application!r} meanwhile",
            next_step="Let one process at a time consume under a name",
        )


def earlier(snapshot: Snapshot, key: Key, operation: str) -> WriteReport:
    """Return the report of the commit that wrote a key.

    Where the log does not hold it any more, the report has the snapshot's version and no figures.
    """
    version, actions = written_by(snapshot, key)
    if not actions:
        return write_report(operation, version, (), rows=0, replayed=True)
    return _report(version, actions, operation)


def written_by(snapshot: Snapshot, key: Key) -> tuple[int, list[act.Action]]:
    """Return the version and the actions of the commit that wrote a key.

    Where the log does not hold it any more: the snapshot's version, and no actions.
    """
    for file in reversed(read_listing(snapshot.storage).commits):
        if file.version > snapshot.version:
            continue
        actions = read_commit(snapshot.storage, file.version)
        marks = [a for a in actions if isinstance(a, act.Transaction)]
        if any((m.app_id, m.version) == (key.application, key.number) for m in marks):
            return file.version, actions
    return snapshot.version, []


def metrics_in(actions: Iterable[act.Action]) -> Mapping[str, Any]:
    """Return what a commit's own words say of its figures."""
    info = next((a.values for a in actions if isinstance(a, act.CommitInfo)), {})
    metrics: Mapping[str, Any] = info.get("operationMetrics") or {}
    return metrics


def _report(version: int, actions: list[act.Action], operation: str) -> WriteReport:
    metrics = metrics_in(actions)
    rows = int(metrics.get("numOutputRows", 0))
    return write_report(
        operation,
        version,
        actions,
        rows=rows,
        rows_deleted=int(metrics.get("numDeletedRows", 0)),
        replayed=True,
    )
