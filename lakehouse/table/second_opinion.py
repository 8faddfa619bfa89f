"""deltalake (delta-rs) as the second opinion: an independent reader of the same log."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from catalog.errors import StorageError
from catalog.storage import Storage

__all__ = ["DeltaTable", "open_table", "read_rows", "storage_options"]


def open_table(storage: Storage, *, version: int | None = None) -> DeltaTable:
    """Open a table with deltalake."""
    try:
        return DeltaTable(storage.url(), version=version, storage_options=storage_options(storage))
    except DeltaError as error:
        raise StorageError(f"deltalake cannot open {storage.uri}: {error}") from error


def read_rows(table: DeltaTable) -> pa.Table:
    """Return a table's rows as deltalake reads them."""
    try:
        found = QueryBuilder().register("rows", table).execute("SELECT * FROM rows")
        return pa.table(found.read_all())
    except DeltaError as error:
        raise StorageError(f"deltalake cannot read {table.table_uri}: {error}") from error


def storage_options(storage: Storage) -> dict[str, str] | None:
    """Return a storage's options in deltalake's form."""
    options = {key: str(value) for key, value in storage.options.items() if key != "durable"}
    return options or None
