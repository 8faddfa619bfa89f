"""Queries over a lake: from SQL to tables at their versions, and a plan."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import MappingProxyType
from typing import Any

from catalog.catalog import Catalog
from catalog.errors import InputError, LakehouseError, NotFoundError
from catalog.names import near_misses
from catalog.state import CatalogState, TableEntry, ViewEntry
from catalog.views import check_acyclic
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import TEMPORARY, Engine
from lakehouse.duck.errors import NameErrors, translated
from lakehouse.duck.sql import identifier
from lakehouse.lake.meaning import Meaning, Meanings
from lakehouse.lake.pins import Pins
from lakehouse.lake.planned import Door, Planned
from lakehouse.lake.system import SCHEMA, SYSTEM, SystemRelations
from lakehouse.scan.answers import Answers
from lakehouse.scan.asked import Asked, Params
from lakehouse.scan.names import At, Reference, references
from lakehouse.scan.prepared import Prepared
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.table.handle import Table

_LOOKS = 16  # at once


@dataclasses.dataclass(frozen=True, slots=True)
class _Named:
    """Hold what a query names, and its tables at their versions."""

    meaning: Meaning
    refs: tuple[TableRef, ...]


class Queries:
    """Plan queries over a catalog's tables; ``handle`` opens one of them.

    Where SQL is not trusted, it goes through the ``door``. ``answers`` keeps those of queries that
    come again.
    """

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        scanner: Scanner,
        handle: Callable[[TableEntry], Table],
        door: Door | None = None,
        answers: Answers | None = None,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._scanner = scanner
        self._door = door
        self._answers = answers
        self.handle = handle
        self._system = SystemRelations(catalog)
        self._meanings = Meanings()
        self._pool = None if catalog.storage.is_local else ThreadPoolExecutor(_LOOKS)

    def prepare(self, query: str, params: Params, pins: Pins | None = None) -> Prepared:
        """Plan a query: find its tables, their versions (or ``pins``), and the files to read."""
        query, given = self._system.given(query)
        return self._prepared(self._looked_up(query, params, pins), params, given)

    def planned(self, query: str, params: Params, pins: Pins | None = None) -> Planned:
        """Plan a query of a user's: as `prepare` does, by its kept answer, or behind the door."""
        given: Mapping[str, Any] = {}
        if self._door is None:
            query, given = self._system.given(query)
        named = self._looked_up(query, params, pins)
        meaning, refs = named.meaning, named.refs
        if self._door is not None:
            left = _remaining(meaning.text, meaning.tables, params)
            with _better_errors(meaning):
                return self._door.prepare(meaning.text, refs, left, queries=meaning.queries)
        if self._answers is None:
            return self._prepared(named, params, given)
        asked = Asked(meaning.text, params, refs, meaning.queries, meaning.others, given)
        return self._answers.planned(asked, lambda: self._prepared(named, params, given))

    def rows(self, query: str) -> Prepared:
        """Plan the query whose rows a statement takes; InputError for what is no query."""
        prepared = self.prepare(query, None)
        kinds = [found.type.name for found in prepared.cursor.extract_statements(prepared.sql)]
        if kinds == ["SELECT"] and not prepared.off:
            return prepared
        if kinds in (["SELECT"], ["MULTI"], ["CREATE", "SELECT"]):
            # A PIVOT that looks for its columns is several statements, and no part of others.
            with translated("run the query"):
                return prepared.held("pivoted")
        prepared.cursor.close()
        raise InputError(
            f"a query is expected here, and this is {kinds[-1].replace('_', ' ')}: {query[:100]}",
            next_step="Write SELECT, VALUES or FROM",
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all tables and views."""
        return tuple(self._catalog.state.entries)

    def try_view(self, view: ViewEntry) -> tuple[str, ...]:
        """Return the tables and views that a view would read.

        Raises InputError for one that cannot be read.
        """
        state = self._catalog.state
        found = references(view.sql, self._meanings.resolver(state))[1]
        names = tuple(dict.fromkeys(reference.name for reference in found))
        whole = dataclasses.replace(view, depends_on=names)
        check_acyclic(whole, state.views)
        state = dataclasses.replace(state, views={**state.views, view.name: whole})
        layer, _, short = view.name.partition(".")
        query = f"SELECT * FROM {identifier(layer)}.{identifier(short)} LIMIT 0"
        self._prepared(self._named(query, None, state), None).cursor.close()
        return names

    def pins(self, versions: Mapping[str, int] | None = None) -> Pins:
        """Return the catalog and all tables' versions as they are, looked up side by side.

        ``versions``, by the tables' ids, are those of another moment.
        """
        return Pins(self._catalog.state, self.handle, self._each, versions)

    def close(self) -> None:
        """Stop looking ahead."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _prepared(
        self, named: _Named, params: Params, given: Mapping[str, Any] = MappingProxyType({})
    ) -> Prepared:
        meaning = named.meaning
        with _better_errors(meaning):
            return self._scanner.prepare(
                meaning.text,
                named.refs,
                _remaining(meaning.text, meaning.tables, params),
                others=meaning.others,
                queries=meaning.queries,
                given=given,
            )

    def _looked_up(self, query: str, params: Params, pins: Pins | None = None) -> _Named:
        """Look up a query's names, and the versions of its tables (or ``pins``), at the same time.

        Each look takes a request's time in object storage: the tables are those that the catalog
        held when it was seen last, unless it turns out to have changed.
        """
        if pins is not None:
            return self._named(query, params, pins.state, pins)
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
        meaning = self._meanings.of(query, state)
        refs = self._each(lambda item: self._ref(item, params, state, pins), meaning.every)
        return _Named(meaning, tuple(refs))

    @property
    def _each(self) -> Callable[..., Iterable[Any]]:
        """Return a `map` that does its work at once where each look takes a request's time."""
        return map if self._pool is None else self._pool.map

    def _ref(
        self,
        reference: Reference,
        params: Params,
        state: CatalogState,
        pins: Pins | None,
    ) -> TableRef:
        entry = state.tables[reference.name]
        table = self.handle(entry)
        if reference.at is None:
            snapshot = table.snapshot() if pins is None else pins.snapshot(entry)
        elif reference.at.kind == "changes":
            snapshot = self._changed(table, reference.at, params)
        elif reference.at.kind == "version":
            snapshot = table.snapshot(version=self._version(reference.at, params))
        else:
            snapshot = table.snapshot(timestamp=self._moment(reference.at, params))
        return TableRef(reference.layer, reference.view, entry.name, snapshot)

    def _changed(self, table: Table, at: At, params: Params) -> Snapshot:
        since, *others = self._values(f"SELECT {at.expression}", at, params)
        if len(others) > 1:
            raise InputError("table_changes takes a table, and one or two versions or times")
        return table.changed(since=since, until=others[0] if others else None)

    def _version(self, at: At, params: Params) -> int:
        return int(self._values(f"SELECT CAST({at.expression} AS BIGINT)", at, params)[0])

    def _moment(self, at: At, params: Params) -> datetime:
        sql = f"SELECT CAST({at.expression} AS TIMESTAMPTZ)"
        (value,) = self._values(sql, at, params)
        assert isinstance(value, datetime)
        return value

    def _values(self, sql: str, at: At, params: Params) -> tuple[Any, ...]:
        values: Params = None
        if isinstance(params, Mapping):
            used = {n: v for n, v in params.items() if _mentions(at.expression, n)}
            values = used or None
        elif params is not None and at.parameters:
            values = [params[position] for position in at.parameters]
        if self._door is not None and not _CONSTANTS.fullmatch(at.expression):
            raise InputError(
                f"AT ({at.kind.upper()} => {at.expression}) is not allowed in untrusted SQL",
                next_step="Name a number, a text or a parameter",
            )
        with self._engine.work(f"evaluate AT ({at.kind.upper()} => {at.expression})") as cursor:
            row = cursor.execute(sql, values).fetchone()
        if row is None or None in row:
            raise InputError(f"{at.expression} is NULL", next_step="Name a version or a time")
        return tuple(row)


@contextlib.contextmanager
def _better_errors(meaning: Meaning) -> Iterator[None]:
    """Raise NotFoundError, with near misses, where a query names a table that is not there."""
    try:
        yield
    except InputError as error:
        better = _unknown_table(error, meaning.others, meaning.state)
        if better is None:
            raise
        if (view := getattr(error, "view", None)) is not None:
            better = better.amended(f"cannot read view {view}: {better.message}", view=view)
        raise better from error


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
    if match := _IS_TEMPORARY.search(text):
        return NotFoundError(
            f"no table of the lake is called {match[1]}, and views read no temporary tables",
            next_step=f"Make it one: CREATE TABLE silver.{match[1]} AS SELECT * FROM {match[1]}",
        )
    for name in others:
        short = name.lower().removeprefix(f"{SCHEMA}.")
        if short != name.lower() and f" {short} does not exist" in text:
            near = near_misses(name, SYSTEM)
            if name.lower() in SYSTEM:
                return NotFoundError(
                    f"views do not read {name}", next_step="Name it in a query of your own"
                )
            if near:
                return NotFoundError(
                    f"no table {name}", next_step=f"Did you mean {' or '.join(near)}?", near=near
                )
    layers = {name.lower() for name in state.layers}
    named = [n for n in others if n.partition(".")[0].lower() in layers and n in text]
    if match := _NO_TABLE.search(text):
        named.append(match[1])
    for name in named:
        if "." not in name:
            near = near_misses(name, state.entries)
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


_CONSTANT = r"(?:(?:DATE|TIMESTAMP|TIMESTAMPTZ)\s*)?'[^']*'|-?\d{1,18}|\?\d*|\$\w+"
_CONSTANTS = re.compile(rf"\s*(?:{_CONSTANT})(?:\s*,\s*(?:{_CONSTANT}))*\s*", re.IGNORECASE)
_IS_TEMPORARY = re.compile(
    rf'Table with name (\w+) does not exist!\s+Did you mean "{TEMPORARY}\.\1"'
)
_NO_TABLE = re.compile(r'Table with name "?([^"\s]+?)"? does not exist')
