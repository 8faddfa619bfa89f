"""Databases in which some of a query's names mean something else than files read by a schema."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

from lakehouse.duck.engine import Engine
from lakehouse.duck.sql import identifier
from lakehouse.scan.definitions import create_query, fitting
from lakehouse.scan.kept import bind_nothing
from lakehouse.scan.report import QueryRef, TableRef
from lakehouse.scan.views import TableView


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """Say what a table's name means: the SQL ``body``.

    ``empty`` is a file that it can be defined over, or None where it reads none.
    """

    ref: TableRef
    view: TableView
    body: str
    empty: str | None


class Variants:
    """Hold the databases of one engine, called ``prefix<n>``; safe between threads."""

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._engine = engine
        self._prefix = prefix
        self._lock = threading.Lock()
        self._databases: list[dict[tuple[str, str], str]] = []

    def database(
        self, variants: Sequence[Variant], queries: Sequence[QueryRef], others: Sequence[str]
    ) -> tuple[str, bool]:
        """Return a database that has these tables, and views over them; and was any made now.

        ``queries`` are users' views, each after those that it reads. ``others`` are names that
        must not be found in it.
        """
        wanted = {one.ref.place: one.body for one in variants}
        wanted |= {query.place: query.sql for query in queries}
        with self._lock:
            number = fitting(self._databases, wanted, {name.lower() for name in others})
            if number == len(self._databases):
                self._databases.append({})
            known = self._databases[number]
            database = f"{self._prefix}{number}"
            if known.keys() >= wanted.keys():
                return database, False
            self._engine.once(database, f"ATTACH ':memory:' AS {database}")
            with self._engine.work("define the tables' views") as cursor:
                for one in variants:
                    if one.empty is not None:
                        bind_nothing(cursor, one.ref, one.view, one.empty)
                    if one.ref.place in known:
                        continue
                    place = f"{database}.{identifier(one.ref.schema)}"
                    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {place}")
                    cursor.execute(f"CREATE VIEW {place}.{identifier(one.ref.name)} AS {one.body}")
                    known[one.ref.place] = one.body
                for query in queries:
                    if query.place not in known:
                        create_query(cursor, database, query)
                        known[query.place] = query.sql
        return database, True
