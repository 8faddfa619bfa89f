"""Keep out a writer that slept while another took its work over.

Source: Delta protocol, "Transaction Identifiers". Whoever takes a lease over from one that never
released it writes its fencing token into the log before anything else, as the version of an app
transaction. Commits of upkeep say that they have looked at that transaction: what a sleeper then
tries to commit has lost the race, conflicts, and finds the greater token when it plans anew. Unlike
a look at the lease before the commit, this leaves no moment in between.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from catalog.errors import ConflictError, InputError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, Plan, commit, milliseconds
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.table.reports import WriteReport, report_of

APPLICATION = "lakehouse.upkeep"


def fence(
    snapshot: Snapshot, token: int, *, engine: Engine, metadata: Mapping[str, Any] | None = None
) -> tuple[Snapshot | None, WriteReport]:
    """Let no commit with a lesser token follow; ConflictError where a greater one is there."""
    started = time.perf_counter()

    def plan(current: Snapshot) -> Change | None:
        if _seen(current) == token:
            return None
        mark = act.Transaction(APPLICATION, token, milliseconds())
        return Change("SET TRANSACTION", (mark,))

    done = commit(snapshot, fenced(plan, token), engine=engine, metadata=metadata)
    return done.snapshot, report_of("fence", done, started)


def fenced(plan: Plan, token: int | None) -> Plan:
    """Return a plan that raises once its token was overtaken, whose commits then lose."""
    if token is None:
        return plan
    if token < 0:
        raise InputError(f"a fencing token is a whole number, not {token!r}")

    def guarded(snapshot: Snapshot) -> Change | None:
        seen = _seen(snapshot)
        if seen is not None and seen > token:
            raise ConflictError(
                f"token {token} is fenced off: {seen} has taken over",
                next_step="Leave the table to whoever holds the lease now",
                token=token,
                newest=seen,
            )
        change = plan(snapshot)
        if change is None:
            return None
        looked_at = change.reads.applications | {APPLICATION}
        reads = dataclasses.replace(change.reads, applications=looked_at)
        return dataclasses.replace(change, reads=reads)

    return guarded


def _seen(snapshot: Snapshot) -> int | None:
    mark = snapshot.transactions.get(APPLICATION)
    return None if mark is None else mark.version
