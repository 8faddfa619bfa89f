"""The versions of all tables at one moment, for queries that are to see the same state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from catalog.errors import LakehouseError, NotFoundError
from catalog.state import CatalogState, TableEntry
from lakehouse.delta.snapshot import Snapshot
from lakehouse.table.handle import Table

Pin = Snapshot | int | LakehouseError


class Pins:
    """Hold a catalog's state, and the version that each of its tables had; safe between threads.

    A table that was not read before is pinned by its version's number, and read when it is used
    first. One that could not be looked up raises then: others are not held up by it.
    """

    def __init__(
        self,
        state: CatalogState,
        handle: Callable[[TableEntry], Table],
        each: Callable[[Callable[[TableEntry], Pin], Iterable[TableEntry]], Iterable[Pin]],
        versions: Mapping[str, int] | None = None,
    ) -> None:
        self.state = state
        self._handle = handle
        self._versions = versions
        self._lock = threading.Lock()
        entries = tuple(state.tables.values())
        self._pins: dict[str, Pin] = dict(
            zip((entry.name for entry in entries), each(self._look, entries), strict=True)
        )

    def snapshot(self, entry: TableEntry) -> Snapshot:
        """Return a table as it was."""
        with self._lock:
            pin = self._pins[entry.name]
        if isinstance(pin, LakehouseError):
            raise pin
        if isinstance(pin, int):
            pin = self._handle(entry).snapshot(version=pin)
            with self._lock:
                self._pins[entry.name] = pin
        return pin

    def versions(self) -> Mapping[str, int]:
        """Return the version of each table that could be looked up."""
        with self._lock:
            return {
                name: pin if isinstance(pin, int) else pin.version
                for name, pin in self._pins.items()
                if not isinstance(pin, LakehouseError)
            }

    def by_id(self) -> Mapping[str, int]:
        """Return the version of each table that could be looked up, by the tables' ids."""
        return {self.state.tables[name].id: version for name, version in self.versions().items()}

    def _look(self, entry: TableEntry) -> Pin:
        if self._versions is not None:
            if entry.id in self._versions:
                return self._versions[entry.id]
            return NotFoundError(
                f"{entry.name} was not there when this snapshot was named",
                next_step="Query it by lake.sql",
            )
        try:
            return self._handle(entry).newest()
        except LakehouseError as error:
            return error
