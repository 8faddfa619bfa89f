"""The definitions that queries see: a view and a stand-in a table, made once and shared.

Sessions may need different definitions of one name at once, before and after the table's schema
changed, or when a name was dropped; each set of definitions, a generation, lives in databases of
its own: ``plan<n>`` with views over stand-ins, ``scan<n>`` with views over data files.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

from catalog.errors import InputError
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.sql import identifier
from lakehouse.scan.kept import bind_nothing
from lakehouse.scan.report import QueryRef, TableRef
from lakehouse.scan.views import TableView


class Definitions:
    """Hold the generations of one engine; safe between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._generations: list[dict[tuple[str, str], str]] = []

    def generation(
        self,
        refs: Sequence[TableRef],
        views: Sequence[TableView],
        others: Sequence[str],
        queries: Sequence[QueryRef] = (),
    ) -> int:
        """Return the number of a generation that has all views and none of the ``others``.

        What it lacks is created; ``queries``, each after those that it reads, over the tables.
        """
        wanted = {r.place: v for r, v in zip(refs, views, strict=True)}
        keys = {name: view.key for name, view in wanted.items()}
        keys |= {query.place: query.sql for query in queries}
        with self._lock:
            number = self._choose(keys, frozenset(name.lower() for name in others))
            known = self._generations[number]
            missing = [ref for ref in refs if ref.place not in known]
            new = [query for query in queries if query.place not in known]
            if missing or new:
                with self._engine.work("define the tables' views") as cursor:
                    for ref in refs if new else missing:
                        view = wanted[ref.place]
                        if view.nothing:
                            cursor.execute(view.nothing)
                        else:
                            bind_nothing(cursor, ref, view, self._engine.empty_parquet)
                    for ref in missing:
                        view = wanted[ref.place]
                        _create(cursor, number, ref, view)
                        known[ref.place] = view.key
                    for query in new:
                        for database in (f"plan{number}", f"scan{number}"):
                            create_query(cursor, database, query)
                        known[query.place] = query.sql
        return number

    def _choose(self, wanted: Mapping[tuple[str, str], str], others: frozenset[str]) -> int:
        number = fitting(self._generations, wanted, others)
        if number < len(self._generations):
            return number
        self._engine.once("stand_in", "ATTACH ':memory:' AS stand_in")
        self._engine.once(
            f"generation {number}",
            f"ATTACH ':memory:' AS plan{number}",
            f"ATTACH ':memory:' AS scan{number}",
        )
        self._generations.append({})
        return number


def fitting(
    known: Sequence[Mapping[tuple[str, str], str]],
    wanted: Mapping[tuple[str, str], str],
    others: Collection[str],
) -> int:
    """Return which of the databases ``known``, by what their names mean, can take what is wanted.

    It is the number of a new one where none can: each has a name of ``others``, or another meaning.

    >>> fitting([{("s", "t"): "a"}, {("s", "u"): "b"}], {("s", "t"): "c"}, {"s.v"})
    1
    >>> fitting([{("s", "t"): "a"}], {("s", "u"): "b"}, {"s.t"})
    1
    """
    for number, meanings in enumerate(known):
        stale = any(f"{schema}.{name}" in others for schema, name in meanings)
        if not stale and all(meanings.get(name, it) == it for name, it in wanted.items()):
            return number
    return len(known)


def create_query(cursor: Connection, database: str, query: QueryRef) -> None:
    """Make a view of a user's in a database that has what it reads."""
    try:
        # A document of the catalog is text that somebody wrote: it is run only if it is a query.
        statements = cursor.extract_statements(query.sql)
        if [statement.type.name for statement in statements] != ["SELECT"]:
            raise InputError(
                f"cannot read view {query.shown}: its SQL is not one query",
                next_step="CREATE OR REPLACE VIEW it, as one SELECT",
                view=query.shown,
            )
        place = f"{database}.{identifier(query.schema)}"
        cursor.execute(f"USE {database}")
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {place}")
        cursor.execute(f"CREATE OR REPLACE VIEW {place}.{identifier(query.name)} AS {query.sql}")
    except DuckError as error:
        found = translate(error, f"read view {query.shown}")
        raise found.amended(found.message, view=query.shown) from error


def _create(cursor: Connection, generation: int, ref: TableRef, view: TableView) -> None:
    stand_in = f"stand_in.t{view.key}"
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {stand_in} ({', '.join(view.columns)})")
    for database, body in (
        (f"plan{generation}", f"{view.stand_in_view}{stand_in}"),
        (f"scan{generation}", view.view),
    ):
        place = f"{database}.{identifier(ref.schema)}"
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {place}")
        cursor.execute(f"CREATE VIEW {place}.{identifier(ref.name)} AS {body}")
