"""What a query names in a catalog: tables, views, and what these read in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from catalog.errors import InputError
from catalog.state import CatalogState, TableEntry, ViewEntry
from lakehouse.scan.asked import LONG
from lakehouse.scan.names import Reference, Resolve, references
from lakehouse.scan.report import QueryRef

_REMEMBERED = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Meaning:
    """Hold a query's text for DuckDB, and the tables and views that it names in a catalog.

    ``tables`` are those in the text, ``every`` has those in views as well, ``queries`` are the
    views, and ``others`` names that are neither.
    """

    state: CatalogState
    text: str
    tables: tuple[Reference, ...]
    every: tuple[Reference, ...]
    others: tuple[str, ...]
    queries: tuple[QueryRef, ...]


class Meanings:
    """Find what queries name, and remember it while the catalog is the same; safe between threads."""

    def __init__(self) -> None:
        self._last = _Remembered(None, {}, {})

    def of(self, query: str, state: CatalogState) -> Meaning:
        """Return what a query names."""
        last = self._of(state)
        known = last.meanings.get(query)
        if known is not None:
            return known
        resolve = self.resolver(state)
        text, found, others = references(query, resolve)
        tables = [reference for reference in found if reference.name in state.tables]
        inside = _Inside(state, resolve, list(others))
        for reference in found:
            if reference.name not in state.tables:
                inside.expand(reference)
        # A table's mention in the query and in its views is one, unless it travels in time.
        every = {reference.place: reference for reference in (*inside.tables, *tables)}
        others, views = tuple(inside.others), tuple(inside.views.values())
        meaning = Meaning(state, text, tuple(tables), tuple(every.values()), others, views)
        if len(query) <= LONG:
            if len(last.meanings) >= _REMEMBERED:
                last.meanings.clear()
            last.meanings[query] = meaning
        return meaning

    def resolver(self, state: CatalogState) -> Resolve:
        """Return what finds a table's or a view's layer and name, whatever the case of letters."""
        folded = self._of(state).folded

        def resolve(layer: str, table: str) -> tuple[str, str] | None:
            entry = folded.get(f"{layer}.{table}".lower())
            return None if entry is None else (entry.layer, entry.name.partition(".")[2])

        return resolve

    def _of(self, state: CatalogState) -> _Remembered:
        last = self._last
        if last.state is not state:
            folded = {entry.name.lower(): entry for entry in state.entries.values()}
            last = self._last = _Remembered(state, folded, {})
        return last


@dataclasses.dataclass(frozen=True, slots=True)
class _Remembered:
    state: CatalogState | None
    folded: Mapping[str, TableEntry | ViewEntry]
    meanings: dict[str, Meaning]


class _Inside:
    """Collect what a query reads through views: these, each after those that it reads, and tables.

    ``others`` are names in them that are neither.
    """

    def __init__(self, state: CatalogState, resolve: Resolve, others: list[str]) -> None:
        self.views: dict[str, QueryRef] = {}
        self.tables: list[Reference] = []
        self.others = others
        self._state = state
        self._resolve = resolve
        self._begun: set[str] = set()

    def expand(self, reference: Reference) -> None:
        """Add a view, and all that it reads."""
        name = reference.name
        if reference.at is not None:
            raise InputError(
                f"{name} is a view, which has no versions",
                next_step="Write AT after the tables in a query of your own",
            )
        if name in self._begun:
            return
        self._begun.add(name)
        sql = self._state.views[name].sql
        text, found, others = references(sql, self._resolve, within=f"@{name}")
        self.others.extend(others)
        for inner in found:
            if inner.name in self._state.tables:
                self.tables.append(inner)
            else:
                self.expand(inner)
        self.views[name] = QueryRef(reference.layer, reference.table, text)
