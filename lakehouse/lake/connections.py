"""DuckDB connections for those who want DuckDB itself: the lake's tables are views in them.

Each has a DuckDB of its own. Whatever is set, attached, created or broken there is no matter to
the lake. The views name the files of one moment.
"""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from catalog.errors import InputError
from catalog.state import TableEntry
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.errors import translated
from lakehouse.duck.sql import identifier, literal, literals
from lakehouse.lake.pins import Pins
from lakehouse.scan.choice import Choice
from lakehouse.scan.kept import bind, held
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.scan.views import Source, frozen_view

_OWN = "_lakehouse"  # a schema for what views read
# More partitions are joined to one scan: as many scans take long to plan.
_MOST_SCANS = 256
_MOST_PLAIN = 8  # each of these opens a file whenever it is planned


@dataclasses.dataclass(slots=True)
class _HandedOut:
    engine: Engine
    tables: tuple[str, ...] | None
    defined: frozenset[tuple[str, str]] = frozenset()


class Connections:
    """Hand out connections, and refresh them; safe between threads."""

    def __init__(self, engine: Engine, scanner: Scanner, pins: Callable[[], Pins]) -> None:
        self._engine = engine
        self._scanner = scanner
        self._pins = pins
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Connection, _HandedOut] = weakref.WeakKeyDictionary()

    def open(self, tables: Sequence[str] | None) -> Connection:
        """Return a new connection with the tables as they are now."""
        engine = self._engine.sibling()
        try:
            connection = engine.hand_out()
            given = _HandedOut(engine, None if tables is None else tuple(tables))
            self._define(connection, given)
        except BaseException:
            engine.close()
            raise
        with self._lock:
            self._known[connection] = given
        return connection

    def refresh(self, connection: Connection) -> None:
        """Define the tables anew, all at once, in a connection that was handed out."""
        with self._lock:
            given = self._known.get(connection)
        if given is None:
            raise InputError(
                "this connection is not one of this lake's",
                next_step="Pass what lake.duckdb() returned",
            )
        self._define(connection, given)

    def _define(self, connection: Connection, given: _HandedOut) -> None:
        pins = self._pins()
        names = pins.state.tables if given.tables is None else given.tables
        entries = [pins.state.table(name) for name in names]
        found = {entry: self._read(pins, entry, given.engine) for entry in entries}
        defined = frozenset((entry.layer, _short(entry)) for entry in entries)
        with translated("define the lake's tables"), connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"DROP SCHEMA IF EXISTS memory.{_OWN} CASCADE")
            cursor.execute(f"CREATE SCHEMA memory.{_OWN}")
            for schema, name in given.defined - defined:
                cursor.execute(f"DROP VIEW IF EXISTS {_place(schema, name)}")
            for number, (entry, content) in enumerate(found.items()):
                _create(cursor, entry, content, number)
            cursor.execute("COMMIT")
        given.defined = defined

    def _read(self, pins: Pins, entry: TableEntry, engine: Engine) -> _Content:
        snapshot = pins.snapshot(entry)
        engine.mount(snapshot.storage)
        ref = TableRef(entry.layer, _short(entry), entry.name, snapshot)
        view = self._scanner.view(ref)
        with self._engine.work(f"read the log of {entry.name}") as cursor:
            found = bind(cursor, ref, view, Choice(), self._engine)
            plain = snapshot.storage.is_local and self._scanner.forms.is_plain(
                cursor, ref, view, found
            )
            if plain:
                bind(cursor, ref, view, Choice(), self._engine, typical_first=True)
            kept, vectors = held(cursor, ref, view)
            count = len(snapshot.files.layout.partitions)
            columns = ", ".join(f"parts.p{i}::VARCHAR" for i in range(count)) or "NULL"
            cursor.register("held", kept)
            parts = "unnest(kept.parts)" if count else "NULL"
            rows = cursor.execute(
                f"SELECT file, {columns} FROM "
                f"(SELECT unnest(files) AS file, {parts} AS parts FROM held)"
            ).fetchall()
        files = tuple(row[0] for row in rows)
        if files == (self._engine.empty_parquet,):
            # That file goes with the lake; this one with the connection.
            files = (engine.empty_parquet,)
        values = tuple(tuple(row[1 : count + 1]) for row in rows)
        return _Content(snapshot, found.rows or 0, files, values, vectors, plain)


@dataclasses.dataclass(frozen=True, slots=True)
class _Content:
    """Hold a table's files, their partition values as text, and its deleted rows (i, n).

    ``rows`` is about how many there are. ``plain`` says that the files have the table's columns.
    """

    snapshot: Snapshot
    rows: int
    files: tuple[str, ...]
    values: tuple[tuple[str | None, ...], ...]
    vectors: Any
    plain: bool


def _create(cursor: Connection, entry: TableEntry, content: _Content, number: int) -> None:
    layout = content.snapshot.files.layout
    if content.vectors is not None:
        cursor.register("vectors", content.vectors)
        cursor.execute(f"CREATE TABLE memory.{_OWN}.deleted_{number} AS FROM vectors")
        cursor.unregister("vectors")
    if len(set(content.values)) <= _MOST_SCANS:
        sources = list(_scan_a_partition(content, number))
    else:
        sources = [_one_scan(cursor, content, number)]
    plain = content.plain and len(sources) <= _MOST_PLAIN
    body = frozen_view(layout, content.snapshot.properties, sources, plain=plain)
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS memory.{identifier(entry.layer)}")
    cursor.execute(f"CREATE OR REPLACE VIEW {_place(entry.layer, _short(entry))} AS {body}")


def _scan_a_partition(content: _Content, number: int) -> Iterator[Source]:
    """Yield a scan for each partition: DuckDB leaves those out which a filter rules out."""
    types = [to_duckdb(field.type) for field in content.snapshot.files.layout.partitions]
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for position, values in enumerate(content.values):
        groups.setdefault(values, []).append(position)
    for values, positions in groups.items():
        joins = ""
        if content.vectors is not None:
            # A scan numbers its own files.
            ours = ", ".join(f"({i}, {position})" for i, position in enumerate(positions))
            joins = (
                f" ANTI JOIN (SELECT o.i, v.n FROM memory.{_OWN}.deleted_{number} AS v "
                f"JOIN (VALUES {ours}) AS o(i, position) ON o.position = v.i) AS d "
                f"ON d.i = r.file_index AND d.n = r.file_row_number"
            )
        yield Source(
            files=literals(content.files[position] for position in positions),
            rows=str(content.rows * len(positions) // len(content.files)),
            values=tuple(
                f"CAST({'NULL' if value is None else literal(value)} AS {type_})"
                for value, type_ in zip(values, types, strict=True)
            ),
            joins=joins,
        )


def _one_scan(cursor: Connection, content: _Content, number: int) -> Source:
    """Return one scan of all files, with their partition values from a table."""
    partitions = content.snapshot.files.layout.partitions
    columns = ", ".join(f"p{i} {to_duckdb(f.type)}" for i, f in enumerate(partitions))
    table = f"memory.{_OWN}.parts_{number}"
    cursor.execute(f"CREATE TABLE {table} (i UBIGINT, {columns})")
    rows = ", ".join(
        f"({i}, {', '.join('NULL' if v is None else literal(v) for v in values)})"
        for i, values in enumerate(content.values)
    )
    cursor.execute(f"INSERT INTO {table} VALUES {rows}")
    joins = f" JOIN {table} AS p ON p.i = r.file_index"
    if content.vectors is not None:
        joins += (
            f" ANTI JOIN memory.{_OWN}.deleted_{number} AS d "
            f"ON d.i = r.file_index AND d.n = r.file_row_number"
        )
    return Source(
        files=literals(content.files),
        rows=str(content.rows),
        values=tuple(f"p.p{i}" for i in range(len(partitions))),
        joins=joins,
    )


def _short(entry: TableEntry) -> str:
    return entry.name.partition(".")[2]


def _place(schema: str, name: str) -> str:
    return f"memory.{identifier(schema)}.{identifier(name)}"
