"""What can happen to a catalog: changes, and the pure step from one state to the next."""

import contextlib
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from catalog.errors import AlreadyExistsError, InputError
from catalog.names import fold, validate_layer, validate_table_name
from catalog.places import Places
from catalog.state import (
    CatalogState,
    LayerEntry,
    TableEntry,
    ViewEntry,
    missing_layer,
    missing_table,
    missing_view,
)
from catalog.storage.location import Location, check_relative, parse
from catalog.views import check_acyclic, check_unused, dependents

FOLDER = "_catalog"


class Keep(enum.Enum):
    """Stand for "leave it as it is", where None means "remove it"."""

    KEEP = "keep"


KEEP = Keep.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class AddTable:
    """Add a table under a free name, at a place that overlaps with no other."""

    name: str
    id: str
    location: str
    managed: bool
    description: str | None = None
    owner: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class DropTable:
    """Forget a table that no view reads, or, by `cascade`, these views too; its files stay."""

    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class RenameTable:
    """Give a table that no view reads another name, in any layer; its location stays."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class UpdateTable:
    """Replace what is not KEEP."""

    name: str
    description: str | Keep | None = KEEP
    owner: str | Keep | None = KEEP
    tags: Mapping[str, str] | Keep | None = field(default=KEEP, hash=False)


@dataclass(frozen=True, slots=True)
class DeclareLayer:
    """Add a layer, or describe one that is there."""

    name: str
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddView:
    """Keep a query under a free name, or, by `replace`, in place of a view of that name.

    Everything in `depends_on` must be there, and the view must not read itself. A description
    or owner that is None stays what it was.
    """

    name: str
    sql: str
    depends_on: tuple[str, ...]
    description: str | None = None
    owner: str | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class DropView:
    """Forget a view that no other reads, or, by `cascade`, those too."""

    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class UpdateView:
    """Replace what is not KEEP."""

    name: str
    description: str | Keep | None = KEEP
    owner: str | Keep | None = KEEP


Change = (
    AddTable
    | DropTable
    | RenameTable
    | UpdateTable
    | DeclareLayer
    | AddView
    | DropView
    | UpdateView
)

_OPERATIONS: dict[type[object], str] = {
    AddTable: "add table",
    DropTable: "drop table",
    RenameTable: "rename table",
    UpdateTable: "update table",
    DeclareLayer: "declare layer",
    AddView: "add view",
    DropView: "drop view",
    UpdateView: "update view",
}
_CASCADE = "Drop these views first, or drop with CASCADE (cascade=True), which takes them along"


def describe(changes: Sequence[Change]) -> tuple[str, tuple[str, ...]]:
    """Return the operation and the names that the history shows for some changes.

    >>> describe([RenameTable("silver.a", "silver.b")])
    ('rename table', ('silver.a', 'silver.b'))
    """
    operations = {_OPERATIONS[type(change)] for change in changes}
    names: dict[str, None] = {}
    for change in changes:
        match change:
            case RenameTable(old, new):
                names |= {old: None, new: None}
            case _:
                names |= {change.name: None}
    return operations.pop() if len(operations) == 1 else "transaction", tuple(names)


def apply(
    state: CatalogState, changes: Sequence[Change], *, root: str, now: datetime
) -> CatalogState:
    """Return the next state: all changes in order, or an error and none of them.

    `root` is the lake's URI, which managed locations are relative to. Raise NotFoundError,
    AlreadyExistsError or InputError. The cost is linear in tables plus changes.

    >>> from datetime import UTC, datetime
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> state = apply(CatalogState(-1, now), [DeclareLayer("gold")], root="/lake", now=now)
    >>> state.version, list(state.layers)
    (0, ['gold'])
    """
    draft = _Draft(state, parse(root), now)
    for change in changes:
        draft.apply(change)
    tables, views = dict(sorted(draft.tables.items())), dict(sorted(draft.views.items()))
    return CatalogState(state.version + 1, max(now, state.timestamp), draft.layers, tables, views)


class _Draft:
    """A state being changed, with the indexes that keep each change cheap."""

    def __init__(self, state: CatalogState, root: Location, now: datetime) -> None:
        self.layers = dict(state.layers)
        self.tables = dict(state.tables)
        self.views = dict(state.views)
        self._names = {fold(name): name for name in state.entries}
        self._layer_names = {fold(name): name for name in state.layers}
        self._root = root
        self._now = now

    def apply(self, change: Change) -> None:
        match change:
            case AddTable():
                self._add(change)
            case DropTable(name, cascade):
                entry = self._existing(name)
                self._free_of_views(entry.name, cascade=cascade)
                self._forget(entry)
            case RenameTable(old, new):
                self._rename(old, new)
            case UpdateTable():
                self._update(change)
            case DeclareLayer(name, description):
                self._declare(name, description)
            case AddView():
                self._add_view(change)
            case DropView(name, cascade):
                view = self._existing_view(name)
                self._free_of_views(view.name, cascade=cascade)
                self._forget_view(view.name)
            case UpdateView():
                self._update_view(change)

    def _add(self, change: AddTable) -> None:
        name = self._free_name(change.name)
        location = _checked_text(change.location, what="location")
        entry = TableEntry(
            name=name,
            id=_checked_text(change.id, what="id"),
            location=check_relative(location) if change.managed else parse(location).uri,
            managed=bool(change.managed),
            created=self._now,
            description=_optional_text(change.description, what="description"),
            owner=_optional_text(change.owner, what="owner"),
            tags=_checked_tags(change.tags),
        )
        self._places.claim(self._locate(entry), name)
        self._remember(entry)

    def _rename(self, old: str, new: str) -> None:
        entry = self._existing(old)
        check_unused(
            entry.name, self.views, next_step="Drop these views first, and create them anew after"
        )
        # Forgotten first, so that a table can change the case of its own name.
        del self.tables[entry.name], self._names[fold(entry.name)]
        self._remember(replace(entry, name=self._free_name(new)))

    def _update(self, change: UpdateTable) -> None:
        entry = self._existing(change.name)
        if change.description is not KEEP:
            entry = replace(
                entry, description=_optional_text(change.description, what="description")
            )
        if change.owner is not KEEP:
            entry = replace(entry, owner=_optional_text(change.owner, what="owner"))
        if change.tags is not KEEP:
            entry = replace(entry, tags=_checked_tags(change.tags or {}))
        self.tables[entry.name] = entry

    def _declare(self, name: str, description: str | None) -> None:
        layer = validate_layer(name)
        layer = self._layer_names.setdefault(fold(layer), layer)
        if layer not in self.layers or description is not None:
            self.layers[layer] = LayerEntry(layer, _optional_text(description, what="description"))

    def _existing(self, name: str) -> TableEntry:
        validate_table_name(name)
        found = self._names.get(fold(name))
        if found is None or found not in self.tables:
            raise missing_table(name, self.tables, self.views)
        return self.tables[found]

    def _add_view(self, change: AddView) -> None:
        validate_table_name(change.name)
        known = self.views.get(self._names.get(fold(change.name), ""))
        if not change.replace or known is None:
            known = None
            name = self._free_name(change.name)
        else:
            name = known.name
        description, owner = change.description, change.owner
        if known is not None:
            description = known.description if description is None else description
            owner = known.owner if owner is None else owner
        view = ViewEntry(
            name=name,
            sql=_checked_text(change.sql, what="SQL"),
            depends_on=tuple(self._read_by_view(read) for read in change.depends_on),
            created=self._now,
            description=_optional_text(description, what="description"),
            owner=_optional_text(owner, what="owner"),
        )
        check_acyclic(view, self.views)
        self.views[name] = view
        self._names[fold(name)] = name

    def _read_by_view(self, name: str) -> str:
        found = self._names.get(fold(name))
        if found is None:
            raise missing_table(name, {**self.tables, **self.views}, {})
        return found

    def _existing_view(self, name: str) -> ViewEntry:
        validate_table_name(name)
        found = self._names.get(fold(name))
        if found is None or found not in self.views:
            raise missing_view(name, self.tables, self.views)
        return self.views[found]

    def _update_view(self, change: UpdateView) -> None:
        view = self._existing_view(change.name)
        if change.description is not KEEP:
            view = replace(view, description=_optional_text(change.description, what="description"))
        if change.owner is not KEEP:
            view = replace(view, owner=_optional_text(change.owner, what="owner"))
        self.views[view.name] = view

    def _free_of_views(self, name: str, *, cascade: bool) -> None:
        if not cascade:
            check_unused(name, self.views, next_step=_CASCADE)
        for view in dependents(name, self.views):
            self._forget_view(view)

    def _forget_view(self, name: str) -> None:
        del self.views[name], self._names[fold(name)]

    def _free_name(self, name: str) -> str:
        layer, table = validate_table_name(name)
        if fold(layer) not in self._layer_names:
            raise missing_layer(layer, self.layers)
        name = f"{self._layer_names[fold(layer)]}.{table}"
        if taken := self._names.get(fold(name)):
            kind = "view" if taken in self.views else "table"
            raise AlreadyExistsError(
                f"{kind} {taken} exists",
                next_step=f"Use another name, or drop or rename that {kind} first",
                name=taken,
            )
        return name

    def _remember(self, entry: TableEntry) -> None:
        self.tables[entry.name] = entry
        self._names[fold(entry.name)] = entry.name

    def _forget(self, entry: TableEntry) -> None:
        del self.tables[entry.name], self._names[fold(entry.name)]
        if "_places" in self.__dict__:
            self._places.release(self._locate(entry))

    def _locate(self, entry: TableEntry) -> Location:
        return self._root.child(entry.location) if entry.managed else parse(entry.location)

    @cached_property
    def _places(self) -> Places:
        places = Places()
        places.occupy(self._root.child(FOLDER), "the catalog itself")
        for entry in self.tables.values():
            places.occupy(self._locate(entry), entry.name)
        return places


def _checked_text(value: object, *, what: str) -> str:
    # A document that cannot be read back would damage the whole catalog.
    if isinstance(value, str):
        with contextlib.suppress(UnicodeEncodeError):
            value.encode()
            return value
    raise InputError(f"{what} {value!r} is not Unicode text", next_step="Pass a string")


def _optional_text(value: object, *, what: str) -> str | None:
    return None if value is None else _checked_text(value, what=what)


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {
        _checked_text(key, what="tag"): _checked_text(value, what=f"tag {key!r}")
        for key, value in tags.items()
    }
