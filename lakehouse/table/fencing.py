"""Keep out a writer that slept while another took its work over.

Source: Delta protocol, "Transaction Identifiers". The first commit under a lease has its fencing
token as the version of an app transaction, and so has what a new holder writes before anything else
if the one before never gave the lease back. Commits under a lease say that they have looked at that
transaction: what a sleeper then tries to commit has lost the race, conflicts, and finds the greater
token when it plans anew. Unlike a look at the lease before the commit, this leaves no moment in
between.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from catalog.errors import ConflictError, InputError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, Plan, commit, milliseconds
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.table.reports import WriteReport, report_of

APPLICATION = "lakehouse.upkeep"
Fence = Callable[[], int]
"""What raises where a lease is lost, and else returns its token, which grows from one to the next."""


def fence(snapshot: Snapshot, token: int, *, engine: Engine) -> tuple[Snapshot | None, WriteReport]:
    """Let no commit with a lesser token follow; ConflictError where a greater one is there."""
    started = time.perf_counter()
    if token < 0:
        raise InputError(f"a fencing token is a whole number, not {token!r}")

    def plan(current: Snapshot) -> Change | None:
        return None if token_of(current) == token else Change("SET TRANSACTION", ())

    done = commit(snapshot, fenced(plan, lambda: token), engine=engine)
    return done.snapshot, report_of("fence", done, started)


def fenced(plan: Plan, fence: Fence | None) -> Plan:
    """Return a plan that asks the fence, and raises where its token was overtaken."""
    if fence is None:
        return plan

    def guarded(snapshot: Snapshot) -> Change | None:
        change = plan(snapshot)
        token, seen = fence(), token_of(snapshot)
        if seen is not None and seen > token:
            raise ConflictError(
                f"the lease {token} of this upkeep is over: lease {seen} has committed",
                next_step="Leave the table to whoever holds the lease now",
                token=token,
                newest=seen,
            )
        if change is None:
            return None
        looked_at = change.reads.applications | {APPLICATION}
        reads = dataclasses.replace(change.reads, applications=looked_at)
        mark = act.Transaction(APPLICATION, token, milliseconds())
        marks = () if seen == token else (mark,)
        return dataclasses.replace(change, actions=(*change.actions, *marks), reads=reads)

    return guarded


def token_of(snapshot: Snapshot) -> int | None:
    """Return the greatest token that a commit was made under, or None."""
    mark = snapshot.transactions.get(APPLICATION)
    return None if mark is None else mark.version
