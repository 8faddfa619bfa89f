"""`Tracking`: the verbs of a table's handle that take what changed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse import table as verbs
from lakehouse.table.changing import Changing


class Tracking(Changing):
    """Apply changes of another system, and keep the history of rows."""

    def apply_changes(
        self,
        rows: verbs.Rows,
        *,
        key: str | Sequence[str],
        sequence: str,
        deletes: str | None = None,
        tombstone: str | None = "_deleted",
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
    ) -> verbs.ChangeReport:
        """Apply events of a change feed, such as Debezium's, in one commit.

        Of each ``key`` the event with the greatest ``sequence`` holds: a column of rows and table
        alike that grows with each change of a key. Events may come in any order, in any batches,
        and again. ``deletes`` is a condition over the rows, such as ``"op = 'd'"``; columns that
        it needs and the table lacks are not stored.

        A deleted key stays in the table as a row without values, in which ``tombstone`` is true,
        so that an older event which comes late does not bring it back: read with ``where="_deleted
        IS NOT TRUE"``, and delete tombstones that are older than your latest event. The column is
        added, in a commit of its own, where the table lacks it. ``tombstone=None`` removes the
        rows instead, for feeds whose events never come late.

        Raises DataError for a key or sequence that is NULL, and where two events of one key differ
        and have the same sequence.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table(
        ...     "silver.accounts", {"id": "BIGINT", "name": "VARCHAR", "lsn": "BIGINT"}
        ... )
        >>> events = [
        ...     {"op": "c", "id": 1, "name": "Ada", "lsn": 10},
        ...     {"op": "d", "id": 1, "name": None, "lsn": 12},
        ...     {"op": "c", "id": 2, "name": "Grace", "lsn": 11},
        ... ]
        >>> report = table.apply_changes(events, key="id", sequence="lsn", deletes="op = 'd'")
        >>> late = [{"op": "u", "id": 1, "name": "Ada L.", "lsn": 11}]
        >>> report = table.apply_changes(late, key="id", sequence="lsn", deletes="op = 'd'")
        >>> table.read(columns=["id", "name"], where="_deleted IS NOT TRUE").fetchall()
        [(2, 'Grace')]
        """
        if tombstone is not None and not _has(self, tombstone):
            if deletes is None:
                tombstone = None
            else:
                self.alter().add_column(tombstone, "BOOLEAN", if_not_exists=True)
        return self._changed(
            verbs.applying.apply_changes(
                self.snapshot(),
                rows,
                verbs.applying.Applying(verbs.parse_names(key), sequence, deletes, tombstone),
                verbs.merging.Terms("apply_changes", metadata, verbs.parse_key(idempotency_key)),
                engine=self._engine,
                scanner=self._scanner,
            )
        )

    def scd2(
        self,
        rows: verbs.Rows,
        *,
        key: str | Sequence[str],
        track: str | Sequence[str] | None = None,
        effective: str,
        valid_from: str = "valid_from",
        valid_to: str = "valid_to",
        current: str = "current",
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
    ) -> verbs.ChangeReport:
        """Keep the history of rows (slowly changing dimension, type 2), in one commit.

        Each row says what holds of its ``key`` from its ``effective`` time on. The table has a row
        for each period: from ``valid_from`` (included) to ``valid_to`` (excluded, NULL for the
        last, which alone is ``current``). A row that changes none of the ``track`` columns
        (default: all but the key) changes nothing, so that the same rows may come again. Late rows
        split the period that they fall into; a row for the very time at which a period begins
        corrects it. What was true all along is not kept as a point in time of its own: after a
        late change, the value before it does not come back by a later row that repeated it.

        Raises DataError where a key or time is NULL, and where rows differ for one key and time.

        >>> import lakehouse
        >>> table = lakehouse.connect("lake").create_table(
        ...     "gold.addresses",
        ...     {
        ...         "id": "BIGINT",
        ...         "city": "VARCHAR",
        ...         "valid_from": "DATE",
        ...         "valid_to": "DATE",
        ...         "current": "BOOLEAN",
        ...     },
        ... )
        >>> import datetime
        >>> rows = [
        ...     {"id": 1, "city": "Bonn", "since": datetime.date(2020, 1, 1)},
        ...     {"id": 1, "city": "Trier", "since": datetime.date(2023, 5, 1)},
        ... ]
        >>> report = table.scd2(rows, key="id", effective="since")
        >>> report.rows_inserted, table.scd2(rows, key="id", effective="since").rows_inserted
        (2, 0)
        >>> table.read(columns=["city", "current"], where="valid_to IS NULL").fetchall()
        [('Trier', True)]
        """
        how = verbs.histories.Keeping(
            verbs.parse_names(key),
            None if track is None else verbs.parse_names(track),
            effective,
            valid_from,
            valid_to,
            current,
        )
        return self._changed(
            verbs.histories.scd2(
                self.snapshot(),
                rows,
                how,
                verbs.merging.Terms("scd2", metadata, verbs.parse_key(idempotency_key)),
                engine=self._engine,
                scanner=self._scanner,
            )
        )

    def alter(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: tuple[str, int] | None = None,
    ) -> verbs.Alter:
        """Change columns, constraints, properties and the description: a commit a verb."""
        raise NotImplementedError


def _has(table: Changing, column: str) -> bool:
    return any(field.name.lower() == column.lower() for field in table.snapshot().schema)
