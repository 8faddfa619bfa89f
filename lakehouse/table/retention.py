"""Delete log entries that have expired, once a checkpoint that was read makes up for them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from catalog.errors import LakehouseError
from catalog.storage import Storage, StoredObject
from lakehouse.delta.expiry import Expiry, expired
from lakehouse.delta.log import LOG, Checkpoint, read_hint, read_listing
from lakehouse.delta.protocol import check_writable
from lakehouse.delta.replay import read_checkpoint, sidecars_of
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.table.reports import ExpireReport


def expire_log(
    snapshot: Snapshot,
    *,
    engine: Engine,
    keep_versions: Collection[int] = (),
    dry_run: bool = False,
    now: datetime | None = None,
) -> ExpireReport:
    """Delete what has expired of a table's log; ``now`` is the storage's time unless given.

    ``snapshot`` must be the newest. Raises UnsupportedError, by feature name, for a table whose
    log we must not shorten.
    """
    check_cleanable(snapshot)
    storage = snapshot.storage
    objects = list(storage.list(f"{LOG}/"))
    moment = storage.now() if now is None else now
    hint = read_hint(storage)
    kept = {*keep_versions, *(() if hint is None else (hint,))}
    plan = _verified(snapshot, objects, int(moment.timestamp() * 1000), kept, engine)
    gone = [*plan.entries, *_unnamed(storage, plan, engine)]
    if not dry_run:
        storage.delete([item.path for item in gone])
    return ExpireReport(
        oldest_version=plan.checkpoint.version if plan.checkpoint and gone else None,
        files=len(gone),
        bytes=sum(item.size for item in gone),
        paths=tuple(item.path for item in gone),
        dry_run=dry_run,
        reason=plan.reason or (None if gone else "everything before it is gone already"),
    )


def check_cleanable(snapshot: Snapshot) -> None:
    """Raise UnsupportedError, by feature name, where no file of the table may be cleaned away.

    Deleting is writing: a feature that we do not write may forbid it or give files a meaning
    (protocol, "VACUUM Protocol Check"; ``checkpointProtection``).
    """
    check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)


def _verified(
    snapshot: Snapshot, objects: list[StoredObject], now: int, kept: set[int], engine: Engine
) -> Expiry:
    """Return the plan whose checkpoint has been read whole."""
    unusable: set[tuple[str, ...]] = set()
    while True:
        plan = expired(
            objects,
            snapshot.properties,
            now=now,
            keep_versions=kept,
            unusable=frozenset(unusable),
        )
        if plan.checkpoint is None or not (plan.entries or plan.sidecars):
            return plan
        if _is_whole(snapshot.storage, plan.checkpoint, engine):
            return plan
        unusable.add(plan.checkpoint.paths)


def _is_whole(storage: Storage, checkpoint: Checkpoint, engine: Engine) -> bool:
    try:
        base = read_checkpoint(storage, checkpoint, engine)
    except LakehouseError:
        return False
    return base.tail.metadata is not None and base.tail.protocol is not None


def _unnamed(storage: Storage, plan: Expiry, engine: Engine) -> list[StoredObject]:
    """Return the old sidecars that no checkpoint names which is there after the cleanup."""
    if plan.checkpoint is None or not plan.sidecars:
        return []
    # Listed anew: a checkpoint of this minute may go on using sidecars of an old one.
    left = read_listing(storage, start=plan.checkpoint.version).checkpoints
    try:
        named = {path for checkpoint in left for path in sidecars_of(storage, checkpoint, engine)}
    except LakehouseError:
        return []
    return [item for item in plan.sidecars if item.path not in named]
