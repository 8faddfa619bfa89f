"""`Followed`: what of a table's handle follows its changes."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from datetime import datetime

from lakehouse import table as verbs
from lakehouse.delta.change_data import CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine, Relation
from lakehouse.duck.sql import identifier, literal
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

    def consume(
        self,
        name: str,
        *,
        into: Followed | None = None,
        start: verbs.Start = "snapshot",
        most_versions: int | None = None,
    ) -> Iterator[verbs.Batch]:
        """Yield batches of changes to a named consumer, from where it stands to the newest version.

        A new consumer gets the table as it is first (``start="snapshot"``), or only what changes
        from now on (``"now"``), or the changes since a version. When the body of the loop has
        finished, the batch is done; where it is left by an error or ``break``, or the process
        dies, the same batch comes again. Pass ``batch.key`` as ``idempotency_key`` of the one
        write that a batch leads to, and it is written once.

        ``into`` is the table that the batches are written to: it then keeps the position itself,
        in the same commit as the rows. One process at a time may consume under a name: another
        one gets ConflictError. ``most_versions`` bounds a batch.

        >>> import lakehouse
        >>> feed = {"delta.enableChangeDataFeed": True}
        >>> lake = lakehouse.connect("lake")
        >>> table = lake.create_table("silver.followed", {"id": "BIGINT"}, properties=feed)
        >>> report = table.append([{"id": 1}])
        >>> copy = lake.create_table("gold.copy", {"id": "BIGINT"})
        >>> for batch in table.consume("copier", into=copy):
        ...     report = copy.append(batch.rows().select("id"), idempotency_key=batch.key)
        >>> report = table.append([{"id": 2}])
        >>> for batch in table.consume("copier", into=copy):
        ...     print(batch)
        ...     report = copy.append(batch.rows().select("id"), idempotency_key=batch.key)
        Batch(changes of versions 2 to 2)
        >>> sorted(copy.read().fetchall())
        [(1,), (2,)]
        """
        source = verbs.consuming.Source(
            newest=self.snapshot,
            whole=self._as_inserts,
            changes=lambda first, last: self.changes(since=first, until=last),
        )
        return verbs.consuming.consume(
            source, name, into=into, start=start, most_versions=most_versions
        )

    def consumers(self) -> tuple[verbs.Consumer, ...]:
        """Return the consumers whose position is kept beside this table, by name."""
        return verbs.positions.consumers(self.snapshot().storage)

    def reset_consumer(self, name: str, *, version: int | None = None) -> verbs.Consumer:
        """Let a consumer begin again, or go on with the changes after ``version``.

        A consumer ``into`` a table stands where that table says; give it another name instead.
        """
        positions = verbs.positions.Positions(self.snapshot().storage, name)
        return positions.reset(0 if version is None else version + 1)

    def mark(self, key: tuple[str, int]) -> verbs.WriteReport:
        """Write an idempotency key alone: what comes with it, or a smaller number, is done."""
        _, report = verbs.idempotency.written_once(
            self.snapshot(),
            lambda _: None,
            key=verbs.parse_key(key),
            operation="mark",
            engine=self._engine,
        )
        return report

    def _as_inserts(self, version: int) -> Relation:
        """Return all rows of a version, as if they had been inserted by it."""
        snapshot = self.snapshot(version=version)
        ref = TableRef("lakehouse", self._name, self._name, snapshot)
        time = literal(snapshot.time.isoformat())
        sql = (
            f"SELECT *, 'insert' AS {CHANGE_TYPE}, {version}::BIGINT AS {COMMIT_VERSION}, "
            f"{time}::TIMESTAMPTZ AS {COMMIT_TIMESTAMP} FROM lakehouse.{identifier(self._name)}"
        )
        return self._scanner.prepare(sql, [ref]).relation()

    def changed(
        self, *, since: int | datetime | str, until: int | datetime | str | None = None
    ) -> Snapshot:
        """Return the files that hold `changes`, as a snapshot with the feed's columns."""

        def at(version: int) -> Snapshot:
            return self.snapshot(version=version)

        return verbs.feed.read_feed(self.snapshot(), at, since=since, until=until).snapshot
