"""`PinnedTable`: a table at one version, to read only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from catalog import lazy
from lakehouse import table as verbs
from lakehouse.delta.schema.types import schema_to_arrow
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine, Relation
from lakehouse.duck.sql import identifier
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef

pa: Any = lazy.module("pyarrow")


def read(
    snapshot: Snapshot,
    name: str,
    scanner: Scanner,
    *,
    columns: Sequence[str] | None,
    where: str | None,
) -> Relation:
    """Return rows of a snapshot as a lazy DuckDB relation."""
    selected = "*" if columns is None else verbs.listing.select(columns, snapshot, name)
    sql = f"SELECT {selected} FROM lakehouse.{identifier(name)}"
    if where is not None:
        scanner.require_trust("where")
        sql += f" WHERE ({where}\n)"
    return scanner.prepare(sql, [TableRef("lakehouse", name, name, snapshot)]).relation()


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class PinnedTable:
    """Read and inspect a table at the version that a `LakeSnapshot` holds."""

    name: str
    _snapshot: Snapshot
    _engine: Engine
    _scanner: Scanner

    def __repr__(self) -> str:
        return f"PinnedTable({self.name!r}, version={self.version})"

    @property
    def uri(self) -> str:
        """Return where the table is."""
        return self._snapshot.storage.url()

    @property
    def version(self) -> int:
        """Return the version."""
        return self._snapshot.version

    @property
    def schema(self) -> pa.Schema:
        """Return the columns, as an Arrow schema."""
        return schema_to_arrow(self._snapshot.schema)

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Return the partition columns, in order."""
        return self._snapshot.partition_columns

    @property
    def properties(self) -> Mapping[str, str]:
        """Return the table's properties."""
        return self._snapshot.properties

    def read(self, *, columns: Sequence[str] | None = None, where: str | None = None) -> Relation:
        """Return rows as `Table.read` does."""
        return read(self._snapshot, self.name, self._scanner, columns=columns, where=where)

    def files(self) -> pa.Table:
        """Return the live data files as `Table.files` does."""
        return verbs.listing.files(self._snapshot, self._engine)

    def bounds(self, column: str) -> tuple[Any, Any]:
        """Return bounds of a column's values as `Table.bounds` does."""
        verbs.listing.select([column], self._snapshot, self.name)  # raises where there is none
        return verbs.listing.bounds(self._snapshot, column, self._engine)

    def detail(self) -> verbs.TableDetail:
        """Describe the table as it was."""
        return verbs.listing.detail(self.name, self._snapshot, self._engine)
