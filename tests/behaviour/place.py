"""A place of a test's own, on one kind of storage, reached in one way."""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import lakehouse
from catalog import Catalog
from catalog.storage import Storage, open_storage
from catalog.storage.backend import Backend
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake

STORES = {"minio": "httpfs", "seaweedfs": "httpfs", "moto": "httpfs", "azurite": "azure"}
BY_OBSTORE = "minio by obstore"


def backends() -> tuple[str, ...]:
    """Name what the suite runs on; where DuckDB has its extensions, our file system is one more."""
    return ("disk", "memory", *STORES, *([BY_OBSTORE] if has_extension("minio") else []))


def has_extension(store: str) -> bool:
    """Tell whether DuckDB's own extension for a store is installed here as a wheel."""
    return importlib.util.find_spec(f"duckdb_extension_{STORES[store]}") is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Hold a folder, or a prefix in a bucket, in which one test has its lake and what it likes."""

    backend: str
    uri: str
    options: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def lake(self) -> str:
        """Return the URI of the lake."""
        return f"{self.uri}/lake"

    def connect(self, *, wrap: Callable[[Backend], Backend] | None = None, **more: Any) -> Lake:
        """Open the lake by a connection of its own, which knows nothing of the others.

        With ``wrap`` its storage stands inside another backend.
        """
        if wrap is None:
            return lakehouse.connect(self.lake, durable=False, **more, **self.options)
        storage = self.storage("lake").wrapped(wrap)
        return Lake(storage, Catalog.open(storage), Engine())

    def storage(self, folder: str) -> Storage:
        """Return a folder: the ``lake``, or one beside it."""
        return open_storage(f"{self.uri}/{folder}", durable=False, **self.options)


def rows(relation: Any) -> list[tuple[Any, ...]]:
    """Return all rows, in an order that does not depend on who fetched them, or when."""
    return sorted(relation.fetchall(), key=repr)
