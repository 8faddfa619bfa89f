"""Make an earlier version of a table the newest again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

from catalog.errors import StorageError, UnsupportedError
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change
from lakehouse.delta.conflict import Reads
from lakehouse.delta.in_commit import kept
from lakehouse.delta.protocol import check_writable, reader_features, upgraded
from lakehouse.delta.schema.mapping import MAX_ID, is_mapped
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.table.idempotency import Key, written_once
from lakehouse.table.reports import WriteReport
from lakehouse.table.tombstones import check_removable, removes_of


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
        definition = _definition(current, target)
        if not back and not gone and not definition:
            return None
        return Change(
            "RESTORE",
            (*definition, *removes_of(gone), *back),
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


def _definition(current: Snapshot, target: Snapshot) -> tuple[act.Action, ...]:
    """Return the actions that bring the target's schema and properties back, if any.

    What only grows in a table goes on: in-commit times, ids. Another engine may have dropped a
    feature since, which then comes back as well.
    """
    metadata = _metadata(current, target)
    protocol = upgraded(current.protocol, target.schema, metadata.configuration)
    if target.files.has_deletion_vectors:
        _check_vectors(protocol)
    check_writable(protocol, metadata.configuration, target.schema)
    found: list[act.Action] = [] if protocol == current.protocol else [protocol]
    return (*found, *(() if metadata == current.metadata else (metadata,)))


def _check_vectors(protocol: act.Protocol) -> None:
    if "deletionVectors" not in reader_features(protocol):
        raise UnsupportedError(
            "cannot restore this version: its files have deletion vectors, and the table has "
            "dropped that feature",
            next_step="Restore a later version, or switch delta.enableDeletionVectors on first",
            features=("deletionVectors",),
        )


def _metadata(current: Snapshot, target: Snapshot) -> act.Metadata:
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
