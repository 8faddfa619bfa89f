"""Rewrite files without changing a row: what compaction does to a table."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection

from catalog.errors import LakehouseError
from lakehouse.delta.commit import Change, commit
from lakehouse.delta.conflict import Reads
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import Source
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.table.reports import WriteReport
from lakehouse.table.writing import metrics_of, removes_of, report_of
from lakehouse.write.data_files import NewFiles, discard_files, write_rows
from lakehouse.write.gate import gate


def rewrite(
    snapshot: Snapshot, paths: Collection[str], *, engine: Engine, scanner: Scanner
) -> tuple[Snapshot | None, WriteReport]:
    """Write the rows of live files anew, as few files, in a commit with ``dataChange`` false.

    Deleted rows are left out. Where another writer removed one of the files, nothing is done.
    The number of rows is verified before the commit.
    """
    started = time.perf_counter()
    wanted = frozenset(paths)
    old = snapshot.files.find(wanted).adds()
    written: list[NewFiles] = []

    def plan(current: Snapshot) -> Change | None:
        keys = frozenset(add.key for add in old)
        if not old or not keys <= current.files.find(wanted).keys():
            return None
        if not written:
            written.append(_write(current, keys, engine, scanner))
        files = written[0]
        adds = [dataclasses.replace(add, data_change=False) for add in files.adds]
        return Change(
            "OPTIMIZE",
            (*removes_of(old, data_change=False), *adds),
            reads=Reads(keys),
            metrics={**metrics_of(files), "numRemovedFiles": len(old)},
        )

    # Where commit raises, the files stay: a commit of unknown outcome may have made them live.
    done = commit(snapshot, plan, engine=engine)
    if done.change is None and written:
        discard_files(snapshot.storage, written[0])
    return done.snapshot, report_of("rewrite", done, started)


def _write(
    snapshot: Snapshot, keys: frozenset[tuple[str, str]], engine: Engine, scanner: Scanner
) -> NewFiles:
    part = dataclasses.replace(snapshot, files=snapshot.files.only(keys))
    expected = part.files.rows(engine)
    sql = "SELECT * FROM lakehouse.rows"
    prepared = scanner.prepare(sql, [TableRef("lakehouse", "rows", "rows", part)])
    cursor = prepared.cursor
    try:
        source = Source("lakehouse.rows", columns_of(prepared.relation()), rescannable=True)
        plan = gate(source.columns, snapshot.schema)
        files = write_rows(
            cursor,
            source,
            plan,
            storage=snapshot.storage,
            partition_columns=snapshot.partition_columns,
            properties=snapshot.properties,
        )
    finally:
        cursor.close()
    if expected is not None and files.rows != expected:
        discard_files(snapshot.storage, files)
        raise LakehouseError(
            f"rewriting {len(keys)} files gave {files.rows} rows instead of {expected}",
            next_step="Report this; nothing was committed",
        )
    return files
