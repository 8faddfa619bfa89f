"""Commit a change of what a table is, and write its rows anew where they must be."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from lakehouse.delta.commit import Change, commit, otherwise
from lakehouse.delta.conflict import Reads
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import Key, answer, earlier, is_done, once
from lakehouse.table.redefining import Definition
from lakehouse.table.reports import WriteReport
from lakehouse.table.rewriting import all_anew
from lakehouse.write.data_files import NewFiles, discard_files

Planner = Callable[[Snapshot], Definition]


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Say what is altered: how to see the newest version, and what to do with a newer one."""

    snapshot: Callable[[], Snapshot]
    remember: Callable[[Snapshot | None], None]
    engine: Engine
    scanner: Scanner


@dataclasses.dataclass(frozen=True, slots=True)
class Alteration:
    """Hold a change: its name in history, its plan, and whether it depends on the rows."""

    operation: str
    plan: Planner
    parameters: Mapping[str, Any]
    reads_rows: bool = False


def alter(
    target: Target,
    alteration: Alteration,
    *,
    metadata: Mapping[str, Any] | None,
    key: Key | None,
) -> WriteReport:
    """Commit an alteration; where the plan asks for nothing, nothing is committed."""
    started = time.perf_counter()
    snapshot = target.snapshot()
    if key is not None and is_done(snapshot, key):
        return earlier(snapshot, key, "alter")
    written: list[NewFiles] = []

    def discard() -> None:
        while written:
            discard_files(snapshot.storage, written.pop())

    def plan(current: Snapshot) -> Change | None:
        discard()
        new = alteration.plan(current)
        if not new.actions:
            return None
        actions, reads = new.actions, Reads(everything=alteration.reads_rows)
        metrics = {}
        if new.rewrites:
            anew = all_anew(current, new.schema, target.engine, target.scanner)
            written.append(anew.files)
            actions, reads = (*actions, *anew.actions), anew.reads
            metrics = {
                "numAddedFiles": len(anew.files.adds),
                "numRemovedFiles": len(reads.files),
            }
        return Change(
            alteration.operation,
            actions,
            reads=reads,
            parameters=alteration.parameters,
            metrics=metrics,
        )

    with otherwise(discard):
        done = commit(snapshot, once(plan, key), engine=target.engine, metadata=metadata)
    if not done.names_files:
        discard()
    target.remember(done.snapshot)
    return answer(done, key, "alter", started)
