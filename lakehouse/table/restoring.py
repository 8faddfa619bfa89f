"""Make an earlier version of a table the newest again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

from catalog.errors import StorageError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change
from lakehouse.delta.conflict import Reads
from lakehouse.delta.in_commit import kept
from lakehouse.delta.schema.mapping import MAX_ID, is_mapped
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.table.idempotency import Key, written_once
from lakehouse.table.removal import check_removable, removes_of
from lakehouse.table.reports import WriteReport


def restore(
    snapshot: Snapshot,
    target: Snapshot,
    *,
    engine: Engine,
    metadata: Mapping[str, Any] | None,
    key: Key | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Make an earlier version's rows, schema and properties the newest version again."""

    def plan(current: Snapshot) -> Change | None:
        check_removable(current)
        now, then = current.files.adds(), target.files.adds()
        present = {add.key for add in now}
        wanted = {add.key for add in then}
        back = [
            dataclasses.replace(add, data_change=True) for add in then if add.key not in present
        ]
        gone = [add for add in now if add.key not in wanted]
        _check_present(target, back)
        restored = _metadata(current, target)
        changed = restored != current.metadata
        if not back and not gone and not changed:
            return None
        return Change(
            "RESTORE",
            (*((restored,) if changed else ()), *removes_of(gone), *back),
            reads=Reads(frozenset(present), everything=True),
            parameters={"version": target.version},
            metrics={
                "numRestoredFiles": len(back),
                "numRemovedFiles": len(gone),
                "restoredFilesSize": sum(add.size for add in back),
                "removedFilesSize": sum(add.size for add in gone),
            },
        )

    return written_once(
        snapshot, plan, key=key, operation="restore", engine=engine, metadata=metadata
    )


def _metadata(current: Snapshot, target: Snapshot) -> act.Metadata:
    """Return the target's metadata, with what only grows in a table: in-commit times, ids."""
    settings = dict(kept(current.properties, target.properties))
    if is_mapped(settings):
        # Ids of columns are never given out twice.
        given = (snapshot.properties.get(MAX_ID, "0") for snapshot in (current, target))
        settings[MAX_ID] = str(max(int(text) for text in given))
    return dataclasses.replace(target.metadata, configuration=MappingProxyType(settings))


def _check_present(target: Snapshot, adds: list[act.AddFile]) -> None:
    target.storage.require_inside(add.key[0] for add in adds)

    def is_missing(add: act.AddFile) -> bool:
        return target.storage.head(add.key[0]) is None

    with ThreadPoolExecutor(max_workers=16) as pool:
        missing = [add for add, gone in zip(adds, pool.map(is_missing, adds), strict=True) if gone]
    if missing:
        raise StorageError(
            f"version {target.version} cannot be restored: {len(missing)} of its data files are "
            f"gone, for example {missing[0].path}",
            next_step="Restore a later version",
        )
