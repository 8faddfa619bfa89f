"""`Tended`: what of a table's handle cleans up behind it."""

from __future__ import annotations

import abc
from collections.abc import Collection
from datetime import datetime, timedelta

from catalog.storage import Storage
from lakehouse import table as verbs
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.vacuum import WEEK
from lakehouse.duck.engine import Engine


class Tended(abc.ABC):
    """Delete log entries and files that nobody needs any more."""

    _storage: Storage
    _engine: Engine

    @abc.abstractmethod
    def snapshot(
        self, *, version: int | None = None, timestamp: datetime | str | None = None
    ) -> Snapshot:
        """Return the table at a version or a time (default: now) as an immutable value."""

    @abc.abstractmethod
    def held_versions(self) -> Collection[int]:
        """Return the versions that named snapshots and readers hold: nothing of them goes."""

    def expire_log(
        self, *, keep_versions: Collection[int] = (), dry_run: bool = False
    ) -> verbs.ExpireReport:
        """Delete log entries older than ``delta.logRetentionDuration`` (30 days).

        They go only where a checkpoint, read before, makes up for them; ``keep_versions``, those
        that are held, and all versions after the oldest of them stay readable. Happens by itself
        after checkpoints, unless ``delta.enableExpiredLogCleanup`` is false. ``dry_run`` deletes
        nothing.
        """
        snapshot = self.snapshot()
        kept = {*keep_versions, *self.held_versions()}
        return verbs.retention.expire_log(
            snapshot, engine=self._engine, keep_versions=kept, dry_run=dry_run
        )

    def vacuum(
        self,
        *,
        retention: timedelta | None = None,
        keep_versions: Collection[int] = (),
        dry_run: bool = False,
        trash: bool = False,
        enforce_retention: bool = True,
    ) -> verbs.VacuumReport:
        """Delete the files that no version needs which is kept.

        Kept are the newest version and those that were current within ``retention`` (default: the
        table's ``delta.deletedFileRetentionDuration``, else a week), those that named snapshots and
        readers hold, and ``keep_versions``: all their files, deletion vectors and change files stay.
        Files that no version names go once they are older than that, and than a day: they may
        belong to a writer at work. Nothing outside of the table is touched, and no link followed.

        ``trash`` moves the files into the table's trash, from which `undo_vacuum` brings them back,
        instead of deleting them. ``dry_run`` says what would go. Versions before the oldest that
        the report names can be listed, and not be read, afterwards.

        Raises InputError for a retention below a day, unless ``enforce_retention`` is false:
        readers and writers that are at work may need those files.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table("silver.swept", {"id": "BIGINT"})
        >>> report = table.append([{"id": 1}])
        >>> report = table.overwrite([{"id": 2}])
        >>> table.vacuum(dry_run=True).files
        0
        """
        kept = {*keep_versions, *self.held_versions()}
        found = verbs.vacuuming.find(
            self.snapshot(),
            engine=self._engine,
            retention=retention,
            keep_versions=kept,
            enforce_retention=enforce_retention,
        )
        return verbs.vacuuming.vacuum(
            found, engine=self._engine, keep_versions=kept, dry_run=dry_run, trash=trash
        )

    def plan_vacuum(self) -> verbs.vacuuming.Sweep:
        """Return what `vacuum` would delete, for `vacuum_as_planned`: files are listed once."""
        kept = self.held_versions()
        return verbs.vacuuming.find(self.snapshot(), engine=self._engine, keep_versions=kept)

    def vacuum_as_planned(self, found: verbs.vacuuming.Sweep) -> verbs.VacuumReport:
        """Delete what was found before, less what has come to be needed since then."""
        kept = self.held_versions()
        return verbs.vacuuming.vacuum(found, engine=self._engine, keep_versions=kept)

    def trash(self) -> tuple[str, ...]:
        """Return the vacuums whose files are in the trash, oldest first."""
        return verbs.trash.runs(self._storage)

    def undo_vacuum(self, run: str) -> verbs.TrashReport:
        """Bring back the files that a vacuum put into the trash: the name that its report has.

        Versions that need them can be read again.
        """
        return verbs.trash.undo(self._storage, run)

    def empty_trash(self, *, older_than: timedelta = WEEK) -> verbs.TrashReport:
        """Delete for good what vacuums put into the trash longer ago."""
        return verbs.trash.empty(self._storage, older_than=older_than)

    def leftovers(self, *, older_than: timedelta = WEEK) -> tuple[verbs.Leftover, ...]:
        """Return the files in the table's folder that dead writers left: path, size, age, why.

        These are data, change data and deletion vector files that no version in the log names,
        and temporary files.
        """
        return verbs.cleaning.find(self.snapshot(), engine=self._engine, older_than=older_than)

    def collect_leftovers(
        self, *, older_than: timedelta = WEEK, dry_run: bool = False
    ) -> verbs.CollectReport:
        """Delete the `leftovers`.

        A file younger than ``older_than`` may belong to a writer that is still at work: choose
        more than the longest write takes.
        """
        return verbs.cleaning.collect(
            self.snapshot(), engine=self._engine, older_than=older_than, dry_run=dry_run
        )
