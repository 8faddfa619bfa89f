"""Write rows of live files anew: what compaction does, and a change of types."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping
from typing import Any

from catalog.errors import LakehouseError
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.commit import Change, commit, otherwise
from lakehouse.delta.conflict import Reads
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.parts import count_rows, opened, part
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table.fencing import fenced
from lakehouse.table.idempotency import Key, answer, earlier, is_done, once
from lakehouse.table.reports import WriteReport, metrics_of
from lakehouse.table.tombstones import removes_of
from lakehouse.write.data_files import NewFiles, discard_files


def rewrite(
    snapshot: Snapshot,
    paths: Collection[str],
    *,
    engine: Engine,
    scanner: Scanner,
    metadata: Mapping[str, Any] | None = None,
    key: Key | None = None,
    fence: int | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Write the rows of live files anew, as few files, in a commit with ``dataChange`` false.

    Deleted rows are left out. Where another writer removed one of the files, nothing is done.
    The number of rows is verified before the commit.
    """
    started = time.perf_counter()
    wanted = frozenset(paths)
    old = snapshot.files.find(wanted).adds()
    written: list[tuple[Layout, NewFiles]] = []

    def discard() -> None:
        while written:
            discard_files(snapshot.storage, written.pop()[1])

    def plan(current: Snapshot) -> Change | None:
        keys = frozenset(add.key for add in old)
        if not old or not keys <= current.files.find(wanted).keys():
            return None
        layout = current.files.layout
        if not written or written[0][0] != layout:
            discard()
            written.append((layout, write_anew(current, keys, layout.schema, engine, scanner)))
        files = written[0][1]
        return Change(
            "OPTIMIZE",
            (*removes_of(old, data_change=False), *files.adds),
            reads=Reads(keys),
            metrics={**metrics_of(files), "numRemovedFiles": len(old)},
        )

    if key is not None and is_done(snapshot, key):
        return snapshot, earlier(snapshot, key, "rewrite")
    with otherwise(discard):
        done = commit(snapshot, fenced(once(plan, key), fence), engine=engine, metadata=metadata)
    if not done.names_files:
        discard()
    return done.snapshot, answer(done, key, "rewrite", started)


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
