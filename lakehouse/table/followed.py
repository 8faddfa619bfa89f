"""`Followed`: what of a table's handle follows its changes."""

from __future__ import annotations

import abc
from datetime import datetime

from lakehouse import table as verbs
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine, Relation
from lakehouse.scan.names import changes_of
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef


class Followed(abc.ABC):
    """Give a table's changes to whoever follows it."""

    _name: str
    _engine: Engine
    _scanner: Scanner

    @abc.abstractmethod
    def snapshot(
        self, *, version: int | None = None, timestamp: datetime | str | None = None
    ) -> Snapshot:
        """Return the table at a version or a time (default: now) as an immutable value."""

    def changes(
        self, *, since: int | datetime | str, until: int | datetime | str | None = None
    ) -> Relation:
        """Return the rows that changed in a range of versions, as a lazy DuckDB relation.

        ``since`` and ``until`` are versions or times, both included; the default is the newest.
        Beside the columns of the last version stand ``_change_type`` (``insert``, ``delete``,
        ``update_preimage``, ``update_postimage``), ``_commit_version`` and ``_commit_timestamp``.
        The table must have recorded its changes (``delta.enableChangeDataFeed``) all the time.

        Raises InputError where it has not, NotFoundError where the log or files of the range are
        gone.

        >>> import lakehouse
        >>> feed = {"delta.enableChangeDataFeed": True}
        >>> lake = lakehouse.connect("lake")
        >>> table = lake.create_table("silver.watched", {"id": "BIGINT"}, properties=feed)
        >>> report = table.append([{"id": 1}, {"id": 2}])
        >>> report = table.delete("id = 1")
        >>> table.changes(since=2).select("id, _change_type, _commit_version").fetchall()
        [(1, 'delete', 2)]
        """
        place, name = "lakehouse", f"{self._name} changes"
        ref = TableRef(place, name, self._name, self.changed(since=since, until=until))
        return self._scanner.prepare(f"FROM {changes_of(place, name)}", [ref]).relation()

    def changed(
        self, *, since: int | datetime | str, until: int | datetime | str | None = None
    ) -> Snapshot:
        """Return the files that hold `changes`, as a snapshot with the feed's columns."""

        def at(version: int) -> Snapshot:
            return self.snapshot(version=version)

        return verbs.feed.read_feed(self.snapshot(), at, since=since, until=until).snapshot
