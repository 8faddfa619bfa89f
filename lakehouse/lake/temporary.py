"""DuckDB's own tables in a lake's session: they live in memory as long as the lake is open.

DuckDB binds temporary tables to one connection, and every query here has its own. So they are
tables of one database that all queries of a `Lake` see, and that nothing is stored of.
"""

from __future__ import annotations

from catalog.errors import InputError, NotFoundError
from catalog.names import near_misses
from lakehouse.duck.engine import TEMPORARY, Engine
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.sql import identifier, literal
from lakehouse.lake.queries import Queries
from lakehouse.lake.statements.kinds import CreateTemporary, Delete, Drop, Insert, Source, Update

_TABLES = f"SELECT table_name FROM duckdb_tables() WHERE database_name = {literal(TEMPORARY)}"


class Temporary:
    """Create, fill and drop temporary tables; safe between threads."""

    def __init__(self, engine: Engine, queries: Queries) -> None:
        self._engine = engine
        self._queries = queries

    def names(self) -> list[str]:
        """Return the tables' names."""
        with self._engine.work("list temporary tables") as cursor:
            return [name for (name,) in cursor.execute(f"{_TABLES} ORDER BY ALL").fetchall()]

    def create(self, statement: CreateTemporary) -> int:
        """Create a table; return the number of its rows."""
        self._engine.keep_temporary()
        replaced = "OR REPLACE " if statement.replace else ""
        unless = "IF NOT EXISTS " if statement.if_not_exists else ""
        self._run(
            f"CREATE {replaced}TABLE {unless}{_place(statement.name)} {statement.definition}",
            statement.query,
        )
        with self._engine.work("count the rows") as cursor:
            row = cursor.execute(f"SELECT count(*) FROM {_place(statement.name)}").fetchone()
        return int(row[0]) if row else 0

    def insert(self, statement: Insert) -> int:
        """Add rows to a table, or replace its rows; return their number."""
        place = _place(self._known(statement.table))
        if statement.conflict is not None:
            raise InputError(
                "a temporary table has no key to conflict with", next_step="Leave ON CONFLICT out"
            )
        columns = f" ({', '.join(map(identifier, statement.columns))})" * bool(statement.columns)
        by_name = " BY NAME" * statement.by_name
        before = f"DELETE FROM {place}" if statement.overwrite else None
        return self._run(f"INSERT INTO {place}{columns}{by_name}", statement.query, before)

    def update(self, statement: Update) -> int:
        """Set columns of a table's rows; return their number."""
        name = self._known(statement.table)
        values = ", ".join(f"{identifier(n)} = {sql}" for n, sql in statement.values.items())
        head = f"UPDATE {_place(name)} AS {identifier(statement.alias or name)} SET {values}"
        return self._changed(head, "FROM", statement.source, statement.where or "true")

    def delete(self, statement: Delete) -> int:
        """Delete rows of a table; return their number."""
        name = self._known(statement.table)
        head = f"DELETE FROM {_place(name)} AS {identifier(statement.alias or name)}"
        return self._changed(head, "USING", statement.source, statement.where)

    def drop(self, statement: Drop) -> bool:
        """Drop a table; tell whether it was there."""
        if statement.if_exists and self._find(statement.name) is None:
            return False
        self._run(f"DROP TABLE {_place(self._known(statement.name))}")
        return True

    def _changed(self, head: str, word: str, source: Source | None, where: str) -> int:
        if source is None:
            return self._run(f"{head} WHERE {where}")
        return self._run(
            f"{head} {word} (", source.query, after=f") AS {identifier(source.alias)} WHERE {where}"
        )

    def _run(
        self, sql: str, query: str | None = None, before: str | None = None, *, after: str = ""
    ) -> int:
        """Run a statement around a query, if it has one, and another before it, or none of them."""
        prepared = self._queries.rows(query or "SELECT 1")
        cursor = prepared.cursor
        try:
            if not prepared.at_once:
                cursor.execute("BEGIN")
            if before is not None:
                cursor.execute(before)
            row = cursor.execute(f"{sql}\n{prepared.sql if query else ''}\n{after}").fetchone()
            cursor.execute("COMMIT")
        except DuckError as error:
            raise translate(error, "change a temporary table") from error
        finally:
            cursor.close()
        return int(row[0]) if row else 0

    def _find(self, name: str) -> str | None:
        return next((known for known in self.names() if known.lower() == name.lower()), None)

    def _known(self, name: str) -> str:
        found = self._find(name)
        if found is not None:
            return found
        known = [*self._queries.names(), *self.names()]
        near = near_misses(name, known)
        raise NotFoundError(
            f"no temporary table {name}, and tables of the lake have a layer before their name",
            next_step=f"Did you mean {' or '.join(near)}?" if near else "Write layer.table",
            name=name,
            near=near,
        )


def _place(name: str) -> str:
    return f"{TEMPORARY}.main.{identifier(name)}"
