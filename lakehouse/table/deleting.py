"""Delete the rows that a predicate is true for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lakehouse.delta.commit import Change, commit, otherwise
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.removal import Removal
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import Key, answer, earlier, is_done, once
from lakehouse.table.reports import WriteReport
from lakehouse.table.tombstones import check_removable, removes_of


def delete(
    snapshot: Snapshot,
    where: str,
    *,
    engine: Engine,
    scanner: Scanner,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
) -> tuple[Snapshot | None, WriteReport]:
    """Delete rows in one commit; where none matches there is none.

    The result is that of a delete after all commits before it: what others add or change in the
    meantime is looked at again where it may match, and only then.
    """
    started = time.perf_counter()
    if key is not None and is_done(snapshot, key):
        return snapshot, earlier(snapshot, key, "delete")
    removal = Removal(where, engine=engine, scanner=scanner)

    def plan(current: Snapshot) -> Change | None:
        check_removable(current)
        removed = removal.plan(current)
        if not removed.gone:
            return None
        return Change(
            "DELETE",
            (*removes_of(removed.gone), *removed.kept, *removed.changes.actions),
            reads=removed.reads,
            parameters={"predicate": [where]},
            metrics=removed.metrics(),
        )

    with otherwise(removal.discard):
        done = commit(snapshot, once(plan, key), engine=engine, metadata=metadata)
    if not done.names_files:
        removal.discard()
    return done.snapshot, answer(done, key, "delete", started)
