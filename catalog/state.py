"""What the catalog holds: layers, tables, and the change that led to a version. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from catalog.errors import NotFoundError
from catalog.names import fold, near_misses, validate_table_name

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """Describe a layer, which is a schema in SQL."""

    name: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class TableEntry:
    """Describe what the catalog knows of a table; its schema is in the table's own log.

    `location` is relative to the lake's root if `managed`, else an absolute URI. `head` is the
    version that readers see, or None for the latest.
    """

    name: str
    id: str
    location: str
    managed: bool
    created: datetime
    description: str | None = None
    owner: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    head: int | None = None

    @property
    def layer(self) -> str:
        """Return the part of the name before the dot."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class ViewEntry:
    """Describe a view: a query, in `sql`, under a name. `depends_on` are the tables and views in it."""

    name: str
    sql: str
    depends_on: tuple[str, ...]
    created: datetime
    description: str | None = None
    owner: str | None = None

    @property
    def layer(self) -> str:
        """Return the part of the name before the dot."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """Say who led the catalog to `version`, when and by which operation on which names."""

    version: int
    timestamp: datetime
    operation: str
    names: tuple[str, ...]
    user: str | None


@dataclass(frozen=True, slots=True)
class CatalogState:
    """Hold one version of the whole catalog; `layers` in order of declaration.

    Tables and views share one space of names.
    """

    version: int
    timestamp: datetime
    layers: Mapping[str, LayerEntry] = field(default_factory=dict, hash=False)
    tables: Mapping[str, TableEntry] = field(default_factory=dict, hash=False)
    views: Mapping[str, ViewEntry] = field(default_factory=dict, hash=False)

    @property
    def entries(self) -> Mapping[str, TableEntry | ViewEntry]:
        """Return the tables and the views."""
        return {**self.tables, **self.views}

    def table(self, name: str) -> TableEntry:
        """Return a table by its name in any case; NotFoundError carries the near misses."""
        found = self.tables.get(name)
        if found is None:
            validate_table_name(name)
            found = find(self.tables, name)
        if found is None:
            raise missing_table(name, self.tables, self.views)
        return found

    def view(self, name: str) -> ViewEntry:
        """Return a view by its name in any case; NotFoundError carries the near misses."""
        found = self.views.get(name)
        if found is None:
            validate_table_name(name)
            found = find(self.views, name)
        if found is None:
            raise missing_view(name, self.tables, self.views)
        return found

    def layer(self, name: str) -> LayerEntry:
        """Return a layer by its name in any case; NotFoundError carries the near misses."""
        found = find(self.layers, name)
        if found is None:
            raise missing_layer(name, self.layers)
        return found


def find(entries: Mapping[str, Entry], name: str) -> Entry | None:
    """Return the entry of a name, ignoring case."""
    if name in entries:
        return entries[name]
    wanted = fold(name)
    return next((entry for key, entry in entries.items() if fold(key) == wanted), None)


def missing_table(
    name: str, tables: Mapping[str, object], views: Mapping[str, ViewEntry]
) -> NotFoundError:
    """Build the error for a table that is not there."""
    if (view := find(views, name)) is not None:
        return NotFoundError(
            f"{view.name} is a view, not a table", next_step="Query it with SQL", name=view.name
        )
    near = near_misses(name, (*tables, *views))
    step = f"Did you mean {' or '.join(near)}?" if near else "List the tables to see their names"
    return NotFoundError(f"no table {name}", next_step=step, name=name, near=near)


def missing_view(
    name: str, tables: Mapping[str, TableEntry], views: Mapping[str, object]
) -> NotFoundError:
    """Build the error for a view that is not there."""
    if (table := find(tables, name)) is not None:
        return NotFoundError(
            f"{table.name} is a table, not a view", next_step="Name a view", name=table.name
        )
    near = near_misses(name, views)
    step = f"Did you mean {' or '.join(near)}?" if near else "List the views to see their names"
    return NotFoundError(f"no view {name}", next_step=step, name=name, near=near)


def missing_layer(name: str, layers: Mapping[str, object]) -> NotFoundError:
    """Build the error for a layer that is not there."""
    near = near_misses(name, layers)
    step = f"Declare it first, or use one of {', '.join(layers) or '(none)'}"
    return NotFoundError(f"no layer {name}", next_step=step, name=name, near=near)
