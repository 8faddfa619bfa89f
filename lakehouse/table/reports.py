"""What a table's verbs return: frozen values, ready for JSON."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from catalog import lazy
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Committed
from lakehouse.delta.leftovers import Leftover
from lakehouse.write.data_files import NewFiles

pa: Any = lazy.module("pyarrow")


@dataclasses.dataclass(frozen=True, slots=True)
class WriteReport:
    """Report a write.

    ``version`` is the table's version after it; where there was nothing to do it is the version
    before. ``rows`` were written, ``rows_deleted`` matched a predicate and are gone; ``files_marked`` stay, with rows marked in a deletion vector; sizes are in bytes; ``attempts`` counts puts into the log, more
    than one where others committed at the same time; ``seconds`` is wall time. ``replayed`` says
    that an earlier call with the same idempotency key did the work, which this reports again.
    """

    operation: str
    version: int
    rows: int
    files_added: int
    files_removed: int
    bytes_added: int
    bytes_removed: int
    attempts: int
    seconds: float
    replayed: bool = False
    rows_deleted: int = 0
    files_marked: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ChangeReport:
    """Report an update, a merge, or another change of single rows.

    ``version`` is the table's version after it; where there was nothing to do it is the version
    before. ``rows_copied`` were written anew as they were, because they stood in a file with rows
    that changed; ``files_marked`` stay, with rows marked in a deletion vector. Sizes are in
    bytes; ``attempts`` counts puts into the log, more than one where
    others committed at the same time; ``seconds`` is wall time. ``replayed`` says that an earlier
    call with the same idempotency key did the work, which this reports again. After a ``dry_run``
    files and bytes added are 0, for they are not known, and all else says what would be.
    """

    operation: str
    version: int
    rows_updated: int
    rows_inserted: int
    rows_deleted: int
    rows_copied: int
    files_added: int
    files_removed: int
    files_marked: int
    bytes_added: int
    bytes_removed: int
    attempts: int
    seconds: float
    replayed: bool = False
    dry_run: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class FileCounts:
    """Count the files of a commit; the same one under another deletion vector is marked."""

    added: int
    removed: int
    marked: int
    bytes_added: int
    bytes_removed: int


def files_in(actions: Iterable[act.Action]) -> FileCounts:
    """Return what a commit adds, removes and marks."""
    actions = tuple(actions)
    adds = [action for action in actions if isinstance(action, act.AddFile)]
    removes = [action for action in actions if isinstance(action, act.RemoveFile)]
    marked = {add.key[0] for add in adds} & {remove.key[0] for remove in removes}
    adds = [add for add in adds if add.key[0] not in marked]
    removes = [remove for remove in removes if remove.key[0] not in marked]
    return FileCounts(
        added=len(adds),
        removed=len(removes),
        marked=len(marked),
        bytes_added=sum(add.size for add in adds),
        bytes_removed=sum(remove.size or 0 for remove in removes),
    )


def write_report(
    operation: str,
    version: int,
    actions: Iterable[act.Action],
    *,
    rows: int,
    attempts: int = 0,
    seconds: float = 0.0,
    replayed: bool = False,
    rows_deleted: int = 0,
) -> WriteReport:
    """Return the report of a commit from its actions."""
    files = files_in(actions)
    return WriteReport(
        operation=operation,
        version=version,
        rows=rows,
        files_added=files.added,
        files_removed=files.removed,
        bytes_added=files.bytes_added,
        bytes_removed=files.bytes_removed,
        attempts=attempts,
        seconds=seconds,
        replayed=replayed,
        rows_deleted=rows_deleted,
        files_marked=files.marked,
    )


def report_of(operation: str, done: Committed, started: float) -> WriteReport:
    """Return the report of a commit that began at ``started`` (`time.perf_counter`)."""
    change = done.change
    return write_report(
        operation,
        done.version,
        change.actions if change else (),
        rows=change.metrics.get("numOutputRows", 0) if change else 0,
        rows_deleted=change.metrics.get("numDeletedRows", 0) if change else 0,
        attempts=done.attempts,
        seconds=time.perf_counter() - started,
    )


def metrics_of(files: NewFiles) -> dict[str, int]:
    """Return what history shall say of new files, in Spark's words."""
    return {
        "numFiles": len(files.adds),
        "numOutputRows": files.rows,
        "numOutputBytes": files.bytes,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class ExpireReport:
    """Report expired log entries: how many files and bytes were deleted, or would be.

    ``oldest_version`` is the oldest that can be read after it, or None where it did not change;
    ``reason`` then says why.
    """

    oldest_version: int | None
    files: int
    bytes: int
    paths: tuple[str, ...]
    dry_run: bool
    reason: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class CollectReport:
    """Report leftovers of dead writers that were deleted, or would be; ``bytes`` are theirs."""

    files: int
    bytes: int
    leftovers: tuple[Leftover, ...]
    dry_run: bool


@dataclasses.dataclass(frozen=True, slots=True)
class VacuumReport:
    """Report files that were deleted, or would be; ``bytes`` are theirs.

    Versions from ``oldest_version`` on, which was the newest at ``readable_since``, stay readable,
    and so do the versions ``held`` before it. ``trash`` names the folder that keeps the files,
    where they were not deleted for good: `Table.undo_vacuum` takes it.
    """

    files: int
    bytes: int
    deleted: tuple[Leftover, ...]
    oldest_version: int
    readable_since: datetime
    held: tuple[int, ...]
    dry_run: bool
    trash: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TrashReport:
    """Report files in the trash that were brought back, or deleted for good; ``bytes`` are theirs.

    ``kept`` are paths at which another file stands now; theirs stay in the trash.
    """

    files: int
    bytes: int
    kept: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Commit:
    """Report one version of a table's history, as its writer described it."""

    version: int
    timestamp: datetime
    operation: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Any]
    engine: str | None
    user: str | None
    metadata: Mapping[str, Any] | str | None


@dataclasses.dataclass(frozen=True, slots=True)
class TableDetail:
    """Describe a table at one version. ``rows`` is None where statistics lack it."""

    name: str
    uri: str
    id: str
    version: int
    description: str | None
    schema: pa.Schema
    partition_by: tuple[str, ...]
    files: int
    bytes: int
    rows: int | None
    properties: Mapping[str, str]
    min_reader: int
    min_writer: int
    features: tuple[str, ...]
    created: datetime | None
    modified: datetime
