"""The verbs of a table's handle that change single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Unpack, overload

from lakehouse import table as verbs
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner


class Changing:
    """Update, merge and delete rows; `lakehouse.table.handle.Table` is one."""

    _engine: Engine
    _scanner: Scanner

    def update(
        self,
        set: Mapping[str, Any],  # noqa: A002 - as SQL says it
        *,
        where: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
        dry_run: bool = False,
    ) -> verbs.ChangeReport:
        """Set columns of the rows for which ``where`` is true (default: all), in one commit.

        Values are SQL expressions over the row as it was, or other Python values; a text that is
        no SQL is wrapped: ``lakehouse.lit("text")``. Columns that are computed from others follow.
        Files without a matching row are not touched. ``dry_run`` writes nothing and says what
        would be. Raises DataError, with column, count and samples, for values that do not fit
        their column or break a constraint; the table is then as it was.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table(
        ...     "silver.prices", {"id": "BIGINT", "n": "INTEGER"}
        ... )
        >>> report = table.append([{"id": 1, "n": 10}, {"id": 2, "n": 20}])
        >>> table.update({"n": "n + 1"}, where="id = 2").rows_updated
        1
        >>> table.read().order("id").fetchall()
        [(1, 10), (2, 21)]
        """
        clause = verbs.Clause("matched", "update", where, dict(set))
        return self._changed(
            verbs.merging.merge(
                self.snapshot(),
                None,
                verbs.Merge((clause,)),
                verbs.merging.Terms(
                    "update", metadata, verbs.parse_key(idempotency_key), "strict", dry_run
                ),
                engine=self._engine,
                scanner=self._scanner,
            )
        )

    @overload
    def merge(
        self,
        source: verbs.Rows,
        on: str | Sequence[str],
        **options: Unpack[verbs.MergeOptions],
    ) -> verbs.MergeBuilder: ...
    @overload
    def merge(
        self,
        source: verbs.Rows,
        on: str | Sequence[str],
        *,
        matched: verbs.Matched,
        not_matched: verbs.NotMatched | None = None,
        not_matched_by_source: verbs.NotMatchedBySource | None = None,
        **options: Unpack[verbs.MergeOptions],
    ) -> verbs.ChangeReport: ...
    @overload
    def merge(
        self,
        source: verbs.Rows,
        on: str | Sequence[str],
        *,
        not_matched: verbs.NotMatched,
        not_matched_by_source: verbs.NotMatchedBySource | None = None,
        **options: Unpack[verbs.MergeOptions],
    ) -> verbs.ChangeReport: ...
    @overload
    def merge(
        self,
        source: verbs.Rows,
        on: str | Sequence[str],
        *,
        not_matched_by_source: verbs.NotMatchedBySource,
        **options: Unpack[verbs.MergeOptions],
    ) -> verbs.ChangeReport: ...
    def merge(
        self,
        source: verbs.Rows,
        on: str | Sequence[str],
        *,
        matched: verbs.Matched | None = None,
        not_matched: verbs.NotMatched | None = None,
        not_matched_by_source: verbs.NotMatchedBySource | None = None,
        deduplicate: str | None = None,
        null_safe: bool = False,
        schema_mode: verbs.writing.AppendMode | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
        dry_run: bool = False,
        if_version: int | None = None,
        aliases: tuple[str, str] = ("t", "s"),
    ) -> verbs.MergeBuilder | verbs.ChangeReport:
        """Merge rows into the table in one commit: by keywords at once, or by clauses that follow.

        ``matched="update"`` or ``"delete"``, ``not_matched="insert"`` and
        ``not_matched_by_source="delete"`` say what becomes of rows on both sides, of the source
        only, and of the table only; what is left out stays as it is. Updates and inserts take all
        columns that the source has. With any of these the merge runs, and its report is returned.
        Without, it waits for clauses with conditions and expressions.

        ``source`` is whatever `append` takes; it is kept, and spilled where it is large, so that a
        stream may be given. ``on`` is a column that both have, several, or a condition such as
        ``"t.id = s.id AND t.day >= DATE '2024-01-01'"`` (``aliases`` names both otherwise). By
        the rules of SQL, NULL matches nothing, unless ``null_safe`` is set (for columns by name).
        Where several source rows would update one row, DataError says which; ``deduplicate`` keeps
        one of each key before: ``"latest by ts"``, ``"first by ts"``, ``"any"``. Source rows that
        match none are inserted each for itself, as in SQL and Spark: see `upsert` for keys that
        must stand once. A row that several source rows delete is deleted.

        ``schema_mode`` is that of `append`, for columns that are taken from the source by name.
        ``dry_run`` writes nothing and says what would be. ``if_version`` and the rest are as in
        `append`.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table(
        ...     "silver.stock", {"id": "BIGINT", "n": "INTEGER"}
        ... )
        >>> report = table.append([{"id": 1, "n": 10}, {"id": 2, "n": 20}])
        >>> report = (
        ...     table.merge([{"id": 2, "n": 5}, {"id": 3, "n": 7}], on="id")
        ...     .when_matched_update({"n": "t.n + s.n"})
        ...     .when_not_matched_insert()
        ...     .run()
        ... )
        >>> report.rows_updated, report.rows_inserted
        (1, 1)
        >>> table.read().order("id").fetchall()
        [(1, 10), (2, 25), (3, 7)]
        >>> rows = [{"id": 2, "n": 1}, {"id": 4, "n": 2}]
        >>> report = table.merge(
        ...     rows,
        ...     on="id",
        ...     matched="update",
        ...     not_matched="insert",
        ...     not_matched_by_source="delete",
        ... )
        >>> report.rows_updated, report.rows_inserted, report.rows_deleted
        (1, 1, 2)
        """
        builder = verbs.MergeBuilder(
            target=verbs.Target(self.snapshot, self._remember, self._engine, self._scanner),
            rows=source,
            on=verbs.parse_on(on),
            terms=verbs.merging.Terms(
                "merge",
                metadata,
                verbs.parse_key(idempotency_key),
                schema_mode,
                dry_run,
                if_version,
            ),
            sourcing=verbs.Sourcing(deduplicate),
            null_safe=null_safe,
            aliases=aliases,
            clauses=verbs.parse_clauses(
                matched=matched,
                not_matched=not_matched,
                not_matched_by_source=not_matched_by_source,
            ),
        )
        return builder.run() if builder.clauses else builder

    def upsert(
        self,
        rows: verbs.Rows,
        *,
        key: str | Sequence[str],
        deduplicate: str | None = None,
        null_safe: bool = False,
        schema_mode: verbs.writing.AppendMode | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
        dry_run: bool = False,
    ) -> verbs.ChangeReport:
        """Update the rows whose key is there already, and insert the others, in one commit.

        ``key`` are one or more columns; each key may stand in ``rows`` once (or ``deduplicate``
        them, as in `merge`) and must not be NULL, unless ``null_safe`` lets NULL match NULL: so
        that a second upsert of the same rows changes nothing more. Columns that the rows lack
        stay as they are. The rest is as in `merge`.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table(
        ...     "silver.users", {"id": "BIGINT", "name": "VARCHAR"}
        ... )
        >>> rows = [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}]
        >>> table.upsert(rows, key="id").rows_inserted
        2
        >>> table.upsert(rows[:1], key="id").rows_updated
        1
        """
        clauses = (verbs.Clause("matched", "update"), verbs.Clause("not matched", "insert"))
        return self._changed(
            verbs.merging.merge(
                self.snapshot(),
                rows,
                verbs.Merge(clauses, verbs.parse_names(key), null_safe),
                verbs.merging.Terms(
                    "upsert", metadata, verbs.parse_key(idempotency_key), schema_mode, dry_run
                ),
                engine=self._engine,
                scanner=self._scanner,
                sourcing=verbs.Sourcing(deduplicate, is_keyed=True),
            )
        )

    def deduplicate(
        self,
        *,
        key: str | Sequence[str],
        keep: str = "any",
        null_safe: bool = False,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
        dry_run: bool = False,
    ) -> verbs.ChangeReport:
        """Delete all but one of the rows with the same key, in one commit.

        ``keep`` is ``"latest by ts"``, ``"first by ts"`` (NULL comes last) or ``"any"``; of rows
        that are equal by that, one stays. NULL is no key, unless ``null_safe`` is set. The rest
        is as in `update`.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table(
        ...     "silver.seen", {"id": "BIGINT", "ts": "BIGINT"}
        ... )
        >>> report = table.append([{"id": 1, "ts": 1}, {"id": 1, "ts": 2}, {"id": 2, "ts": 1}])
        >>> table.deduplicate(key="id", keep="latest by ts").rows_deleted
        1
        >>> table.read().order("id").fetchall()
        [(1, 2), (2, 1)]
        """
        kept = verbs.parse_keep(keep)
        repeated = verbs.Repeated(verbs.parse_names(key), kept.column, kept.descending, null_safe)
        return self._changed(
            verbs.merging.merge(
                self.snapshot(),
                None,
                verbs.Merge((verbs.Clause("matched", "delete"),), repeated=repeated),
                verbs.merging.Terms(
                    "deduplicate", metadata, verbs.parse_key(idempotency_key), "strict", dry_run
                ),
                engine=self._engine,
                scanner=self._scanner,
            )
        )

    def delete(
        self,
        where: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
    ) -> verbs.WriteReport:
        """Delete the rows for which a SQL predicate is true, in one commit.

        Rows for which it is NULL stay. Files in which no row matches are not touched; those of
        which all rows match, whole partitions for example, are dropped unread. The current time
        in a predicate is that of the call. Raises InputError for a predicate with a subquery or
        with functions such as ``random()``, and for append-only tables.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table("silver.orders", {"id": "BIGINT"})
        >>> report = table.append([{"id": 1}, {"id": 2}, {"id": None}])
        >>> table.delete("id < 2").rows_deleted
        1
        >>> table.read().fetchall()
        [(2,), (None,)]
        """
        after, report = verbs.deleting.delete(
            self.snapshot(),
            where,
            engine=self._engine,
            scanner=self._scanner,
            metadata=metadata,
            key=verbs.parse_key(idempotency_key),
        )
        self._remember(after)
        return report

    def snapshot(
        self, *, version: int | None = None, timestamp: datetime | str | None = None
    ) -> Snapshot:
        """Return the table at a version or a time (default: now) as an immutable value."""
        raise NotImplementedError

    def _remember(self, snapshot: Snapshot | None) -> None:
        raise NotImplementedError

    def _changed(self, outcome: tuple[Snapshot | None, verbs.ChangeReport]) -> verbs.ChangeReport:
        after, report = outcome
        self._remember(after)
        return report
