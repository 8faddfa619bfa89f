"""Delete the files that no version needs which is kept, or put them into the table's trash."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

from catalog.errors import InputError, NotFoundError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.entries import in_commit_timestamp, read_each, read_entries
from lakehouse.delta.features import is_on
from lakehouse.delta.in_commit import ENABLED
from lakehouse.delta.leftovers import Leftover, fold, leftovers, named_by
from lakehouse.delta.log import Listing, monotone_times, read_listing, segment
from lakehouse.delta.replay import checkpoint_tombstones
from lakehouse.delta.snapshot import Snapshot, load
from lakehouse.delta.vacuum import (
    IN_FLIGHT,
    RETENTION,
    Ages,
    oldest_kept,
    retention_of,
    unneeded,
)
from lakehouse.duck.engine import Engine
from lakehouse.table.cleaning import names_in, time_of, without_links
from lakehouse.table.reports import VacuumReport
from lakehouse.table.retention import check_cleanable
from lakehouse.table.trash import put_aside

_SHORTEST = timedelta(days=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Sweep:
    """Hold what nothing needs of a table, and what was known when that was found.

    ``listing`` is the log as it was then, and ``held`` are versions before ``oldest`` whose files
    were kept.
    """

    storage: Storage
    gone: tuple[Leftover, ...]
    oldest: int
    time: int
    held: tuple[int, ...]
    listing: Listing = dataclasses.field(repr=False)

    @property
    def bytes(self) -> int:
        """Return the size of all files together."""
        return sum(item.size for item in self.gone)


def find(
    snapshot: Snapshot,
    *,
    engine: Engine,
    retention: timedelta | None = None,
    keep_versions: Collection[int] = (),
    enforce_retention: bool = True,
    in_flight: timedelta = IN_FLIGHT,
) -> Sweep:
    """Find what nothing needs of a table, whose newest snapshot this is; see `Table.vacuum`."""
    check_cleanable(snapshot)
    storage = snapshot.storage
    kept_for = _retention(snapshot, retention, enforce=enforce_retention)
    # The files before the log: what a commit names in between is needed then.
    objects = list(storage.list(temporary=True))
    ages = Ages(time_of(storage, objects), kept_for, in_flight)
    listing = read_listing(storage)
    oldest, time = _oldest(snapshot, listing, int((ages.now - kept_for).timestamp() * 1000))
    held = tuple(sorted(version for version in {*keep_versions} if version < oldest))
    nothing = Sweep(storage, (), oldest, time, held, listing)
    if not any(item.modified < ages.now - kept_for for item in objects):
        return nothing
    live = {*_live(snapshot)}
    # Mostly, all that is old enough is live: then there is no need to read the log.
    if not leftovers(objects, live, now=ages.now, older_than=kept_for):
        return nothing
    needed = {*live}
    for version in (_readable(listing, oldest), *held):
        if version != snapshot.version:
            needed.update(_live(load(storage, engine, version=version)))
    removed: set[str] = set()
    entries = (*listing.commits, *listing.compacted)
    for entry, commits in zip(entries, read_each(storage, entries), strict=True):
        for actions in commits:
            if entry.version > oldest:
                needed.update(named_by(actions))
            removed.update(named_by(a for a in actions if not isinstance(a, act.AddFile)))
    for checkpoint in listing.checkpoints[:1]:
        removed.update(named_by(checkpoint_tombstones(storage, checkpoint, engine)))
    gone = unneeded(objects, needed=needed, removed=removed, ages=ages)
    return Sweep(storage, tuple(without_links(storage, gone)), oldest, time, held, listing)


def vacuum(
    found: Sweep,
    *,
    engine: Engine,
    keep_versions: Collection[int] = (),
    dry_run: bool = False,
    trash: bool = False,
) -> VacuumReport:
    """Delete what was found, less what has come to be needed since then.

    ``keep_versions`` are those that are held now.
    """
    storage, gone, run = found.storage, found.gone, None
    late = {v for v in keep_versions if v < found.oldest}.difference(found.held)
    if not dry_run and gone:
        # A restore may have brought files back, and a reader may have come.
        again = _since(storage, found.listing)
        for version in late:
            again.update(_live(load(storage, engine, version=version)))
        gone = tuple(item for item in gone if fold(item.path) not in again)
        run = put_aside(storage, gone) if trash else None
        storage.delete([item.path for item in gone])
    return VacuumReport(
        files=len(gone),
        bytes=sum(item.size for item in gone),
        deleted=gone,
        oldest_version=found.oldest,
        readable_since=datetime.fromtimestamp(found.time / 1000, UTC),
        held=tuple(sorted({*found.held, *late})),
        dry_run=dry_run,
        trash=run,
    )


def _retention(snapshot: Snapshot, asked: timedelta | None, *, enforce: bool) -> timedelta:
    own = retention_of(snapshot.properties)
    if asked is None:
        if own is None:
            raise InputError(
                f"{RETENTION} is {snapshot.properties[RETENTION]!r}, which is no interval",
                next_step="Set it to an interval such as 'interval 7 days', or pass retention",
            )
        return own  # whoever set it has decided
    if asked < timedelta(0):
        raise InputError(f"retention is {asked}", next_step="Pass a positive timedelta")
    if enforce and asked < _SHORTEST:
        raise InputError(
            f"a retention of {asked} takes files from under readers and writers that are at work",
            next_step="Keep files for a day at least, or pass enforce_retention=False if nobody "
            "else uses the table",
        )
    return asked


def _oldest(snapshot: Snapshot, listing: Listing, cutoff: int) -> tuple[int, int]:
    """Return the oldest version that is kept, and its time.

    By the times of the log's files and, where commits have times of their own, by those too: a
    writer's clock may be wrong, and then the later time counts.
    """
    times = dict(
        zip(
            (commit.version for commit in listing.commits),
            monotone_times(listing.commits),
            strict=True,
        )
    )
    if is_on(snapshot.properties, ENABLED):
        for version in times:
            own = in_commit_timestamp(snapshot.storage, version)
            times[version] = max(times[version], own or 0)
    found = oldest_kept(sorted(times.items()), cutoff)
    if found is None:  # nothing but a checkpoint is left
        return snapshot.version, snapshot.timestamp
    return found, times[found]


def _readable(listing: Listing, oldest: int) -> int:
    """Return the first version from the oldest on that the log still holds."""
    checkpoints = (c.version for c in listing.checkpoints if c.version > oldest)
    for version in (oldest, *sorted(checkpoints)):
        try:
            segment(listing, version)
        except NotFoundError:
            continue
        return version
    return segment(listing).version


def _live(snapshot: Snapshot) -> Iterator[str]:
    files = snapshot.files
    yield from names_in(files.held)
    if files.stored is not None:
        yield from names_in(files.stored.raw(files.gone))


def _since(storage: Storage, listing: Listing) -> set[str]:
    start = 0 if listing.latest is None else listing.latest + 1
    later = read_listing(storage, start=start)
    fresh = [commit for commit in later.commits if commit.version >= start]
    return {name for actions in read_entries(storage, fresh) for name in named_by(actions)}
