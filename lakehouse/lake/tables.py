"""The tables of a lake: open, create, list, name and drop them."""

from __future__ import annotations

import dataclasses
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from catalog.catalog import Catalog
from catalog.changes import DropTable
from catalog.errors import AlreadyExistsError, InputError, LakehouseError, OutcomeUnknownError
from catalog.holds import Holds
from catalog.names import validate_table_name
from catalog.state import TableEntry, find
from catalog.storage import Storage, open_storage
from lakehouse import table as verbs
from lakehouse.delta.log import LOG
from lakehouse.delta.snapshot import load_latest
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table.background import Background
from lakehouse.table.handle import Table


@dataclasses.dataclass(frozen=True, slots=True)
class TableInfo:
    """Describe a table as the catalog knows it; ``uri`` is where it is."""

    name: str
    layer: str
    uri: str
    id: str
    managed: bool
    description: str | None
    owner: str | None
    tags: Mapping[str, str]
    created: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class DropReport:
    """Report a dropped table: where its files are, and how many were deleted.

    ``views`` are those that were dropped with it.
    """

    name: str
    uri: str
    files_deleted: int
    views: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Created:
    """Hold a table that was created, or ``existed``, and the report of its first rows, if any."""

    table: Table
    report: verbs.WriteReport | None = None
    existed: bool = False


class Tables:
    """Hold the handles on a lake's tables; safe between threads."""

    def __init__(
        self,
        storage: Storage,
        catalog: Catalog,
        engine: Engine,
        scanner: Scanner,
        background: Background,
        holds: Holds,
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._engine = engine
        self._scanner = scanner
        self._background = background
        self._holds = holds
        self._handles: dict[tuple[str, str], Table] = {}
        self._lock = threading.Lock()

    def table(self, name: str) -> Table:
        """Return a table by its name; NotFoundError carries the near misses."""
        return self.handle(self._catalog.table(name))

    def infos(self, layer: str | None) -> list[TableInfo]:
        """Return what the catalog knows of the tables, ordered by name."""
        return [
            TableInfo(
                name=entry.name,
                layer=entry.layer,
                uri=self._place(entry).url(),
                id=entry.id,
                managed=entry.managed,
                description=entry.description,
                owner=entry.owner,
                tags=entry.tags,
                created=entry.created,
            )
            for entry in self._catalog.tables(layer)
        ]

    def create(
        self,
        name: str,
        schema: Any,
        *,
        partition_by: str | Sequence[str] = (),
        description: str | None = None,
        properties: Mapping[str, Any] | None = None,
        checks: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        if_not_exists: bool = False,
        fill: Callable[[Table], verbs.WriteReport] | None = None,
    ) -> Created:
        """Create a table as `Lake.create_table` does.

        ``fill`` writes its first rows, and its report is returned: only then has the table its
        name. Where that fails, nothing is left. ``checks`` are constraints by name.
        """
        layer, short = validate_table_name(name)
        columns = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
        parsed = verbs.create.to_schema(schema, self._engine)
        state = self._catalog.state
        layer = state.layer(layer).name
        try:
            if (taken := find(state.entries, name)) is not None:
                raise AlreadyExistsError(
                    f"{'view' if taken.name in state.views else 'table'} {taken.name} exists",
                    next_step="Pass if_not_exists=True to open it, or use another name",
                )
            # The place carries the name at birth for people who look; nothing derives it.
            location = f"{layer}/{short}-{uuid.uuid4().hex[:8]}"
            place = self._storage.child(location)
            identity = verbs.create.create(
                place,
                parsed,
                partition_by=columns,
                description=description,
                name=name,
                properties=properties,
                checks=checks,
                commit_metadata=metadata,
            )
            report = self._fill(name, place, fill)
            try:
                self._catalog.add_table(
                    name, id=identity, location=location, managed=True, description=description
                )
            except LakehouseError as error:
                if not self._is_registered(identity):
                    if not isinstance(error, OutcomeUnknownError):  # it may yet be
                        _delete(place)
                    raise
        except AlreadyExistsError:
            if not if_not_exists or find(self._catalog.state.views, name) is not None:
                raise
            return Created(self.table(name), existed=True)
        return Created(self.table(name), report)

    def drop(self, name: str, *, purge: bool, cascade: bool) -> DropReport:
        """Take a table out of the catalog, as `Lake.drop_table` does."""
        entry = self._catalog.table(name)
        if purge and not entry.managed:
            raise InputError(
                f"{entry.name} was registered; its files are not the lake's to delete",
                next_step="Drop it without purge",
            )
        if purge and self._holds.versions_of(entry.id):
            raise InputError(
                f"named snapshots, or readers, hold versions of {entry.name}",
                next_step="Drop it without purge, or drop those snapshots first",
            )
        before, after = self._catalog.transition([DropTable(entry.name, cascade)])
        entry = before.table(entry.name)
        views = tuple(view for view in before.views if view not in after.views)
        place = self._place(entry)
        return DropReport(entry.name, place.url(), _delete(place) if purge else 0, views)

    def rename(self, old: str, new: str) -> Table:
        """Give a table another name; its files do not move."""
        return self.handle(self._catalog.rename_table(old, new))

    def register(self, name: str, uri: str | os.PathLike[str]) -> Table:
        """Give an existing Delta table a name, as `Lake.register_table` does."""
        validate_table_name(name)
        place = open_storage(uri, **self._options())
        self._engine.mount(place)
        metadata = load_latest(place, self._engine).metadata
        self._catalog.add_table(
            name,
            id=metadata.id,
            location=place.uri,
            managed=False,
            description=metadata.description,
        )
        return self.table(name)

    def handle(self, entry: TableEntry) -> Table:
        """Return the handle of a table that the catalog knows: the same each time."""
        key = (entry.name, entry.location)
        with self._lock:
            if key not in self._handles:
                self._handles[key] = self._open(entry.name, self._place(entry))
            return self._handles[key]

    def _open(self, name: str, place: Storage) -> Table:
        self._engine.mount(place)
        held = self._holds.versions_of
        return Table(name, place, self._engine, self._scanner, self._background, held)

    def _fill(
        self, name: str, place: Storage, fill: Callable[[Table], verbs.WriteReport] | None
    ) -> verbs.WriteReport | None:
        if fill is None:
            return None
        try:
            return fill(self._open(name, place))
        except BaseException:
            _delete(place)
            raise

    def _place(self, entry: TableEntry) -> Storage:
        if entry.managed:
            return self._storage.child(entry.location)
        return open_storage(entry.location, **self._options())

    def _options(self) -> dict[str, Any]:
        return dict(self._storage.options)

    def _is_registered(self, identity: str) -> bool:
        return any(entry.id == identity for entry in self._catalog.tables())


def _delete(place: Storage) -> int:
    found = [item.path for item in place.list()]
    # The log first: half a purge must not leave a table that looks whole.
    found.sort(key=lambda path: not path.startswith(LOG))
    place.delete(found)
    place.remove_empty_folders()
    return len(found)
