"""Queries over a lake: from SQL to tables at their versions, and a plan."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol

from catalog.catalog import Catalog
from catalog.errors import InputError, LakehouseError, NotFoundError
from catalog.names import near_misses
from catalog.state import CatalogState, TableEntry
from lakehouse.duck.engine import Engine, Relation
from lakehouse.duck.errors import NameErrors
from lakehouse.lake.pins import Pins
from lakehouse.scan.names import At, Reference, references
from lakehouse.scan.read import Params
from lakehouse.scan.report import TableRef, TableScan
from lakehouse.table.handle import Table

_LOOKS = 16  # at once


@dataclasses.dataclass(frozen=True, slots=True)
class _Named:
    """Hold a query's text for DuckDB, and the tables that it names, at their versions."""

    state: CatalogState
    text: str
    found: tuple[Reference, ...]
    others: tuple[str, ...]
    refs: tuple[TableRef, ...]


class Planned(Protocol):
    """Be a query that was planned: it can be run, or explained, once."""

    def relation(self) -> Relation:
        """Return the result."""

    def plan(self) -> str:
        """Return DuckDB's plan as text."""

    def tables(self) -> tuple[TableScan, ...]:
        """Return what is read of each table."""


class Planner(Protocol):
    """Plan queries: `Scanner`, or what stands in its place for untrusted SQL.

    ``constants_only`` says that no expression of a query may be evaluated here.
    """

    constants_only: bool

    def prepare(
        self,
        sql: str,
        refs: Sequence[TableRef],
        params: Params = None,
        *,
        others: Sequence[str] = (),
    ) -> Planned:
        """Plan a query that names ``refs``."""


class Queries:
    """Plan queries over a catalog's tables; ``handle`` opens one of them."""

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        planner: Planner,
        handle: Callable[[TableEntry], Table],
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._planner = planner
        self.handle = handle
        self._folded: tuple[CatalogState | None, Mapping[str, TableEntry]] = (None, {})
        self._pool = None if catalog.storage.is_local else ThreadPoolExecutor(_LOOKS)

    def prepare(self, query: str, params: Params, pins: Pins | None = None) -> Planned:
        """Plan a query: find its tables, their versions (or ``pins``), and the files to read."""
        if pins is None:
            named = self._looked_up(query, params)
        else:
            named = self._named(query, params, pins.state, pins)
        text, found, others = named.text, named.found, named.others
        try:
            return self._planner.prepare(
                text, named.refs, _remaining(text, found, params), others=others
            )
        except InputError as error:
            raise _unknown_table(error, others, named.state) or error from error

    def pins(self) -> Pins:
        """Return the catalog and all tables' versions as they are, looked up side by side."""
        return Pins(self._catalog.state, self.handle, self._each)

    def close(self) -> None:
        """Stop looking ahead."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _looked_up(self, query: str, params: Params) -> _Named:
        """Look up a query's names, and the versions of its tables, at the same time.

        Each look takes a request's time in object storage: the tables are those that the catalog
        held when it was seen last, unless it turns out to have changed.
        """
        known = self._catalog.known
        if self._pool is None or known is None:
            return self._named(query, params, self._catalog.state)
        coming = self._pool.submit(lambda: self._catalog.state)
        early = None
        with contextlib.suppress(LakehouseError):
            early = self._named(query, params, known)
        state = coming.result()
        if early is not None and state is known:
            return early
        return self._named(query, params, state)

    def _named(
        self, query: str, params: Params, state: CatalogState, pins: Pins | None = None
    ) -> _Named:
        folded = self._by_folded_name(state)

        def resolve(layer: str, table: str) -> tuple[str, str] | None:
            entry = folded.get(f"{layer}.{table}".lower())
            return None if entry is None else (entry.layer, entry.name.partition(".")[2])

        text, found, others = references(query, resolve)
        refs = tuple(self._each(lambda name: self._ref(name, folded, params, pins), found))
        return _Named(state, text, tuple(found), tuple(others), refs)

    @property
    def _each(self) -> Callable[..., Iterable[Any]]:
        """Return a `map` that does its work at once where each look takes a request's time."""
        return map if self._pool is None else self._pool.map

    def _by_folded_name(self, state: CatalogState) -> Mapping[str, TableEntry]:
        known, folded = self._folded
        if known is not state:
            folded = {entry.name.lower(): entry for entry in state.tables.values()}
            self._folded = (state, folded)
        return folded

    def _ref(
        self,
        reference: Reference,
        entries: Mapping[str, TableEntry],
        params: Params,
        pins: Pins | None,
    ) -> TableRef:
        entry = entries[f"{reference.layer}.{reference.table}".lower()]
        table = self.handle(entry)
        if reference.at is None:
            snapshot = table.snapshot() if pins is None else pins.snapshot(entry)
        elif reference.at.kind == "version":
            snapshot = table.snapshot(version=self._version(reference.at, params))
        else:
            snapshot = table.snapshot(timestamp=self._moment(reference.at, params))
        return TableRef(reference.layer, reference.view, entry.name, snapshot)

    def _version(self, at: At, params: Params) -> int:
        return int(self._value(at, "BIGINT", params))

    def _moment(self, at: At, params: Params) -> datetime:
        value = self._value(at, "TIMESTAMPTZ", params)
        assert isinstance(value, datetime)
        return value

    def _value(self, at: At, type_: str, params: Params) -> Any:
        values: Params = None
        if isinstance(params, Mapping):
            used = {n: v for n, v in params.items() if _mentions(at.expression, n)}
            values = used or None
        elif params is not None and at.parameters:
            values = [params[position] for position in at.parameters]
        if self._planner.constants_only and not _CONSTANT.fullmatch(at.expression):
            raise InputError(
                f"AT ({at.kind.upper()} => {at.expression}) is not allowed in untrusted SQL",
                next_step="Name a number, a text or a parameter",
            )
        with self._engine.work(f"evaluate AT ({at.kind.upper()} => {at.expression})") as cursor:
            row = cursor.execute(f"SELECT CAST({at.expression} AS {type_})", values).fetchone()
        if row is None or row[0] is None:
            raise InputError(f"{at.expression} is NULL", next_step="Name a version or a time")
        return row[0]


def _remaining(text: str, found: Sequence[Reference], params: Params) -> Params:
    """Return the parameters that are left for the query when time travel has taken its own."""
    travels = [reference.at for reference in found if reference.at is not None]
    if params is None or not travels:
        return params
    if isinstance(params, Mapping):
        taken = {n for n in params if any(_mentions(at.expression, n) for at in travels)}
        return {n: v for n, v in params.items() if n not in taken or _mentions(text, n)} or None
    positions = {position for at in travels for position in at.parameters}
    return [value for position, value in enumerate(params) if position not in positions] or None


def _mentions(text: str, parameter: str) -> bool:
    return re.search(rf"\${re.escape(parameter)}\b", text) is not None


def _unknown_table(
    error: InputError, others: Sequence[str], state: CatalogState
) -> NotFoundError | None:
    """Return the better error where a query names a table that the catalog does not have."""
    if not isinstance(error.__cause__, NameErrors):
        return None
    text = str(error.__cause__)
    layers = {name.lower() for name in state.layers}
    named = [n for n in others if n.partition(".")[0].lower() in layers and n in text]
    if match := _NO_TABLE.search(text):
        named.append(match[1])
    for name in named:
        if "." not in name:
            near = near_misses(name, state.tables)
            if not near:
                continue
            return NotFoundError(
                f"no table {name}", next_step=f"Did you mean {' or '.join(near)}?", near=near
            )
        try:
            state.table(name)
        except NotFoundError as missing:
            return missing
        except InputError:
            continue
    return None


_CONSTANT = re.compile(
    r"((DATE|TIMESTAMP|TIMESTAMPTZ)\s*)?'[^']*'|-?\d{1,18}|\?\d*|\$\w+", re.IGNORECASE
)
_NO_TABLE = re.compile(r'Table with name "?([^"\s]+?)"? does not exist')
