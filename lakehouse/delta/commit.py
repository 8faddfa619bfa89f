"""Turn a planned change into a commit: the only place that writes to a transaction log.

The loop: plan on a snapshot, put the commit at the next version if it is absent, and where
somebody was faster, look whether that was ourselves, ask the conflict rules, and go on at the
version after (rebase) or plan anew on a fresh snapshot (redo), a bounded number of times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import itertools
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version as version_of
from types import MappingProxyType
from typing import Any

from catalog.errors import ConflictError, LakehouseError, OutcomeUnknownError, StorageError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.codec import to_lines
from lakehouse.delta.conflict import Reads, conflict
from lakehouse.delta.entries import read_commit
from lakehouse.delta.in_commit import Table, stamped, time_of
from lakehouse.delta.log import commit_path, read_listing
from lakehouse.delta.protocol import check_writable
from lakehouse.delta.snapshot import Snapshot, advance, refresh
from lakehouse.duck.engine import Engine

ENGINE_INFO = f"lakehouse-storage/{version_of('lakehouse-storage')}"
_SHORT_WAITS = 3  # doublings of the first wait, at most: who waits longer loses again
_TRIES = 12  # of one put whose answer is in doubt; with their waits about a second


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """Hold a planned change: its actions, what it has read, and what history shall say."""

    operation: str
    actions: tuple[act.Action, ...]
    reads: Reads = Reads()
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Retries:
    """Bound the loop. ``rebases`` lost races a plan, ``redos`` plans; waits are in seconds.

    ``sleep`` and ``random`` are arguments so that tests are quick and repeatable.
    """

    rebases: int = 200
    redos: int = 25
    first_wait: float = 0.002
    longest_wait: float = 0.2
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def wait(self, attempt: int) -> None:
        """Sleep for a random time that grows with the attempt."""
        self.sleep(self.random() * min(self.longest_wait, self.first_wait * 2 ** min(attempt, 20)))


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    """Report a commit: its version, the change that landed, and the number of puts it took.

    ``change`` is None where there was nothing to do. ``snapshot`` is the table after it, or None
    where it could not be had, which takes nothing from the commit.
    """

    version: int
    snapshot: Snapshot | None
    change: Change | None
    attempts: int

    @property
    def names_files(self) -> bool:
        """Tell whether the commit names new files: else, what was written for it is of no use."""
        actions = () if self.change is None else self.change.actions
        return any(
            isinstance(action, act.AddFile)
            or (isinstance(action, act.OtherAction) and action.kind == "cdc")
            for action in actions
        )


Plan = Callable[[Snapshot], Change | None]
Clock = Callable[[], int]


def milliseconds() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def commit(
    snapshot: Snapshot,
    plan: Plan,
    *,
    engine: Engine,
    metadata: Mapping[str, Any] | None = None,
    retries: Retries | None = None,
    clock: Clock = milliseconds,
) -> Committed:
    """Commit what ``plan`` makes of a snapshot, and return the snapshot after it.

    ``plan`` may be called again, on a fresher snapshot, after a conflict; None means that there
    is nothing to do. Raises ConflictError when others win every time, OutcomeUnknownError when
    the storage does not say whether the commit landed; nothing is committed by any other error.
    """
    retries = retries or Retries()
    attempts, reason, operation = 0, "", ""
    for redo in range(retries.redos + 1):
        check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)
        change = plan(snapshot)
        if change is None:
            return Committed(snapshot.version, snapshot, None, attempts)
        operation = change.operation
        outcome = _put(snapshot, change, engine, metadata, retries, attempts, clock)
        if isinstance(outcome, Committed):
            return outcome
        attempts, reason = outcome
        retries.wait(min(redo, _SHORT_WAITS))
        snapshot = refresh(snapshot, engine)
    raise ConflictError(
        f"{operation} lost against other writers {retries.redos + 1} times: {reason}",
        next_step="Try again when fewer jobs write to the same rows",
    )


@contextlib.contextmanager
def otherwise(discard: Callable[[], None]) -> Iterator[None]:
    """Call ``discard`` where an error of `commit` says for certain that nothing was committed."""
    try:
        yield
    except OutcomeUnknownError:
        raise  # what was written may be live
    except LakehouseError:
        discard()
        raise


def first_commit(
    storage: Storage,
    actions: tuple[act.Action, ...],
    *,
    operation: str,
    parameters: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    clock: Clock = milliseconds,
) -> bool:
    """Write a new table's version 0; tell whether it is ours that stands there."""
    change = Change(operation, actions, parameters=parameters or {})
    token, now = uuid.uuid4().hex, clock()
    own, actions = stamped(Table(), actions, version=0, previous=None, now=now)
    info = _info(change, token, None, metadata, now=now, own=own)
    return _put_or_find(storage, 0, to_lines((info, *actions)), token, Retries())


def _put(
    snapshot: Snapshot,
    change: Change,
    engine: Engine,
    metadata: Mapping[str, Any] | None,
    retries: Retries,
    attempts: int,
    clock: Clock,
) -> Committed | tuple[int, str]:
    token = uuid.uuid4().hex
    winners: list[list[act.Action]] = []
    table = Table(snapshot.metadata, snapshot.protocol)
    # To ask for it may take a request.
    previous = snapshot.timestamp if table.after(change.actions).is_enabled else None
    lines: tuple[tuple[act.Action, ...], bytes] = ((), b"")
    for lost in range(retries.rebases + 1):
        version = snapshot.version + len(winners) + 1
        attempts += 1
        now = clock()
        # The commit before is another one after each lost race, and with it the time of ours.
        own, actions = stamped(table, change.actions, version=version, previous=previous, now=now)
        info = _info(change, token, snapshot.version, metadata, now=now, own=own)
        if lines[0] != actions:
            lines = (actions, to_lines(actions))
        body = to_lines([info]) + lines[1]
        if _put_or_find(snapshot.storage, version, body, token, retries):
            after = _after(snapshot, [*winners, [info, *actions]], engine)
            done = dataclasses.replace(change, actions=actions)
            return Committed(version, after, done, attempts)
        # A short wait, and before looking: what was seen long ago is old when the put is made.
        retries.wait(min(lost, _SHORT_WAITS))
        ahead = [*_winners(snapshot.storage, version)]
        # One question about all of them: a predicate takes milliseconds for each that is asked.
        reason = conflict(change.actions, change.reads, itertools.chain(*ahead))
        if reason is not None:
            return attempts, reason
        for winner in ahead:
            winners.append(winner)
            table = table.after(winner)
            own_before = time_of(winner)
            if own_before is None and own is not None:
                own_before = _modified(snapshot, snapshot.version + len(winners))
            previous = previous if own_before is None else own_before
    return attempts, f"{retries.rebases + 1} commits came first"


def _winners(storage: Storage, version: int) -> Iterator[list[act.Action]]:
    """Yield the commit that took a version, and those that stand after it by now.

    To look for them all costs less than to lose a put against each, one after the other.
    """
    yield read_commit(storage, version)
    for commit_file in read_listing(storage, start=version + 1).commits:
        version += 1
        if commit_file.version != version:
            return
        yield read_commit(storage, version)


def _put_or_find(storage: Storage, version: int, body: bytes, token: str, retries: Retries) -> bool:
    """Put the commit; tell whether it stands at this version, whatever the answers were.

    A storage error leaves this function only while it proves that nothing was committed.
    """
    path = commit_path(version)
    doubt: LakehouseError | None = None
    for attempt in range(_TRIES):
        if attempt:
            retries.wait(attempt)
        try:
            if storage.put_if_absent(path, body):
                return True
        except OutcomeUnknownError as error:
            doubt = error
        except StorageError:
            # A refusal proves nothing about the put before it.
            if doubt is None:
                raise
        # "It exists" may be about our own put, repeated after its answer was lost.
        try:
            present = storage.read_or_none(path)
        except StorageError as error:
            doubt = doubt or error
            continue
        if present is not None:
            return token.encode() in present.split(b"\n", 1)[0]
    raise OutcomeUnknownError(
        f"the storage did not say whether version {version} was committed",
        next_step=f"Look for {token} in the table's history before writing again",
        version=version,
        token=token,
    ) from doubt


def _after(snapshot: Snapshot, commits: list[list[act.Action]], engine: Engine) -> Snapshot | None:
    # The commit stands: an error from here on must not look as if it did not.
    try:
        return advance(snapshot, commits, modified=None, engine=engine)
    except LakehouseError:
        return None


def _modified(snapshot: Snapshot, version: int) -> int | None:
    stored = snapshot.storage.head(commit_path(version))
    return None if stored is None else stored.millis


def _info(
    change: Change,
    token: str,
    read_version: int | None,
    metadata: Mapping[str, Any] | None,
    *,
    now: int,
    own: int | None,
) -> act.CommitInfo:
    values: dict[str, Any] = {
        **({} if own is None else {"inCommitTimestamp": own}),
        "timestamp": now,
        "operation": change.operation,
        "operationParameters": {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in change.parameters.items()
        },
        "operationMetrics": {key: str(value) for key, value in change.metrics.items()},
        "isolationLevel": "Serializable",
        "isBlindAppend": change.reads.is_blind,
        "engineInfo": ENGINE_INFO,
        "txnId": token,
        "userName": _user(),
    }
    if read_version is not None:
        values["readVersion"] = read_version
    if metadata:
        values["userMetadata"] = json.dumps(dict(metadata), ensure_ascii=False, default=str)
    return act.CommitInfo(MappingProxyType(values))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
