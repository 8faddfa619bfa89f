"""The definitions that queries see: a view and a stand-in a table, made once and shared.

Sessions may need different definitions of one name at once, before and after the table's schema
changed, or when a name was dropped; each set of definitions, a generation, lives in databases of
its own: ``plan<n>`` with views over stand-ins, ``scan<n>`` with views over data files.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import identifier
from lakehouse.scan.kept import bind_nothing
from lakehouse.scan.report import TableRef
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
    ) -> int:
        """Return the number of a generation that has all views and none of the ``others``.

        What it lacks is created.
        """
        wanted = {(r.schema, r.name): v for r, v in zip(refs, views, strict=True)}
        with self._lock:
            number = self._choose(wanted, frozenset(name.lower() for name in others))
            known = self._generations[number]
            missing = [ref for ref in refs if (ref.schema, ref.name) not in known]
            if missing:
                with self._engine.work("define the tables' views") as cursor:
                    for ref in missing:
                        view = wanted[(ref.schema, ref.name)]
                        if view.nothing:
                            cursor.execute(view.nothing)
                        else:
                            bind_nothing(cursor, ref, view, self._engine.empty_parquet)
                        _create(cursor, number, ref, view)
                        known[(ref.schema, ref.name)] = view.key
        return number

    def _choose(self, wanted: Mapping[tuple[str, str], TableView], others: frozenset[str]) -> int:
        for number, known in enumerate(self._generations):
            stale = any(f"{schema}.{name}".lower() in others for schema, name in known)
            if not stale and all(
                known.get(name, view.key) == view.key for name, view in wanted.items()
            ):
                return number
        number = len(self._generations)
        self._engine.once("stand_in", "ATTACH ':memory:' AS stand_in")
        self._engine.once(
            f"generation {number}",
            f"ATTACH ':memory:' AS plan{number}",
            f"ATTACH ':memory:' AS scan{number}",
        )
        self._generations.append({})
        return number


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
