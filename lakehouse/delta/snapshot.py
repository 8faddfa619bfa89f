"""A table at one version: an immutable value, the entry to reading and to writing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

from catalog.errors import CorruptionError, LakehouseError, NotFoundError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta import log
from lakehouse.delta.entries import in_commit_timestamp, read_entries
from lakehouse.delta.features import is_on
from lakehouse.delta.files.bulk import Bulk, read_all
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.in_commit import ENABLED
from lakehouse.delta.paths import check_file_path
from lakehouse.delta.protocol import check_readable
from lakehouse.delta.replay import Base, Tail, nothing, read_checkpoint, replay
from lakehouse.delta.schema.fields import Struct, schema_from_json
from lakehouse.delta.soundness import check_once
from lakehouse.duck.engine import Engine


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Hold a table's state at ``version``.

    ``written`` is the commit's time, as far as it is known without asking for it.
    """

    storage: Storage
    version: int
    written: int | None
    protocol: act.Protocol
    metadata: act.Metadata
    files: FileIndex
    transactions: Mapping[str, act.Transaction]
    domains: Mapping[str, act.DomainMetadata]
    checkpoint_version: int | None

    @cached_property
    def timestamp(self) -> int:
        """Return the commit's time in milliseconds since the epoch.

        It is the in-commit timestamp where the table has them, else the log file's modification
        time (protocol, "In-Commit Timestamps"), which a request may have to ask for.
        """
        if self.written is not None:
            return self.written
        found = self.storage.head(log.commit_path(self.version))
        return 0 if found is None else found.millis

    @cached_property
    def contained(self) -> set[str]:
        """Return which choices of files (SQL over the index) are known to lie inside the root."""
        return set()

    @cached_property
    def choices(self) -> dict[str, Any]:
        """Return the few files that are known already to be chosen (SQL), as Arrow tables."""
        return {}

    @cached_property
    def answers(self) -> dict[str, Any]:
        """Return what is known already of questions (SQL over the index), as Arrow tables."""
        return {}

    @property
    def schema(self) -> Struct:
        """Return the table's schema."""
        return self.files.layout.schema

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """Return the partition columns' names, in order."""
        return self.files.layout.partition_columns

    @cached_property
    def properties(self) -> Mapping[str, str]:
        """Return the table's properties."""
        return self.metadata.configuration

    @property
    def time(self) -> datetime:
        """Return the commit's time in UTC."""
        return datetime.fromtimestamp(self.timestamp / 1000, UTC)


def load(
    storage: Storage, engine: Engine, *, version: int | None = None, start: int = 0
) -> Snapshot:
    """Read the table at ``storage`` at a version (None: the newest).

    ``start`` may name a version known to have a checkpoint, so that the listing is short.
    Raises NotFoundError where there is no such version or no Delta table at all, CorruptionError
    for a log that cannot be trusted, UnsupportedError, by feature name, for a table that this
    release must not read. A damaged checkpoint is passed over where the log is still complete.
    """
    listing = log.read_listing(storage, start=start)
    if start and not listing.checkpoints:
        listing, start = log.read_listing(storage), 0
    return _load(storage, engine, listing, version=version, start=start)


def load_latest(storage: Storage, engine: Engine) -> Snapshot:
    """Read the newest version.

    A log that one request does not list is listed from the checkpoint on that
    ``_last_checkpoint`` names.
    """
    listing = log.read_whole_listing(storage)
    if listing is None:
        return load(storage, engine, start=log.read_hint(storage) or 0)
    return _load(storage, engine, listing)


def latest_version(storage: Storage) -> int:
    """Return the newest version's number by a look at the log's names alone.

    Raises NotFoundError where there is no Delta table.
    """
    listing = log.read_whole_listing(storage)
    if listing is None:
        listing = log.read_listing(storage, start=log.read_hint(storage) or 0)
    if listing.latest is None:
        raise _no_table(storage)
    return listing.latest


def _load(
    storage: Storage,
    engine: Engine,
    listing: log.Listing,
    *,
    version: int | None = None,
    start: int = 0,
) -> Snapshot:
    if listing.latest is None:
        raise _no_table(storage)
    unusable: set[tuple[str, ...]] = set()
    first_error: LakehouseError | None = None
    while True:
        try:
            segment = log.segment(listing, version, unusable=frozenset(unusable))
        except LakehouseError as error:
            if start:
                # An older checkpoint, or the whole log, may still do.
                listing, start = log.read_listing(storage), 0
                continue
            raise first_error or error from error
        # Where each request takes its time, commits come while the checkpoint is read.
        commits = read_all(storage, segment.commits, engine)
        if segment.checkpoint is None:
            return _build(storage, engine, segment, nothing(), commits)
        try:
            base = read_checkpoint(storage, segment.checkpoint, engine)
            if base.tail.metadata is None or base.tail.protocol is None:
                raise CorruptionError(
                    f"the checkpoint of version {segment.checkpoint.version} lacks its metadata"
                )
        except LakehouseError as error:
            first_error = first_error or error
            unusable.add(segment.checkpoint.paths)
            continue
        return _build(storage, engine, segment, base, commits)


def _no_table(storage: Storage) -> NotFoundError:
    return NotFoundError(
        f"{storage.uri} is not a Delta table: it has no {log.LOG} folder with commits",
        next_step="Check the location; load files with lakehouse load",
    )


def refresh(snapshot: Snapshot, engine: Engine) -> Snapshot:
    """Return the newest snapshot, reading only the commits after this one."""
    stored = snapshot.files.stored
    base = snapshot.checkpoint_version or 0
    # Files that were left in the checkpoint are to be there still.
    start = snapshot.version + 1 if stored is None else base
    listing = log.read_listing(snapshot.storage, start=start)
    if stored is not None:
        standing = {path for checkpoint in listing.checkpoints for path in checkpoint.paths}
        newest = max((checkpoint.version for checkpoint in listing.checkpoints), default=base)
        if stored.path not in standing or newest > base:
            return load_latest(snapshot.storage, engine)
    commits = tuple(commit for commit in listing.commits if commit.version > snapshot.version)
    if listing.latest is None or listing.latest <= snapshot.version:
        return snapshot
    if [commit.version for commit in commits] != list(
        range(snapshot.version + 1, listing.latest + 1)
    ):
        return load_latest(snapshot.storage, engine)
    bodies = [*read_entries(snapshot.storage, commits)]
    return advance(snapshot, bodies, modified=commits[-1].modified, engine=engine)


def advance(
    snapshot: Snapshot, commits: list[list[act.Action]], *, modified: int | None, engine: Engine
) -> Snapshot:
    """Return the snapshot after further commits, without reading anything."""
    tail = replay(commits)
    metadata = tail.metadata or snapshot.metadata
    protocol = tail.protocol or snapshot.protocol
    check_readable(protocol)
    if metadata == snapshot.metadata:
        files = snapshot.files.changed(adds=tail.adds, gone=tail.gone, engine=engine)
    else:
        untyped = snapshot.files.with_layout(layout_of(metadata))
        files = untyped.changed(adds=tail.adds, gone=tail.gone, engine=engine)
    _check_tail(tail, snapshot.files, files)
    return Snapshot(
        storage=snapshot.storage,
        version=snapshot.version + len(commits),
        written=_timestamp(tail, metadata, modified),
        protocol=protocol,
        metadata=metadata,
        files=files,
        transactions={**snapshot.transactions, **tail.transactions},
        domains={**snapshot.domains, **tail.domains},
        checkpoint_version=snapshot.checkpoint_version,
    )


def _build(
    storage: Storage,
    engine: Engine,
    segment: log.Segment,
    base: Base,
    commits: Iterable[list[act.Action] | Bulk],
) -> Snapshot:
    tail = replay(commits)
    metadata = tail.metadata or base.tail.metadata
    protocol = tail.protocol or base.tail.protocol
    if metadata is None or protocol is None:
        missing = "metadata" if metadata is None else "protocol"
        raise CorruptionError(
            f"{storage.uri} is not a readable Delta table: its log holds no {missing} action",
            next_step=f"Restore {log.commit_path(0)} from a backup",
        )
    check_readable(protocol)
    tail = _with_time(tail, storage, segment, metadata)
    old = FileIndex(base.files, layout_of(metadata), base.stored)
    files = old.changed(adds=tail.adds, gone=tail.gone, bulk=tail.bulk, engine=engine)
    _check_tail(tail, old, files)
    return Snapshot(
        storage=storage,
        version=segment.version,
        written=_timestamp(tail, metadata, segment.modified),
        protocol=protocol,
        metadata=metadata,
        files=files,
        transactions={**base.tail.transactions, **tail.transactions},
        domains={**base.tail.domains, **tail.domains},
        checkpoint_version=None if segment.checkpoint is None else segment.checkpoint.version,
    )


def layout_of(metadata: act.Metadata) -> Layout:
    """Return the layout of the file index of a table with this metadata."""
    return _layout(metadata.schema_string, metadata.partition_columns)


@lru_cache(maxsize=64)
def _layout(schema: str, partition_columns: tuple[str, ...]) -> Layout:
    layout = Layout(schema_from_json(schema), partition_columns)
    _ = layout.partitions  # raises where they are not in the schema
    return layout


def _timestamp(tail: Tail, metadata: act.Metadata, modified: int | None) -> int | None:
    if is_on(metadata.configuration, ENABLED) and tail.in_commit_timestamp is not None:
        return tail.in_commit_timestamp
    return modified


def _with_time(tail: Tail, storage: Storage, segment: log.Segment, metadata: act.Metadata) -> Tail:
    """Return the tail with the commit's own time: a checkpoint or a compacted file has none."""
    if tail.in_commit_timestamp is not None or not is_on(metadata.configuration, ENABLED):
        return tail
    own = in_commit_timestamp(storage, segment.version)
    return dataclasses.replace(tail, in_commit_timestamp=own)


def _check_tail(tail: Tail, base: FileIndex, files: FileIndex) -> None:
    """Check the paths of new files, and that none of them is live beside them."""
    for add in tail.adds:
        check_file_path(add.path)
    if any(add.deletion_vector for add in tail.adds) or (tail.adds and base.has_deletion_vectors):
        names = {add.key[0] for add in tail.adds}
        check_once(files.find(names).held["file"], where="the log")
