"""A place of a test's own, on one kind of storage, reached in one way."""

import contextlib
import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from catalog import Catalog
from catalog.storage import Storage
from catalog.storage.backend import Backend
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.testing import FaultProxy, FaultRule, Faults, Injector, places

STORES = {"minio": "httpfs", "seaweedfs": "httpfs", "moto": "httpfs", "azurite": "azure"}
BY_OBSTORE = "minio by obstore"


def backends() -> tuple[str, ...]:
    """Name what the suite runs on; where DuckDB has its extensions, our file system is one more."""
    return ("disk", "memory", *STORES, *([BY_OBSTORE] if by_extension("minio") else []))


def by_extension(backend: str) -> bool:
    """Tell whether DuckDB is to fetch data files by its own extension: where there is a wheel."""
    name = STORES.get(backend)
    return name is not None and importlib.util.find_spec(f"duckdb_extension_{name}") is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Hold a folder, or a prefix in a bucket, in which one test has its lake and what it likes."""

    backend: str
    folder: places.Place

    def connect(self, *, wrap: Callable[[Backend], Backend] | None = None, **more: Any) -> Lake:
        """Open the lake by a connection of its own, which knows nothing of the others.

        With ``wrap`` its storage stands inside another backend.
        """
        if wrap is None:
            return self.folder.child("lake").connect(**more)
        storage = self.storage("lake").wrapped(wrap)
        return Lake(storage, Catalog.open(storage, probe="never"), Engine())

    def require_races(self) -> None:
        """Skip a test in which writers race where the store is not made for that."""
        if self.backend == "moto":
            pytest.skip("moto looks for an object and then puts it, without a lock")

    def storage(self, folder: str) -> Storage:
        """Return a folder: the ``lake``, or one beside it."""
        return self.folder.child(folder).storage()

    @contextlib.contextmanager
    def losing(self, fault: Any) -> Iterator[Lake]:
        """Open the lake; every second answer to a put-if-absent is lost: on the wire, if any."""
        if self.folder.endpoint is None:
            faults: dict[str, Any] = {fault: 1.0}
            injector = Injector(Faults(paths="*.json", every=2, **faults))
            with self.connect(wrap=injector.over) as lake:
                yield lake
            assert injector.log
            return
        rule = FaultRule(fault, calls="put_if_absent", every=2)
        with FaultProxy(self.folder.endpoint, rules=[rule]) as proxy:
            with self.folder.through(proxy.url).child("lake").connect() as lake:
                yield lake
            assert {request.fault for request in proxy.requests} == {None, fault}


def rows(relation: Any) -> list[tuple[Any, ...]]:
    """Return all rows, in an order that does not depend on who fetched them, or when."""
    return sorted(relation.fetchall(), key=repr)
