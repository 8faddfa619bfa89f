"""Find and delete what dead writers left in a table's folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog import lazy
from catalog.errors import InputError, LakehouseError, StorageError
from catalog.storage import Storage, StoredObject
from lakehouse.delta.entries import read_entries
from lakehouse.delta.files.adds import vector_from_row
from lakehouse.delta.leftovers import Leftover, fold, leftovers, named_by, named_by_vector
from lakehouse.delta.log import LOG, Checkpoint, Listing, read_listing, segment
from lakehouse.delta.replay import checkpoint_tombstones, read_checkpoint
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.table.reports import CollectReport
from lakehouse.table.retention import check_cleanable

pa: Any = lazy.module("pyarrow")


def find(snapshot: Snapshot, *, engine: Engine, older_than: timedelta) -> tuple[Leftover, ...]:
    """Return the leftovers of a table, whose newest snapshot this is."""
    if older_than < timedelta(0):
        raise InputError(f"older_than is {older_than}", next_step="Pass a positive timedelta")
    check_cleanable(snapshot)
    storage = snapshot.storage
    # The files before the log: what a commit names in between is named then.
    objects = list(storage.list(temporary=True))
    named = _named(storage, engine)
    now = time_of(storage, objects)
    found = leftovers(objects, named, now=now, older_than=older_than)
    return tuple(without_links(storage, found))


def collect(
    snapshot: Snapshot, *, engine: Engine, older_than: timedelta, dry_run: bool
) -> CollectReport:
    """Delete the leftovers of a table, whose newest snapshot this is."""
    found = find(snapshot, engine=engine, older_than=older_than)
    if not dry_run:
        snapshot.storage.delete([item.path for item in found])
    return CollectReport(len(found), sum(item.size for item in found), found, dry_run)


def without_links(storage: Storage, found: Iterable[Leftover]) -> Iterator[Leftover]:
    """Yield the files that are no symbolic links."""
    root = storage.local_path
    return (item for item in found if root is None or not (root / item.path).is_symlink())


def time_of(storage: Storage, objects: list[StoredObject]) -> datetime:
    """Return the time by which files of a listing are old."""
    # The earlier of two clocks: a file must not look older than it is.
    try:
        return min(storage.now(), datetime.now(UTC))
    except StorageError:  # not ours to write to: the newest entry of the log is a time as well
        return max(item.modified for item in objects if item.path.startswith(f"{LOG}/"))


def _named(storage: Storage, engine: Engine) -> set[str]:
    listing = read_listing(storage)
    named: set[str] = set()
    for actions in read_entries(storage, (*listing.commits, *listing.compacted)):
        named.update(named_by(actions))
    for checkpoint in _needed(listing):
        named.update(_in_checkpoint(storage, checkpoint, engine))
    return named


def _needed(listing: Listing) -> tuple[Checkpoint, ...]:
    """Return the checkpoints that name files which no commit that is left names."""
    oldest = listing.checkpoints[:1]
    for enough in ((), oldest):
        try:
            segment(dataclasses.replace(listing, checkpoints=enough))
        except LakehouseError:
            continue
        return enough
    return listing.checkpoints


def _in_checkpoint(storage: Storage, checkpoint: Checkpoint, engine: Engine) -> Iterator[str]:
    base = read_checkpoint(storage, checkpoint, engine)
    # Of a large checkpoint, files are held nowhere but there.
    stored = None if base.stored is None else base.stored.raw(frozenset())
    for files in (base.files, stored):
        if files is not None:
            yield from names_in(files)
    yield from named_by(checkpoint_tombstones(storage, checkpoint, engine))


def names_in(files: pa.Table) -> Iterator[str]:
    """Yield the paths of files in rows of RAW, and of their vectors, as `leftovers` compares them."""
    for path, file in zip(files["path"].to_pylist(), files["file"].to_pylist(), strict=True):
        yield fold(path)
        if file != path:
            yield fold(file)
    for row in files["deletion_vector"].drop_null().to_pylist():
        vector = vector_from_row(row)
        if vector is not None:
            yield from named_by_vector(vector)
