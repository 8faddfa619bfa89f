"""Write rows of live files anew: what compaction does, and a change of types."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from catalog.errors import LakehouseError
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.commit import Change, commit, otherwise
from lakehouse.delta.conflict import Reads
from lakehouse.delta.files.adds import removals
from lakehouse.delta.protocol import check_writable
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.parts import count_rows, opened, part
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table import fencing
from lakehouse.table.clustering import Clustering
from lakehouse.table.copying import Copied, Copy, cluster_tags, copies_of, resolved
from lakehouse.table.idempotency import Key, answer, earlier, is_done, once
from lakehouse.table.reports import WriteReport, report_of
from lakehouse.table.tombstones import removes_of
from lakehouse.table.written import write_copy
from lakehouse.write.data_files import NewFiles, discard_files


@dataclasses.dataclass(frozen=True, slots=True)
class Rewritten:
    """Report a commit of copies, and the ``left`` ones, whose files others have changed meanwhile."""

    report: WriteReport
    left: tuple[Copy, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Rewriter:
    """Write rows of live files anew in steps of one's own: choose copies, write them, commit.

    Made by `Table.rewriter`. Copies may be written elsewhere, side by side.
    """

    snapshot: Callable[[], Snapshot]
    remember: Callable[[Snapshot | None], None]
    engine: Engine
    scanner: Scanner

    def write(self, copy: Copy) -> Copied:
        """Write a copy here."""
        return write_copy(copy, engine=self.engine, scanner=self.scanner)

    def commit(
        self,
        copies: Sequence[Copy],
        written: Sequence[Copied],
        *,
        metadata: Mapping[str, Any] | None = None,
        fence: fencing.Fence | None = None,
    ) -> Rewritten:
        """Commit the copies that still fit, all at once, and discard the others.

        ``fence`` is asked right before, and gives the token of a lease: a commit under a lesser
        one that comes later, of whoever was paused meanwhile, raises ConflictError.
        """
        started = time.perf_counter()
        pairs = tuple(zip(copies, written, strict=True))
        fitting: list[tuple[Copy, Copied]] = []

        def plan(current: Snapshot) -> Change | None:
            fitting[:] = [(copy, copied) for copy, copied in pairs if copy.fits(current)]
            return _change(*zip(*fitting, strict=True)) if fitting else None

        with otherwise(lambda: _discard(pairs)):
            done = commit(
                self.snapshot(), fencing.fenced(plan, fence), engine=self.engine, metadata=metadata
            )
        landed = {id(copy) for copy, _ in fitting}
        late = [pair for pair in pairs if id(pair[0]) not in landed]
        _discard(late)
        self.remember(done.snapshot)
        report = report_of("rewrite", done, started)
        return Rewritten(report, tuple(copy for copy, _ in late))

    def fence(self, token: int) -> WriteReport:
        """Let no commit under a lesser token follow, however late who makes it wakes up."""
        after, report = fencing.fence(self.snapshot(), token, engine=self.engine)
        self.remember(after)
        return report


def rewrite(
    snapshot: Snapshot,
    paths: Collection[str],
    *,
    engine: Engine,
    scanner: Scanner,
    clustering: Clustering | None = None,
    file_bytes: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    key: Key | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Write the rows of live files anew, in a commit with ``dataChange`` false.

    Deleted rows are left out. Where another writer removed one of the files, nothing is done. The
    number of rows and their checksum are verified before the commit.
    """
    started = time.perf_counter()
    if key is not None and is_done(snapshot, key):
        return snapshot, earlier(snapshot, key, "rewrite")
    check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)
    written: list[tuple[Copy, Copied]] = []

    def discard() -> None:
        _discard(written)
        written.clear()

    def plan(current: Snapshot) -> Change | None:
        if not current.files.holds(_keys(first)):
            return None
        if not all(copy.fits(current) for copy, _ in written) or not written:
            discard()
            for copy in _copies(current, paths, clustering, file_bytes):
                copied = write_copy(copy, engine=engine, scanner=scanner)
                written.append((copy, copied))
        return _change(*zip(*written, strict=True)) if written else None

    first = _copies(snapshot, paths, clustering, file_bytes)
    with otherwise(discard):
        done = commit(snapshot, once(plan, key), engine=engine, metadata=metadata)
    if not done.names_files:
        discard()
    return done.snapshot, answer(done, key, "rewrite", started)


def _copies(
    snapshot: Snapshot,
    paths: Collection[str],
    clustering: Clustering | None,
    file_bytes: int | None,
) -> tuple[Copy, ...]:
    tags = cluster_tags(resolved(clustering, snapshot)) if clustering is not None else None
    return copies_of(snapshot, paths, clustering=clustering, file_bytes=file_bytes, tags=tags)


def _change(copies: Sequence[Copy], written: Sequence[Copied]) -> Change:
    now = time.time_ns() // 1_000_000
    old = [
        remove
        for copy in copies
        for remove in removals(copy.files, deletion_timestamp=now, data_change=False)
    ]
    adds = tuple(add for copied in written for add in copied.adds)
    columns = copies[0].clustering.columns if copies[0].clustering is not None else ()
    return Change(
        "OPTIMIZE",
        (*old, *adds),
        reads=Reads(_keys(copies)),
        parameters={"predicate": [], "zOrderBy": list(columns)},
        metrics={
            "numFiles": len(adds),
            "numOutputRows": sum(copied.rows for copied in written),
            "numOutputBytes": sum(copied.bytes for copied in written),
            "numRemovedFiles": len(old),
            "numRemovedBytes": sum(copy.snapshot.files.bytes for copy in copies),
        },
    )


def _keys(copies: Iterable[Copy]) -> frozenset[FileKey]:
    return frozenset(key for copy in copies for key in copy.keys)


def _discard(pairs: Iterable[tuple[Copy, Copied]]) -> None:
    for copy, copied in pairs:
        copied.discard(copy.storage)


def write_anew(
    snapshot: Snapshot,
    keys: frozenset[FileKey],
    schema: Struct,
    engine: Engine,
    scanner: Scanner,
) -> NewFiles:
    """Write the rows of the files with these keys as new files of a schema that takes them.

    The new files' actions have ``dataChange`` false. Raises LakehouseError where the number of
    rows is not the same, and leaves no file then.
    """
    if not keys:
        return NewFiles((), 0, 0)
    old = part(snapshot, keys)
    expected = count_rows(old, engine, scanner)
    with opened(old, scanner, "copy rows") as there:
        files = there.copy(schema=schema)
    if files.rows != expected:
        discard_files(snapshot.storage, files)
        raise LakehouseError(
            f"rewriting {len(keys)} files gave {files.rows} rows instead of {expected}",
            next_step="Report this; nothing was committed",
        )
    adds = tuple(dataclasses.replace(add, data_change=False) for add in files.adds)
    return dataclasses.replace(files, adds=adds)


@dataclasses.dataclass(frozen=True, slots=True)
class Anew:
    """Hold all rows of a table, written for another schema: files, actions, what was read."""

    files: NewFiles
    actions: tuple[act.Action, ...]
    reads: Reads


def all_anew(snapshot: Snapshot, schema: Struct, engine: Engine, scanner: Scanner) -> Anew:
    """Write all rows of a table anew, for a schema that takes them; as `write_anew`."""
    old = snapshot.files.adds()
    keys = frozenset(add.key for add in old)
    files = write_anew(snapshot, keys, schema, engine, scanner)
    actions: tuple[act.Action, ...] = (*removes_of(old, data_change=False), *files.adds)
    return Anew(files, actions, Reads(keys, everything=True))
