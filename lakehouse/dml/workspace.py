"""Keep rows at hand while a change is planned: tables that every cursor of an engine sees."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import uuid
from collections.abc import Iterable, Iterator

from catalog.errors import DataError, LakehouseError
from lakehouse.duck.describe import Column
from lakehouse.duck.engine import Connection, Engine, Relation
from lakehouse.duck.errors import translated
from lakehouse.duck.rows import Rows, Source, query_of, register
from lakehouse.duck.sql import identifier
from lakehouse.scan.expression import Expression, parse_expression

ROW = "lakehouse source row"  # numbers the kept rows
_numbers = itertools.count()


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """Hold rows that were kept: the quoted name of their table, their columns, and how many.

    The table has one more column, `ROW`.
    """

    place: str
    columns: tuple[Column, ...]
    rows: int


@dataclasses.dataclass(frozen=True, slots=True)
class Workspace:
    """Name a database of an engine that holds tables of one piece of work; large ones spill.

    ``clock`` is a connection in a transaction, so that the current time is the same all the time.
    """

    engine: Engine
    database: str
    clock: Connection

    def expression(self, text: str, *, columns: Iterable[str], what: str) -> Expression:
        """Read an expression over rows with these columns, as `parse_expression`; of one moment."""
        return parse_expression(
            text, columns=columns, engine=self.engine, what=what, clock=self.clock
        )

    def new_place(self, name: str) -> str:
        """Return a quoted name for a table that is not there yet."""
        return f"{identifier(self.database)}.main.{identifier(f'{name} {next(_numbers)}')}"

    def keep(self, rows: Rows) -> Given:
        """Keep rows of any kind, so that they can be read again and again; a stream is used up."""
        query = query_of(self.engine, rows)
        # A query of the current time runs in a transaction, which others do not see into.
        if query is not None and not _in_transaction(query[0]):
            with translated("keep the rows"):
                place = self._kept(*query)
            return Given(place, query[1].columns, self.count(place))
        with self.engine.work("keep the rows") as cursor:
            source = register(cursor, rows)
            if not source.columns:
                raise DataError("the rows have no columns", next_step="Name at least one")
            place = self._kept(cursor, source)
        return Given(place, source.columns, self.count(place))

    def relation(self, given: Given) -> Relation:
        """Return kept rows as if a query of the engine's had given them."""
        cursor = self.engine.cursor()
        columns = ", ".join(identifier(column.name) for column in given.columns)
        sql = f"SELECT {columns} FROM {given.place}"
        relation = cursor.sql(sql)
        self.engine.keep_with(relation, cursor, sql)
        return relation

    def select(self, sql: str, columns: tuple[Column, ...]) -> Given:
        """Keep the rows of a query over what is kept already; it gives `ROW`, too."""
        place = self.new_place("rows")
        with self.engine.work("keep the rows") as cursor:
            cursor.execute(f"CREATE TABLE {place} AS {sql}")
        return Given(place, columns, self.count(place))

    def count(self, place: str) -> int:
        """Return the number of a table's rows."""
        with self.engine.work("count the rows") as cursor:
            row = cursor.execute(f"SELECT count(*) FROM {place}").fetchone()
        assert row is not None
        return int(row[0])

    def _kept(self, cursor: Connection, source: Source) -> str:
        place = self.new_place("rows")
        cursor.execute(
            f"CREATE TABLE {place} AS "
            f"SELECT *, row_number() OVER () AS {identifier(ROW)} FROM {source.name}"
        )
        return place


def _in_transaction(cursor: Connection) -> bool:
    """Tell whether a connection's statements are of one transaction, which somebody began."""
    first, second = (cursor.execute("SELECT txid_current()").fetchall() for _ in range(2))
    return first == second


@contextlib.contextmanager
def workspace(engine: Engine) -> Iterator[Workspace]:
    """Give a database for a piece of work, and drop it after."""
    name = f"lakehouse work {uuid.uuid4().hex}"
    with engine.work("begin the work") as cursor:
        cursor.execute(f"ATTACH ':memory:' AS {identifier(name)}")
    clock = engine.cursor()
    try:
        clock.execute("BEGIN")
        yield Workspace(engine, name, clock)
    finally:
        clock.close()
        # A lake that was closed meanwhile has no database left.
        with contextlib.suppress(LakehouseError), engine.work("end the work") as cursor:
            cursor.execute(f"DETACH {identifier(name)}")
