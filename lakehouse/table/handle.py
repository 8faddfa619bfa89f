"""`Table`: the user's handle on one Delta table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from catalog import lazy
from catalog.errors import InputError
from catalog.storage import Storage
from lakehouse import table as verbs
from lakehouse.delta.schema.types import schema_to_arrow
from lakehouse.delta.snapshot import Snapshot, latest_version, load, load_latest, refresh
from lakehouse.duck.engine import Engine, Relation
from lakehouse.scan.read import Scanner
from lakehouse.table.background import Background
from lakehouse.table.followed import Followed
from lakehouse.table.pinned import PinnedTable, read
from lakehouse.table.tended import Tended
from lakehouse.table.tracking import Tracking

pa: Any = lazy.module("pyarrow")


class Table(Tracking, Followed, Tended):
    """Read, write and inspect one Delta table.

    Get it from `Lake.table` or `Lake.create_table`. Every call sees the newest version, unless
    told otherwise. A handle may be shared between threads.
    """

    def __init__(
        self,
        name: str,
        storage: Storage,
        engine: Engine,
        scanner: Scanner,
        background: Background,
        held: Callable[[str], Collection[int]] = lambda _: (),
    ) -> None:
        self._name = name
        self._storage = storage
        self._engine = engine
        self._scanner = scanner
        self._background = background
        self._held = held
        self._latest: Snapshot | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Table({self._name!r}, {self.uri!r})"

    @property
    def name(self) -> str:
        """Return the table's name, such as ``silver.flights``."""
        return self._name

    @property
    def uri(self) -> str:
        """Return where the table is: any engine that reads Delta can open this."""
        return self._storage.url()

    @property
    def version(self) -> int:
        """Return the newest version."""
        return self.snapshot().version

    @property
    def schema(self) -> pa.Schema:
        """Return the columns, as an Arrow schema; comments are field metadata."""
        return schema_to_arrow(self.snapshot().schema)

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Return the partition columns, in order."""
        return self.snapshot().partition_columns

    @property
    def properties(self) -> Mapping[str, str]:
        """Return the table's properties."""
        return self.snapshot().properties

    def append(
        self,
        rows: verbs.Rows,
        *,
        schema_mode: verbs.writing.AppendMode | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
        if_version: int | None = None,
    ) -> verbs.WriteReport:
        """Add rows in one commit.

        ``rows`` are an Arrow table or reader (read as a stream), a pandas or Polars frame, a
        DuckDB relation, or a list of dicts. Columns match by name; those that the rows lack
        become NULL. ``schema_mode`` says how the table may change to take them: ``"strict"``
        not at all, ``"add"`` by columns and struct fields that it lacks, ``"widen"`` also by
        wider types and by letting columns be NULL; default is the table's property
        ``lakehouse.schemaMode``, or strict. ``metadata`` is kept in the table's history.
        ``idempotency_key`` is a job's name and a number that grows, such as ``("daily-load",
        17)``: a second call with it, or with a smaller number, writes nothing and reports the
        first, so that a job may be tried again after any error. ``if_version`` is the version that
        the rows were computed from: ConflictError where the table was changed since.

        Raises DataError, with column, count and samples, for rows whose values would change or
        that break a constraint; the table is then as it was.
        """
        return self._done(
            verbs.writing.append(
                self.snapshot(),
                rows,
                engine=self._engine,
                scanner=self._scanner,
                schema_mode=schema_mode,
                metadata=metadata,
                key=verbs.parse_key(idempotency_key),
                if_version=if_version,
            )
        )

    def overwrite(
        self,
        rows: verbs.Rows,
        *,
        where: str | None = None,
        partitions: Literal["all", "dynamic"] = "all",
        schema_mode: verbs.writing.OverwriteMode | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
        if_version: int | None = None,
    ) -> verbs.WriteReport:
        """Replace all rows, or those for which ``where`` is true, in one commit.

        Takes what `append` takes; ``schema_mode="overwrite"`` replaces the columns as well.
        Earlier versions stay readable. With ``where``, a predicate as in `delete`, it must be
        true for every new row too: DataError, with count and samples, where it is not.
        ``partitions="dynamic"`` replaces the partitions that the rows are of, and no others.
        """
        return self._done(
            verbs.writing.overwrite(
                self.snapshot(),
                rows,
                engine=self._engine,
                scanner=self._scanner,
                where=where,
                partitions=partitions,
                schema_mode=schema_mode,
                metadata=metadata,
                key=verbs.parse_key(idempotency_key),
                if_version=if_version,
            )
        )

    def alter(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
    ) -> verbs.Alter:
        """Change columns, constraints, properties and the description: a commit a verb.

        ``metadata`` and ``idempotency_key`` are those of `append`, for the one verb that follows.

        >>> import tempfile, lakehouse
        >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
        ...     table = lake.create_table("silver.t", {"id": "INTEGER"})
        ...     report = table.alter().add_column("name", "VARCHAR", comment="as on the invoice")
        ...     report = table.alter().rename_column("name", "customer")
        ...     report = table.alter().change_type("id", "BIGINT")
        ...     table.schema.names, str(table.schema.field("id").type)
        (['id', 'customer'], 'int64')
        """
        target = verbs.Target(self.snapshot, self._remember, self._engine, self._scanner)
        return verbs.Alter(target, metadata=metadata, key=verbs.parse_key(idempotency_key))

    def restore(
        self,
        version: int | None = None,
        *,
        timestamp: datetime | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
    ) -> verbs.WriteReport:
        """Make an earlier version the newest again, in a commit of its own.

        ``metadata`` and ``idempotency_key`` are as in `append`. Raises StorageError where data
        files of that version are gone.
        """
        if (version is None) == (timestamp is None):
            raise InputError("restore needs a version or a timestamp, and not both")
        target = self.snapshot(version=version, timestamp=timestamp)
        return self._done(
            verbs.restoring.restore(
                self.snapshot(),
                target,
                engine=self._engine,
                metadata=metadata,
                key=verbs.parse_key(idempotency_key),
            )
        )

    def rewrite(
        self,
        paths: Collection[str],
        *,
        cluster_by: Sequence[str] = (),
        curve: verbs.clustering.Curve = "zorder",
        file_bytes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
    ) -> verbs.WriteReport:
        """Write the rows of live files anew, as few files, without changing any row.

        ``paths`` are those of `files`; they become one file a partition, or files of about
        ``file_bytes``. With ``cluster_by`` rows are sorted along a curve through these columns, so
        that a query for few of their values finds them in few files: ``"zorder"``, ``"hilbert"``,
        or ``"linear"``, by one after the other. Readers and writers go on meanwhile; where one of
        the files is gone by then, nothing is done. ``metadata`` and ``idempotency_key`` are as in
        `append`.
        """
        return self._done(
            verbs.rewriting.rewrite(
                self.snapshot(),
                paths,
                engine=self._engine,
                scanner=self._scanner,
                clustering=verbs.clustering.chosen(cluster_by, curve),
                file_bytes=file_bytes,
                metadata=metadata,
                key=verbs.parse_key(idempotency_key),
            )
        )

    def rewriter(self) -> verbs.rewriting.Rewriter:
        """Return what `rewrite` is made of, to write anew in steps of one's own."""
        return verbs.rewriting.Rewriter(self.snapshot, self._remember, self._engine, self._scanner)

    def read(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        version: int | None = None,
        timestamp: datetime | str | None = None,
    ) -> Relation:
        """Return rows as a lazy DuckDB relation: ``.to_arrow_table()``, ``.df()``, ``.pl()``.

        ``where`` is a SQL predicate; files that cannot hold a matching row are not opened.
        Raises NotFoundError for a column or version that does not exist.
        """
        snapshot = self.snapshot(version=version, timestamp=timestamp)
        return read(snapshot, self._name, self._scanner, columns=columns, where=where)

    def history(self, limit: int | None = None) -> list[verbs.Commit]:
        """Return the table's commits, newest first."""
        return verbs.timeline.history(self._storage, limit)

    def checkpoint(self) -> int:
        """Write a checkpoint of the newest version; return its bytes.

        Commits have one written in the background: every tenth, and more seldom where the table
        is large and commits are small, unless ``delta.checkpointInterval`` says when.
        """
        return verbs.write_checkpoint(self.snapshot(), self._engine)

    def held_versions(self) -> Collection[int]:
        """Return the versions that named snapshots and readers hold: nothing of them goes."""
        return self._held(self.snapshot().metadata.id)

    def files(
        self, *, version: int | None = None, timestamp: datetime | str | None = None
    ) -> pa.Table:
        """Return the live data files: path, size, rows, partition values, bounds, NULL counts."""
        snapshot = self.snapshot(version=version, timestamp=timestamp)
        return verbs.listing.files(snapshot, self._engine)

    def bounds(self, column: str) -> tuple[Any, Any]:
        """Return bounds of a column's values, from the table's log alone: no data file is read.

        No value is below the first or above the second; they need not occur themselves (texts
        and times are rounded, rows may have been deleted). None means unknown: not all files have
        statistics, or the column has no order. NaN is left out.
        """
        snapshot = self.snapshot()
        verbs.listing.select([column], snapshot, self._name)  # raises where there is none
        return verbs.listing.bounds(snapshot, column, self._engine)

    def detail(self) -> verbs.TableDetail:
        """Describe the table as it is now."""
        return verbs.listing.detail(self._name, self.snapshot(), self._engine)

    def to_deltalake(self, *, version: int | None = None) -> verbs.second_opinion.DeltaTable:
        """Return a handle of deltalake (delta-rs) on the same table, to read with.

        Writing through it gives up our guarantees against lost and duplicated rows.
        """
        return verbs.second_opinion.open_table(self._storage, version=version)

    def snapshot(
        self, *, version: int | None = None, timestamp: datetime | str | None = None
    ) -> Snapshot:
        """Return the table at a version or a time (default: now) as an immutable value."""
        if version is not None and timestamp is not None:
            raise InputError("a version or a timestamp selects a snapshot, not both")
        if timestamp is not None:
            version = verbs.timeline.version_at(self._refreshed(), timestamp)
        if version is None:
            return self._refreshed()
        if isinstance(version, bool) or not isinstance(version, int):
            raise InputError(f"a version is a whole number, not {version!r}")
        known = self._latest
        if known is not None and known.version == version:
            return known
        return load(self._storage, self._engine, version=version)

    def newest(self) -> Snapshot | int:
        """Return the newest snapshot, or only its version where the table was not read before."""
        return latest_version(self._storage) if self._latest is None else self._refreshed()

    def pinned(self, snapshot: Snapshot) -> PinnedTable:
        """Return the table as it is in a snapshot, to read only."""
        return PinnedTable(self._name, snapshot, self._engine, self._scanner)

    def _refreshed(self) -> Snapshot:
        with self._lock:
            if self._latest is None:
                self._latest = load_latest(self._storage, self._engine)
            else:
                self._latest = refresh(self._latest, self._engine)
            return self._latest

    def _done(self, outcome: tuple[Snapshot | None, verbs.WriteReport]) -> verbs.WriteReport:
        after, report = outcome
        self._remember(after)
        return report

    def _remember(self, snapshot: Snapshot | None) -> None:
        with self._lock:
            known = self._latest
            if snapshot is not None and (known is None or known.version < snapshot.version):
                self._latest = snapshot
        if snapshot is not None:
            self._background.committed(self._name, snapshot, self.held_versions)
